"""Cycles of a NIR graph: a layer of neurons that feeds itself, and what no chip can do.

NIR's equations know no timesteps, and a message needs no time. In timesteps what comes back comes one later, as in
snnTorch's RLeaky and RSynaptic and Norse's LIFRecurrentCell: the linear nodes between a layer's spikes and itself
get those of the timestep before, and nothing before the first. Their biases count in every timestep.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from spikecut.errors import BundleError, UnsupportedError
from spikecut.export.nir.file import MAXIMUM_NODES, NirNode
from spikecut.export.nir.neurons import NEURONS

Numbers = tuple[int, ...]
Name = TypeVar("Name", int, str)


@dataclass(frozen=True)
class Nodes:
    """A graph's nodes by number.

    Attributes
    ----------
    sources: what feeds each in the same timestep. back: the neurons that feed one with what they sent in the timestep
        before, by its number. after: nodes behind which each must stand, beside its sources.
    """

    nodes: tuple[NirNode, ...]
    sources: tuple[Numbers, ...]
    back: Mapping[int, Numbers] = field(default_factory=dict)
    after: Mapping[int, Numbers] = field(default_factory=dict)

    def order(self) -> list[int] | None:
        """Numbers such that each stands behind all that feed it, the deepest way first; None where there is a cycle."""
        behind = [(*self.after.get(index, ()), *sources) for index, sources in enumerate(self.sources)]
        following = _turned(behind)
        missing = [len(each) for each in behind]
        ready, done = [index for index, count in enumerate(missing) if not count], []
        while ready:
            index = ready.pop()
            done.append(index)
            for target in following[index]:
                missing[target] -= 1
                if not missing[target]:
                    ready.append(target)
        return done if len(done) == len(self.nodes) else None

    def passes(self, index: int) -> bool:
        """Whether it is the Input or Output of a nested graph, which sends what it gets."""
        return self.nodes[index].kind in ("Input", "Output") and "/" in self.nodes[index].name

    def without_neurons(self) -> UnsupportedError:
        """What is said of a cycle that is left."""
        cycle = _way(self.sources, _cycles(self.sources)[0])
        return UnsupportedError(
            f"node {self.nodes[cycle[0]].name} feeds itself without neurons between, in the cycle {self.said(cycle)}: "
            "nothing says when; let a layer of neurons feed itself"
        )

    def said(self, cycle: Sequence[int]) -> str:
        """The names of a cycle."""
        return " → ".join(self.nodes[index].name for index in (*cycle, cycle[0]))


def opened(graph: Nodes) -> Nodes:
    """The graph with each cycle opened at its layer of neurons, whose messages come back one timestep later.

    The Inputs and Outputs of nested graphs then feed nothing: what feeds them feeds what is behind them.

    UnsupportedError for a cycle without neurons or through several layers, or whose linear nodes feed others, too.
    """
    heads = _heads(graph)
    back: dict[int, Numbers] = {}
    loops: list[tuple[int, list[int]]] = []
    for cycle in _cycles(heads):
        neuron = _neuron(graph, heads, cycle)
        _check_heard(graph, heads, neuron, cycle)
        loops.append((neuron, cycle))
        for index in cycle:
            if neuron in heads[index]:
                back[index] = tuple(source for source in heads[index] if source == neuron)
    forward = tuple(
        tuple(source for source in given if source not in back.get(index, ())) for index, given in enumerate(heads)
    )
    after: dict[int, Numbers] = {}
    for index, given in enumerate(graph.sources):
        made_of = {source: set(heads[source] if graph.passes(source) else (source,)) for source in given}
        after[index] = tuple(source for source in given if not made_of[source] & set(back.get(index, ())))
    last = next(index for index, node in enumerate(graph.nodes) if node.kind == "Output" and not graph.passes(index))
    after[last] = tuple(index for index in range(len(heads)) if index != last)
    for neuron, cycle in loops:  # what gets nothing else stands where the layer's shape is known
        for index in cycle:
            if index != neuron and not forward[index]:
                after[index] += tuple(source for source in forward[neuron] if source not in cycle)
    return Nodes(graph.nodes, forward, back, after)


def _heads(graph: Nodes) -> list[Numbers]:
    """What feeds each node, with what feeds the ends of nested graphs in the place of those."""
    only_ends = Nodes(
        graph.nodes,
        tuple(
            tuple(filter(graph.passes, sources)) if graph.passes(index) else ()
            for index, sources in enumerate(graph.sources)
        ),
    )
    order = only_ends.order()
    if order is None:
        raise only_ends.without_neurons()
    found: dict[int, Numbers] = {}
    for index in sorted(order, key=graph.passes, reverse=True):  # stable: the ends first
        found[index] = tuple(
            head for source in graph.sources[index] for head in (found[source] if graph.passes(source) else (source,))
        )
        if len(found[index]) > MAXIMUM_NODES:
            raise BundleError(f"node {graph.nodes[index].name} adds up more than {MAXIMUM_NODES} messages")
    return [found[index] for index in range(len(graph.nodes))]


def _neuron(graph: Nodes, heads: Sequence[Numbers], cycle: list[int]) -> int:
    """The only layer of neurons in a cycle."""
    neurons = [index for index in cycle if graph.nodes[index].kind in NEURONS]
    way = _way(heads, cycle)
    if not neurons:
        raise Nodes(graph.nodes, tuple(heads)).without_neurons()
    if len(neurons) > 1:
        raise UnsupportedError(
            f"node {graph.nodes[neurons[0]].name} is recurrent through other layers, in the cycle {graph.said(way)}: "
            "on the chip each layer works one hardware step after what feeds it, so that what comes back over several "
            "comes later than the next timestep; let each layer feed itself"
        )
    return neurons[0]


def _check_heard(graph: Nodes, heads: Sequence[Numbers], neuron: int, cycle: list[int]) -> None:
    """UnsupportedError where a linear node of a cycle feeds others, too."""
    between = set(cycle) - {neuron}
    for index, given in enumerate(heads):
        if index not in cycle and not graph.passes(index) and between & set(given):
            node = graph.nodes[min(between & set(given))].name
            raise UnsupportedError(
                f"node {node} takes what {graph.nodes[neuron].name} sends back to {graph.nodes[neuron].name}, one "
                f"timestep later, and to {graph.nodes[index].name}: nothing says when; give each weights of its own"
            )


def _cycles(sources: Sequence[Numbers]) -> list[list[int]]:
    """The numbers of nodes that reach each other, each of which reaches itself."""
    following, found, seen = _turned(sources), [], set[int]()
    for index in range(len(sources)):
        if index in seen:
            continue
        cycle = reached(index, sources.__getitem__) & reached(index, following.__getitem__)
        if cycle:
            found.append(sorted(cycle))
            seen |= cycle
    return found


def _way(sources: Sequence[Numbers], cycle: list[int]) -> list[int]:
    """A way around in a cycle."""
    way = [cycle[0]]
    while way.count(way[-1]) < 2:
        way.append(next(source for source in sources[way[-1]] if source in cycle))
    return way[way.index(way[-1]) + 1 :][::-1]


def reached(begin: Name, following: Callable[[Name], Iterable[Name]]) -> set[Name]:
    """The nodes that are reached from one by following edges; itself only in a cycle."""
    found: set[Name] = set()
    waiting = [begin]
    while waiting:
        for name in following(waiting.pop()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _turned(sources: Sequence[Numbers]) -> list[list[int]]:
    following: list[list[int]] = [[] for _ in sources]
    for index, given in enumerate(sources):
        for source in given:
            following[source].append(index)
    return following
