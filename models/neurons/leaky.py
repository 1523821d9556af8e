"""Leaky integrate-and-fire neurons with a hard or a soft reset."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from spikecut.errors import InputError
from spikecut.models.neurons.surrogate import surrogate_named

Reset = Literal["zero", "subtract"]
EARLIER_RESETS: dict[str, Reset] = {"hard": "zero", "soft": "subtract"}
"""What recipes of earlier checkpoints call them."""


def reset_named(name: str) -> Reset:
    """The reset of this name, or of its earlier one; InputError for any other."""
    reset = EARLIER_RESETS.get(name, name)
    if reset not in ("zero", "subtract"):
        raise InputError(f"reset {name!r}: expected zero or subtract")
    return "zero" if reset == "zero" else "subtract"


class LeakyIntegrateFire(nn.Module):
    """Leak, current, fire, reset, in this order:

        v[t] = (1 - decay) v[t-1] + x[t],  v[0] = 0
        s[t] = v[t] > threshold            (strict)
        v[t] ← 0                  where s[t], reset "zero" (a hard reset)
        v[t] ← v[t] - threshold   where s[t], reset "subtract" (a soft reset)

    v: membrane potential; x: input current; s: spike, 0 or 1; all in the units of the threshold. The order is
    that of Wu et al. (Frontiers in Neuroscience 19, 2025) and of Loihi.

    Parameters
    ----------
    decay: fraction of v lost per timestep, in [0, 1]; 0.5 is TET's τ = 0.5.
    threshold: positive.
    surrogate: name of the gradient of the step (see surrogate.py).
    reset: "zero" or "subtract".

    InputError for a value outside its range.
    """

    def __init__(
        self, decay: float = 0.5, threshold: float = 1.0, surrogate: str = "triangle", reset: Reset = "zero"
    ) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise InputError(f"LIF decay {decay}: expected a fraction between 0 and 1")
        if not (math.isfinite(threshold) and threshold > 0):
            raise InputError(f"LIF threshold {threshold}: expected a positive number")
        if reset not in ("zero", "subtract"):
            raise InputError(f"LIF reset {reset!r}: expected zero or subtract")
        self.decay = decay
        self.threshold = threshold
        self.surrogate = surrogate
        self.reset: Reset = reset
        self._step = surrogate_named(surrogate)

    def forward(self, currents: Tensor) -> Tensor:
        """Currents [T, N, *] → spikes [T, N, *]. Every call starts from v = 0."""
        return self._integrate(currents)[0]

    def respond(self, currents: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes, and the response s[t] + max(v[t], 0) / threshold with v after the reset; both [T, N, *]."""
        spikes, membrane_potentials = self._integrate(currents)
        return spikes, spikes + membrane_potentials.relu() / self.threshold

    def _integrate(self, currents: Tensor) -> tuple[Tensor, Tensor]:
        membrane_potential = torch.zeros_like(currents[0])
        spikes, membrane_potentials = [], []
        for current in currents:
            membrane_potential = (1 - self.decay) * membrane_potential + current
            spike = self._step(membrane_potential - self.threshold)
            if self.reset == "zero":
                membrane_potential = membrane_potential * (1 - spike)
            else:
                membrane_potential = membrane_potential - self.threshold * spike
            spikes.append(spike)
            membrane_potentials.append(membrane_potential)
        return torch.stack(spikes), torch.stack(membrane_potentials)

    def extra_repr(self) -> str:
        """Shown by torch when it prints the module."""
        return f"decay={self.decay}, threshold={self.threshold}, surrogate={self.surrogate!r}, reset={self.reset!r}"
