"""Skips: a layer's second synapse, from an earlier point of the chain, which makes a network residual.

    u[t] = (1 - decay_u) u[t-1] + Σ W s[t] + Σ W' s'[t]

s' are the messages of an earlier layer, or of the input, of the same timestep t; both sums share the layer's units. In
hardware steps the earlier messages come too early, by as many steps as there are layers in between: they are relayed.
He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from spikecut.errors import ExportError
from spikecut.export.network.geometry import check_geometry
from spikecut.export.network.layers import (
    Array,
    BatchNorm,
    FloatLayer,
    IntArray,
    IntegerLayer,
    Kind,
    Pair,
    Shape,
    frozen_float,
)
from spikecut.export.network.ranges import check_name, frozen_int

if TYPE_CHECKING:
    from spikecut.export.network.layers import IntegerNetwork

INPUT = "input"
"""The source of a skip that begins at the network's input."""


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


@dataclass(frozen=True)
class FloatSkip:
    """A skip in float: weight and geometry as in FloatLayer, bias (O,), a batch norm of its own.

    source: name of an earlier layer, or "input".
    """

    source: str
    kind: Kind
    weight: Array
    bias: Array
    input_shape: Shape
    output_shape: Shape
    batch_norm: BatchNorm | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", frozen_float(self.weight))
        object.__setattr__(self, "bias", frozen_float(self.bias))
        check_geometry(self)
        if not (np.isfinite(self.weight).all() and np.isfinite(self.bias).all()):
            raise ExportError(f"{self.name}: a weight or bias is not finite; train again")

    @property
    def name(self) -> str:
        """In words, for errors."""
        return f"skip from {self.source}"


@dataclass(frozen=True)
class Skip:
    """A skip in integers: weight int64 of the range and units of the layer's own, which checks it; no bias of its own.

    source: name of an earlier layer, or "input"; it must lie before the layer that feeds this one directly.
    """

    source: str
    kind: Kind
    weight: IntArray
    input_shape: Shape
    output_shape: Shape
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        check_name(self.source, "source of a skip")
        object.__setattr__(self, "weight", frozen_int(self.weight, f"weight of the {self.name}"))
        check_geometry(self)

    @property
    def name(self) -> str:
        """In words, for errors."""
        return f"skip from {self.source}"


def source_of(layers: Sequence[FloatLayer] | Sequence[IntegerLayer], source: str) -> int:
    """Where a skip begins: 0 for the input, else the depth of the layer of this name, from 1."""
    return 0 if source == INPUT else 1 + [layer.name for layer in layers].index(source)


@dataclass(frozen=True)
class Path:
    """Where a skip runs: depths of its source (0: the input) and of its layer; steps: for how many it is relayed."""

    skip: Skip
    source: int
    target: int

    @property
    def steps(self) -> int:
        """Hardware steps from the source's message to the step in which the skip's synapse takes it, at least 1."""
        return self.target - 1 - self.source


def skip_paths(network: "IntegerNetwork") -> dict[int, Path]:
    """The skips of a network by the depth of their layer, from 1."""
    return {
        depth: Path(layer.skip, source_of(network.layers, layer.skip.source), depth)
        for depth, layer in enumerate(network.layers, start=1)
        if layer.skip is not None
    }


def message_range(skip: FloatSkip | Skip, minimum: int, maximum: int) -> tuple[int, int]:
    """Range of the messages that a skip takes, in a network whose input lies within [minimum, maximum]."""
    return (minimum, maximum) if skip.source == INPUT else (0, 1)
