"""A NIR graph in an order in which every node comes after those that feed it, with nested graphs taken apart."""

from collections import Counter
from dataclasses import dataclass

from spikecut.errors import BundleError, UnsupportedError
from spikecut.export.nir.file import NirNode


@dataclass(frozen=True)
class Placed:
    """A node, and the places in the order of those that feed it, whose messages add up; none of the graph's Input."""

    node: NirNode
    sources: tuple[int, ...]


def ordered(graph: NirNode) -> list[Placed]:
    """The nodes from input to output; those of a nested graph stand in its place, with its own Input and Output.

    Raises
    ------
    BundleError: an edge to nowhere, an edge listed twice, no Input or Output or several, a node off the way.
    UnsupportedError: a cycle, named.
    """
    found: list[Placed] = []
    _place(graph, (), found)
    return found


def _place(graph: NirNode, sources: tuple[int, ...], found: list[Placed]) -> int:
    """Append a graph's nodes, its Input fed by `sources`; the place of its Output."""
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
    places: dict[str, int] = {}
    for name in _sorted(nodes, feeding, fed, where):
        node, given = nodes[name], tuple(places[source] for source in feeding[name])
        given = sources if name == inputs else given
        if node.kind == "NIRGraph":
            places[name] = _place(node, given, found)
        else:
            places[name] = len(found)
            found.append(Placed(node, given))
    return places[outputs]


def _sorted(
    nodes: dict[str, NirNode], feeding: dict[str, list[str]], fed: dict[str, list[str]], where: str
) -> list[str]:
    """Names in an order in which each stands behind all that feed it; the deepest way first."""
    missing = {name: len(sources) for name, sources in feeding.items()}
    ready, done = [name for name, count in missing.items() if not count], []
    while ready:
        name = ready.pop()
        done.append(name)
        for target in fed[name]:
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    if len(done) == len(nodes):
        return done
    way = [next(name for name in nodes if missing[name] and any(missing[source] for source in feeding[name]))]
    while way.count(way[-1]) < 2:
        way.append(next(source for source in feeding[way[-1]] if missing[source]))
    cycle = way[way.index(way[-1]) :][::-1]
    raise UnsupportedError(
        f"{where}: node {nodes[cycle[0]].name} is recurrent: a cycle through {' → '.join(cycle)}; a file's recurrence "
        "is not read: export the module itself, spikecut.export(module), or train without it"
    )


def _check_ways(
    nodes: dict[str, NirNode],
    feeding: dict[str, list[str]],
    fed: dict[str, list[str]],
    ends: tuple[str, str],
    where: str,
) -> None:
    """BundleError unless every node lies on a way from the Input to the Output."""
    inputs, outputs = ends
    reached, heard = _closure(inputs, fed), _closure(outputs, feeding)
    for name, node in nodes.items():
        if name in reached and name not in heard and (name == inputs or not fed[name] or outputs not in reached):
            raise BundleError(f"{where}: node {node.name} leads nowhere; every node must lead to {outputs}")
    for name, node in nodes.items():
        if name not in reached or name not in heard:
            raise BundleError(f"{where}: node {node.name} is not on the way from {inputs} to {outputs}")


def _closure(begin: str, following: dict[str, list[str]]) -> set[str]:
    found, waiting = {begin}, [begin]
    while waiting:
        for name in following[waiting.pop()]:
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


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
