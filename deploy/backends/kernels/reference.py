"""Lava's fixed-point arithmetic in plain numpy, in algorithmic time: what the kernels are tested against at start.

Products run in float64, where sums of integers below 2^53 are exact; everything else is int64.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from spikecut.errors import InputError
from spikecut.export.network.adaptation import Adaptation
from spikecut.export.network.arrays import IntArray, Integers, size
from spikecut.export.network.connectivity import gather_index
from spikecut.export.network.gain import gain_at
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.network.parameters import spread
from spikecut.export.network.sigma_delta import SigmaDelta, advance, wrap32
from spikecut.export.quantise.headroom import Ranges
from spikecut.fixed_point import ALIGNMENT_SHIFT, STATE_LIMIT, keep, multiplied


def scores_of(network: IntegerNetwork, messages: Integers) -> IntArray:
    """Per-step scores int64 [T, N, classes] from the output layer's messages (spikes, or membranes)."""
    output = messages.reshape(*messages.shape[:2], -1).astype(np.int64)
    if network.readout == "membrane":
        return np.diff(output, axis=0, prepend=0)
    return output


def propagate(network: IntegerNetwork, inputs: Integers, tail: int = 0) -> list[Integers]:
    """Messages of the source and of every layer, [T + tail, N, *shape] each; the source is silent after T."""
    silence = np.zeros((tail, *inputs.shape[1:]), dtype=inputs.dtype)
    frames = np.concatenate([inputs, silence])
    return [frames, *(messages for messages, _ in _walk(network, frames))]


def _walk(network: IntegerNetwork, inputs: Integers) -> Iterator[tuple[Integers, "NeuronState"]]:
    """Messages of every layer and the state in which its neurons end; only what a layer still needs is kept."""
    last_use = {path.source: path.target for paths in network.paths for path in paths}
    kept = {0: inputs}
    for number, (layer, paths) in enumerate(zip(network.layers, network.paths, strict=True), start=1):
        state = NeuronState.at_rest(layer, inputs.shape[1])
        frames, *skipped = (kept[path.source] for path in paths)
        kept[number] = propagate_layer(layer, frames, state, skipped)
        yield kept[number], state
        kept = {source: each for source, each in kept.items() if last_use.get(source, 0) > number}


def propagate_layer(
    layer: IntegerLayer,
    frames: Integers,
    state: "NeuronState",
    skipped: Sequence[Integers] = (),
    seen: Callable[["NeuronState"], None] = lambda _: None,
) -> Integers:
    """Messages [T, N, *output_shape] of a layer whose neurons are in `state`, for frames [T, N, *input_shape].

    skipped: what each of its skips takes, [T, N, *shape]. seen: is shown the state after every step.

    InputError for another number of them than it has skips.
    """
    if len(layer.skips) != len(skipped):
        raise InputError(f"layer {layer.name}: messages of {len(skipped)} sources for {len(layer.skips)} skips")
    output = np.zeros((*frames.shape[:2], *layer.output_shape), dtype=np.int32)
    for t in range(len(frames)):
        current = _delayed(layer, frames, t) if layer.delay is not None else synapse(layer, frames[t])
        if layer.loop is not None and t:
            current = current + synapse(layer.loop, output[t - 1])
        for skip, messages in zip(layer.skips, skipped, strict=True):
            current = current + synapse(skip, messages[t])
        output[t] = state.step(layer, current)
        seen(state)
    return output


def _delayed(layer: IntegerLayer, frames: Integers, t: int) -> IntArray:
    """Σ W s[t - delay], synapse by synapse."""
    delays = np.zeros_like(layer.weight) if layer.delay is None else layer.delay
    current = np.zeros((frames.shape[1], *layer.output_shape), dtype=np.int64)
    for delay in np.unique(delays):
        if delay <= t:
            current += synapse(layer, frames[t - delay], np.where(delays == delay, layer.weight, 0))
    return current


def synapse(layer: Synapse, frame: Integers, weight: IntArray | None = None, wrap: bool = True) -> IntArray:
    """Σ W s for frames [N, *input_shape], int64 [N, *output_shape]; a convolution wraps to 24 bits, as Lava's does."""
    batch = frame.shape[0]
    weight = layer.weight if weight is None else weight
    if layer.kind == "dense":
        flat = frame.reshape(batch, -1).astype(np.float64)
        return (flat @ weight.T.astype(np.float64)).astype(np.int64)
    index = gather_index(layer)
    pixels = np.zeros((batch, layer.input_shape[0], size(layer.input_shape[1:]) + 1))
    pixels[..., :-1] = frame.reshape(batch, layer.input_shape[0], -1)
    patches = pixels[:, :, index]
    groups, per_group = layer.groups, weight.shape[1]
    patches = patches.reshape(batch, groups, per_group, *index.shape).transpose(0, 1, 3, 2, 4)
    patches = patches.reshape(batch, groups, index.shape[0], -1)
    kernels = weight.reshape(groups, -1, per_group * index.shape[1]).astype(np.float64)
    sums = np.matmul(patches, kernels.transpose(0, 2, 1)).astype(np.int64)
    if wrap:
        sums = (sums + STATE_LIMIT) % (2 * STATE_LIMIT) - STATE_LIMIT
    return np.asarray(sums.transpose(0, 1, 3, 2).reshape(batch, *layer.output_shape))


@dataclass
class NeuronState:
    """u and v of a layer, int64 [N, *output_shape]; the largest magnitudes before wrap and clip; the steps done.

    waits: the steps for which each neuron still rests after a spike, int64 [N, *output_shape]. raised, refractory: a
    and r of neurons that adapt, see export/network/adaptation.py. sigma_delta: σ, a, r and e of such neurons, int64
    [4, N, *output_shape], see export/network/sigma_delta.py.
    """

    u: IntArray
    v: IntArray
    waits: IntArray
    raised: IntArray
    refractory: IntArray
    sigma_delta: IntArray
    peak_u: int = 0
    peak_v: int = 0
    steps: int = 0

    @classmethod
    def at_rest(cls, layer: IntegerLayer, samples: int) -> "NeuronState":
        """The state before a sample's first step."""
        shape = (samples, *layer.output_shape)
        u = np.zeros(shape, dtype=np.int64)
        if layer.neuron.u_init is not None:
            u += spread(layer.neuron.u_init, len(layer.output_shape))
        zeros = np.zeros(shape, dtype=np.int64)
        given = layer.neuron.sigma_delta or SigmaDelta()
        start = np.broadcast_to(given.starts(layer.output_shape)[:, None], (4, *shape))
        return cls(u, zeros + spread(layer.neuron.v_init, len(layer.output_shape)), zeros, zeros, zeros, start)

    def step(self, layer: IntegerLayer, current: IntArray) -> Integers:
        """One step of Lava's AbstractPyLifModelFixed; returns spikes, or membranes of a readout."""
        neuron, dimensions = layer.neuron, len(layer.output_shape)
        if neuron.sigma_delta is not None:
            return self._change(neuron, neuron.sigma_delta, spread(neuron.bias, dimensions), current)
        u = wrap32(keep(self.u, spread(neuron.decay_u, dimensions)) + wrap32(current << ALIGNMENT_SHIFT))
        self.peak_u = max(self.peak_u, int(np.abs(u).max(initial=0)))
        u = np.where(u > STATE_LIMIT, u - 2 * STATE_LIMIT, np.where(u <= -STATE_LIMIT, u + 2 * STATE_LIMIT, u))
        driven = u + spread(neuron.bias, dimensions)
        if neuron.gain is not None:
            driven = multiplied(driven, gain_at(neuron.gain, self.steps))
        self.steps += 1
        v = keep(self.v, spread(neuron.decay_v, dimensions)) + driven
        self.peak_v = max(self.peak_v, int(np.abs(v).max(initial=0)))
        v = np.clip(v, -STATE_LIMIT + 1, STATE_LIMIT - 1)
        rests = self.waits > 0
        v = np.where(rests, self.v, v)
        self.u, self.v = u, v
        if neuron.reset == "none":
            return np.array(v)
        if neuron.adaptation is not None:
            return self._adapt(neuron, neuron.adaptation, v)
        spikes = (v > spread(neuron.threshold, dimensions) << ALIGNMENT_SHIFT) & ~rests
        self.waits = np.where(spikes, neuron.refractory, np.maximum(self.waits - 1, 0))
        after = v - spread(neuron.subtracted, dimensions) if neuron.reset == "subtract" else 0
        self.v = np.where(spikes, after, v)
        return np.asarray(spikes, dtype=np.int32)

    def _change(self, neuron: IntegerNeuron, given: SigmaDelta, bias: IntArray, current: IntArray) -> Integers:
        """Messages of sigma-delta neurons, whose σ takes the place of v."""
        arriving = wrap32(current)
        self.peak_u = max(self.peak_u, int(np.abs(arriving).max(initial=0)))
        readout = neuron.reset == "none"
        self.sigma_delta, sent = advance(given, neuron.threshold, bias, self.sigma_delta, arriving, readout)
        self.peak_v = max(self.peak_v, int(np.abs(self.sigma_delta).max(initial=0)))
        self.v, self.steps = self.sigma_delta[0], self.steps + 1
        return np.asarray(sent, dtype=np.int32)

    def _adapt(self, neuron: IntegerNeuron, adaptation: Adaptation, v: IntArray) -> Integers:
        """Spikes of neurons whose threshold rises with them."""
        raised, refractory = (
            keep(self.raised, adaptation.threshold_decay),
            keep(self.refractory, adaptation.refractory_decay),
        )
        threshold = (spread(neuron.threshold, v.ndim - 1) << ALIGNMENT_SHIFT) + raised
        spikes = v >= threshold + refractory
        self.raised = raised + adaptation.step * spikes
        self.refractory = refractory + 2 * threshold * spikes
        self.peak_v = max(self.peak_v, int(self.raised.max(initial=0)), int(self.refractory.max(initial=0)))
        return np.asarray(spikes, dtype=np.int32)


def measure_ranges(network: IntegerNetwork, inputs: Integers) -> dict[str, Ranges]:
    """Largest |u| and |v| seen per layer while running encoded samples [T, N, *shape]."""
    states = [state for _, state in _walk(network, inputs)]
    return {layer.name: Ranges(state.peak_u, state.peak_v) for layer, state in zip(network.layers, states, strict=True)}
