"""The user's own samples, left in their file and read slice by slice: a run of a million needs no memory for them.

What is stored in Fortran's order cannot be read so, and is held in memory in the type in which it is stored.
"""

import math
import weakref
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import numpy.typing as npt

from spikecut.errors import DataError
from spikecut.files import check_regular, open_regular
from spikecut.models.data.dataset import IntArray, SampleArray, check_labels, check_samples, check_shape
from spikecut.models.data.memory import check_memory
from spikecut.models.data.own import (
    FOREIGN,
    KEYS,
    NEITHER,
    PARTS,
    SPLIT,
    SUFFIXES,
    check_pair,
    hdf5_members,
    npz_header,
    npz_members,
    part_positions,
)

Read = Callable[[int, int], npt.NDArray[Any]]
SKIP_BYTES = 2**24
SPARSE = 8
"""Of so many neighbours at least one must be wanted, else samples are read one by one."""
MADE_BYTES = 16
"""What is made of a number that was read: of a label an int64 and its position, of a sample at most as much."""


class _File:
    """An open file of samples: how to read samples `first` to `stop` of each of its arrays."""

    def __init__(self, path: Path) -> None:
        self.path, self.stack = path, ExitStack()
        self.arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any], Read]] = {}
        self.members: dict[str, _Member] = {}
        weakref.finalize(self, self.stack.close)
        check_regular(path, DataError)
        self.state = self._state()
        try:
            if path.suffix == ".npz":
                self._open_npz()
            else:
                self._open_hdf5()
        except DataError:
            raise
        except FOREIGN as exc:
            raise DataError(f"{path}: truncated or not a {path.suffix} file ({type(exc).__name__})") from exc

    def _state(self) -> tuple[int, ...]:
        found = self.path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _open_hdf5(self) -> None:
        file = self.stack.enter_context(h5py.File(self.path, "r"))
        for key, dataset in hdf5_members(self.path, file, KEYS).items():

            def read(first: int, stop: int, dataset: h5py.Dataset = dataset) -> npt.NDArray[Any]:
                return np.asarray(dataset[first:stop])

            self.arrays[key] = dataset.shape, dataset.dtype, read

    def _open_npz(self) -> None:
        archive = self.stack.enter_context(
            zipfile.ZipFile(self.stack.enter_context(open_regular(self.path, DataError)))
        )
        for key, info in npz_members(self.path, archive, KEYS).items():
            with archive.open(info) as member:
                shape, fortran, dtype = npz_header(self.path, key, member)
                begin, content = member.tell(), None
                if fortran and len(shape) > 1:
                    check_memory(self.path, info.file_size)
                    content = np.frombuffer(member.read(), dtype)
            if content is None:
                rows = self.members[key] = _Member(archive, info, begin, shape[1:], dtype)
                self.arrays[key] = shape, dtype, rows.read
            else:
                self.arrays[key] = shape, dtype, _Whole(content.reshape(shape, order="F")).read

    def read(self, key: str, first: int, stop: int) -> npt.NDArray[Any]:
        """Samples of one array; DataError if the file has changed or is damaged, or they do not fit into the memory."""
        shape, dtype, read = self.arrays[key]
        check_memory(self.path, (stop - first) * math.prod(shape[1:]) * (dtype.itemsize + MADE_BYTES))
        with self._damage_told():
            if self._state() != self.state:
                raise DataError(f"{self.path}: changed while its samples were read: run again")
            return read(first, stop)

    def finish(self, key: str) -> None:
        """No more is needed of an array; an archive's is read on all the same, once, to find damage anywhere in it."""
        if key in self.members:
            with self._damage_told():
                self.members[key].finish()

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except FOREIGN as exc:
            raise DataError(f"{self.path}: truncated or damaged ({type(exc).__name__})") from exc


@dataclass(frozen=True)
class _Whole:
    """An array in memory."""

    content: npt.NDArray[Any]

    def read(self, first: int, stop: int) -> npt.NDArray[Any]:
        """Rows from `first` to `stop`."""
        return self.content[first:stop]


class _Member:
    """An array in an archive, packed or not, that is read from its begin on, and again from there to go back.

    It is never sought in: so its checksum is compared each time that its end is reached. whole: whether it was.
    """

    def __init__(
        self,
        archive: zipfile.ZipFile,
        info: zipfile.ZipInfo,
        begin: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self.archive, self.info, self.begin, self.shape, self.dtype = archive, info, begin, shape, dtype
        self.row = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.stream: IO[bytes] | None = None
        self.place = 0
        self.whole = False

    def read(self, first: int, stop: int) -> npt.NDArray[Any]:
        """Rows from `first` to `stop`."""
        start = self.begin + first * self.row
        with self._at(start) as stream:
            content = self._take(stream, (stop - first) * self.row)
        return np.frombuffer(content, self.dtype).reshape(stop - first, *self.shape)

    def finish(self) -> None:
        """Read on to the end, for the checksum, unless that was reached before."""
        if not self.whole:
            with self._at(self.info.file_size):
                pass

    @contextmanager
    def _at(self, start: int) -> Iterator[IO[bytes]]:
        """The stream at this place; after a failure it is opened anew, for nobody knows then where it is."""
        stream, self.stream = self.stream, None
        if stream is None or start < self.place:
            if stream is not None:
                stream.close()
            stream, self.place = self.archive.open(self.info), 0
        while self.place < start:
            self._take(stream, min(SKIP_BYTES, start - self.place))
        yield stream
        self.stream, self.whole = stream, self.whole or self.place == self.info.file_size

    def _take(self, stream: IO[bytes], size: int) -> bytes:
        content = stream.read(size)
        self.place += len(content)
        if len(content) < size:
            raise EOFError
        return content


class StoredSamples:
    """The x of a split, float32 [N, *shape], or uint8 [N, T, *shape] where it holds events; slices of it are arrays.

    positions: int64 [N], which of the file's samples these are; None for all.
    """

    def __init__(self, file: _File, key: str, events: bool, positions: IntArray | None = None) -> None:
        self.file, self.key, self.positions = file, key, positions
        shape, _, _ = file.arrays[key]
        self.shape = (shape[0] if positions is None else len(positions), *shape[1:])
        self.dtype = np.dtype(np.uint8 if events else np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice, /) -> SampleArray:
        """Consecutive samples; DataError for a NaN or a number beyond float32, and see _File.read."""
        first, stop, _ = part.indices(len(self))
        stop = max(first, stop)
        if self.positions is None or first == stop:
            values = self.file.read(self.key, first, stop)
        else:
            values = self._read_chosen(self.positions[first:stop])
        if stop == len(self):
            self.file.finish(self.key)
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which is refused
            samples = values.astype(self.dtype, copy=False)
        try:
            check_samples(samples)
        except DataError as exc:
            raise DataError(f"{self.file.path}: {exc}") from exc
        return samples

    def _read_chosen(self, chosen: IntArray) -> npt.NDArray[Any]:
        """Samples at these positions of the file: in one piece where they lie close together, else one by one."""
        low, high = int(chosen.min()), int(chosen.max()) + 1
        if high - low <= SPARSE * len(chosen):
            return self.file.read(self.key, low, high)[chosen - low]
        order = np.argsort(chosen, kind="stable")
        rows = [self.file.read(self.key, position, position + 1) for position in chosen[order].tolist()]
        return np.concatenate(rows)[np.argsort(order)]

    def take(self, positions: IntArray) -> "StoredSamples":
        """The samples at these positions, in whatever order."""
        chosen = positions if self.positions is None else self.positions[positions]
        return StoredSamples(self.file, self.key, self.dtype == np.uint8, chosen)


@dataclass(frozen=True)
class StoredSplit:
    """Labelled samples that stay in their file; see Split."""

    x: StoredSamples
    y: IntArray
    index: IntArray

    def __post_init__(self) -> None:
        check_shape(self.x.shape, self.x.dtype == np.uint8, self.y, self.index)
        check_labels(self.y)

    def __len__(self) -> int:
        return len(self.y)

    def take(self, positions: IntArray) -> "StoredSplit":
        """The samples at these positions, in whatever order."""
        return StoredSplit(self.x.take(positions), self.y[positions], self.index[positions])


@dataclass(frozen=True)
class StoredDataset:
    """What a run needs of a file of samples. everything: all of them, where the file holds x and y alone; split: see
    Dataset.
    """

    calibration: StoredSplit
    test: StoredSplit
    everything: StoredSplit | None = None
    split: str = ""


def open_own(path: str | Path) -> StoredDataset:
    """The samples that `load_own` loads, left in their file. DataError as there, for the samples when they are read."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a file ending in {', '.join(SUFFIXES)}")
    file = _File(path)
    if all(f"{axis}_{part}" in file.arrays for axis in "xy" for part in PARTS):
        start, parts = 0, {}
        for part in PARTS:
            parts[part] = _split(file, f"_{part}", start)
            start += len(parts[part])
        if len({part.x.shape[1:] for part in parts.values()}) > 1:
            shapes = ", ".join(f"x_{name} {part.x.shape}" for name, part in parts.items())
            raise DataError(f"{path}: samples of different shapes: {shapes}")
        return StoredDataset(parts["calibration"], parts["test"])
    if "x" not in file.arrays or "y" not in file.arrays:
        raise DataError(NEITHER.format(path))
    everything = _split(file, "", 0)
    positions = part_positions(path, everything.y)
    calibration, test = everything.take(positions["calibration"]), everything.take(positions["test"])
    return StoredDataset(calibration, test, everything, SPLIT.format(path.name))


def _split(file: _File, suffix: str, start: int) -> StoredSplit:
    shape, dtype, _ = file.arrays[f"y{suffix}"]
    events = check_pair(file.path, suffix, _Kind(*file.arrays[f"x{suffix}"][:2]), _Kind(shape, dtype))
    labels = file.read(f"y{suffix}", 0, shape[0])
    index = np.arange(start, start + len(labels), dtype=np.int64)
    try:
        return StoredSplit(StoredSamples(file, f"x{suffix}", events), labels.astype(np.int64), index)
    except DataError as exc:
        raise DataError(f"{file.path}: {exc}") from exc


@dataclass(frozen=True)
class _Kind:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
