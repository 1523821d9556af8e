"""Whether a cutoff pays for its monitor, by where that runs: what is saved against what it costs, with bounds."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spikecut.deploy.cost.band import NANO, PICO, Band, Figure
from spikecut.deploy.cost.estimate import CostEstimate
from spikecut.deploy.cost.pricing import EDGES
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.placement.hardware import Chip
from spikecut.deploy.placement.monitor import MonitorCost, MonitorPlace
from spikecut.deploy.placement.quantities import Quantity
from spikecut.errors import InputError
from spikecut.export.network.arrays import IntArray

Verdict = Literal["pays", "does not pay", "cannot be told"]
WATTS_PER_MILLIWATT = 1e-3
BEYOND_NEURONS = "more than sums and comparisons, which is all that neurons do"


def check_monitor(monitor: str | None, policies: Iterable[type[CutoffPolicy]]) -> None:
    """InputError unless these policies can run where the monitor is."""
    unable = [policy.name for policy in policies if not policy.on_neurons]
    if monitor == "on_chip" and unable:
        raise InputError(f"--monitor on_chip: {', '.join(unable)} takes {BEYOND_NEURONS}; choose embedded or host")


@dataclass(frozen=True)
class Payoff:
    """Means per sample, in seconds or joules.

    Attributes
    ----------
    saved: by the early exit, once the monitor's delay has passed. cost: of the monitor, NaN where it is unknown; an
        edge that nobody knows is 0 or infinite.
    verdict: "pays" where the least that is saved exceeds the most that the monitor costs, "does not pay" where not even
        the most that is saved exceeds the least, else "cannot be told".
    """

    saved: Figure
    cost: Figure
    verdict: Verdict

    @classmethod
    def of(cls, saved: Figure, cost: Figure) -> "Payoff":
        """With the verdict; "cannot be told" also where nothing is known of what is saved."""
        verdict: Verdict = "cannot be told"
        if saved.low > cost.high:
            verdict = "pays"
        elif saved.high <= cost.low:
            verdict = "does not pay"
        return cls(saved, cost, verdict)


@dataclass(frozen=True)
class MonitorPayoff:
    """Whether the cutoff pays with the monitor in one place.

    Attributes
    ----------
    latency, energy: see Payoff. steps: early-exit hardware steps of the mean sample, the delay's included.
    delay_steps, messages_per_step: of the hardware file, None where unknown.
    """

    latency: Payoff
    energy: Payoff
    steps: float
    delay_steps: float | None
    messages_per_step: float | None


@dataclass(frozen=True)
class Exits:
    """When the samples of a run decided, int64 [N], and T and P of its network."""

    timesteps: IntArray
    horizon: int
    depth: int

    def steps(self, delay: int) -> float:
        """Mean hardware steps with so many from the decision to the halt."""
        return float((np.minimum(self.timesteps + delay, self.horizon) + self.depth).mean())


def monitor_payoffs(full: CostEstimate, cut: CostEstimate, exits: Exits) -> dict[MonitorPlace, MonitorPayoff]:
    """For each place that the hardware file describes, whether the early exit pays for the monitor there.

    full, cut: estimates of the full and of the early-exit run; of both the part without monitor and reset is taken. The
    steps of the delay cost what the steps that the cutoff skips cost on average.
    """
    chip = cut.source
    if not isinstance(chip, Chip) or cut.placement is None:
        return {}
    chips = cut.placement.chips
    return {place: _payoff(full, cut, exits, cost, (chip, chips)) for place, cost in chip.monitor.places.items()}


def _payoff(
    full: CostEstimate, cut: CostEstimate, exits: Exits, monitor: MonitorCost, on: tuple[Chip, int]
) -> MonitorPayoff:
    """on: the chip, and how many of it are in use."""
    chip, chips = on
    low, value, high = monitor.delay_steps.edges or (0, 0, exits.horizon)
    steps = Figure(exits.steps(value), exits.steps(low), exits.steps(high))
    left = _left(cut.steps, exits, steps)
    message_ns, message_pj = chip.costs.axon_out.time_ns, chip.costs.axon_out.energy_pJ
    sent = _bounds(monitor.messages_per_step)
    # A message takes the output's core longer, and the step only where that core is the slowest.
    longer = _bounds(monitor.time_ns_per_step)
    per_step = Figure(longer.value, longer.low, longer.high + sent.high * _bounds(message_ns).high)
    time = _times(steps, per_step, NANO)
    own = _bounds(monitor.energy_pJ_per_step)
    messages = _times(sent, _bounds(message_pj), 1.0)
    dynamic = _times(steps, _sum(own, messages), PICO)
    watts = _bounds(chip.static_mW_per_chip)
    static = _times(time, watts, 1 / (WATTS_PER_MILLIWATT * chips))
    reset = _times(_bounds(chip.reset.energy_pJ_per_sample, unknown=0.0), Figure(1.0, 1.0, 1.0), PICO)
    latency = Payoff.of(_saved(full.bare_latency_s, cut.bare_latency_s, left), time)
    energy = Payoff.of(_saved(full.bare_energy_j, cut.bare_energy_j, left), _sum(_sum(dynamic, static), reset))
    delay, messages_per_step = monitor.delay_steps.value, monitor.messages_per_step.value
    return MonitorPayoff(latency, energy, steps.value, delay, messages_per_step)


def _left(ran: IntArray, exits: Exits, steps: Figure) -> Figure:
    """The share of the skipped steps that stay skipped once the delay has passed; low: with the longest delay."""
    whole = exits.horizon + exits.depth
    skipped = whole - float(ran.mean())
    if skipped <= 0:
        return Figure(0.0, 0.0, 0.0)
    return Figure((whole - steps.value) / skipped, (whole - steps.high) / skipped, (whole - steps.low) / skipped)


def _saved(full: Band, cut: Band, left: Figure) -> Figure:
    """What the mean sample saves, with every constant at one edge and the delay at any."""
    means = {edge: float(getattr(full, edge).mean() - getattr(cut, edge).mean()) for edge in EDGES}
    all_edges = [mean * share for mean in means.values() for share in (left.value, left.low, left.high)]
    return Figure(means["value"] * left.value, float(np.min(all_edges)), float(np.max(all_edges)))


def _bounds(quantity: Quantity, unknown: float = np.inf) -> Figure:
    """A number with bounds: NaN, 0 and infinity where nobody knows it, or an edge."""
    if quantity.value is None:
        return Figure(np.nan if unknown else 0.0, 0.0, unknown)
    low, high = quantity.at("low"), quantity.at("high")
    return Figure(quantity.value, 0.0 if np.isnan(low) else low, np.inf if np.isnan(high) else high)


def _times(one: Figure, other: Figure, divisor: float) -> Figure:
    """Product of two figures that are not negative; nothing of something without bound is nothing."""
    high = 0.0 if 0.0 in (one.high, other.high) else one.high * other.high
    return Figure(one.value * other.value / divisor, one.low * other.low / divisor, high / divisor)


def _sum(one: Figure, other: Figure) -> Figure:
    return Figure(one.value + other.value, one.low + other.low, one.high + other.high)
