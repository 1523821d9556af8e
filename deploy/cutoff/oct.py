"""Optimal cutoff timestep (OCT): the earliest exit that an oracle who knows the labels could take.

Wu et al., Frontiers in Neuroscience 19 (2025), doi 10.3389/fnins.2025.1522788.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cutoff.base import BoolArray, IntArray, checked_scores
from spikecut.errors import InputError


def checked_labels(labels: npt.ArrayLike, samples: int, classes: int) -> IntArray:
    """Labels as int64 [N]; InputError if they do not fit N samples and the classes, or are not integers."""
    array = np.asarray(labels)
    if array.shape != (samples,):
        raise InputError(f"labels of shape {array.shape}: expected ({samples},), one per sample of the scores")
    if array.dtype.kind not in "iu":
        raise InputError(f"labels of dtype {array.dtype}: expected integers, the index of the right class")
    if array.min() < 0 or array.max() >= classes:
        raise InputError(f"labels from {array.min()} to {array.max()}: expected 0 to {classes - 1}")
    return array.astype(np.int64, copy=False)


def right_until_end(totals: IntArray, labels: IntArray) -> BoolArray:
    """R_t, bool [T, N]: the prediction is right at t and at every later timestep, from Y int64 [T, N, classes]."""
    right = totals.argmax(axis=2) == labels
    return np.logical_and.accumulate(right[::-1], axis=0)[::-1]


@dataclass(frozen=True)
class OptimalCutoff:
    """The optimal cutoff of N samples.

    Attributes
    ----------
    timesteps: int64 [N], the smallest t with R_t; T where there is none.
    never_right: bool [N], no t has R_t, which means that the full run ends with a wrong prediction.
    """

    timesteps: IntArray
    never_right: BoolArray

    @property
    def mean_timesteps(self) -> float:
        """Mean over all samples, those never right counted with T."""
        return float(self.timesteps.mean())


def optimal_cutoff_timestep(scores: npt.ArrayLike, labels: npt.ArrayLike) -> OptimalCutoff:
    """Smallest timestep from which each sample's prediction is right to the end.

    Parameters
    ----------
    scores: integers [T, N, classes], what each timestep of a full-horizon run adds.
    labels: integers [N].

    Raises InputError if shapes, dtypes or labels do not fit.
    """
    totals = checked_scores(scores).cumsum(axis=0)
    horizon, samples, classes = totals.shape
    right = right_until_end(totals, checked_labels(labels, samples, classes))
    never_right = ~right[-1]
    timesteps = np.where(never_right, horizon, right.argmax(axis=0) + 1).astype(np.int64)
    return OptimalCutoff(timesteps, never_right)
