"""What SANA-FE's neurons cannot do exactly, and what its figures leave out.

Its leaky_integrate_fire neuron keeps v in floating point and cuts it to 64ths towards zero before each step's input. In
units of 64ths that is Loihi's membrane, with any decay. Its current decays without being cut.
"""

from collections.abc import Iterator

import numpy as np

from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Chip
from spikecut.deploy.placement.partition import synapse_format
from spikecut.errors import Refusal
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.connectivity import fan_out, recurrent_fan_out
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.parameters import lowest
from spikecut.fixed_point import ALIGNMENT_SHIFT, DECAY_UNITY

MOST_SYNAPSES = 2_000_000
"""A file names each; SANA-FE reads some hundred thousand a second."""
LARGEST = 2**31 - 1
"""What its cast to int takes, in 64ths."""


def refusals(network: IntegerNetwork, placement: Placement) -> tuple[Refusal, ...]:
    """Why this network's spikes cannot be SANA-FE's; empty where they are the same."""
    return (*_of_network(network, placement), *(each for layer in network.layers for each in _of_layer(layer)))


def _of_network(network: IntegerNetwork, placement: Placement) -> Iterator[Refusal]:
    if placement.chips > 1:
        yield Refusal("", f"{placement.chips} chips, SANA-FE has one", "choose hardware on which it fits one chip")
    count = sum(int(fan_out(layer).sum() + recurrent_fan_out(layer).sum()) for layer in network.layers)
    if count > MOST_SYNAPSES:
        yield Refusal("", f"{count:,} synapses, of which SANA-FE's file names each; at most {MOST_SYNAPSES:,}")
    for depth, layer in enumerate(network.layers, start=1):
        if not _differ(layer) and potentials(layer, depth) is None:
            yield Refusal(
                layer.name,
                f"its bias works from SANA-FE's first step, {depth} steps before its first input, and fires it then",
                "smaller biases",
            )


def _differ(layer: IntegerLayer) -> bool:
    return layer.neuron.varies or layer.neuron.varies_inside_channels


def _of_layer(layer: IntegerLayer) -> Iterator[Refusal]:
    neuron = layer.neuron
    if _differ(layer):
        yield Refusal(layer.name, "parameters that differ between neurons, which are not written")
        return
    if layer.skips:
        yield Refusal(layer.name, "a skip, whose messages wait")
    if layer.source is not None:
        yield Refusal(layer.name, f"a branch: it takes from {layer.source}, whose messages may wait")
    if layer.delay is not None:
        yield Refusal(layer.name, "delays")
    if neuron.gain is not None:
        yield Refusal(layer.name, "a gain per timestep")
    if neuron.sigma_delta is not None:
        yield Refusal(layer.name, "sigma-delta neurons")
    if neuron.adaptation is not None:
        yield Refusal(layer.name, "an adaptive threshold")
    if neuron.refractory:
        yield Refusal(layer.name, "a refractory period")
    if neuron.u_init is not None:
        yield Refusal(layer.name, "a current that does not begin at 0")
    if neuron.reset_amount is not None:
        yield Refusal(layer.name, "a soft reset by another amount than the threshold")
    if neuron.decay_u not in (0, DECAY_UNITY):
        yield Refusal(
            layer.name,
            f"a current that decays by {neuron.decay_u}/{DECAY_UNITY} a step, rounded towards zero; SANA-FE does not "
            "round it",
            "a decay_u of 0 or 4096",
        )


def potentials(layer: IntegerLayer, depth: int) -> IntArray | None:
    """v before SANA-FE's first step, in 64ths, int64 [channels or neurons], from which the layer comes to its v(0).

    A layer at depth l rests until its first input, l steps after the source's; in SANA-FE its leak and bias work from
    the first step on, without a leak in that step. So the walk is gone backwards. None where a neuron would fire on it,
    or none leads there.
    """
    neuron = layer.neuron
    bias = neuron.bias
    v = np.full(bias.shape, lowest(neuron.v_init), dtype=np.int64)
    kept = DECAY_UNITY - lowest(neuron.decay_v)  # one for all: what differs is refused
    for step in range(depth, 0, -1):
        if neuron.reset != "none" and (v > neuron.threshold << ALIGNMENT_SHIFT).any():
            return None
        v = v - bias
        if step == 1:
            break
        if kept == 0 and v.any():
            return None
        # The smallest magnitude of which the leak leaves this.
        v = np.sign(v) * -(-np.abs(v) * DECAY_UNITY // max(kept, 1))
        if (np.abs(v) > LARGEST).any():
            return None
    return v


def differences(network: IntegerNetwork, chip: Chip, placement: Placement) -> tuple[str, ...]:
    """What SANA-FE's figures count otherwise than this hardware file, a line each."""
    lines = ["SANA-FE knows no static power, energy of the barrier, monitor, reset nor host: events and steps alone"]
    if chip.timing == "maximum":
        lines.append(
            "a core's events take their times one after the other in SANA-FE; this hardware's step is the slowest of "
            "what goes on at once"
        )
    if network.input.bits:
        lines.append(
            f"the input's messages of {network.input.bits} bits are a spike for each bit that is set, with its share "
            "of the weight: the same sums, but more messages and synaptic operations in the first layer"
        )
    if network.readout == "membrane":
        lines.append(
            f"layer {network.layers[-1].name} sends no messages: its membrane is in the trace of potentials, rounded "
            "to 6 digits"
        )
    unknown = unknown_costs(network, chip)
    if unknown:
        lines.append(f"unknown, and 0 in SANA-FE: {', '.join(unknown)}")
    moved = [
        layer.name
        for depth, layer in enumerate(network.layers, start=1)
        if layer.neuron.bias.any() or np.any(layer.neuron.v_init)
        if (found := potentials(layer, depth)) is not None and (found != layer.neuron.v_init).any()
    ]
    if moved:
        lines.append(f"v starts where the bias has brought it to v(0) at the first input: {', '.join(moved)}")
    lines.append("the input sends from a free core on each tile that it reaches, without hops: groups input_TILE")
    return tuple(lines)


def unknown_costs(network: IntegerNetwork, chip: Chip) -> tuple[str, ...]:
    """The costs of this network's events that the hardware file does not know, as keys of the file."""
    storages = {synapse_format(layer) for layer in network.layers}
    found = []
    for name, cost in chip.costs:
        if name.startswith("synop_") and name not in storages:
            continue
        found += [f"{name}.{key}" for key, quantity in cost if quantity.value is None]
    if chip.barrier.time_ns_by_tiles[1].value is None:
        found.append("barrier.time_ns_by_tiles")
    return tuple(found)
