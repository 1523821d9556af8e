"""Lava's order of axes: (W, H, C) where torch has (C, H, W). numpy only."""

from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.export.network.arrays import IntArray, Integers, Shape


def lava_shape(shape: Shape) -> Shape:
    """Lava's (W, H, C) for torch's (C, H, W); (F,) stays."""
    return shape[::-1]


def _reversed(frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return frames.transpose((0, *range(frames.ndim - 1, 0, -1)))


def to_lava(frames: Integers) -> npt.NDArray[np.int32]:
    """Frames [T, C, H, W] → [T, W, H, C]."""
    return np.ascontiguousarray(_reversed(frames), dtype=np.int32)


def from_lava(rows: npt.NDArray[np.int32], shape: Shape) -> npt.NDArray[np.int32]:
    """Flat rows in Lava's order [T, elements] → [T, *shape] in torch's."""
    return np.ascontiguousarray(_reversed(rows.reshape(rows.shape[0], *lava_shape(shape))))


def lava_kernels(weight: IntArray) -> IntArray:
    """Kernels (O, I, H, W) → (O, W, H, I), flipped: Lava convolves where torch correlates."""
    return weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)


def lava_columns(matrix: IntArray, input_shape: Shape) -> IntArray:
    """A matrix (O, I) over inputs in torch's order → over inputs in Lava's."""
    return _reversed(matrix.reshape(matrix.shape[0], *input_shape)).reshape(matrix.shape)
