"""The general neuron of Loihi: a decaying current, a decaying membrane potential, either reset, or no spikes at all."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikecut.errors import InputError
from spikecut.models.neurons.leaky import Reset


class CurrentBased(nn.Module):
    """Current, leak, fire, reset, in this order:

        u[t] = (1 - decay_u) u[t-1] + x[t],  u[0] = 0
        v[t] = (1 - decay_v) v[t-1] + u[t],  v[0] = 0
        s[t] = v[t] > threshold            (at_equality: ≥)
        v[t] ← 0                  where s[t], reset "zero"
        v[t] ← v[t] - threshold   where s[t], reset "subtract"

    delayed_reset: v[t+1] = (1 - decay_v) v[t] - threshold · s[t] + u[t+1] in the place of a soft reset: the whole of v
    leaks before the threshold is subtracted, as in snnTorch's Leaky.

    recurrent: weights (O, O) float from each spike of a timestep to the x of the next, x[t] + recurrent s[t-1]; the
    currents are [T, N, O] then.

    u: synaptic current; v: membrane potential; x: input; s: spike, 0 or 1; all in the units of the threshold.

    Parameters
    ----------
    threshold: positive; None: the neuron never fires and sends v[t] - v[t-1], which sums up to v.
    decay_u, decay_v: fractions lost per timestep, in [0, 1].

    InputError for a value outside its range.
    """

    recurrent: Tensor | None

    def __init__(
        self,
        threshold: float | None,
        decay_u: float = 1.0,
        decay_v: float = 0.0,
        reset: Reset = "zero",
        at_equality: bool = False,
        delayed_reset: bool = False,
    ) -> None:
        super().__init__()
        if threshold is not None and not (math.isfinite(threshold) and threshold > 0):
            raise InputError(f"threshold {threshold}: expected a positive number")
        if not (0 <= decay_u <= 1 and 0 <= decay_v <= 1):
            raise InputError(f"decays {decay_u}, {decay_v}: expected fractions between 0 and 1")
        if reset not in ("zero", "subtract") or (delayed_reset and reset == "zero"):
            raise InputError(f"reset {reset!r}: expected zero or subtract, and subtract where it is delayed")
        self.threshold = threshold
        self.decay_u = decay_u
        self.decay_v = decay_v
        self.reset: Reset = reset
        self.at_equality = at_equality
        self.delayed_reset = delayed_reset
        self.register_buffer("recurrent", None)

    def forward(self, currents: Tensor) -> Tensor:
        """Currents [T, N, *] → spikes, or increments of the membrane, [T, N, *]. Every call starts at rest."""
        current = membrane_potential = pending = spike = torch.zeros_like(currents[0])
        sent = []
        for incoming in currents:
            before = membrane_potential
            current = (1 - self.decay_u) * current + incoming
            if self.recurrent is not None:
                current = current + functional.linear(spike, self.recurrent)
            membrane_potential = (1 - self.decay_v) * before + current - pending
            if self.threshold is None:
                sent.append(membrane_potential - before)
                continue
            fires = membrane_potential >= self.threshold if self.at_equality else membrane_potential > self.threshold
            spike = fires.to(currents.dtype)
            if self.delayed_reset:
                pending = self.threshold * spike
            elif self.reset == "subtract":
                membrane_potential = membrane_potential - self.threshold * spike
            else:
                membrane_potential = torch.where(fires, 0.0, membrane_potential)
            sent.append(spike)
        return torch.stack(sent)

    def extra_repr(self) -> str:
        """Shown by torch when it prints the module."""
        return f"threshold={self.threshold}, decay_u={self.decay_u}, decay_v={self.decay_v}, reset={self.reset!r}"
