"""Worst-case ranges of u and v on 24-bit hardware, proven by interval arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikecut.export.network.arrays import IntArray
from spikecut.export.network.gain import gain_at
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.layers import IntegerLayer
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.network.parameters import spread
from spikecut.export.network.sigma_delta import SigmaDelta
from spikecut.fixed_point import ALIGNMENT_SHIFT, STATE_LIMIT, keep, multiplied

BEYOND = 2**62
"""Beyond all that v may be."""


@dataclass(frozen=True)
class Ranges:
    """Largest magnitudes that u and v of a layer can reach within T steps, in v's units."""

    current: int
    membrane: int

    @property
    def fits(self) -> bool:
        """Neither wraps (u) nor clips (v) on 24 bits."""
        return self.current < STATE_LIMIT and self.membrane < STATE_LIMIT

    @property
    def bits(self) -> float:
        """Headroom: how many times u and v could double before 2^23."""
        return float(np.log2(STATE_LIMIT / max(self.current, self.membrane, 1)))

    @property
    def current_bits(self) -> float:
        """Headroom of u alone."""
        return float(np.log2(STATE_LIMIT / max(self.current, 1)))


def largest_sum(layer: Synapse, largest: int) -> int:
    """max Σ|W| · largest over the rows of a layer's weight, recurrent synapses and skips apart, or of a skip's."""
    return int(np.abs(layer.weight).sum(axis=tuple(range(1, layer.weight.ndim))).max()) * largest


def _currents(layer: Synapse, minimum: int, maximum: int) -> tuple[IntArray, IntArray]:
    """Largest and smallest current of each row, in u's units, for messages within [minimum, maximum]."""
    axes = tuple(range(1, layer.weight.ndim))
    positive = np.maximum(layer.weight, 0).sum(axis=axes) << ALIGNMENT_SHIFT
    negative = np.minimum(layer.weight, 0).sum(axis=axes) << ALIGNMENT_SHIFT
    return positive * maximum + negative * minimum, positive * minimum + negative * maximum


def _beside(rows: IntArray, neuron: IntegerNeuron) -> IntArray:
    """One per channel, with axes for neurons that differ inside channels, where they do."""
    return spread(rows, 3) if neuron.varies_inside_channels else rows


def _all_currents(layer: IntegerLayer, messages: Sequence[tuple[int, int]]) -> tuple[IntArray, IntArray]:
    """Largest and smallest current of all synapses of a layer; messages: of its own, then of each of its skips."""
    own: tuple[Synapse, ...] = (layer, *layer.skips)
    synapses = [*zip(own, messages, strict=True)]
    if layer.loop is not None:
        synapses.append((layer.loop, (0, 1)))
    found = [[_beside(end, layer.neuron) for end in _currents(each, *limits)] for each, limits in synapses]
    high, low = found[0]
    for more_high, more_low in found[1:]:
        high, low = high + more_high, low + more_low
    return high, low


def _of_changes(given: SigmaDelta, largest: int) -> int:
    """Bound of what sigma-delta neurons hold: an encoder a number's change; σ adds up changes that cancel over time,
    which no interval shows.
    """
    return BEYOND if given.decodes else 2 * largest << given.shift


def _raised(neuron: IntegerNeuron, v_high: IntArray) -> int:
    """How far the states of thresholds that adapt can rise by spikes at these v; see export/network/adaptation.py."""
    highest = int(v_high.max())
    return 0 if neuron.adaptation is None else max(2 * highest, highest + neuron.adaptation.step)


def worst_case(
    layer: IntegerLayer, horizon: int, minimum: int, maximum: int, skip_ranges: Sequence[tuple[int, int]] = ()
) -> Ranges:
    """Bounds on |u| and |v| over `horizon` steps for any input messages within [minimum, maximum].

    skip_ranges: of the messages of each of its skips.

    Sound: every map involved is monotone, so the ends of an interval bound its image. A convolution's padding only
    removes terms whose bounds include 0, since minimum <= 0 <= maximum. A delayed synapse adds one message a step.
    """
    neuron = layer.neuron
    high_input, low_input = _all_currents(layer, [(minimum, maximum), *skip_ranges])
    if neuron.sigma_delta is not None:
        largest = int(max(np.abs(high_input).max(), np.abs(low_input).max()))
        return Ranges(largest, _of_changes(neuron.sigma_delta, largest >> ALIGNMENT_SHIFT))
    rank = high_input.ndim
    decay_u, decay_v, bias = (spread(each, rank) for each in (neuron.decay_u, neuron.decay_v, neuron.bias))
    threshold, amount = spread(neuron.threshold, rank) << ALIGNMENT_SHIFT, spread(neuron.subtracted, rank)
    u_high = np.zeros_like(high_input) + (0 if neuron.u_init is None else spread(neuron.u_init, rank))
    u_low = u_high
    v_high = np.zeros_like(high_input) + spread(neuron.v_init, rank)
    v_low = v_high.copy()
    current, membrane = int(np.abs(u_high).max()), int(np.abs(v_high).max())
    held_low, held_high = np.full_like(v_high, BEYOND), np.full_like(v_high, -BEYOND)  # where v may stay after a spike
    for t in range(horizon):
        u_high, u_low = keep(u_high, decay_u) + high_input, keep(u_low, decay_u) + low_input
        x_high, x_low = u_high + bias, u_low + bias
        if neuron.gain is not None:  # a negative one turns the interval round
            ends = [multiplied(x, gain_at(neuron.gain, t)) for x in (x_high, x_low)]
            x_high, x_low = np.maximum(*ends), np.minimum(*ends)
        v_high = keep(v_high, decay_v) + x_high
        v_low = keep(v_low, decay_v) + x_low
        current = max(current, int(np.abs(u_high).max()), int(np.abs(u_low).max()))
        membrane = max(membrane, int(np.abs(v_high).max()), int(np.abs(v_low).max()), _raised(neuron, v_high))
        if neuron.reset in ("none", "adapt"):
            continue
        may_fire = v_high > threshold
        soft = neuron.reset == "subtract"
        rest = np.minimum(0, threshold + 1 - amount) if soft else 0
        v_low = np.where(may_fire, np.minimum(v_low, rest), v_low)
        after = v_high - amount if soft else np.zeros_like(v_high)
        v_high = np.where(may_fire, np.maximum(after, threshold), v_high)
        if neuron.refractory:
            held_low = np.minimum(held_low, np.where(may_fire, rest, BEYOND))
            held_high = np.maximum(held_high, np.where(may_fire, after, -BEYOND))
            v_low, v_high = np.minimum(v_low, held_low), np.maximum(v_high, held_high)
    return Ranges(current, membrane)
