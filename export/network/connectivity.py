"""Which input reaches which output: gather indices of convolutions, fan-out, in torch's order."""

from functools import lru_cache

import numpy as np

from spikecut.export.network.arrays import IntArray, Pair, Shape, size
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.layers import IntegerLayer


@lru_cache(maxsize=64)
def _gather(shape: Shape, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, output: Pair) -> IntArray:
    """For one channel: index of the input pixel under each tap, int64 [positions, taps]; height·width where padded."""
    _, height, width = shape
    rows = np.arange(output[0])[:, None] * stride[0] - padding[0] + np.arange(kernel[0])[None] * dilation[0]
    columns = np.arange(output[1])[:, None] * stride[1] - padding[1] + np.arange(kernel[1])[None] * dilation[1]
    row = rows[:, None, :, None]
    column = columns[None, :, None, :]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    index = np.where(inside, row * width + column, height * width)
    result = index.reshape(output[0] * output[1], kernel[0] * kernel[1])
    result.setflags(write=False)
    return result


def gather_index(layer: Synapse) -> IntArray:
    """Index of the input pixel under each tap of a convolution, [positions, taps]; H·W marks padding."""
    kernel = (layer.weight.shape[2], layer.weight.shape[3])
    output = (layer.output_shape[1], layer.output_shape[2])
    return _gather(layer.input_shape, kernel, layer.stride, layer.padding, layer.dilation, output)


def recurrent_fan_out(layer: IntegerLayer) -> IntArray:
    """Recurrent synapses with a non-zero weight that each neuron of the layer reaches, int64 [neurons]."""
    return np.zeros(size(layer.output_shape), dtype=np.int64) if layer.loop is None else fan_out(layer.loop)


def fan_out(layer: Synapse) -> IntArray:
    """Synapses with a non-zero weight that each input element reaches, int64 [input elements], torch's order.

    layer: a layer, without its skips, or a skip.
    """
    if layer.kind == "dense":
        return np.asarray(np.count_nonzero(layer.weight, axis=0), dtype=np.int64)
    channels, height, width = layer.input_shape
    index = gather_index(layer)
    per_group = layer.weight.shape[1]
    outputs_per_group = layer.weight.shape[0] // layer.groups
    nonzero = (layer.weight != 0).reshape(layer.groups, outputs_per_group, per_group, -1).sum(axis=1)
    result = np.zeros((channels, height * width), dtype=np.int64)
    for channel in range(channels):
        taps = nonzero[channel // per_group, channel % per_group]
        weights = np.broadcast_to(taps, index.shape).reshape(-1)
        result[channel] = np.bincount(index.reshape(-1), weights, height * width + 1)[:-1].astype(np.int64)
    return result.reshape(size(layer.input_shape))
