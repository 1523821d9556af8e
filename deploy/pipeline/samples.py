"""What every step asks of a data set's samples: their hash, whether their labels fit, which of them are the test."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from spikecut.deploy.bundle import Bundle
from spikecut.errors import BundleError, InputError
from spikecut.export.manifest import CUTOFF, read_part
from spikecut.export.network.arrays import size
from spikecut.export.network.layers import IntegerNetwork
from spikecut.models.data import SUFFIXES, Dataset, Split, load_dataset
from spikecut.models.data.stored import StoredSplit, open_own

WHOLE = (
    "{} holds x and y alone, and this bundle was neither trained, exported nor calibrated with it: all {} samples are "
    "the test; x_train, y_train, x_calibration, …, y_test in the file say it themselves"
)


AnySplit = Split | StoredSplit
"""Labelled samples, in memory or in their file."""
SLICE_BYTES = 2**24


@dataclass(frozen=True)
class ChosenSamples:
    """What is run of a data set. note: how one set of samples became it, "" where the data set says so itself."""

    split: AnySplit
    note: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """A remark for the user, or none."""
        return (self.note,) if self.note else ()


def file_config(dataset: str) -> dict[str, str]:
    """What the config of a run keeps of a data set besides its name: where its file is, from whatever folder."""
    return {"data_file": str(Path(dataset).expanduser().resolve())} if Path(dataset).suffix in SUFFIXES else {}


def stored_dataset(dataset: str, config: Mapping[str, Any]) -> str:
    """The data set of a run by its name, or the path of its file: as `file_config` kept it, else as it was typed."""
    kept = config.get("data_file")
    return kept if isinstance(kept, str) and Path(kept).is_file() else dataset


def samples_to_run(bundle: Bundle, dataset: str) -> ChosenSamples:
    """The test of a data set; of a file with x and y alone, that the bundle has not seen, all samples.

    A file was seen that has the name of one in the recipe or the cutoff, or that gives calibration the same samples.

    DataError: see load_dataset.
    """
    if Path(dataset).suffix not in SUFFIXES:
        named = load_dataset(dataset, frames=bundle.network.horizon)
        return ChosenSamples(named.test, named.split)
    data = open_own(dataset)
    if data.everything is None or _seen(bundle, dataset, data.calibration):
        return ChosenSamples(data.test, data.split)
    return ChosenSamples(data.everything, WHOLE.format(Path(dataset).name, len(data.everything)))


def _seen(bundle: Bundle, dataset: str, calibration: StoredSplit) -> bool:
    calibrated: Any = {}
    if (bundle.path / CUTOFF).is_file():
        try:
            calibrated = read_part(bundle.path, CUTOFF, "calibrate again")
        except BundleError:  # it cannot say what it has seen; a run without a cutoff needs no more of it
            return True
    calibrated = calibrated if isinstance(calibrated, dict) else {}
    trained = trained_on(bundle.manifest.recipe)
    if trained is None:
        return True
    names = {Path(name).name for name in (*trained, str(calibrated.get("dataset", "")))}
    if Path(dataset).name in names or calibrated.get("data") == data_hash(calibration):
        return True
    golden, given = bundle.golden().images, calibration.x
    count = min(len(golden), len(given))
    return golden.shape[1:] == given.shape[1:] and np.array_equal(golden[:count], given[:count])


def trained_on(recipe: Mapping[str, Any]) -> list[str] | None:
    """Data sets of a training and of those that it went on from, the last first; None where a recipe does not say."""
    earlier = recipe.get("from", {"datasets": []})
    told = earlier.get("datasets") if isinstance(earlier, Mapping) else None
    return [str(recipe.get("dataset", "")), *map(str, told)] if isinstance(told, list) else None


def data_hash(split: AnySplit) -> str:
    """SHA-256 over the samples and labels of a split, which are read slice by slice."""
    digest = hashlib.sha256()
    for array in (split.x, split.y):
        digest.update(str((array.shape, array.dtype)).encode())
        step = max(1, SLICE_BYTES // (size(array.shape[1:]) * array.dtype.itemsize))
        for first in range(0, len(array), step):
            digest.update(np.ascontiguousarray(array[first : first + step]).data)
    return digest.hexdigest()


def check_labels(network: IntegerNetwork, split: AnySplit) -> None:
    """Raise InputError unless every label is a class of the network."""
    if len(split.y) and (split.y.min() < 0 or split.y.max() >= network.classes):
        raise InputError(
            f"labels run from {split.y.min()} to {split.y.max()}, the network has classes 0 to {network.classes - 1}"
        )


@overload
def first_samples(split: Split, samples: int | None) -> Split: ...


@overload
def first_samples(split: AnySplit, samples: int | None) -> AnySplit: ...


def first_samples(split: AnySplit, samples: int | None) -> AnySplit:
    """The first samples of a split; all of them for None. InputError for fewer than one."""
    if samples is None:
        return split
    if samples < 1:
        raise InputError(f"samples {samples}: expected at least 1")
    return split.take(np.arange(len(split.y))[:samples])


def split_notes(data: Dataset) -> tuple[str, ...]:
    """A remark for the user if one set of samples was split into three; else none."""
    return (data.split,) if data.split else ()
