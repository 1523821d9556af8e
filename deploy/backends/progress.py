"""How a step of the pipeline tells that it advances: it takes a Progress and knows nothing of terminals."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from spikecut.deploy.backends.base import Advance, Backend


class Progress(Protocol):
    """Opens a bar for one step of the work; spikecut.deploy.cli.output.progress_bar draws it, `silent` does not."""

    def __call__(self, what: str, total: int, before: str = "") -> AbstractContextManager[Advance]:
        """what: the step in words. total: samples to be done. before: what has to be done before the first, or ""."""


@contextmanager
def silent(what: str, total: int, before: str = "") -> Iterator[Advance]:
    """Show nothing."""
    yield lambda samples: None


def before_first(backend: Backend) -> str:
    """What a backend does before its first sample."""
    return "Lava compiles" if backend.capabilities.models else "the engine is loaded"
