"""What a layer takes from others: links, each through functions in their order; their sum comes in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from spikecut.errors import UnsupportedError
from spikecut.export.torch_module.recording.values import Applied, Held, Node, Source, Sum

PLACE = "place"
"""The function that puts a signal's channels (or features) at a place among others: torch.cat is the sum of such.

numbers: the first of its channels there, how many it has, and how many there are.
"""
POOL = "max_pool2d"
WEIGHTS = frozenset(("linear", "conv1d", "conv2d"))
"""Functions of which each output takes from all channels."""


@dataclass(frozen=True)
class Link:
    """What a layer takes from one source, through functions in their order; late: of the timestep before."""

    source: Source
    functions: tuple[Applied, ...]
    late: bool = False


def then(links: Sequence[Link], node: Applied) -> tuple[Link, ...]:
    """A function of the sum of links as links; what it adds beside its product, it adds once to each channel.

    UnsupportedError where links of a sum hold parts of each other's channels, and the function adds to them.
    """
    if len(links) == 1 or not _adds(node):
        return tuple(replace(link, functions=(*link.functions, node)) for link in links)
    total = 1 if node.function in WEIGHTS else node.features[0]
    parts = [range(1) if node.function in WEIGHTS else _channels(link, total) for link in links]
    adding: set[int] = set()
    covered: set[int] = set()
    for number in sorted(range(len(links)), key=lambda n: (links[n].late, -len(parts[n]))):
        if not covered & set(parts[number]):
            adding.add(number)
            covered |= set(parts[number])
    if len(covered) < total:
        where = f"net.{node.where}" if node.where else "net"
        raise UnsupportedError(
            f"{where}: adds numbers to a sum of signals that torch.cat has joined at different channels; put it in "
            "front of the sum"
        )
    plain = _without_addition(node)
    return tuple(
        replace(link, functions=(*link.functions, node if number in adding else plain))
        for number, link in enumerate(links)
    )


def pooled_parts(node: Applied) -> tuple[Applied, ...] | None:
    """A max pooling of signals that torch.cat has joined, as the join of their poolings; None for one of others.

    A maximum is taken channel by channel, so that this is exact.
    """
    below: Node = node.parent
    inner = pooled_parts(below) if isinstance(below, Applied) and below.function == POOL else None
    terms: tuple[Node, ...] = tuple(_terms(below)) if inner is None else inner
    parts = [term for term in terms if isinstance(term, Applied) and term.function == PLACE]
    taken = [channel for part in parts for channel in _placed(part)]
    if len(parts) < len(terms) or len(set(taken)) < len(taken):
        return None
    sides = node.features[1:]
    return tuple(
        replace(
            part,
            features=node.features,
            parent=replace(node, parent=part.parent, features=(len(_placed(part)), *sides)),
        )
        for part in parts
    )


def _terms(node: Node) -> Iterator[Node]:
    if isinstance(node, Sum):
        for term in node.terms:
            yield from _terms(term)
    else:
        yield node


def _placed(part: Applied) -> range:
    """The channels that a function PLACE gives."""
    first, count, _ = (int(str(number)) for number in part.numbers)
    return range(first, first + count)


def _adds(node: Applied) -> bool:
    return node.function == "shift" or any(held is not None for held in node.tensors[1:])


def _channels(link: Link, total: int) -> range:
    """The channels (or features) that a link holds of what its functions give."""
    first, count, among = 0, total, 0
    for applied in link.functions:
        if applied.function in WEIGHTS:
            first, count, among = 0, total, 0
        elif applied.function == PLACE:
            offset, own, whole = (int(str(number)) for number in applied.numbers)
            first, count, among = (first + offset, count, whole) if among else (offset, own, whole)
        elif applied.function == "reshape" and among and len(applied.features) == 1:
            each = applied.features[0] // among
            first, count, among = first * each, count * each, among * each
    return range(first, first + count)


def _without_addition(node: Applied) -> Applied:
    """The function without what it adds: bias, or batch norm's mean and β; of a shift nothing is left."""
    if node.function == "batch_norm":
        mean, variance, gamma, _ = node.tensors
        return replace(node, tensors=(_zero(mean), variance, gamma, None))
    if node.function == "shift":
        return replace(node, tensors=(_zero(node.tensors[0]),))
    return replace(node, tensors=(node.tensors[0], *(None for _ in node.tensors[1:])))


def _zero(held: Held | None) -> Held | None:
    return None if held is None else Held(torch.zeros_like(held.tensor))
