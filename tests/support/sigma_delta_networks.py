"""Random small networks of sigma-delta neurons: engine, oracle and Lava's models compared, what they have counted."""

from collections import Counter
from dataclasses import replace

import numpy as np
from fuzz_graphs import streams_differ
from oracle import longest_way, run_network

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.kernels.reference import propagate
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.network.sigma_delta import SigmaDelta
from spikecut.export.network.skip import Skip
from spikecut.export.netx.lead_in import with_lead_in

HORIZON = 5
GAPS = (2, 5, 1, 3)
"""Steps from each sample of a stream to the next one."""


def neuron(rng, shape, given, readout=False):
    """A neuron of these exponents; thresholds and biases small beside the largest, or not."""
    top = min(4095, (2**23 - 1) >> given.shift)
    scale = int(rng.choice([3, 40, top]))
    bias = rng.integers(-min(scale, top), min(scale, top) + 1, shape if rng.random() < 0.3 else shape[:1])
    start = None if rng.random() < 0.7 else rng.integers(-(2**20), 2**20, (4, *shape))
    return IntegerNeuron(
        threshold=int(rng.choice([0, 1, min(3, top), min(scale, top)])),
        bias_mantissa=np.zeros(shape[:1], dtype=np.int64) if readout else bias,
        reset="none" if readout else "delta",
        sigma_delta=replace(given, start=start),
    )


def exponents(rng):
    """What makes a layer's neurons sigma-delta ones."""
    return SigmaDelta(
        activation=str(rng.choice(["relu", "relu", "unit"])),
        spike_exponent=int(rng.choice([6, 6, 0, 7])),
        state_exponent=int(rng.choice([6, 6, 0, 7])),
        cumulative_error=bool(rng.random() < 0.3),
    )


def network_of(seed):
    """A network and encoded samples [T, 4, *shape]; by the seed alone."""
    rng = np.random.default_rng(seed)
    maps = rng.random() < 0.6
    shape = (int(rng.integers(1, 4)), 5, 4) if maps else (int(rng.integers(2, 9)),)
    bits = int(rng.choice([4, 8, 9]))
    spec = InputSpec(shape, "events", bits=bits, signed=bool(rng.random() < 0.8))
    layers, sent = [], [("input", shape)]
    if rng.random() < 0.6:
        layers.append(encoder(rng, shape))
        sent.append(("encoder", shape))
    for number in range(int(rng.integers(1, 4))):
        layers.append(layer_of(rng, f"layer{number}", sent))
        sent.append((layers[-1].name, layers[-1].output_shape))
    last = layers[-1]
    readout = rng.random() < 0.5
    if readout and len(last.output_shape) == 1:
        layers[-1] = replace(last, neuron=neuron(rng, last.output_shape, SigmaDelta(), readout=True))
    network = IntegerNetwork(tuple(layers), spec, "membrane" if layers[-1].neuron.reset == "none" else "count", HORIZON)
    if rng.random() < 0.5:
        network = with_lead_in(network)
    inputs = rng.integers(spec.minimum, spec.maximum + 1, (HORIZON, 4, *shape)) * (
        rng.random((HORIZON, 4, *shape)) < 0.7
    )
    return network, inputs.astype(np.int32)


def encoder(rng, shape):
    """The first layer, which sends the changes of the input."""
    made = IntegerNeuron(
        int(rng.choice([0, 1, 5])),
        np.zeros(shape[0], dtype=np.int64),
        reset="delta",
        sigma_delta=SigmaDelta(decodes=False, cumulative_error=bool(rng.random() < 0.3)),
    )
    if len(shape) == 1:
        return IntegerLayer("encoder", "dense", np.eye(shape[0], dtype=np.int64), made, shape, shape)
    return IntegerLayer("encoder", "conv", np.ones((shape[0], 1, 1, 1)), made, shape, shape, groups=shape[0])


def layer_of(rng, name, sent):
    """A convolution or a matrix behind the last of what is sent, perhaps with a skip from before."""
    _, shape = sent[-1]
    top = int(rng.choice([2, 20, 127]))
    conv = len(shape) == 3 and rng.random() < 0.7
    if conv:
        groups = int(rng.choice([1, shape[0]]))
        weight = 2 * rng.integers(-top, top + 1, (groups * int(rng.integers(1, 3)), shape[0] // groups, 3, 2))
        output = (len(weight), shape[1], shape[2] + 1)
        geometry = {"groups": groups, "padding": (1, 1)}
    else:
        output, geometry = (int(rng.integers(1, 7)),), {}
        weight = 2 * rng.integers(-top, top + 1, (output[0], int(np.prod(shape))))
        weight[0, 0] = 2  # not all of one sign, with which -254 would be the least
    skips = ()
    _, other = sent[int(rng.integers(len(sent)))]
    first, before = sent[int(rng.integers(len(sent)))]
    if not conv and rng.random() < 0.5:
        skips = (Skip(first, "dense", 2 * rng.integers(-9, 10, (output[0], int(np.prod(before)))), before, output),)
    elif conv and other == shape and rng.random() < 0.5:
        names = [each for each, its in sent if its == shape]
        skips = (Skip(names[0], "conv", weight[:, :, ::-1], shape, output, **geometry),)
    made = neuron(rng, output, exponents(rng))
    return IntegerLayer(name, "conv" if conv else "dense", weight, made, shape, output, skips=skips, **geometry)


def features(network, messages):
    """What a network has, and what happened in it; messages: of every layer, [T, N, *shape]."""
    given = [layer.neuron.sigma_delta for layer in network.layers]
    deltas = [layer.neuron for layer in network.layers if layer.neuron.reset == "delta"]
    waits = [
        longest_way(network, layer.name) - 1 - longest_way(network, skip.source)
        for layer in network.layers
        for skip in layer.skips
    ]
    return {
        "encoder": not given[0].decodes,
        "no encoder": given[0].decodes,
        "convolution": any(layer.kind == "conv" for layer in network.layers[1:]),
        "dense behind maps": any(layer.kind == "dense" and len(layer.input_shape) == 3 for layer in network.layers),
        "relu": any(each.sigma_delta.activation == "relu" for each in deltas),
        "unit": any(each.sigma_delta.activation == "unit" for each in deltas),
        "errors add up": any(each.cumulative_error for each in given),
        "exponents of 0": any(each.shift == 0 for each in given),
        "start": any(each.start is not None for each in given),
        "threshold": any(each.threshold for each in deltas),
        "threshold 0": any(each.threshold == 0 for each in deltas),
        "bias per neuron of a map": any(each.bias_mantissa.ndim == 3 for each in deltas),
        "readout of sigma": network.readout == "membrane",
        "changes as scores": network.readout == "count",
        "skip": bool(waits),
        "skip that waits": any(waits),
        "negative messages": any(each.min() < 0 for each in messages),
        "messages beyond 16 bits": any(np.abs(each).max() >= 2**16 for each in messages),
        "messages beyond 24 bits": any(np.abs(each.astype(np.int64)).max() >= 2**24 for each in messages),
        "silent steps": any((each == 0).all() for rows in messages for each in rows),
    }


def compare(seed, streamed):
    """One network through engine, oracle, definition and, where it is streamed, stock, fast and fused models of Lava.

    AssertionError with the seed where two differ; else what the network has, as counts.
    """
    network, inputs = network_of(seed)
    sent = propagate(network, inputs)
    trace = run_batched(network, inputs, record="all")
    oracle = run_network(network, inputs[:, :1])
    for layer, messages, expected in zip(network.layers, sent[1:], oracle, strict=True):
        np.testing.assert_array_equal(messages[:, :1], expected, err_msg=f"oracle, {layer.name}, seed {seed}")
        np.testing.assert_array_equal(trace.spikes[layer.name], messages, err_msg=f"engine, {layer.name}, seed {seed}")
    last = sent[-1].reshape(*sent[-1].shape[:2], -1).astype(np.int64)
    totals = last if network.readout == "membrane" else last.cumsum(axis=0)
    np.testing.assert_array_equal(trace.scores.cumsum(axis=0), totals)
    if streamed:
        assert streams_differ(network, inputs, sent, GAPS) == "", seed
    slots = sum(messages.size for messages in sent[1:])
    return {"slots": slots, "slots streamed by three sets of models": slots * streamed, **features(network, sent[1:])}


def campaign(seeds, streamed=True):
    """Networks of these seeds, compared; how often each of what they have occurred."""
    tally = Counter()
    for seed in seeds:
        tally.update({f"sigma-delta: {key}": int(value) for key, value in compare(seed, streamed).items()})
    return tally
