"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 from files that are there: nothing is downloaded or unpickled."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikecut.errors import DataError
from spikecut.files import check_regular, read_text
from spikecut.models.data.dataset import Dataset, IntArray, Split
from spikecut.models.data.idx import read_idx
from spikecut.models.data.images import read_class_folders
from spikecut.models.data.memory import MAXIMUM_BYTES, check_memory

Bytes = npt.NDArray[np.uint8]
Part = tuple[Bytes, IntArray]

CALIBRATION_TURN = 10  # of each class every tenth training sample, in the order of the files, is for calibration
MAXIMUM_NAMES = 2**16
WAYS = "give the folder by --data FOLDER or in the environment variable SPIKECUT_DATA"
DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load_vision(name: str, folder: Path | None) -> Dataset:
    """One of NAMES; x float32 [N, C, H, W] from 0 to 1, in steps of 1/255.

    folder: holds the data set's own files, directly, in a folder of its name, or as torchvision lays them out. Which
    sample belongs to which part never changes: of each class, every tenth training sample is for calibration.

    DataError if the files are missing, with the way to get them, or are not what they should be.
    """
    if folder is None:
        raise DataError(f"{name}: its files are needed; {WAYS}")
    if not folder.is_dir():
        raise DataError(f"{name}: {folder} is not a folder; {WAYS}")
    train, test, labels, note = NAMES[name](name, folder)
    return _dataset(name, train, test, labels, note)


def _dataset(name: str, train: Part, test: Part, labels: tuple[str, ...], note: str) -> Dataset:
    check_memory(name, 4 * (train[0].size + test[0].size))
    held = held_out(train[1])
    index = np.arange(len(train[1]), dtype=np.int64)
    everything = Split(_unit(train[0]), train[1], index)
    after = np.arange(len(index), len(index) + len(test[1]), dtype=np.int64)
    return Dataset(
        name,
        train=everything.take(index[~held]),
        calibration=everything.take(index[held]),
        test=Split(_unit(test[0]), test[1], after),
        labels=labels,
        note=note,
    )


def held_out(labels: IntArray) -> npt.NDArray[np.bool_]:
    """Which samples are for calibration: of each class every tenth, in the order given."""
    held = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        held[np.flatnonzero(labels == label)[CALIBRATION_TURN - 1 :: CALIBRATION_TURN]] = True
    if not held.any():
        raise DataError(
            f"too few samples to hold any back for calibration: give at least {CALIBRATION_TURN} of a class"
        )
    return held


def _unit(images: Bytes) -> npt.NDArray[np.float32]:
    return images.astype(np.float32) / np.float32(255)


def _mnist(name: str, folder: Path) -> tuple[Part, Part, tuple[str, ...], str]:
    names = DIGITS if name == "mnist" else CLOTHES
    inside = "MNIST/raw" if name == "mnist" else "FashionMNIST/raw"
    places = (folder / name, folder / inside, folder)
    parts = []
    for stem in ("train", "t10k"):
        images = read_idx(_find(name, places, f"{stem}-images-idx3-ubyte"), 3)
        labels = read_idx(_find(name, places, f"{stem}-labels-idx1-ubyte"), 1).astype(np.int64)
        if images.shape[1:] != (28, 28) or len(images) != len(labels) or not len(images) or labels.max() > 9:
            raise DataError(
                f"{name}: {stem} holds images of shape {images.shape} and {len(labels)} labels: expected as many "
                "28 × 28 images as labels from 0 to 9"
            )
        parts.append((images[:, None], labels))
    return parts[0], parts[1], names, ""


def _find(name: str, places: tuple[Path, ...], stem: str) -> Path:
    for place in places:
        for path in (place / stem, place / f"{stem}.gz"):
            if path.is_file():
                return path
    ways = {
        "mnist": "torchvision's datasets.MNIST(FOLDER, download=True)",
        "fashion-mnist": "Debian's package dataset-fashion-mnist, or torchvision's "
        "datasets.FashionMNIST(FOLDER, download=True)",
    }
    raise DataError(f"{name}: {places[-1]} holds no {stem}(.gz); get it by {ways[name]}, then {WAYS}")


def _cifar(name: str, folder: Path) -> tuple[Part, Part, tuple[str, ...], str]:
    hundred = name == "cifar100"
    binary = "cifar-100-binary" if hundred else "cifar-10-batches-bin"
    for place in (folder / name, folder):
        if (place / binary).is_dir():
            return _cifar_binary(name, place / binary)
        if (place / "train").is_dir() and (place / "test").is_dir():
            train = read_class_folders(place / "train", (32, 32))
            test = read_class_folders(place / "test", (32, 32))
            if train[2] != test[2] or len(train[2]) != (100 if hundred else 10):
                raise DataError(f"{place}: train and test must hold the same {100 if hundred else 10} class folders")
            note = "read from JPEG files, which are lossy" if train[3] or test[3] else "read from image files"
            return train[:2], test[:2], train[2], note
    pickled = folder / ("cifar-100-python" if hundred else "cifar-10-batches-py")
    refusal = f"{pickled.name} is pickled Python and is not opened; " if pickled.is_dir() else ""
    raise DataError(
        f"{name}: {refusal}{folder} holds neither {binary} (the binary version of {name}) nor train and test with one "
        f"folder of images per class; get one of them, then {WAYS}"
    )


def _cifar_binary(name: str, folder: Path) -> tuple[Part, Part, tuple[str, ...], str]:
    if name == "cifar100":
        labels = _names(folder / "fine_label_names.txt", 100)
        return _records(folder, ("train.bin",), 2, 100), _records(folder, ("test.bin",), 2, 100), labels, ""
    batches = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
    return _records(folder, batches, 1, 10), _records(folder, ("test_batch.bin",), 1, 10), CIFAR10, ""


def _names(path: Path, count: int) -> tuple[str, ...]:
    if not path.is_file():
        return tuple(str(label) for label in range(count))
    names = tuple(read_text(path, DataError, MAXIMUM_NAMES).split())
    if len(names) != count:
        raise DataError(f"{path}: holds {len(names)} names, expected {count}")
    return names


def _records(folder: Path, files: tuple[str, ...], label_bytes: int, classes: int) -> Part:
    """Records of label bytes, the last of which counts, and 3072 bytes of red, green and blue."""
    size = label_bytes + 3072
    parts = []
    for file in files:
        path = folder / file
        length = check_regular(path, DataError)
        if length == 0 or length % size or length > MAXIMUM_BYTES:
            raise DataError(f"{path}: its {length} bytes are not records of {size} bytes")
        parts.append(np.fromfile(path, dtype=np.uint8).reshape(-1, size))
    records = np.concatenate(parts)
    labels = records[:, label_bytes - 1].astype(np.int64)
    if labels.max() >= classes:
        raise DataError(f"{folder}: a label is {labels.max()}, expected 0 to {classes - 1}")
    return records[:, label_bytes:].reshape(-1, 3, 32, 32), labels


NAMES: dict[str, Callable[[str, Path], tuple[Part, Part, tuple[str, ...], str]]] = {
    "cifar10": _cifar,
    "cifar100": _cifar,
    "fashion-mnist": _mnist,
    "mnist": _mnist,
}
