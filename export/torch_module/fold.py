"""The functions between two neurons as one synapse, and as one of magnitudes, which bounds float32's rounding."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from spikecut.errors import UnsupportedError
from spikecut.export.importers.linear import (
    Affine,
    Convolution,
    Dense,
    Operation,
    Pooling,
    Scaling,
    Synapse,
    after,
    identity,
)
from spikecut.export.network.arrays import Array, Pair, Shape, size
from spikecut.export.network.geometry import same_padding
from spikecut.export.torch_module.links import PLACE, WEIGHTS
from spikecut.export.torch_module.parts import Part
from spikecut.export.torch_module.recording.values import Applied, Held


@dataclass(frozen=True)
class Folded:
    """A synapse, folded in float64.

    Attributes
    ----------
    magnitudes: the same from the absolute values of all numbers that went into it.
    operations: how many numbers a float sum of each step of it adds up, all steps together.
    """

    synapse: Synapse
    magnitudes: Synapse
    operations: int


@dataclass(frozen=True)
class Entry:
    """What a synapse takes: a shape, (F,) or (C, H, W), and whether the module has it flattened.

    free: of the input, whose numbers the module may shape as it likes.
    """

    shape: Shape
    flat: bool = False
    free: bool = False


def folded(functions: Sequence[Applied], entry: Entry, where: str) -> Folded:
    """The functions that lead from what comes in to a neuron.

    UnsupportedError for two that no single synapse equals, with what to do.
    """
    synapse: Synapse | None = None
    magnitudes: Synapse | None = None
    shape, flat, count = entry.shape, entry.flat, 1
    part: Part | None = None
    for applied in functions:
        if applied.function == "reshape":
            before, was_flat = shape, flat
            here = shape if part is None else part.among(shape)
            shape, flat = _reshaped(applied, here, replace(entry, free=entry.free and synapse is None))
            if part is not None:
                shape, part = before, part.flattened(before) if flat and not was_flat else part
            continue
        if applied.function == PLACE:
            part = Part.placed(applied.numbers, part, flat and len(shape) == 3)
            continue
        _check_finite(applied.tensors, _where(applied))
        operation = _operation(applied, shape if part is None else part.among(shape), flat)
        magnitude = _magnitude(operation, applied)
        if part is not None:
            operation, magnitude = (part.of(each, applied.function in WEIGHTS) for each in (operation, magnitude))
        count += _terms(operation)
        synapse, magnitudes = after(synapse, operation, shape, flat), after(magnitudes, magnitude, shape, flat)
        if not isinstance(operation, Scaling | Affine):
            flat = False
        shape = synapse.output_shape
        part = None if applied.function in WEIGHTS else part
        if size(shape if part is None else part.among(shape)) != size(applied.features):
            raise UnsupportedError(
                f"{_where(applied)}: gives {applied.features}, but {shape} was expected; report this"
            )
    whole = synapse or identity(shape, where)
    if part is not None:
        whole, magnitudes = (part.rows(each, where) for each in (whole, magnitudes or whole))
    if not (np.isfinite(whole.weight).all() and np.isfinite(whole.bias).all()):
        raise UnsupportedError(f"{where}: the weights of its layer become infinite, or NaN, when they are multiplied")
    return Folded(whole, magnitudes or whole, count)


def _check_finite(tensors: Sequence[Held | None], where: str) -> None:
    for held in tensors:
        if held is not None and not bool(held.tensor.isfinite().all()):
            raise UnsupportedError(f"{where}: its numbers hold NaN or infinity; train again from before they came in")


def canonical(features: Shape) -> Shape:
    """A shape as layers have it: (C, L) is (C, 1, L)."""
    return (features[0], 1, features[1]) if len(features) == 2 else features


def _reshaped(applied: Applied, shape: Shape, entry: Entry) -> tuple[Shape, bool]:
    wanted = canonical(applied.features)
    if len(wanted) == 1:
        return shape, len(shape) != 1
    if wanted == shape:
        return shape, False
    if entry.free and len(wanted) == 3:
        return wanted, False
    raise UnsupportedError(
        f"{_where(applied)}: shapes {shape} into {applied.features}; between neurons a map may only be flattened"
    )


def _where(applied: Applied) -> str:
    return f"net.{applied.where}" if applied.where else f"net ({applied.function})"


def _operation(applied: Applied, shape: Shape, flat: bool) -> Operation:
    where, kind = _where(applied), applied.function
    tensors = [None if held is None else _numpy(held.tensor) for held in applied.tensors]
    if kind == "linear":
        return Dense(where, kind, _needed(tensors[0]), tensors[1])
    if kind in ("conv1d", "conv2d"):
        return _convolution(applied, where, _needed(tensors[0]), tensors[1])
    if kind == "avg_pool2d":
        kernel, stride, padding = map(_pair, applied.numbers)
        return Pooling(where, kind, kernel, stride, padding, 1 / (kernel[0] * kernel[1]))
    if kind == "sum_pool2d":
        kernel, stride, padding, dilation = map(_pair, applied.numbers)
        ones = np.ones((shape[0], 1, *kernel))
        return Convolution(where, kind, ones, None, stride, padding, dilation, shape[0])
    if kind == "batch_norm":
        mean, variance, gamma, beta = tensors
        factor = 1 / np.sqrt(_needed(variance) + float(str(applied.numbers[0])))
        factor = factor if gamma is None else factor * gamma
        return Affine(where, kind, factor, (0.0 if beta is None else beta) - _needed(mean) * factor)
    if kind == "scale":
        return Scaling(where, kind, _needed(tensors[0]))
    if kind == "shift":
        return Affine(
            where, kind, np.ones(shape[0]), float(str(applied.numbers[0])) * _per_channel(applied, shape, flat)
        )
    raise UnsupportedError(f"{where} ({kind}): no synapse does this; only weighted sums stand between neurons")


def _per_channel(applied: Applied, shape: Shape, flat: bool) -> Array:
    held = applied.tensors[0]
    values = _numpy(held.tensor).reshape(shape) if isinstance(held, Held) else np.zeros(shape)
    first = values.reshape(shape[0], -1)[:, :1]
    if not (values.reshape(shape[0], -1) == first).all():
        raise UnsupportedError(f"{_where(applied)}: adds numbers that differ inside a channel; add one per channel")
    return np.asarray(first[:, 0])


def _convolution(applied: Applied, where: str, weight: Array, bias: Array | None) -> Convolution:
    stride, padding, dilation, groups = applied.numbers
    one = applied.function == "conv1d"
    if one:
        weight = weight[:, :, None]

    def pair(value: object, still: int) -> Pair:
        found = _pair(value)
        return (still, found[1]) if one else found

    strides, dilations = pair(stride, 1), pair(dilation, 1)
    if padding == "same":
        weight, sides = same_padding(weight, strides, dilations, where)
    else:
        sides = (0, 0) if padding == "valid" else pair(padding, 0)
    return Convolution(where, applied.function, weight, bias, strides, sides, dilations, int(str(groups)))


def _magnitude(operation: Operation, applied: Applied) -> Operation:
    if isinstance(operation, Affine) and applied.function == "batch_norm":  # its offset is a difference of two numbers
        mean, _, _, beta = (None if held is None else np.abs(_numpy(held.tensor)) for held in applied.tensors)
        factor = np.abs(operation.factor)
        return replace(operation, factor=factor, offset=(0.0 if beta is None else beta) + _needed(mean) * factor)
    if isinstance(operation, Scaling):
        return replace(operation, factor=np.abs(operation.factor))
    if isinstance(operation, Affine):
        return replace(operation, factor=np.abs(operation.factor), offset=np.abs(operation.offset))
    if isinstance(operation, Dense | Convolution):
        bias = None if operation.bias is None else np.abs(operation.bias)
        return replace(operation, weight=np.abs(operation.weight), bias=bias)
    return operation


def _terms(operation: Operation) -> int:
    if isinstance(operation, Dense | Convolution):
        return int(np.prod(operation.weight.shape[1:])) + 1
    return operation.kernel[0] * operation.kernel[1] if isinstance(operation, Pooling) else 4


def _needed(values: Array | None) -> Array:
    if values is None:
        raise UnsupportedError("a layer without weights; report this")
    return values


def _numpy(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().cpu().double().numpy())


def _pair(value: object) -> Pair:
    if isinstance(value, tuple):
        return int(value[0]), int(value[-1])
    return int(str(value)), int(str(value))
