"""Events per core: how the messages that a trace counted per layer spread over the cores of a placement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from spikecut.deploy.placement.cores import LayerPlacement, Placement
from spikecut.deploy.placement.fan_out import fan_out_per_core, recurrent_fan_out_per_core
from spikecut.deploy.placement.partition import synapse_format
from spikecut.deploy.run_trace import LayerEvents, RunTrace
from spikecut.errors import InputError
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.connectivity import fan_out, recurrent_fan_out
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.graph import Path
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.skip import Skip

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Messages:
    """What one layer (or the source) sent and received, for some of a run's samples."""

    events: LayerEvents
    part: slice

    @cached_property
    def spikes(self) -> FloatArray:
        """Messages per step, float64 [samples, steps, 1]."""
        return self.events.spikes[self.part, :, None].astype(np.float64)

    @cached_property
    def synops(self) -> FloatArray:
        """Synaptic operations caused here per step, float64 [samples, steps, 1]."""
        return self.events.synops[self.part, :, None].astype(np.float64)

    @property
    def recorded(self) -> bool:
        """Whether it is known who sent."""
        return self.events.raster is not None

    @cached_property
    def sent(self) -> sparse.csr_matrix:
        """Who sent, 1 per message, sparse [samples · steps, neurons]; only where recorded."""
        if self.events.raster is None:
            raise InputError(f"layer {self.events.name}: its messages are not recorded: run again with record='all'")
        raster = self.events.raster[self.part]
        neurons = raster.shape[2]
        found = np.flatnonzero(raster)
        row_ends = np.searchsorted(found, np.arange(raster.size // neurons + 1) * neurons)
        ones = np.ones(found.size)
        return sparse.csr_matrix((ones, found % neurons, row_ends), shape=(raster.size // neurons, neurons))


class Spread:
    """How one layer's messages spread over targets: matrix [senders, targets], what one message adds to each target."""

    def __init__(self, matrix: IntArray) -> None:
        self.mean: FloatArray = matrix.mean(axis=0)
        self.uniform = bool((matrix == matrix[0]).all())
        self.row: FloatArray = matrix[0].astype(np.float64)
        self.sparse = None if self.uniform else sparse.csr_matrix(matrix.astype(np.float64))

    def __call__(self, messages: Messages) -> FloatArray:
        """Counts float64 [samples, steps, targets]: exact where all senders are alike or the messages are recorded."""
        if self.uniform:
            return messages.spikes * self.row
        if not messages.recorded:
            return messages.spikes * self.mean
        dense: FloatArray = (messages.sent @ self.sparse).toarray()
        return dense.reshape(*messages.spikes.shape[:2], -1)


@dataclass(frozen=True)
class Counts:
    """Events of one layer's cores, float64 [samples, steps, cores]; hops [samples, steps, 2] east-west, north-south.

    own: axons and synops that a recurrent layer's own messages cause, a part of these; None without any.
    links: messages of this layer on each link of the mesh, [samples, steps, links]; None where they are not counted.
    """

    fired: FloatArray
    messages: FloatArray
    axons: FloatArray
    synops: FloatArray
    hops: FloatArray
    own: tuple[FloatArray, FloatArray] | None = None
    links: FloatArray | None = None


Direction = tuple[Synapse, LayerPlacement]
"""By which synapse messages come in, and on which cores."""


@dataclass(frozen=True)
class Route:
    """One layer on its cores: what comes in, from other layers or the source, and where its messages go.

    paths: by its own synapse, and by its skips. outgoing: the synapses that take from it, on the cores of their layers.
    depth: of the layer, in hardware steps. output: whether it is the last one.
    """

    layer: IntegerLayer
    placed: LayerPlacement
    paths: tuple[Path, ...]
    outgoing: tuple[Direction, ...]
    depth: int
    output: bool

    @cached_property
    def ways(self) -> dict[str, IntArray]:
        """By name of a path, synapses of each element of its source on each core, int64 [elements, cores]."""
        names = ["", "skip ", *(f"skip {number} " for number in range(2, len(self.paths)))]
        return {
            name: fan_out_per_core(path.synapse, self.placed) for name, path in zip(names, self.paths, strict=False)
        }

    @property
    def incoming(self) -> IntArray:
        """Synapses of each input neuron on each core by the layer's own synapse, int64 [input neurons, cores]."""
        return self.ways[""]

    @cached_property
    def own(self) -> IntArray | None:
        """Recurrent synapses of each neuron on each core, int64 [neurons, cores]; None where there are none."""
        return None if self.layer.recurrent is None else recurrent_fan_out_per_core(self.layer, self.placed)

    @cached_property
    def targets(self) -> list[tuple[IntArray, LayerPlacement]]:
        """Where its messages go: synapses of each neuron on each core, int64 [neurons, cores], and these cores."""
        reached = [(fan_out_per_core(*direction), direction[1]) for direction in self.outgoing]
        if self.own is not None:
            reached.append((self.own, self.placed))
        return reached

    @property
    def storage(self) -> str:
        """Which synapse format the hardware file prices."""
        return synapse_format(self.layer)

    @cached_property
    def spreads(self) -> dict[str, Spread]:
        """What spreads over the cores: axons and synops from the layer's source, the rest from this one.

        A recurrent layer sends to its own cores too; "own axons" and "own synops" are what arrives there. "skip axons"
        and "skip synops" are what its skip brings, "skip 2 axons" and "skip 2 synops" the second one, and so on.
        """
        core = self.placed.core_of_neuron
        here = np.zeros((core.size, len(self.placed.cores)), dtype=np.int64)
        here[np.arange(core.size), core] = 1
        goes_to = np.zeros((core.size, 1), dtype=np.int64)
        hops = np.zeros((core.size, 2), dtype=np.int64)
        found = {"fired": Spread(here)}
        for name, reached in self.ways.items():
            found[f"{name}axons"], found[f"{name}synops"] = Spread((reached > 0).astype(np.int64)), Spread(reached)
        if self.own is not None:
            found["own axons"], found["own synops"] = Spread((self.own > 0).astype(np.int64)), Spread(self.own)
        for synapses, target in self.targets:
            goes_to += np.count_nonzero(synapses, axis=1)[:, None]
            for axis, name in enumerate(("x", "y")):
                source = np.array([getattr(item, name) for item in self.placed.cores])[core]
                there = np.array([getattr(item, name) for item in target.cores])
                hops[:, axis] += (np.abs(source[:, None] - there) * (synapses > 0)).sum(axis=1)
        return {**found, "messages": Spread(here * goes_to), "hops": Spread(hops)}

    def counts(self, given: Sequence[Messages], here: Messages) -> Counts:
        """Events per core; InputError if the recorded synaptic operations do not follow from the recorded messages.

        given: what arrives by each of its paths, see `arriving`.
        """
        spreads, own = self.spreads, self._own_counts(here)
        named = dict(zip(self.ways, given, strict=True))
        axons = spreads["axons"](given[0])
        for name, each in list(named.items())[1:]:
            axons = axons + spreads[f"{name}axons"](each)
        if own is not None:
            axons = axons + own[0]
        return Counts(
            fired=spreads["fired"](here),
            messages=spreads["messages"](here),
            axons=axons,
            synops=self._synops(named, here),
            hops=spreads["hops"](here),
            own=own,
        )

    def _own_counts(self, here: Messages) -> tuple[FloatArray, FloatArray] | None:
        """Axons and synops [samples, steps, cores] that a recurrent layer's own messages cause; None without any.

        Split evenly where the messages were not recorded and their synapses differ.
        """
        if "own axons" not in self.spreads:
            return None
        return self.spreads["own axons"](here), self.spreads["own synops"](here)

    def _synops(self, named: Mapping[str, Messages], here: Messages) -> FloatArray:
        """Synaptic operations per core, float64 [samples, steps, cores]; the trace holds their sum."""
        if len(self.placed.cores) == 1:
            return here.synops
        sides = [(self.spreads[f"{name}synops"], each) for name, each in named.items()]
        sides += [(self.spreads["own synops"], here)] if self.own is not None else []
        if not all(spread.uniform or side.recorded for spread, side in sides):
            matrices = [*self.ways.values(), *([] if self.own is None else [self.own])]
            total = np.sum([matrix.sum(axis=0) for matrix in matrices], axis=0)
            split: FloatArray = here.synops * (total / max(int(total.sum()), 1))
            return split
        synops = sides[0][0](sides[0][1])
        for spread, side in sides[1:]:
            synops = synops + spread(side)
        if not np.array_equal(synops.sum(axis=2, keepdims=True), here.synops):
            name = here.events.name
            raise InputError(f"layer {name}: its synaptic operations do not follow from the messages: run again")
        return synops

    def assumption(self, events_of: Sequence[LayerEvents], number: int) -> str | None:
        """What had to be split evenly because the messages were not recorded; number: of the layer, from 1."""
        events, before = events_of[number], events_of[self.paths[0].source]
        several = len(self.placed.cores) > 1
        sides = {"axons": before, "fired": events, "messages": events, "hops": events}
        sides |= {"synops": before} if several else {}
        sides |= {"own axons": events} if self.own is not None else {}
        for name, path in list(zip(self.ways, self.paths, strict=True))[1:]:
            sides[f"{name}axons"] = events_of[path.source]
            sides |= {f"{name}synops": events_of[path.source]} if several else {}
        split = [name for name, side in sides.items() if side.raster is None and not self.spreads[name].uniform]
        if not split:
            return None
        cores = len(self.placed.cores)
        return f"layer {events.name}: messages not recorded, {', '.join(split)} split evenly ({cores} cores)"


def routes_of(network: IntegerNetwork, placement: Placement) -> list[Route]:
    """One route per layer, in order."""
    outgoing: list[list[Direction]] = [[] for _ in range(len(network.layers) + 1)]
    for paths in network.paths:
        for path in paths:
            outgoing[path.source].append((path.synapse, placement.layers[path.target - 1]))
    rows = zip(network.layers, placement.layers, network.paths, outgoing[1:], network.depths[1:], strict=True)
    last = network.layers[-1]
    return [
        Route(layer, placed, paths, tuple(leads), depth, layer is last) for layer, placed, paths, leads, depth in rows
    ]


def link_loads(counts: Sequence[Counts]) -> FloatArray | None:
    """Messages of all layers on each link, [samples, steps, links]; None where they are not counted."""
    loads = [count.links for count in counts if count.links is not None]
    return None if not loads else sum(loads[1:], loads[0])


def arriving(trace: RunTrace, part: slice, path: Path) -> Messages:
    """What arrives by a path, after its relay if it has one, in the steps that ran."""
    events, steps = trace.events[path.source], path.steps
    if not steps:
        return Messages(events, part)
    ran = np.arange(events.spikes.shape[1]) < trace.hardware_steps[part, None]

    def late(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        given = np.zeros_like(values[part])
        given[:, steps:] = values[part][:, :-steps]
        given[~ran] = 0
        return given

    raster = None if events.raster is None else late(events.raster)
    return Messages(
        LayerEvents(events.name, events.shape, late(events.spikes), late(events.synops), raster), slice(None)
    )


def message_rates(trace: RunTrace) -> tuple[FloatArray, ...]:
    """Messages per step that ran of every neuron, the source's first, float64 [elements] each: what `place` balances.

    Where the messages were not recorded, all neurons of a layer count alike. InputError if there are no events.
    """
    check_events(trace)
    steps = max(int(trace.hardware_steps.sum()), 1)
    rates = []
    for events in trace.events:
        if events.raster is None:
            elements = int(np.prod(events.shape))
            rates.append(np.full(elements, events.spikes.sum() / steps / elements))
        else:
            rates.append((events.raster != 0).sum(axis=(0, 1)) / steps)
    return tuple(rates)


def check_events(trace: RunTrace) -> None:
    """Raise InputError unless the trace holds events of every layer, one entry per sample and step that ran."""
    if not trace.events:
        raise InputError("this trace holds no events: run again with record='events' or record='all'")
    names = ["input", *(layer.name for layer in trace.network.layers)]
    if [events.name for events in trace.events] != names:
        raise InputError(f"the trace's events are of {[events.name for events in trace.events]}, expected {names}")
    for events in trace.events:
        ran = np.arange(events.spikes.shape[1]) < trace.hardware_steps[:, None]
        if trace.hardware_steps.max(initial=0) > ran.shape[1] or events.synops.shape != ran.shape:
            raise InputError(f"events of {events.name}: expected one entry per sample and hardware step that ran")
        if events.spikes[~ran].any() or events.synops[~ran].any():
            raise InputError(f"events of {events.name}: a step that did not run holds events")


def own_operations(trace: RunTrace) -> tuple[IntArray, tuple[str, ...]]:
    """Synaptic operations that the first layer's own, binary spikes cause in it, int64 [N], and what was assumed."""
    layer, events = trace.network.layers[0], trace.events[1]
    if layer.recurrent is None:
        return np.zeros(trace.samples, dtype=np.int64), ()
    reached = recurrent_fan_out(layer)
    if events.raster is not None:
        return np.asarray(((events.raster != 0) @ reached).sum(axis=1), dtype=np.int64), ()
    if (reached == reached[0]).all():
        return events.spikes.sum(axis=1) * int(reached[0]), ()
    assumption = f"layer {layer.name}: messages not recorded, its own spikes are charged like its input"
    return np.zeros(trace.samples, dtype=np.int64), (assumption,)


def later_input_operations(trace: RunTrace) -> tuple[IntArray, tuple[str, ...]]:
    """Synaptic operations of the input, whose messages may be graded, in layers after the first, int64 [N], and what
    was assumed.
    """
    total, assumptions = np.zeros(trace.samples, dtype=np.int64), []
    events, ran = trace.events[0], trace.hardware_steps[:, None]
    for path in (path for paths in trace.network.paths[1:] for path in paths):
        if path.source:
            continue
        reached = fan_out(path.synapse)
        arrives = np.arange(events.spikes.shape[1]) + path.steps < ran
        if events.raster is not None:
            total += ((events.raster != 0) @ reached * arrives).sum(axis=1)
        elif (reached == reached[0]).all():
            total += (events.spikes * arrives).sum(axis=1) * int(reached[0])
        else:
            name = trace.network.layers[path.target - 1].name
            what = path.synapse.name if isinstance(path.synapse, Skip) else "input"
            assumptions.append(f"layer {name}: messages not recorded, its {what} is charged like spikes")
    return total, tuple(assumptions)
