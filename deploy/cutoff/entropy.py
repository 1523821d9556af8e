"""Entropy: cut as soon as the entropy of the averaged output falls below one threshold, the same at every timestep.

DT-SNN: Li, Moitra, Geller, Panda, "Input-aware dynamic timestep spiking neural networks for efficient in-memory
computing", DAC 2023 (arXiv 2305.17346). Cost per step: one exponential (or table entry) and one product per class, one
logarithm, one division, one comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spikecut.deploy.cutoff.base import IntArray, LabelledScores, State, check_keys
from spikecut.deploy.cutoff.softmax import UNIT, checked_scale, fit_scale, leads, weights
from spikecut.deploy.cutoff.threshold import SharedThresholdPolicy, Thresholds, checked_thresholds, listed_thresholds
from spikecut.errors import InputError
from spikecut.text import brief


@dataclass(frozen=True)
class Entropy(SharedThresholdPolicy):
    """Cut at the first t with 1 - H(softmax(Y_t / (t s))) / log(classes) > β_t / 2^20.

    Attributes
    ----------
    thresholds: β_t for t = 1..T, 1 minus the normalised entropy in units of 2^-20; None never cuts at t. Calibration
        makes them all equal, as published.
    scale: s, the softmax's temperature in units of the scores per timestep, found in calibration.
    """

    name: ClassVar[str] = "entropy"
    thresholds: Thresholds
    scale: float

    __repr__ = brief

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", checked_thresholds(self.name, self.thresholds))
        object.__setattr__(self, "scale", checked_scale(self.name, self.scale))

    def init(self, samples: int, classes: int) -> State:
        """Nothing to remember; InputError if there is only one class."""
        if classes < 2:
            raise InputError("entropy cutoff: one output class has no entropy; it needs at least 2 classes")
        return super().init(samples, classes)

    def safety(self, totals: IntArray, t: int) -> IntArray:
        """1 minus the normalised entropy in units of 2^-20: with lead d_c, H = log Σ w + (Σ w d) / (t s Σ w)."""
        self.init(0, totals.shape[-1])
        lead = leads(totals)
        weight = weights(lead, self.scale * t)
        mass = weight.sum(axis=-1)
        entropy = np.log(mass / UNIT) + (weight * lead).sum(axis=-1) / (self.scale * t) / mass
        return np.asarray(np.rint(UNIT * (1 - entropy / np.log(np.float64(totals.shape[-1])))), dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        """The policy as JSON data; null where it never cuts."""
        return {**super().to_dict(), "scale": self.scale}

    @classmethod
    def untuned(cls, data: LabelledScores) -> "Entropy":
        """Never cuts; its scale is fitted by temperature scaling."""
        return cls((None,) * data.horizon, fit_scale(data, lambda t: t))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Entropy":
        """The policy that `to_dict` described."""
        check_keys(data, {"policy", "thresholds", "scale"})
        return cls(listed_thresholds(data), data["scale"])
