"""What a layer needs on its cores, counted synapse by synapse: the witness of the placement."""

from math import ceil

import numpy as np
from oracle import longest_way

from spikecut.deploy.placement.cores import Placement
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.skip import Skip


def synapses(layer: IntegerLayer) -> list[tuple[int, int, int]]:
    """Every synapse (input neuron, output neuron, weight), by plain loops over the definition of a convolution."""
    if layer.kind == "dense":
        return [
            (i, o, int(layer.weight[o, i])) for o in range(layer.weight.shape[0]) for i in range(layer.weight.shape[1])
        ]
    _, height, width = layer.input_shape
    channels, rows, columns = layer.output_shape
    found = []
    for o in range(channels):
        group = o // (channels // layer.groups)
        for y in range(rows):
            for x in range(columns):
                for (k, r, c), weight in np.ndenumerate(layer.weight[o]):
                    iy = y * layer.stride[0] - layer.padding[0] + r * layer.dilation[0]
                    ix = x * layer.stride[1] - layer.padding[1] + c * layer.dilation[1]
                    if 0 <= iy < height and 0 <= ix < width:
                        source = ((group * layer.weight.shape[1] + k) * height + iy) * width + ix
                        found.append((source, (o * rows + y) * columns + x, int(weight)))
    return found


def taken(network: IntegerNetwork, index: int) -> list[tuple[str, IntegerLayer | Skip]]:
    """Names of what a layer takes from, and its synapses."""
    layer = network.layers[index]
    before = ["input", *(each.name for each in network.layers)][index]
    return [(layer.source or before, layer), *((skip.source, skip) for skip in (*around(layer), *layer.skips))]


def around(layer: IntegerLayer) -> list[Skip]:
    """What comes back to a layer of maps, as a synapse from it to itself."""
    if layer.recurrent is None or layer.kind == "dense":
        return []
    channels, per_group, rows, columns = layer.recurrent.shape
    shape, half = layer.output_shape, (rows // 2, columns // 2)
    return [Skip(layer.name, "conv", layer.recurrent, shape, shape, padding=half, groups=channels // per_group)]


def needs(network: IntegerNetwork, placement: Placement, index: int) -> dict[str, int]:
    """What the fullest core of a layer needs, counted synapse by synapse."""
    layer, placed = network.layers[index], placement.layers[index]
    core = placed.core_of_neuron
    bits: dict[tuple[object, int], int] = {}
    for nth, (sender, synapse) in enumerate(taken(network, index)):
        early = longest_way(network, sender) < longest_way(network, layer.name) - 1
        for source, target, _ in synapses(synapse):
            key = (nth, source), core[target]
            bits[key] = bits.get(key, 0) + (14 if early else 8)
    per_core = range(len(placed.cores))
    outgoing = dict.fromkeys(per_core, 0)
    for other, there in enumerate(placement.layers):
        for sender, synapse in taken(network, other):
            for source, _ in {(s, there.core_of_neuron[t]) for s, t, _ in synapses(synapse) if sender == layer.name}:
                outgoing[core[source]] += 1
    return {
        "neurons_per_core": max(group.size for group in placed.groups),
        "input_axons_per_core": max(sum(1 for _, c in bits if c == here) for here in per_core),
        "synaptic_words_per_core": max(
            sum(ceil(n / 64) for (_, c), n in bits.items() if c == here) for here in per_core
        ),
        "words_per_axon": max(ceil(n / 64) for n in bits.values()),
        "output_axons_per_core": max(outgoing.values()),
    }
