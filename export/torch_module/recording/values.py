"""What the tensors of a module's forward hold, told by where they come from: the recorder gives each tensor a Value.

A Value is one expression for all timesteps, a Node: the network's input, what a neuron sent, or a linear function of
these. Its axes say which of the tensor's first dimensions count timesteps (T) and samples (N); the rest are features.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias, Union

import torch
from torch import Tensor

from spikecut.export.network.arrays import Shape

T, N = "T", "N"
Axis: TypeAlias = tuple[str, ...]
"""What one dimension counts: (T,), (N,), both in one, (T, N), or nothing, ()."""


@dataclass(frozen=True, eq=False)
class Held:
    """A tensor that does not depend on the input, such as a weight; equal to another one of the same numbers."""

    tensor: Tensor

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Held):
            return NotImplemented
        one, two = self.tensor, other.tensor
        if one is two or one.shape != two.shape or one.dtype != two.dtype:
            return one is two
        return torch.equal(one, two) or bool(((one == two) | (one.isnan() & two.isnan())).all())  # NaN is refused later

    def __hash__(self) -> int:
        return hash(tuple(self.tensor.shape))


@dataclass(frozen=True)
class Source:
    """What a neuron sent, or the input where path is empty. part: which of the outputs of the neuron's module."""

    path: str
    part: int = 0


@dataclass(frozen=True)
class Applied:
    """A function of one Node. where: path of the module that called it.

    numbers: its other arguments, as its reader orders them. tensors: those that do not depend on the input.
    features: shape of one sample of the result.
    """

    function: str
    where: str
    parent: "Node"
    features: Shape
    numbers: tuple[object, ...] = ()
    tensors: tuple[Held | None, ...] = ()


@dataclass(frozen=True)
class Sum:
    """The sum of Nodes of one timestep. where: as of Applied."""

    where: str
    terms: tuple["Node", ...]


@dataclass(frozen=True)
class Lagged:
    """What a Node was one timestep earlier; nothing at the first."""

    parent: "Node"


@dataclass(frozen=True)
class OverTime:
    """The sum over all timesteps, or their mean."""

    parent: "Node"
    mean: bool


Node: TypeAlias = Union[Source, Applied, Sum, Lagged, OverTime]  # noqa: UP007 (its parts are named before they are defined)


@dataclass(frozen=True)
class Value:
    """What a tensor holds.

    Attributes
    ----------
    axes: of the first dimensions. features: sizes of the others.
    step: the timestep of a tensor without T among its axes; None: the same at every timestep.
    steps: of a sum or an array that is not complete yet, the timesteps that it has.
    """

    node: Node
    axes: tuple[Axis, ...]
    features: Shape
    step: int | None = None
    steps: frozenset[int] | None = None

    @property
    def timed(self) -> bool:
        """Whether the tensor holds all timesteps."""
        return any(T in axis for axis in self.axes)

    def then(self, function: str, where: str, features: Shape, *rest: tuple[object, ...]) -> "Value":
        """The Value of a function of this one, timestep by timestep; rest: numbers and tensors of Applied."""
        if isinstance(self.node, OverTime) and self.node.mean:  # a mean goes through everything that is affine
            node: Node = OverTime(Applied(function, where, self.node.parent, features, *rest), True)  # type: ignore[arg-type]
        else:
            node = Applied(function, where, self.node, features, *rest)  # type: ignore[arg-type]
        return replace(self, node=node, features=features)


@dataclass(frozen=True)
class Opaque:
    """A tensor that depends on the input in a way that is not read. where: path of the module; reason, with remedy."""

    where: str
    reason: str


@dataclass(frozen=True)
class Extent:
    """How many timesteps and samples there are."""

    timesteps: int
    samples: int

    def size(self, axis: Axis) -> int:
        """Size of a dimension."""
        return prod(self.timesteps if atom == T else self.samples for atom in axis)


def lagged(node: Node) -> Node:
    """The Node with all that neurons sent taken one timestep earlier; the input, which stays the same, as it is."""
    if isinstance(node, Sum):
        return replace(node, terms=tuple(map(lagged, node.terms)))
    return Lagged(node) if fed_by_neurons(node) else node


def fed_by_neurons(node: Node) -> bool:
    """Whether a Node depends on what neurons sent."""
    if isinstance(node, Source):
        return node.path != ""
    if isinstance(node, Sum):
        return any(map(fed_by_neurons, node.terms))
    return fed_by_neurons(node.parent)


def has_lag(node: Node) -> bool:
    """Whether a Node takes anything from the timestep before."""
    if isinstance(node, Source):
        return False
    if isinstance(node, Sum):
        return any(map(has_lag, node.terms))
    return isinstance(node, Lagged) or has_lag(node.parent)


def axes_of(atoms: Axis, shape: Shape, extent: Extent) -> tuple[tuple[Axis, ...], Shape] | None:
    """A tensor's shape as axes that count these atoms in this order, and features; None where it does not split so."""
    axes: list[Axis] = []
    left = list(atoms)
    for position, side in enumerate(shape):
        if not left:
            return tuple(axes), shape[position:]
        taken = next((k for k in range(1, len(left) + 1) if extent.size(tuple(left[:k])) == side), 0)
        if not taken and side != 1:
            return None
        axes.append(tuple(left[:taken]))
        del left[:taken]
    return None if left else (tuple(axes), ())


def reshaped(value: Value, shape: Shape, where: str, extent: Extent) -> Value | Opaque:
    """The Value with its tensor in another shape, in the same order of its numbers."""
    found = axes_of(tuple(atom for axis in value.axes for atom in axis), shape, extent)
    if found is None or prod(found[1]) != prod(value.features):
        return Opaque(where, f"a reshape to {shape} mixes timesteps or samples with features; keep them apart")
    axes, features = found
    changed = value if features == value.features else value.then("reshape", where, features)
    return replace(changed, axes=axes)
