"""Graphs in the fuzz campaigns: what a layer's place in its graph is, streams that are halted, and the plain oracle."""

import numpy as np
from lava_steps import run_steps
from oracle import longest_way, run_network

from spikecut.export.network.arrays import size

MOST_NEURONS = 900
"""Of a network that is streamed through all sets of models, step by step in Python."""
MOST_OPERATIONS = 60_000
"""Of a sample that the oracle computes, one multiplication at a time."""


def sources(network, number):
    """Names of what the layer of this number, from 1, takes from: by its own synapse, then by its skips."""
    layer = network.layers[number - 1]
    names = ["input", *(each.name for each in network.layers)]
    return [layer.source or names[number - 1], *(skip.source for skip in layer.skips)]


def before(network, name):
    """Names of all layers that lie on a way to this one, itself included."""
    if name == "input":
        return {"input"}
    number = [layer.name for layer in network.layers].index(name) + 1
    return {name}.union(*(before(network, source) for source in sources(network, number)))


def graph_features(network, number):
    """What the place of a layer in its graph is."""
    layer, taken = network.layers[number - 1], sources(network, number)
    depth = longest_way(network, layer.name)
    waits = [depth - 1 - longest_way(network, source) for source in taken]
    apart = [
        (one, two)
        for one in taken
        for two in taken
        if one not in before(network, two) and two not in before(network, one)
    ]
    previous = "input" if number == 1 else network.layers[number - 2].name
    used = [source for n in range(1, len(network.layers) + 1) for source in sources(network, n)]
    return {
        "skip": len(taken) > 1,
        "two skips": len(taken) == 3,
        "three skips or more": len(taken) > 3,
        "branch: another source than the layer listed before": taken[0] != previous,
        "own messages relayed": waits[0] > 0,
        "skip without a relay": 0 in waits[1:],
        "skip relayed by one step": 1 in waits[1:],
        "skip relayed by more": max(waits[1:], default=0) > 1,
        "takes twice from one source": len(set(taken)) < len(taken),
        "joins parallel branches": bool(apart),
        "joins branches of unequal depth": any(longest_way(network, a) != longest_way(network, b) for a, b in apart),
        "sends to several layers": used.count(layer.name) > 1,
        "takes the input behind the first layer": number > 1 and "input" in taken,
        "recurrent convolution": layer.kind == "conv" and layer.recurrent is not None,
        "recurrent convolution in groups": layer.loop is not None and layer.loop.groups > 1,
        "recurrent with skips": layer.recurrent is not None and len(taken) > 1,
        "recurrent behind a relay": layer.recurrent is not None and waits[0] > 0,
        "delays with skips": layer.delay is not None and bool(layer.delay.any()) and len(taken) > 1,
        "delays behind a relay": layer.delay is not None and bool(layer.delay.any()) and waits[0] > 0,
        "gain per timestep with skips": layer.neuron.gain is not None and len(taken) > 1,
    }


def streamable(network):
    """Whether a network is small enough to be streamed in Python."""
    return sum(size(layer.output_shape) for layer in network.layers) <= MOST_NEURONS and network.horizon <= 12


def streams_differ(network, inputs, messages, gaps):
    """Stream samples, each halted after its gap, through stock, fast and fused models: what differs from messages.

    messages: of the input and of every layer, [T, N, *shape], each sample alone. Empty where nothing does.
    """
    for models in ("stock", "fast", "fused"):
        starts, sent = run_steps(network, inputs, gaps, models)
        for layer, found, expected in zip(network.layers, sent, messages[1:], strict=True):
            for n, (start, gap) in enumerate(zip(starts, gaps, strict=True)):
                used, first = min(gap, network.horizon), start - 1 + longest_way(network, layer.name)
                if not np.array_equal(found[first : first + used], expected[:used, n]):
                    return f"{models}, {layer.name}, sample {n}, {gap} steps after the one before"
    return ""


def operations(network):
    """Multiplications of a sample, one synapse and timestep at a time."""
    count = 0
    for layer in network.layers:
        for synapse in (layer, *layer.skips):
            count += synapse.weight.size * size(synapse.output_shape[1:])
        count += 0 if layer.loop is None else layer.loop.weight.size * size(layer.output_shape[1:])
    return count * network.horizon


def oracle_differs(network, inputs, messages):
    """The name of the first layer whose messages for the first sample are not the oracle's; empty where all are."""
    for layer, found, expected in zip(network.layers, run_network(network, inputs[:, :1]), messages[1:], strict=True):
        if not np.array_equal(found, expected[:, :1]):
            return layer.name
    return ""
