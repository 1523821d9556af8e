"""Calibration of the top-K cutoff: the smallest threshold per timestep that is right often enough.

For each t, β_t is the smallest β in {0} ∪ {observed g_t} with

    #(g_t > β and R_t) / #(g_t > β) ≥ 1 - ε    and    #(g_t > β) ≥ n_min,

and the policy never cuts at t where there is none. Y_t: running sum of the scores; g_t: top-1 minus top-2 of Y_t;
R_t: the prediction is right at t and at every later timestep. After Wu et al., Frontiers in Neuroscience 19 (2025),
doi 10.3389/fnins.2025.1522788; their code tunes on training data with dropout, over 100 bins of g, this one does not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cutoff.base import (
    BoolArray,
    CutoffPolicy,
    IntArray,
    apply_policy,
    checked_scores,
    is_integer,
)
from spikecut.deploy.cutoff.oct import checked_labels, right_until_end
from spikecut.deploy.cutoff.topk import TopK, top_two_gap
from spikecut.errors import InputError


@dataclass(frozen=True)
class CalibrationStep:
    """One timestep of a calibration.

    Attributes
    ----------
    timestep: t, from 1.
    threshold: β_t, or None where the policy never cuts.
    considered: #(g_t > β_t) over all samples, those that left earlier included; 0 where it never cuts.
    right: how many of those are right from t to the end (R_t).
    exits: samples that really leave at t when the policy runs on the calibration scores.
    """

    timestep: int
    threshold: int | None
    considered: int
    right: int
    exits: int

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
    epsilon: tolerated share of wrong cuts, per timestep, on the calibration samples.
    minimum_count: n_min, samples above a threshold without which it is not trusted.
    samples: N.
    steps: one CalibrationStep per timestep.
    accuracy_full, accuracy_cutoff: share of right predictions at T and at the exit, on the calibration samples.
    mean_timesteps: mean exit on the calibration samples.
    """

    policy: CutoffPolicy
    epsilon: float
    minimum_count: int
    samples: int
    steps: tuple[CalibrationStep, ...]
    accuracy_full: float
    accuracy_cutoff: float
    mean_timesteps: float

    def to_dict(self) -> dict[str, Any]:
        """JSON data; `policy_from_dict(data["policy"])` gives the policy back."""
        return {
            "policy": self.policy.to_dict(),
            "epsilon": self.epsilon,
            "minimum_count": self.minimum_count,
            "samples": self.samples,
            "accuracy_full": self.accuracy_full,
            "accuracy_cutoff": self.accuracy_cutoff,
            "mean_timesteps": self.mean_timesteps,
            "steps": [
                {
                    "timestep": step.timestep,
                    "threshold": step.threshold,
                    "considered": step.considered,
                    "right": step.right,
                    "precision": step.precision,
                    "exits": step.exits,
                }
                for step in self.steps
            ],
        }


def calibrate(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    policy: str = "topk",
    epsilon: float = 0.01,
    minimum_count: int = 20,
) -> Calibration:
    """Fit a cutoff policy to full-horizon scores of samples that were not trained on.

    Parameters
    ----------
    scores: integers [T, N, classes], what each timestep adds.
    labels: integers [N].
    policy: "topk".
    epsilon: tolerated share of wrong cuts per timestep, in [0, 1). Taken as the decimal that it prints as: 0.01 is
        exactly 1/100, and the test of the ratio is exact in integers.
    minimum_count: n_min ≥ 1.

    Raises InputError if an argument is out of range, shapes do not fit, or there is one class only.
    """
    fitters: dict[str, Callable[[IntArray, BoolArray, IntArray, int], TopK]] = {"topk": _fit_topk}
    if policy not in fitters:
        raise InputError(f"cutoff policy {policy!r} cannot be calibrated; expected one of {', '.join(sorted(fitters))}")
    if not is_integer(minimum_count) or minimum_count < 1:
        raise InputError(f"minimum_count {minimum_count!r}: expected an integer ≥ 1")
    checked = checked_scores(scores)
    totals = checked.cumsum(axis=0)
    _, samples, classes = totals.shape
    targets = checked_labels(labels, samples, classes)
    right = right_until_end(totals, targets)
    fitted = fitters[policy](totals, right, _allowed_wrong(epsilon, samples), int(minimum_count))
    exits = apply_policy(fitted, checked)
    return Calibration(
        policy=fitted,
        epsilon=float(epsilon),
        minimum_count=int(minimum_count),
        samples=samples,
        steps=_table(fitted, totals, right, exits.timesteps),
        accuracy_full=float(right[-1].mean()),
        accuracy_cutoff=float((exits.predictions == targets).mean()),
        mean_timesteps=float(exits.timesteps.mean()),
    )


def _allowed_wrong(epsilon: float, samples: int) -> IntArray:
    """floor(ε n) for n = 0..N, int64 [N + 1]: right/n ≥ 1 - ε exactly when n - right ≤ floor(ε n)."""
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float | np.integer | np.floating):
        raise InputError(f"epsilon {epsilon!r}: expected a number in [0, 1)")
    if not 0 <= epsilon < 1:
        raise InputError(f"epsilon {epsilon}: expected a number in [0, 1)")
    share = Fraction(str(epsilon))
    return np.array([share.numerator * n // share.denominator for n in range(samples + 1)], dtype=np.int64)


def _fit_topk(totals: IntArray, right: BoolArray, allowed_wrong: IntArray, minimum_count: int) -> TopK:
    """β_t for every t."""
    gaps = top_two_gap(totals)
    return TopK(tuple(_threshold(g, r, allowed_wrong, minimum_count) for g, r in zip(gaps, right, strict=True)))


def _threshold(gap: IntArray, right: BoolArray, allowed_wrong: IntArray, minimum_count: int) -> int | None:
    """The smallest admissible β for one timestep, from g int64 [N] and R bool [N]."""
    order = np.argsort(gap)
    ordered = gap[order]
    candidates = np.unique(np.append(ordered, 0))
    first_above = np.searchsorted(ordered, candidates, side="right")
    wrong_below = np.concatenate(([0], np.cumsum(~right[order])))
    above = gap.size - first_above
    wrong = wrong_below[-1] - wrong_below[first_above]
    admissible = (above >= minimum_count) & (wrong <= allowed_wrong[above])
    return int(candidates[admissible.argmax()]) if admissible.any() else None


def _table(policy: TopK, totals: IntArray, right: BoolArray, timesteps: IntArray) -> tuple[CalibrationStep, ...]:
    """What each threshold selects on the calibration samples."""
    horizon, samples, classes = totals.shape
    state = policy.init(samples, classes)
    steps = []
    for t in range(1, horizon + 1):
        above, state = policy.step(totals[t - 1], t, state)
        steps.append(
            CalibrationStep(
                timestep=t,
                threshold=policy.thresholds[t - 1],
                considered=int(above.sum()),
                right=int((above & right[t - 1]).sum()),
                exits=int((timesteps == t).sum()),
            )
        )
    return tuple(steps)
