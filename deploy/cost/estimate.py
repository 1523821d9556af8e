"""Counts × hardware file → seconds and joules per sample. An estimate with provenance.

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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cost.band import NANO, PICO, Band
from spikecut.deploy.cost.operations import input_skip_operations, own_operations
from spikecut.deploy.cost.pricing import EDGES, EVENTS, Gatherer, Pricer, provenance, spaced, unknown_names
from spikecut.deploy.cost.traffic import Counts, check_events
from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.placement.capabilities import check_capabilities, missing_features
from spikecut.deploy.placement.hardware import Chip, Edge, Hardware, OperationProfile, Quantity, load_hardware
from spikecut.deploy.placement.place import Placement, place
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import CapabilityError, HardwareConfigError, InputError
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.connectivity import skip_paths
from spikecut.text import brief

FloatArray = npt.NDArray[np.float64]
HOST = "host input and output"
DELAY = "monitor delay"
LINKS = "links between chips"
LEFT_OUT = Quantity(value=None, low=None, high=None, source="left out on purpose", provenance=None)


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
    bare_latency_s, bare_energy_j: the values without monitor and reset, which a run to the horizon can do without.
    unknown_time, unknown_dynamic, unknown_static: terms that the hardware file does not know, or that could not be
        charged. A figure with unknown terms is "at least the known part", and its band is that of the known part.
    provenance_time, provenance_dynamic, provenance_static: the provenance of the known terms.
    assumptions: what had to be assumed, a line each.
    hypothetical: features that the network needs and this hardware lacks; empty where the network can run.
    placement: the cores; None where the hardware has none.
    source: the hardware file itself.
    """

    hardware: str
    title: str
    steps: IntArray
    latency_s: Band
    dynamic_energy_j: Band
    static_energy_j: Band
    energy_j: Band
    bare_latency_s: FloatArray
    bare_energy_j: FloatArray
    unknown_time: tuple[str, ...]
    unknown_dynamic: tuple[str, ...]
    unknown_static: tuple[str, ...]
    provenance_time: tuple[str, ...]
    provenance_dynamic: tuple[str, ...]
    provenance_static: tuple[str, ...]
    assumptions: tuple[str, ...]
    hypothetical: tuple[str, ...]
    placement: Placement | None
    source: Hardware

    __repr__ = brief

    def __str__(self) -> str:
        """Mean latency and energy per sample with their bands, and what they leave out."""
        lines = [
            f"{self.hardware}, {self.steps.size} samples, estimated, mean per sample:",
            f"latency {self.latency_s.in_words('s', bool(self.unknown_time))}, "
            f"energy {self.energy_j.in_words('J', bool(self.unknown_energy))}",
        ]
        if self.unknown_terms:
            lines.append(f"not included, since unknown: {', '.join(self.unknown_terms)}")
        if self.hypothetical:
            lines.append(f"hypothetical: this hardware lacks {', '.join(self.hypothetical)}")
        return "\n".join(lines)

    @property
    def unknown_energy(self) -> tuple[str, ...]:
        """The unknown terms of the total energy."""
        return tuple(dict.fromkeys((*self.unknown_dynamic, *self.unknown_static)))

    @property
    def provenance_energy(self) -> tuple[str, ...]:
        """The provenance of the total energy."""
        return tuple(sorted({*self.provenance_dynamic, *self.provenance_static}))

    @property
    def unknown_terms(self) -> tuple[str, ...]:
        """All unknown terms, each once; sums may be compared only where these are the same."""
        return tuple(dict.fromkeys(self.unknown_time + self.unknown_energy))


def estimate(
    trace: RunTrace,
    hardware: str | Path | Hardware,
    hypothetical: bool = False,
    placement: Placement | None = None,
) -> CostEstimate:
    """Latency and energy of every sample of a run on this hardware.

    Parameters
    ----------
    trace: a run with events (record "events" or "all"); with "all" layers on several cores are counted exactly.
    hardware: a name of `hardware_names()`, a path to a hardware file, or what load_hardware returned.
    hypothetical: estimate even if the hardware lacks a feature of the network; the result says so.
    placement: the cores to use; by default the fewest.

    Raises
    ------
    InputError: the trace holds no events, or events that contradict each other; a placement of another network.
    CapabilityError: the hardware lacks a feature, or the network does not fit on its cores.
    """
    costs = costs_of(trace, hardware, hypothetical, placement)
    costs.add(0, trace)
    return costs.estimate()


def costs_of(
    trace: RunTrace,
    hardware: str | Path | Hardware,
    hypothetical: bool = False,
    placement: Placement | None = None,
) -> "ChipCosts | OperationCosts":
    """What `estimate` sums up, to be given the run's messages part by part; the trace itself needs counts only.

    Raises: see `estimate`.
    """
    chip = hardware if isinstance(hardware, Hardware) else load_hardware(hardware)
    check_events(trace)
    missing = check_capabilities(trace.network, chip)
    if missing and not hypothetical:
        raise CapabilityError(f"{missing_features(missing)} ({chip.name})")
    if isinstance(chip, OperationProfile):
        return OperationCosts(trace, chip)
    cores = placed(trace, as_chip(chip), placement)
    lacking = tuple(refusal.feature for refusal in missing)
    return ChipCosts(trace, Pricer.of(trace, as_chip(chip), cores), lacking)


def as_chip(hardware: Hardware) -> Chip:
    """The hardware as a chip; HardwareConfigError if it is none."""
    if not isinstance(hardware, Chip):
        raise HardwareConfigError(f"{hardware.name}: neither a chip nor a list of operations: load it by its name")
    return hardware


def placed(trace: RunTrace, chip: Chip, placement: Placement | None) -> Placement:
    """The given placement, checked against the run's network, or the one with the fewest cores."""
    if placement is None:
        return place(trace.network, chip)
    have = [(layer.name, int(layer.neurons.sum())) for layer in placement.layers]
    want = [(layer.name, int(np.prod(layer.output_shape))) for layer in trace.network.layers]
    if have != want or placement.hardware != chip.name:
        raise InputError(f"this placement is not of {trace.network.name} on {chip.name}: place it anew")
    return placement


class OperationCosts:
    """Synaptic operations alone: multiply-accumulates where the input is graded, accumulates everywhere else."""

    def __init__(self, trace: RunTrace, profile: OperationProfile) -> None:
        self.trace, self.profile = trace, profile
        self.binary = np.zeros(trace.samples, dtype=np.int64)
        self.graded = np.zeros(trace.samples, dtype=np.int64)
        self.assumptions: tuple[str, ...] = ()

    def add(self, first: int, part: RunTrace) -> None:
        """Take some samples with their messages, from sample `first` of the run on."""
        own, assumption = own_operations(part)
        skipped, more = input_skip_operations(part)
        here = slice(first, first + part.samples)
        self.graded[here] = part.events[1].synops.sum(axis=1) - own + skipped
        self.binary[here] = own + sum(events.synops.sum(axis=1) for events in part.events[2:]) - skipped
        self.assumptions = assumption + more

    def estimate(self) -> CostEstimate:
        """The estimate, once all samples have been added."""
        accumulate = self.profile.accumulate.energy_pJ
        used = {"accumulate energy": accumulate}
        if self.trace.network.input.bits > 0:
            used["multiply-accumulate energy"] = self.profile.multiply_accumulate.energy_pJ
        price = list(used.values())[-1]
        energy = Band.of(
            {edge: self.graded * price.at(edge) + self.binary * accumulate.at(edge) for edge in EDGES}, PICO
        )
        unknown = Band.of({edge: np.full(self.trace.samples, np.nan) for edge in EDGES}, PICO)
        return CostEstimate(
            hardware=self.profile.name,
            title=self.profile.title,
            steps=self.trace.hardware_steps,
            latency_s=unknown,
            dynamic_energy_j=energy,
            static_energy_j=unknown,
            energy_j=energy,
            bare_latency_s=unknown.value,
            bare_energy_j=energy.value,
            unknown_time=("all of the time",),
            unknown_dynamic=(*unknown_names(used), "memory", "neuron updates", "messages", HOST),
            unknown_static=("static power",),
            provenance_time=(),
            provenance_dynamic=provenance(used),
            provenance_static=(),
            assumptions=("arithmetic only: one operation per synaptic event", *self.assumptions),
            hypothetical=(),
            placement=None,
            source=self.profile,
        )


class ChipCosts:
    """A run on a chip's cores, from its counts and, part by part, its messages.

    gatherers: whatever else is summed up over the same events per core.
    """

    def __init__(self, trace: RunTrace, pricer: Pricer, missing: tuple[str, ...]) -> None:
        self.trace, self.pricer, self.missing = trace, pricer, missing
        chip = pricer.chip
        self.priced = self.bare = _Prices(trace, pricer)
        self.gatherers: list[Gatherer] = [self.priced]
        monitor = (*dict(chip.monitor).values(), chip.reset.energy_pJ_per_sample)
        if any(quantity.value is not None for quantity in monitor):
            self.bare = _Prices(trace, Pricer(_without_monitor(chip), pricer.placement, pricer.routes))
            self.gatherers.append(self.bare)
        self.uneven: tuple[str, ...] = ()

    def add(self, first: int, part: RunTrace) -> None:
        """Take some samples with their messages, from sample `first` of the run on."""
        for chunk, counts in self.pricer.chunks(part):
            for gatherer in self.gatherers:
                gatherer.add(slice(first + chunk.start, first + chunk.stop), counts)
        said = (route.assumption(part.events, index) for index, route in enumerate(self.pricer.routes))
        self.uneven = tuple(line for line in said if line)

    def estimate(self) -> CostEstimate:
        """The estimate, once all samples have been added."""
        trace, chip, placement, terms = self.trace, self.pricer.chip, self.pricer.placement, self.pricer.terms()
        priced = self.priced.bands()
        bare = priced if self.bare is self.priced else self.bare.bands()
        left_out = ((LINKS,) if placement.chips > 1 else ()) + (HOST,)
        if _other_delay(trace, chip):
            left_out = (DELAY, *left_out)
        return CostEstimate(
            hardware=chip.name,
            title=chip.title,
            steps=trace.hardware_steps,
            latency_s=priced["latency"],
            dynamic_energy_j=priced["dynamic"],
            static_energy_j=priced["static"],
            energy_j=priced["energy"],
            bare_latency_s=bare["latency"].value,
            bare_energy_j=bare["energy"].value,
            unknown_time=(*unknown_names(terms.time), *left_out),
            unknown_dynamic=(*unknown_names(terms.dynamic), *left_out),
            unknown_static=(*unknown_names(terms.static), *left_out),
            provenance_time=provenance(terms.time),
            provenance_dynamic=provenance(terms.dynamic),
            provenance_static=provenance(terms.static),
            assumptions=_assumptions(trace, self.pricer, self.uneven),
            hypothetical=self.missing,
            placement=placement,
            source=chip,
        )


def _without_monitor(chip: Chip) -> Chip:
    costs = ("messages_per_step", "time_ns_per_step", "energy_pJ_per_step")
    monitor = chip.monitor.model_copy(update=dict.fromkeys(costs, LEFT_OUT))
    reset = chip.reset.model_copy(update={"energy_pJ_per_sample": LEFT_OUT})
    return chip.model_copy(update={"monitor": monitor, "reset": reset})


class _Prices:
    """Latency, dynamic, static and total energy of every sample, gathered chunk by chunk."""

    def __init__(self, trace: RunTrace, pricer: Pricer) -> None:
        self.steps, self.longest, self.pricer = trace.hardware_steps, trace.events[0].spikes.shape[1], pricer
        self.time_ns = {edge: np.zeros(trace.samples) for edge in EDGES}
        self.counted = np.zeros((trace.samples, len(pricer.routes), len(EVENTS)))

    def add(self, part: slice, counts: list[Counts]) -> None:
        """Take the samples of one chunk."""
        pricer = self.pricer
        ran = np.arange(self.longest) < self.steps[part, None]
        for edge in EDGES:
            slowest = np.zeros(ran.shape)
            for route, count in zip(pricer.routes, counts, strict=True):
                for side in pricer.slowest_ns(edge, route, count):
                    np.maximum(slowest, side, out=slowest)
            self.time_ns[edge][part] = np.where(ran, slowest + pricer.fixed_ns(edge), 0.0).sum(axis=1)
        for index, (route, count) in enumerate(zip(pricer.routes, counts, strict=True)):
            self.counted[part, index] = pricer.events(count, route, ran).sum(axis=1)

    def bands(self) -> dict[str, Band]:
        """The sums, once all samples have been added."""
        pricer, chip, time_ns = self.pricer, self.pricer.chip, self.time_ns
        dynamic_pj = {}
        for edge in EDGES:
            shared = chip.reset.energy_pJ_per_sample.at(edge) + self.steps * pricer.step_pj(edge)
            prices = np.stack([pricer.energy_pj(edge, route) for route in pricer.routes])
            dynamic_pj[edge] = shared + (self.counted * prices).sum(axis=(1, 2))
        if pricer.terms().no_time:
            time_ns = {edge: np.full(len(self.steps), np.nan) for edge in EDGES}
        static_pj = static_energy_pj(chip, pricer.placement, time_ns)
        known = not np.isnan(static_pj["value"]).any()
        total_pj = {edge: dynamic_pj[edge] + (static_pj[edge] if known else 0) for edge in EDGES}
        return {
            "latency": Band.of(time_ns, NANO),
            "dynamic": Band.of(dynamic_pj, PICO),
            "static": Band.of(static_pj, PICO),
            "energy": Band.of(total_pj, PICO),
        }


def static_energy_pj(chip: Chip, placement: Placement, time_ns: Mapping[Edge, FloatArray]) -> dict[Edge, FloatArray]:
    """Static power of the chips in use × time (mW · ns = pJ); NaN where the power is unknown."""
    if chip.static_mW_per_chip.value is None:
        return {edge: np.full_like(time_ns[edge], np.nan) for edge in EDGES}
    return {edge: placement.chips * chip.static_mW_per_chip.at(edge) * time_ns[edge] for edge in EDGES}


def _assumptions(trace: RunTrace, pricer: Pricer, uneven: tuple[str, ...]) -> tuple[str, ...]:
    chip, placement = pricer.chip, pricer.placement
    lines = ["every neuron of a core in use is updated at every step", "messages take no time on the mesh"]
    if chip.management.time_ns_per_step.value == 0:
        lines.append("no embedded management between steps")
    if chip.barrier.between == "linear" and placement.tiles not in chip.barrier.time_ns_by_tiles:
        beyond = placement.tiles > max(chip.barrier.time_ns_by_tiles)
        how = f"taken as that of {max(chip.barrier.time_ns_by_tiles)}" if beyond else "interpolated"
        lines.append(f"barrier for {placement.tiles} tiles {how}")
    if skip_paths(trace.network):
        lines.append("a skip waits as a delay of its synapses: no core, time or energy is charged for its relay")
    if trace.mode == "streaming":
        lines.append("each sample of the stream is charged as if it ran alone")
    lines += [f"{spaced(name)} unknown, so not checked" for name in placement.unchecked]
    lines += uneven
    if _other_delay(trace, chip):
        lines.append(
            f"the run halted {sorted(_delays(trace))} steps after the decision, this monitor takes "
            f"{chip.monitor.delay_steps.value:g}: not charged, for want of the full run (--also-full)"
        )
    return tuple(lines)


def _other_delay(trace: RunTrace, chip: Chip) -> bool:
    """Whether this chip's monitor is known to halt later than the run did."""
    delays = chip.monitor.delay_steps.edges
    return delays is not None and bool(_delays(trace) - set(delays))


def _delays(trace: RunTrace) -> set[int]:
    """d as it shows in the samples that were halted before the horizon: steps from the decision to the halt."""
    cut = np.array([reason is ExitReason.CUTOFF for reason in trace.reason], dtype=bool)
    cut &= trace.hardware_steps < trace.horizon + trace.depth
    return {int(delay) for delay in (trace.hardware_steps - trace.depth - trace.timesteps)[cut]}
