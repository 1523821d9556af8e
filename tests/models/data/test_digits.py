import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from spikecut.errors import DataError
from spikecut.models.data import load_dataset
from spikecut.models.data.digits import digits


def test_parts_are_disjoint_stratified_and_in_raw_units():
    dataset = load_dataset("digits")
    parts = (dataset.train, dataset.calibration, dataset.test)
    assert [len(part) for part in parts] == [847, 450, 500]
    indices = np.concatenate([part.index for part in parts])
    assert np.array_equal(np.sort(indices), np.arange(1797))
    for part in parts:
        assert part.x.shape[1:] == (1, 8, 8) and part.x.dtype == np.float32 and part.y.dtype == np.int64
        assert part.x.min() == 0 and part.x.max() == 16 and np.array_equal(part.x, np.rint(part.x))
        counts = np.bincount(part.y, minlength=10)
        assert counts.min() > 0.08 * len(part)
    assert dataset.labels == tuple("0123456789") and dataset.shape == (1, 8, 8)


def test_split_never_changes():
    dataset = load_dataset("digits")
    digest = hashlib.sha256(dataset.calibration.index.tobytes() + dataset.test.index.tobytes()).hexdigest()
    assert digest == "e6ef536f1ec5cb4a1417999c33b2a1494bf1a06d1a2b2b35eb5e8f2f22bf2961"


def test_it_is_what_scikit_learn_gives():
    images, labels = load_digits(return_X_y=True)
    everything = np.arange(len(labels))
    rest, test = train_test_split(everything, test_size=500, stratify=labels, random_state=2025)
    train, calibration = train_test_split(rest, test_size=450, stratify=labels[rest], random_state=2025)
    dataset = digits()
    for part, index in ((dataset.train, train), (dataset.calibration, calibration), (dataset.test, test)):
        assert np.array_equal(part.index, index) and np.array_equal(part.y, labels[index])
        assert np.array_equal(part.x.reshape(len(part), -1), images[index])


def test_seed_gives_the_order_and_not_the_membership():
    first, again, other = load_dataset("digits", 1), load_dataset("digits", 1), load_dataset("digits", 2)
    assert np.array_equal(first.train.index, again.train.index)
    assert not np.array_equal(first.train.index, other.train.index)
    assert set(first.train.index) == set(other.train.index)
    assert np.array_equal(first.test.index, other.test.index)


def test_unknown_name_lists_the_known():
    with pytest.raises(
        DataError, match=r"'minst' is unknown: choose digits, cifar10, .* or a file ending in .npz, .h5, .hdf5"
    ):
        load_dataset("minst")
