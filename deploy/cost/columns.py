"""Numbers of every sample of a run, which take no memory while they lie on disk."""

import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cost.band import BAND, Band, StoredBand
from spikecut.deploy.placement.quantities import Edge

FloatArray = npt.NDArray[np.float64]
SPOOL_BYTES = 2**23
BLOCK = 2**12


class Column:
    """Numbers, one a sample, that are appended block by block and read back whole."""

    def __init__(self, owner: "Columns", dtype: npt.DTypeLike) -> None:
        self.owner, self.file, self.dtype = owner, owner.file, np.dtype(dtype)  # the owner's end closes the file
        self.blocks: list[tuple[IO[bytes], int, int]] = []  # in the file: first byte, and how many numbers
        self.waiting: list[npt.NDArray[Any]] = []
        self.size = self.flushed = 0

    def append(self, values: npt.NDArray[Any]) -> None:
        """Put these after those that are there."""
        self.waiting.append(np.array(values, dtype=self.dtype))
        self.size += len(values)
        if self.file is not None and self.size - self.flushed >= BLOCK:
            self.blocks.append((self.file, self.file.seek(0, 2), self.size - self.flushed))
            self.file.write(np.concatenate(self.waiting).tobytes())
            self.waiting, self.flushed = [], self.size

    def read(self) -> npt.NDArray[Any]:
        """All of them."""
        found = np.empty(self.size, dtype=self.dtype)
        filled = 0
        for file, first, count in self.blocks:
            file.seek(first)
            found[filled : filled + count] = np.frombuffer(file.read(count * self.dtype.itemsize), self.dtype)
            filled += count
        for block in self.waiting:
            found[filled : filled + len(block)] = block
            filled += len(block)
        return found

    def band(self, read: Callable[[Edge], FloatArray]) -> Band:
        """A band that is computed of this column and others: at once in memory, else whenever it is asked for."""
        return Band(*(read(edge) for edge in BAND)) if self.file is None else StoredBand(read)


class Columns:
    """Makes columns: in memory, or, with `on_disk`, in one unnamed file once they take more than SPOOL_BYTES.

    folder: of that file; None takes the system's for temporary files.
    """

    def __init__(self, on_disk: bool = False, folder: Path | None = None) -> None:
        self.file: IO[bytes] | None = None
        if on_disk:
            self.file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES, dir=None if folder is None else str(folder))  # noqa: SIM115 (see finalize)
            weakref.finalize(self, self.file.close)

    def column(self, dtype: npt.DTypeLike = np.float64) -> Column:
        """An empty column."""
        return Column(self, dtype)


IN_MEMORY = Columns()
"""Makes columns for runs that are in memory themselves."""
