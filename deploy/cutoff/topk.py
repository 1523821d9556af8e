"""Top-K: cut as soon as the best class leads the second best by more than this timestep's threshold.

Wu et al., "Optimizing event-driven spiking neural network with regularization and cutoff", Frontiers in Neuroscience
19 (2025), doi 10.3389/fnins.2025.1522788. Cost per step: one pass for the two largest totals, one comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spikecut.deploy.cutoff.base import BoolArray, IntArray, LabelledScores, State, check_keys
from spikecut.deploy.cutoff.threshold import NEVER, ThresholdPolicy, Thresholds, checked_thresholds, listed_thresholds
from spikecut.errors import InputError
from spikecut.text import brief

ONE_CLASS = "top-K cutoff: one output class has no second best; it needs at least 2 classes"


def top_two_gap(totals: IntArray) -> IntArray:
    """g, the largest minus the second largest total over the last axis; int64 [..., classes] → int64 [...], ≥ 0.

    Raises InputError if there is only one class.
    """
    classes = totals.shape[-1]
    if classes < 2:
        raise InputError(ONE_CLASS)
    best_two = np.partition(totals, classes - 2, axis=-1)[..., -2:]
    return best_two[..., 1] - best_two[..., 0]


@dataclass(frozen=True)
class TopK(ThresholdPolicy):
    """Cut at the first t with g_t > β_t, strictly: a tie never cuts.

    Attributes
    ----------
    thresholds: β_t for t = 1..T, in units of the scores; None never cuts at t.
    """

    name: ClassVar[str] = "topk"
    on_neurons: ClassVar[bool] = True
    thresholds: Thresholds

    __repr__ = brief

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", checked_thresholds(self.name, self.thresholds))

    def init(self, samples: int, classes: int) -> State:
        """Nothing to remember; InputError if there is only one class."""
        if classes < 2:
            raise InputError(ONE_CLASS)
        return super().init(samples, classes)

    def step_each(self, totals: IntArray, timesteps: IntArray, state: State) -> tuple[BoolArray, State]:
        """Like `step`, all samples at once: g does not ask for t."""
        limits = np.array([NEVER if beta is None else beta for beta in self.thresholds], dtype=np.int64)
        return top_two_gap(totals) > limits[timesteps - 1], state

    def safety(self, totals: IntArray, t: int) -> IntArray:
        """g_t."""
        return top_two_gap(totals)

    @classmethod
    def untuned(cls, data: LabelledScores) -> "TopK":
        """Never cuts."""
        return cls((None,) * data.horizon)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "TopK":
        """The policy that `to_dict` described."""
        check_keys(data, {"policy", "thresholds"})
        return cls(listed_thresholds(data))
