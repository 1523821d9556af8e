"""Policies of one kind: a whole number says how safe the answer is, and it must exceed a threshold.

Their calibration is that of the top-K cutoff, with any such number in the place of the gap. For each t, β_t is the
smallest β in {0} ∪ {observed g_t} with

    #(g_t > β and R_t) / #(g_t > β) ≥ 1 - ε    and    #(g_t > β) ≥ n_min,

and the policy never cuts at t where there is none. g_t: the number at t, larger is safer; R_t: the prediction is right
at t and at every later timestep. After Wu et al., Frontiers in Neuroscience 19 (2025), doi 10.3389/fnins.2025.1522788;
their code tunes on training data with dropout, over 100 bins of g, this one does not.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from spikecut.deploy.cutoff.base import (
    BoolArray,
    CutoffPolicy,
    IntArray,
    LabelledScores,
    State,
    exit_timesteps,
    is_integer,
)
from spikecut.errors import InputError

Thresholds = tuple[int | None, ...]
NEVER = np.iinfo(np.int64).max


class ThresholdPolicy(CutoffPolicy):
    """Cut at the first t whose number exceeds β_t, strictly. Subclasses are frozen dataclasses.

    Attributes
    ----------
    thresholds: β_t for t = 1..T, in the units of `safety`; None never cuts at t.
    """

    thresholds: Thresholds

    @abstractmethod
    def safety(self, totals: IntArray, t: int) -> IntArray:
        """How safe the answer is at t, int64 [N], larger is safer, from Y_t int64 [N, classes].

        Whole numbers, each computed from its own sample alone: the number of samples must not change a bit.
        """

    @classmethod
    @abstractmethod
    def untuned(cls, data: LabelledScores) -> "ThresholdPolicy":
        """The policy that never cuts, with everything but its thresholds fitted."""

    @property
    def horizon(self) -> int:
        """T, one threshold per timestep."""
        return len(self.thresholds)

    def step(self, totals: IntArray, t: int, state: State) -> tuple[BoolArray, State]:
        """Exit where the number exceeds β_t."""
        if not 1 <= t <= self.horizon:
            raise InputError(f"cutoff policy {self.name}: no threshold for t = {t}, it has t = 1 to {self.horizon}")
        threshold = self.thresholds[t - 1]
        if threshold is None:
            return np.zeros(totals.shape[0], dtype=np.bool_), state
        return self.safety(totals, t) > threshold, state

    def to_dict(self) -> dict[str, Any]:
        """The policy as JSON data; null where it never cuts."""
        return {"policy": self.name, "thresholds": list(self.thresholds)}

    def all_safety(self, totals: IntArray) -> IntArray:
        """`safety` at every t, int64 [T, N], from Y int64 [T, N, classes]."""
        return np.stack([self.safety(total, t) for t, total in enumerate(totals, start=1)])

    @classmethod
    def fit(cls, data: LabelledScores, epsilons: Sequence[float], minimum_count: int) -> list[CutoffPolicy]:
        """ε: tolerated share of cuts at t whose prediction is not right from t to the end."""
        untuned = cls.untuned(data)
        allowed = np.stack([allowed_wrong(epsilon, data.samples) for epsilon in epsilons])
        columns = [
            _thresholds(safety, right, allowed, minimum_count)
            for safety, right in zip(untuned.all_safety(data.totals), data.right_until_end, strict=True)
        ]
        return [replace(untuned, thresholds=row) for row in zip(*columns, strict=True)]  # type: ignore[type-var]


class SharedThresholdPolicy(ThresholdPolicy):
    """A threshold policy that is calibrated to the same threshold at every t."""

    @classmethod
    def fit(cls, data: LabelledScores, epsilons: Sequence[float], minimum_count: int) -> list[CutoffPolicy]:
        """ε: tolerated share of all cuts, at whatever t < T, whose prediction is not right from there to the end."""
        untuned = cls.untuned(data)
        allowed = np.stack([allowed_wrong(epsilon, data.samples) for epsilon in epsilons])
        found: Sequence[int | None] = [None] * len(epsilons)
        if data.horizon > 1:
            # A sample is cut at t for exactly the β with highest[t - 1] ≤ β < highest[t].
            highest = np.maximum.accumulate(untuned.all_safety(data.totals)[:-1], axis=0)
            before = np.concatenate([np.full((1, data.samples), np.iinfo(np.int64).min), highest[:-1]])
            wrong = ~data.right_until_end[:-1] & (highest > before)
            candidates = np.unique(np.append(highest, 0))
            cut = _above(highest[-1], candidates)
            failures = _above(highest[wrong], candidates) - _above(before[wrong], candidates)
            found = _smallest(candidates, cut, failures, allowed, minimum_count)
        return [replace(untuned, thresholds=(beta,) * data.horizon) for beta in found]  # type: ignore[type-var]


def allowed_wrong(epsilon: float, samples: int) -> IntArray:
    """floor(ε n) for n = 0..N, int64 [N + 1]: right/n ≥ 1 - ε exactly when n - right ≤ floor(ε n).

    ε is taken as the decimal that it prints as. InputError unless it is a number in [0, 1).
    """
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float | np.integer | np.floating):
        raise InputError(f"epsilon {epsilon!r}: expected a number in [0, 1)")
    if not 0 <= epsilon < 1:
        raise InputError(f"epsilon {epsilon}: expected a number in [0, 1)")
    return _floors(str(epsilon), samples)


@lru_cache(maxsize=512)
def _floors(epsilon: str, samples: int) -> IntArray:
    """floor(ε n), read-only."""
    share = Fraction(epsilon)
    if share.numerator * samples < 2**62 and share.denominator < 2**62:
        floors = np.arange(samples + 1, dtype=np.int64) * share.numerator // share.denominator
    else:
        floors = np.array([share.numerator * n // share.denominator for n in range(samples + 1)], dtype=np.int64)
    floors.setflags(write=False)
    return floors


def _above(values: IntArray, candidates: IntArray) -> IntArray:
    """How many values exceed each candidate, int64 [candidates]."""
    return np.asarray(values.size - np.searchsorted(np.sort(values, axis=None), candidates, side="right"))


def _thresholds(safety: IntArray, right: BoolArray, allowed: IntArray, minimum_count: int) -> list[int | None]:
    """The smallest admissible β of one timestep for each ε, from g int64 [N], R bool [N], allowed [ε, N + 1]."""
    candidates = np.unique(np.append(safety, 0))
    wrong = _above(safety[~right], candidates)
    return _smallest(candidates, _above(safety, candidates), wrong, allowed, minimum_count)


def _smallest(
    candidates: IntArray, above: IntArray, wrong: IntArray, allowed: IntArray, minimum_count: int
) -> list[int | None]:
    """The smallest candidate, for each row of `allowed`, with enough samples above it and few enough wrong ones."""
    admissible = np.asarray((above >= minimum_count) & (wrong <= allowed[:, above]))
    found = np.asarray(admissible.any(axis=1))
    return [
        int(candidates[first]) if any_admissible else None
        for first, any_admissible in zip(admissible.argmax(axis=1), found, strict=True)
    ]


def checked_thresholds(name: str, thresholds: object, minimum: int = 0) -> Thresholds:
    """Thresholds as a tuple of Python integers and None; InputError, naming the timestep, if they are not."""
    if not isinstance(thresholds, tuple) or not thresholds:
        raise InputError(f"cutoff policy {name}: thresholds must be a tuple with one entry per timestep")
    for t, threshold in enumerate(thresholds, start=1):
        if threshold is not None and (not is_integer(threshold) or threshold < minimum):
            raise InputError(
                f"cutoff policy {name}: threshold {threshold!r} at t = {t}, expected None or an integer ≥ {minimum}"
            )
    return tuple(None if threshold is None else int(threshold) for threshold in thresholds)


def listed_thresholds(data: Mapping[str, Any]) -> tuple[Any, ...]:
    """The entry "thresholds" of a policy's dictionary as a tuple; InputError if it is no list."""
    thresholds = data["thresholds"]
    if not isinstance(thresholds, list | tuple):
        raise InputError(f"cutoff policy {data['policy']}: key 'thresholds' is {thresholds!r}, expected a list")
    return tuple(thresholds)


def all_exit_timesteps(policies: Sequence[CutoffPolicy], totals: IntArray) -> IntArray:
    """Where each of K policies ends each sample, int64 [K, N], from Y int64 [T, N, classes].

    The same as `exit_timesteps` for each; policies that differ in nothing but thresholds share the work.
    """
    horizon, samples, classes = totals.shape
    result = np.full((len(policies), samples), horizon, dtype=np.int64)
    last: ThresholdPolicy | None = None
    safety = np.zeros((0, samples), dtype=np.int64)
    for row, policy in zip(result, policies, strict=True):
        if not isinstance(policy, ThresholdPolicy):
            row[:] = exit_timesteps(policy, totals)
            continue
        policy.check_horizon(horizon)
        if last is None or replace(last, thresholds=policy.thresholds) != policy:  # type: ignore[type-var]
            policy.init(samples, classes)
            last, safety = policy, policy.all_safety(totals)
        limits = np.array([NEVER if limit is None else limit for limit in policy.thresholds])[:-1, None]
        cut = safety[:-1] > limits
        row[:] = np.where(cut.any(axis=0), cut.argmax(axis=0) + 1, horizon) if horizon > 1 else horizon
    return result
