"""What a cutoff saves: three ratios, always together, as steps, time and energy; and where there is no saving."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from spikecut.deploy.cost.band import NANO, PICO, Band
from spikecut.deploy.cost.estimate import CostEstimate
from spikecut.deploy.cost.halted import delays_of
from spikecut.deploy.cost.monitoring import BEYOND_NEURONS, Exits, MonitorPayoff, monitor_payoffs
from spikecut.deploy.cost.pricing import EDGES
from spikecut.deploy.cost.streaming import StreamEstimate, stream
from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Chip
from spikecut.deploy.placement.monitor import MonitorPlace
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import InputError
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.layers import IntegerNetwork
from spikecut.text import brief

SHOWN = 10
"""Samples that a note names; `costlier_samples` holds all."""


@dataclass(frozen=True)
class Ratio:
    """Mean of the early-exit run over mean of the full run.

    low and high: the smallest and largest of the ratios with every constant at its low edge, value or high edge. The
    constants are the same in both runs, so the edges are not crossed: a sensitivity, no bound. NaN where unknown.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Savings:
    """The three ratios of a cutoff, cut over full run, always together: 1.0 = no saving.

    Attributes
    ----------
    naive: {"steps": mean τ / T}, the literature's.
    isolated: {"steps": mean (min(τ + d, T) + P) / (T + P)}, one sample alone; and per hardware
        {"latency" | "energy": Ratio of the runs that were made, None where unknown}.
    streaming: {"steps": mean min(τ + P + d, T) / T}, samples fed back to back in their order; per hardware
        {"latency" | "energy": Ratio of the time and energy per sample}, put together from the full runs, see
        streaming_cost.py; None where unknown.
    throughput: per hardware estimated samples per second of the stream, {"full" | "cut": Figure as a dictionary}.
    costlier_samples: per hardware the samples whose early-exit run, with monitor and reset, is estimated to take more
        than the full run without them, {"latency" | "energy": positions}; None where neither of the two is known.
    break_even: per hardware what a monitor may cost in each step of the early-exit run, {"time_ns" | "energy_pJ":
        number}, before the mean time (energy) saved is gone, had the full run no monitor.
    monitors: per hardware and place that its file describes, whether the early exit pays for a monitor there, see
        deploy/cost/monitoring.py.
    unknown_terms: per hardware the terms that both estimates lack: the ratios are those of the known parts.
    notes: what to keep in mind, for the reader of the ratios.
    """

    naive: dict[str, float]
    isolated: dict[str, float | dict[str, Ratio | None]]
    streaming: dict[str, float | dict[str, Ratio | None]]
    throughput: dict[str, dict[str, Ratio]] = field(default_factory=dict)
    costlier_samples: dict[str, dict[str, tuple[int, ...]] | None] = field(default_factory=dict)
    break_even: dict[str, dict[str, float | None]] = field(default_factory=dict)
    monitors: dict[str, dict[MonitorPlace, MonitorPayoff]] = field(default_factory=dict)
    unknown_terms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    __repr__ = brief

    def without_neurons(self, policy: str) -> "Savings":
        """The same, without monitors on neurons, which cannot run this policy."""
        monitors: dict[str, dict[MonitorPlace, MonitorPayoff]] = {
            name: {place: payoff for place, payoff in found.items() if place != "on_chip"}
            for name, found in self.monitors.items()
        }
        if monitors == self.monitors:
            return self
        note = f"monitor on_chip: {policy} takes {BEYOND_NEURONS}; embedded or host"
        return replace(self, monitors=monitors, notes=(*self.notes, note))


@dataclass(frozen=True)
class RunSteps:
    """How long each sample of a run took. timesteps, hardware_steps: int64 [N], as of RunTrace."""

    network: IntegerNetwork
    timesteps: IntArray
    hardware_steps: IntArray

    __repr__ = brief

    @classmethod
    def full(cls, network: IntegerNetwork, samples: int) -> "RunSteps":
        """Of a run to the horizon."""
        horizon, depth = np.int64(network.horizon), np.int64(network.depth)
        return cls(network, np.broadcast_to(horizon, (samples,)), np.broadcast_to(horizon + depth, (samples,)))

    @property
    def samples(self) -> int:
        """N."""
        return len(self.timesteps)

    @property
    def horizon(self) -> int:
        """T."""
        return self.network.horizon

    @property
    def depth(self) -> int:
        """P."""
        return self.network.depth

    def with_delay(self, delay: int | None) -> IntArray:
        """Hardware steps with so many from the decision to the halt; None: as it ran."""
        if delay is None:
            return self.hardware_steps
        return np.minimum(self.timesteps + delay, self.horizon) + self.depth


def savings(
    full: RunTrace | RunSteps,
    cut: RunTrace | RunSteps,
    costs: Mapping[str, tuple[CostEstimate, CostEstimate]] = MappingProxyType({}),
    streams: Mapping[str, tuple[StreamEstimate, StreamEstimate]] = MappingProxyType({}),
) -> Savings:
    """What the cutoff saved, from a full run and an early-exit run of the same samples.

    Parameters
    ----------
    costs: hardware name → the estimates of the full and of the early-exit run, in this order.
    streams: hardware name → their streams, in the same order; put together from the full run's messages where missing,
        which takes a RunTrace that holds them.

    Raises
    ------
    InputError: the runs are not of the same network and number of samples, `full` is not a full run, or two estimates
        are of different hardware, of other runs, or lack different terms.
    """
    _check_runs(full, cut)
    horizon, depth = full.horizon, full.depth
    streaming = np.minimum(cut.hardware_steps, horizon)  # = min(τ + P + d, T), whatever d the run had
    notes = []
    if (streaming == horizon).all():
        notes.append("the cutoff saves no throughput here: back to back, samples start every T steps anyway")
    result = Savings(
        naive={"steps": float(cut.timesteps.mean()) / horizon},
        isolated={"steps": float(cut.hardware_steps.mean()) / (horizon + depth)},
        streaming={"steps": float(streaming.mean()) / horizon},
    )
    for name, (full_cost, cut_cost) in costs.items():
        _check_pair(full, cut, full_cost, cut_cost)
        latency, time_ns = _compare(full_cost.latency_s, cut_cost.latency_s, cut_cost.steps, NANO)
        energy, energy_pj = _compare(full_cost.energy_j, cut_cost.energy_j, cut_cost.steps, PICO)
        result.isolated[name] = {"latency": latency, "energy": energy}
        result.streaming[name] = {"latency": None, "energy": None}
        if isinstance(cut_cost.source, Chip) and cut_cost.placement is not None:
            flows = streams.get(name) or _streams(full, cut_cost.source, cut_cost.placement, cut_cost.steps)
            if (cut_cost.steps >= horizon).all() and (streaming < horizon).any():
                notes.append(f"{name}: with the delay of its monitor the cutoff saves no throughput")
            result.streaming[name], result.throughput[name] = _compare_streams(*flows)
        result.costlier_samples[name] = _costlier(full_cost, cut_cost)
        notes += _costlier_notes(name, result.costlier_samples[name])
        result.break_even[name] = {"time_ns": time_ns, "energy_pJ": energy_pj}
        result.monitors[name] = monitor_payoffs(full_cost, cut_cost, Exits(cut.timesteps, horizon, depth))
        result.unknown_terms[name] = cut_cost.unknown_terms
        if cut_cost.hypothetical:
            notes.append(f"hypothetical: {name} lacks {', '.join(cut_cost.hypothetical)}")
    return replace(result, notes=tuple(notes))


def _check_runs(full: RunTrace | RunSteps, cut: RunTrace | RunSteps) -> None:
    """InputError unless the runs are of the same network and samples, the first to the horizon."""
    horizon, depth = full.horizon, full.depth
    if (full.samples, horizon, full.network.name, depth) != (cut.samples, cut.horizon, cut.network.name, cut.depth):
        raise InputError("full and early-exit runs differ in network, horizon or samples: run the same samples twice")
    if not full.samples or (full.timesteps != horizon).any() or (full.hardware_steps != horizon + depth).any():
        raise InputError("the full run must use all T timesteps of at least one sample: run it without a policy")
    if (cut.hardware_steps < cut.timesteps + depth).any() or (cut.hardware_steps > horizon + depth).any():
        raise InputError("the early-exit run's hardware steps do not fit its timesteps: expected min(τ + d, T) + P")


def _streams(
    full: RunTrace | RunSteps, chip: Chip, placement: Placement, cut_steps: IntArray
) -> tuple[StreamEstimate, StreamEstimate]:
    """The streams of the full and of the early-exit run; cut_steps: hardware steps of each sample with the cutoff."""
    if isinstance(full, RunSteps):
        raise InputError(f"the streams on {chip.name} need the full run's messages: give the run, or its streams")
    intervals = (np.full(full.samples, full.horizon), np.minimum(cut_steps, full.horizon))
    whole, cut = (stream(full, chip, placement, each) for each in intervals)
    return whole, cut


def _check_pair(
    full: RunTrace | RunSteps, cut: RunTrace | RunSteps, full_cost: CostEstimate, cut_cost: CostEstimate
) -> None:
    if full_cost.hardware != cut_cost.hardware or full_cost.unknown_terms != cut_cost.unknown_terms:
        raise InputError("the two estimates are of different hardware or lack different terms: they cannot be compared")
    # A chip's own delay may have been charged in the place of the run's.
    _, delay, _ = delays_of(cut_cost.source)
    late = np.minimum(cut.timesteps + delay, full.horizon) + full.depth
    for possible, steps in (((full.hardware_steps,), full_cost.steps), ((cut.hardware_steps, late), cut_cost.steps)):
        if not any(np.array_equal(each, steps) for each in possible):
            raise InputError("an estimate belongs to another run: estimate both runs again, the full one first")


def _compare_streams(full: StreamEstimate, cut: StreamEstimate) -> tuple[dict[str, Ratio | None], dict[str, Ratio]]:
    ratios: dict[str, Ratio | None] = {}
    for name, over, under in (("latency", cut.time_s, full.time_s), ("energy", cut.energy_j, full.energy_j)):
        ratios[name] = None
        if under.value and not np.isnan(under.value):
            each = [getattr(over, edge) / getattr(under, edge) for edge in EDGES]
            ratios[name] = Ratio(each[1], float(np.min(each)), float(np.max(each)))
    rates = {"full": full.samples_per_s, "cut": cut.samples_per_s}
    return ratios, {name: Ratio(rate.value, rate.low, rate.high) for name, rate in rates.items()}


def _costlier(full: CostEstimate, cut: CostEstimate) -> dict[str, tuple[int, ...]] | None:
    chip = cut.source
    if not isinstance(chip, Chip):
        return None
    if all(term.value is None for term in (*chip.monitor.charged, chip.reset.energy_pJ_per_sample)):
        return None
    pairs = {
        "latency": (cut.latency_s.value, full.bare_latency_s.value),
        "energy": (cut.energy_j.value, full.bare_energy_j.value),
    }
    return {name: tuple(np.flatnonzero(with_it > bare).tolist()) for name, (with_it, bare) in pairs.items()}


def _costlier_notes(name: str, costlier_samples: dict[str, tuple[int, ...]] | None) -> list[str]:
    notes = []
    for measure, samples in (costlier_samples or {}).items():
        if samples:
            shown = ", ".join(map(str, samples[:SHOWN])) + (", …" if len(samples) > SHOWN else "")
            notes.append(
                f"{name}: with monitor and reset the early-exit run takes more "
                f"{'time' if measure == 'latency' else measure} than the full run without them for {len(samples)} "
                f"samples: {shown}"
            )
    return notes


def _compare(full: Band, cut: Band, steps: IntArray, units: float) -> tuple[Ratio | None, float | None]:
    """Ratio of the means, and what each step of the early-exit run may cost more before nothing is saved."""
    if np.isnan(full.value).any() or not full.value.any():
        return None, None
    means = [(float(getattr(cut, edge).mean()), float(getattr(full, edge).mean())) for edge in EDGES]
    low, value, high = (over / under if under else np.nan for over, under in means)
    ratio = Ratio(value, float(np.min([low, value, high])), float(np.max([low, value, high])))
    return ratio, float((full.value.sum() - cut.value.sum()) * units / steps.sum())
