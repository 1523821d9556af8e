"""The user's own samples, from an .npz or an HDF5 file. The file is distrusted: nothing is unpickled or followed."""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt

from spikecut.errors import DataError
from spikecut.files import check_regular, open_regular
from spikecut.models.data.dataset import LABELS, Dataset, IntArray, Split
from spikecut.models.data.memory import check_memory, check_stored

SUFFIXES = (".npz", ".h5", ".hdf5")
PARTS = ("train", "calibration", "test")
SPLIT = (
    "{} holds x and y alone: split by class, in file order, into 60 % train, 20 % calibration and 20 % test; a network "
    "trained elsewhere on these samples has seen the test: give x_train, y_train, x_calibration, …, y_test"
)
NEITHER = "{}: holds neither x and y nor x_train, y_train, x_calibration, y_calibration, x_test and y_test"
Array = npt.NDArray[Any]
Reader = Callable[[Path, tuple[str, ...]], dict[str, Array]]
# numpy 1 has no types for these.
_READ_MAGIC: Callable[[IO[bytes]], tuple[int, int]] = np.lib.format.read_magic
_READ_ARRAY: Callable[..., Array] = np.lib.format.read_array
_NPY_HEADERS: dict[tuple[int, int], Callable[[IO[bytes]], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What zipfile, zlib, numpy and h5py raise for a damaged or foreign file; they have no common base below Exception.
FOREIGN = (
    OSError, ValueError, TypeError, LookupError, RuntimeError, ArithmeticError, EOFError, MemoryError, SyntaxError,
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
)  # fmt: skip
KEYS = tuple(f"{axis}{part}" for part in ("", "_train", "_calibration", "_test") for axis in "xy")


def load_own(path: str | Path) -> Dataset:
    """Data set in a file with the arrays x [N, ...] and y [N], or x_train, y_train, x_calibration, … y_test.

    x: any real numbers, [N, features] or [N, channels, height, width], or events counted in T frames, uint8 [N, T,
    features] or [N, T, channels, height, width]; y: integers from 0. With x and y alone, within
    each class and in file order, of every five samples three are for training, one for calibration, one for the test.

    DataError for a file that is missing, foreign, truncated or too large, a missing key, or samples that do not fit.
    """
    path = Path(path)
    arrays = read_arrays(path)
    split = ""
    if all(f"{axis}_{part}" in arrays for axis in "xy" for part in PARTS):
        start = 0
        parts = {}
        for part in PARTS:
            parts[part] = _split(path, arrays, f"_{part}", start)
            start += len(parts[part])
    elif "x" in arrays and "y" in arrays:
        parts = _three_parts(path, _split(path, arrays, ""))
        split = SPLIT.format(path.name)
    else:
        raise DataError(NEITHER.format(path))
    classes = 1 + max(int(part.y.max()) for part in parts.values())
    labels = tuple(str(label) for label in range(classes))
    train = parts["train"]
    note = f"uint8 [N, T, …]: taken as events in {train.x.shape[1]} frames of {train.shape}" if train.events else ""
    return Dataset(path.name, train, parts["calibration"], parts["test"], labels, note, split)


def load_samples(path: str | Path) -> Split:
    """All samples of a file as one test set: its x and y, or else its x_test and y_test. DataError as in load_own."""
    path = Path(path)
    arrays = read_arrays(path)
    for suffix in ("", "_test"):
        if f"x{suffix}" in arrays and f"y{suffix}" in arrays:
            return _split(path, arrays, suffix)
    raise DataError(f"{path}: holds neither x and y nor x_test and y_test")


def read_arrays(path: Path, keys: tuple[str, ...] = KEYS) -> dict[str, Array]:
    """Those of the arrays that the file holds, real numbers of any shape. DataError as in load_own."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a file ending in {', '.join(SUFFIXES)}")
    check_regular(path, DataError)
    read: Reader = _read_npz if path.suffix == ".npz" else _read_hdf5
    try:
        return read(path, keys)
    except DataError:
        raise
    except FOREIGN as exc:
        raise DataError(f"{path}: truncated or not a {path.suffix} file ({type(exc).__name__})") from exc


def _check_size(path: Path, arrays: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
    """What the arrays need as they are stored, and as samples before and after they are split: float32, or events."""
    needed = 0
    for shape, dtype in arrays.values():
        events = dtype == np.uint8 and len(shape) in (3, 5)
        needed += math.prod(shape) * (dtype.itemsize + 2 * (1 if events else 4))
    check_memory(path, needed)


def _check_dtype(path: Path, key: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biuf":
        raise DataError(f"{path}: {key} has dtype {dtype}, expected real numbers")


def npz_header(path: Path, key: str, member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and dtype that the array of this member claims to have."""
    version = _READ_MAGIC(member)
    if version not in _NPY_HEADERS:
        raise DataError(f"{path}: {key} has npy format {version}, expected 1.0 or 2.0")
    shape, fortran, dtype = _NPY_HEADERS[version](member)
    _check_dtype(path, key, dtype)
    return shape, fortran, dtype


def npz_members(path: Path, archive: zipfile.ZipFile, keys: tuple[str, ...]) -> dict[str, zipfile.ZipInfo]:
    """The arrays of these keys that are there; DataError for one that is truncated or no array of numbers."""
    names = set(archive.namelist())
    present = {key: archive.getinfo(f"{key}.npy") for key in keys if f"{key}.npy" in names}
    for key, info in present.items():
        with archive.open(info) as member:
            shape, _, dtype = npz_header(path, key, member)
            if math.prod(shape) * dtype.itemsize != info.file_size - member.tell():
                raise DataError(f"{path}: {key} is truncated: its header and its length differ")
        check_stored(f"{path}: {key}", info.file_size, info.compress_size)
    return present


def _read_npz(path: Path, keys: tuple[str, ...]) -> dict[str, Array]:
    with open_regular(path, DataError) as file, zipfile.ZipFile(file) as archive:
        present, headers = npz_members(path, archive, keys), {}
        for key, info in present.items():
            with archive.open(info) as member:
                shape, _, dtype = npz_header(path, key, member)
                headers[key] = shape, dtype
        _check_size(path, headers)
        found = {}
        for key, info in present.items():
            with archive.open(info) as member:  # the very member whose header was checked, whatever else has its name
                found[key] = _READ_ARRAY(member, allow_pickle=False)
    return found


def hdf5_members(path: Path, file: h5py.File, keys: tuple[str, ...]) -> dict[str, h5py.Dataset]:
    """The arrays of these keys that are there; DataError for one that is not stored in the file, or no numbers."""
    present: dict[str, h5py.Dataset] = {}
    for key in keys:
        if key not in file:
            continue
        dataset = file[key] if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
        if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
            raise DataError(f"{path}: {key} is not a data set stored in this file")
        _check_dtype(path, key, dataset.dtype)
        chunk = math.prod(dataset.chunks) if dataset.chunks else 0  # is unpacked whole
        check_memory(path, chunk * dataset.dtype.itemsize)
        largest = max(math.prod(dataset.shape), chunk)
        check_stored(f"{path}: {key}", largest * dataset.dtype.itemsize, dataset.id.get_storage_size())
        present[key] = dataset
    return present


def _read_hdf5(path: Path, keys: tuple[str, ...]) -> dict[str, Array]:
    with h5py.File(path, "r") as file:
        present = hdf5_members(path, file, keys)
        _check_size(path, {key: (dataset.shape, dataset.dtype) for key, dataset in present.items()})
        return {key: np.asarray(dataset[()]) for key, dataset in present.items()}


def _split(path: Path, arrays: dict[str, Array], suffix: str, start: int = 0) -> Split:
    x, y = arrays[f"x{suffix}"], arrays[f"y{suffix}"]
    events = check_pair(path, suffix, x, y)
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which Split refuses
        samples = x if events else x.astype(np.float32, copy=False)
    try:
        return Split(samples, y.astype(np.int64), np.arange(start, start + len(y), dtype=np.int64))
    except DataError as exc:
        raise DataError(f"{path}: {exc}") from exc


class HasShape(Protocol):
    """An array, or what is known of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its type."""


def check_pair(path: Path, suffix: str, x: HasShape, y: HasShape) -> bool:
    """Whether x holds events; DataError where samples or labels have a shape or a type that none have."""
    if y.dtype.kind not in "iu":
        raise DataError(f"{path}: y{suffix} has dtype {y.dtype}, expected integers; convert the labels")
    if len(x.shape) == 0 or len(y.shape) != 1:
        raise DataError(
            f"{path}: x{suffix} of shape {x.shape} and y{suffix} of shape {y.shape}: expected [N, ...] and [N]"
        )
    if x.shape[0] != y.shape[0]:
        raise DataError(f"{path}: x{suffix} holds {x.shape[0]} samples but y{suffix} has shape {y.shape}: {LABELS}")
    events = x.dtype == np.uint8 and len(x.shape) in (3, 5)
    if len(x.shape) in (3, 5) and not events:
        raise DataError(
            f"{path}: x{suffix} of shape {x.shape} and dtype {x.dtype}: expected [N, features] or [N, channels, "
            "height, width], or events [N, T, ...] counted in uint8: convert them"
        )
    return events


def _three_parts(path: Path, everything: Split) -> dict[str, Split]:
    return {part: everything.take(chosen) for part, chosen in part_positions(path, everything.y).items()}


def part_positions(path: Path, labels: IntArray) -> dict[str, IntArray]:
    """Which samples of one set belong to which of PARTS; DataError if there are too few."""
    rank_in_class = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = labels == label
        rank_in_class[members] = np.arange(members.sum())
    turn = rank_in_class % 5
    positions: dict[str, IntArray] = {
        "train": np.flatnonzero(turn < 3),
        "calibration": np.flatnonzero(turn == 3),
        "test": np.flatnonzero(turn == 4),
    }
    if not all(len(chosen) for chosen in positions.values()):
        raise DataError(f"{path}: too few samples to split: give at least five of one class")
    return positions
