"""Where the time and the energy go, by layer and kind of event; what a cutoff saved, and what it could not save.

Time is attributed along the critical path: in each hardware step all cores wait for the slowest, on its slower side,
and its terms add up to the step's time together with the barrier. Where the barrier, the cores and the links of the
mesh work at once (`timing: maximum`), a step belongs to the longest of them alone, and one that a link bounds to the
layers whose messages are on it. Energy is attributed to every event. All of it is
estimated, and its sums are those of `estimate`.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cost.band import NANO, PICO
from spikecut.deploy.cost.estimate import as_chip, placed
from spikecut.deploy.cost.pricing import EDGES, EVENTS, LINK_AXES, Pricer, barrier_ns, provenance, unknown_names
from spikecut.deploy.cost.sample_costs import static_energy_pj
from spikecut.deploy.cost.sums import Bound, BoundSums, ExactSum, step_sums
from spikecut.deploy.cost.traffic import Counts, check_events, link_loads
from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Hardware
from spikecut.deploy.placement.quantities import Edge
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import InputError
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.layers import IntegerNetwork
from spikecut.text import brief

FloatArray = npt.NDArray[np.float64]
PHASES = ("lead-in", "used", "overrun")
"""Per layer: before its first real input; steps that the exit decision used; what it still did until the halt."""


@dataclass(frozen=True)
class Shares:
    """Means per sample, by layer and kind of event, with the edges of the band; float64 [layers, EVENTS] each.

    `shared` holds, [3] (value, low, high) each, what belongs to no layer.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    shared: dict[str, FloatArray]

    def total(self, edge: Edge = "value") -> float:
        """The sum, shared terms included where they are known."""
        index = ("value", "low", "high").index(edge)
        parts = [float(term[index]) for term in self.shared.values() if not np.isnan(term[0])]
        return float(getattr(self, edge).sum()) + sum(parts)


@dataclass(frozen=True)
class CriticalPath:
    """The slowest core or link of each hardware step, at the best figures; [samples, steps].

    Attributes
    ----------
    layer: position of its layer, of a link that with the most messages on it; -1 where a step did not run, and where
    the barrier bounds it. core: its position among the layer's cores; -1 where layer is, and for a link. receiving:
    whether it was receiving, not generating. busy_ns: its time, barrier apart.
    """

    layer: IntArray
    core: IntArray
    receiving: npt.NDArray[np.bool_]
    busy_ns: FloatArray


@dataclass(frozen=True)
class Attribution:
    """Where the mean sample's time and energy go on one chip. Estimated.

    Attributes
    ----------
    layers: names, in the order of the rows of all arrays; columns are EVENTS.
    time_s: seconds on the critical path; shared: barrier, management, monitor.
    energy_j: joules; shared: barrier, monitor, reset, static (NaN where unknown).
    phases_j: joules of each layer's events by PHASES, at the best figures, float64 [layers, 3].
    fill_s: seconds of the steps after the first τ, which fill the pipeline and pass between decision and halt.
    critical: hardware steps in which a core of each layer, or a link full of its messages, held all others up, at the
        best figures, int64 [layers].
    by_link, by_barrier: hardware steps that a link and that the barrier bounded, where both are at work with the cores.
    bounds: what goes on at once in a step, how often each bounded it, and where.
    path: the critical path, where it was kept.
    unknown_time, unknown_energy: terms that nobody has published and that are therefore in no figure here.
    provenance_time, provenance_energy: the provenance of the known terms.
    busy_ns: mean time per step of every core, the slower of its sides, per layer float64 [cores].
    """

    hardware: str
    placement: Placement
    layers: tuple[str, ...]
    time_s: Shares
    energy_j: Shares
    phases_j: FloatArray
    fill_s: float
    critical: IntArray
    by_link: int
    by_barrier: int
    bounds: tuple[Bound, ...]
    path: CriticalPath | None
    busy_ns: tuple[FloatArray, ...]
    unknown_time: tuple[str, ...]
    unknown_energy: tuple[str, ...]
    provenance_time: tuple[str, ...]
    provenance_energy: tuple[str, ...]

    __repr__ = brief


@dataclass(frozen=True)
class CutoffAttribution:
    """What a cutoff saved per mean sample, full run less early-exit run, by layer and kind of event. Estimated.

    Attributes
    ----------
    saved_time_s, saved_energy_j: float64 [layers, EVENTS] at the best figures. A layer may save a negative time where
        the critical path moved to it.
    saved_shared_time_s, saved_shared_energy_j: barrier, static power and the like.
    unsaved_energy_j: joules of the early-exit run that its exit decision did not use: {"lead-in" | "overrun": joules}.
    unsaved_time_s: seconds of its steps after the first τ: filling the pipeline, and between decision and halt.
    unknown: terms that nobody has published and that are therefore in no figure here.
    """

    layers: tuple[str, ...]
    saved_time_s: FloatArray
    saved_energy_j: FloatArray
    saved_shared_time_s: dict[str, float]
    saved_shared_energy_j: dict[str, float]
    unsaved_energy_j: dict[str, float]
    unsaved_time_s: float
    unknown: tuple[str, ...]


def attribute(trace: RunTrace, hardware: Hardware, placement: Placement | None = None) -> Attribution:
    """Attribute the time and energy of a run's mean sample.

    Raises
    ------
    InputError: the trace holds no events. HardwareConfigError: the hardware is no chip.
    CapabilityError: the network does not fit.
    """
    chip = as_chip(hardware)
    check_events(trace)
    network = trace.network
    sums = AttributionSums(network, Pricer.of(network, chip, placed(network, chip, placement)), keep_path=True)
    for part, counts in sums.pricer.chunks(trace):
        sums.add(trace, part, counts)
    return attribution(sums)


def attribution(sums: "AttributionSums") -> Attribution:
    """The attribution of a run, all of whose samples have been added to the sums."""
    pricer, samples = sums.pricer, sums.samples
    chip, cores, steps = pricer.chip, pricer.placement, sums.steps / samples
    order: tuple[Edge, ...] = ("value", "low", "high")
    per_step = {
        "barrier": [sums.waited(edge) * barrier_ns(chip.barrier, cores.tiles, edge) for edge in order],
        "management": [chip.management.time_ns_per_step.at(edge) for edge in order],
        "monitor": [chip.monitor.time_ns_per_step.at(edge) for edge in order],
    }
    terms = pricer.terms()
    nothing = np.nan if terms.no_time else 1.0
    times = {edge: nothing * sums.layers_ns(edge) / samples / NANO for edge in EDGES}
    time_s = Shares(**times, shared={name: nothing * steps * np.array(term) / NANO for name, term in per_step.items()})
    prices = {edge: np.stack([pricer.energy_pj(edge, route) for route in pricer.routes]) for edge in EDGES}
    counted = sums.phases.sum(axis=1) / samples
    joules = {edge: counted * prices[edge] / PICO for edge in EDGES}
    elapsed = {edge: np.array([time_s.total(edge) * NANO]) for edge in EDGES}
    static = static_energy_pj(chip, cores, elapsed)
    barrier = np.array([chip.barrier.energy_pJ_per_step.at(edge) for edge in order])
    shared = {
        "barrier": steps * barrier / PICO,
        "monitor": steps * (np.array([pricer.step_pj(edge) for edge in order]) - barrier) / PICO,
        "reset": np.array([chip.reset.energy_pJ_per_sample.at(edge) for edge in order]) / PICO,
        "static": np.array([static[edge][0] for edge in order]) / PICO,
    }
    phases = (sums.phases * prices["value"][:, None]).sum(axis=2) / samples / PICO
    ran = max(sums.steps, 1)
    return Attribution(
        hardware=chip.name,
        placement=cores,
        layers=tuple(layer.name for layer in sums.network.layers),
        time_s=time_s,
        energy_j=Shares(**joules, shared=shared),
        phases_j=phases,
        fill_s=nothing * float(sums.fill_ns.value()) / samples / NANO,
        critical=sums.critical,
        by_link=sums.by_link,
        by_barrier=sums.by_barrier["value"],
        bounds=sums.bounded(),
        path=None if sums.paths is None else _path(sums.paths),
        busy_ns=tuple(busy.value() / ran for busy in sums.busy_ns),
        unknown_time=unknown_names(terms.time),
        unknown_energy=unknown_names(terms.energy),
        provenance_time=provenance(terms.time),
        provenance_energy=provenance(terms.energy),
    )


def attribute_cutoff(full: Attribution, cut: Attribution) -> CutoffAttribution:
    """What the cutoff saved, from the attributions of the full and the early-exit run of the same samples and chip."""
    if (full.hardware, full.layers) != (cut.hardware, cut.layers):
        raise InputError("the two attributions are of different hardware or networks: they cannot be compared")
    return CutoffAttribution(
        layers=full.layers,
        saved_time_s=full.time_s.value - cut.time_s.value,
        saved_energy_j=full.energy_j.value - cut.energy_j.value,
        saved_shared_time_s=_difference(full.time_s, cut.time_s),
        saved_shared_energy_j=_difference(full.energy_j, cut.energy_j),
        unsaved_energy_j={name: float(cut.phases_j[:, PHASES.index(name)].sum()) for name in ("lead-in", "overrun")},
        unsaved_time_s=cut.fill_s,
        unknown=tuple(dict.fromkeys((*cut.unknown_time, *cut.unknown_energy))),
    )


def _difference(full: Shares, cut: Shares) -> dict[str, float]:
    return {name: float(full.shared[name][0] - cut.shared[name][0]) for name in full.shared}


def _path(parts: list[CriticalPath]) -> CriticalPath:
    names = [each.name for each in fields(CriticalPath)]
    return CriticalPath(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass
class _Slowest:
    """The slowest core of each step so far: its time, what that is made of, and where it is; [samples, steps]."""

    time: FloatArray
    terms: FloatArray  # [samples, steps, EVENTS]
    layer: IntArray
    core: IntArray
    receiving: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "_Slowest":
        """None yet."""
        none, nowhere = np.full(shape, -1.0), np.full(shape, -1)
        return cls(none, np.zeros((*shape, len(EVENTS))), nowhere, nowhere.copy(), np.zeros(shape, dtype=bool))

    def raise_to(self, total: FloatArray, side: dict[str, FloatArray], layer: int, receiving: bool) -> None:
        """Take a layer's cores where one of them is slower: total [samples, steps, cores] and its terms."""
        winner = total.argmax(axis=2)
        time = np.take_along_axis(total, winner[..., None], axis=2)[..., 0]
        better = time > self.time
        found = np.zeros(self.terms.shape)
        for name, term in side.items():
            whole = np.broadcast_to(term, total.shape)
            found[..., EVENTS.index(name)] = np.take_along_axis(whole, winner[..., None], axis=2)[..., 0]
        self.time, self.terms = np.where(better, time, self.time), np.where(better[..., None], found, self.terms)
        self.layer, self.core = np.where(better, layer, self.layer), np.where(better, winner, self.core)
        self.receiving = np.where(better, receiving, self.receiving)


def _bound_by_links(pricer: Pricer, edge: Edge, slowest: _Slowest, counts: list[Counts]) -> list[FloatArray]:
    """Mark the steps that the busiest link bounds.

    Their time, per layer by the number of its messages there, [samples, steps, EVENTS]; 0 in all other steps.
    """
    shares = [np.zeros(slowest.terms.shape) for _ in counts]
    loads = link_loads(counts)
    if pricer.links is None or loads is None or not loads.shape[2]:
        return shares
    per_message = pricer.per_link_ns(edge)
    busiest = (loads * per_message).argmax(axis=2)
    messages = np.take_along_axis(loads, busiest[..., None], axis=2)[..., 0]
    bound = messages * per_message[busiest] > slowest.time
    along_x, along_y = (EVENTS.index(f"hop_{axis}") for axis in LINK_AXES)
    column, most = np.where(pricer.links.along_x[busiest], along_x, along_y), np.zeros(bound.shape)
    for index, (count, share) in enumerate(zip(counts, shares, strict=True)):
        assert count.links is not None
        own = np.take_along_axis(count.links, busiest[..., None], axis=2)[..., 0]
        time = np.where(bound, own * per_message[busiest], 0.0)
        np.put_along_axis(share, column[..., None], time[..., None], axis=2)
        more = bound & (own > most)
        slowest.layer, most = np.where(more, index, slowest.layer), np.where(more, own, most)
    slowest.core, slowest.receiving = np.where(bound, -1, slowest.core), slowest.receiving & ~bound
    slowest.time = np.where(bound, messages * per_message[busiest], slowest.time)
    return shares


class AttributionSums:
    """What is summed up over samples and steps, chunk by chunk; keep_path: the critical path of each as well."""

    def __init__(self, network: IntegerNetwork, pricer: Pricer, keep_path: bool = False) -> None:
        layers = len(pricer.routes)
        self.network, self.pricer, self.longest = network, pricer, network.horizon + network.depth
        self.time_ns = {edge: [ExactSum((len(EVENTS),)) for _ in range(layers)] for edge in EDGES}
        self.phases = np.zeros((layers, len(PHASES), len(EVENTS)))  # events
        self.busy_ns = [ExactSum((len(placed.cores),)) for placed in pricer.placement.layers]
        self.fill_ns = ExactSum()
        self.bounds = BoundSums(pricer, self.longest)
        self.critical = np.zeros(layers, dtype=np.int64)
        self.paths: list[CriticalPath] | None = [] if keep_path else None
        self.samples = self.steps = self.by_link = 0
        self.by_barrier = dict.fromkeys(EDGES, 0)

    def waited(self, edge: Edge) -> float:
        """In what share of the steps the barrier took time of its own."""
        return 1.0 if self.pricer.links is None else self.by_barrier[edge] / max(self.steps, 1)

    def bounded(self) -> tuple[Bound, ...]:
        """What the steps waited for."""
        counts = (int(self.critical.sum()) - self.by_link, self.by_link, self.by_barrier["value"])
        floor = barrier_ns(self.pricer.chip.barrier, self.pricer.placement.tiles, "value")
        return self.bounds.bounds(self.steps, *counts, floor / NANO)

    def layers_ns(self, edge: Edge) -> FloatArray:
        """Nanoseconds on the critical path, [layers, EVENTS]."""
        return np.stack([each.value() for each in self.time_ns[edge]])

    def add(self, run: RunTrace, part: slice, counts: list[Counts]) -> None:
        """Take the samples of one chunk."""
        steps, timesteps = run.hardware_steps[part], run.timesteps[part]
        ran = np.arange(run.events[0].spikes.shape[1]) < steps[:, None]
        for edge in EDGES:
            self._time(edge, counts, ran, timesteps)
        self._count(counts, ran, timesteps)
        self.samples += len(steps)
        self.steps += int(steps.sum())

    def _time(self, edge: Edge, counts: list[Counts], ran: npt.NDArray[np.bool_], timesteps: IntArray) -> None:
        """The critical path at this edge: what bounds each step, and what its time is made of."""
        slowest = _Slowest.of(ran.shape)
        for index, (route, count) in enumerate(zip(self.pricer.routes, counts, strict=True)):
            busy = np.zeros((*ran.shape, len(route.placed.cores)))
            for receiving, side in self.pricer.bounds_ns(edge, route, count):
                total = sum((np.broadcast_to(term, busy.shape) for term in side.values()), np.zeros(busy.shape))
                np.maximum(busy, total, out=busy)
                slowest.raise_to(total, side, index, receiving)
            if edge == "value":
                self.busy_ns[index].add(step_sums(np.where(ran[..., None], busy, 0.0), self.longest))
        if edge == "value":
            self.bounds.add(ran, (slowest.time, slowest.layer, slowest.core), link_loads(counts))
        by_link = _bound_by_links(self.pricer, edge, slowest, counts)
        held = np.zeros(ran.shape, dtype=bool)
        if self.pricer.links is not None:
            held = barrier_ns(self.pricer.chip.barrier, self.pricer.placement.tiles, edge) >= slowest.time
            self.by_barrier[edge] += int((held & ran).sum())
        bound = ran & ~held
        for index in range(len(counts)):
            mine = bound & (slowest.layer == index) & (slowest.core >= 0)
            here = np.where(mine[..., None], slowest.terms, 0.0) + np.where(bound[..., None], by_link[index], 0.0)
            self.time_ns[edge][index].add(step_sums(here, self.longest))
        if edge == "value":
            after = ran & (np.arange(ran.shape[1]) >= timesteps[:, None])
            self.fill_ns.add(step_sums(np.where(after, self.pricer.step_ns(edge, slowest.time), 0.0), self.longest))
            layer, core = (np.where(bound, found, -1) for found in (slowest.layer, slowest.core))
            self.critical += np.bincount(layer[layer >= 0], minlength=len(counts))
            self.by_link += int((bound & (core < 0)).sum())
            if self.paths is not None:
                taken = (layer, core, slowest.receiving & bound, np.where(ran, slowest.time, 0.0))
                self.paths.append(CriticalPath(*taken))

    def _count(self, counts: list[Counts], ran: npt.NDArray[np.bool_], timesteps: IntArray) -> None:
        """Events by layer and phase; what arrives belongs to the step of the layer that sent it, one earlier."""
        step, used = np.arange(ran.shape[1]), timesteps[:, None]
        arriving = np.array([name in ("axon_in", "synapse") for name in EVENTS])
        for index, (route, count) in enumerate(zip(self.pricer.routes, counts, strict=True)):
            events = self.pricer.events(count, route, ran)
            for begin, columns in ((index + 1, ~arriving), (index, arriving)):
                phase = np.where(step < begin, 0, np.where(step < begin + used, 1, 2))
                for number in range(len(PHASES)):
                    self.phases[index, number, columns] += events[(phase == number) & ran][:, columns].sum(axis=0)
