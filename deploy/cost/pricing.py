"""Prices on a placement: nanoseconds of every step and picojoules of every kind of event, at one edge of the band."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cost.links import MeshLinks
from spikecut.deploy.cost.traffic import Counts, Messages, Route, arriving, routes_of
from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Barrier, Chip
from spikecut.deploy.placement.quantities import Edge, Quantity
from spikecut.deploy.run_trace import RunTrace
from spikecut.export.network.layers import IntegerNetwork

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

EDGES: tuple[Edge, ...] = ("low", "value", "high")
CHUNK = 2**15  # elements of a per-core count held at once: they stay in the cache

EVENTS = (
    "neuron_access",
    "neuron_update",
    "spike",
    "axon_out",
    "axon_in",
    "synapse",
    "hop_east_west",
    "hop_north_south",
)
"""The kinds of events that are attributed, per layer."""
GENERATING = ("neuron_access", "neuron_update", "spike", "axon_out")
RECEIVING = ("axon_in", "synapse")
LINK_AXES = ("east_west", "north_south")
BOUNDS = {
    "sum": (GENERATING, RECEIVING),
    "maximum": (("neuron_access", "neuron_update", "spike"), ("axon_out",), ("axon_in",), ("synapse",)),
}
"""Per model of time, which kinds of events follow each other on a core; each such group bounds the step."""


@dataclass(frozen=True)
class Terms:
    """The numbers that time, dynamic energy and static power are made of, by name."""

    time: dict[str, Quantity]
    dynamic: dict[str, Quantity]
    power: dict[str, Quantity]

    @property
    def static(self) -> dict[str, Quantity]:
        """Those of static energy, which is power × time: where the power is known, every unknown time leaves a gap."""
        known = all(quantity.value is not None for quantity in self.power.values())
        return {**self.power, **self.time} if known else self.power

    @property
    def energy(self) -> dict[str, Quantity]:
        """Those of the total energy."""
        return {**self.dynamic, **self.static}

    @property
    def no_time(self) -> bool:
        """Whether no time at all is known."""
        return all(quantity.value is None for quantity in self.time.values())


class Gatherer(Protocol):
    """What is summed up over the chunks of a run."""

    def add(self, run: RunTrace, part: slice, counts: list[Counts]) -> None:
        """Take some samples of these, with their events per core for every layer."""


@dataclass(frozen=True)
class Pricer:
    """A run, or a part of one, on its cores, chunk by chunk."""

    chip: Chip
    placement: Placement
    routes: list[Route]
    links: MeshLinks | None = None

    @classmethod
    def of(cls, network: IntegerNetwork, chip: Chip, placement: Placement) -> "Pricer":
        """The pricer of a network on this placement."""
        routes = routes_of(network, placement)
        heard = chip.monitor.hearing(network.classes if network.readout == "membrane" else None)
        if heard is not chip.monitor:
            chip = chip.model_copy(update={"monitor": heard})
        return cls(chip, placement, routes, MeshLinks.of(routes) if chip.timing == "maximum" else None)

    def chunks(self, trace: RunTrace) -> Iterator[tuple[slice, list[Counts]]]:
        """Samples, and per layer their events per core."""
        longest = trace.events[0].spikes.shape[1]
        widest = max(len(placed.cores) for placed in self.placement.layers)
        chunk = max(1, CHUNK // (max(1, longest) * widest))
        for start in range(0, trace.samples, chunk):
            part = slice(start, min(start + chunk, trace.samples))
            messages = [Messages(events, part) for events in trace.events]
            counts = [
                route.counts(
                    [arriving(trace, part, path) if path.steps else messages[path.source] for path in route.paths], here
                )
                for route, here in zip(self.routes, messages[1:], strict=True)
            ]
            if self.links is not None:
                loads = [self.links.loads(i, sent) for i, sent in enumerate(messages[1:])]
                counts = [replace(count, links=load) for count, load in zip(counts, loads, strict=True)]
            yield part, counts

    def generating_ns(self, edge: Edge, route: Route, count: Counts) -> dict[str, FloatArray]:
        """Per kind of event, the time of each core's neurons in each step; broadcasts to [samples, steps, cores]."""
        time = {name: cost.time_ns.at(edge) for name, cost in self.chip.costs}
        neurons = route.placed.neurons.astype(np.float64)
        return {
            "neuron_access": neurons * time["neuron_access"],
            "neuron_update": neurons * time["neuron_update"],
            "spike": count.fired * time["spike"],
            "axon_out": (count.messages + self.to_monitor(edge, route)) * time["axon_out"],
        }

    def receiving_ns(self, edge: Edge, route: Route, count: Counts) -> dict[str, FloatArray]:
        """Per kind of event, the time of what each core receives in each step, [samples, steps, cores]."""
        time = {name: cost.time_ns.at(edge) for name, cost in self.chip.costs}
        return {"axon_in": count.axons * time["axon_in"], "synapse": count.synops * time[route.storage]}

    def bounds_ns(self, edge: Edge, route: Route, count: Counts) -> list[tuple[bool, dict[str, FloatArray]]]:
        """What bounds a step on each core: whether it is receiving, and its times by kind of event, which add up."""
        terms = {**self.generating_ns(edge, route, count), **self.receiving_ns(edge, route, count)}
        return [(group[0] in RECEIVING, {name: terms[name] for name in group}) for group in BOUNDS[self.chip.timing]]

    def slowest_ns(self, edge: Edge, route: Route, count: Counts) -> tuple[FloatArray, FloatArray]:
        """Time of the slowest core of a layer, generating and receiving, [samples, steps] each."""
        sides: dict[bool, FloatArray] = {}
        for receiving, terms in self.bounds_ns(edge, route, count):
            total = np.zeros(1)
            for term in sorted(terms.values(), key=lambda term: term.ndim):
                total = total + term
            slowest = total.max(axis=2)
            sides[receiving] = np.maximum(sides[receiving], slowest) if receiving in sides else slowest
        return sides[False], sides[True]

    def per_link_ns(self, edge: Edge) -> FloatArray:
        """For how long one message keeps each link of the mesh busy, float64 [links]."""
        if self.links is None:
            return np.zeros(0)
        along_x, along_y = (getattr(self.chip.costs, f"hop_{name}").time_ns.at(edge) for name in LINK_AXES)
        busy: FloatArray = np.where(self.links.along_x, along_x, along_y)
        return busy

    def busiest_link_ns(self, edge: Edge, loads: FloatArray) -> FloatArray:
        """Time of the busiest link, from the messages on each, [..., links]; 0 without links."""
        busiest: FloatArray = (loads * self.per_link_ns(edge)).max(axis=-1, initial=0.0)
        return busiest

    def step_ns(self, edge: Edge, slowest: FloatArray) -> FloatArray:
        """Time of steps whose slowest core or link takes so long."""
        floor = barrier_ns(self.chip.barrier, self.placement.tiles, edge)
        if self.chip.timing == "maximum":
            slowest, floor = np.maximum(slowest, floor), 0.0
        return slowest + (
            floor + self.chip.management.time_ns_per_step.at(edge) + self.chip.monitor.time_ns_per_step.at(edge)
        )

    def events(self, count: Counts, route: Route, ran: BoolArray) -> FloatArray:
        """Events of a layer on all its cores in each step, float64 [samples, steps, EVENTS], monitor apart."""
        neurons = np.where(ran, float(route.placed.neurons.sum()), 0.0)
        sums = [np.broadcast_to(each.sum(axis=2), ran.shape) for each in _totals(count)]
        columns = [neurons, neurons, *sums, count.hops[..., 0], count.hops[..., 1]]
        return np.stack([np.broadcast_to(column, ran.shape) for column in columns], axis=2)

    def energy_pj(self, edge: Edge, route: Route) -> FloatArray:
        """Energy of one event of each kind of EVENTS in this layer, float64 [EVENTS]."""
        energy = {name: cost.energy_pJ.at(edge) for name, cost in self.chip.costs}
        return np.array([energy[route.storage if name == "synapse" else name] for name in EVENTS])

    def step_pj(self, edge: Edge) -> float:
        """Energy of a step that no layer's events cause: barrier, monitor and the messages to it."""
        messages = sum(self.to_monitor(edge, route).sum() for route in self.routes)
        per_step = self.chip.barrier.energy_pJ_per_step.at(edge) + self.chip.monitor.energy_pJ_per_step.at(edge)
        return per_step + float(messages) * self.chip.costs.axon_out.energy_pJ.at(edge)

    def to_monitor(self, edge: Edge, route: Route) -> FloatArray:
        """Messages to the monitor per step and core: sent by the output layer, in proportion to its cores' neurons."""
        neurons = route.placed.neurons
        messages = self.chip.monitor.messages_per_step.at(edge) if route.output else 0.0
        share: FloatArray = messages * neurons / neurons.sum()
        return share

    def terms(self) -> Terms:
        """The numbers that times and energies are made of; the same for every run of a network."""
        chip = self.chip
        storages = {route.storage for route in self.routes}
        used = {name: cost for name, cost in chip.costs if not name.startswith("synop_") or name in storages}
        monitor = {"monitor messages": chip.monitor.messages_per_step, "monitor delay": chip.monitor.delay_steps}
        timed = {name: cost for name, cost in used.items() if self.links is not None or not name.startswith("hop_")}
        times = {f"{spaced(name)} time": cost.time_ns for name, cost in timed.items()}
        times["barrier time"] = chip.barrier.time_ns_by_tiles[1]
        times["management time"] = chip.management.time_ns_per_step
        times["monitor time"] = chip.monitor.time_ns_per_step
        energies = {f"{spaced(name)} energy": cost.energy_pJ for name, cost in used.items()}
        energies["barrier energy"] = chip.barrier.energy_pJ_per_step
        energies["reset energy"] = chip.reset.energy_pJ_per_sample
        energies["monitor energy"] = chip.monitor.energy_pJ_per_step
        return Terms({**times, **monitor}, {**energies, **monitor}, {"static power": chip.static_mW_per_chip})


def _totals(count: Counts) -> list[FloatArray]:
    return [count.fired, count.messages, count.axons, count.synops]


def barrier_ns(barrier: Barrier, tiles: int, edge: Edge) -> float:
    """Time of the barrier with so many tiles in use."""
    known = list(barrier.time_ns_by_tiles)
    prices = [quantity.at(edge) for quantity in barrier.time_ns_by_tiles.values()]
    if barrier.between == "linear":
        return float(np.interp(tiles, known, prices))
    return prices[sum(knot <= tiles for knot in known) - 1]


def spaced(name: str) -> str:
    """A key as it is read: "axon_in" is "axon in"."""
    return name.replace("_", " ")


def unknown_names(terms: dict[str, Quantity]) -> tuple[str, ...]:
    """Names of the unknown terms."""
    return tuple(name for name, quantity in terms.items() if quantity.value is None)


def provenance(terms: dict[str, Quantity]) -> tuple[str, ...]:
    """The provenance of the known terms, sorted."""
    return tuple(sorted({quantity.provenance for quantity in terms.values() if quantity.provenance is not None}))
