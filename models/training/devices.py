"""Training on several devices: Lightning's ddp_spawn, and what it leaves to those who use it."""

import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerStatus
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException

from spikecut import errors
from spikecut.errors import InputError


def seed_of(*numbers: int) -> int:
    """One seed from several numbers that are not negative, such as seed, rank and epoch."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class SpawnedProcesses(DDPStrategy):
    """Lightning's ddp_spawn, whose processes leave their group before they end.

    Lightning does so for nccl only. The threads of a gloo group that still run when the interpreter ends can abort the
    process ("terminate called without an active exception"), and with it the training that it had finished.
    """

    def __init__(self) -> None:
        super().__init__(start_method="spawn")

    def teardown(self) -> None:
        """After a training that went well; after an error the others may never answer, and are ended by a signal."""
        super().teardown()
        if torch.distributed.is_initialized() and self._went_well():  # not in the process that began the others
            gc.collect()  # circles hold the wrapper of the network, and that the group
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()

    def _went_well(self) -> bool:
        module = self.lightning_module
        try:
            return module is not None and module.trainer.state.status != TrainerStatus.INTERRUPTED
        except RuntimeError:  # interrupted before the network had its trainer
            return False


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
