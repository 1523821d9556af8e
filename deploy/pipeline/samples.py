"""What every step asks of a data set's samples: their hash, whether their labels fit, the first few of them."""

import hashlib

import numpy as np

from spikecut.errors import InputError
from spikecut.export.network.layers import IntegerNetwork
from spikecut.models.data import Dataset, Split


def data_hash(split: Split) -> str:
    """SHA-256 over the samples and labels of a split."""
    digest = hashlib.sha256()
    for array in (split.x, split.y):
        digest.update(str((array.shape, array.dtype)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def check_labels(network: IntegerNetwork, split: Split) -> None:
    """Raise InputError unless every label is a class of the network."""
    if len(split.y) and (split.y.min() < 0 or split.y.max() >= network.classes):
        raise InputError(
            f"labels run from {split.y.min()} to {split.y.max()}, the network has classes 0 to {network.classes - 1}"
        )


def first_samples(split: Split, samples: int | None) -> Split:
    """The first samples of a split; all of them for None."""
    return split if samples is None else Split(split.x[:samples], split.y[:samples], split.index[:samples])


def split_notes(data: Dataset) -> tuple[str, ...]:
    """A remark for the user if one set of samples was split into three; else none."""
    return (data.split,) if data.split else ()
