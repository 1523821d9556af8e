"""Signals joined side by side by torch.cat, one by one: what an operation on all of them makes of one part."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spikecut.errors import UnsupportedError
from spikecut.export.importers.linear import Affine, Convolution, Dense, Operation, Scaling, Synapse
from spikecut.export.network.arrays import Array, Shape, size


@dataclass(frozen=True)
class Part:
    """Which channels a signal has among those of all that it is joined with.

    Attributes
    ----------
    first, count: the first of them, and how many there are. total: of all channels.
    flat: whether these are numbers of flattened maps, and not channels.
    """

    first: int
    count: int
    total: int
    flat: bool = False

    @classmethod
    def placed(cls, numbers: Sequence[object], inner: "Part | None", flat: bool) -> "Part":
        """A signal, or a part of one, at its place; numbers: see links.PLACE."""
        first, count, total = (int(str(number)) for number in numbers)
        return cls(first, count, total, flat) if inner is None else cls(first + inner.first, inner.count, total, flat)

    def among(self, shape: Shape) -> Shape:
        """The shape of all together, for a part of this shape."""
        return (self.total,) if self.flat else (self.total, *shape[1:])

    def flattened(self, shape: Shape) -> "Part":
        """The same of maps of this shape that are flattened."""
        each = size(shape[1:])
        return Part(self.first * each, self.count * each, self.total * each, len(shape) == 3)

    def of(self, operation: Operation, shared_weight: bool) -> Operation:
        """What an operation on all channels does to these. shared_weight: whether a convolution mixes channels."""
        here = slice(self.first, self.first + self.count)
        if isinstance(operation, Scaling):
            factor = operation.factor
            return operation if factor.size == 1 else replace(operation, factor=factor.reshape(self.total, -1)[here])
        if isinstance(operation, Affine):
            offset = np.broadcast_to(operation.offset, (self.total,))[here]
            return replace(operation, factor=operation.factor[here], offset=offset)
        if isinstance(operation, Dense):
            return replace(operation, weight=operation.weight[:, here])
        if isinstance(operation, Convolution):
            if not shared_weight:
                return replace(operation, weight=operation.weight[here], groups=self.count)
            return replace(operation, weight=whole_kernels(operation.weight, operation.groups)[:, here], groups=1)
        return operation

    def rows(self, synapse: Synapse, where: str) -> Synapse:
        """The synapse to neurons of all channels, of which it reaches these."""
        if self.flat:
            raise UnsupportedError(
                f"{where}: takes flattened maps that are joined without weights between; join the maps, or put Linear "
                "between"
            )
        weight = synapse.weight if synapse.kind == "dense" else whole_kernels(synapse.weight, synapse.groups)
        rows, bias = np.zeros((self.total, *weight.shape[1:])), np.zeros(self.total)
        rows[self.first : self.first + self.count] = weight
        bias[self.first : self.first + self.count] = synapse.bias
        shape = (self.total, *synapse.output_shape[1:])
        return replace(synapse, weight=rows, bias=bias, output_shape=shape, groups=1)


def whole_kernels(weight: Array, groups: int) -> Array:
    """Kernels (O, I/groups, H, W) of a grouped convolution as (O, I, H, W), with zeros between the groups."""
    if groups == 1:
        return weight
    outputs, per_group = weight.shape[:2]
    whole = np.zeros((outputs, per_group * groups, *weight.shape[2:]))
    for group in range(groups):
        rows = slice(group * outputs // groups, (group + 1) * outputs // groups)
        whole[rows, group * per_group : (group + 1) * per_group] = weight[rows]
    return whole
