"""Random integer networks: by seed for Lava runs, by hypothesis for properties."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from spikecut.export.network.adaptation import Adaptation
from spikecut.export.network.graph import unheard
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.network.skip import Skip


@dataclass(frozen=True)
class Features:
    """What a random network has beside its layers."""

    soft: bool = False
    graded: bool = False
    membrane: bool = False
    bias: bool = True
    dense_only: bool = False
    delays: bool = False
    recurrent: bool = False
    recurrent_maps: bool = False
    skips: bool = False
    gain: bool = False
    graph: bool = False
    differs: str = ""  # "channels" or "neurons", by which thresholds, decays and what goes with the reset differ


def random_network(seed, *, horizon=6, **features):
    """A chain of grouped and strided non-square convolutions and dense layers that fires in every layer.

    features: of Features.
    """
    has, draws = Features(**features), np.random.default_rng(seed)
    maker = _Layers(has, draws)
    layers = maker.dense() if has.dense_only else maker.convolutions()
    shape = layers[0].input_shape
    layers.append(maker.output(layers[-1].output_shape))
    if has.skips:  # over one layer and over two, from the input and from a layer, into convolutions and dense layers
        sources = [("input", shape), *((layer.name, layer.output_shape) for layer in layers)]
        layers = [layers[0], *(with_skip(draws, layer, sources[n]) for n, layer in enumerate(layers[1:]))]
    if has.graph:
        layers = maker.graph(shape, *layers)
    if has.gain:
        choices, p = [4096, 3700, 2048, -300, 0], [0.4, 0.3, 0.2, 0.05, 0.05]
        gains = draws.choice(choices, (len(layers), horizon), p=p).tolist()
        layers = [with_gain(layer, values) for layer, values in zip(layers, gains, strict=True)]
    if has.recurrent_maps:
        layers = [with_loop(np.random.default_rng([seed, n, 1]), layer) for n, layer in enumerate(layers)]
    if has.differs:
        layers = [differing(np.random.default_rng([seed, n]), layer, has.differs) for n, layer in enumerate(layers)]
    spec = InputSpec(shape, "direct", bits=4) if has.graded else InputSpec(shape, "events")
    return IntegerNetwork(tuple(layers), spec, "membrane" if has.membrane else "count", horizon)


def with_loop(rng, layer, top=60):
    """A layer of maps with spikes that come back to it, by a kernel of odd sides and any groups that fit."""
    if layer.kind != "conv":
        return layer
    channels = layer.output_shape[0]
    per_group = rng.choice([n for n in range(1, channels + 1) if channels % n == 0])
    weight = 2 * rng.integers(-top - 1, top + 1, (channels, per_group, *rng.choice([1, 3, 5], 2)))
    return replace(layer, recurrent=weight)


def differing(rng, layer, by):
    """The layer with parameters that differ between its channels or its neurons, about those that it had."""
    neuron, shape = layer.neuron, layer.output_shape[: 1 if by == "channels" else 3]
    changed = {"decay_v": rng.choice([0, 700, 2048, 4096], shape)}
    if neuron.gain is None:
        changed["decay_u"] = rng.choice([0, 3000, 4096], shape)
    if neuron.reset != "none":
        changed["threshold"] = neuron.threshold * rng.integers(1, 9, shape) // 4
        if neuron.v_init:
            changed["v_init"] = rng.integers(-1000, 1000, shape)
    if neuron.reset == "subtract":
        changed["reset_amount"] = 64 * neuron.threshold * rng.integers(1, 9, shape) // 4
    return replace(layer, neuron=replace(neuron, **changed))


@dataclass(frozen=True)
class _Layers:
    """The layers of a random network; the order of the draws is part of what a seed stands for."""

    has: Features
    rng: np.random.Generator

    def weights(self, *shape):
        return self.rng.integers(-60, 68, shape) * 2

    def neuron(self, channels, threshold):
        soft = self.has.soft
        return IntegerNeuron(
            threshold=threshold,
            bias_mantissa=self.rng.integers(-60, 90, channels) if self.has.bias else np.zeros(channels, dtype=np.int64),
            decay_u=4096 if soft else int(self.rng.choice([4096, 3000])),
            decay_v=0 if soft else int(self.rng.choice([2048, 1000])),
            bias_exponent=4 if soft else 6,
            v_init=(threshold << 5) + 1 if soft else 0,
            reset="subtract" if soft else "zero",
        )

    def layer(self, name, shapes, weight_shape, threshold, **geometry):
        """A layer from shapes = (input, output)."""
        kind = name.rstrip("12")
        weight, neuron = self.weights(*weight_shape), self.neuron(weight_shape[0], threshold)
        if kind == "dense" and self.has.delays:
            geometry["delay"] = self.rng.integers(0, 4, weight_shape)
        if kind == "dense" and self.has.recurrent:
            geometry["recurrent"] = self.weights(weight_shape[0], weight_shape[0])
        return IntegerLayer(name, kind, weight, neuron, *shapes, **geometry)

    @property
    def first_threshold(self):
        return 150 * (8 if self.has.graded else 1)

    def dense(self):
        return [
            self.layer("dense1", ((12,), (20,)), (20, 12), self.first_threshold),
            self.layer("dense2", ((20,), (16,)), (16, 20), 180),
        ]

    def convolutions(self):
        strided = {"stride": (2, 2), "padding": (1, 1), "groups": 2}
        return [
            self.layer("conv1", ((2, 7, 5), (4, 7, 5)), (4, 2, 3, 3), self.first_threshold, padding=(1, 1)),
            self.layer("conv2", ((4, 7, 5), (6, 4, 3)), (6, 2, 3, 2), 120, **strided),
        ]

    def graph(self, shape, first, second, output):
        """Branches of unequal depth that join, each layer with up to three skips, relayed or not.

        Depths: first 1, side 1, late 2, second 2, tail 3, output 4.
        """
        side = replace(first, name="side", weight=self.weights(*first.weight.shape), source="input")
        late = self._dense_behind("late", side, 7)
        tail = self._dense_behind("tail", late, 6)
        second = replace(second, source=first.name)
        for source in (side.name, side.output_shape), ("input", shape), (first.name, first.output_shape):
            second = with_skip(self.rng, second, source, 20)
        output = replace(output, source=second.name)
        for each in (tail, side, late):
            output = with_skip(self.rng, output, (each.name, each.output_shape))
        return [first, side, late, second, tail, output]

    def _dense_behind(self, name, before, outputs):
        neuron, weight = self.neuron(outputs, 180), self.weights(outputs, int(np.prod(before.output_shape)))
        extras = {"delay": self.rng.integers(0, 4, weight.shape)} if self.has.delays else {}
        extras |= {"recurrent": self.weights(outputs, outputs)} if self.has.recurrent else {}
        return IntegerLayer(
            name, "dense", weight, neuron, before.output_shape, (outputs,), source=before.name, **extras
        )

    def output(self, shape):
        if self.has.membrane:
            biases = self.rng.integers(-60, 60, 5)
            neuron = IntegerNeuron(threshold=0, bias_mantissa=biases, decay_v=0, bias_exponent=3, reset="none")
        else:
            neuron = self.neuron(5, 250)
        return IntegerLayer("output", "dense", self.weights(5, int(np.prod(shape))), neuron, shape, (5,))


def with_skip(rng, layer, source, top=60):
    """The layer with one more skip, from a point of the network, (name, shape), of any weights and fitting geometry.

    As it is where the source has fewer rows or columns.
    """
    name, shape = source
    output = layer.output_shape
    if layer.kind == "dense":
        weight = 2 * rng.integers(-top - 1, top + 1, (output[0], int(np.prod(shape))))
        weight = weight if weight.max() > 0 else np.maximum(weight, -254)
        return replace(layer, skips=(*layer.skips, Skip(name, "dense", weight, shape, output)))
    if len(shape) != 3 or any(n < m for n, m in zip(shape[1:], output[1:], strict=True)):
        return layer
    groups = int(rng.choice([g for g in range(1, shape[0] + 1) if shape[0] % g == 0 and output[0] % g == 0]))
    stride, kernel = [], []
    for n, m in zip(shape[1:], output[1:], strict=True):
        largest = n if m == 1 else (n - 1) // (m - 1)
        step = int(rng.integers(max(1, largest - 1), largest + 1))
        least = max(1, n - step * m + 1)
        stride.append(step)
        kernel.append(int(rng.integers(least, min(n - step * (m - 1), least + 2) + 1)))
    padding = (0, 0)
    if min(kernel) > 2 and rng.random() < 0.5:  # the same map by a larger kernel that reaches beyond the borders
        kernel, padding = [k + 2 for k in kernel], (1, 1)
    weight = 2 * rng.integers(-top - 1, top + 1, (output[0], shape[0] // groups, *kernel))
    skip = Skip(name, "conv", weight, shape, output, stride=tuple(stride), padding=padding, groups=groups)
    return replace(layer, skips=(*layer.skips, skip))


def with_gain(layer, gain):
    """A layer with a gain per timestep, and so without synaptic memory."""
    neuron = unadapted(layer).neuron
    return replace(layer, neuron=replace(neuron, decay_u=4096, u_init=None, gain=tuple(gain), refractory=0))


def unadapted(layer):
    """The layer with a hard reset in the place of a threshold that adapts."""
    if layer.neuron.adaptation is None:
        return layer
    return replace(layer, neuron=replace(layer.neuron, reset="zero", adaptation=None))


@st.composite
def gains(draw, horizon):
    """A gain per timestep: any, few, or none in effect."""
    one = st.one_of(st.sampled_from([0, 1, 4095, 4096, -4096]), st.integers(-4096, 4096))
    return draw(st.lists(one, min_size=horizon, max_size=horizon))


def random_inputs(network, samples, seed=0, rate=0.4):
    """Encoded samples [T, N, *shape] for a network."""
    rng = np.random.default_rng(seed)
    shape = (network.horizon, samples, *network.input_shape)
    if network.input.encoding == "direct":
        frames = rng.integers(0, network.input.maximum + 1, shape[1:])
        return np.broadcast_to(frames, shape).astype(np.int32)
    return (rng.random(shape) < rate).astype(np.int32)


@st.composite
def neurons(draw, channels, readout=False):
    """Any legal neuron."""
    reset = "none" if readout else draw(st.sampled_from(["zero", "subtract", "zero", "subtract", "adapt"]))
    adaptation = None
    if reset == "adapt":
        decay = st.integers(0, 4096)
        adaptation = Adaptation(draw(decay), draw(st.integers(0, 2**17 - 1)), draw(decay))
    decay_u = draw(st.one_of(st.just(4096), st.integers(0, 4096)))
    starts = st.none() if decay_u == 4096 else st.one_of(st.none(), st.just(2**23 - 1), st.integers(-(2**20), 2**20))
    start = draw(starts)
    return IntegerNeuron(
        threshold=0 if readout else draw(st.one_of(st.integers(0, 2000), st.integers(0, 2**17 - 1))),
        bias_mantissa=np.array(draw(st.lists(st.integers(-4096, 4095), min_size=channels, max_size=channels))),
        decay_u=decay_u,
        decay_v=draw(st.one_of(st.sampled_from([0, 2048, 4096]), st.integers(0, 4096))),
        bias_exponent=draw(st.integers(0, 7)),
        v_init=draw(st.integers(-(2**22), 2**22)),
        reset=reset,
        reset_amount=draw(st.one_of(st.none(), st.integers(0, 2**23 - 1))) if reset == "subtract" else None,
        u_init=None if start is None else start >> np.arange(channels),
        refractory=0 if reset in ("none", "adapt") else draw(st.sampled_from([0, 0, 1, 3])),
        adaptation=adaptation,
    )


VARIABLE = ("threshold", "decay_u", "decay_v", "v_init", "reset_amount", "u_init", "bias_mantissa")


@st.composite
def varied(draw, layer):
    """The layer with some parameters that differ between its channels or its neurons: shuffled and halved copies."""
    if draw(st.booleans()):
        return layer
    rng, changed = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), {}
    for key in VARIABLE:
        shape = draw(st.sampled_from([None, layer.output_shape[:1], layer.output_shape]))
        value = getattr(layer.neuron, key)
        idle = value is None or (layer.neuron.reset == "none" and key == "threshold")
        if shape is None or idle or (layer.neuron.gain is not None and key == "decay_u"):
            continue
        changed[key] = rng.choice(np.ravel(value), shape) >> rng.integers(0, 3, shape)
    return replace(layer, neuron=replace(layer.neuron, **changed))


@st.composite
def weight_arrays(draw, shape):
    """Even weights over the whole legal range."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = draw(st.sampled_from([4, 20, 127]))
    weight = rng.integers(-top - 1, top + 1, shape) * 2
    return weight if weight.max() > 0 else np.maximum(weight, -254)  # Lava's Dense makes -255 of a -256 among negatives


@st.composite
def conv_layers(draw, name, shape):
    """A convolution on a (C, H, W) input: groups, strides, paddings and dilations that fit."""
    groups = draw(st.sampled_from([g for g in (1, 2) if shape[0] % g == 0]))
    outputs = groups * draw(st.integers(1, 2))
    geometry = {}
    for key, low, high in (("kernel", 1, 3), ("stride", 1, 2), ("padding", 0, 2), ("dilation", 1, 2)):
        geometry[key] = (draw(st.integers(low, high)), draw(st.integers(low, high)))
    spatial = []
    for n, k, s, p, d in zip(
        shape[1:], *(geometry[key] for key in ("kernel", "stride", "padding", "dilation")), strict=True
    ):
        if n + 2 * p - d * (k - 1) - 1 < 0:
            return draw(conv_layers(name, shape))
        spatial.append((n + 2 * p - d * (k - 1) - 1) // s + 1)
    weight = draw(weight_arrays((outputs, shape[0] // groups, *geometry.pop("kernel"))))
    neuron = draw(neurons(outputs))
    layer = IntegerLayer(name, "conv", weight, neuron, shape, (outputs, *spatial), groups=groups, **geometry)
    if draw(st.integers(0, 2)) == 0:
        layer = with_loop(
            np.random.default_rng(draw(st.integers(0, 2**32 - 1))), layer, draw(st.sampled_from([4, 126]))
        )
    return draw(varied(layer))


def branched(rng, layers, shape):
    """The layers with other sources for some of the dense ones; what then leads nowhere, to the last one."""
    points, found = [("input", shape)], []
    for layer in layers:
        if layer.kind == "dense" and rng.random() < 0.5:
            name, given = points[rng.integers(len(points))]
            weight = 2 * rng.integers(-20, 21, (len(layer.weight), int(np.prod(given))))
            weight.flat[0] = 2
            delay = None if layer.delay is None else rng.integers(0, 4, weight.shape)
            layer = replace(layer, weight=weight, delay=delay, input_shape=given, source=name)
        found.append(layer)
        points.append((layer.name, layer.output_shape))
    for number in unheard(found):
        if found[-1].kind == "conv":
            return layers
        found[-1] = with_skip(rng, found[-1], points[number])
    return found


@st.composite
def networks(draw, beyond_nir=True):
    """A legal network of convolutions and dense layers, with either readout; beyond_nir: perhaps with gains."""
    graded = draw(st.booleans())
    convolutions = draw(st.integers(0, 2))
    shape = (draw(st.integers(1, 3)), draw(st.integers(2, 5)), draw(st.integers(2, 5)))
    if not convolutions:
        shape = (draw(st.integers(1, 9)),)
    spec = InputSpec(shape, "events", bits=draw(st.integers(1, 8)), signed=draw(st.booleans())) if graded else None
    spec = spec or InputSpec(shape, "events")
    layers = []
    for number in range(convolutions):
        layers.append(draw(conv_layers(f"conv{number + 1}", shape)))
        shape = layers[-1].output_shape
    membrane = draw(st.booleans())
    dense = draw(st.integers(0 if convolutions else 1, 2))
    for number in range(dense):
        outputs = draw(st.integers(1, 6))
        weight = draw(weight_arrays((outputs, int(np.prod(shape)))))
        extras = {}
        if draw(st.booleans()):
            extras["delay"] = np.array(draw(st.lists(st.integers(0, 3), min_size=weight.size, max_size=weight.size)))
            extras["delay"] = extras["delay"].reshape(weight.shape)
        if draw(st.booleans()) and not (membrane and number == dense - 1):
            extras["recurrent"] = draw(weight_arrays((outputs, outputs)))
        neuron = draw(neurons(outputs))
        layer = IntegerLayer(f"dense{number + 1}", "dense", weight, neuron, shape, (outputs,), **extras)
        layers.append(draw(varied(layer)))
        shape = (outputs,)
    if draw(st.integers(0, 2)) == 0:
        rng, points = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), [("input", spec.shape)]
        for number, layer in enumerate(layers):
            for _ in range(draw(st.integers(0, 3))):
                layers[number] = with_skip(
                    rng, layers[number], points[draw(st.integers(0, number))], draw(st.sampled_from([4, 127]))
                )
            points.append((layer.name, layer.output_shape))
        if draw(st.booleans()):
            layers = branched(rng, layers, spec.shape)
    if membrane:
        last = layers.pop()
        readout = draw(neurons(last.output_shape[0], readout=True))
        layers.append(draw(varied(replace(last, neuron=readout, recurrent=None))))
    horizon = draw(st.integers(1, 5))
    if not beyond_nir:
        layers = [unadapted(layer) for layer in layers]
    elif draw(st.booleans()):
        layers = [with_gain(layer, draw(gains(horizon))) if draw(st.booleans()) else layer for layer in layers]
    return IntegerNetwork(tuple(layers), spec, "membrane" if membrane else "count", horizon)


@st.composite
def networks_with_inputs(draw, samples=2):
    """A network and encoded samples for it."""
    network = draw(networks())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (network.horizon, samples, *network.input_shape)
    inputs = rng.integers(network.input.minimum, network.input.maximum + 1, shape)
    if not network.input.bits:
        inputs = (rng.random(shape) < draw(st.sampled_from([0.1, 0.5, 1.0]))).astype(np.int64)
    return network, inputs.astype(np.int32)
