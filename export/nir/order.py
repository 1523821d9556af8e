"""A NIR graph in an order in which every node comes after those that feed it, with nested graphs taken apart.

What comes back to a layer of neurons through linear nodes stands before it in the order: what feeds these is what the
layer sent in the timestep before, `Placed.back`.
"""

from collections import Counter
from dataclasses import dataclass, field

from spikecut.errors import BundleError, InputError, UnsupportedError
from spikecut.export.nir.cycles import Nodes, opened, reached
from spikecut.export.nir.file import NirNode

CUT = "end"
"""Name of the Output that ends a part of a graph."""


@dataclass(frozen=True)
class Placed:
    """A node, and what feeds it, whose messages add up.

    Attributes
    ----------
    sources: places in the order of those that feed it in the same timestep; none of the graph's Input.
    back: places, its own or a later one, of the neurons whose messages of the timestep before it takes.
    """

    node: NirNode
    sources: tuple[int, ...]
    back: tuple[int, ...] = ()


def ordered(graph: NirNode) -> list[Placed]:
    """The nodes from input to output; those of a nested graph stand in its place, with its own Input and Output.

    Raises
    ------
    BundleError: an edge to nowhere, an edge listed twice, no Input or Output or several, a node off the way.
    UnsupportedError: a cycle through no layer of neurons, or through several, named.
    """
    found = _Flat()
    found.take(graph)
    nodes = Nodes(tuple(found.nodes), tuple(map(tuple, found.sources)))
    order = nodes.order()
    if order is None:
        nodes = opened(nodes)
        order = nodes.order()
    if order is None:
        raise nodes.without_neurons()
    places = {index: place for place, index in enumerate(order)}
    return [
        Placed(
            nodes.nodes[index],
            tuple(places[source] for source in nodes.sources[index]),
            tuple(places[source] for source in nodes.back.get(index, ())),
        )
        for index in order
    ]


def first_nodes(placed: list[Placed], count: int | None) -> list[Placed]:
    """The first nodes with an Output behind the one at their end; all of them for None.

    Raises
    ------
    InputError: a number that is none of them, or all. UnsupportedError: several of them feed what is left out, or are
    fed by it.
    """
    if count is None:
        return placed
    if not 2 <= count < len(placed):
        raise InputError(f"--layers :{count}: of its {len(placed)} nodes :2 to :{len(placed) - 1} are a part")
    kept = placed[:count]
    taken = {source for each in kept for source in each.sources}
    ends = [place for place in range(count) if place not in taken]
    back = [each.node.name for each in kept if any(place >= count for place in each.back)]
    if back or len(ends) != 1:
        names = back or [kept[place].node.name for place in ends]
        raise UnsupportedError(f"--layers :{count} cuts through {', '.join(names)}; end where one node feeds the rest")
    return [*kept, Placed(NirNode(CUT, "Output"), (ends[0],))]


@dataclass
class _Flat:
    """All nodes of a graph and of those inside it; `sources`: of each node those that feed it, by number."""

    nodes: list[NirNode] = field(default_factory=list)
    sources: list[list[int]] = field(default_factory=list)

    def take(self, graph: NirNode) -> tuple[int, int]:
        """Append a graph's nodes; the numbers of its Input and its Output."""
        where = f"graph {graph.name}" if graph.name else "the graph"
        nodes = {node.short: node for node in graph.nodes}
        if not nodes:
            raise BundleError(f"{where} holds no nodes")
        _check_edges(graph, nodes, where)
        inputs, outputs = (_the_only(nodes, kind, where) for kind in ("Input", "Output"))
        feeding: dict[str, list[str]] = {name: [] for name in nodes}
        fed: dict[str, list[str]] = {name: [] for name in nodes}
        for source, target in graph.edges:
            feeding[target].append(source)
            fed[source].append(target)
        _check_ways(nodes, feeding, fed, (inputs, outputs), where)
        ends = {
            name: self.take(node) if node.kind == "NIRGraph" else self._append(node) for name, node in nodes.items()
        }
        for source, target in graph.edges:
            self.sources[ends[target][0]].append(ends[source][1])
        return ends[inputs][0], ends[outputs][1]

    def _append(self, node: NirNode) -> tuple[int, int]:
        self.nodes.append(node)
        self.sources.append([])
        return len(self.nodes) - 1, len(self.nodes) - 1


def _check_ways(
    nodes: dict[str, NirNode],
    feeding: dict[str, list[str]],
    fed: dict[str, list[str]],
    ends: tuple[str, str],
    where: str,
) -> None:
    """BundleError unless every node lies on a way from the Input to the Output."""
    inputs, outputs = ends
    from_input = {inputs} | reached(inputs, fed.__getitem__)
    heard = {outputs} | reached(outputs, feeding.__getitem__)
    for name, node in nodes.items():
        if name in from_input and name not in heard and (name == inputs or not fed[name] or outputs not in from_input):
            raise BundleError(f"{where}: node {node.name} leads nowhere; every node must lead to {outputs}")
    for name, node in nodes.items():
        if name not in from_input or name not in heard:
            raise BundleError(f"{where}: node {node.name} is not on the way from {inputs} to {outputs}")


def _check_edges(graph: NirNode, nodes: dict[str, NirNode], where: str) -> None:
    for source, target in graph.edges:
        for name in (source, target):
            if name not in nodes:
                raise BundleError(f"{where}: the edge {source} → {target} names the node {name}, which does not exist")
        if nodes[target].kind == "Input" or nodes[source].kind == "Output":
            raise BundleError(f"{where}: the edge {source} → {target} leads into the Input or out of the Output")
    for (source, target), times in Counter(graph.edges).items():
        if times > 1:
            raise BundleError(f"{where}: the edge {source} → {target} is listed {times} times")


def _the_only(nodes: dict[str, NirNode], kind: str, where: str) -> str:
    names = sorted(name for name, node in nodes.items() if node.kind == kind)
    if len(names) != 1:
        found = "none" if not names else ", ".join(names)
        more = "; a network has one readout: write each by itself" if kind == "Output" and names else ""
        raise BundleError(f"{where} needs exactly one {kind} node, found {found}{more}")
    return names[0]
