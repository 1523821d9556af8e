"""The linear nodes between two NIR neurons as one synapse: pooling, scaling and products folded where that is exact.

A pooling is a convolution of each channel with itself (`depthwise`). Exact: up to float64 rounding of the weights.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from spikecut.errors import BundleError, UnsupportedError
from spikecut.export.network.arrays import Array, Pair, Shape, size
from spikecut.export.network.geometry import Kind
from spikecut.export.nir.file import MAXIMUM_NUMBERS, NirNode

SYNAPSES = ("Affine", "Linear", "Scale", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d")


@dataclass(frozen=True)
class Synapse:
    """Currents y = W x + b, for x of `input_shape`; weight (O, I/groups, H, W) or (O, I), bias (O,), float64."""

    kind: Kind
    weight: Array
    bias: Array
    input_shape: Shape
    output_shape: Shape
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def depthwise(self) -> bool:
        """Whether each channel stays by itself, without bias: a pooling, a scaling, or nothing at all."""
        return self.kind == "conv" and self.weight.shape[:2] == (self.groups, 1) and not self.bias.any()

    def scaled(self, gain: float | Array, offset: float = 0.0) -> "Synapse":
        """gain · y + offset; gain: a number, or one per output channel."""
        rows = np.broadcast_to(np.asarray(gain, dtype=np.float64), self.bias.shape)
        return replace(
            self,
            weight=self.weight * rows.reshape(-1, *([1] * (self.weight.ndim - 1))),
            bias=self.bias * rows + offset,
        )


def identity(shape: Shape, name: str) -> Synapse:
    """y = x."""
    if len(shape) == 3:
        return _depthwise(np.ones((shape[0], 1, 1, 1)), shape, (1, 1), (0, 0), name)
    _check_count(shape[0] ** 2, name)
    return Synapse("dense", np.eye(shape[0]), np.zeros(shape[0]), shape, shape)


def as_dense(synapse: Synapse, name: str) -> Synapse:
    """A convolution with a 1 x 1 output as the dense matrix that it is."""
    inputs, outputs = synapse.input_shape, len(synapse.weight)
    _check_count(outputs * size(inputs), name)
    dense = np.zeros((outputs, *inputs))
    per_group = synapse.weight.shape[1]
    for output in range(outputs):
        first = output // (outputs // synapse.groups) * per_group
        for i, j in np.ndindex(*synapse.weight.shape[2:]):
            y, x = i * synapse.dilation[0] - synapse.padding[0], j * synapse.dilation[1] - synapse.padding[1]
            if 0 <= y < inputs[1] and 0 <= x < inputs[2]:
                dense[output, first : first + per_group, y, x] += synapse.weight[output, :, i, j]
    return Synapse("dense", dense.reshape(outputs, -1), synapse.bias, inputs, (outputs,))


def after(before: Synapse | None, node: NirNode, shape: Shape, flat: bool) -> Synapse:
    """The synapse of `before` followed by `node`.

    before: the linear nodes so far, whose output is of `shape`; None right behind neurons or the input.
    flat: a Flatten stands between.

    Raises
    ------
    BundleError: weights, strides, paddings that do not fit the shape.
    UnsupportedError: two nodes that no single synapse equals, with what to do.
    """
    if node.kind == "Scale":
        return _rescaled(before, node, shape, flat)
    if node.kind in ("Affine", "Linear"):
        return _dense(before, node, shape, flat)
    if len(shape) != 3 or flat:
        raise BundleError(f"node {node.name} ({node.kind}) takes a map of channels, but gets the shape {shape}")
    added = _pool(node, shape) if node.kind.endswith("Pool2d") else _conv(node, shape)
    if before is None:
        return added
    if before.depthwise and before.kind == "conv":
        return _conv_after_depthwise(before, added, node)
    if added.depthwise and before.kind == "conv":
        return _depthwise_after_conv(before, added, node)
    raise UnsupportedError(
        f"node {node.name} ({node.kind}) follows another synapse without neurons between; put neurons between them, or "
        "multiply the two before writing the file"
    )


def _rescaled(before: Synapse | None, node: NirNode, shape: Shape, flat: bool) -> Synapse:
    scale = node.numbers["scale"].astype(np.float64)
    if scale.size not in (1, size(shape)):
        raise BundleError(f"node {node.name}: a scale of shape {scale.shape} does not fit {shape}")
    scale = np.broadcast_to(scale.reshape(-1) if scale.size > 1 else scale.reshape(1), (size(shape),)).reshape(shape)
    if len(shape) == 3:
        if not (scale == scale[:, :1, :1]).all():
            raise UnsupportedError(
                f"node {node.name}: the scale differs inside a channel; scale by channel, or put it into the weights"
            )
        scale = scale[:, 0, 0]
    return (before or identity(shape, node.name)).scaled(scale)


def _dense(before: Synapse | None, node: NirNode, shape: Shape, flat: bool) -> Synapse:
    weight = node.numbers["weight"].astype(np.float64)
    inputs = size(shape)
    if weight.ndim != 2 or weight.shape[1] != inputs or not weight.shape[0]:
        raise BundleError(f"node {node.name}: weight of shape {weight.shape} does not fit an input of shape {shape}")
    if len(shape) != 1 and not flat:
        raise UnsupportedError(f"node {node.name}: dense on a map {shape} works row by row; put a Flatten before it")
    bias = _bias(node, weight)
    if before is None:
        return Synapse("dense", weight, bias, shape, (len(weight),))
    _check_count(len(weight) * size(before.input_shape), node.name)
    if before.kind == "dense":
        product = weight @ before.weight
        return replace(before, weight=product, bias=weight @ before.bias + bias, output_shape=(len(weight),))
    if before.depthwise:
        spread = _spread(weight.reshape(-1, *shape), before)
        return Synapse("dense", spread.reshape(len(weight), -1), bias, before.input_shape, (len(weight),))
    raise UnsupportedError(
        f"node {node.name} ({node.kind}) follows a convolution without neurons between; put neurons between them"
    )


def _spread(weight: Array, pool: Synapse) -> Array:
    """Dense weights (O, C, h, w) on pooled maps → (O, C, H, W) on the maps before the pooling."""
    spread = np.zeros((len(weight), *pool.input_shape))
    rows, columns = weight.shape[2:]
    for m, n in np.ndindex(*pool.weight.shape[2:]):
        row = np.arange(rows) * pool.stride[0] - pool.padding[0] + m
        column = np.arange(columns) * pool.stride[1] - pool.padding[1] + n
        inside = np.ix_((row >= 0) & (row < spread.shape[2]), (column >= 0) & (column < spread.shape[3]))
        target = np.ix_(row[inside[0].reshape(-1)], column[inside[1].reshape(-1)])
        part = weight[:, :, inside[0], inside[1]] * pool.weight[None, :, 0, m, n, None, None]
        spread[:, :, target[0], target[1]] += part
    return spread


def _conv(node: NirNode, shape: Shape) -> Synapse:
    weight = node.numbers["weight"].astype(np.float64)
    one_dimension = node.kind == "Conv1d"
    if weight.ndim != (3 if one_dimension else 4) or not weight.size:
        raise BundleError(f"node {node.name}: weight of shape {weight.shape} does not fit a {node.kind}")
    if one_dimension and shape[1] != 1:
        raise BundleError(f"node {node.name}: a Conv1d takes (channels, length), but gets a map of shape {shape}")
    if one_dimension:
        weight = weight[:, :, None]
    groups = _whole(node, "groups", 1)[0]
    if groups < 1 or shape[0] % groups or weight.shape[0] % groups or weight.shape[1] * groups != shape[0]:
        raise BundleError(f"node {node.name}: weight {weight.shape} and groups {groups} do not fit {shape[0]} channels")
    stride, dilation = _pair(node, "stride", 1, one_dimension), _pair(node, "dilation", 1, one_dimension)
    kernel = (weight.shape[2], weight.shape[3])
    padding = _padding(node, kernel, stride, dilation, one_dimension)
    output = _output(shape, kernel, stride, padding, dilation, node.name)
    bias = _bias(node, weight)
    return Synapse("conv", weight, bias, shape, (len(weight), *output), stride, padding, dilation, groups)


def _padding(node: NirNode, kernel: Pair, stride: Pair, dilation: Pair, one_dimension: bool) -> Pair:
    word = node.texts.get("padding")
    if word is None:
        padding = _pair(node, "padding", 0, one_dimension)
        return (0, padding[1]) if one_dimension else padding
    if word == "valid":
        return (0, 0)
    spans = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if word != "same":
        raise BundleError(f"node {node.name}: padding {word!r}, expected numbers, same or valid")
    if stride != (1, 1) or any(span % 2 for span in spans):
        raise UnsupportedError(
            f"node {node.name}: padding 'same' is lopsided for this kernel and stride; give the padding as numbers"
        )
    return spans[0] // 2, spans[1] // 2


def _pool(node: NirNode, shape: Shape) -> Synapse:
    kernel = _pair(node, "kernel_size", 1, False)
    stride = _pair(node, "stride", 1, False)
    padding = _pair(node, "padding", 0, False)
    _check_count(shape[0] * kernel[0] * kernel[1], node.name)
    value = 1.0 / (kernel[0] * kernel[1]) if node.kind == "AvgPool2d" else 1.0
    return _depthwise(np.full((shape[0], 1, *kernel), value), shape, stride, padding, node.name)


def _depthwise(weight: Array, shape: Shape, stride: Pair, padding: Pair, name: str) -> Synapse:
    output = _output(shape, (weight.shape[2], weight.shape[3]), stride, padding, (1, 1), name)
    zeros = np.zeros(shape[0])
    return Synapse("conv", weight, zeros, shape, (shape[0], *output), stride, padding, (1, 1), shape[0])


def _conv_after_depthwise(pool: Synapse, conv: Synapse, node: NirNode) -> Synapse:
    """pool, then conv, as one convolution: stride and padding multiply, the kernel grows.

    Exact only if what the convolution pads with zeros is what the pooling would give beyond its edge.
    """
    for n, out, k, s, p, outer in zip(
        pool.input_shape[1:],
        pool.output_shape[1:],
        pool.weight.shape[2:],
        pool.stride,
        pool.padding,
        conv.padding,
        strict=True,
    ):
        if outer and (k > s + p or out * s - p < n):
            raise UnsupportedError(
                f"node {node.name}: it pads the output of a pooling whose windows overlap or do not divide the map, "
                f"which no single convolution equals; pool a map that {s} divides, or pad before the pooling"
            )
    steps = _times(conv.dilation, pool.stride)
    shift = [step * (k - 1) for step, k in zip(steps, conv.weight.shape[2:], strict=True)]
    sides = [k + more for k, more in zip(pool.weight.shape[2:], shift, strict=True)]
    _check_count(conv.weight.shape[0] * conv.weight.shape[1] * sides[0] * sides[1], node.name)
    weight = np.zeros((*conv.weight.shape[:2], *sides))
    per_group = conv.weight.shape[1]
    channel = np.arange(len(weight))[:, None] // (len(weight) // conv.groups) * per_group + np.arange(per_group)
    kernels = pool.weight[channel, 0]  # (O, I/groups, k, k)
    for i, j in np.ndindex(*conv.weight.shape[2:]):
        window = (
            slice(i * steps[0], i * steps[0] + kernels.shape[2]),
            slice(j * steps[1], j * steps[1] + kernels.shape[3]),
        )
        weight[:, :, window[0], window[1]] += conv.weight[:, :, i, j, None, None] * kernels
    padding = tuple(p + outer * s for p, outer, s in zip(pool.padding, conv.padding, pool.stride, strict=True))
    return replace(
        conv,
        weight=weight,
        input_shape=pool.input_shape,
        stride=_times(conv.stride, pool.stride),
        padding=(padding[0], padding[1]),
        dilation=(1, 1),
    )


def _depthwise_after_conv(conv: Synapse, pool: Synapse, node: NirNode) -> Synapse:
    """conv, then pool, as one convolution."""
    if max(pool.padding):
        raise UnsupportedError(
            f"node {node.name}: a padded pooling right behind a convolution, which no single convolution equals; pool "
            "without padding, or put neurons between them"
        )
    steps = conv.stride
    base = [d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.weight.shape[2:], strict=True)]
    sides = [b + s * (k - 1) for b, s, k in zip(base, steps, pool.weight.shape[2:], strict=True)]
    _check_count(conv.weight.shape[0] * conv.weight.shape[1] * sides[0] * sides[1], node.name)
    weight = np.zeros((*conv.weight.shape[:2], *sides))
    for m, n in np.ndindex(*pool.weight.shape[2:]):
        rows = slice(m * steps[0], m * steps[0] + base[0], conv.dilation[0])
        columns = slice(n * steps[1], n * steps[1] + base[1], conv.dilation[1])
        weight[:, :, rows, columns] += conv.weight * pool.weight[:, 0, m, n, None, None, None]
    return replace(
        conv,
        weight=weight,
        bias=conv.bias * pool.weight.sum(axis=(1, 2, 3)),
        output_shape=pool.output_shape,
        stride=_times(conv.stride, pool.stride),
        dilation=(1, 1),
    )


def _times(one: Pair, other: Pair) -> Pair:
    return one[0] * other[0], one[1] * other[1]


def _output(shape: Shape, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, name: str) -> Pair:
    sides = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(shape[1:], kernel, stride, padding, dilation, strict=True)
    ]
    if min(sides) < 1:
        raise BundleError(f"node {name}: a kernel of {kernel} does not fit into a map of {shape[1:]}")
    _check_count(sides[0] * sides[1] * shape[0], name)
    return sides[0], sides[1]


def _bias(node: NirNode, weight: Array) -> Array:
    bias = node.numbers.get("bias")
    if bias is None:
        return np.zeros(len(weight))
    if bias.shape != weight.shape[:1]:
        raise BundleError(f"node {node.name}: bias of shape {bias.shape}, expected {weight.shape[:1]}")
    return bias.astype(np.float64)


def _whole(node: NirNode, key: str, least: int) -> list[int]:
    values: npt.NDArray[np.generic] = node.numbers[key].reshape(-1)
    whole = [int(value) for value in values.tolist()]
    if not 1 <= len(whole) <= 2 or whole != values.tolist() or min(whole) < least or max(whole) > 2**16:
        raise BundleError(f"node {node.name}: {key} = {values.tolist()[:4]}, expected whole numbers from {least} on")
    return whole


def _pair(node: NirNode, key: str, least: int, one_dimension: bool) -> Pair:
    values = _whole(node, key, least)
    if one_dimension and len(values) != 1:
        raise BundleError(f"node {node.name}: {key} of a Conv1d has {len(values)} values, expected 1")
    if one_dimension and key != "padding":
        return 1, values[0]
    return values[0], values[-1]


def _check_count(count: int, name: str) -> None:
    if count > MAXIMUM_NUMBERS:
        raise BundleError(f"node {name}: it needs {count} numbers, at most {MAXIMUM_NUMBERS} are taken")
