"""What comes back to a layer: its own spikes of the timestep before, by a synapse from the layer to itself.

    u[t] = (1 - decay_u) u[t-1] + Σ W s[t] + Σ R r[t-1]

r: the layer's own spikes. R is (O, O) for a dense layer. For a layer of maps it is a convolution that keeps their
shape: (C, C/groups, H, W) with odd sides, stride 1, zeros of half a kernel around; one that is dilated has its zeros in
the weights.
"""

from typing import Any, NamedTuple

import numpy.typing as npt

from spikecut.errors import ExportError
from spikecut.export.network.arrays import Pair, Shape
from spikecut.export.network.geometry import Kind


class Around(NamedTuple):
    """What the weights of a recurrence say of its geometry."""

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
