"""Top-K: cut as soon as the best class leads the second best by more than this timestep's threshold.

Wu et al., "Optimizing event-driven spiking neural network with regularization and cutoff", Frontiers in Neuroscience
19 (2025), doi 10.3389/fnins.2025.1522788.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spikecut.deploy.cutoff.base import BoolArray, CutoffPolicy, IntArray, State, check_keys, is_integer
from spikecut.errors import InputError


def top_two_gap(totals: IntArray) -> IntArray:
    """g, the largest minus the second largest total over the last axis; int64 [..., classes] → int64 [...], ≥ 0.

    Raises InputError if there is only one class.
    """
    classes = totals.shape[-1]
    if classes < 2:
        raise InputError("top-K cutoff: one output class has no second best; it needs at least 2 classes")
    best_two = np.partition(totals, classes - 2, axis=-1)[..., -2:]
    return best_two[..., 1] - best_two[..., 0]


@dataclass(frozen=True)
class TopK(CutoffPolicy):
    """Cut at the first t with g_t > β_t, strictly: a tie never cuts.

    Attributes
    ----------
    thresholds: β_t for t = 1..T, in units of the scores; None never cuts at t.
    """

    name: ClassVar[str] = "topk"
    thresholds: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.thresholds, tuple) or not self.thresholds:
            raise InputError("cutoff policy topk: thresholds must be a tuple with one entry per timestep")
        for t, threshold in enumerate(self.thresholds, start=1):
            if threshold is not None and (not is_integer(threshold) or threshold < 0):
                raise InputError(
                    f"cutoff policy topk: threshold {threshold!r} at t = {t}, expected None or an integer ≥ 0"
                )
        object.__setattr__(self, "thresholds", tuple(None if b is None else int(b) for b in self.thresholds))

    @property
    def horizon(self) -> int:
        """T, one threshold per timestep."""
        return len(self.thresholds)

    def init(self, samples: int, classes: int) -> State:
        """Nothing to remember; InputError if there is only one class."""
        if classes < 2:
            raise InputError("top-K cutoff: one output class has no second best; it needs at least 2 classes")
        return super().init(samples, classes)

    def step(self, totals: IntArray, t: int, state: State) -> tuple[BoolArray, State]:
        """Exit where g_t > β_t."""
        if not 1 <= t <= self.horizon:
            raise InputError(f"cutoff policy topk: no threshold for t = {t}, it has t = 1 to {self.horizon}")
        threshold = self.thresholds[t - 1]
        if threshold is None:
            return np.zeros(totals.shape[0], dtype=np.bool_), state
        return top_two_gap(totals) > threshold, state

    def to_dict(self) -> dict[str, Any]:
        """The policy as JSON data; null where it never cuts."""
        return {"policy": self.name, "thresholds": list(self.thresholds)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "TopK":
        """The policy that `to_dict` described."""
        check_keys(data, {"policy", "thresholds"})
        thresholds = data["thresholds"]
        if not isinstance(thresholds, list | tuple):
            raise InputError(f"cutoff policy topk: key 'thresholds' is {thresholds!r}, expected a list")
        return cls(tuple(thresholds))
