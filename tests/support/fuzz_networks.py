"""Random networks over the whole legal range, made so that their layers fire: what the fuzz campaigns draw."""

from dataclasses import replace

import numpy as np
from fuzz_boundaries import BOUNDARIES, MANY_GROUPS, frames_near_the_top, weights_at_a_boundary, wide_inputs
from hypothesis import strategies as st
from networks import with_loop, with_skip

from spikecut.deploy.backends.kernels.reference import NeuronState, propagate_layer, synapse
from spikecut.export.network.adaptation import Adaptation
from spikecut.export.network.arrays import size
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.network.parameters import beside, lowest

TOP_THRESHOLD = 2**17 - 1
EXTREMES = st.sampled_from([0, TOP_THRESHOLD])
STATE_TOP = 2**23 - 1
DELAYED_SYNAPSES = 4000
PROBED_STEPS = 12
SILENT = {"reset_amount": None, "refractory": 0, "adaptation": None}
MAXIMUM = 254, 127
"""Weights and threshold of a max pooling of spikes, as they are quantised."""
RATES = 0.02, 0.1, 0.3, 0.5


# Over 50 lines: one draw after the other, in the order that seeds stand for.
@st.composite
def fuzz_cases(draw, largest=400, samples=4, wide=None, looped=0.25, pooled=0.1):
    """A network and encoded samples for it [T, N, *shape].

    largest: neurons of a dense layer, about, and of a channel in a convolution. wide: whether its first layer is one of
    fuzz_boundaries; by default a quarter. looped: share of the layers of maps whose spikes come back to them. pooled:
    of those that take spikes and are a max pooling.
    """
    seed = draw(st.integers(0, 2**32 - 1))
    rng, gains, each, rests, loops, pools = (np.random.default_rng([seed, n] if n else seed) for n in range(6))
    wide = draw(st.integers(0, 3)) == 0 if wide is None else wide
    horizon = draw(st.integers(2, 8 if wide else 48))
    spec = draw(wide_inputs() if wide else _inputs(largest))
    rate = None if wide else draw(st.sampled_from([0.05, 0.2, 0.5, 0.9]))
    frames = frames_near_the_top(rng, spec, horizon, samples) if wide else _frames(rng, spec, horizon, samples, rate)
    layers, points = [], [("input", frames)]
    kinds = ["conv"] * (draw(st.integers(1, 3)) if len(spec.shape) == 3 else 0)
    kinds += ["dense"] * draw(st.integers(0 if kinds else 1, 4 - len(kinds) // 2))
    membrane = draw(st.booleans()) and len(kinds) > 1
    while len(layers) < len(kinds):
        number, kind = len(layers), kinds[len(layers)]
        own = draw(_source(points, kind))
        lost = [name for name, _ in points[1:] if name not in _taken(layers) and name != points[own][0]]
        if number == len(kinds) - 1 and lost and kind == "conv":
            kinds.append("dense")  # it takes what no other layer does
        last = number == len(kinds) - 1
        frames = points[own][1]
        name = f"{kind}{number + 1}"
        if kind == "conv" and not last and (own or not spec.bits) and pools.random() < pooled:
            layers.append(replace(maximum_of_spikes(pools, name, frames.shape[2:]), source=points[own][0]))
            points.append((name, propagate_layer(layers[-1], frames, NeuronState.at_rest(layers[-1], samples), [])))
            continue
        if kind == "conv":
            layer = draw(_convolution(rng, name, frames.shape[2:], largest))
        else:
            layer = draw(_dense(rng, name, frames.shape[2:], largest, recurrent=not (last and membrane)))
        layer = replace(layer if last and membrane else _looped(loops, layer, looped), source=points[own][0])
        if wide and not own:
            layer = layer.with_weight(_at_a_boundary(rng, layer, spec))
        layer = draw(_with_links(rng, layer, points, lost if last else [], spec if wide else None))
        around = [dict(points)[skip.source] for skip in layer.skips]
        neuron = _with_gain(gains, draw(_neuron(rng, layer.output_shape[0])), horizon)
        neuron = _varied(each, _resting(rests, neuron), layer)
        if last and membrane:
            layer = replace(layer, neuron=replace(neuron, threshold=0, reset="none", **SILENT))
        else:
            probe, *probes = (frame[:PROBED_STEPS, :1] for frame in (frames, *around))
            layer = _firing(replace(layer, neuron=neuron), probe, probes, draw(st.sampled_from(RATES)), each)
            layer = replace(layer, neuron=_late(layer.neuron, draw(st.integers(0, 2)) == 0))
            if draw(st.integers(0, 9)) == 0:
                layer = replace(layer, neuron=replace(layer.neuron, threshold=draw(EXTREMES)))
        layers.append(layer)
        points.append((layer.name, propagate_layer(layer, frames, NeuronState.at_rest(layer, samples), around)))
    return IntegerNetwork(tuple(layers), spec, "membrane" if membrane else "count", horizon), points[0][1]


def maximum_of_spikes(rng, name, shape):
    """Max pooling of spikes: neurons that fire where any spike of their window arrives."""
    kernel, stride, padding = (tuple(rng.integers(low, 3 + low, 2).tolist()) for low in (1, 1, 0))
    kernel = tuple(min(side, length) for side, length in zip(kernel, shape[1:], strict=True))
    padding = tuple(min(side, wide // 2) for side, wide in zip(padding, kernel, strict=True))
    spatial = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(shape[1:], padding, kernel, stride, strict=True)]
    weight = np.full((shape[0], 1, *kernel), MAXIMUM[0])
    neuron = IntegerNeuron(MAXIMUM[1], np.zeros(shape[0], dtype=np.int64), decay_v=4096)
    output = (shape[0], *spatial)
    return IntegerLayer(name, "conv", weight, neuron, shape, output, stride=stride, padding=padding, groups=shape[0])


@st.composite
def _source(draw, points, kind):
    """Which point a layer's own synapse takes from: the last one of all that fit, or another one of these."""
    fitting = [n for n, (_, frames) in enumerate(points) if kind == "dense" or frames.ndim == 5]
    return draw(st.sampled_from(fitting)) if draw(st.booleans()) else fitting[-1]


def _taken(layers):
    """Names of what any of the layers takes from."""
    return {name for layer in layers for name in (layer.source, *(skip.source for skip in layer.skips))}


@st.composite
def _with_links(draw, rng, layer, points, lost, wide):
    """The layer with up to three skips from anywhere, and those from what no other layer takes.

    wide: the input's spec where its messages are of fuzz_boundaries, else None.
    """
    shapes = {name: frames.shape[2:] for name, frames in points}
    count = draw(st.sampled_from([0, 0, 0, 1, 1, 2, 3])) if len(points) > 1 or draw(st.integers(0, 3)) == 0 else 0
    names = [*lost, *(draw(st.sampled_from(list(shapes))) for _ in range(count))][: max(3, len(lost))]
    for name in names:
        before = len(layer.skips)
        layer = with_skip(rng, layer, (name, shapes[name]), draw(st.sampled_from([2, 20, 126])))
        if wide and name == "input" and len(layer.skips) > before:
            weight = _at_a_boundary(rng, layer.skips[-1], wide)
            layer = replace(layer, skips=(*layer.skips[:-1], replace(layer.skips[-1], weight=weight)))
    return layer


def _looped(rng, layer, share):
    """In this share of the layers of maps, a convolution from the layer to itself."""
    return with_loop(rng, layer, int(rng.choice([2, 20, 126]))) if rng.random() < share else layer


def _late(neuron, wanted):
    """A soft reset one step later, after the leak: what it subtracts leaks to the threshold."""
    if not wanted or neuron.reset != "subtract" or lowest(neuron.decay_v) == 4096:
        return neuron
    threshold, decay = beside(neuron.threshold, neuron.decay_v)
    amount = (threshold << 6) * 4096 // np.maximum(4096 - decay, 1)
    return replace(neuron, reset_amount=np.minimum(amount, STATE_TOP))


def _shape(rng, shape):
    """Of a parameter: None for one number, one per channel, or one per neuron."""
    return [None, shape[:1], shape][rng.integers(3)]


def _varied(rng, neuron, layer):
    """In half of them, some parameters differ between channels or between neurons."""
    shape = layer.output_shape
    if rng.random() < 0.5:
        return neuron
    changed = {}
    for key in ("decay_u", "decay_v", "v_init", "reset_amount", "u_init", "bias_mantissa"):
        value, wanted = getattr(neuron, key), _shape(rng, shape)
        if wanted is None or value is None or (key == "decay_u" and neuron.gain is not None):
            continue
        others = {
            "decay_u": [0, 1, 2048, 4095, 4096],
            "decay_v": [0, 1, 2048, 4095, 4096],
            "v_init": [0, -5000, 77, STATE_TOP, -STATE_TOP],
            "reset_amount": [0, 1, STATE_TOP],
        }.get(key, [0])
        changed[key] = rng.choice([*np.ravel(value), *others, *rng.permutation(np.ravel(value) >> 1)], wanted)
    neuron = replace(neuron, **changed)
    if lowest(neuron.decay_u) == 4096:
        return replace(neuron, u_init=None)
    if neuron.u_init is None and rng.random() < 0.5:
        return replace(neuron, u_init=rng.integers(-(2**16), 2**16, _shape(rng, shape) or shape))
    return neuron


def _factors(rng, shape):
    """What the threshold of a layer is multiplied by: 1, or one factor per channel or per neuron."""
    wanted = _shape(rng, shape)
    return 1 if wanted is None else rng.choice([0.0, 0.25, 0.5, 1.0, 1.5, 3.0], wanted)


def _with_gain(rng, neuron, horizon):
    """In one of five, a gain per timestep."""
    if rng.random() >= 0.2:
        return neuron
    gain = [rng.integers(-600, 4097, horizon), rng.choice([4096, 2048, 0], horizon)][rng.integers(2)]
    return replace(neuron, decay_u=4096, u_init=None, gain=tuple(gain.tolist()))


def _resting(rng, neuron):
    """In some of them, a refractory period, or a threshold that adapts."""
    if neuron.gain:
        return neuron
    period, adapts = int(rng.choice([0, 0, 0, 1, 2, 5, 63])), rng.random() < 0.2
    if not adapts:
        return replace(neuron, refractory=period)
    decays = rng.choice([0, 4096, 4095, 2048, 1, *rng.integers(0, 4097, 5)], 2).tolist()
    step = int(rng.choice([0, TOP_THRESHOLD, *(int(2 ** rng.uniform(1, 17)) for _ in range(4))]))
    adaptation = Adaptation(decays[0], step, decays[1])
    return replace(neuron, reset="adapt", reset_amount=None, adaptation=adaptation)


def _at_a_boundary(rng, synapse, spec):
    """Weights for a synapse of the input; Lava's Conv casts its sums to 32 bits, so they stay within them."""
    boundaries = BOUNDARIES if synapse.kind == "dense" else BOUNDARIES[:-1]
    return weights_at_a_boundary(rng, synapse.weight.shape, spec.maximum, boundaries)


@st.composite
def _inputs(draw, largest):
    shape = (draw(st.integers(1, largest)),)
    if draw(st.booleans()):
        side = max(3, int(np.sqrt(largest)))
        shape = (draw(st.integers(1, 6)), draw(st.integers(3, side)), draw(st.integers(3, side)))
    bits = draw(st.sampled_from([0, 0, 0, 1, 4, 8, 8, 12, 16]))
    return InputSpec(shape, "events", bits=bits, signed=bool(bits) and draw(st.sampled_from([True, True, False])))


def _frames(rng, spec, horizon, samples, rate):
    shape = (horizon, samples, *spec.shape)
    values = rng.integers(spec.minimum, spec.maximum + 1, shape) if spec.bits else 1
    return (values * (rng.random(shape) < rate)).astype(np.int32)


def _weights(draw, rng, shape):
    """Even, of the whole range [-256, 254] or a part of it, sparse or not, of one sign or of both."""
    top = draw(st.sampled_from([2, 16, 128, 128]))
    weight = 2 * rng.integers(-top, top, shape)
    sign = draw(st.sampled_from(["both", "both", "both", "excitatory", "inhibitory"]))
    if sign != "both":
        weight = np.clip(weight if sign == "excitatory" else -weight, -254, 254)
        weight = np.abs(weight) if sign == "excitatory" else -np.abs(weight)
    if draw(st.booleans()):
        weight = weight * (rng.random(shape) < draw(st.sampled_from([0.1, 0.5])))
    if weight.max() <= 0:  # Lava's Dense makes -255 of -256 in a matrix of one sign; export refuses it
        weight = np.maximum(weight, -254)
    return weight.astype(np.int64)


@st.composite
def _convolution(draw, rng, name, shape, largest):
    wide = shape[0] >= MANY_GROUPS  # Lava's Conv takes its time over many channels, and padding keeps sums small
    most_outputs, most_padding = (4, draw(st.sampled_from([0, 0, 3]))) if wide else (8, 3)
    ones = (1,) * (8 if wide else 2)
    groups = draw(st.sampled_from([g for g in (*ones, 2, 3, shape[0]) if shape[0] % g == 0]))
    room = max(1, largest // size(shape[1:]))
    outputs = groups * draw(st.integers(1, max(1, min(most_outputs, 4 * room) // groups)))
    geometry = {"kernel_size": [], "stride": [], "padding": [], "dilation": []}
    for length in shape[1:]:
        padding, dilation = draw(st.integers(0, most_padding)), draw(st.integers(1, 3))
        kernel = draw(st.integers(1, min(5, (length + 2 * padding - 1) // dilation + 1)))
        for key, value in zip(geometry, (kernel, draw(st.integers(1, 3)), padding, dilation), strict=True):
            geometry[key].append(value)
    kernels, geometry = geometry.pop("kernel_size"), {key: tuple(value) for key, value in geometry.items()}
    weight = _weights(draw, rng, (outputs, shape[0] // groups, *kernels))
    spans = [d * (k - 1) + 1 for d, k in zip(geometry["dilation"], kernels, strict=True)]
    spatial = [
        (n + 2 * p - span) // s + 1
        for n, p, span, s in zip(shape[1:], geometry["padding"], spans, geometry["stride"], strict=True)
    ]
    neuron = IntegerNeuron(0, np.zeros(outputs, dtype=np.int64))
    return IntegerLayer(name, "conv", weight, neuron, shape, (outputs, *spatial), groups=groups, **geometry)


@st.composite
def _dense(draw, rng, name, shape, largest, recurrent):
    outputs = draw(st.integers(1, largest))
    extras = {}
    delayed = size(shape) <= DELAYED_SYNAPSES and draw(st.integers(0, 3)) == 0
    if delayed:  # Lava's DelayDense builds 63 weight matrices in every step
        outputs = min(outputs, DELAYED_SYNAPSES // size(shape))
    weight = _weights(draw, rng, (outputs, size(shape)))
    if delayed:
        extras["delay"] = rng.integers(0, draw(st.sampled_from([1, 3, 12, 62])) + 1, weight.shape)
    if recurrent and draw(st.integers(0, 3)) == 0:
        extras["recurrent"] = _weights(draw, rng, (outputs, outputs))
    neuron = IntegerNeuron(0, np.zeros(outputs, dtype=np.int64))
    return IntegerLayer(name, "dense", weight, neuron, shape, (outputs,), **extras)


@st.composite
def _neuron(draw, rng, channels):
    """Any decays, biases, v(0) and reset; the threshold comes later."""
    decays = st.one_of(st.sampled_from([0, 4096, 4095, 2048, 1]), st.integers(0, 4096))
    width = draw(st.sampled_from([0, 0, 6, 12, 12]))
    low = draw(st.sampled_from([-(2**width), 0])) if width else 0
    reset, amount = draw(st.sampled_from(["zero", "subtract"])), None
    if reset == "subtract" and draw(st.booleans()):
        amount = draw(st.sampled_from([0, 1, STATE_TOP, *(int(2.0 ** rng.uniform(6, 23)) for _ in range(3))]))
    decay_u, start = draw(decays), None
    if decay_u < 4096 and draw(st.booleans()):
        start = rng.integers(-(2 ** rng.integers(4, 23)), 2 ** rng.integers(4, 23), channels)
    return IntegerNeuron(
        threshold=0,
        bias_mantissa=rng.integers(low, 2**width, channels),
        decay_u=decay_u,
        u_init=start,
        decay_v=draw(decays),
        bias_exponent=draw(st.integers(0, 7)),
        v_init=draw(st.sampled_from([0, 0, int(rng.integers(-5000, 5000)), -STATE_TOP, STATE_TOP])),
        reset=reset,
        reset_amount=amount,
    )


def _firing(layer, frames, around, rate, rng):
    """The layer with the threshold, found by bisection on one sample, at which about `rate` of its slots fire.

    rng: of the factors of its channels' or neurons' thresholds, each times the one that is found.
    """
    factors = _factors(rng, layer.output_shape)
    temporal = layer.delay is not None or layer.recurrent is not None
    sums = None if temporal else [synapse(layer, frame) for frame in frames]
    for skip, taken in zip(layer.skips, around, strict=True):
        if sums is not None:
            sums = [own + synapse(skip, frame) for own, frame in zip(sums, taken, strict=True)]
    low, high = 0, TOP_THRESHOLD
    for _ in range(8):
        middle = (low + high) // 2 if low else int(np.sqrt(high))
        threshold = middle if isinstance(factors, int) else np.minimum((middle * factors).astype(int), TOP_THRESHOLD)
        layer = replace(layer, neuron=replace(layer.neuron, threshold=threshold))
        state = NeuronState.at_rest(layer, 1)
        if sums is None:
            fired = propagate_layer(layer, frames, state, around).mean()
        else:
            fired = np.mean([state.step(layer, current).mean() for current in sums])
        low, high = (middle, high) if fired > rate else (low, middle)
    return layer
