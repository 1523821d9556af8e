"""Sums and products of signals, with each other and with numbers."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from spikecut.export.torch_module.recording.calls import NEURON, Call, Read
from spikecut.export.torch_module.recording.values import Held, Lagged, Node, Opaque, OverTime, Sum, Value, reshaped


def _operands(call: Call) -> tuple[object, object]:
    return call.argument(0, "input"), call.argument(1, "other", 1)


def _add(call: Call) -> Read:
    one, two = _operands(call)
    if call.argument(2, "alpha", 1) != 1:
        return call.refused(f"{call.name} with alpha; multiply the weights instead")
    left, right = call.value(one), call.value(two)
    if isinstance(left, Value) and isinstance(right, Value):
        return _sum(call, left, right)
    return _shifted(call, left, two) if isinstance(left, Value) else _shifted(call, right, one)


def _sum(call: Call, left: Value, right: Value) -> Read:
    if (left.axes, left.features) != (right.axes, right.features):
        return call.refused("a sum of tensors of different shapes; make them alike")
    has = [each.steps or (frozenset() if each.step is None else {each.step}) for each in (left, right)]
    base = [each.node.parent if each.steps and isinstance(each.node, OverTime) else each.node for each in (left, right)]
    if has[0] and has[1] and has[0] != has[1] and base[0] == base[1]:
        steps = frozenset(has[0] | has[1])
        if has[0] & has[1]:
            return call.refused("a sum over timesteps that counts one of them twice")
        whole = len(steps) == call.extent.timesteps
        return replace(left, node=OverTime(base[0], False), step=None, steps=None if whole else steps)
    known = [each.step for each in (left, right) if each.step is not None]
    if left.steps or right.steps or (known and max(known) - min(known) > 1):
        return call.refused(
            "a sum of signals of different timesteps: only what was sent one timestep earlier may come back"
        )
    now = max(known, default=None)
    late = [replace(each, node=Lagged(each.node)) if each.step not in (None, now) else each for each in (left, right)]
    terms = tuple(each for value in late for each in _terms(value))
    return replace(left, node=Sum(call.where, terms), step=now)


def _terms(value: Value) -> tuple[Node, ...]:
    return value.node.terms if isinstance(value.node, Sum) else (value.node,)


def concatenated(call: Call, parts: Sequence[object], axis: int) -> Read:
    """Signals side by side, of channels or features: the sum of each at its place among the others."""
    values = [call.value(part) for part in parts]
    first = next(value for value in values if value is not None)
    total, place = int(call.result.shape[axis]), 0
    whole: Value | None = None
    for part, value in zip(parts, values, strict=True):
        if not isinstance(part, Tensor) or isinstance(value, Opaque):
            return value if isinstance(value, Opaque) else call.refused(f"{call.name} is not read here")
        count = int(part.shape[axis])
        if value is None and part.any():
            return call.refused(f"{call.name} with numbers other than 0; add them as a bias")
        if value is not None:
            if value.axes != getattr(first, "axes", None) or axis != len(value.axes):
                return call.refused(
                    f"{call.name} along a dimension that is not that of channels or features; use dim=1"
                )
            placed = value.then("place", call.where, (total, *value.features[1:]), (place, count, total))
            joined = placed if whole is None else _sum(call, whole, placed)
            if not isinstance(joined, Value):
                return joined
            whole = joined
        place += count
    return whole or call.refused(f"{call.name} is not read here")


def _shifted(call: Call, value: Read | None, constant: object, sign: float = 1.0) -> Read:
    if not isinstance(value, Value):
        return call.refused(f"{call.name} is not read here")
    if isinstance(constant, Tensor) and not constant.any():
        constant = 0
    if isinstance(constant, int | float) and constant == 0:
        return _kept(call, value)
    if isinstance(value.node, OverTime) and not value.node.mean:
        return call.refused("a number added to a sum over timesteps; leave it out")
    held = _constant(call, value, constant)
    if held is None:
        return call.refused("adds numbers that differ between samples or timesteps; keep the state inside the neuron")
    return value.then("shift", call.where, value.features, (sign,), (held,))


def _scaled(call: Call, value: Read | None, constant: object, inverse: bool = False) -> Read:
    held = _constant(call, value, constant) if isinstance(value, Value) else None
    if held is None or not isinstance(value, Value):
        return call.refused(
            f"{call.name} of two signals, or by numbers that differ between samples; only weighted sums of spikes "
            f"become synapses, and what a neuron does stands in a module: {NEURON}"
        )
    factor = held.tensor.double()
    factor = 1 / factor if inverse else factor
    if bool((factor == 1).all()):
        return _kept(call, value)
    if isinstance(value.node, OverTime) or value.steps:
        if bool((factor > 0).all()) and bool((factor == factor.flatten()[0]).all()) and value.steps is None:
            return (
                value
                if not isinstance(value.node, OverTime)
                else replace(value, node=OverTime(value.node.parent, True))
            )
        return call.refused("a sum over timesteps times different numbers; leave them out")
    return value.then("scale", call.where, value.features, (), (Held(factor),))


def _kept(call: Call, value: Value) -> Read:
    """The Value, unless the other operand made the tensor larger."""
    return reshaped(value, tuple(call.result.shape), call.where, call.extent)


def _constant(call: Call, value: Value, constant: object) -> Held | None:
    """A number for each feature, where it is the same for all samples and timesteps."""
    shape = tuple(call.result.shape)
    if isinstance(constant, int | float):
        return Held(torch.full(value.features, float(constant), dtype=torch.float64))
    leading = len(shape) - len(value.features)
    if not isinstance(constant, Tensor) or leading != len(value.axes):
        return None
    spread = constant.detach().expand(shape)
    feature = spread[(0,) * leading]
    return Held(feature.clone()) if torch.equal(spread, feature.expand(shape)) else None


def _subtract(call: Call) -> Read:
    one, two = _operands(call)
    if call.argument(2, "alpha", 1) != 1:
        return call.refused(f"{call.name} with alpha; multiply the weights instead")
    if call.name == "rsub":
        one, two = two, one
    left, right = call.value(one), call.value(two)
    if isinstance(left, Value) and right is None:
        return _shifted(call, left, two, -1.0)
    if not isinstance(right, Value):
        return call.refused(f"{call.name} is not read here")
    negative = right.then("scale", call.where, right.features, (), (Held(-torch.ones(right.features).double()),))
    return _shifted(call, negative, one) if left is None else _sum(call, left, negative)  # type: ignore[arg-type]


def _multiply(call: Call) -> Read:
    one, two = _operands(call)
    left, right = call.value(one), call.value(two)
    if left is not None and right is not None:
        return _scaled(call, None, None)
    return _scaled(call, left, two) if left is not None else _scaled(call, right, one)


def _divide(call: Call) -> Read:
    one, two = _operands(call)
    if call.kwargs.get("rounding_mode") is not None:
        return call.refused(f"{call.name} with rounding_mode; only weighted sums of spikes become synapses")
    return _scaled(call, call.value(one) if call.value(two) is None else None, two, inverse=True)


def _negative(call: Call) -> Read:
    return _scaled(call, call.value(call.args[0]), -1.0)


ARITHMETIC: dict[str, Callable[[Call], Read]] = {
    **dict.fromkeys(("add", "radd", "iadd"), _add),
    **dict.fromkeys(("sub", "subtract", "rsub", "isub"), _subtract),
    **dict.fromkeys(("mul", "multiply", "rmul", "imul"), _multiply),
    **dict.fromkeys(("div", "divide", "true_divide", "truediv", "idiv", "itruediv"), _divide),
    **dict.fromkeys(("neg", "negative"), _negative),
}
