"""The linear layers between two neurons as one synapse: pooling, scaling and products folded where that is exact.

What other tools' files and modules hold in a row (NIR's nodes, the layers between two ReLUs) becomes one convolution
or matrix. A pooling is a convolution of each channel with itself (`depthwise`). Exact: up to float64 rounding of the
weights. Each operation tells `where` it stands, "node conv1" or "layer features.0", and what it is, for errors.
"""

from dataclasses import dataclass, replace

import numpy as np

from spikecut.errors import BundleError, UnsupportedError
from spikecut.export.network.arrays import Array, IntArray, Pair, Shape, size
from spikecut.export.network.geometry import Kind

MAXIMUM_NUMBERS = 2**26
"""Of one synapse."""


@dataclass(frozen=True)
class Operation:
    """A linear operation. where: "node conv1". kind: its type as its author calls it."""

    where: str
    kind: str


@dataclass(frozen=True)
class Scaling(Operation):
    """y = factor · x; factor: one number, or one for each of x's."""

    factor: Array


@dataclass(frozen=True)
class Affine(Operation):
    """y = factor · x + offset, one of each per channel of a map, or per feature: batch norm at inference."""

    factor: Array
    offset: Array


@dataclass(frozen=True)
class Dense(Operation):
    """y = W x + b; weight (O, I), bias (O,) or None, float64."""

    weight: Array
    bias: Array | None


@dataclass(frozen=True)
class Convolution(Operation):
    """weight (O, I/groups, H, W), bias (O,) or None, float64; padding with zeros."""

    weight: Array
    bias: Array | None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class Pooling(Operation):
    """Each channel by itself: `value` times the sum over a window."""

    kernel: Pair
    stride: Pair
    padding: Pair
    value: float


@dataclass(frozen=True)
class Synapse:
    """Currents y = W x + b, for x of `input_shape`; weight (O, I/groups, H, W) or (O, I), bias (O,), float64.

    delay: timesteps by which each synapse of a dense one is late, int64 (O, I); None for none. The bias is not late.
    """

    kind: Kind
    weight: Array
    bias: Array
    input_shape: Shape
    output_shape: Shape
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    delay: IntArray | None = None

    @property
    def depthwise(self) -> bool:
        """Whether each channel stays by itself: a pooling, a scaling, a batch norm, or nothing at all."""
        return self.kind == "conv" and self.weight.shape[:2] == (self.groups, 1)

    def scaled(self, gain: float | Array, offset: float | Array = 0.0) -> "Synapse":
        """gain · y + offset; both: a number, or one per output channel."""
        rows = np.broadcast_to(np.asarray(gain, dtype=np.float64), self.bias.shape)
        return replace(
            self,
            weight=self.weight * rows.reshape(-1, *([1] * (self.weight.ndim - 1))),
            bias=self.bias * rows + offset,
        )


def identity(shape: Shape, where: str) -> Synapse:
    """y = x."""
    if len(shape) == 3:
        return _depthwise(np.ones((shape[0], 1, 1, 1)), shape, (1, 1), (0, 0), where)
    _check_count(shape[0] ** 2, where)
    return Synapse("dense", np.eye(shape[0]), np.zeros(shape[0]), shape, shape)


def as_dense(synapse: Synapse, where: str) -> Synapse:
    """A convolution with a 1 x 1 output as the dense matrix that it is."""
    inputs, outputs = synapse.input_shape, len(synapse.weight)
    _check_count(outputs * size(inputs), where)
    dense = np.zeros((outputs, *inputs))
    per_group = synapse.weight.shape[1]
    for output in range(outputs):
        first = output // (outputs // synapse.groups) * per_group
        for i, j in np.ndindex(*synapse.weight.shape[2:]):
            y, x = i * synapse.dilation[0] - synapse.padding[0], j * synapse.dilation[1] - synapse.padding[1]
            if 0 <= y < inputs[1] and 0 <= x < inputs[2]:
                dense[output, first : first + per_group, y, x] += synapse.weight[output, :, i, j]
    return Synapse("dense", dense.reshape(outputs, -1), synapse.bias, inputs, (outputs,))


def after(before: Synapse | None, operation: Operation, shape: Shape, flat: bool) -> Synapse:
    """The synapse of `before` followed by `operation`.

    before: the linear operations so far, whose output is of `shape`; None right behind neurons or the input.
    flat: what comes in is flattened first.

    Raises
    ------
    BundleError: weights, strides, paddings that do not fit the shape.
    UnsupportedError: two operations that no single synapse equals, with what to do.
    """
    if isinstance(operation, Scaling):
        return _rescaled(before, operation, shape)
    if isinstance(operation, Affine):
        return _normalised(before, operation, shape)
    if isinstance(operation, Dense):
        return _dense(before, operation, shape, flat)
    check_map(operation.where, operation.kind, shape, flat)
    if isinstance(operation, Pooling):
        added = _pool(operation, shape)
    elif isinstance(operation, Convolution):
        added = _conv(operation, shape)
    else:
        raise UnsupportedError(f"{operation.where} ({operation.kind}): no linear operation that is known")
    if before is None:
        return added
    if before.depthwise:
        return _conv_after_depthwise(undilated(before), added, operation.where)
    if added.depthwise and before.kind == "conv":
        return _depthwise_after_conv(before, undilated(added), operation.where)
    raise UnsupportedError(
        f"{operation.where} ({operation.kind}) follows another synapse without neurons between; put neurons between "
        "them, or multiply the two before writing the file"
    )


def check_map(where: str, kind: str, shape: Shape, flat: bool) -> None:
    """BundleError unless what comes in is a map of channels."""
    if len(shape) != 3 or flat:
        raise BundleError(f"{where} ({kind}) takes a map of channels, but gets the shape {shape}")


def _rescaled(before: Synapse | None, scaling: Scaling, shape: Shape) -> Synapse:
    scale, where = scaling.factor, scaling.where
    if scale.size not in (1, size(shape)):
        raise BundleError(f"{where}: a scale of shape {scale.shape} does not fit {shape}")
    scale = np.broadcast_to(scale.reshape(-1) if scale.size > 1 else scale.reshape(1), (size(shape),)).reshape(shape)
    if len(shape) == 3:
        if not (scale == scale[:, :1, :1]).all():
            raise UnsupportedError(
                f"{where}: the scale differs inside a channel; scale by channel, or put it into the weights"
            )
        scale = scale[:, 0, 0]
    return (before or identity(shape, where)).scaled(scale)


def _normalised(before: Synapse | None, affine: Affine, shape: Shape) -> Synapse:
    if affine.factor.shape != shape[:1] or affine.offset.shape != shape[:1]:
        raise BundleError(f"{affine.where}: {affine.factor.size} factors do not fit {shape}")
    synapse = (before or identity(shape, affine.where)).scaled(affine.factor)
    return replace(synapse, bias=synapse.bias + affine.offset)


def _dense(before: Synapse | None, dense: Dense, shape: Shape, flat: bool) -> Synapse:
    weight, where = dense.weight, dense.where
    inputs = size(shape)
    if weight.ndim != 2 or weight.shape[1] != inputs or not weight.shape[0]:
        raise BundleError(f"{where}: weight of shape {weight.shape} does not fit an input of shape {shape}")
    if len(shape) != 1 and not flat:
        raise UnsupportedError(f"{where}: dense on a map {shape} works row by row; put a Flatten before it")
    bias = _bias(dense, weight)
    if before is None:
        return Synapse("dense", weight, bias, shape, (len(weight),))
    _check_count(len(weight) * size(before.input_shape), where)
    if before.delay is not None:
        raise UnsupportedError(
            f"{where}: weights behind a delay of what other weights give: two in a row, of which no synapse has the "
            "delays; put neurons between them"
        )
    if before.kind == "dense":
        product = weight @ before.weight
        return replace(before, weight=product, bias=weight @ before.bias + bias, output_shape=(len(weight),))
    if before.depthwise:
        before = undilated(before)
        maps = weight.reshape(-1, *shape)
        spread = _spread(maps, before)
        bias = bias + maps.sum(axis=(2, 3)) @ before.bias
        return Synapse("dense", spread.reshape(len(weight), -1), bias, before.input_shape, (len(weight),))
    raise UnsupportedError(
        f"{where} ({dense.kind}) follows a convolution without neurons between; put neurons between them"
    )


def undilated(convolution: Synapse) -> Synapse:
    """The same synapse with the zeros between its taps written into the kernel."""
    rows, columns = convolution.dilation
    kernel = convolution.weight
    sides = [d * (k - 1) + 1 for d, k in zip(convolution.dilation, kernel.shape[2:], strict=True)]
    weight = np.zeros((*kernel.shape[:2], *sides))
    weight[:, :, ::rows, ::columns] = kernel
    return replace(convolution, weight=weight, dilation=(1, 1))


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


def _conv(conv: Convolution, shape: Shape) -> Synapse:
    weight, where = conv.weight, conv.where
    if weight.ndim != 4 or not weight.size:
        raise BundleError(f"{where}: weight of shape {weight.shape} does not fit a {conv.kind}")
    groups = conv.groups
    if groups < 1 or shape[0] % groups or weight.shape[0] % groups or weight.shape[1] * groups != shape[0]:
        raise BundleError(f"{where}: weight {weight.shape} and groups {groups} do not fit {shape[0]} channels")
    kernel = (weight.shape[2], weight.shape[3])
    output = _output(shape, kernel, conv.stride, conv.padding, conv.dilation, where)
    bias, outputs = _bias(conv, weight), (len(weight), *output)
    return Synapse("conv", weight, bias, shape, outputs, conv.stride, conv.padding, conv.dilation, groups)


def _pool(pooling: Pooling, shape: Shape) -> Synapse:
    rows, columns = pooling.kernel
    _check_count(shape[0] * rows * columns, pooling.where)
    weight = np.full((shape[0], 1, rows, columns), pooling.value)
    return _depthwise(weight, shape, pooling.stride, pooling.padding, pooling.where)


def _depthwise(weight: Array, shape: Shape, stride: Pair, padding: Pair, where: str) -> Synapse:
    output = _output(shape, (weight.shape[2], weight.shape[3]), stride, padding, (1, 1), where)
    zeros = np.zeros(shape[0])
    return Synapse("conv", weight, zeros, shape, (shape[0], *output), stride, padding, (1, 1), shape[0])


def _conv_after_depthwise(pool: Synapse, conv: Synapse, where: str) -> Synapse:
    """pool, then conv, as one convolution: stride and padding multiply, the kernel grows.

    Exact only if what the convolution pads with zeros is what the pooling would give beyond its edge.
    """
    if bool(pool.bias.any()) and max(conv.padding) > 0:
        raise UnsupportedError(
            f"{where}: a batch norm before a convolution that pads: its offset is not in the padding; put the batch "
            "norm behind the convolution, or pad with 0"
        )
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
                f"{where}: it pads the output of a pooling whose windows overlap or do not divide the map, "
                f"which no single convolution equals; pool a map that {s} divides, or pad before the pooling"
            )
    steps = _times(conv.dilation, pool.stride)
    shift = [step * (k - 1) for step, k in zip(steps, conv.weight.shape[2:], strict=True)]
    sides = [k + more for k, more in zip(pool.weight.shape[2:], shift, strict=True)]
    _check_count(conv.weight.shape[0] * conv.weight.shape[1] * sides[0] * sides[1], where)
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
        bias=conv.bias + (conv.weight.sum(axis=(2, 3)) * pool.bias[channel]).sum(axis=1),
        input_shape=pool.input_shape,
        stride=_times(conv.stride, pool.stride),
        padding=(padding[0], padding[1]),
        dilation=(1, 1),
    )


def _depthwise_after_conv(conv: Synapse, pool: Synapse, where: str) -> Synapse:
    """conv, then pool, as one convolution."""
    if max(pool.padding):
        raise UnsupportedError(
            f"{where}: a padded pooling right behind a convolution, which no single convolution equals; pool "
            "without padding, or put neurons between them"
        )
    steps = conv.stride
    base = [d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.weight.shape[2:], strict=True)]
    sides = [b + s * (k - 1) for b, s, k in zip(base, steps, pool.weight.shape[2:], strict=True)]
    _check_count(conv.weight.shape[0] * conv.weight.shape[1] * sides[0] * sides[1], where)
    weight = np.zeros((*conv.weight.shape[:2], *sides))
    for m, n in np.ndindex(*pool.weight.shape[2:]):
        rows = slice(m * steps[0], m * steps[0] + base[0], conv.dilation[0])
        columns = slice(n * steps[1], n * steps[1] + base[1], conv.dilation[1])
        weight[:, :, rows, columns] += conv.weight * pool.weight[:, 0, m, n, None, None, None]
    return replace(
        conv,
        weight=weight,
        bias=conv.bias * pool.weight.sum(axis=(1, 2, 3)) + pool.bias,
        output_shape=pool.output_shape,
        stride=_times(conv.stride, pool.stride),
        dilation=(1, 1),
    )


def _times(one: Pair, other: Pair) -> Pair:
    return one[0] * other[0], one[1] * other[1]


def _output(shape: Shape, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, where: str) -> Pair:
    sides = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(shape[1:], kernel, stride, padding, dilation, strict=True)
    ]
    if min(sides) < 1:
        raise BundleError(f"{where}: a kernel of {kernel} does not fit into a map of {shape[1:]}")
    _check_count(sides[0] * sides[1] * shape[0], where)
    return sides[0], sides[1]


def _bias(operation: Dense | Convolution, weight: Array) -> Array:
    bias = operation.bias
    if bias is None:
        return np.zeros(len(weight))
    if bias.shape != weight.shape[:1]:
        raise BundleError(f"{operation.where}: bias of shape {bias.shape}, expected {weight.shape[:1]}")
    return bias


def _check_count(count: int, where: str) -> None:
    if count > MAXIMUM_NUMBERS:
        raise BundleError(f"{where}: it needs {count} numbers, at most {MAXIMUM_NUMBERS} are taken")
