"""A table that stays readable in a narrow terminal: columns that do not fit beside the first go into further blocks."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

GAP = 2
"""Columns of the terminal between two of the table."""
TEXT_WIDTH = 36
"""At most so many are asked for a cell; longer texts are wrapped."""


class WideTable:
    """Rows under headings, in as many blocks of columns as the console's width asks for.

    Every block repeats the first column. Texts longer than TEXT_WIDTH are wrapped. Title and caption stand alone, as
    wide as the console.
    """

    def __init__(self, *columns: str, title: str = "", caption: str = "") -> None:
        self.columns = list(columns)
        self.rows: list[tuple[str, ...]] = []
        self.title, self.caption = title, caption

    def add_row(self, *cells: str) -> None:
        """A row; cells that are missing at its end are empty."""
        self.rows.append(cells + ("",) * (len(self.columns) - len(cells)))

    def blocks(self, width: int) -> list[list[int]]:
        """The columns of each block that fits the width, as positions; a block has at least one beside the first."""
        widths = [
            min(max(cell_len(line) for cell in cells for line in (cell.splitlines() or [""])), TEXT_WIDTH)
            for cells in zip(self.columns, *self.rows, strict=True)
        ]
        found: list[list[int]] = []
        room = 0
        for position, needed in list(enumerate(widths))[1:]:
            if not found or needed + GAP > room:
                found.append([0])
                room = width - widths[0]
            found[-1].append(position)
            room -= needed + GAP
        return found or [[0]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """The title, a rich table for each block, and the caption."""
        if self.title:
            yield Text(self.title, style="bold")
        for number, positions in enumerate(self.blocks(options.max_width)):
            if number:
                yield Text("")
            yield self._block(positions)
        if self.caption:
            yield Text(self.caption, style="dim")

    def _block(self, positions: Sequence[int]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
        for position in positions:
            table.add_column(Text(self.columns[position]), overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(row[position]) for position in positions))
        return table
