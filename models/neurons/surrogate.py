"""Surrogate gradients: a step forward, a bump backward."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spikecut.errors import InputError

Surrogate = Callable[[Tensor], Tensor]


class _Step(torch.autograd.Function):
    """Heaviside step of the distance to the threshold, with the derivative that it is given."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor, derivative: Surrogate) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.derivative = derivative
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (distance,) = ctx.saved_tensors
        return gradients[0] * ctx.derivative(distance), None


def _step(distance: Tensor, derivative: Surrogate) -> Tensor:
    step: Callable[[Tensor, Surrogate], Tensor] = _Step.apply
    return step(distance, derivative)


def triangle(distance: Tensor, width: float = 1.0) -> Tensor:
    """1 where distance > 0 (strict), else 0; derivative max(0, width - |distance|) / width².

    The surrogate of the TET code, with width γ = 1 there (Deng, Li, Zhang, Gu, "Temporal efficient training of
    spiking neural network via gradient re-weighting", ICLR 2022).

    distance: v - threshold, float, any shape. Returns the spikes, same shape and dtype.
    """
    return _step(distance, lambda away: (width - away.abs()).clamp(min=0) / width**2)


def rectangle(distance: Tensor, width: float = 1.0) -> Tensor:
    """1 where distance > 0 (strict), else 0; derivative 1 / width where |distance| < width / 2, else 0.

    Wu, Deng, Li, Zhu, Shi, "Spatio-temporal backpropagation for training high-performance spiking neural networks",
    Frontiers in Neuroscience 12 (2018). Argument and result as those of `triangle`.
    """
    return _step(distance, lambda away: (away.abs() < width / 2).to(away.dtype) / width)


def arctan(distance: Tensor, slope: float = 2.0) -> Tensor:
    """1 where distance > 0 (strict), else 0; derivative slope / 2 / (1 + (π/2 · slope · distance)²).

    Fang, Yu, Chen, Masquelier, Huang, Tian, "Incorporating learnable membrane time constant to enhance learning of
    spiking neural networks", ICCV 2021, where the slope is 2. Argument and result as those of `triangle`.
    """
    return _step(distance, lambda away: slope / 2 / (1 + (math.pi / 2 * slope * away) ** 2))


SURROGATES: dict[str, Surrogate] = {"arctan": arctan, "rectangle": rectangle, "triangle": triangle}


def surrogate_named(name: str) -> Surrogate:
    """The surrogate of this name; InputError if there is none."""
    if name not in SURROGATES:
        raise InputError(f"surrogate {name!r} is unknown: choose one of {', '.join(sorted(SURROGATES))}")
    return SURROGATES[name]
