"""What is not installed with spikecut itself: the error that names the command."""

from collections.abc import Iterator
from contextlib import contextmanager

from spikecut.errors import InputError

TRAIN = "pip install 'spikecut[train]'"
TRAINING = ("torch", "torchvision", "lightning", "torchmetrics")
"""Packages of the extra `train`: of what trains, converts or exports networks."""


@contextmanager
def needs_training() -> Iterator[None]:
    """Turn the missing of one of these packages into InputError, which names the command."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAINING:
            raise
        raise InputError(f"this needs {error.name}, which is not installed: {TRAIN}") from error
