"""One published measurement beside our estimate."""

from dataclasses import dataclass
from typing import Literal

from spikecut.deploy.cost.band import Figure

Use = Literal["fitted", "tested", "shown"]


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes
    ----------
    what: the network and the board.
    ours: our estimate, in `unit`; None where there is none, with the reason in `remark`.
    use: "fitted" where the hardware file was fitted to it, "tested" where it was not, "shown" where it says nothing
        about the constants.
    source: where it was read, and where in it.
    """

    what: str
    quantity: str
    measured: float
    unit: str
    ours: Figure | None
    use: Use
    source: str
    remark: str = ""

    @property
    def inside(self) -> bool:
        """Whether the measurement lies between our edges."""
        return self.ours is not None and self.ours.low <= self.measured <= self.ours.high

    @property
    def width(self) -> float:
        """The high edge of the band over its low edge."""
        return float("nan") if self.ours is None else self.ours.high / self.ours.low

    def cells(self) -> list[str]:
        """The line's cells."""
        measured = f"{self.measured:.4g} {self.unit}"
        if self.ours is None:
            return [self.what, self.quantity, measured, "none", "", "", "", self.remark, self.source]
        ours = f"{self.ours.value:.4g} ({self.ours.low:.4g} to {self.ours.high:.4g})"
        ratio = f"{self.ours.value / self.measured:.2f}"
        inside = "in" if self.inside else "**out**"
        return [self.what, self.quantity, measured, ours, ratio, inside, f"{self.width:.2f}", self.remark, self.source]


HEADER = "| network, board | quantity | measured | estimated | ratio | band | width | remark | source |"


def table(rows: list[Row]) -> str:
    """The rows as a table in Markdown."""
    lines = [HEADER, "|" + "---|" * (HEADER.count("|") - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row.cells()) + " |" for row in rows)])


def in_band(rows: list[Row]) -> str:
    """How many of the tested rows lie in their band."""
    tested = [row for row in rows if row.use == "tested"]
    good = sum(row.inside for row in tested)
    return f"{good} of {len(tested)} ({100 * good / len(tested):.0f} %)"
