"""Counts × hardware file → seconds and joules per sample. An estimate with provenance.

Per core and hardware step (N neurons, U updated, F fired, M messages out, A messages in, S synaptic operations):

    gen    = N t_access + U t_update + F t_spike + M t_axon_out
    recv   = A t_axon_in + S t_synop
    t_step = max(max gen, max recv) + t_barrier(tiles) + t_mgmt + t_monitor        (timing: sum)
    E      = Σ (N e_access + U e_update + F e_spike + M e_axon_out + A e_axon_in + S e_synop) + hops
             + e_barrier + e_monitor per step + P_static Σ t_step + E_reset

With `timing: maximum` everything works at once, t_step = max(neurons, messages out, messages in, synaptic operations of
the busiest core, messages of the busiest link, t_barrier(tiles)) + t_mgmt + t_monitor.

U = N at every step: a trace does not say which neurons changed, and with a leak or a bias all of them do. Messages are
received in the step in which they are sent. See docs/cost_model.md.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cost.band import BAND, PICO, Band
from spikecut.deploy.cost.columns import IN_MEMORY, Columns
from spikecut.deploy.cost.pricing import Gatherer, Pricer, provenance, spaced, unknown_names
from spikecut.deploy.cost.sample_costs import PartCosts, SampleCosts, unknown_band
from spikecut.deploy.cost.traffic import check_events, later_input_operations, own_operations
from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.placement.capabilities import check_capabilities, missing_features
from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Chip, Hardware, OperationProfile, load_hardware
from spikecut.deploy.placement.place import place
from spikecut.deploy.placement.quantities import Edge, Quantity
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import CapabilityError, HardwareConfigError, InputError
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.graph import is_graded
from spikecut.export.network.layers import IntegerNetwork
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
    bare_latency_s, bare_energy_j: the same without monitor and reset, which a run to the horizon can do without.
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
    bare_latency_s: Band
    bare_energy_j: Band
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
    if not isinstance(trace, RunTrace):
        raise InputError(f"trace: a {type(trace).__name__}; expected what spikecut.run gives")
    check_events(trace)
    costs = costs_of(trace.network, hardware, hypothetical, placement)
    costs.add(trace)
    return costs.estimate(trace.hardware_steps)


def costs_of(
    network: IntegerNetwork,
    hardware: str | Path | Hardware,
    hypothetical: bool = False,
    placement: Placement | None = None,
    columns: Columns = IN_MEMORY,
) -> "ChipCosts | OperationCosts":
    """What `estimate` sums up, to be given the run's messages part by part, in the order of the samples.

    columns: where the figures of every sample are kept.

    Raises CapabilityError, InputError: see `estimate`.
    """
    chip = hardware if isinstance(hardware, Hardware) else load_hardware(hardware)
    missing = check_capabilities(network, chip)
    if missing and not hypothetical:
        raise CapabilityError(f"{missing_features(missing)} ({chip.name})")
    if isinstance(chip, OperationProfile):
        return OperationCosts(network, chip, columns)
    cores = placed(network, as_chip(chip), placement)
    lacking = tuple(refusal.feature for refusal in missing)
    return ChipCosts(network, Pricer.of(network, as_chip(chip), cores), lacking, columns)


def as_chip(hardware: Hardware) -> Chip:
    """The hardware as a chip; HardwareConfigError if it is none."""
    if not isinstance(hardware, Chip):
        raise HardwareConfigError(f"{hardware.name}: neither a chip nor a list of operations: load it by its name")
    return hardware


def placed(network: IntegerNetwork, chip: Chip, placement: Placement | None) -> Placement:
    """The given placement, checked against the network, or the one with the fewest cores."""
    if placement is None:
        return place(network, chip)
    have = [(layer.name, int(layer.neurons.sum())) for layer in placement.layers]
    want = [(layer.name, int(np.prod(layer.output_shape))) for layer in network.layers]
    if have != want or placement.hardware != chip.name:
        raise InputError(f"this placement is not of {network.name} on {chip.name}: place it anew")
    return placement


class OperationCosts:
    """Synaptic operations alone: multiply-accumulates of graded messages, accumulates of spikes."""

    def __init__(self, network: IntegerNetwork, profile: OperationProfile, columns: Columns) -> None:
        self.network, self.profile = network, profile
        self.binary, self.graded = columns.column(np.int64), columns.column(np.int64)
        self.assumptions: tuple[str, ...] = ()

    def add(self, part: RunTrace) -> PartCosts:
        """Take the next samples with their messages; what they would take."""
        own, assumption = own_operations(part)
        skipped, more = later_input_operations(part)
        graded = part.events[1].synops.sum(axis=1) - own + skipped
        binary = own + sum(events.synops.sum(axis=1) for events in part.events[2:]) - skipped
        if is_graded(self.network):
            graded, binary = graded + binary, np.zeros_like(binary)
        self.graded.append(graded)
        self.binary.append(binary)
        self.assumptions = assumption + more
        energy = [self._energy_j(edge, graded, binary) for edge in BAND]
        return PartCosts(unknown_band(part.samples), Band(*energy))

    def _energy_j(self, edge: Edge, graded: IntArray, binary: IntArray) -> FloatArray:
        energy: FloatArray = graded * self._price.at(edge) + binary * self.profile.accumulate.energy_pJ.at(edge)
        return energy / PICO

    @property
    def _graded(self) -> bool:
        return self.network.input.bits > 0 or is_graded(self.network)

    @property
    def _price(self) -> Quantity:
        """The price of an operation that the input causes, and sigma-delta neurons."""
        return self.profile.multiply_accumulate.energy_pJ if self._graded else self.profile.accumulate.energy_pJ

    def estimate(self, steps: IntArray) -> CostEstimate:
        """The estimate, once all samples have been added; steps: hardware steps of each."""
        used = {"accumulate energy": self.profile.accumulate.energy_pJ}
        if self._graded:
            used["multiply-accumulate energy"] = self._price
        energy = self.graded.band(lambda edge: self._energy_j(edge, self.graded.read(), self.binary.read()))
        unknown = unknown_band(len(steps))
        return CostEstimate(
            hardware=self.profile.name,
            title=self.profile.title,
            steps=steps,
            latency_s=unknown,
            dynamic_energy_j=energy,
            static_energy_j=unknown,
            energy_j=energy,
            bare_latency_s=unknown,
            bare_energy_j=energy,
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
    """A run on a chip's cores, from its events, part by part.

    gatherers: whatever else is summed up over the same events per core.
    """

    def __init__(self, network: IntegerNetwork, pricer: Pricer, missing: tuple[str, ...], columns: Columns) -> None:
        self.network, self.pricer, self.missing = network, pricer, missing
        chip = pricer.chip
        self.priced = self.bare = SampleCosts(network, pricer, columns)
        self.gatherers: list[Gatherer] = [self.priced]
        monitor = (*chip.monitor.charged, chip.reset.energy_pJ_per_sample)
        if any(quantity.value is not None for quantity in monitor):
            bare = replace(pricer, chip=_without_monitor(chip))
            self.bare = SampleCosts(network, bare, columns)
            self.gatherers.append(self.bare)
        self.uneven: tuple[str, ...] = ()
        self.delays: set[int] = set()
        self.streaming = False

    def add(self, part: RunTrace) -> PartCosts:
        """Take the next samples with their messages; what they would take."""
        for chunk, counts in self.pricer.chunks(part):
            for gatherer in self.gatherers:
                gatherer.add(part, chunk, counts)
        said = (route.assumption(part.events, number) for number, route in enumerate(self.pricer.routes, start=1))
        self.uneven = tuple(line for line in said if line)
        self.delays |= _delays(part)
        self.streaming = part.mode == "streaming"
        found = self.priced.end_part()
        if self.bare is not self.priced:
            self.bare.end_part()
        return found

    def estimate(self, steps: IntArray) -> CostEstimate:
        """The estimate, once all samples have been added; steps: hardware steps of each."""
        chip, placement, terms = self.pricer.chip, self.pricer.placement, self.pricer.terms()
        left_out = ((LINKS,) if placement.chips > 1 else ()) + (HOST,)
        if self._other_delay:
            left_out = (DELAY, *left_out)
        return CostEstimate(
            hardware=chip.name,
            title=chip.title,
            steps=steps,
            latency_s=self.priced.band("latency"),
            dynamic_energy_j=self.priced.band("dynamic"),
            static_energy_j=self.priced.band("static"),
            energy_j=self.priced.band("energy"),
            bare_latency_s=self.bare.band("latency"),
            bare_energy_j=self.bare.band("energy"),
            unknown_time=(*unknown_names(terms.time), *left_out),
            unknown_dynamic=(*unknown_names(terms.dynamic), *left_out),
            unknown_static=(*unknown_names(terms.static), *left_out),
            provenance_time=provenance(terms.time),
            provenance_dynamic=provenance(terms.dynamic),
            provenance_static=provenance(terms.static),
            assumptions=self._assumptions(),
            hypothetical=self.missing,
            placement=placement,
            source=chip,
        )

    @property
    def _other_delay(self) -> bool:
        """Whether this chip's monitor is known to halt later than the run did."""
        delays = self.pricer.chip.monitor.delay_steps.edges
        return delays is not None and bool(self.delays - set(delays))

    def _assumptions(self) -> tuple[str, ...]:
        chip, placement = self.pricer.chip, self.pricer.placement
        lines = ["every neuron of a core in use is updated at every step"]
        if self.pricer.links is None:
            lines.append("messages take no time on the mesh")
        else:
            lines.append(
                "cores and links of the mesh work at once, the slowest bounds the step; the input has no links"
            )
        if chip.management.time_ns_per_step.value == 0:
            lines.append("no embedded management between steps")
        if chip.barrier.between == "linear" and placement.tiles not in chip.barrier.time_ns_by_tiles:
            beyond = placement.tiles > max(chip.barrier.time_ns_by_tiles)
            how = f"taken as that of {max(chip.barrier.time_ns_by_tiles)}" if beyond else "interpolated"
            lines.append(f"barrier for {placement.tiles} tiles {how}")
        if any(path.steps for paths in self.network.paths for path in paths):
            lines.append("a skip waits as a delay of its synapses: no core, time or energy is charged for its relay")
        if is_graded(self.network):
            lines.append("a graded message of sigma-delta neurons is charged as a spike: no file prices its bits")
        if self.streaming:
            lines.append("each sample of the stream is charged as if it ran alone")
        lines += [f"{spaced(name)} unknown, so not checked" for name in placement.unchecked]
        lines += self.uneven
        if self._other_delay:
            lines.append(
                f"the run halted {sorted(self.delays)} steps after the decision, this monitor takes "
                f"{chip.monitor.delay_steps.value:g}: not charged, for want of the full run (--also-full)"
            )
        return tuple(lines)


def _without_monitor(chip: Chip) -> Chip:
    costs = ("messages_per_step", "time_ns_per_step", "energy_pJ_per_step")
    monitor = chip.monitor.model_copy(update=dict.fromkeys(costs, LEFT_OUT))
    reset = chip.reset.model_copy(update={"energy_pJ_per_sample": LEFT_OUT})
    return chip.model_copy(update={"monitor": monitor, "reset": reset})


def _delays(trace: RunTrace) -> set[int]:
    """d as it shows in the samples that were halted before the horizon: steps from the decision to the halt."""
    cut = np.array([reason is ExitReason.CUTOFF for reason in trace.reason], dtype=bool)
    cut &= trace.hardware_steps < trace.horizon + trace.depth
    return set(np.unique((trace.hardware_steps - trace.depth - trace.timesteps)[cut]).tolist())
