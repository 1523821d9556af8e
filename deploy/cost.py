"""Counts × hardware file → seconds and joules per sample, and what a cutoff saves. An estimate with provenance.

Per core and hardware step (N neurons, U updated, F fired, M messages out, A messages in, S synaptic operations):

    gen    = N t_access + U t_update + F t_spike + M t_axon_out
    recv   = A t_axon_in + S t_synop
    t_step = max(max gen, max recv) + t_barrier(tiles) + t_mgmt + t_monitor
    E      = Σ (N e_access + U e_update + F e_spike + M e_axon_out + A e_axon_in + S e_synop) + hops
             + e_barrier + e_monitor per step + P_static Σ t_step + E_reset

U = N at every step: a trace does not say which neurons changed, and with a leak or a bias all of them do. Messages are
received in the step in which they are sent. See docs/cost_model.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from spikecut.deploy.hardware import Barrier, Chip, Edge, Hardware, OperationProfile, Quantity, load_hardware
from spikecut.deploy.placement import Placement, check_capabilities, place
from spikecut.deploy.trace import ExitReason, RunTrace
from spikecut.deploy.traffic import Counts, Messages, Route, check_events, routes_of
from spikecut.errors import CapabilityError, HardwareConfigError, InputError
from spikecut.export.graph import IntArray

FloatArray = npt.NDArray[np.float64]
EDGES: tuple[Edge, ...] = ("low", "value", "high")
CHUNK = 2**22  # elements of a per-core count held at once
PICO = 1e12
NANO = 1e9
HOST = "host input and output"


@dataclass(frozen=True)
class Band:
    """A figure per sample with the edges of its band, float64 [N]; NaN where unknown."""

    value: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class CostEstimate:
    """What the samples of a run would take on this hardware. An estimate, never a measurement.

    Attributes
    ----------
    hardware, title: name of the hardware file and its title.
    steps: hardware steps charged, int64 [N]: exactly those that ran.
    latency_s: seconds per sample; NaN where the hardware file knows no time at all.
    dynamic_energy_j: joules of the events, E_reset included.
    static_energy_j: static power × latency; NaN where either is unknown.
    energy_j: dynamic plus static; dynamic alone where static is unknown.
    unknown_time, unknown_energy: terms that the hardware file does not know. A figure with unknown terms is "at least
        the known part", and its band is that of the known part.
    assumptions: what had to be assumed, in plain words.
    hypothetical: features that the network needs and this hardware lacks; empty where the network can run.
    placement: the cores; None where the hardware has none.
    """

    hardware: str
    title: str
    steps: IntArray
    latency_s: Band
    dynamic_energy_j: Band
    static_energy_j: Band
    energy_j: Band
    unknown_time: tuple[str, ...]
    unknown_energy: tuple[str, ...]
    assumptions: tuple[str, ...]
    hypothetical: tuple[str, ...]
    placement: Placement | None

    @property
    def unknown_terms(self) -> tuple[str, ...]:
        """All unknown terms, each once; sums may be compared only where these are the same."""
        return tuple(dict.fromkeys(self.unknown_time + self.unknown_energy))


def estimate(trace: RunTrace, hardware: str | Path | Hardware, hypothetical: bool = False) -> CostEstimate:
    """Latency and energy of every sample of a run on this hardware.

    Parameters
    ----------
    trace: a run with events (record "events" or "all"); with "all" layers on several cores are counted exactly.
    hardware: a name of `hardware_names()`, a path to a hardware file, or what load_hardware returned.
    hypothetical: estimate even if the hardware lacks a feature of the network; the result says so.

    Raises
    ------
    InputError: the trace holds no events, or events that contradict each other.
    CapabilityError: the hardware lacks a feature, or the network does not fit on its cores.
    """
    chip = hardware if isinstance(hardware, Hardware) else load_hardware(hardware)
    check_events(trace)
    missing = tuple(check_capabilities(trace.network, chip))
    if missing and not hypothetical:
        raise CapabilityError(f"cannot run here: {', '.join(missing)} ({chip.name})")
    if isinstance(chip, OperationProfile):
        return _estimate_operations(trace, chip)
    if not isinstance(chip, Chip):
        raise HardwareConfigError(f"{chip.name}: neither a chip nor a list of operations: load it with load_hardware")
    return _estimate_chip(trace, chip, missing)


def _estimate_operations(trace: RunTrace, profile: OperationProfile) -> CostEstimate:
    """Synaptic operations alone: multiply-accumulates where the input is graded, accumulates everywhere else."""
    graded = trace.network.input.bits > 0
    first, others = trace.events[1].synops.sum(axis=1), sum(events.synops.sum(axis=1) for events in trace.events[2:])
    used = {"accumulate energy": profile.accumulate.energy_pJ}
    if graded:
        used["multiply-accumulate energy"] = profile.multiply_accumulate.energy_pJ
    price = list(used.values())[-1]
    picojoules = {edge: first * price.at(edge) + others * profile.accumulate.energy_pJ.at(edge) for edge in EDGES}
    unknown = _band({edge: np.full(trace.samples, np.nan) for edge in EDGES}, PICO)
    return CostEstimate(
        hardware=profile.name,
        title=profile.title,
        steps=trace.hardware_steps,
        latency_s=unknown,
        dynamic_energy_j=_band(picojoules, PICO),
        static_energy_j=unknown,
        energy_j=_band(picojoules, PICO),
        unknown_time=("all of the time",),
        unknown_energy=(*_nulls(used), "memory", "neuron updates", "messages", "static power", HOST),
        assumptions=("arithmetic only: one operation per synaptic event",),
        hypothetical=(),
        placement=None,
    )


def _estimate_chip(trace: RunTrace, chip: Chip, missing: tuple[str, ...]) -> CostEstimate:
    placement = place(trace.network, chip)
    routes = routes_of(trace.network, placement)
    longest = trace.events[0].spikes.shape[1]
    chunk = max(1, CHUNK // (max(1, longest) * max(len(placed.cores) for placed in placement.layers)))
    time_ns = {edge: np.zeros(trace.samples) for edge in EDGES}
    dynamic_pj = {edge: np.zeros(trace.samples) for edge in EDGES}
    for start in range(0, trace.samples, chunk):
        part = slice(start, start + chunk)
        messages = [Messages(events, part) for events in trace.events]
        counts = [route.counts(messages[i], messages[i + 1]) for i, route in enumerate(routes)]
        ran = np.arange(longest) < trace.hardware_steps[part, None]
        for edge in EDGES:
            time_ns[edge][part] = _time_ns(chip, edge, placement, routes, counts, ran)
            dynamic_pj[edge][part] = _dynamic_pj(chip, edge, routes, counts, ran)
    times, energies = _terms(chip, routes)
    if all(quantity.value is None for quantity in times.values()):
        time_ns = {edge: np.full(trace.samples, np.nan) for edge in EDGES}
    if chip.static_mW_per_chip.value is None:
        static_pj = {edge: np.full(trace.samples, np.nan) for edge in EDGES}
    else:
        power_mw = {edge: placement.chips * chip.static_mW_per_chip.at(edge) for edge in EDGES}
        static_pj = {edge: power_mw[edge] * time_ns[edge] for edge in EDGES}
    known = not np.isnan(static_pj["value"]).any()
    total_pj = {edge: dynamic_pj[edge] + (static_pj[edge] if known else 0) for edge in EDGES}
    between_chips = ("links between chips",) if placement.chips > 1 else ()
    return CostEstimate(
        hardware=chip.name,
        title=chip.title,
        steps=trace.hardware_steps,
        latency_s=_band(time_ns, NANO),
        dynamic_energy_j=_band(dynamic_pj, PICO),
        static_energy_j=_band(static_pj, PICO),
        energy_j=_band(total_pj, PICO),
        unknown_time=(*_nulls(times), *between_chips, HOST),
        unknown_energy=(*_nulls(energies), *between_chips, HOST),
        assumptions=_assumptions(trace, chip, routes, placement),
        hypothetical=missing,
        placement=placement,
    )


def _band(edges: dict[Edge, FloatArray], divisor: float) -> Band:
    return Band(edges["value"] / divisor, edges["low"] / divisor, edges["high"] / divisor)


def _time_ns(
    chip: Chip, edge: Edge, placement: Placement, routes: list[Route], counts: list[Counts], ran: npt.NDArray[np.bool_]
) -> FloatArray:
    """Σ t_step over the steps that ran, float64 [samples]."""
    time = {name: cost.time_ns.at(edge) for name, cost in chip.costs}
    slowest = np.zeros(ran.shape)
    for route, count in zip(routes, counts, strict=True):
        neurons = route.placed.neurons
        messages = count.messages + _to_monitor(chip, edge, route)
        resting = neurons * time["neuron_access"] + neurons * time["neuron_update"]
        generating = resting + count.fired * time["spike"] + messages * time["axon_out"]
        receiving = count.axons * time["axon_in"] + count.synops * time[route.storage]
        slowest = np.maximum(slowest, np.maximum(generating, receiving).max(axis=2))
    fixed = _barrier_ns(chip.barrier, placement.tiles, edge)
    fixed += chip.management.time_ns_per_step.at(edge) + chip.monitor.time_ns_per_step.at(edge)
    total: FloatArray = np.where(ran, slowest + fixed, 0.0).sum(axis=1)
    return total


def _dynamic_pj(
    chip: Chip, edge: Edge, routes: list[Route], counts: list[Counts], ran: npt.NDArray[np.bool_]
) -> FloatArray:
    """Σ E_dyn over the steps that ran, plus E_reset, float64 [samples]."""
    energy = {name: cost.energy_pJ.at(edge) for name, cost in chip.costs}
    steps = ran.sum(axis=1)
    total: FloatArray = np.full(len(ran), chip.reset.energy_pJ_per_sample.at(edge))
    total += steps * (chip.barrier.energy_pJ_per_step.at(edge) + chip.monitor.energy_pJ_per_step.at(edge))
    for route, count in zip(routes, counts, strict=True):
        neurons = int(route.placed.neurons.sum())
        messages = count.messages.sum(axis=(1, 2)) + steps * _to_monitor(chip, edge, route).sum()
        hops = count.hops.sum(axis=1)
        total += steps * neurons * (energy["neuron_access"] + energy["neuron_update"])
        total += count.fired.sum(axis=(1, 2)) * energy["spike"] + messages * energy["axon_out"]
        total += count.axons.sum(axis=(1, 2)) * energy["axon_in"]
        total += count.synops.sum(axis=(1, 2)) * energy[route.storage]
        total += hops[:, 0] * energy["hop_east_west"] + hops[:, 1] * energy["hop_north_south"]
    return total


def _to_monitor(chip: Chip, edge: Edge, route: Route) -> FloatArray:
    """Messages to the monitor per step and core: sent by the output layer, in proportion to its cores' neurons."""
    neurons = route.placed.neurons
    messages = chip.monitor.messages_per_step.at(edge) if route.following is None else 0.0
    share: FloatArray = messages * neurons / neurons.sum()
    return share


def _barrier_ns(barrier: Barrier, tiles: int, edge: Edge) -> float:
    known = list(barrier.time_ns_by_tiles)
    prices = [quantity.at(edge) for quantity in barrier.time_ns_by_tiles.values()]
    if barrier.between == "linear":
        return float(np.interp(tiles, known, prices))
    return prices[sum(knot <= tiles for knot in known) - 1]


def _terms(chip: Chip, routes: list[Route]) -> tuple[dict[str, Quantity], dict[str, Quantity]]:
    """The numbers that times and energies are made of, by name; the same for every run of a network."""
    storages = {route.storage for route in routes}
    used = {name: cost for name, cost in chip.costs if not name.startswith("synop_") or name in storages}
    monitor = {"monitor messages": chip.monitor.messages_per_step, "monitor delay": chip.monitor.delay_steps}
    times = {f"{_words(name)} time": cost.time_ns for name, cost in used.items() if not name.startswith("hop_")}
    times["barrier time"] = chip.barrier.time_ns_by_tiles[1]
    times["management time"] = chip.management.time_ns_per_step
    times["monitor time"] = chip.monitor.time_ns_per_step
    energies = {f"{_words(name)} energy": cost.energy_pJ for name, cost in used.items()}
    energies["barrier energy"] = chip.barrier.energy_pJ_per_step
    energies["static power"] = chip.static_mW_per_chip
    energies["reset energy"] = chip.reset.energy_pJ_per_sample
    energies["monitor energy"] = chip.monitor.energy_pJ_per_step
    return {**times, **monitor}, {**energies, **monitor}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _nulls(terms: dict[str, Quantity]) -> tuple[str, ...]:
    return tuple(name for name, quantity in terms.items() if quantity.value is None)


def _assumptions(trace: RunTrace, chip: Chip, routes: list[Route], placement: Placement) -> tuple[str, ...]:
    lines = ["every neuron of a core in use is updated at every step", "messages take no time on the mesh"]
    if chip.management.time_ns_per_step.value == 0:
        lines.append("no embedded management between steps")
    if chip.barrier.between == "linear" and placement.tiles not in chip.barrier.time_ns_by_tiles:
        lines.append(f"barrier for {placement.tiles} tiles interpolated")
    lines += [f"{_words(name)} unknown, so not checked" for name in placement.unchecked]
    for index, route in enumerate(routes):
        line = route.assumption(trace.events[index], trace.events[index + 1])
        lines += [line] if line else []
    delay, ran = chip.monitor.delay_steps.value, _delays(trace)
    if delay is not None and ran - {int(delay)}:
        lines.append(f"the run halted {sorted(ran)} steps after the verdict, this monitor needs {delay}: run again")
    return tuple(lines)


def _delays(trace: RunTrace) -> set[int]:
    """d as it shows in the samples that were halted before the horizon: steps from the verdict to the halt."""
    cut = np.array([reason is ExitReason.CUTOFF for reason in trace.reason], dtype=bool)
    cut &= trace.hardware_steps < trace.horizon + trace.depth
    return {int(delay) for delay in (trace.hardware_steps - trace.depth - trace.timesteps)[cut]}


@dataclass(frozen=True)
class Ratio:
    """Mean of the cut run over mean of the full run.

    low and high: the smallest and largest of the ratios with every constant at its low edge, value or high edge. The
    constants are the same in both runs, so the edges are not crossed: a sensitivity, no bound. NaN where unknown.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Savings:
    """The three ratios of a cutoff, cut over full, always together: 1 saves nothing.

    Attributes
    ----------
    naive: {"steps": mean τ / T}, the literature's.
    isolated: {"steps": mean (min(τ + d, T) + P) / (T + P)}, one sample alone; and per hardware
        {"latency" | "energy": Ratio of the runs that were made, None where unknown}.
    streaming: {"steps": mean min(τ + P + d, T) / T}, samples fed back to back; per hardware None, see streaming_reason.
    break_even: per hardware what a monitor may cost in each step of the cut run, {"time_ns" | "energy_pJ": number},
        before the mean time (energy) saved is gone, had the full run no monitor.
    unknown_terms: per hardware the terms that both estimates lack: the ratios are those of the known parts.
    notes: in plain words, what to keep in mind.
    """

    naive: dict[str, float]
    isolated: dict[str, float | dict[str, Ratio | None]]
    streaming: dict[str, float | dict[str, None]]
    streaming_reason: str
    break_even: dict[str, dict[str, float | None]]
    unknown_terms: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]


def savings(
    full: RunTrace, cut: RunTrace, costs: Mapping[str, tuple[CostEstimate, CostEstimate]] = MappingProxyType({})
) -> Savings:
    """What the cutoff saved, from a full run and a cut run of the same samples.

    Parameters
    ----------
    costs: hardware name → the estimates of the full and of the cut run, in this order.

    Raises
    ------
    InputError: the runs are not of the same network and number of samples, `full` is not a full run, or two estimates
        are of different hardware, of other runs, or lack different terms.
    """
    horizon, depth = full.horizon, full.depth
    if (full.samples, horizon, full.network.name, depth) != (cut.samples, cut.horizon, cut.network.name, cut.depth):
        raise InputError("full and cut run differ in network, horizon or samples: run the same samples twice")
    if not full.samples or (full.timesteps != horizon).any() or (full.hardware_steps != horizon + depth).any():
        raise InputError("the full run must use all T timesteps of at least one sample: run it without a policy")
    if (cut.hardware_steps < cut.timesteps + depth).any() or (cut.hardware_steps > horizon + depth).any():
        raise InputError("the cut run's hardware steps do not fit its timesteps: expected min(τ + d, T) + P")
    streaming = np.minimum(cut.hardware_steps, horizon)  # = min(τ + P + d, T), whatever d the run had
    notes = []
    if (streaming == horizon).all():
        notes.append("the cutoff saves no throughput here: back to back, samples start every T steps anyway")
    result = Savings(
        naive={"steps": float(cut.timesteps.mean()) / horizon},
        isolated={"steps": float(cut.hardware_steps.mean()) / (horizon + depth)},
        streaming={"steps": float(streaming.mean()) / horizon},
        streaming_reason="no streamed run was made: neighbouring samples share steps, which single runs do not show",
        break_even={},
        unknown_terms={},
        notes=(),
    )
    for name, (full_cost, cut_cost) in costs.items():
        _check_pair(full, cut, full_cost, cut_cost)
        latency, time_ns = _compare(full_cost.latency_s, cut_cost.latency_s, cut_cost.steps, NANO)
        energy, energy_pj = _compare(full_cost.energy_j, cut_cost.energy_j, cut_cost.steps, PICO)
        result.isolated[name] = {"latency": latency, "energy": energy}
        result.streaming[name] = {"latency": None, "energy": None}
        result.break_even[name] = {"time_ns": time_ns, "energy_pJ": energy_pj}
        result.unknown_terms[name] = cut_cost.unknown_terms
        if cut_cost.hypothetical:
            notes.append(f"hypothetical: {name} lacks {', '.join(cut_cost.hypothetical)}")
    return replace(result, notes=tuple(notes))


def _check_pair(full: RunTrace, cut: RunTrace, full_cost: CostEstimate, cut_cost: CostEstimate) -> None:
    if full_cost.hardware != cut_cost.hardware or full_cost.unknown_terms != cut_cost.unknown_terms:
        raise InputError("the two estimates are of different hardware or lack different terms: they cannot be compared")
    for run, cost in ((full, full_cost), (cut, cut_cost)):
        if not np.array_equal(run.hardware_steps, cost.steps):
            raise InputError("an estimate belongs to another run: estimate both runs again, the full one first")


def _compare(full: Band, cut: Band, steps: IntArray, units: float) -> tuple[Ratio | None, float | None]:
    """Ratio of the means, and what each step of the cut run may cost more before nothing is saved."""
    if np.isnan(full.value).any() or not full.value.any():
        return None, None
    means = [(float(getattr(cut, edge).mean()), float(getattr(full, edge).mean())) for edge in EDGES]
    low, value, high = (over / under if under else np.nan for over, under in means)
    ratio = Ratio(value, float(np.min([low, value, high])), float(np.max([low, value, high])))
    return ratio, float((full.value.sum() - cut.value.sum()) * units / steps.sum())
