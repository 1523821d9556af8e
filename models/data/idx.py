"""IDX files, as MNIST and Fashion-MNIST come in. The file is distrusted: its size is checked before memory is taken."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from spikecut.errors import DataError
from spikecut.files import open_regular
from spikecut.models.data.memory import check_memory

UNSIGNED_BYTE = 0x08
Bytes = npt.NDArray[np.uint8]


def read_idx(path: Path, dimensions: int) -> Bytes:
    """The unsigned bytes of an IDX file of this many dimensions, plain or (named .gz) compressed.

    DataError for a file that is foreign, truncated, longer than its header says, or in need of too much memory.
    """
    try:
        with open_regular(path, DataError) as file:
            if path.suffix == ".gz":
                with gzip.open(file, "rb") as packed:
                    return _read(path, packed, dimensions)
            return _read(path, file, dimensions)
    except (OSError, EOFError, zlib.error, struct.error, MemoryError) as exc:
        raise DataError(f"{path}: truncated or not an IDX file ({type(exc).__name__})") from exc


def _read(path: Path, file: BinaryIO | gzip.GzipFile, dimensions: int) -> Bytes:
    zero, kind, found = struct.unpack(">HBB", file.read(4))
    if zero != 0 or kind != UNSIGNED_BYTE or found != dimensions:
        raise DataError(f"{path}: not an IDX file of unsigned bytes with {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
    size = math.prod(shape)
    check_memory(path, 5 * size)  # the bytes, and float32 of each
    content = file.read(size + 1)
    if len(content) != size:
        raise DataError(f"{path}: truncated or too long: its header claims {size} bytes, it holds {len(content)}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
