"""Data sets: the embedded digits, or the user's own file."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from spikecut.errors import DataError
from spikecut.models.data.dataset import Dataset, Split
from spikecut.models.data.digits import digits
from spikecut.models.data.own import SUFFIXES, load_own, load_samples

__all__ = ["Dataset", "Split", "load_dataset", "load_samples"]

EMBEDDED = {"digits": digits}


def load_dataset(name_or_path: str, seed: int = 0) -> Dataset:
    """The data set of this name ("digits"), or in this file (.npz, .h5, .hdf5).

    seed: gives the order of the training samples; which sample belongs to which part never depends on it.

    DataError for an unknown name, or a file that does not fit (see own.py).
    """
    if Path(name_or_path).suffix in SUFFIXES:
        dataset = load_own(name_or_path)
    elif name_or_path in EMBEDDED:
        dataset = EMBEDDED[name_or_path]()
    else:
        raise DataError(
            f"data set {name_or_path!r} is unknown: choose {', '.join(sorted(EMBEDDED))}"
            f" or a file ending in {', '.join(SUFFIXES)}"
        )
    order = np.random.default_rng(seed).permutation(len(dataset.train))
    return replace(dataset, train=dataset.train.take(order))
