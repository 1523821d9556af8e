"""Temporal effective batch normalisation."""

from typing import Literal

import torch
from torch import Tensor, nn

from spikecut.errors import InputError


class TemporalEffectiveBatchNorm(nn.Module):
    """y[t] = p[t] · (γ (x[t] - μ) / √(σ² + ε) + β), per channel.

    μ and σ² are taken over the batch, the map and all timesteps jointly, so that they keep how a current changes over
    time; p is one learnable factor per timestep, shared by all channels and 1 at first. Duan, Ding, Chen, Yu, Huang,
    "Temporal effective batch normalization in spiking neural networks", NeurIPS 2022.

    Attributes
    ----------
    norm: nn.BatchNorm1d or nn.BatchNorm2d, with γ, β and the running statistics.
    scale: p, float [T].

    Parameters
    ----------
    channels: C, of currents [T, N, C] (map "1d") or [T, N, C, H, W] (map "2d").
    timesteps: T, at least 1.

    InputError for a value outside its range.
    """

    def __init__(self, channels: int, timesteps: int, map_kind: Literal["1d", "2d"] = "2d") -> None:
        super().__init__()
        if timesteps < 1:
            raise InputError(f"TEBN timesteps {timesteps}: expected at least 1")
        self.norm = nn.BatchNorm2d(channels) if map_kind == "2d" else nn.BatchNorm1d(channels)
        self.scale = nn.Parameter(torch.ones(timesteps))

    @property
    def timesteps(self) -> int:
        """T, the only number of timesteps that it takes."""
        return len(self.scale)

    def forward(self, currents: Tensor) -> Tensor:
        """Currents [T, N, C, *] → the same shape; InputError for another number of timesteps."""
        return self.scaled(self.norm(currents.flatten(0, 1)).unflatten(0, currents.shape[:2]))

    def scaled(self, normalised: Tensor) -> Tensor:
        """p[t] times what is normalised already, [T, N, C, *]; InputError for another number of timesteps."""
        if len(normalised) != self.timesteps:
            raise InputError(f"{len(normalised)} timesteps: this TEBN layer was made for {self.timesteps}")
        return normalised * self.scale.view(-1, *[1] * (normalised.ndim - 1))

    def extra_repr(self) -> str:
        """Shown by torch when it prints the module."""
        return f"timesteps={self.timesteps}"
