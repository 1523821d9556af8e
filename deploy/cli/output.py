"""Terminal output: what the user's texts may do to it, what its encoding lacks, progress bars on anything long."""

import codecs
import json
import os
import shlex
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.status import Status

if TYPE_CHECKING:
    from spikecut.deploy.backends.base import Advance
    from spikecut.models.data import Dataset

UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of characters that steer a terminal, turn its text round, or are no characters; the newline is kept."""

SUBSTITUTES = str.maketrans(
    {
        **{"≥": ">=", "≤": "<=", "×": "x", "÷": "/", "µ": "u", "−": "-", "–": "-", "…": "...", "→": "->", "±": "+-"},
        **{"ε": "epsilon", "δ": "delta", "β": "beta", "λ": "lambda", "τ": "tau", "Σ": "sum of ", "²": "^2", "·": "."},
        **dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True)),
    }
)
"""For terminals whose encoding lacks them."""


def visible(text: str) -> str:
    """A text with every character that a terminal would obey written out, as in \\x1b."""
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if character != "\n" and unicodedata.category(character) in UNSEEN
        else character
        for character in text
    )


class _Console(Console):
    """A console that shows the control characters in file names, labels and the like instead of obeying them."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def stdout() -> Console:
    """The console of results; at least 100 columns where it is not a terminal, so that tables stay whole.

    Texts are shown as they are: file names, titles and sources may hold what looks like markup.
    """
    _end_waiting()
    console = _Console(markup=False)
    return console if console.is_terminal else _Console(markup=False, width=max(console.width, 100))


def stderr() -> Console:
    """The console of progress and errors."""
    _end_waiting()
    return _Console(markup=False, stderr=True)


def prepare_streams() -> None:
    """Let no character stop a command that this terminal's encoding lacks."""
    codecs.register_error("spikecut", _substitute)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="spikecut")


def finish_streams() -> None:
    """Write out what waits; a stream that takes no more goes nowhere, so that Python's exit does not fail of it."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    replaced = text.translate(SUBSTITUTES)
    return replaced.encode("ascii", "backslashreplace").decode("ascii"), error.end


def say_split(data: "Dataset") -> None:
    """A line on stderr beside a result, if one set of samples was split into three for it."""
    if data.split:
        say(data.split)


_quiet = False


def set_quiet(quiet: bool) -> None:
    """Whether this process shows results and errors alone."""
    global _quiet
    _quiet = quiet


def say(note: str) -> None:
    """A line on stderr beside a result, unless it is to be quiet."""
    if _quiet:
        return
    stderr().print(f"spikecut: {note}", soft_wrap=True, highlight=False)


def print_notes(notes: Iterable[str]) -> None:
    """A line on stderr for each remark that a step of the pipeline has for the user."""
    for note in notes:
        say(note)


_waiting: Status | None = None


@contextmanager
def waiting(what: str) -> "Iterator[None]":
    """Show on a terminal that something is being loaded, from now on until anything else is shown."""
    global _waiting
    console = stderr()
    if not _quiet and console.is_terminal:
        _waiting = console.status(what)
        _waiting.start()
    try:
        yield
    finally:
        _end_waiting()


def _end_waiting() -> None:
    """Something is about to be shown."""
    global _waiting
    if _waiting is not None:
        _waiting.stop()
        _waiting = None


@contextmanager
def progress_bar(what: str, total: int, before: str = "") -> "Iterator[Advance]":
    """A progress bar on stderr; yields the function that advances it. before: what comes before the first sample."""
    console = stderr()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=_quiet or not console.is_terminal, transient=True) as progress:
        task = progress.add_task(f"{what}: {before} …" if before else what, total=total)

        def advance(steps: int) -> None:
            if steps:
                progress.update(task, description=what, advance=steps)

        yield advance


@dataclass(frozen=True)
class Result:
    """What a command prints: tables and lines, or the same as JSON data.

    notes: remarks beside it, on stderr. next: the command that a user may type next, also on stderr; "" for none.
    """

    shown: Sequence[RenderableType]
    data: Any
    notes: tuple[str, ...] = ()
    next: str = ""


def report(result: Result, as_json: bool) -> None:
    """Print a command's result: its tables, or its data as JSON, and its notes."""
    print_notes(result.notes)
    if as_json:
        print_json(result.data)
        return
    console = stdout()
    for part in result.shown:
        console.print(part)
    say_next(result.next)


def typed(*words: object) -> str:
    """A command of spikecut as a shell takes it; words in capitals and … are the user's to fill in.

    Nothing may be there yet of the name after --out: another one takes its place.
    """
    texts = [free(str(word)) if before == "--out" else str(word) for before, word in pairwise(("", *words))]
    return " ".join(["spikecut", *(text if text == "…" else shlex.quote(text) for text in texts)])


def free(name: str) -> str:
    """A file or folder that is not there yet: report.html, or report-2.html."""
    path, number = Path(name), 1
    while os.path.lexists(path):
        number += 1
        path = Path(name).with_stem(f"{Path(name).stem}-{number}")
    return str(path)


def say_next(command: str) -> None:
    """The command that may follow, as the last line on stderr, unless it is to be quiet."""
    if command and not _quiet:
        sys.stdout.flush()  # where both go to the same file, it stands below the result
        stderr().print(f"next: {command}", soft_wrap=True, highlight=False)


def print_json(data: Any) -> None:
    """Print data as JSON, keys sorted."""
    _end_waiting()
    print(json.dumps(data, indent=2, sort_keys=True, allow_nan=False))
