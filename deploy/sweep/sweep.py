"""Every policy over ε, from stored scores: accuracy, timesteps, latency and energy, and whether it pays.

Policies are fitted to one split and measured on another. A policy's exits follow from the full run's scores, and a
sample's cost at each exit from the full run's events (sweep_costs.py), so that no network runs here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cutoff.base import CutoffPolicy, IntArray, LabelledScores, policy_class
from spikecut.deploy.cutoff.calibration.intervals import share_interval
from spikecut.deploy.cutoff.calibration.oct import Distance, OptimalCutoff, optimal_cutoff
from spikecut.deploy.cutoff.threshold import all_exit_timesteps, allowed_wrong
from spikecut.errors import InputError, Refusal
from spikecut.text import brief, percent

FloatArray = npt.NDArray[np.float64]
Edges = tuple[float, float, float]
Split = Literal["calibration", "test"]

POLICIES = ("fixed", "topk", "confidence", "entropy", "spikecp")
EPSILONS: tuple[float, ...] = tuple(float(f"{value:.3g}") for value in np.geomspace(0.0005, 0.5, 50))
ACCURACY_LOST = 0.003
"""Accuracy lost that `Sweep.best` tolerates: 0.3 points."""
FORMAT = "spikecut sweep 3"
MEASURES = {"latency_s": "time", "energy_j": "energy"}


@dataclass(frozen=True)
class ExitCosts:
    """What each of N samples costs on one hardware if it exits at each t, from events that ran: an estimate.

    Attributes
    ----------
    latency_s, energy_j: float64 [3, T, N]: value, lower and upper edge; NaN where unknown.
    unknown_time, unknown_energy: terms that nobody has published; with any, the figures are lower bounds.
    provenance_time, provenance_energy: the provenance of the known terms.
    hypothetical: features that the hardware lacks; empty where the network can run.
    """

    latency_s: FloatArray
    energy_j: FloatArray
    unknown_time: tuple[str, ...] = ()
    unknown_energy: tuple[str, ...] = ()
    provenance_time: tuple[str, ...] = ()
    provenance_energy: tuple[str, ...] = ()
    hypothetical: tuple[str, ...] = ()

    __repr__ = brief

    def basis(self) -> dict[str, list[str]]:
        """What the figures rest on and what they leave out."""
        names = ("unknown_time", "unknown_energy", "provenance_time", "provenance_energy", "hypothetical")
        return {name: list(getattr(self, name)) for name in names}

    def means(self, timesteps: IntArray) -> dict[str, Edges]:
        """Means over the samples at their exits, int64 [N]: value, low and high of "latency_s" and "energy_j"."""
        chosen = (timesteps - 1, np.arange(timesteps.size))
        result: dict[str, Edges] = {}
        for name, table in (("latency_s", self.latency_s), ("energy_j", self.energy_j)):
            value, low, high = (float(edge[chosen].mean()) for edge in table)
            result[name] = (value, low, high)
        return result


@dataclass(frozen=True)
class SweepPoint:
    """One policy at one ε, measured on the test samples, but for what is said of the calibration samples.

    Attributes
    ----------
    policy: its name; cutoff: the policy itself.
    accuracy: share of right predictions at the exit; interval: Clopper-Pearson, 95 %.
    lost: share right at T and wrong at the exit.
    mean_timesteps: mean τ. naive: mean τ / T.
    isolated: mean (τ + P) / (T + P), hardware steps of a sample alone.
    streaming: mean min(τ + P, T) / T, steps per sample back to back; 1.0 = no gain in throughput.
    distance: from the optimal cutoff.
    costs: hardware → mean "latency_s" and "energy_j", each (value, low, high), estimated.
    calibration_accuracy, calibration_timesteps: accuracy and mean τ on the calibration samples, by which ε is chosen.
    """

    policy: str
    epsilon: float
    cutoff: CutoffPolicy
    accuracy: float
    interval: tuple[float, float]
    lost: float
    mean_timesteps: float
    naive: float
    isolated: float
    streaming: float
    distance: Distance
    costs: dict[str, dict[str, Edges]]
    calibration_accuracy: float
    calibration_timesteps: float

    __repr__ = brief

    def __str__(self) -> str:
        """One line."""
        accuracy = percent(self.accuracy)
        return (
            f"{self.policy} at ε = {self.epsilon:g}: {accuracy} right in {self.mean_timesteps:.2f} timesteps on average"
        )


@dataclass(frozen=True)
class Sweep:
    """All points, policy by policy with ascending ε, and what they stand between.

    Attributes
    ----------
    horizon, depth: T and the pipeline depth P.
    calibration_samples, samples: how many fitted the policies, and how many measured them.
    accuracy_at: accuracy if every sample stops at t, float64 [T]; the last is that of the full horizon.
    calibration_accuracy_full: accuracy of the full horizon on the calibration samples.
    optimal: the optimal cutoff of the test samples, an oracle of stable correctness.
    full_costs: hardware → mean cost of the full run; refusals: hardware → why the network cannot run there.
    basis: hardware → "unknown_time", "unknown_energy", "provenance_time", "provenance_energy" of its estimates, and
        "hypothetical", the features that it lacks.
    streamed: policy → hardware → {"latency_s" | "energy_j": ratio per sample, cut over full} of a stream, estimated,
        each policy at its best point; empty where no stream was put together.
    """

    horizon: int
    depth: int
    calibration_samples: int
    samples: int
    accuracy_at: FloatArray
    calibration_accuracy_full: float
    optimal: OptimalCutoff
    points: tuple[SweepPoint, ...]
    full_costs: dict[str, dict[str, Edges]] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    streamed: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    basis: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    __repr__ = brief

    def __str__(self) -> str:
        """What was swept, what bounds it, and the best policy."""
        epsilons = len({point.epsilon for point in self.points})
        best = [point for name in self.policies if (point := self.best(name)) is not None]
        return (
            f"{', '.join(self.policies)} at {epsilons} values of ε, fitted on {self.calibration_samples} samples, "
            f"measured on {self.samples}\n"
            f"full horizon T = {self.horizon}: {percent(self.accuracy_full)} right; {self.optimal}\n"
            + (
                f"fewest timesteps at ≤ {100 * ACCURACY_LOST:g} points lost in calibration: "
                if best
                else "no policy keeps the accuracy"
            )
            + (str(min(best, key=lambda point: point.calibration_timesteps)) if best else "")
        )

    @property
    def accuracy_full(self) -> float:
        """Accuracy of the full horizon."""
        return float(self.accuracy_at[-1])

    @property
    def policies(self) -> tuple[str, ...]:
        """Names of the policies, in the order of the points."""
        return tuple(dict.fromkeys(point.policy for point in self.points))

    def of(self, policy: str) -> tuple[SweepPoint, ...]:
        """The points of one policy, ascending ε."""
        return tuple(point for point in self.points if point.policy == policy)

    def best(self, policy: str, accuracy_lost: float = ACCURACY_LOST, on: Split = "calibration") -> SweepPoint | None:
        """The point with the fewest timesteps that loses no more accuracy; None if all lose more.

        on: the samples that choose. "calibration", the ones that fitted the policy: what it does on the test samples is
        then no promise, but an honest measurement. "test": fair between policies, a little too good as a promise.
        """
        if on == "calibration":
            samples, full = self.calibration_samples, self.calibration_accuracy_full
            measured = [(p.calibration_accuracy, p.calibration_timesteps, p) for p in self.of(policy)]
        else:
            samples, full = self.samples, self.accuracy_full
            measured = [(p.accuracy, p.mean_timesteps, p) for p in self.of(policy)]
        allowed = round(full * samples) - accuracy_lost * samples
        kept = [(timesteps, point) for right, timesteps, point in measured if round(right * samples) >= allowed]
        return min(kept, key=lambda pair: pair[0])[1] if kept else None

    def to_dict(self) -> dict[str, Any]:
        """The sweep as JSON data."""
        points = [{**asdict(point), "cutoff": point.cutoff.to_dict()} for point in self.points]
        optimal = self.optimal
        return {
            "horizon": self.horizon,
            "depth": self.depth,
            "calibration_samples": self.calibration_samples,
            "samples": self.samples,
            "accuracy_at": self.accuracy_at.tolist(),
            "accuracy_full": self.accuracy_full,
            "calibration_accuracy_full": self.calibration_accuracy_full,
            "optimal_cutoff": {"mean_timesteps": optimal.mean_timesteps, "never_right": int(optimal.never_right.sum())},
            "full_costs": self.full_costs,
            "refusals": {name: refusal.feature for name, refusal in self.refusals.items()},
            "streamed": self.streamed,
            "estimated": self.basis,
            "points": points,
        }


def check_choice(policies: Sequence[str], epsilons: Sequence[float]) -> None:
    """Raise InputError for a policy that there is not, or an ε outside [0, 1)."""
    for policy in policies:
        policy_class(policy)
    for epsilon in epsilons:
        allowed_wrong(epsilon, 0)


def sweep(
    calibration: LabelledScores,
    test: LabelledScores,
    depth: int,
    policies: Sequence[str] = POLICIES,
    epsilons: Sequence[float] = EPSILONS,
    minimum_count: int = 20,
    costs: Mapping[str, ExitCosts | Refusal] | None = None,
) -> Sweep:
    """Fit every policy for every ε to one split, and measure it on the other.

    Parameters
    ----------
    calibration, test: full-horizon scores of disjoint samples.
    depth: pipeline depth P in hardware steps.
    costs: hardware → what the test samples cost at each exit, or why the network cannot run there.

    Raises InputError if the splits do not fit each other, or a policy cannot be fitted.
    """
    if (calibration.horizon, calibration.totals.shape[2]) != (test.horizon, test.totals.shape[2]):
        raise InputError("sweep: the two splits differ in timesteps or classes: run the same network on both")
    check_choice(policies, epsilons)
    costs = costs or {}
    known = {name: table for name, table in costs.items() if isinstance(table, ExitCosts)}
    for name, table in known.items():
        if table.latency_s.shape != (3, test.horizon, test.samples):
            raise InputError(f"sweep: costs on {name} of shape {table.latency_s.shape} are of other samples")
    measured = _TestSplit(test, depth, optimal_cutoff(test), known)
    points: list[SweepPoint] = []
    for policy in policies:
        fitted = policy_class(policy).fit(calibration, epsilons, minimum_count)
        seen, exits = (all_exit_timesteps(fitted, data.totals) for data in (calibration, test))
        points += [
            measured.point(policy, epsilon, cutoff, timesteps, _seen(calibration, at))
            for epsilon, cutoff, at, timesteps in zip(epsilons, fitted, seen, exits, strict=True)
        ]
    whole = np.full(test.samples, test.horizon, dtype=np.int64)
    return Sweep(
        horizon=test.horizon,
        depth=depth,
        calibration_samples=calibration.samples,
        samples=test.samples,
        accuracy_at=test.right.mean(axis=1),
        calibration_accuracy_full=float(calibration.right[-1].mean()),
        optimal=measured.optimal,
        points=tuple(points),
        full_costs={name: table.means(whole) for name, table in known.items()},
        refusals={name: table for name, table in costs.items() if isinstance(table, Refusal)},
        basis={name: table.basis() for name, table in known.items()},
    )


def _seen(data: LabelledScores, timesteps: IntArray) -> tuple[float, float]:
    """Accuracy and mean τ on the calibration samples."""
    return float(data.right_at(timesteps).mean()), float(timesteps.mean())


@dataclass(frozen=True)
class _TestSplit:
    """What every point is measured on: the test samples, pipeline depth P, the optimal cutoff, costs at each exit."""

    scores: LabelledScores
    depth: int
    optimal: OptimalCutoff
    costs: Mapping[str, ExitCosts]

    def point(
        self, policy: str, epsilon: float, cutoff: CutoffPolicy, timesteps: IntArray, seen: tuple[float, float]
    ) -> SweepPoint:
        """Measure one policy at one ε; timesteps: its exits, int64 [N]; seen: see `_seen`."""
        test, depth, horizon = self.scores, self.depth, self.scores.horizon
        right, mean = int(test.right_at(timesteps).sum()), float(timesteps.mean())
        return SweepPoint(
            policy=policy,
            epsilon=float(epsilon),
            cutoff=cutoff,
            accuracy=right / test.samples,
            interval=share_interval(right, test.samples),
            lost=float(test.lost_at(timesteps).mean()),
            mean_timesteps=mean,
            naive=mean / horizon,
            isolated=(mean + depth) / (horizon + depth),
            streaming=float(np.minimum(timesteps + depth, horizon).mean()) / horizon,
            distance=self.optimal.distance(timesteps),
            costs={name: table.means(timesteps) for name, table in self.costs.items()},
            calibration_accuracy=seen[0],
            calibration_timesteps=seen[1],
        )
