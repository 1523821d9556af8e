"""Ways to stop a run's samples: all at one timestep, its policy at other ε, and as the run did; what each gives."""

from collections.abc import Mapping

import numpy as np

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cost.band import Figure
from spikecut.deploy.cutoff.base import CutoffPolicy, LabelledScores, exit_timesteps, policy_class
from spikecut.deploy.cutoff.calibration.intervals import share_interval
from spikecut.deploy.pipeline.calibrate import CalibrationOptions
from spikecut.deploy.pipeline.reporting.replay import Replay
from spikecut.deploy.pipeline.reporting.sources import Source
from spikecut.deploy.pipeline.samples import check_labels
from spikecut.deploy.placement.hardware import Hardware
from spikecut.deploy.report.html.contents import HardwareCost, Point
from spikecut.deploy.run.stored import StoredRun
from spikecut.deploy.run_trace import IntArray
from spikecut.deploy.sweep.costs import exit_costs
from spikecut.deploy.sweep.sweep import ExitCosts
from spikecut.errors import CapabilityError, SpikecutError
from spikecut.export.encode import encode

EPSILONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
MOST_STOPS = 64
"""Timesteps at which all samples stop that are shown, the first and the last among them."""
STALE = "the run's costs are not those of today's file {}: it, or the cost model, has changed; run again"
SIGMAS = 1.96
"""Standard errors on each side of a mean's 95 % interval."""
MINIMUM_COUNT = CalibrationOptions().minimum_count


def share(hits: int, samples: int) -> Figure:
    """A share with its exact 95 % interval."""
    return Figure(hits / samples, *share_interval(hits, samples))


def mean(values: IntArray) -> Figure:
    """A mean per sample with its 95 % interval, from the standard error."""
    centre = float(values.mean())
    error = SIGMAS * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return Figure(centre, centre - error, centre + error)


def points_of(
    run: StoredRun, again: Replay, source: Source, hardware: Mapping[str, Hardware]
) -> tuple[tuple[Point, ...], dict[str, str]]:
    """All ways to stop but the run's own, on the replayed samples; and what is not among them, with the reason."""
    totals = again.scores.cumsum(axis=0)
    samples = again.scores.shape[1]
    costs: dict[str, ExitCosts] = {}
    stale: list[str] = []
    for name, item in hardware.items():
        try:
            found = exit_costs(again.priced, item)
        except CapabilityError:
            continue
        if _as_stored(run, again, name, found):
            costs[name] = found
        else:
            stale.append(name)

    def point(kind: str, label: str, timesteps: IntArray) -> Point:
        right = totals[timesteps - 1, np.arange(samples)].argmax(axis=1) == again.labels
        means = {name: cost.means(timesteps[: again.priced.samples]) for name, cost in costs.items()}
        figures = {
            key: {name: Figure(*found[key]) for name, found in means.items() if not np.isnan(found[key][0])}
            for key in ("latency_s", "energy_j")
        }
        return Point(kind, label, mean(timesteps), share(int(right.sum()), samples), **figures)

    horizon = again.scores.shape[0]
    shown = np.unique(np.linspace(1, horizon, min(horizon, MOST_STOPS)).round().astype(np.int64)).tolist()
    stops = [point("stop", f"all samples stop at t = {t}", np.full(samples, t, dtype=np.int64)) for t in shown]
    missing = {f"costs of other ways to stop on {name}": STALE.format(name) for name in stale}
    if source.policy is None:
        return tuple(stops), missing
    try:
        family = _family(source)
    except SpikecutError as error:
        return tuple(stops), {**missing, "other values of ε": str(error)}
    name = source.policy.name
    others = [point("policy", f"{name}, ε = {epsilon:g}", exit_timesteps(each, totals)) for epsilon, each in family]
    return (*stops, *others), missing


def _as_stored(run: StoredRun, again: Replay, hardware: str, costs: ExitCosts) -> bool:
    """Whether today's hardware file gives the replayed samples the costs that the run gave them."""
    few = again.priced.samples
    means = costs.means(again.timesteps[:few])
    for measure in ("latency_s", "energy_j"):
        name = f"{hardware}_{measure}"
        if name not in run.samples.column_names:
            return False
        stored = np.asarray(run.samples[name].slice(0, few).to_pylist(), dtype=np.float64)
        if not np.isclose(stored.mean(), means[measure][0], rtol=1e-9, atol=0, equal_nan=True):
            return False
    return True


def _family(source: Source) -> list[tuple[float, CutoffPolicy]]:
    """The run's policy fitted anew to the calibration split, for every ε; one of those that are alike."""
    part = source.calibration
    check_labels(source.bundle.network, part)
    scores = run_batched(source.bundle.network, encode(part.x[: len(part.y)], source.bundle.network)).scores
    fitted = LabelledScores.of(scores, part.y)
    kind = policy_class(source.policy.name if source.policy else "")
    family: list[tuple[float, CutoffPolicy]] = []
    for epsilon, policy in zip(EPSILONS, kind.fit(fitted, EPSILONS, MINIMUM_COUNT), strict=True):
        if all(policy.to_dict() != other.to_dict() for _, other in family):
            family.append((epsilon, policy))
    return family


def own_point(
    label: str, timesteps: Figure, accuracy: Figure | None, costs: tuple[HardwareCost, ...]
) -> tuple[Point, ...]:
    """The run itself, on all of its samples; none where it has no accuracy."""
    if accuracy is None:
        return ()
    ran = [cost for cost in costs if not cost.refusal]
    return (
        Point(
            "run",
            label,
            timesteps,
            accuracy,
            {cost.name: cost.latency_s for cost in ran if not np.isnan(cost.latency_s.value)},
            {cost.name: cost.energy_j for cost in ran if not np.isnan(cost.energy_j.value)},
        ),
    )
