"""The graph of a network's layers: what each takes from what, and in which hardware step.

In algorithmic time all layers see the same t. In hardware a synapse holds its sums for one step, so that a layer works
on step t at t + depth, where its depth is that of the deepest of all that it takes from, and 1 more: the longest path
from the input. Messages of what is less deep come too early, and are relayed: `Path.steps`.

Layers have numbers, in the order in which they are listed, from 1; the input is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.skip import INPUT


class Link(Protocol):
    """A skip, as far as a graph needs it."""

    @property
    def source(self) -> str:
        """Name of an earlier layer, or "input"."""


class Node(Protocol):
    """A layer, as far as a graph needs it."""

    @property
    def name(self) -> str:
        """Unique among the layers."""

    @property
    def source(self) -> str | None:
        """What it takes from, None for the layer listed before it."""

    @property
    def skips(self) -> Sequence[Link]:
        """More that it takes from."""


@dataclass(frozen=True)
class Path:
    """What a layer takes by one of its synapses.

    Attributes
    ----------
    synapse: the layer, whose own it is, or the skip. source, target: number of what sends, and of the layer.
    steps: for how many hardware steps the messages are relayed before the synapse takes them; 0 for none.
    """

    synapse: Any
    source: int
    target: int
    steps: int


def sources_of(layers: Sequence[Node]) -> tuple[tuple[int, ...], ...]:
    """Numbers of what each layer takes from, by its own synapse and its skips; KeyError for a name not yet listed."""
    numbers = {INPUT: 0}
    found = []
    for number, layer in enumerate(layers, start=1):
        own = number - 1 if layer.source is None else numbers[layer.source]
        found.append((own, *(numbers[skip.source] for skip in layer.skips)))
        numbers[layer.name] = number
    return tuple(found)


def depths_of(layers: Sequence[Node]) -> tuple[int, ...]:
    """Hardware steps from the input to each layer by number, on the longest path; 0 of the input, which is first."""
    depths = [0]
    for sources in sources_of(layers):
        depths.append(1 + max(depths[source] for source in sources))
    return tuple(depths)


def paths_of(layers: Sequence[Any]) -> tuple[tuple[Path, ...], ...]:
    """What each layer takes, by its own synapse, which comes first, and by its skips."""
    depths = depths_of(layers)
    return tuple(
        tuple(
            Path(synapse, source, number, depths[number] - 1 - depths[source])
            for synapse, source in zip((layer, *layer.skips), sources, strict=True)
        )
        for number, (layer, sources) in enumerate(zip(layers, sources_of(layers), strict=True), start=1)
    )


def unheard(layers: Sequence[Node]) -> list[int]:
    """Numbers of the layers from which no path leads to the last one."""
    heard = {len(layers)}
    for number, sources in reversed(list(enumerate(sources_of(layers), start=1))):
        if number in heard:
            heard.update(sources)
    return [number for number in range(1, len(layers) + 1) if number not in heard]


class Sender(Protocol):
    """A network, as far as the messages that it sends are concerned."""

    @property
    def input(self) -> InputSpec:
        """Of its input."""

    @property
    def layers(self) -> Sequence[Any]:
        """Its layers, whose neurons may be sigma-delta."""


def is_graded(network: Sender) -> bool:
    """Whether layers send graded messages to each other: those of sigma-delta neurons, which are of one kind."""
    return getattr(network.layers[0].neuron, "sigma_delta", None) is not None


def message_range(network: Sender, source: int) -> tuple[int, int]:
    """Smallest and largest message of the layer of this number, or of the input."""
    if not source:
        return network.input.minimum, network.input.maximum
    neuron = network.layers[source - 1].neuron
    if getattr(neuron, "sigma_delta", None) is None:  # floats are never
        return 0, 1
    return -neuron.sigma_delta.largest, neuron.sigma_delta.largest
