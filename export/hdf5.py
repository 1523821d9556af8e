"""HDF5 files read as data: links refused, types and sizes checked before anything is allocated."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from spikecut.errors import BundleError
from spikecut.export.graph import IntArray

MAXIMUM_ELEMENTS = 2**28


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to read; BundleError if it is missing, truncated, not HDF5, or proves damaged on the way."""
    if not path.is_file():
        raise BundleError(f"{path}: no such file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise BundleError(f"{path}: not an HDF5 file, or truncated") from error
    with file:
        try:
            yield file
        except (OSError, KeyError, RuntimeError, ValueError, TypeError, MemoryError) as error:  # all of them h5py's
            raise BundleError(f"{path}: damaged ({' '.join(str(error).split())[:200]})") from error


def read_array(group: h5py.Group, key: str, path: Path) -> IntArray:
    """An integer dataset as int64, its type and size checked before anything is allocated."""
    dataset = read_dataset(group, key, path)
    if dataset.dtype.kind not in "iub":
        raise BundleError(f"{path}: {group.name}/{key} is of type {dataset.dtype}, expected integers")
    return np.asarray(_content(dataset, path), dtype=np.int64)


def read_whole(group: h5py.Group, key: str, path: Path) -> IntArray:
    """Like `read_array`, for files that hold whole numbers as floats, as lava-dl's do."""
    dataset = read_dataset(group, key, path)
    if dataset.dtype.kind != "f":
        return read_array(group, key, path)
    values = np.asarray(_content(dataset, path))
    if not np.isfinite(values).all() or (np.abs(values) >= 2**31).any() or (values != np.trunc(values)).any():
        raise BundleError(f"{path}: {group.name}/{key} does not hold integers; quantise the network first")
    return values.astype(np.int64)


def subgroup(group: h5py.Group, key: str, path: Path) -> h5py.Group:
    """A group stored in this very file; BundleError otherwise."""
    if key not in group or not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise BundleError(f"{path}: {group.name.rstrip('/')}/{key} is missing; the file is damaged or foreign")
    found = group[key]
    if not isinstance(found, h5py.Group):
        raise BundleError(f"{path}: {found.name} is not a group; the file is damaged or foreign")
    return found


def read_dataset(group: h5py.Group, key: str, path: Path) -> h5py.Dataset:
    """A dataset stored in this very file, its size checked; BundleError otherwise."""
    if key not in group:
        raise BundleError(f"{path}: {group.name}/{key} is missing; the file is damaged or foreign")
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise BundleError(f"{path}: {group.name}/{key} is a link; spikecut follows none")
    dataset = group[key]
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise BundleError(f"{path}: {group.name}/{key} is not a dataset inside this file")
    if dataset.size is None or dataset.size > MAXIMUM_ELEMENTS:
        raise BundleError(
            f"{path}: {group.name}/{key} claims {dataset.size} elements, at most {MAXIMUM_ELEMENTS} are read"
        )
    return dataset


def _content(dataset: h5py.Dataset, path: Path) -> object:
    try:
        return dataset[()]
    except (OSError, MemoryError) as error:
        raise BundleError(f"{path}: {dataset.name} cannot be read; the file is damaged") from error
