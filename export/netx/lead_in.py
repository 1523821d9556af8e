"""The state in which sigma-delta layers are when the first message of a sample reaches them, in netx's own graph.

All layers of that graph run from the first hardware step on. One at depth l has then done l steps of its own, in which
its bias came through and what the layers before it made of theirs, all without any input. Nothing of it depends on the
sample, so it is a state to start from; spikecut's wave of resets brings each layer to it, instead of to 0.
"""

from dataclasses import replace

import numpy as np

from spikecut.errors import UnsupportedError
from spikecut.export.network.arrays import IntArray, size
from spikecut.export.network.connectivity import gather_index
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.graph import is_graded
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.sigma_delta import SigmaDelta, advance
from spikecut.fixed_point import STATE_LIMIT

MOST_LAYERS = 512
FLOAT_TAPS = 2**13


def with_lead_in(network: IntegerNetwork) -> IntegerNetwork:
    """A network of sigma-delta neurons with the states in which its layers start; another network as it is.

    UnsupportedError for one so deep that this would take long: the steps grow with the square of the depth.
    """
    if not is_graded(network):
        return network
    if network.depth > MOST_LAYERS:
        raise UnsupportedError(
            f"{network.depth} sigma-delta layers, one behind the other; at most {MOST_LAYERS} are read: give a part of "
            "them by --layers"
        )
    needed = {path.source: path.target for paths in network.paths for path in paths}
    sent: dict[int, list[IntArray | None]] = {0: []}  # of each layer in its hardware steps from 1 on; None for silence
    layers = []
    for number, (layer, paths) in enumerate(zip(network.layers, network.paths, strict=True), start=1):
        given = layer.neuron.sigma_delta or SigmaDelta()
        state, messages = given.starts(layer.output_shape), []
        for step in range(1, network.depths[number] + 1):
            arriving = np.zeros(layer.output_shape, dtype=np.int64)
            for path in paths:
                before = step - 2 - path.steps
                message = sent[path.source][before] if 0 <= before < len(sent[path.source]) else None
                if message is not None:
                    arriving = arriving + _sums(path.synapse, message)
            state, message = _advanced(layer, given, state, arriving)
            messages.append(message if message.any() else None)
        sent[number] = messages
        sent = {source: each for source, each in sent.items() if needed.get(source, 0) > number}
        layers.append(replace(layer, neuron=replace(layer.neuron, sigma_delta=replace(given, start=state))))
    return replace(network, layers=tuple(layers))


def _advanced(layer: IntegerLayer, given: SigmaDelta, state: IntArray, arriving: IntArray) -> tuple[IntArray, IntArray]:
    bias = layer.neuron.bias
    bias = bias.reshape(*bias.shape, *[1] * (len(layer.output_shape) - bias.ndim))
    return advance(given, layer.neuron.threshold, bias, state, arriving, layer.neuron.reset == "none")


def _sums(synapse: Synapse, messages: IntArray) -> IntArray:
    """Σ W s of messages [*input_shape], int64 [*output_shape]; those of a convolution wrap at 24 bits."""
    if synapse.kind == "dense":
        return np.asarray(synapse.weight @ messages.reshape(-1))
    index, groups = gather_index(synapse), synapse.groups
    # float64 is faster, and exact below 2^53: messages and weights are within 2^31 and 2^8.
    exact = np.float64 if synapse.weight[0].size <= FLOAT_TAPS else np.int64
    pixels = np.zeros((synapse.input_shape[0], size(synapse.input_shape[1:]) + 1), dtype=exact)
    pixels[:, :-1] = messages.reshape(len(pixels), -1)
    under_taps = pixels[:, index].transpose(0, 2, 1).reshape(groups, -1, len(index))
    kernels = synapse.weight.reshape(groups, -1, under_taps.shape[1]).astype(exact)
    sums = (kernels @ under_taps).astype(np.int64)
    return np.asarray((sums + STATE_LIMIT) % (2 * STATE_LIMIT) - STATE_LIMIT).reshape(synapse.output_shape)
