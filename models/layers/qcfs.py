"""The quantisation clip-floor-shift activation, whose rate an integrate-and-fire neuron reproduces."""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikecut.errors import InputError

# What torch's types leave open, in some releases.
_aten = cast(Any, torch).ops.aten
_once_differentiable: Callable[[Callable[..., Any]], Callable[..., Any]] = once_differentiable


class _ClipFloorShift(torch.autograd.Function):
    """The activation and its gradients in few passes over memory: training spends most of its time here otherwise.

    With g the gradient that comes in and ⌊·⌋ passing it straight through: dz = g where 0 < z L / λ + ½ < L + 1, else 0;
    dλ = Σ (g h - dz z) / λ.
    """

    @staticmethod
    def forward(ctx: Any, pre_activations: Tensor, threshold: Tensor, levels: int) -> Tensor:
        value = threshold.item()
        sent = pre_activations * levels
        sent.div_(value).add_(0.5).floor_().clamp_(0, levels).div_(levels).mul_(value)
        ctx.save_for_backward(pre_activations, sent, threshold)
        ctx.value, ctx.levels = value, levels
        return sent

    @staticmethod
    @_once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        pre_activations, sent, threshold = ctx.saved_tensors
        value, levels = ctx.value, ctx.levels
        low, high = sorted((-value / (2 * levels), value * (levels + 0.5) / levels))
        inside = _aten.hardtanh_backward(gradients[0], pre_activations, low, high)
        parts = (gradients[0] * sent).addcmul_(inside, pre_activations, value=-1)
        total = parts.sum(dtype=threshold.dtype if parts.dtype == torch.float16 else None)  # beyond float16's range
        return inside, total.to(threshold.dtype) / value, None


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
        apply: Callable[[Tensor, Tensor, int], Tensor] = _ClipFloorShift.apply
        return apply(pre_activations, self.threshold, self.levels)

    def respond(self, pre_activations: Tensor) -> tuple[Tensor, Tensor]:
        """Activations, and the rectified pre-activations max(z, 0), neither clipped nor rounded."""
        return self.forward(pre_activations), pre_activations.relu()

    def extra_repr(self) -> str:
        """Shown by torch when it prints the module."""
        return f"levels={self.levels}, threshold={self.threshold.item():.6g}"
