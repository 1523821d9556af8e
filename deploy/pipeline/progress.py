"""How a step of the pipeline tells that it advances: it takes a Progress and knows nothing of terminals."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from spikecut.deploy.backends.base import Advance


class Progress(Protocol):
    """Opens a bar for one step of the work; spikecut.deploy.cli.output.progress_bar draws it, `silent` does not."""

    def __call__(self, what: str, total: int) -> AbstractContextManager[Advance]:
        """what: the step in words. total: samples to be done."""


@contextmanager
def silent(what: str, total: int) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda samples: None
