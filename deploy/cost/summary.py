"""What a run costs on every hardware: estimates, where they go by layer and event, and what the cutoff saved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikecut.deploy.cost.attribution import (
    Attribution,
    AttributionSums,
    CutoffAttribution,
    Shares,
    attribute_cutoff,
    attribution,
)
from spikecut.deploy.cost.band import Band, Figure
from spikecut.deploy.cost.estimate import ChipCosts, CostEstimate, OperationCosts, costs_of
from spikecut.deploy.cost.halted import delays_of, halted, widened
from spikecut.deploy.cost.pricing import EVENTS
from spikecut.deploy.cost.savings import Savings, savings
from spikecut.deploy.cost.streaming import Stream
from spikecut.deploy.placement.hardware import Hardware, hardware_names, load_hardware
from spikecut.deploy.placement.place import FloatArray, placement_summary
from spikecut.deploy.run_trace import RunTrace, lengthened
from spikecut.errors import CapabilityError, Refusal
from spikecut.text import brief

Costs = ChipCosts | OperationCosts


def chosen_hardware(names: Sequence[str] | None) -> dict[str, Hardware]:
    """The named hardware files; all that come with spikecut for None."""
    return {str(name): load_hardware(name) for name in (hardware_names() if names is None else names)}


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
        gathered = GatheredCosts(trace, full, hardware, hypothetical, detail)
        gathered.add(0, trace, full)
        return gathered.result()

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


class GatheredCosts:
    """The costs of a run whose messages come part by part, so that they need not all be held at once.

    Parameters
    ----------
    trace: the run, with its counts at least.
    full: the same samples run to the horizon, if they were; `trace` itself where it was not cut. With it the steps
        that a hardware's monitor takes from the decision to the halt are charged.
    detail: attribute time and energy to layers and events.

    Raises InputError if a trace holds no events, or the two runs do not belong together.
    """

    def __init__(
        self,
        trace: RunTrace,
        full: RunTrace | None,
        hardware: Mapping[str, Hardware],
        hypothetical: bool = False,
        detail: bool = True,
    ) -> None:
        self.trace, self.full = trace, full
        self.refusals: dict[str, Refusal] = {}
        self.parts: dict[str, _OnHardware] = {}
        for name, item in hardware.items():
            try:
                self.parts[name] = _OnHardware(trace, full, item, hypothetical, detail)
            except CapabilityError as error:
                self.refusals[name] = Refusal(name, str(error))
        self.order = tuple(hardware)

    def add(self, first: int, trace: RunTrace, full: RunTrace | None) -> None:
        """Take some samples of both runs with their messages, from sample `first` on."""
        for part in self.parts.values():
            part.add(first, trace, full)

    def result(self) -> RunCosts:
        """The costs, once all samples have been added."""
        estimates: dict[str, CostEstimate | Refusal] = {
            name: self.refusals[name] if name in self.refusals else self.parts[name].estimate() for name in self.order
        }
        attributions = {name: attribution(part.sums) for name, part in self.parts.items() if part.sums}
        cutoffs = {
            name: attribute_cutoff(attribution(part.whole), attributions[name])
            for name, part in self.parts.items()
            if part.whole
        }
        if self.full is None:
            return RunCosts(estimates, attributions, cutoffs, None)
        pairs, streams = {}, {}
        for name, part in self.parts.items():
            cost = estimates[name]
            if part.full is not None and isinstance(cost, CostEstimate):
                pairs[name] = (cost if part.full is part.value else part.full.estimate(), cost)
                if part.streams:
                    streams[name] = (part.streams[0].result(), part.streams[1].result())
        return RunCosts(estimates, attributions, cutoffs, savings(self.full, self.trace, pairs, streams))


class _OnHardware:
    """What is summed up on one hardware, in one pass over the run's messages.

    cut: the costs of the early-exit run by the delay from the decision to the halt that is charged, None where it is
    charged as it ran; value: those at the best figure. full: of the full run. sums, whole: the attributions of both.
    streams: of the full and the early-exit run.
    """

    def __init__(
        self, trace: RunTrace, full: RunTrace | None, item: Hardware, hypothetical: bool, detail: bool
    ) -> None:
        self.timesteps = trace.timesteps
        self.cut: dict[int | None, Costs] = {}
        late = full is not None and full is not trace and any(delays_of(item))
        self.delays: tuple[int | None, int | None, int | None] = delays_of(item) if late else (None, None, None)
        placement = None
        for delay in dict.fromkeys(self.delays):
            ran = trace if delay is None or full is None else halted(full, trace.timesteps, delay)
            self.cut[delay] = costs_of(ran, item, hypothetical, placement)
        self.value = self.cut[self.delays[1]]
        self.full: Costs | None = None
        self.sums: AttributionSums | None = None
        self.whole: AttributionSums | None = None
        self.streams: list[Stream] = []
        if full is not None:
            cores = self.value.pricer.placement if isinstance(self.value, ChipCosts) else None
            self.full = self.value if full is trace else costs_of(full, item, hypothetical, cores)
        if detail and isinstance(self.value, ChipCosts):
            self.sums = self._sums(self.value)
            self.whole = self._sums(self.full) if isinstance(self.full, ChipCosts) and full is not trace else None
        if full is not None and isinstance(self.full, ChipCosts):
            intervals = np.minimum(self.value.trace.hardware_steps, full.horizon)
            for each in (np.full(full.samples, full.horizon), intervals):
                self.streams.append(Stream(self.full.pricer, full.horizon + full.depth, each))
            self.full.gatherers += self.streams

    def _sums(self, costs: ChipCosts) -> AttributionSums:
        sums = AttributionSums.begun(costs.trace, costs.pricer)
        costs.gatherers.append(sums)
        return sums

    def add(self, first: int, trace: RunTrace, full: RunTrace | None) -> None:
        """Take some samples."""
        for delay, costs in self.cut.items():
            part = trace
            if delay is not None and full is not None:
                part = halted(full, self.timesteps[first : first + full.samples], delay)
                part = lengthened(part, costs.trace.events[0].spikes.shape[1])
            costs.add(first, part)
        if self.full is not None and self.full is not self.value and full is not None:
            self.full.add(first, full)

    def estimate(self) -> CostEstimate:
        """The estimate of the early-exit run."""
        found = {delay: costs.estimate() for delay, costs in self.cut.items()}
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
    """In what share of the steps a core of each layer held all others up."""
    layers = attribution.path.layer[attribution.path.layer >= 0]
    return {name: float((layers == i).mean()) if layers.size else 0.0 for i, name in enumerate(attribution.layers)}
