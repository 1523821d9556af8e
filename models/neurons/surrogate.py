"""Surrogate gradients: a step forward, a bump backward."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spikecut.errors import InputError

Surrogate = Callable[[Tensor], Tensor]


class _TriangleStep(torch.autograd.Function):
    """Heaviside step of the distance to the threshold, with a triangular derivative."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.width = width
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (distance,) = ctx.saved_tensors
        width: float = ctx.width
        return gradients[0] * (width - distance.abs()).clamp(min=0) / width**2, None


def triangle(distance: Tensor, width: float = 1.0) -> Tensor:
    """1 where distance > 0 (strict), else 0; derivative max(0, width - |distance|) / width².

    The surrogate of the TET code, with width γ = 1 there (Deng, Li, Zhang, Gu, "Temporal efficient training of
    spiking neural network via gradient re-weighting", ICLR 2022).

    distance: v - threshold, float, any shape. Returns the spikes, same shape and dtype.
    """
    spikes: Tensor = _TriangleStep.apply(distance, width)  # type: ignore[no-untyped-call]
    return spikes


SURROGATES: dict[str, Surrogate] = {"triangle": triangle}


def surrogate_named(name: str) -> Surrogate:
    """The surrogate of this name; InputError if there is none."""
    if name not in SURROGATES:
        raise InputError(f"surrogate {name!r} is unknown: choose one of {', '.join(sorted(SURROGATES))}")
    return SURROGATES[name]
