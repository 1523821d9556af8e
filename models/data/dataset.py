"""Split and Dataset: labelled samples in three disjoint parts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.errors import DataError
from spikecut.text import brief, listed, sides, told

FloatArray = npt.NDArray[np.float32]
SampleArray = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]

MAXIMUM_CLASSES = 1024
LABELS = "give one label per sample"


def check_shape(shape: tuple[int, ...], events: bool, y: IntArray, index: IntArray) -> None:
    """DataError unless samples of this shape, their labels and positions belong together."""
    if not (shape[0] == len(y) == len(index)) or y.ndim != 1 or index.ndim != 1:
        raise DataError(f"x holds {shape[0]} samples but y has shape {y.shape}: {LABELS}")
    if len(shape) not in ((3, 5) if events else (2, 4)) or 0 in shape:
        raise DataError(
            f"x of shape {shape}: expected [N, features] or [N, channels, height, width], N ≥ 1, "
            "or events, uint8 [N, T, ...]"
        )


def check_samples(x: SampleArray) -> None:
    """DataError unless all numbers are finite."""
    if not np.isfinite(x).all():
        raise DataError("x holds a NaN, an infinity or a number beyond float32: remove or rescale such samples")


def check_labels(y: IntArray) -> None:
    """DataError for a label that is negative or absurd."""
    if y.min() < 0 or y.max() >= MAXIMUM_CLASSES:
        raise DataError(f"labels from {y.min()} to {y.max()}: expected 0 to classes - 1, below {MAXIMUM_CLASSES}")


@dataclass(frozen=True)
class Split:
    """Labelled samples.

    Attributes
    ----------
    x: float32 [N, *shape], in the source's own units; or uint8 [N, T, *shape], events counted in T frames.
    y: int64 [N], the class of each sample, counted from 0.
    index: int64 [N], position of each sample in the source data set.

    DataError if the lengths differ, there are no samples, x is not finite, or a label is negative or absurd.
    """

    x: SampleArray
    y: IntArray
    index: IntArray

    __repr__ = brief

    def __post_init__(self) -> None:
        check_shape(self.x.shape, self.events, self.y, self.index)
        check_samples(self.x)
        check_labels(self.y)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def events(self) -> bool:
        """Whether x holds counts of events per frame."""
        return self.x.dtype == np.uint8

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one frame of one sample, (C, H, W) or (F,)."""
        return tuple(self.x.shape[2:] if self.events else self.x.shape[1:])

    def take(self, positions: IntArray) -> "Split":
        """The samples at these positions of this split."""
        return Split(self.x[positions], self.y[positions], self.index[positions])


@dataclass(frozen=True)
class Dataset:
    """Samples to train on, to calibrate the cutoff on and to test on; DataError if their shapes or labels differ.

    labels: the classes' names, in the order of y.
    note: what a reader of its figures should know of the source; may be empty.
    split: a line on how one set of samples was split into three; empty where the source came in parts.
    """

    name: str
    train: Split
    calibration: Split
    test: Split
    labels: tuple[str, ...]
    note: str = ""
    split: str = ""

    __repr__ = brief

    def __str__(self) -> str:
        """Shape, classes, the number of samples in each part, and remarks."""
        what = "one sample" if self.frames is None else f"one of {self.frames} frames of events"
        parts = ", ".join(f"{name} {len(getattr(self, name)):,}" for name in ("train", "calibration", "test"))
        return (
            f"data set {self.name}: {what} {sides(self.shape)}, {len(self.labels)} classes: {listed(self.labels)}\n"
            f"samples: {parts}{told([line for line in (self.note, self.split) if line])}"
        )

    def __post_init__(self) -> None:
        for part in (self.calibration, self.test):
            if part.x.shape[1:] != self.train.x.shape[1:]:
                raise DataError(
                    f"{self.name}: samples of shape {part.x.shape[1:]} beside training samples of {self.shape}"
                )
        highest = max(int(part.y.max()) for part in (self.train, self.calibration, self.test))
        if highest >= len(self.labels):
            raise DataError(f"{self.name}: label {highest}, but only {len(self.labels)} classes are named")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one frame of one sample, (C, H, W) or (F,)."""
        return self.train.shape

    @property
    def frames(self) -> int | None:
        """T of event data, None where a sample is a still."""
        return self.train.x.shape[1] if self.train.events else None
