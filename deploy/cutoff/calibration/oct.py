"""Optimal cutoff timestep (OCT): the earliest timestep from which the prediction stays right up to T.

Only an oracle that knows the labels and the future could exit there. It is one of stable correctness, no lower bound: a
policy may exit earlier, at a prediction that is right then and wrong again later, or at a wrong one.
Wu et al., Frontiers in Neuroscience 19 (2025), doi 10.3389/fnins.2025.1522788.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cutoff.base import BoolArray, IntArray, LabelledScores, ScoredRun, checked_labels
from spikecut.text import brief, spread

__all__ = ["Distance", "OptimalCutoff", "checked_labels", "optimal_cutoff", "optimal_cutoff_timestep"]


@dataclass(frozen=True)
class Distance:
    """How far a policy's exits are from the optimal ones, over the samples that are ever right to the end.

    Attributes
    ----------
    mean: mean of exit minus OCT in timesteps; None if no sample is ever right.
    early: share of those samples that exit before their OCT, when the prediction is not yet right for good.
    late: share that exit after it.
    never_right: share of all samples whose full run ends wrong; they have no OCT and are left out above.
    """

    mean: float | None
    early: float
    late: float
    never_right: float


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

    __repr__ = brief

    def __str__(self) -> str:
        """One line."""
        return (
            f"optimal cutoff of {self.timesteps.size} samples: timesteps {spread(self.timesteps)}; "
            f"{int(self.never_right.sum())} never right"
        )

    @property
    def mean_timesteps(self) -> float:
        """Mean over all samples, those never right counted with T."""
        return float(self.timesteps.mean())

    def distance(self, timesteps: IntArray) -> Distance:
        """How far exits int64 [N] of the same samples are from the optimum."""
        excess = (timesteps - self.timesteps)[~self.never_right]
        share = float(self.never_right.mean())
        if not excess.size:
            return Distance(None, 0.0, 0.0, share)
        return Distance(float(excess.mean()), float((excess < 0).mean()), float((excess > 0).mean()), share)


def optimal_cutoff(data: LabelledScores) -> OptimalCutoff:
    """Smallest timestep from which each sample's prediction is right to the end."""
    right = data.right_until_end
    never_right = ~right[-1]
    timesteps = np.where(never_right, data.horizon, right.argmax(axis=0) + 1).astype(np.int64)
    return OptimalCutoff(timesteps, never_right)


def optimal_cutoff_timestep(scores: npt.ArrayLike | ScoredRun, labels: npt.ArrayLike) -> OptimalCutoff:
    """Smallest timestep from which each sample's prediction is right to the end.

    Parameters
    ----------
    scores: a RunTrace to the horizon; or integers [T, N, classes], what each timestep of such a run adds. A bare array
        does not show that its run was halted.
    labels: integers [N].

    Raises InputError if shapes, dtypes or labels do not fit, or the run was halted.
    """
    return optimal_cutoff(LabelledScores.of(scores, labels))
