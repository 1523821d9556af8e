"""Calibration: fit a policy to held-out samples, and say how it does on them, with confidence intervals.

Without `delta` the thresholds hold on the samples that they were fitted to, nothing more (threshold.py, and each
policy's own `fit`). With `delta` they carry a guarantee for new samples (guarantee.py).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cutoff.base import (
    CutoffPolicy,
    IntArray,
    LabelledScores,
    ScoredRun,
    exit_timesteps,
    is_integer,
    policy_class,
)
from spikecut.deploy.cutoff.calibration.guarantee import Guarantee, check_guarantee, guaranteed_policy
from spikecut.deploy.cutoff.calibration.intervals import LEVEL, clopper_pearson, share_interval, smallest_sample
from spikecut.deploy.cutoff.calibration.oct import Distance, optimal_cutoff
from spikecut.deploy.cutoff.threshold import allowed_wrong
from spikecut.errors import InputError
from spikecut.text import brief, percent, told

Interval = tuple[float, float]


@dataclass(frozen=True)
class CalibrationStep:
    """One timestep of a calibration.

    Attributes
    ----------
    timestep: t, from 1.
    threshold: β_t, or None where the policy never cuts or has no thresholds.
    considered: samples that the policy would cut at t, those that exited earlier included: #(g_t > β_t) for thresholds.
    right: how many of those are right from t to the end (R_t).
    precision_interval: Clopper-Pearson, 95 %; (0, 1) where nothing is considered.
    exits: samples that really exit at t when the policy runs on the calibration scores.
    """

    timestep: int
    threshold: int | None
    considered: int
    right: int
    precision_interval: Interval
    exits: int

    __repr__ = brief

    @property
    def precision(self) -> float | None:
        """right / considered; None where the policy never cuts."""
        return self.right / self.considered if self.considered else None


@dataclass(frozen=True)
class Calibration:
    """A calibrated policy and how it came about.

    Attributes
    ----------
    policy: the policy, ready to run.
    epsilon: tolerated share; of what, the policy's `fit` says, or the guarantee.
    minimum_count: n_min, samples above a threshold without which it is not trusted.
    samples: N.
    steps: one CalibrationStep per timestep.
    accuracy_full, accuracy_cutoff: share of right predictions at T and at the exit, on the calibration samples.
    lost: share right at T and wrong at the exit.
    mean_timesteps: mean exit on the calibration samples.
    distance: from the optimal cutoff (OCT), on the calibration samples.
    guarantee: what was certified; None without `delta`.
    notes: for the user, where the samples or the thresholds are no basis for a cutoff; empty where all is well.

    The intervals are Clopper-Pearson's at 95 %. They are those of samples that also chose the thresholds, so what is
    said of the cutoff is a little too good; only the guarantee allows for that.
    """

    policy: CutoffPolicy
    epsilon: float
    minimum_count: int
    samples: int
    steps: tuple[CalibrationStep, ...]
    accuracy_full: float
    accuracy_cutoff: float
    lost: float
    mean_timesteps: float
    distance: Distance
    guarantee: Guarantee | None = None
    notes: tuple[str, ...] = ()

    __repr__ = brief

    def __str__(self) -> str:
        """The policy, how it does on the calibration samples, and what is guaranteed for new ones."""
        low, high = map(percent, self.interval(self.lost))
        promise = "no guarantee for new samples" if self.guarantee is None else str(self.guarantee)
        return (
            f"{self.policy}\n"
            f"calibrated at ε = {self.epsilon:g} on {self.samples} samples: {percent(self.accuracy_cutoff)} right in "
            f"{self.mean_timesteps:.2f} timesteps on average, {percent(self.accuracy_full)} at T = {len(self.steps)}\n"
            f"{percent(self.lost)} (95 %: {low} to {high}) are right at T and wrong at the exit\n{promise}"
            f"{told(self.notes)}"
        )

    def interval(self, share: float) -> Interval:
        """Clopper-Pearson interval of a share of the samples."""
        return share_interval(round(share * self.samples), self.samples)

    def to_dict(self) -> dict[str, Any]:
        """JSON data; `policy_from_dict(data["policy"])` gives the policy back."""
        shares = {name: getattr(self, name) for name in ("accuracy_full", "accuracy_cutoff", "lost")}
        return {
            "policy": self.policy.to_dict(),
            "epsilon": self.epsilon,
            "minimum_count": self.minimum_count,
            "samples": self.samples,
            **shares,
            "intervals": {name: list(self.interval(share)) for name, share in shares.items()},
            "interval_level": LEVEL,
            "mean_timesteps": self.mean_timesteps,
            "optimal_cutoff_distance": asdict(self.distance),
            "guarantee": None if self.guarantee is None else asdict(self.guarantee),
            "notes": list(self.notes),
            "steps": [
                {
                    "timestep": step.timestep,
                    "threshold": step.threshold,
                    "considered": step.considered,
                    "right": step.right,
                    "precision": step.precision,
                    "precision_interval": list(step.precision_interval),
                    "exits": step.exits,
                }
                for step in self.steps
            ],
        }


def check_arguments(
    policy: str | type[CutoffPolicy], epsilon: float, minimum_count: int, delta: float | None, seed: int
) -> type[CutoffPolicy]:
    """The class of the policy; InputError for an argument of `calibrate` that is out of range."""
    fitter = policy if isinstance(policy, type) else policy_class(policy)
    if not issubclass(fitter, CutoffPolicy):
        raise InputError(f"policy {policy!r}: expected a name, or a subclass of spikecut.CutoffPolicy with `fit`")
    if not is_integer(minimum_count) or minimum_count < 1:
        raise InputError(f"minimum_count {minimum_count!r}: expected an integer ≥ 1")
    allowed_wrong(epsilon, 0)
    if delta is not None:
        check_guarantee(epsilon, delta, seed)
    return fitter


def calibrate(
    scores: npt.ArrayLike | ScoredRun,
    labels: npt.ArrayLike,
    policy: str | type[CutoffPolicy] = "topk",
    epsilon: float = 0.01,
    minimum_count: int = 20,
    delta: float | None = None,
    seed: int = 0,
) -> Calibration:
    """Fit a cutoff policy to full-horizon scores of samples that were not trained on.

    Parameters
    ----------
    scores: a RunTrace to the horizon; or integers [T, N, classes], what each timestep of such a run adds: there a
        halted run does not show, the zeros beyond an exit may as well be a silent output.
    labels: integers [N]. minimum_count: n_min ≥ 1.
    policy: "topk", "confidence", "entropy", "spikecp", "fixed", a policy of another package, or a class of one's own,
        derived from CutoffPolicy, with a `fit`.
    epsilon: tolerated share, in [0, 1): of wrong cuts (topk: per timestep), of sets missing the right class (spikecp),
        or of samples that only the full horizon gets right (fixed, and any policy with `delta`). Taken as the decimal
        that it prints as: 0.01 is exactly 1/100, and the test of the ratio is exact in integers.
    delta: with it, thresholds are chosen so that with probability ≥ 1 - δ the samples that only the full horizon gets
        right are at most the share ε of new ones, in the mean. ε and δ then lie in (0, 1).
    seed: of the division of the samples that a guarantee needs.

    Raises InputError for an argument out of range, shapes that do not fit, a halted run, or too few classes or samples.
    """
    fitter = check_arguments(policy, epsilon, minimum_count, delta, seed)
    data, guarantee = LabelledScores.of(scores, labels), None
    if delta is None:
        (fitted,) = fitter.fit(data, [epsilon], int(minimum_count))
    else:
        fitted, guarantee = guaranteed_policy(fitter, data, epsilon, delta, int(minimum_count), seed)
    timesteps = exit_timesteps(fitted, data.totals)
    return Calibration(
        policy=fitted,
        epsilon=float(epsilon),
        minimum_count=int(minimum_count),
        samples=data.samples,
        steps=_table(fitted, data, timesteps),
        accuracy_full=float(data.right[-1].mean()),
        accuracy_cutoff=float(data.right_at(timesteps).mean()),
        lost=float(data.lost_at(timesteps).mean()),
        mean_timesteps=float(timesteps.mean()),
        distance=optimal_cutoff(data).distance(timesteps),
        guarantee=guarantee,
        notes=_notes(data, timesteps, float(epsilon), int(minimum_count), guarantee),
    )


def _notes(
    data: LabelledScores, timesteps: IntArray, epsilon: float, minimum_count: int, guarantee: Guarantee | None
) -> tuple[str, ...]:
    """Where the samples or the thresholds are no basis for a cutoff, in words."""
    notes, horizon, samples = [], data.horizon, data.samples
    present = np.unique(data.labels)
    if present.size == 1 and data.totals.shape[2] > 1:
        notes.append(f"all {samples:,} labels are class {present[0]}: these thresholds rest on one class alone")
    if horizon > 1 and (timesteps == horizon).all() and not (guarantee and guarantee.note):
        never = f"the cutoff never exits before T = {horizon} on these samples"
        if minimum_count > samples:
            notes.append(f"{never}: no threshold can rest on {minimum_count:,} of {samples:,} (minimum count)")
        else:
            notes.append(f"{never}: a larger ε, another policy or more samples may help")
    tail, high = (1 - LEVEL) / 2, share_interval(0, samples)[1]
    if guarantee is None and high > epsilon > 0:
        notes.append(
            f"{samples:,} samples are few for ε = {epsilon:g}: even if the cutoff loses none of them, it may lose up "
            f"to {percent(high)} of new ones ({LEVEL:.0%} interval); {smallest_sample(epsilon, tail):,} would do"
        )
    return tuple(notes)


def _table(policy: CutoffPolicy, data: LabelledScores, timesteps: IntArray) -> tuple[CalibrationStep, ...]:
    """What the policy selects on the calibration samples."""
    state = policy.init(data.samples, data.totals.shape[2])
    thresholds = getattr(policy, "thresholds", (None,) * data.horizon)
    last = min(policy.horizon, data.horizon)
    considered = np.zeros(data.horizon, dtype=np.int64)
    right = np.zeros(data.horizon, dtype=np.int64)
    for t in range(1, last + 1):
        above, state = policy.step(data.totals[t - 1], t, state)
        considered[t - 1], right[t - 1] = above.sum(), (above & data.right_until_end[t - 1]).sum()
    low, high = clopper_pearson(right, considered)
    exits = np.bincount(timesteps, minlength=data.horizon + 1)[1:]
    return tuple(
        CalibrationStep(
            timestep=t + 1,
            threshold=thresholds[t],
            considered=int(considered[t]),
            right=int(right[t]),
            precision_interval=(float(low[t]), float(high[t])),
            exits=int(exits[t]),
        )
        for t in range(data.horizon)
    )
