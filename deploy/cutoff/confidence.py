"""Confidence: cut as soon as the softmax's largest probability exceeds this timestep's threshold.

The oldest early exit there is; for spiking networks see Li et al. 2023, "SEENN: Towards temporal spiking early-exit
neural networks" (arXiv 2304.01230). Cost per step: one exponential (or table entry) per class, one sum, one comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spikecut.deploy.cutoff.base import IntArray, LabelledScores, check_keys
from spikecut.deploy.cutoff.softmax import UNIT, checked_scale, fit_scale, leads, weights
from spikecut.deploy.cutoff.threshold import ThresholdPolicy, Thresholds, checked_thresholds, listed_thresholds
from spikecut.text import brief


@dataclass(frozen=True)
class Confidence(ThresholdPolicy):
    """Cut at the first t with max softmax(Y_t / s) > β_t / 2^20.

    Attributes
    ----------
    thresholds: β_t for t = 1..T, confidence in units of 2^-20; None never cuts at t.
    scale: s, the softmax's temperature in units of the scores, found in calibration.
    """

    name: ClassVar[str] = "confidence"
    thresholds: Thresholds
    scale: float

    __repr__ = brief

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", checked_thresholds(self.name, self.thresholds))
        object.__setattr__(self, "scale", checked_scale(self.name, self.scale))

    def safety(self, totals: IntArray, t: int) -> IntArray:
        """The largest probability in units of 2^-20, rounded down: 2^20 2^20 / Σ w."""
        return np.asarray(UNIT * UNIT // weights(leads(totals), self.scale).sum(axis=-1))

    def to_dict(self) -> dict[str, Any]:
        """The policy as JSON data; null where it never cuts."""
        return {**super().to_dict(), "scale": self.scale}

    @classmethod
    def untuned(cls, data: LabelledScores) -> "Confidence":
        """Never cuts; its scale is fitted by temperature scaling."""
        return cls((None,) * data.horizon, fit_scale(data, lambda t: 1))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Confidence":
        """The policy that `to_dict` described."""
        check_keys(data, {"policy", "thresholds", "scale"})
        return cls(listed_thresholds(data), data["scale"])
