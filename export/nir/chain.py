"""A NIR graph as the chain it must be: nested graphs taken apart, every other shape refused by name."""

from collections import Counter

from spikecut.errors import BundleError, UnsupportedError
from spikecut.export.nir.file import NirNode


def ordered(graph: NirNode) -> list[NirNode]:
    """The nodes from input to output; those of a nested graph stand in its place, with its own Input and Output.

    Raises
    ------
    BundleError: an edge to nowhere, an edge listed twice, no Input or Output, a node that nothing reaches.
    UnsupportedError: a node with two inputs or two outputs, or a cycle, named.
    """
    where = f"graph {graph.name}" if graph.name else "the graph"
    nodes = {node.short: node for node in graph.nodes}
    if not nodes:
        raise BundleError(f"{where} holds no nodes")
    _check_edges(graph, nodes, where)
    inputs, outputs = (_the_only(nodes, kind, where) for kind in ("Input", "Output"))
    following = dict(graph.edges)
    name, seen = inputs, [inputs]
    while name in following:
        name = following[name]
        if name in seen:
            raise UnsupportedError(f"{where}: a cycle through {' → '.join(seen[seen.index(name) :])} → {name}")
        seen.append(name)
    if name != outputs:
        raise BundleError(f"{where}: node {nodes[name].name} leads nowhere; the chain must end in {outputs}")
    for other in nodes.values():
        if other.short not in seen:
            raise BundleError(f"{where}: node {other.name} is not on the way from {inputs} to {outputs}")
    chain: list[NirNode] = []
    for node in (nodes[short] for short in seen):
        chain += ordered(node) if node.kind == "NIRGraph" else [node]
    return chain


def _check_edges(graph: NirNode, nodes: dict[str, NirNode], where: str) -> None:
    for source, target in graph.edges:
        for name in (source, target):
            if name not in nodes:
                raise BundleError(f"{where}: the edge {source} → {target} names the node {name}, which does not exist")
    for (source, target), times in Counter(graph.edges).items():
        if times > 1:
            raise BundleError(f"{where}: the edge {source} → {target} is listed {times} times")
    for name, node in nodes.items():
        sources = [source for source, target in graph.edges if target == name]
        targets = [target for source, target in graph.edges if source == name]
        if name in targets or set(sources) & set(targets):
            raise UnsupportedError(
                f"node {node.name} is recurrent ({', '.join(sorted(set(sources) & set(targets)) or [name])} feeds it "
                "what it sent); only chains are read: train without recurrence"
            )
        if len(targets) > 1:
            raise UnsupportedError(
                f"node {node.name} feeds {', '.join(sorted(targets))}: only chains are read, no residual or branching "
                "networks; train without the branch"
            )
        if len(sources) > 1:
            raise UnsupportedError(
                f"node {node.name} takes from {', '.join(sorted(sources))}: only chains are read, no residual or "
                "branching networks; train without the branch"
            )


def _the_only(nodes: dict[str, NirNode], kind: str, where: str) -> str:
    names = sorted(name for name, node in nodes.items() if node.kind == kind)
    if len(names) != 1:
        found = "none" if not names else ", ".join(names)
        raise BundleError(f"{where} needs exactly one {kind} node, found {found}")
    return names[0]
