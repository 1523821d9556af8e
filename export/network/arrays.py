"""The arrays, shapes and numbers that networks are made of, frozen and whole; and batch norm, which is four of them.

Shapes are torch's: (channels, height, width) or (features,).
"""

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.errors import ExportError
from spikecut.text import brief

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Integers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]
Shape = tuple[int, ...]
Pair = tuple[int, int]


def size(shape: Shape) -> int:
    """Number of elements of an array of this shape."""
    return math.prod(shape)


def frozen_float(values: npt.ArrayLike) -> Array:
    """A read-only float64 copy."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def whole(value: object, what: str) -> int:
    """A Python integer of any integer type; ExportError for other numbers and texts."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ExportError(f"{what} {value!r}: expected an integer") from None


def frozen_int(values: npt.ArrayLike, what: str) -> npt.NDArray[np.int64]:
    """A read-only int64 copy; ExportError if a value is not integral, or needs more than 64 bits."""
    given = np.array(values)
    if given.dtype.kind == "f":
        fits = np.isfinite(given).all() and (np.abs(given) < 2.0**63).all() and (given == np.trunc(given)).all()
    else:
        fits = given.dtype.kind in "iub" and (given.dtype != np.uint64 or (given < np.uint64(2**63)).all())
    if not fits:
        raise ExportError(f"{what}: a value is not an integer of 64 bits: quantise the network first")
    array = given.astype(np.int64)
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class BatchNorm:
    """Inference-time batch normalisation: y = gamma (x - mean) / sqrt(variance + epsilon) + beta, per channel."""

    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    epsilon: float

    __repr__ = brief

    def __post_init__(self) -> None:
        for name in ("gamma", "beta", "mean", "variance"):
            object.__setattr__(self, name, frozen_float(getattr(self, name)))
