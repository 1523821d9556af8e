"""The state of a training that can go on: written whole or not at all, read as data."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO

from spikecut.errors import CheckpointError, InputError
from spikecut.files import replacing, temporary_beside
from spikecut.models.torch_files import read_torch

MAXIMUM_STATE_BYTES = 2**33  # weights and what the optimiser keeps of each


class StateFiles(TorchCheckpointIO):
    """How Lightning reads and writes the state.

    partial: the name that it is written under at first, the same in all processes: who ends them removes it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.partial = temporary_beside(path)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Called by Lightning, in the first process alone."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with replacing(Path(path), self.partial) as temporary:
            temporary.write_bytes(content.getvalue())  # a view would outlive an error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Called by Lightning; CheckpointError for what is no state."""
        return read_state(Path(path))


def read_state(path: Path) -> dict[str, Any]:
    """What was kept of a training; CheckpointError if it is missing, damaged or no such file."""
    found = read_torch(path, MAXIMUM_STATE_BYTES)
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: not the state of a training; train anew without --resume")
    return found


class KeepState(Callback):
    """Writes the state after every epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Called by Lightning."""
        try:
            trainer.save_checkpoint(self.path)  # all processes take part, the first one writes
        except OSError as exc:
            raise InputError(f"{self.path}: the state cannot be written: {exc.strerror}") from exc
