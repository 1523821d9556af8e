"""The quantisation clip-floor-shift activation, whose rate an integrate-and-fire neuron reproduces."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from spikecut.errors import InputError


class _StraightThroughFloor(torch.autograd.Function):
    """floor forward, identity backward."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.floor()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]


class QCFS(nn.Module):
    """h = λ · clip(⌊z L / λ + ½⌋ / L, 0, 1), Bu et al. (ICLR 2022) with shift φ = ½.

    z: pre-activation; L: number of levels; λ: trainable scale, a positive scalar. The floor passes its gradient
    straight through. An IntegrateFire neuron with threshold λ and v(0) = λ/2 fires h/λ · L spikes in L timesteps
    of the constant current z.

    Parameters
    ----------
    levels: L, at least 1.
    threshold: initial λ, positive.

    InputError for a value outside its range.
    """

    def __init__(self, levels: int, threshold: float = 1.0) -> None:
        super().__init__()
        if levels < 1:
            raise InputError(f"QCFS levels {levels}: expected at least 1")
        if not (math.isfinite(threshold) and threshold > 0):
            raise InputError(f"QCFS threshold {threshold}: expected a positive number")
        self.levels = levels
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))

    def forward(self, pre_activations: Tensor) -> Tensor:
        """Pre-activations of any shape → activations of the same shape, in {0, λ/L, …, λ}."""
        scaled = pre_activations * self.levels / self.threshold + 0.5
        floored: Tensor = _StraightThroughFloor.apply(scaled)  # type: ignore[no-untyped-call]
        return self.threshold * (floored / self.levels).clamp(0, 1)

    def respond(self, pre_activations: Tensor) -> tuple[Tensor, Tensor]:
        """Activations, and the rectified pre-activations max(z, 0), neither clipped nor rounded."""
        return self.forward(pre_activations), pre_activations.relu()

    def extra_repr(self) -> str:
        """Shown by torch when it prints the module."""
        return f"levels={self.levels}, threshold={float(self.threshold):.6g}"
