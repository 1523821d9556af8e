"""HDF5 files read as data: links refused, types and sizes checked before anything is allocated; written in memory.

What a file claims is held against what it stores, and all its datasets together against one budget: HDF5 stores nothing
for a dataset that was never written, and next to nothing for zeros that are packed.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from spikecut.errors import BundleError
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.geometry import MAXIMUM_ELEMENTS
from spikecut.files import check_regular

NUMBER = 8
MAXIMUM_BYTES = NUMBER * MAXIMUM_ELEMENTS
"""Of all datasets that are read of one file, as they lie in memory."""
PACKED = 2048
"""How often a byte in the file may be claimed: gzip packs zeros 1032 to 1."""
SMALL = 2**16
MAXIMUM_CHUNK = 2**24
"""Bytes of one chunk, which HDF5 unpacks as a whole, however little of it is claimed."""

_left: dict[tuple[int, int], int] = {}
"""By thread, and HDF5's number of an open file, which two threads may share: bytes that may still be read of it."""


def packed(write: Callable[[h5py.File], None]) -> bytes:
    """What `write` puts into a file, as its bytes, made in memory: the HDF5 library crashes on a disk that is full."""
    memory = BytesIO()
    with h5py.File(memory, "w") as file:
        write(file)
    return memory.getvalue()


@contextmanager
def open_hdf5(path: Path, budget: int = MAXIMUM_BYTES) -> Iterator[h5py.File]:
    """An HDF5 file to read; BundleError if it is missing, truncated, not HDF5, or proves damaged on the way.

    budget: bytes of all its datasets together, as they lie in memory.
    """
    check_regular(path, BundleError)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise BundleError(f"{path}: not an HDF5 file, or truncated") from error
    with file:
        try:
            with _budgeted(_number(file), budget):
                yield file
        except (OSError, LookupError, RuntimeError, ValueError, TypeError, MemoryError, OverflowError) as error:
            raise BundleError(f"{path}: damaged ({' '.join(str(error).split())[:200]})") from error


@contextmanager
def _budgeted(number: tuple[int, int], budget: int) -> Iterator[None]:
    before = _left.get(number)  # where a file is opened twice
    _left[number] = budget
    try:
        yield
    finally:
        del _left[number]
        if before is not None:
            _left[number] = before


def _number(found: h5py.File | h5py.Dataset) -> tuple[int, int]:
    return threading.get_ident(), int(h5py.h5o.get_info(found.id).fileno)


def read_array(group: h5py.Group, key: str, path: Path) -> IntArray:
    """An integer dataset as int64, its type and size checked before anything is allocated."""
    return _integers(read_dataset(group, key, path), path)


def _integers(dataset: h5py.Dataset, path: Path) -> IntArray:
    if dataset.dtype.kind not in "iub":
        raise BundleError(f"{path}: {dataset.name} is of type {dataset.dtype}, expected integers")
    values = _content(dataset, path)
    if values.dtype == np.uint64 and int(values.max(initial=0)) >= 2**63:
        raise BundleError(f"{path}: {dataset.name} holds {values.max()}, which does not fit 64 bits with a sign")
    return values.astype(np.int64)


def read_whole(group: h5py.Group, key: str, path: Path) -> IntArray:
    """Like `read_array`, for files that hold whole numbers as floats, as lava-dl's do."""
    dataset = read_dataset(group, key, path)
    if dataset.dtype.kind != "f":
        return _integers(dataset, path)
    values = _content(dataset, path)
    if not (np.isfinite(values) & (np.abs(values) < np.float64(2**31)) & (values == np.trunc(values))).all():
        raise BundleError(f"{path}: {group.name}/{key} does not hold integers; quantise the network first")
    return values.astype(np.int64)


def read_floats(group: h5py.Group, key: str, path: Path) -> npt.NDArray[np.float64]:
    """A dataset of numbers as float64; BundleError for others."""
    dataset = read_dataset(group, key, path)
    if dataset.dtype.kind not in "fiub":
        raise BundleError(f"{path}: {dataset.name} is of type {dataset.dtype}, expected numbers")
    return _content(dataset, path).astype(np.float64)


def subgroup(group: h5py.Group, key: str, path: Path) -> h5py.Group:
    """A group stored in this very file; BundleError otherwise."""
    if key not in group or not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise BundleError(f"{path}: {group.name.rstrip('/')}/{key} is missing; the file is damaged or foreign")
    found = group[key]
    if not isinstance(found, h5py.Group):
        raise BundleError(f"{path}: {found.name} is not a group; the file is damaged or foreign")
    return found


def read_dataset(group: h5py.Group, key: str, path: Path) -> h5py.Dataset:
    """A dataset stored in this very file, its size checked and taken off the file's budget; BundleError otherwise."""
    if key not in group:
        raise BundleError(f"{path}: {group.name}/{key} is missing; the file is damaged or foreign")
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise BundleError(f"{path}: {group.name}/{key} is a link; spikecut follows none")
    dataset = group[key]
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise BundleError(f"{path}: {group.name}/{key} is not a dataset inside this file")
    _take(dataset, path)
    return dataset


def _take(dataset: h5py.Dataset, path: Path) -> None:
    if dataset.size is None or dataset.size > MAXIMUM_ELEMENTS:
        raise BundleError(f"{path}: {dataset.name} claims {dataset.size} elements, at most {MAXIMUM_ELEMENTS} are read")
    itemsize = dataset.dtype.itemsize
    if dataset.chunks is not None and math.prod(dataset.chunks) * itemsize > MAXIMUM_CHUNK:
        raise BundleError(f"{path}: {dataset.name} is stored in chunks of an absurd size")
    stored = int(dataset.id.get_storage_size())
    claimed = dataset.size * itemsize
    if claimed and (not stored or claimed > SMALL + PACKED * stored):
        raise BundleError(
            f"{path}: {dataset.name} claims {claimed} bytes, of which the file stores {stored}; damaged or made to harm"
        )
    number = _number(dataset)
    _left[number] -= dataset.size * max(NUMBER, itemsize)
    if _left[number] < 0:
        raise BundleError(f"{path}: claims more than spikecut reads of one file, with {dataset.name}; split it")


def _content(dataset: h5py.Dataset, path: Path) -> npt.NDArray[np.generic]:
    try:
        return np.asarray(dataset[()])
    except (OSError, MemoryError) as error:
        raise BundleError(f"{path}: {dataset.name} cannot be read; the file is damaged") from error
