"""Shapes of synapses: what a convolution makes of its input, and whether a layer fits together and into memory."""

import math
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from spikecut.errors import ExportError, UnsupportedError
from spikecut.export.network.arrays import Array, IntArray, Pair, Shape

Kind = Literal["conv", "dense"]
MAXIMUM_ELEMENTS = 2**28
"""Most numbers that a layer, or all layers of a network, may need for one sample: 2 GiB as int64."""


class Geometry(Protocol):
    """What a layer's own synapse and a skip have in common; see IntegerLayer for the fields."""

    @property
    def name(self) -> str:
        """In words, for errors."""

    @property
    def kind(self) -> Kind:
        """Convolution or matrix."""

    @property
    def weight(self) -> npt.NDArray[Any]:
        """(O, I/groups, H, W) or (O, I)."""

    @property
    def input_shape(self) -> Shape:
        """Shape of what comes in."""

    @property
    def output_shape(self) -> Shape:
        """Shape of the sums."""

    @property
    def stride(self) -> Pair:
        """Rows and columns from one position to the next."""

    @property
    def padding(self) -> Pair:
        """Rows and columns of zeros on either side."""

    @property
    def dilation(self) -> Pair:
        """Rows and columns from one tap to the next."""

    @property
    def groups(self) -> int:
        """Groups of channels."""


class Synapse(Geometry, Protocol):
    """A synapse in integers."""

    @property
    def weight(self) -> IntArray:
        """(O, I/groups, H, W) or (O, I), int64."""


def conv_output_shape(layer: Geometry) -> Shape:
    """Shape that the convolution of this layer gives."""
    return convolved_shape(layer.weight.shape, layer.input_shape, layer.stride, layer.padding, layer.dilation)


def convolved_shape(weight: Shape, shape: Shape, stride: Pair, padding: Pair, dilation: Pair) -> Shape:
    """Shape that a weight of shape (O, I/groups, H, W) makes of an input of shape (C, H, W)."""
    spatial = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(shape[1:], padding, dilation, weight[2:], stride, strict=True)
    )
    return (weight[0], *spatial)


def check_geometry(layer: Geometry) -> None:
    """Raise ExportError unless weight, shapes, stride, padding, dilation and groups fit each other, and memory."""
    weight = layer.weight
    if layer.kind == "dense":
        want = (math.prod(layer.output_shape), math.prod(layer.input_shape))
        if len(layer.output_shape) != 1 or weight.shape != want:
            raise ExportError(f"layer {layer.name}: dense weight of shape {weight.shape}, expected {want}")
        if not weight.size:
            raise ExportError(f"layer {layer.name}: a weight of shape {weight.shape} holds nothing")
        return
    if layer.kind != "conv":
        raise ExportError(f"layer {layer.name}: kind {layer.kind!r}, expected conv or dense")
    if weight.ndim != 4 or len(layer.input_shape) != 3:
        raise ExportError(f"layer {layer.name}: a convolution needs a 4-D weight and a (C, H, W) input")
    if min(layer.stride) < 1 or min(layer.dilation) < 1 or min(layer.padding) < 0 or layer.groups < 1:
        raise ExportError(f"layer {layer.name}: stride, dilation and groups must be positive, padding not negative")
    channels = layer.input_shape[0]
    if channels % layer.groups or weight.shape[0] % layer.groups or weight.shape[1] != channels // layer.groups:
        raise ExportError(
            f"layer {layer.name}: weight {weight.shape} does not fit {channels} channels, groups {layer.groups}"
        )
    shape = conv_output_shape(layer)
    if min(shape) < 1 or shape != layer.output_shape or not weight.size:
        raise ExportError(f"layer {layer.name}: the convolution gives {shape}, the layer says {layer.output_shape}")
    if elements(layer) > MAXIMUM_ELEMENTS:
        raise ExportError(
            f"layer {layer.name}: a convolution that needs {elements(layer)} numbers for one sample, at most "
            f"{MAXIMUM_ELEMENTS} are held; use less padding, a larger stride or a smaller kernel"
        )


def elements(layer: Geometry) -> int:
    """Numbers that a layer needs for one sample: its neurons, its input with padding, the input under each tap."""
    neurons = math.prod(layer.output_shape)
    if layer.kind == "dense":
        return neurons
    channels, *sides = layer.input_shape
    padded = channels * math.prod(side + 2 * padding for side, padding in zip(sides, layer.padding, strict=True))
    under_taps = math.prod(layer.output_shape[1:]) * channels * math.prod(layer.weight.shape[2:])
    return max(neurons, padded, under_taps)


def same_padding(weight: Array, stride: Pair, dilation: Pair, where: str) -> tuple[Array, Pair]:
    """Kernels (O, I, H, W), and the padding that is called "same" of them, as numbers.

    An even side is padded by one more at the end than at the start: the same as one more on both sides of a kernel that
    begins with a zero. UnsupportedError with a stride, or for an even side of dilated taps.
    """
    sides = []
    for axis, d in zip((2, 3), dilation, strict=True):
        lopsided = d * (weight.shape[axis] - 1) % 2 == 1
        if stride != (1, 1) or (lopsided and d > 1):
            raise UnsupportedError(
                f"{where}: padding 'same' is lopsided for this stride or dilation; give the padding as numbers"
            )
        if lopsided:
            weight = np.insert(weight, 0, 0.0, axis=axis)
        sides.append(d * (weight.shape[axis] - 1) // 2)
    return weight, (sides[0], sides[1])


class Around(NamedTuple):
    """The geometry of a recurrence: of a synapse from a layer's spikes of the timestep before to the layer itself.

    Its weights R say all of it: (O, O) of a dense layer; of one of maps those of a convolution that keeps their shape,
    (C, C/groups, H, W) with odd sides, stride 1, half a kernel of zeros around. One with holes has them in R.
    """

    kind: Kind
    padding: Pair
    groups: int


def around(weight: npt.NDArray[Any], kind: Kind, shape: Shape, name: str) -> Around:
    """The geometry of recurrent weights for a layer of this kind that sends `shape`; ExportError if they do not fit."""
    outputs = shape[0]
    if kind == "dense":
        if weight.shape != (outputs, outputs):
            raise ExportError(f"layer {name}: recurrent of shape {weight.shape}, expected {(outputs, outputs)}")
        return Around(kind, (0, 0), 1)
    fits = weight.ndim == 4 and len(weight) == outputs and weight.shape[1] and outputs % weight.shape[1] == 0
    if not fits or any(side % 2 == 0 for side in weight.shape[2:]):
        raise ExportError(
            f"layer {name}: recurrent of shape {weight.shape}, expected ({outputs}, {outputs}/groups, H, W), H, W odd"
        )
    rows, columns = weight.shape[2:]
    return Around(kind, (rows // 2, columns // 2), outputs // weight.shape[1])
