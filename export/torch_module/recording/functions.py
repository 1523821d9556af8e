"""What torch's functions make of Values: the layers, reshapes and sums that a forward may consist of between neurons.

Everything that is not read leaves an Opaque, which is refused where a neuron or the output needs it.
"""

from spikecut.export.torch_module.recording.arithmetic import ARITHMETIC
from spikecut.export.torch_module.recording.calls import NEURON, Call, Read
from spikecut.export.torch_module.recording.layers import LAYERS
from spikecut.export.torch_module.recording.time_axis import TIMED
from spikecut.export.torch_module.recording.values import Opaque, Value, reshaped

CONSTANT = frozenset(
    (
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros", "new_ones"),
        *("new_full", "new_tensor", "new_empty", "size", "dim", "numel", "shape", "dtype", "device"),
        "is_floating_point",
    )
)
"""Functions whose results do not depend on the numbers in a tensor."""
SAME = frozenset(
    (
        *("contiguous", "clone", "detach", "to", "float", "double", "type", "type_as", "cpu", "data"),
        *("requires_grad", "positive", "identity"),
    )
)
DROPOUT = frozenset(("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout"))
SHAPES = frozenset(("view", "reshape", "flatten", "unsqueeze", "squeeze", "unflatten", "view_as", "reshape_as"))
COMPARISONS = frozenset(
    (
        *("gt", "ge", "lt", "le", "greater", "greater_equal", "heaviside", "sign", "where", "clamp"),
        *("masked_fill", "round", "floor"),
    )
)


def read(call: Call) -> Read | None:
    """The Value of what a function gave; None where it does not depend on the input."""
    tracked = [found for found in map(call.value, _flat((*call.args, *call.kwargs.values()))) if found is not None]
    if not tracked or call.name in CONSTANT:
        return None
    opaque = next((each for each in tracked if isinstance(each, Opaque)), None)
    if opaque is not None:
        return opaque
    if call.name in ARITHMETIC:
        return ARITHMETIC[call.name](call)
    if call.name in TIMED:
        return TIMED[call.name](call)
    first = call.value(call.args[0] if call.args else call.kwargs.get("input"))
    if not isinstance(first, Value) or len(tracked) > 1:
        return call.refused(f"{call.name} of several signals is not read; only weighted sums of spikes become synapses")
    if call.name in SAME and not (call.result.is_floating_point() and call.result.element_size() >= 4):
        return call.refused(f"{call.name} rounds to {call.result.dtype}; keep the signals in float32")
    if call.name in SAME or call.name in DROPOUT:
        if call.name in DROPOUT and call.argument(2, "training", True):
            return call.refused("dropout that drops at inference, too; use nn.Dropout, or training=self.training")
        return first
    if call.name in SHAPES:
        return reshaped(first, tuple(call.result.shape), call.where, call.extent)
    if call.name in LAYERS:
        return LAYERS[call.name](call, first)
    if call.name in COMPARISONS:
        return call.refused(f"{call.name} in the forward itself: {NEURON}")
    return call.refused(f"{call.name} is not read; use Linear, Conv2d, BatchNorm, AvgPool2d, Flatten and neurons")


def _flat(values: tuple[object, ...]) -> list[object]:
    found: list[object] = []
    for value in values:
        found += _flat(tuple(value)) if isinstance(value, list | tuple) else [value]
    return found
