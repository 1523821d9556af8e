"""What a run costs on every hardware: estimates, where they go by layer and event, and what the cutoff saved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from spikecut.deploy.cost.attribution import (
    Attribution,
    AttributionSums,
    CutoffAttribution,
    Shares,
    attribute_cutoff,
    attribution,
)
from spikecut.deploy.cost.band import Band, Figure, joined_band
from spikecut.deploy.cost.columns import IN_MEMORY, Columns
from spikecut.deploy.cost.estimate import ChipCosts, CostEstimate, OperationCosts, costs_of
from spikecut.deploy.cost.halted import delays_of, halted, widened
from spikecut.deploy.cost.pricing import EVENTS
from spikecut.deploy.cost.sample_costs import PartCosts
from spikecut.deploy.cost.savings import RunSteps, Savings, savings
from spikecut.deploy.cost.streaming import Stream
from spikecut.deploy.cost.traffic import check_events
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.placement.cores import placement_summary
from spikecut.deploy.placement.hardware import Chip, Hardware, default_hardware, load_hardware
from spikecut.deploy.placement.monitor import monitor_place
from spikecut.deploy.placement.partition import FloatArray
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import CapabilityError, Refusal
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.layers import IntegerNetwork
from spikecut.text import brief

Costs = ChipCosts | OperationCosts
MEASURES = ("latency_s", "energy_j")


def chosen_hardware(names: Sequence[str] | None, monitor: str | None = None) -> dict[str, Hardware]:
    """The named hardware files; all that come with spikecut for None.

    monitor: where the monitor runs that is charged, of PLACES; None charges what a file charges by itself.

    Raises HardwareConfigError: an unknown file, or a chip without a monitor there. InputError: no such place.
    """
    found = default_hardware() if names is None else {str(name): load_hardware(name) for name in names}
    if monitor is None:
        return found
    place = monitor_place(monitor)
    return {name: item.watched(place) if isinstance(item, Chip) else item for name, item in found.items()}


@dataclass(frozen=True)
class RunCosts:
    """The costs of one run, by hardware name. All of it is estimated.

    Attributes
    ----------
    estimates: latency and energy per sample, or why the network cannot run there.
    attributions: where the mean sample's time and energy go; chips only.
    cutoffs: what the cutoff saved and could not save; chips only, empty without a full run.
    saved: the three ratios; None without a full run.
    """

    estimates: Mapping[str, CostEstimate | Refusal]
    attributions: Mapping[str, Attribution]
    cutoffs: Mapping[str, CutoffAttribution]
    saved: Savings | None

    __repr__ = brief

    @classmethod
    def of(
        cls,
        trace: RunTrace,
        full: RunTrace | None,
        hardware: Mapping[str, Hardware],
        hypothetical: bool = False,
        detail: bool = True,
    ) -> "RunCosts":
        """Estimate a run that holds its messages on every hardware; see GatheredCosts."""
        compared: Compared = None if full is None else "itself" if full is trace else "another"
        gathered = GatheredCosts(trace.network, hardware, compared, hypothetical, detail)
        gathered.add(trace, full)
        return gathered.result()

    def decided_by(self, policy: type[CutoffPolicy]) -> "RunCosts":
        """The same, with a monitor on neurons only where they can run this policy."""
        if self.saved is None or policy.on_neurons:
            return self
        return replace(self, saved=self.saved.without_neurons(policy.name))

    def to_dict(self) -> dict[str, Any]:
        """As data for JSON: "estimated" by hardware, see `summary`, and "savings" where there is a full run."""
        saved = {} if self.saved is None else {"savings": self.saved}
        return {"estimated": self.summary(), **saved}

    def summary(self) -> dict[str, dict[str, Any]]:
        """Per hardware, as data for JSON: bands, percentiles, provenance, unknown terms, placement, attribution."""
        found: dict[str, dict[str, Any]] = {}
        for name, cost in self.estimates.items():
            if isinstance(cost, Refusal):
                found[name] = {"refusal": cost.feature}
                continue
            found[name] = cost_summary(cost)
            if name in self.attributions:
                found[name]["attribution"] = attribution_summary(self.attributions[name])
            if name in self.cutoffs:
                found[name]["cutoff"] = self.cutoffs[name]
        return found


Compared = Literal["itself", "another"] | None
"""Whether a run is compared with the full run of its samples, and whether that is the run itself."""


class GatheredCosts:
    """The costs of a run whose messages come part by part, so that they need not all be held at once.

    Parameters
    ----------
    compared: whether each part comes with the full run of its samples, and whether that is the part itself. With
        another run the steps that a hardware's monitor takes from the decision to the halt are charged.
    detail: attribute time and energy to layers and events.
    columns: where the figures of every sample are kept.

    Raises InputError if a trace holds no events, or the two runs do not belong together.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        hardware: Mapping[str, Hardware],
        compared: Compared = None,
        hypothetical: bool = False,
        detail: bool = True,
        columns: Columns = IN_MEMORY,
    ) -> None:
        self.network, self.compared = network, compared
        self.refusals: dict[str, Refusal] = {}
        self.parts: dict[str, _OnHardware] = {}
        self.timesteps: list[IntArray] = []
        self.steps: list[IntArray] = []
        for name, item in hardware.items():
            try:
                self.parts[name] = _OnHardware(network, item, compared, hypothetical, detail, columns)
            except CapabilityError as error:
                self.refusals[name] = Refusal(name, str(error))
        self.order = tuple(hardware)

    def add(self, trace: RunTrace, full: RunTrace | None) -> dict[str, PartCosts | Refusal]:
        """Take the next samples of both runs with their messages; what they would take on each hardware."""
        check_events(trace)
        self.timesteps.append(trace.timesteps)
        self.steps.append(trace.hardware_steps)
        found = {name: part.add(trace, full) for name, part in self.parts.items()}
        return {name: found[name] if name in found else self.refusals[name] for name in self.order}

    def result(self) -> RunCosts:
        """The costs, once all samples have been added."""
        ran = RunSteps(self.network, np.concatenate(self.timesteps), np.concatenate(self.steps))
        costs = {name: part.estimate(ran) for name, part in self.parts.items()}
        estimates = {name: costs[name] if name in costs else self.refusals[name] for name in self.order}
        attributions = {name: attribution(part.sums) for name, part in self.parts.items() if part.sums}
        cutoffs = {
            name: attribute_cutoff(attribution(part.whole), attributions[name])
            for name, part in self.parts.items()
            if part.whole
        }
        if self.compared is None:
            return RunCosts(estimates, attributions, cutoffs, None)
        full = RunSteps.full(self.network, ran.samples)
        pairs, streams = {}, {}
        for name, part in self.parts.items():
            if part.full is not None:
                whole = costs[name] if part.full is part.value else part.full.estimate(full.hardware_steps)
                pairs[name] = (whole, costs[name])
                if part.streams:
                    streams[name] = (part.streams[0].result(), part.streams[1].result())
        return RunCosts(estimates, attributions, cutoffs, savings(full, ran, pairs, streams))


class _OnHardware:
    """What is summed up on one hardware, in one pass over the run's messages.

    cut: the costs of the early-exit run by the delay from the decision to the halt that is charged, None where it is
    charged as it ran; value: those at the best figure. full: of the full run. sums, whole: the attributions of both.
    streams: of the full and the early-exit run.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        item: Hardware,
        compared: Compared,
        hypothetical: bool,
        detail: bool,
        columns: Columns,
    ) -> None:
        late = compared == "another" and any(delays_of(item))
        self.delays: tuple[int | None, int | None, int | None] = delays_of(item) if late else (None, None, None)
        self.horizon = network.horizon
        self.cut: dict[int | None, Costs] = {
            delay: costs_of(network, item, hypothetical, columns=columns) for delay in dict.fromkeys(self.delays)
        }
        self.value = self.cut[self.delays[1]]
        self.full: Costs | None = None
        self.sums: AttributionSums | None = None
        self.whole: AttributionSums | None = None
        self.streams: list[Stream] = []
        if compared is not None:
            cores = self.value.pricer.placement if isinstance(self.value, ChipCosts) else None
            itself = compared == "itself"
            self.full = self.value if itself else costs_of(network, item, hypothetical, cores, columns)
        if detail and isinstance(self.value, ChipCosts):
            self.sums = self._sums(self.value)
            self.whole = self._sums(self.full) if isinstance(self.full, ChipCosts) and compared == "another" else None
        if isinstance(self.full, ChipCosts):
            self.streams = [Stream(self.full.pricer, network.horizon + network.depth) for _ in range(2)]
            self.full.gatherers += self.streams

    def _sums(self, costs: ChipCosts) -> AttributionSums:
        sums = AttributionSums(costs.network, costs.pricer)
        costs.gatherers.append(sums)
        return sums

    def add(self, trace: RunTrace, full: RunTrace | None) -> PartCosts:
        """Take the next samples; what they would take."""
        ran = {
            delay: trace if delay is None or full is None else halted(full, trace.timesteps, delay)
            for delay in self.cut
        }
        if self.streams:
            intervals = np.minimum(ran[self.delays[1]].hardware_steps, self.horizon)
            for stream, each in zip(self.streams, (np.full_like(intervals, self.horizon), intervals), strict=True):
                stream.follow(each)
        found = {delay: costs.add(ran[delay]) for delay, costs in self.cut.items()}
        if self.full is not None and self.full is not self.value and full is not None:
            self.full.add(full)
        low, value, high = (found[delay] for delay in self.delays)
        if len(found) == 1:
            return value
        edges = (low, value, high)
        return PartCosts(*(joined_band(*(getattr(each, name) for each in edges)) for name in MEASURES))

    def estimate(self, ran: RunSteps) -> CostEstimate:
        """The estimate of the early-exit run."""
        found = {delay: costs.estimate(ran.with_delay(delay)) for delay, costs in self.cut.items()}
        low, value, high = (found[delay] for delay in self.delays)
        return value if len(found) == 1 else widened(low, value, high)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def known_of(cost: CostEstimate) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Per measure the unknown terms, and the provenance of the known ones."""
    return {
        "latency_s": (cost.unknown_time, cost.provenance_time),
        "dynamic_energy_j": (cost.unknown_dynamic, cost.provenance_dynamic),
        "static_energy_j": (cost.unknown_static, cost.provenance_static),
        "energy_j": (cost.unknown_energy, cost.provenance_energy),
    }


def cost_summary(cost: CostEstimate) -> dict[str, Any]:
    """An estimate as JSON data: means, bands, percentiles, provenance, unknown terms, assumptions and the placement."""
    summary: dict[str, Any] = {
        "estimated": True,
        "title": cost.title,
        "hypothetical": list(cost.hypothetical),
        "assumptions": list(cost.assumptions),
        "placement": None if cost.placement is None else placement_summary(cost.placement),
    }
    for name, (unknown, provenance) in known_of(cost).items():
        band: Band = getattr(cost, name)
        summary[name] = {
            **_figure_data(band.mean, "mean"),
            "percentiles": {str(p): _figure_data(value, "value") for p, value in band.percentiles().items()},
            "unknown_terms": list(unknown),
            "provenance": list(provenance),
        }
    return summary


def _figure_data(value: Figure, name: str) -> dict[str, float | None]:
    return {name: _known(value.value), "low": _known(value.low), "high": _known(value.high)}


def attribution_summary(attribution: Attribution) -> dict[str, Any]:
    """An attribution as JSON data, estimated, by layer and kind of event."""
    return {
        "estimated": True,
        "time_s": _shares_data(attribution, attribution.time_s),
        "energy_j": _shares_data(attribution, attribution.energy_j),
        "critical_share_of_steps": _critical(attribution),
        "bounded_share_of_steps": _bounded(attribution),
        "bounds": [
            {"name": bound.name, "steps": bound.steps, "where": bound.where, "mean_s": _known(bound.mean_s)}
            for bound in attribution.bounds
        ],
        "unknown_time": list(attribution.unknown_time),
        "unknown_energy": list(attribution.unknown_energy),
        "provenance_time": list(attribution.provenance_time),
        "provenance_energy": list(attribution.provenance_energy),
    }


def _shares_data(attribution: Attribution, shares: Shares) -> dict[str, Any]:
    def rows(values: FloatArray) -> dict[str, dict[str, float | None]]:
        return {
            name: {event: _known(float(cell)) for event, cell in zip(EVENTS, row, strict=True)}
            for name, row in zip(attribution.layers, values, strict=True)
        }

    return {
        "value": rows(shares.value),
        "low": rows(shares.low),
        "high": rows(shares.high),
        "shared": {name: [_known(float(edge)) for edge in term] for name, term in shares.shared.items()},
    }


def _critical(attribution: Attribution) -> dict[str, float]:
    """In what share of the steps a core of each layer, or a link full of its messages, held all others up."""
    shares = (attribution.critical / max(_ran(attribution), 1)).tolist()
    return {name: float(share) for name, share in zip(attribution.layers, shares, strict=True)}


def _bounded(attribution: Attribution) -> dict[str, float]:
    """In what share of the steps the busiest core, the busiest link and the barrier alone were what all waited for."""
    found = {"cores": int(attribution.critical.sum()) - attribution.by_link}
    found |= {"links": attribution.by_link, "barrier": attribution.by_barrier}
    return {name: steps / max(_ran(attribution), 1) for name, steps in found.items()}


def _ran(attribution: Attribution) -> int:
    """How many hardware steps ran."""
    return int(attribution.critical.sum()) + attribution.by_barrier
