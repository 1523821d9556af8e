"""Functions that split, join, move or add up the dimension of the timesteps."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from spikecut.export.torch_module.recording.arithmetic import concatenated
from spikecut.export.torch_module.recording.calls import Call, Read
from spikecut.export.torch_module.recording.values import Axis, OverTime, T, Value

ONLY_TIME = "only timesteps may be picked, joined or added up outside of layers and neurons"


def step_of(call: Call, value: Value, axis: int, step: int) -> Read:
    """The Value of one timestep, where a dimension counts them."""
    if not 0 <= axis < len(value.axes) or value.axes[axis] != (T,):
        return call.refused(f"{call.name} picks samples or features; {ONLY_TIME}")
    axes = value.axes[:axis] + value.axes[axis + 1 :]
    return replace(value, axes=axes, step=step % call.extent.timesteps)


def joined(call: Call, parts: Sequence[object], axis: int, fresh: bool) -> Read:
    """All timesteps in one tensor. fresh: along a new dimension, else along one of size 1."""
    values = [call.value(part) for part in parts]
    known = [value for value in values if isinstance(value, Value)]
    opaque = [value for value in values if value is not None and not isinstance(value, Value)]
    if opaque:
        return opaque[0]
    first = known[0]
    alike = len(known) == len(values) and all(
        (each.node, each.axes, each.features) == (first.node, first.axes, first.features) for each in known
    )
    steps = [each.step for each in known]
    if not alike or any(each.timed or each.steps for each in known):
        return call.refused(f"{call.name} of different signals is not read; only one signal's timesteps are joined")
    if steps not in ([*[None] * call.extent.timesteps], [*range(call.extent.timesteps)]):
        return call.refused(f"{call.name} of only some of the {call.extent.timesteps} timesteps; return all of them")
    if fresh:
        axes = (*first.axes[:axis], (T,), *first.axes[axis:])
    elif axis < len(first.axes) and first.axes[axis] == ():
        axes = (*first.axes[:axis], (T,), *first.axes[axis + 1 :])
    else:
        return call.refused(f"{call.name} along a dimension that does not count timesteps; use torch.stack")
    if axis > len(first.axes):
        return call.refused(f"{call.name} behind the features; stack the timesteps first, dim=0")
    return replace(first, axes=axes, step=None)


def _join(call: Call) -> Read:
    parts = call.argument(0, "tensors")
    axis = call.argument(1, "dim", 0)
    if not isinstance(parts, list | tuple) or not isinstance(axis, int):
        return call.refused(f"{call.name} is not read here")
    rank = call.result.ndim
    leading = next(len(value.axes) for value in map(call.value, parts) if isinstance(value, Value))
    if call.name != "stack" and axis % rank >= leading:
        return concatenated(call, parts, axis % rank)
    return joined(call, parts, axis % rank, call.name == "stack")


def _pick(call: Call) -> Read:
    value, index = call.value(call.args[0]), call.args[1]
    if not isinstance(value, Value):
        return call.refused("an index that depends on the input is not read")
    given = index if isinstance(index, tuple) else (index,)
    rank = len(value.axes) + len(value.features)
    axis, found = 0, None
    for part in given:
        if part is Ellipsis:
            axis = rank - sum(1 for each in given if each is not Ellipsis and each is not None)
        elif isinstance(part, slice) and part == slice(None):
            axis += 1
        elif isinstance(part, int) and not isinstance(part, bool) and found is None:
            found, axis = (axis, part), axis + 1
        else:
            return call.refused(f"an index by {part!r}; {ONLY_TIME}"[:200])
    return value if found is None else step_of(call, value, *found)


def _select(call: Call) -> Read:
    value, axis, step = call.value(call.args[0]), call.argument(1, "dim"), call.argument(2, "index")
    if not isinstance(value, Value) or not isinstance(axis, int) or not isinstance(step, int):
        return call.refused("select is not read here")
    return step_of(call, value, axis, step)


def _spread(call: Call) -> Read:
    """repeat and expand: the same at every timestep."""
    value = call.value(call.args[0])
    shape = tuple(call.result.shape)
    if not isinstance(value, Value):
        return call.refused(f"{call.name} is not read here")
    rank = len(value.axes) + len(value.features)
    axes: tuple[Axis, ...] = (*[()] * (len(shape) - rank), *value.axes)
    found: list[Axis] = []
    for axis, side in zip(axes, shape, strict=False):
        if axis == () and side == call.extent.timesteps:
            found.append((T,))
        elif call.extent.size(axis) == side:
            found.append(axis)
        else:
            return call.refused(f"{call.name} to {shape}: only a frame may be repeated, once for each timestep")
    if shape[len(axes) :] != value.features or found.count((T,)) > 1:
        return call.refused(f"{call.name} to {shape}: only a frame may be repeated, once for each timestep")
    return replace(value, axes=tuple(found))


def _permute(call: Call) -> Read:
    value = call.value(call.args[0])
    if not isinstance(value, Value):
        return call.refused(f"{call.name} is not read here")
    leading, rank = len(value.axes), len(value.axes) + len(value.features)
    order = _order(call, rank)
    if order is None or order[leading:] != [*range(leading, rank)]:
        return call.refused(f"{call.name} moves features; keep (T, N, features) or (N, T, features)")
    return replace(value, axes=tuple(value.axes[place] for place in order[:leading]))


def _order(call: Call, rank: int) -> list[int] | None:
    """Which dimension comes to each place."""
    if call.name == "permute":
        first = call.argument(1, "dims")
        given = first if isinstance(first, list | tuple) else call.args[1:]
        return [place % rank for place in given if isinstance(place, int)]
    one, two = call.args[1:3] if len(call.args) > 2 else (call.kwargs.get("dim0"), call.kwargs.get("dim1"))
    if not isinstance(one, int) or not isinstance(two, int):
        return None
    order = [*range(rank)]
    if call.name == "movedim":
        order.insert(two % rank, order.pop(one % rank))
    else:
        order[one % rank], order[two % rank] = order[two % rank], order[one % rank]
    return order


def _reduce(call: Call) -> Read:
    """A sum or a mean: over timesteps, or over the sides of a map."""
    value, given = call.value(call.args[0]), call.argument(1, "dim", call.kwargs.get("axis"))
    places = given if isinstance(given, list | tuple) else (given,)
    if not isinstance(value, Value) or not all(isinstance(place, int) for place in places):
        return call.refused(f"{call.name} over everything; give the dimension of the timesteps")
    leading, rank = len(value.axes), len(value.axes) + len(value.features)
    over = sorted(place % rank for place in places)
    kept = bool(call.argument(2, "keepdim", False))
    if over == [leading + 1, leading + 2] and len(value.features) == 3 and call.name == "mean":
        channels, *sides = value.features
        pooled = value.then("avg_pool2d", call.where, (channels, 1, 1), (tuple(sides), tuple(sides), 0))
        return pooled if kept else pooled.then("reshape", call.where, (channels,))
    if len(over) != 1 or over[0] >= leading or value.axes[over[0]] != (T,):
        return call.refused(f"{call.name} over samples or features; {ONLY_TIME}")
    place = over[0]
    axes = (*value.axes[:place], *([()] if kept else []), *value.axes[place + 1 :])
    return replace(value, node=OverTime(value.node, call.name == "mean"), axes=axes, step=None)


def parts_of(call: Call, value: Value, axis: int, count: int) -> list[Read]:
    """What unbind gives, one Value a timestep."""
    return [step_of(call, value, axis % max(len(value.axes), 1), step) for step in range(count)]


def filled(call: Call, earlier: Read | None, index: object, part: object) -> Read | None:
    """What an array of zeros holds after `array[t] = part`; None where it still depends on nothing."""
    value, target = call.value(part), call.args[0]
    if value is None and earlier is None:
        return None
    given = index if isinstance(index, tuple) else (index,)
    axis = next((place for place, each in enumerate(given) if isinstance(each, int)), None)
    plain = all(isinstance(each, int) or each is Ellipsis or each == slice(None) for each in given)
    if not isinstance(value, Value) or axis is None or not plain or not isinstance(target, Tensor) or value.timed:
        return (
            value
            if value is not None and not isinstance(value, Value)
            else call.refused(f"an assignment to a part of a tensor; {ONLY_TIME}")
        )
    step = given[axis] % call.extent.timesteps
    if value.step not in (None, step) or tuple(target.shape)[axis] != call.extent.timesteps:
        return call.refused("an assignment of one timestep in the place of another")
    whole = replace(value, axes=(*value.axes[:axis], (T,), *value.axes[axis:]), step=None, steps=frozenset({step}))
    if earlier is not None:
        if not isinstance(earlier, Value) or replace(earlier, steps=whole.steps) != whole or not earlier.steps:
            return call.refused("an array that gets different signals; stack the timesteps of one")
        whole = replace(whole, steps=earlier.steps | {step})
    return replace(whole, steps=None) if len(whole.steps or ()) == call.extent.timesteps else whole


TIMED: dict[str, Callable[[Call], Read]] = {
    **dict.fromkeys(("stack", "cat", "concat", "concatenate"), _join),
    "getitem": _pick,
    "select": _select,
    **dict.fromkeys(("repeat", "expand", "expand_as", "tile"), _spread),
    **dict.fromkeys(("permute", "transpose", "swapaxes", "movedim"), _permute),
    **dict.fromkeys(("sum", "mean"), _reduce),
}
