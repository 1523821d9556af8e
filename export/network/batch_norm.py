"""Batch normalisation at inference, as traced, before it is folded into the weights."""

from dataclasses import dataclass

from spikecut.export.network.arrays import Array, frozen_float
from spikecut.text import brief


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
