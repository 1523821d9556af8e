"""What is not installed with spikecut itself: the error that names the command."""

from collections.abc import Iterator
from contextlib import contextmanager

from spikecut.errors import InputError

TRAIN = "pip install 'spikecut[train]'"
TRAINING = ("torch", "torchvision", "lightning", "torchmetrics")
"""Packages of the extra `train`: of what trains, converts or exports networks."""

REPORT = "pip install 'spikecut[report]'"
REPORTING = ("jinja2", "markupsafe", "vl_convert")
"""Packages of the extra `report`."""


@contextmanager
def needs_training() -> Iterator[None]:
    """Turn the missing of one of these packages into InputError, which names the command."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAINING:
            raise
        raise InputError(f"this needs {error.name}, which is not installed: {TRAIN}") from error


@contextmanager
def needs_report() -> Iterator[None]:
    """Turn the missing of one of the packages of the extra `report` into InputError, which names the command."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in REPORTING:
            raise
        raise InputError(f"a report needs {error.name}, which is not installed: {REPORT}") from error
