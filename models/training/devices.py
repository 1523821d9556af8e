"""Training on several devices: Lightning's ddp_spawn, and what it leaves to those who use it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException

from spikecut import errors
from spikecut.errors import InputError


def seed_of(*numbers: int) -> int:
    """One seed from several numbers that are not negative, such as seed, rank and epoch."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@contextmanager
def processes_ended(trainer: Any, partial: Path | None) -> Iterator[None]:
    """However the block ends, no process that the trainer has begun outlives it, nor the half-written file `partial`.

    InputError for an expected error in one of them, or one that was killed.
    """
    try:
        yield
    except BaseException as exc:
        _end(trainer, partial)
        if isinstance(exc, ProcessExitedException):
            raise InputError(
                f"a process of the training was ended ({exc.signal_name or exc.exit_code}): there may be too little "
                "memory for so many devices, or the script that trains lacks its `if __name__ == '__main__'`"
            ) from exc
        if isinstance(exc, ProcessException):
            kind, _, text = str(exc).strip().splitlines()[-1].partition(": ")
            if kind.startswith(errors.__name__):
                raise InputError(text) from exc
        raise


def _end(trainer: Any, partial: Path | None) -> None:
    launcher = trainer.strategy.launcher
    if launcher is None:
        return
    launcher.kill(signal.SIGKILL)
    for process in launcher.procs:
        process.join()
    if partial is not None:
        partial.unlink(missing_ok=True)
