"""A Recording as layers: which neuron takes what from which others, the same at every timestep."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from spikecut.errors import UnsupportedError
from spikecut.export.torch_module.links import POOL, Link, pooled_parts, then
from spikecut.export.torch_module.recording.recorder import Recording
from spikecut.export.torch_module.recording.values import (
    Applied,
    Lagged,
    Node,
    Opaque,
    OverTime,
    Source,
    Sum,
    Value,
    has_lag,
    lagged,
)


@dataclass(frozen=True)
class LayerNode:
    """A layer. path: of its neuron's module; empty for the output's weights without neurons.

    links: what it takes, summed. pool: the max pooling that it is, of spikes.
    """

    path: str
    links: tuple[Link, ...]
    pool: Applied | None = None


@dataclass(frozen=True)
class Graph:
    """Layers from the input to the output.

    Attributes
    ----------
    layers: each after those that it takes from; the last gives the output.
    axes: of each neuron's output, by path: the atoms of its dimensions that count timesteps and samples.
    part: which of the last module's outputs the network gives.
    how: "steps", the scores of each timestep, "sum" or "mean", over them, or "last", those of the last one alone.
    output: of the output, or of the first call's where each timestep is a call: its dimensions.
    """

    layers: tuple[LayerNode, ...]
    axes: Mapping[str, Value]
    part: int
    how: str
    output: Value


def place(where: str) -> str:
    """A module's path as errors name it."""
    return f"net.{where}" if where else "net"


def layer_graph(recording: Recording, timesteps: int, stepwise: bool) -> Graph:
    """The layers of a Recording.

    stepwise: the module was called once for each timestep.

    Raises
    ------
    UnsupportedError: what is read otherwise than by layers of neurons, with the module's path and the remedy.
    """
    return _Reading(recording, timesteps).graph(stepwise)


def _modules(node: Node) -> Iterator[str]:
    """Paths of the modules that call the functions of a node, the last one first."""
    if isinstance(node, Source):
        return
    if isinstance(node, Applied | Sum) and node.where:
        yield node.where
    for parent in node.terms if isinstance(node, Sum) else (node.parent,):
        yield from _modules(parent)


class _Reading:
    def __init__(self, recording: Recording, timesteps: int) -> None:
        self.recording, self.timesteps = recording, timesteps
        self.inputs = {path: self._input(path) for path in recording.calls}
        self.pools: dict[Applied, str] = {}
        self.layers: dict[str, LayerNode] = {}
        self.pending: list[str] = []

    def graph(self, stepwise: bool) -> Graph:
        node, how, output = self._output(stepwise)
        links = self._links(node, "the output")
        part = 0
        if len(links) == 1 and not links[0].functions and links[0].source.path:
            part = links[0].source.part
            self._visit(links[0].source.path)
        else:
            self._visit_all(links)
            self.layers[""] = LayerNode("", links)
        self._check_readouts(node)
        idle = [path for path in self.inputs if path not in self.layers]
        if idle:
            raise UnsupportedError(
                f"{place(idle[0])}: what it sends does not reach the output as spikes through layers that are read; "
                "return the scores of the last layer first"
            )
        return Graph(tuple(self.layers.values()), self.inputs, part, how, output)

    def _check_readouts(self, output: Node) -> None:
        """UnsupportedError where the forward gives more than one readout; states and spikes on the way are none."""
        for node in self.recording.beside:
            while isinstance(node, OverTime):
                node = node.parent
            if node == output or (isinstance(node, Source) and node.path in self.layers):
                continue
            where = node.path if isinstance(node, Source) else next(iter(_modules(node)), "")
            raise UnsupportedError(
                f"{place(where)}: the module has several readouts, of which this is another than the first; a network "
                "has one: return the scores of one of them alone, and export each by itself"
            )

    def _input(self, path: str) -> Value:
        """What a neuron takes, the same at every timestep."""
        calls, where = self.recording.calls[path], place(path)
        for call in calls:
            if isinstance(call.taken, Opaque):
                raise UnsupportedError(f"{place(call.taken.where)}: {call.taken.reason}")
            if call.taken is None:
                raise UnsupportedError(
                    f"{where}: its input does not come from the network's input by torch's own functions; use layers "
                    "of torch.nn between neurons"
                )
        values = [call.taken for call in calls if isinstance(call.taken, Value)]
        first = values[0]
        if first.timed and len(calls) == 1:
            return first
        if len(calls) != self.timesteps or first.timed:
            raise UnsupportedError(
                f"{where}: called {len(calls)} times for {self.timesteps} timesteps; give `timesteps` as the module "
                "runs them, and each layer a neuron of its own"
            )
        for step, value in enumerate(values):
            if value.step == step - 1:  # what comes in is the same at every timestep, and what neurons sent comes back
                values[step] = replace(value, node=lagged(value.node), step=step)
            elif value.step not in (None, step):
                raise UnsupportedError(
                    f"{where}: takes at timestep {step} what was sent at {value.step}; only what is sent in the same "
                    "timestep, or comes back from the one before, is read"
                )
        comes_back = len(values) > 1 and has_lag(values[1].node)
        first = values[1] if comes_back else first
        for step, value in enumerate(values[1:] if comes_back else values, start=int(comes_back)):
            if value.node != first.node or value.axes != first.axes:
                raise UnsupportedError(
                    f"{where}: takes something else at timestep {step} than at 0; every timestep must do the same"
                )
        return first

    def _output(self, stepwise: bool) -> tuple[Node, str, Value]:
        found: list[Value] = []
        for given in self.recording.output:
            if isinstance(given, Opaque):
                raise UnsupportedError(f"{place(given.where)}: {given.reason}, and the output needs it")
            if given is None:
                raise UnsupportedError(
                    "net: its output does not come from the network's input by torch's own functions; return what the "
                    "last layer sends"
                )
            found.append(given)
        first = found[0]
        if any(value.node != first.node for value in found) or first.steps is not None:
            raise UnsupportedError(
                "net: its output is not the same at every timestep; return what the last layer sends"
            )
        if isinstance(first.node, OverTime):
            return first.node.parent, "mean" if first.node.mean else "sum", first
        if first.timed or stepwise or self.timesteps == 1:
            return first.node, "steps", first
        return first.node, "last", first

    def _links(self, node: Node, where: str) -> tuple[Link, ...]:
        """A node as the sum of links."""
        if isinstance(node, Source):
            return (Link(node, ()),)
        if isinstance(node, Sum):
            return tuple(link for term in node.terms for link in self._links(term, where))
        if isinstance(node, OverTime):
            raise UnsupportedError(f"{place(where)}: takes a sum over timesteps; add up at the output alone")
        if isinstance(node, Lagged):
            links = self._links(node.parent, where)
            other = next((link for link in links if link.late or link.source.path not in (where, "")), None)
            if other is not None:
                raise UnsupportedError(
                    f"{place(where)}: takes what {place(other.source.path)} sent in the timestep before; only a "
                    "layer's own spikes may come back: on the chip those of later layers come later than that"
                )
            # An input beside it is the same at every timestep, or it would have one of its own.
            return tuple(replace(link, late=bool(link.source.path)) for link in links)
        if node.function == POOL:
            parts = pooled_parts(node)
            if parts is not None:
                return tuple(link for part in parts for link in self._links(part, where))
            return (Link(Source(self._pool(node)), ()),)
        return then(self._links(node.parent, where), node)

    def _pool(self, node: Applied) -> str:
        """The name of the layer that a max pooling of spikes is."""
        below = node.parent
        if not (isinstance(below, Source) and below.path) and not (
            isinstance(below, Applied) and below.function == POOL
        ):
            raise UnsupportedError(
                f"{place(node.where)}: max pooling of weighted sums or of the input; put it behind neurons, whose "
                "spikes it may pool, or use AvgPool2d"
            )
        if node not in self.pools:
            name = node.where or POOL
            taken = {*self.pools.values(), *self.inputs}
            self.pools[node] = next(
                each for each in (name, *(f"{name}_{n}" for n in range(2, len(taken) + 3))) if each not in taken
            )
        return self.pools[node]

    def _visit_all(self, links: tuple[Link, ...]) -> None:
        for link in links:
            if link.source.path:
                if link.late:
                    if link.source.part:
                        raise UnsupportedError(
                            f"{place(link.source.path)}: its output {link.source.part}, a state, comes back; only "
                            "spikes may"
                        )
                    continue
                if link.source.part:
                    raise UnsupportedError(
                        f"{place(link.source.path)}: its output {link.source.part}, a state, goes to other layers; "
                        "only spikes may"
                    )
                self._visit(link.source.path)

    def _visit(self, path: str) -> None:
        if path in self.layers:
            return
        if path in self.pending:
            raise UnsupportedError(
                f"{place(path)}: takes what it sent itself (recurrence), which is not read; train without"
            )
        self.pending.append(path)
        pool = next((node for node, name in self.pools.items() if name == path), None)
        links = self._links(self.inputs[path].node if pool is None else pool.parent, path)
        self._visit_all(links)
        self.pending.remove(path)
        self.layers[path] = LayerNode(path, links, pool)
