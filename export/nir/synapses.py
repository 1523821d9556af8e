"""NIR's Input, and its linear nodes as operations of spikecut.export.importers.linear: checked, words made numbers.

A Delay of what neurons or the input send, in front of weights, and one of what these make of it, are both delays of
synapses, y[t] = Σ W[o, i] x[t - delay[o, i], i], as Loihi 2 has them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from spikecut.errors import BundleError, UnsupportedError
from spikecut.export.importers.linear import Convolution, Dense, Operation, Pooling, Scaling, Synapse, check_map
from spikecut.export.network.arrays import Array, IntArray, Pair, Shape, size
from spikecut.export.network.geometry import same_padding
from spikecut.export.nir.discretisation import Discretisation
from spikecut.export.nir.file import MAXIMUM_NUMBERS, NirNode
from spikecut.fixed_point import DELAY_MAXIMUM

SYNAPSES = ("Affine", "Linear", "Scale", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d")
MAXIMUM_SIDE = 2**16
TOLERANCE = 1e-5
"""Of a timestep, which the numbers of a file in single precision miss."""
LATE = "on the chip synapses of dense layers can be late, no others, and no bias"


def operation_of(node: NirNode, shape: Shape, flat: bool) -> Operation:
    """What a linear node, a kind of SYNAPSES, does to an input of this shape; flat: it is flattened first.

    Raises
    ------
    BundleError: weights, strides, paddings that are damaged or do not fit. UnsupportedError: see same_padding.
    """
    where = f"node {node.name}"
    if node.kind == "Scale":
        return Scaling(where, node.kind, node.numbers["scale"].astype(np.float64))
    if node.kind in ("Affine", "Linear"):
        return Dense(where, node.kind, node.numbers["weight"].astype(np.float64), _bias(node))
    check_map(where, node.kind, shape, flat)
    if node.kind.endswith("Pool2d"):
        kernel = _pair(node, "kernel_size", 1, False)
        value = 1.0 / (kernel[0] * kernel[1]) if node.kind == "AvgPool2d" else 1.0
        stride, padding = _pair(node, "stride", 1, False), _pair(node, "padding", 0, False)
        return Pooling(where, node.kind, kernel, stride, padding, value)
    return _convolution(node, shape)


def input_shape(chain: Sequence[NirNode]) -> Shape:
    """(F,) or (C, H, W) of a frame: without a batch dimension that the exporter left in, and (C, 1, L) for (C, L)."""
    node, following = chain[0], chain[1:2]
    values = node.numbers["shape"].reshape(-1).tolist()
    shape = tuple(int(value) for value in values)
    if not 1 <= len(shape) <= 4 or list(shape) != values or min(shape) < 1 or max(shape) > MAXIMUM_NUMBERS:
        raise BundleError(
            f"node {node.name}: shape {values[:8]}, expected (features,), (channels, length) or (C, H, W)"
        )
    dense = any(other.kind in ("Affine", "Linear") for other in following)
    if shape[0] == 1 and (len(shape) == 4 or (len(shape) == 2 and dense)):
        shape = shape[1:]
    if len(shape) == 4:
        raise BundleError(f"node {node.name}: shape {shape} holds a batch of {shape[0]}; write the graph without batch")
    if len(shape) == 2:
        shape = (shape[0], 1, shape[1])
    if size(shape) > MAXIMUM_NUMBERS:
        raise BundleError(f"node {node.name}: an input of shape {shape} is absurdly large")
    return shape


def flattening(node: NirNode, shape: Shape, behind: Sequence[NirNode]) -> str:
    """What is to be told of a Flatten of this shape; behind: the nodes that follow.

    BundleError for another shape than it states, UnsupportedError where it flattens some of the dimensions.
    """
    start, end = (int(node.numbers[key].reshape(-1)[0]) for key in ("start_dim", "end_dim"))
    stated = node.numbers.get("input_type")
    if stated is not None and size(tuple(int(n) for n in stated.reshape(-1))) != size(shape):
        raise BundleError(f"node {node.name} states the shape {stated.tolist()}, but gets {shape}")
    rank = len(shape)
    if rank == 1 or (start in (0, -rank) and end in (-1, rank - 1)):
        return ""
    weights = [other for other in behind if other.kind in ("Affine", "Linear")]
    confirmed = weights and weights[0].numbers["weight"].shape[-1:] == (size(shape),)
    if start != 1 or end not in (-1, rank) or not confirmed:
        raise UnsupportedError(f"node {node.name}: flattens the dimensions {start} to {end} only; flatten all of them")
    return "start_dim 1 counts the batch: all is flattened, as the next weights confirm"


def delays_of(node: NirNode, time: Discretisation, count: int) -> IntArray | None:
    """The delays of a node that gets so many numbers, int64 (count,); None for none.

    BundleError for those that are damaged or do not fit, UnsupportedError for those that the chip does not have.
    """
    given = node.numbers["delay"].astype(np.float64).reshape(-1)
    if given.size not in (1, count) or not (np.isfinite(given) & (given >= 0)).all():
        raise BundleError(f"node {node.name}: {given.size} delays for {count} numbers, each 0 or more, were expected")
    if not given.any():
        return None
    exact = given / time.step(node.name)
    steps = np.rint(exact)
    if (np.abs(exact - steps) > TOLERANCE * np.maximum(exact, 1)).any():
        wrong = exact[np.argmax(np.abs(exact - steps))]
        raise UnsupportedError(
            f"node {node.name}: a delay of {wrong:g} timesteps; the chip's are whole ones: choose such, or another --dt"
        )
    if steps.max() > DELAY_MAXIMUM:
        raise UnsupportedError(
            f"node {node.name}: a delay of {steps.max():.0f} timesteps; the chip holds messages for {DELAY_MAXIMUM}"
        )
    return np.broadcast_to(steps.astype(np.int64), (count,))


def taking_late(synapse: Synapse, late: IntArray | None, where: str) -> Synapse:
    """A synapse of what came late; late: of each of its inputs, (I,)."""
    if late is None:
        return synapse
    if synapse.kind != "dense":
        raise UnsupportedError(f"{where}: a delay in front of a convolution, or of a map; {LATE}: use a Linear")
    own = 0 if synapse.delay is None else synapse.delay
    return replace(synapse, delay=np.broadcast_to(late, synapse.weight.shape) + own)


def giving_late(synapse: Synapse, late: IntArray, where: str) -> Synapse:
    """A synapse whose outputs come late, (O,)."""
    if synapse.kind != "dense" or synapse.bias.any():
        raise UnsupportedError(f"{where}: a delay of what a convolution, or a bias, gives; {LATE}")
    own = 0 if synapse.delay is None else synapse.delay
    return replace(synapse, delay=np.broadcast_to(late[:, None], synapse.weight.shape) + own)


def _convolution(node: NirNode, shape: Shape) -> Convolution:
    weight = node.numbers["weight"].astype(np.float64)
    one_dimension = node.kind == "Conv1d"
    if weight.ndim != (3 if one_dimension else 4) or not weight.size:
        raise BundleError(f"node {node.name}: weight of shape {weight.shape} does not fit a {node.kind}")
    if one_dimension and shape[1] != 1:
        raise BundleError(f"node {node.name}: a Conv1d takes (channels, length), but gets a map of shape {shape}")
    if one_dimension:
        weight = weight[:, :, None]
    groups = _whole(node, "groups", 1)[0]
    stride, dilation = _pair(node, "stride", 1, one_dimension), _pair(node, "dilation", 1, one_dimension)
    if node.texts.get("padding") == "same":
        weight, padding = same_padding(weight, stride, dilation, f"node {node.name}")
    else:
        padding = _padding(node, one_dimension)
    return Convolution(f"node {node.name}", node.kind, weight, _bias(node), stride, padding, dilation, groups)


def _padding(node: NirNode, one_dimension: bool) -> Pair:
    word = node.texts.get("padding")
    if word is None:
        padding = _pair(node, "padding", 0, one_dimension)
        return (0, padding[1]) if one_dimension else padding
    if word != "valid":
        raise BundleError(f"node {node.name}: padding {word!r}, expected numbers, same or valid")
    return (0, 0)


def _bias(node: NirNode) -> Array | None:
    bias = node.numbers.get("bias")
    return None if bias is None else bias.astype(np.float64)


def _whole(node: NirNode, key: str, least: int) -> list[int]:
    values: npt.NDArray[np.generic] = node.numbers[key].reshape(-1)
    whole = [int(value) for value in values.tolist()]
    if not 1 <= len(whole) <= 2 or whole != values.tolist() or min(whole) < least or max(whole) > MAXIMUM_SIDE:
        raise BundleError(f"node {node.name}: {key} = {values.tolist()[:4]}, expected whole numbers from {least} on")
    return whole


def _pair(node: NirNode, key: str, least: int, one_dimension: bool) -> Pair:
    values = _whole(node, key, least)
    if one_dimension and len(values) != 1:
        raise BundleError(f"node {node.name}: {key} of a Conv1d has {len(values)} values, expected 1")
    if one_dimension and key != "padding":
        return 1, values[0]
    return values[0], values[-1]
