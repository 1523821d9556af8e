"""The embedded data set: scikit-learn's 8 x 8 handwritten digits."""

import numpy as np

from spikecut.models.data.dataset import Dataset, Split

SPLIT_SEED = 2025
TEST_SAMPLES = 500
CALIBRATION_SAMPLES = 450


def digits() -> Dataset:
    """1797 digits, x [N, 1, 8, 8] in raw units 0..16: 847 to train on, 450 for calibration, 500 for the test.

    The parts are stratified by class and always the same (Alpaydin and Kaynak, "Optical recognition of handwritten
    digits", UCI repository, 1998; the copy inside scikit-learn).
    """
    from sklearn.datasets import load_digits  # scikit-learn is heavy
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    everything = Split(
        images.reshape(-1, 1, 8, 8).astype(np.float32), labels.astype(np.int64), np.arange(len(labels), dtype=np.int64)
    )
    rest, test = train_test_split(
        everything.index, test_size=TEST_SAMPLES, stratify=everything.y, random_state=SPLIT_SEED
    )
    train, calibration = train_test_split(
        rest, test_size=CALIBRATION_SAMPLES, stratify=everything.y[rest], random_state=SPLIT_SEED
    )
    return Dataset(
        "digits",
        train=everything.take(train),
        calibration=everything.take(calibration),
        test=everything.take(test),
        labels=tuple(str(digit) for digit in range(10)),
    )
