"""Layers between neurons, as torch's functions: weights, batch norm and pooling."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from spikecut.export.torch_module.recording.calls import Call, Read
from spikecut.export.torch_module.recording.values import Held, Value


def _held(tensor: object) -> Held | None:
    return Held(tensor.detach()) if isinstance(tensor, Tensor) else None


def _linear(call: Call, value: Value) -> Read:
    weight, bias = call.argument(1, "weight"), call.argument(2, "bias")
    if call.name in ("matmul", "mm"):
        weight, bias = call.argument(1, "other"), None
        weight = weight.t() if isinstance(weight, Tensor) and weight.ndim == 2 else None
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        return call.refused(f"{call.name} is read with a matrix of weights alone; use nn.Linear")
    if len(value.features) != 1:
        return call.refused(
            f"a dense layer on {value.features} works row by row; put a Flatten before it, so that it takes all"
        )
    return value.then("linear", call.where, (weight.shape[0],), (), (_held(weight), _held(bias)))


def _conv(call: Call, value: Value) -> Read:
    if len(value.axes) != 1 or len(value.features) != (2 if call.name == "conv1d" else 3):
        return call.refused(f"{call.name} of a tensor whose first dimension is not that of samples; give (N, C, H, W)")
    weight, bias = call.argument(1, "weight"), call.argument(2, "bias")
    names = ("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)
    numbers = tuple(_plain(call.argument(3 + place, name, default)) for place, (name, default) in enumerate(names))
    return value.then(call.name, call.where, tuple(call.result.shape[1:]), numbers, (_held(weight), _held(bias)))


def _batch_norm(call: Call, value: Value) -> Read:
    names = ("running_mean", "running_var", "weight", "bias")
    if len(call.args) + len(call.kwargs) == 9:  # torch.batch_norm, which takes them in another order than functional's
        names = ("weight", "bias", "running_mean", "running_var")
    given = {name: _held(call.argument(1 + place, name)) for place, name in enumerate(names)}
    tensors = tuple(given[name] for name in ("running_mean", "running_var", "weight", "bias"))
    if call.argument(5, "training", False) or tensors[0] is None or tensors[1] is None:
        return call.refused(
            "batch norm by the batch's own statistics; train with running statistics, and eval() uses them"
        )
    if len(value.axes) != 1:
        return call.refused("batch norm of a tensor whose second dimension is not that of channels; give (N, C, …)")
    return value.then("batch_norm", call.where, value.features, (call.argument(7, "eps", 1e-5),), tensors)


def _avg_pool(call: Call, value: Value) -> Read:
    names = ("kernel_size", None), ("stride", None), ("padding", 0), ("ceil_mode", False), ("count_include_pad", True)
    numbers = [_plain(call.argument(1 + place, name, default)) for place, (name, default) in enumerate(names)]
    kernel, stride, padding, ceil, counted = numbers
    if call.argument(6, "divisor_override") is not None or ceil or (padding not in (0, (0, 0)) and not counted):
        return call.refused(
            "AvgPool2d with ceil_mode, divisor_override or padding that is not counted; use none of them"
        )
    return _pooled(call, value, (kernel, stride or kernel, padding))


def _sum_pool(call: Call, value: Value) -> Read:
    """F.lp_pool2d of norm 1, of which Sinabs' SumPool2d is made: the sum of a window."""
    names = ("norm_type", None), ("kernel_size", None), ("stride", None), ("ceil_mode", False)
    norm, kernel, stride, ceil = (
        _plain(call.argument(1 + place, name, default)) for place, (name, default) in enumerate(names)
    )
    if norm != 1 or ceil:
        return call.refused("LPPool2d of another norm than 1, or with ceil_mode; use AvgPool2d")
    pooled = _pooled(call, value, (kernel, stride or kernel, 0))
    if not isinstance(pooled, Value):
        return pooled
    taps = prod(kernel) if isinstance(kernel, tuple) else int(str(kernel)) ** 2
    held = Held(torch.full(pooled.features, float(taps), dtype=torch.float64))
    return pooled.then("scale", call.where, pooled.features, (), (held,))


def _max_pool(call: Call, value: Value) -> Read:
    names = ("kernel_size", None), ("stride", None), ("padding", 0), ("dilation", 1), ("ceil_mode", False)
    numbers = [_plain(call.argument(1 + place, name, default)) for place, (name, default) in enumerate(names)]
    kernel, stride, padding, dilation, ceil = numbers
    if ceil:
        return call.refused("MaxPool2d with ceil_mode; use a size that the pooling divides")
    return _pooled(call, value, (kernel, stride or kernel, padding, dilation))


def _pooled(call: Call, value: Value, numbers: tuple[object, ...]) -> Read:
    if len(value.axes) != 1 or len(value.features) != 3:
        return call.refused(f"{call.name} of a tensor whose first dimension is not that of samples; give (N, C, H, W)")
    function = "avg_pool2d" if call.name == "lp_pool2d" else call.name
    return value.then(function, call.where, tuple(call.result.shape[1:]), numbers)


def _adaptive(call: Call, value: Value) -> Read:
    if len(value.axes) != 1 or len(value.features) != 3:
        return call.refused(f"{call.name} of a tensor whose first dimension is not that of samples; give (N, C, H, W)")
    return _averaged(call, value, tuple(call.result.shape[2:]))


def _averaged(call: Call, value: Value, sides: tuple[int, ...]) -> Read:
    rows, columns = value.features[1:]
    if rows % sides[0] or columns % sides[1]:
        return call.refused(f"an average of a map of {rows} x {columns} to {sides[0]} x {sides[1]}; choose a divisor")
    kernel = rows // sides[0], columns // sides[1]
    return value.then("avg_pool2d", call.where, (value.features[0], *sides), (kernel, kernel, 0))


LAYERS: dict[str, Callable[[Call, Value], Read]] = {
    **dict.fromkeys(("linear", "matmul", "mm"), _linear),
    **dict.fromkeys(("conv1d", "conv2d"), _conv),
    "batch_norm": _batch_norm,
    "avg_pool2d": _avg_pool,
    "lp_pool2d": _sum_pool,
    "max_pool2d": _max_pool,
    "adaptive_avg_pool2d": _adaptive,
}


def _plain(number: object) -> object:
    """A number, a word, or a tuple of numbers."""
    return tuple(number) if isinstance(number, list | tuple) else number
