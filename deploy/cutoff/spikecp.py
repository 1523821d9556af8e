"""SpikeCP: cut as soon as the conformal prediction set is small enough.

Chen, Park, Simeone, "Knowing when to stop: delay-adaptive spiking neural network classifiers with reliability
guarantees" (arXiv 2305.11322), with their local non-conformity score t - Y_t[c]: the set at t is {c : Y_t[c] ≥ q_t}.
With checkpoints C and n calibration samples, q_t leaves out at most the share ε / |C| of right classes (Bonferroni),
so that the set at the exit holds the right class with probability ≥ 1 - ε, whatever the rule that stopped.
Cost per step: one comparison per class, one count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from spikecut.deploy.cutoff.base import (
    BoolArray,
    CutoffPolicy,
    IntArray,
    LabelledScores,
    State,
    check_keys,
    is_integer,
)
from spikecut.deploy.cutoff.threshold import Thresholds, allowed_wrong, checked_thresholds, listed_thresholds
from spikecut.errors import InputError
from spikecut.text import brief

CHECKPOINTS = 4
"""As in the authors' code: evenly spaced, the last one at T."""
LOWEST = -(2**62)


@dataclass(frozen=True)
class SpikeCP(CutoffPolicy):
    """Cut at the first checkpoint t with 1 ≤ #{c : Y_t[c] ≥ q_t} ≤ set_size.

    The paper also stops at an empty set. Here it goes on: an empty set means that the sample is unlike the calibration
    ones, and the guarantee holds for any rule of stopping.

    Attributes
    ----------
    thresholds: q_t for t = 1..T, in units of the scores; None where t is no checkpoint, or the set holds every class.
    set_size: largest set that ends the run.
    """

    name: ClassVar[str] = "spikecp"
    on_neurons: ClassVar[bool] = True
    thresholds: Thresholds
    set_size: int = 1

    __repr__ = brief

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", checked_thresholds(self.name, self.thresholds, LOWEST))
        if not is_integer(self.set_size) or self.set_size < 1:
            raise InputError(f"cutoff policy spikecp: set_size {self.set_size!r}, expected an integer ≥ 1")
        object.__setattr__(self, "set_size", int(self.set_size))

    @property
    def horizon(self) -> int:
        """T, one threshold per timestep."""
        return len(self.thresholds)

    def step(self, totals: IntArray, t: int, state: State) -> tuple[BoolArray, State]:
        """Exit where the set is small enough, and not empty."""
        if not 1 <= t <= self.horizon:
            raise InputError(f"cutoff policy spikecp: no threshold for t = {t}, it has t = 1 to {self.horizon}")
        threshold = self.thresholds[t - 1]
        if threshold is None:
            return np.zeros(totals.shape[0], dtype=np.bool_), state
        members = (totals >= threshold).sum(axis=1)
        return (members >= 1) & (members <= self.set_size), state

    def to_dict(self) -> dict[str, Any]:
        """The policy as JSON data; null where it never cuts."""
        return {"policy": self.name, "thresholds": list(self.thresholds), "set_size": self.set_size}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SpikeCP":
        """The policy that `to_dict` described."""
        check_keys(data, {"policy", "thresholds", "set_size"})
        return cls(listed_thresholds(data), data["set_size"])

    @classmethod
    def fit(cls, data: LabelledScores, epsilons: Sequence[float], minimum_count: int) -> list[CutoffPolicy]:
        """ε: tolerated share of samples whose set at the exit misses the right class.

        q_t is the k-th smallest total of the right class at t, k = floor(ε (n + 1) / |C|), which is the paper's
        ceil((1 - ε / |C|) (n + 1))-th smallest score; no threshold where k is 0. `minimum_count` plays no part.
        """
        checkpoints = sorted({-(-data.horizon * k // CHECKPOINTS) for k in range(1, CHECKPOINTS + 1)})
        of_label = np.take_along_axis(data.totals, data.labels[None, :, None], axis=2)[..., 0]
        ordered = np.sort(of_label, axis=1)
        policies: list[CutoffPolicy] = []
        for epsilon in epsilons:
            allowed_wrong(epsilon, 0)
            rank = int(Fraction(str(epsilon)) * (data.samples + 1) / len(checkpoints))
            thresholds: list[int | None] = [None] * data.horizon
            if rank:
                for t in checkpoints:
                    thresholds[t - 1] = int(ordered[t - 1, rank - 1])
            policies.append(cls(tuple(thresholds)))
        return policies
