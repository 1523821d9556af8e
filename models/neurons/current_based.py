"""The general neuron of Loihi: a decaying current, a decaying membrane potential, either reset, or no spikes at all."""

from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikecut.errors import InputError
from spikecut.models.neurons.leaky import Reset

Parameter: TypeAlias = float | Tensor
"""One number for all neurons, or one per channel (C,), or per neuron of a map (C, H, W)."""


def beside(parameter: Any, values: Tensor) -> Any:
    """A parameter as it broadcasts to values [N, *shape]: axes of length 1 behind those that it has."""
    if not isinstance(parameter, Tensor) or parameter.ndim == 0:
        return parameter
    axes = [1] * (values.ndim - 1 - parameter.ndim)
    return parameter.reshape(*parameter.shape, *axes).to(values.dtype)


def returned(spikes: Tensor, weight: Tensor) -> Tensor:
    """What a layer's spikes bring to the layer itself: by (O, O), or by a convolution that keeps the maps' shape."""
    if weight.ndim == 2:
        return functional.linear(spikes, weight)
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    return functional.conv2d(spikes, weight, padding=padding, groups=len(weight) // weight.shape[1])


class Adapting:
    """What the spikes of a call leave behind where the threshold adapts: a, which raises it, and r, which holds v off.

    adaptation: decay of a, its step, decay of r; fractions, and the threshold's units.
    """

    def __init__(self, adaptation: tuple[float, float, float], like: Tensor) -> None:
        self.decay, self.rise, self.refractory_decay = adaptation
        self.raised = self.held = torch.zeros_like(like)

    def level(self, threshold: Any) -> Tensor:
        """What v is compared with in the next timestep."""
        self.raised = (1 - self.decay) * self.raised
        self.held = (1 - self.refractory_decay) * self.held
        level: Tensor = threshold + self.raised + self.held
        return level

    def add(self, spike: Tensor, threshold: Any) -> None:
        """The spikes of this timestep, 0 or 1."""
        self.held = self.held + 2 * (threshold + self.raised) * spike
        self.raised = self.raised + self.rise * spike


class CurrentBased(nn.Module):
    """Current, leak, fire, reset, in this order:

        u[t] = (1 - decay_u) u[t-1] + x[t],  u[0] = 0
        v[t] = (1 - decay_v) v[t-1] + u[t],  v[0] = v_init
        s[t] = v[t] > threshold            (at_equality: ≥)
        v[t] ← 0                  where s[t], reset "zero"
        v[t] ← v[t] - threshold   where s[t], reset "subtract"

    delayed_reset: v[t+1] = (1 - decay_v) v[t] - threshold · s[t] + u[t+1] in the place of a soft reset: the whole of v
    leaks before the threshold is subtracted, as in snnTorch's Leaky.

    refractory: timesteps after a spike in which v stays as the reset left it and nothing fires, u goes on; 0 unless it
    is set, and not for a delayed_reset.

    adaptation: decay of a, its step, decay of r, where the threshold adapts; v is not reset then:

        a[t] = (1 - decay_a) a[t-1],  r[t] = (1 - decay_r) r[t-1],  both 0 at first
        s[t] = v[t] > threshold + a[t] + r[t]            (at_equality: ≥)
        r[t] ← r[t] + 2 (threshold + a[t]),  a[t] ← a[t] + step   where s[t]

    as in lava-dl's ALIF. None unless it is set, and not beside a delayed_reset or a refractory period.

    drive: what v gains in each timestep beside u, float64 per neuron (C, H, W); None unless it is set.

    recurrent: weights from each spike of a timestep to the x of the next, x[t] + recurrent s[t-1]: (O, O) for currents
    [T, N, O], or a convolution (C, C/groups, H, W) of odd sides, padded by half of them, for [T, N, C, rows, columns].

    u: synaptic current; v: membrane potential; x: input; s: spike, 0 or 1; all in the units of the threshold.

    Parameters
    ----------
    threshold: positive; None: the neuron never fires and sends v[t] - v[t-1], which sums up to v.
    decay_u, decay_v: fractions lost per timestep, in [0, 1].
    v_init: v before the first timestep.

    These four are one number for all neurons, or float64, one per channel (C,), or per neuron of a map (C, H, W).

    InputError for a value outside its range.
    """

    recurrent: Tensor | None
    drive: Tensor | None

    def __init__(
        self,
        threshold: Parameter | None,
        decay_u: Parameter = 1.0,
        decay_v: Parameter = 0.0,
        reset: Reset = "zero",
        at_equality: bool = False,
        delayed_reset: bool = False,
        v_init: Parameter = 0.0,
    ) -> None:
        super().__init__()
        level = torch.as_tensor(1.0 if threshold is None else threshold)
        if not bool((level.isfinite() & (level > 0)).all()):
            raise InputError(f"threshold {threshold}: expected a positive number")
        if not all(bool(((each >= 0) & (each <= 1)).all()) for each in map(torch.as_tensor, (decay_u, decay_v))):
            raise InputError(f"decays {decay_u}, {decay_v}: expected fractions between 0 and 1")
        if not bool(torch.as_tensor(v_init).isfinite().all()) or (threshold is None and v_init):
            raise InputError(f"v_init {v_init}: expected a number, and 0 where nothing fires")
        if reset not in ("zero", "subtract") or (delayed_reset and reset == "zero"):
            raise InputError(f"reset {reset!r}: expected zero or subtract, and subtract where it is delayed")
        self.threshold = threshold
        self.decay_u = decay_u
        self.decay_v = decay_v
        self.reset: Reset = reset
        self.at_equality = at_equality
        self.delayed_reset = delayed_reset
        self.v_init = v_init
        self.refractory = 0
        self.adaptation: tuple[float, float, float] | None = None
        self.register_buffer("recurrent", None)
        self.register_buffer("drive", None)

    def forward(self, currents: Tensor) -> Tensor:
        """Currents [T, N, *] → spikes, or increments of the membrane, [T, N, *]. Every call starts at rest."""
        current = pending = spike = torch.zeros_like(currents[0])
        decay_u, decay_v, v_init, threshold = (
            beside(each, currents[0]) for each in (self.decay_u, self.decay_v, self.v_init, self.threshold)
        )
        membrane_potential = current + v_init
        waits = torch.zeros_like(current)
        adapting = None if self.adaptation is None else Adapting(self.adaptation, current)
        sent = []
        for incoming in currents:
            before = membrane_potential
            current = (1 - decay_u) * current + incoming
            if self.recurrent is not None:
                current = current + returned(spike, self.recurrent)
            gained = current if self.drive is None else current + self.drive
            membrane_potential = torch.where(waits > 0, before, (1 - decay_v) * before + gained - pending)
            if threshold is None:
                sent.append(membrane_potential - before)
                continue
            level = threshold if adapting is None else adapting.level(threshold)
            fires = membrane_potential >= level if self.at_equality else membrane_potential > level
            fires = fires & (waits == 0)
            waits = torch.where(fires, float(self.refractory), (waits - 1).clamp(min=0))
            spike = fires.to(currents.dtype)
            if adapting is not None:
                adapting.add(spike, threshold)
            elif self.delayed_reset:
                pending = threshold * spike
            elif self.reset == "subtract":
                membrane_potential = membrane_potential - threshold * spike
            else:
                membrane_potential = torch.where(fires, 0.0, membrane_potential)
            sent.append(spike)
        return torch.stack(sent)

    def extra_repr(self) -> str:
        """Shown by torch when it prints the module."""
        return f"threshold={self.threshold}, decay_u={self.decay_u}, decay_v={self.decay_v}, reset={self.reset!r}"
