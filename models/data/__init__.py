"""Data sets: the embedded digits, images and events from the user's folders, or the user's own file."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from spikecut.errors import DataError
from spikecut.models.data.dataset import Dataset, Split
from spikecut.models.data.digits import digits
from spikecut.models.data.own import SUFFIXES, load_own, load_samples

__all__ = [
    "DEFAULT_FRAMES",
    "FOLDER_VARIABLE",
    "MAXIMUM_HORIZON",
    "SUFFIXES",
    "Dataset",
    "Split",
    "load_dataset",
    "load_samples",
]

EMBEDDED = {"digits": digits}
VISION = ("cifar10", "cifar100", "fashion-mnist", "mnist")
RECORDED = ("cifar10-dvs", "dvs128-gesture", "n-mnist", "shd")
EMULATED = tuple(f"emulated-{name}" for name in (*EMBEDDED, *VISION))
FOLDER_VARIABLE = "SPIKECUT_DATA"
DEFAULT_FRAMES = 10
MAXIMUM_HORIZON = 2**14


def load_dataset(
    name_or_path: str, seed: int = 0, folder: str | Path | None = None, frames: int = DEFAULT_FRAMES
) -> Dataset:
    """The data set of this name, or in this file (.npz, .h5, .hdf5).

    name_or_path: digits (embedded); mnist, fashion-mnist, cifar10, cifar100 (see vision.py); n-mnist, dvs128-gesture,
        cifar10-dvs, shd (see events.py); emulated-NAME of one of the images (see emulated.py); or a path (see own.py).
    seed: gives the order of the training samples; which sample belongs to which part never depends on it.
    folder: where the files are; None takes the environment variable SPIKECUT_DATA.
    frames: number of frames that events are counted in, the horizon T of a network that takes them.

    DataError for an unknown name, missing files, or files that do not fit.
    """
    if not 1 <= frames <= MAXIMUM_HORIZON:
        raise DataError(f"{frames} timesteps: expected 1 to {MAXIMUM_HORIZON}")
    dataset = _load(name_or_path, Path(folder) if folder is not None else _folder_of_environment(), frames)
    order = np.random.default_rng(seed).permutation(len(dataset.train))
    return replace(dataset, train=dataset.train.take(order))


def _folder_of_environment() -> Path | None:
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else None


def _load(name: str, folder: Path | None, frames: int) -> Dataset:
    if Path(name).suffix in SUFFIXES:
        return load_own(name)
    if name in EMBEDDED:
        return EMBEDDED[name]()
    if name in VISION:
        from spikecut.models.data.vision import load_vision

        return load_vision(name, folder)
    if name in EMULATED:
        from spikecut.models.data.emulated import PREFIX, emulated

        return emulated(_load(name.removeprefix(PREFIX), folder, frames), frames)
    if name in RECORDED:
        from spikecut.models.data.events import load_events

        return load_events(name, folder, frames)
    raise DataError(
        f"data set {name!r} is unknown: choose {', '.join((*EMBEDDED, *VISION, *RECORDED))}, an emulated-NAME of the "
        f"images among them, or a file ending in {', '.join(SUFFIXES)}"
    )
