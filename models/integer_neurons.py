"""The neurons of the quantised twin: the chip's integers, held exactly by float64, written anew for torch.

They share no code with the engines, whose witness the twin is.
"""

import numpy as np
import torch
from torch import Tensor, nn

from spikecut.fixed_point import DECAY_UNITY, GAIN_UNITY, STATE_LIMIT, WEIGHT_UNIT, IntArray
from spikecut.models.neurons.leaky import Reset


class IntegerGain(nn.Module):
    """x'[t] = trunc(x[t] · gain[t] / 4096), before a neuron; gain: int64 [T]; x: integers in v's units."""

    def __init__(self, gain: IntArray) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, currents: Tensor) -> Tensor:
        """Currents [T, N, *], float64 integers → the same shape."""
        gain = torch.from_numpy(self.gain).to(currents.dtype)
        return torch.trunc(currents * gain.view(-1, *[1] * (currents.ndim - 1)) / GAIN_UNITY)


class IntegerLeaky(nn.Module):
    """v[t] = trunc(v[t-1] · (4096 - decay) / 4096) + x[t]; s[t] = v[t] > 64 · threshold; then the reset where s[t].

    decay: 0 to 4096; threshold: in weight units; reset: "zero", v[t] ← 0, or "subtract", v[t] ← v[t] - 64 · threshold;
    x, v: integers in v's units, held exactly in float64.
    """

    def __init__(self, decay: int, threshold: int, reset: Reset = "zero") -> None:
        super().__init__()
        self.decay = decay
        self.threshold = threshold
        self.reset: Reset = reset

    def forward(self, currents: Tensor) -> Tensor:
        """Currents [T, N, *], float64 integers → spikes, 0 or 1."""
        membrane_potential = torch.zeros_like(currents[0])
        spikes = []
        for current in currents:
            kept = torch.trunc(membrane_potential * (DECAY_UNITY - self.decay) / DECAY_UNITY)
            membrane_potential = kept + current
            spike = membrane_potential > WEIGHT_UNIT * self.threshold
            after = 0 if self.reset == "zero" else membrane_potential - WEIGHT_UNIT * self.threshold
            membrane_potential = torch.where(spike, after, membrane_potential)
            spikes.append(spike.to(currents.dtype))
        return torch.stack(spikes)


class IntegerIntegrateFire(nn.Module):
    """v[t] = v[t-1] + x[t], v(0) = 32 · threshold; s[t] = v[t] ≥ 64 · threshold; v[t] ← v[t] - 64 · threshold if s[t].

    v is clipped to [-2^23, 2^23 - 2] before it may fire. threshold: in weight units; x, v: integers in v's units, held
    exactly in float64. (The chip, which fires at v > threshold, adds one unit to v(0) and clips within ±(2^23 - 1).)
    """

    def __init__(self, threshold: int) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, currents: Tensor) -> Tensor:
        """Currents [T, N, *], float64 integers → spikes, 0 or 1."""
        membrane_potential = torch.full_like(currents[0], WEIGHT_UNIT // 2 * self.threshold)
        spikes = []
        for current in currents:
            membrane_potential = (membrane_potential + current).clamp(-STATE_LIMIT, STATE_LIMIT - 2)
            spike = (membrane_potential >= WEIGHT_UNIT * self.threshold).to(currents.dtype)
            membrane_potential = membrane_potential - WEIGHT_UNIT * self.threshold * spike
            spikes.append(spike)
        return torch.stack(spikes)


class IntegerCurrentBased(nn.Module):
    """CurrentBased in integers: what decays is (4096 - decay) / 4096 of u and v, cut off towards zero.

    threshold: in weight units, None for a readout; at_equality: fires at v ≥ 64 · threshold instead of >. amount: what
    a soft reset subtracts, in v's units; None for the threshold. v_init: v[0], in v's units. Each of them and of the
    decays is one number, or one per channel (C,), or per neuron of a map (C, H, W).

    bias: integers, broadcast to the neurons, that come in with the currents for the membrane: what a bias in front of u
    lets u rise to, from u[0] = -bias. None where all that comes in enters u. own_bias: it does not come in with the
    currents, but is the neurons' own, (C, H, W) or (C,). rises: it is of a current, which starts at u[0] = -bias.

    refractory: timesteps after a spike in which v stays as the reset left it and nothing fires; 0
    unless it is set.

    adaptation: 12-bit decay of a, its step, 12-bit decay of r, where the threshold adapts, as CurrentBased has it; the
    step in v's units. None unless it is set; v is not reset then, and fires at v ≥ 64 · threshold + a + r.

    recurrent: weights · 64, from the layer's own spikes of the timestep before: (O, O), or those of a convolution, as
    CurrentBased has them; None where there are none.
    """

    bias: Tensor | None
    recurrent: Tensor | None

    def __init__(
        self,
        decay_u: int | IntArray,
        decay_v: int | IntArray,
        threshold: int | IntArray | None,
        reset: Reset,
        at_equality: bool,
        amount: int | IntArray | None = None,
        v_init: int | IntArray = 0,
    ) -> None:
        super().__init__()
        self.amount = amount
        self.v_init = v_init
        self.refractory = 0
        self.adaptation: tuple[int, int, int] | None = None
        self.bias = self.recurrent = None
        self.own_bias, self.rises = False, True
        self.decay_u, self.decay_v = decay_u, decay_v
        self.threshold = threshold
        self.reset: Reset = reset
        self.at_equality = at_equality

    def forward(self, currents: Tensor) -> Tensor:
        """Currents [T, N, *], float64 integers → spikes, or increments of the membrane."""
        axes = currents.ndim - 2

        def numbers(given: int | IntArray | None) -> Tensor:
            values = torch.as_tensor(0 if given is None else given).double()
            return values.reshape(*values.shape, *[1] * (axes - values.ndim)) if values.ndim else values

        keep_u, keep_v = DECAY_UNITY - numbers(self.decay_u), DECAY_UNITY - numbers(self.decay_v)
        level = WEIGHT_UNIT * numbers(self.threshold)
        amount = level if self.amount is None else numbers(self.amount)
        current = torch.zeros_like(currents[0])
        membrane_potential = current + numbers(self.v_init)
        bias = current if self.bias is None else current + self.bias
        current = current - bias if self.rises else current
        spike = torch.zeros_like(bias)
        tired = torch.zeros_like(bias)  # the timesteps until v goes on
        raised = held = torch.zeros_like(bias)
        sent = []
        for given in currents:
            back = 0.0 if self.recurrent is None else self._back(spike.to(given.dtype), self.recurrent)
            incoming, before = given + back, membrane_potential
            incoming = incoming if self.own_bias else incoming - bias
            current = torch.trunc(current * keep_u / DECAY_UNITY) + incoming
            membrane_potential = torch.trunc(before * keep_v / DECAY_UNITY) + current + bias
            membrane_potential = torch.where(tired > 0, before, membrane_potential)
            if self.threshold is None:
                sent.append(membrane_potential - before)
                continue
            if self.adaptation is not None:
                fade, rise, fade_held = self.adaptation
                raised = torch.trunc(raised * (DECAY_UNITY - fade) / DECAY_UNITY)
                held = torch.trunc(held * (DECAY_UNITY - fade_held) / DECAY_UNITY)
                spike = membrane_potential >= level + raised + held
                held = torch.where(spike, held + 2 * (level + raised), held)
                raised = torch.where(spike, raised + rise, raised)
                sent.append(spike.to(currents.dtype))
                continue
            spike = membrane_potential >= level if self.at_equality else membrane_potential > level
            spike = spike & (tired == 0)
            tired = torch.where(spike, torch.full_like(tired, self.refractory), (tired - 1).clamp(min=0))
            after = membrane_potential - amount if self.reset == "subtract" else 0
            membrane_potential = torch.where(spike, after, membrane_potential)
            sent.append(spike.to(currents.dtype))
        return torch.stack(sent)

    @staticmethod
    def _back(spikes: Tensor, weight: Tensor) -> Tensor:
        if weight.ndim == 2:
            return spikes @ weight.T
        channels, per_group, rows, columns = weight.shape
        return nn.functional.conv2d(spikes, weight, padding=(rows // 2, columns // 2), groups=channels // per_group)

    def numbers(self) -> IntArray | None:
        """Threshold, decays of u and v, v[0] and amount as the chip has them, int64 [5, ...]; None unless one differs.

        [5, C], or [5, C, H, W]. The chip, which fires at v > threshold, adds one unit to v[0] where it is ≥.
        """
        level = np.asarray(0 if self.threshold is None else self.threshold)
        amount = WEIGHT_UNIT * level if self.amount is None else np.asarray(self.amount)
        start = np.asarray(self.v_init) + int(self.at_equality)
        given = [level, np.asarray(self.decay_u), np.asarray(self.decay_v), start, amount]
        most = max(each.ndim for each in given)
        if most == 0:
            return None
        aligned = [each.reshape(*each.shape, *[1] * (most - each.ndim)) if each.ndim else each for each in given]
        return np.stack(np.broadcast_arrays(*aligned)).astype(np.int64)
