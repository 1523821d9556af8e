"""Terminal output: progress bars on anything long, quiet where there is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from spikecut.models.data import Dataset

Advance = Callable[[int], None]


def stdout() -> Console:
    """The console of results; at least 100 columns where it is not a terminal, so that tables stay whole.

    Texts are shown as they are: file names, titles and sources may hold what looks like markup.
    """
    console = Console(markup=False)
    return console if console.is_terminal else Console(markup=False, width=max(console.width, 100))


def stderr() -> Console:
    """The console of progress and errors."""
    return Console(markup=False, stderr=True)


def say_split(data: "Dataset") -> None:
    """A line on stderr beside a result, if one set of samples was split into three for it."""
    if data.split:
        stderr().print(f"spikecut: {data.split}", soft_wrap=True, highlight=False)


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Advance]:
    """A progress bar on stderr; yields the function that advances it."""
    console = stderr()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps: progress.advance(task, steps)
