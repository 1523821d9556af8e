"""The embedded data set: scikit-learn's 8 x 8 handwritten digits."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from spikecut.errors import DataError
from spikecut.models.data.dataset import Dataset, Split

PARTS = 847, 450, 500
SPLIT = Path(__file__).parent / "digits_split.npy"
"""int16 [1797]: the samples' indices, part by part, as scikit-learn's train_test_split drew them (seed 2025)."""


def digits() -> Dataset:
    """1797 digits, x [N, 1, 8, 8] in raw units 0..16: 847 to train on, 450 for calibration, 500 for the test.

    The parts are stratified by class and always the same (Alpaydin and Kaynak, "Optical recognition of handwritten
    digits", UCI repository, 1998; the copy inside scikit-learn, whose import takes longer than all that is read here).

    DataError: scikit-learn is not installed, or does not hold them where it did.
    """
    found = find_spec("sklearn")
    file = Path("" if found is None or found.origin is None else found.origin).parent / "datasets/data/digits.csv.gz"
    try:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    except OSError as error:
        raise DataError(f"the digits of scikit-learn cannot be read ({error}): pip install scikit-learn") from error
    images, labels = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)
    train, calibration, test = np.split(np.load(SPLIT).astype(np.int64), np.cumsum(PARTS)[:-1])
    everything = Split(images, labels, np.arange(len(labels), dtype=np.int64))
    return Dataset(
        "digits",
        train=everything.take(train),
        calibration=everything.take(calibration),
        test=everything.take(test),
        labels=tuple(str(digit) for digit in range(10)),
    )
