"""Skips: a layer's synapses beside its own, from earlier layers or the input, which make a network a graph.

    u[t] = (1 - decay_u) u[t-1] + Σ W s[t] + Σ W' s'[t] + Σ W" s"[t] + ...

s', s", … are the messages of earlier layers, or of the input, of the same timestep t; all sums share the layer's units.
A residual connection is a skip (He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016), and so
is each part but the first of a concatenation: W [a; b] = W_a a + W_b b.
"""

from dataclasses import dataclass

import numpy as np

from spikecut.errors import ExportError
from spikecut.export.network.arrays import Array, BatchNorm, IntArray, Pair, Shape, frozen_float, frozen_int
from spikecut.export.network.geometry import Kind, check_geometry
from spikecut.export.network.names import check_name
from spikecut.text import brief

INPUT = "input"
"""The source of a skip that begins at the network's input."""


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

    __repr__ = brief

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

    source: name of an earlier layer, or "input".
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

    __repr__ = brief

    def __post_init__(self) -> None:
        check_name(self.source, "source of a skip")
        object.__setattr__(self, "weight", frozen_int(self.weight, f"weight of the {self.name}"))
        check_geometry(self)

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """In words, for errors."""
        return f"skip from {self.source}"
