"""CutoffPolicy: when a sample's answer is safe. A pure function of the scores so far.

The same policy object calibrates, drives the batched engine and runs inside the Lava monitor, so nothing heavier
than numpy is imported here. Y_t is the running sum of the output's scores after timestep t, counted from 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from spikecut.errors import InputError
from spikecut.export.network.graph import is_graded
from spikecut.export.network.layers import IntegerNetwork
from spikecut.registry import Registry
from spikecut.text import brief, listed

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

State = npt.NDArray[np.int64]
"""What a policy remembers of each sample, int64 [N, ...]: samples first, so that `state[keep]` drops finished ones."""


class CutoffPolicy(ABC):
    """Base of every policy: frozen, comparable, and the same after `policy_from_dict(policy.to_dict())`.

    Registered under the entry points "spikecut.cutoff_policies"; spikecut's own are in pyproject.toml.
    At timestep T the run ends by itself (reason "horizon"), whatever the policy says.
    """

    name: ClassVar[str]
    on_neurons: ClassVar[bool] = False
    """Whether sums and comparisons alone decide, so that neurons of a chip can; others need a processor."""

    def __str__(self) -> str:
        """One line: the name, and what `to_dict` tells."""
        told = {key: value for key, value in self.to_dict().items() if key != "policy"}
        return f"cutoff policy {self.name}: " + "; ".join(f"{key} {_in_words(value)}" for key, value in told.items())

    @property
    @abstractmethod
    def horizon(self) -> int:
        """The last timestep that the policy speaks about; see `check_horizon`."""

    def check_horizon(self, horizon: int) -> None:
        """Raise InputError unless the policy fits a run of `horizon` timesteps."""
        if horizon != self.horizon:
            raise InputError(
                f"cutoff policy {self.name}: made for T = {self.horizon} timesteps, the run has T = {horizon}; "
                "calibrate it on this network"
            )

    def init(self, samples: int, classes: int) -> State:
        """State before timestep 1; InputError if the policy cannot judge so few classes."""
        return np.zeros((samples, 0), dtype=np.int64)

    @abstractmethod
    def step(self, totals: IntArray, t: int, state: State) -> tuple[BoolArray, State]:
        """Judge timestep t (1-based) from Y_t, int64 [N, classes]: exit bool [N], and the state for t + 1."""

    def step_each(self, totals: IntArray, timesteps: IntArray, state: State) -> tuple[BoolArray, State]:
        """Like `step` for samples that are each at a timestep of their own, int64 [N]."""
        leaves, state = np.zeros(timesteps.shape, dtype=np.bool_), state.copy()
        for t in np.unique(timesteps).tolist():
            at = np.flatnonzero(timesteps == t)
            leaves[at], state[at] = self.step(totals[at], t, state[at])
        return leaves, state

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The policy as JSON data, with its `name` under "policy"."""

    @classmethod
    @abstractmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "CutoffPolicy":
        """The policy that `to_dict` described; InputError if a key is missing, unknown or of the wrong type."""

    @classmethod
    def fit(cls, data: "LabelledScores", epsilons: "Sequence[float]", minimum_count: int) -> "list[CutoffPolicy]":
        """One policy for each ε, fitted to held-out samples; the larger ε, the earlier it cuts.

        Parameters
        ----------
        data: full-horizon scores with their labels.
        epsilons: tolerated shares in [0, 1); each policy's module says of what.
        minimum_count: samples that a threshold must rest on.

        Raises InputError where the policy has nothing to calibrate.
        """
        raise InputError(f"cutoff policy {cls.name!r} cannot be calibrated: it has no method `fit`")


def _in_words(value: object) -> str:
    if isinstance(value, list | tuple):
        return listed(["never" if each is None else each for each in value])
    return str(value)


def _policy(loaded: object) -> type[CutoffPolicy]:
    if not isinstance(loaded, type) or not issubclass(loaded, CutoffPolicy):
        raise TypeError("it is no subclass of CutoffPolicy")
    return loaded


CUTOFF_POLICIES: Registry[type[CutoffPolicy]] = Registry("spikecut.cutoff_policies", "cutoff policy", _policy)


def policy_names() -> list[str]:
    """Names of all policies, those of other packages included, sorted."""
    return CUTOFF_POLICIES.names()


def policy_class(name: object, asked: str = "") -> type[CutoffPolicy]:
    """The policy of this name; InputError, naming the known ones, if there is none or it cannot be loaded.

    asked: what the user was asked for it with.
    """
    found = CUTOFF_POLICIES.get(name, asked)
    if found.name != name:
        raise InputError(f"cutoff policy {name!r} calls itself {found.name!r}: its package must register it as that")
    return found


def policy_from_dict(data: Any) -> CutoffPolicy:
    """The policy that `to_dict` described; InputError, naming the key, if it is not one."""
    if not isinstance(data, Mapping):
        raise InputError(f"cutoff policy: expected an object with a key 'policy', got {type(data).__name__}")
    return policy_class(data.get("policy"), "cutoff policy: key 'policy'").from_dict(data)


def check_classes(network: IntegerNetwork, what: str) -> None:
    """Raise InputError for the one output of a graded network, which is a number and no class; what: needs classes."""
    if is_graded(network) and network.classes == 1:
        raise InputError(
            f"{what}: {network.name} has one graded output, as a regression has, and no classes to be sure of: run it "
            "without a cutoff (--no-cutoff), or with the policy fixed"
        )


def check_keys(data: Mapping[str, Any], expected: set[str]) -> None:
    """Raise InputError unless the policy's dictionary has exactly these keys."""
    if set(data) != expected:
        missing, unknown = sorted(expected - set(data)), sorted(map(str, set(data) - expected))
        raise InputError(f"cutoff policy {data.get('policy')}: missing keys {missing}, unknown keys {unknown}")


def is_integer(value: object) -> bool:
    """Whether a value is a Python or numpy integer, and no boolean."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def checked_scores(scores: npt.ArrayLike) -> IntArray:
    """Scores as int64 [T, N, classes]; InputError if they are empty, of another rank, or not integers."""
    array = np.asarray(scores)
    if array.ndim != 3 or min(array.shape) < 1:
        raise InputError(f"scores of shape {array.shape}: expected [T, N, classes], none of them 0")
    if array.dtype.kind not in "iu" or not np.can_cast(array.dtype, np.int64):
        raise InputError(f"scores of dtype {array.dtype}: expected int64, what each timestep adds to each class")
    return array.astype(np.int64, copy=False)


def checked_labels(labels: npt.ArrayLike, samples: int, classes: int) -> IntArray:
    """Labels as int64 [N]; InputError if they do not fit N samples and the classes, or are not integers."""
    array = np.asarray(labels)
    if array.shape != (samples,):
        raise InputError(f"labels of shape {array.shape}: expected ({samples},), one per sample of the scores")
    if array.dtype.kind not in "iu":
        raise InputError(f"labels of dtype {array.dtype}: expected integers, the index of the right class")
    if array.min() < 0 or array.max() >= classes:
        raise InputError(f"labels from {array.min()} to {array.max()}: expected 0 to {classes - 1}")
    return array.astype(np.int64, copy=False)


@runtime_checkable
class ScoredRun(Protocol):
    """A run that knows where its scores end: a RunTrace."""

    @property
    def scores(self) -> IntArray:
        """What each timestep adds, int64 [T, N, classes]."""

    @property
    def valid(self) -> BoolArray:
        """Whether the sample still ran, bool [T, N]."""


def full_scores(run: "npt.ArrayLike | ScoredRun") -> npt.ArrayLike:
    """The scores of a run to the horizon, or the array given; InputError if the run was halted."""
    if not isinstance(run, ScoredRun):
        return run
    halted = int(np.count_nonzero(~run.valid[-1]))
    if halted:
        raise InputError(
            f"{halted} of {run.valid.shape[1]} samples were halted, nothing is known beyond their exits: "
            "run them again with policy=None"
        )
    return run.scores


@dataclass(frozen=True)
class LabelledScores:
    """Full-horizon scores of held-out samples with their labels; make it with `of`, which checks them.

    Attributes
    ----------
    totals: Y_t, int64 [T, N, classes].
    labels: int64 [N].
    """

    totals: IntArray
    labels: IntArray

    __repr__ = brief

    @classmethod
    def of(cls, scores: npt.ArrayLike | ScoredRun, labels: npt.ArrayLike) -> "LabelledScores":
        """From a RunTrace, or scores, integers [T, N, classes], what each timestep adds.

        Raises InputError if anything does not fit, or the run was halted. A bare array does not show that: the zeros
        beyond an exit may as well be a silent output. So give the RunTrace, not its scores.
        """
        totals = checked_scores(full_scores(scores)).cumsum(axis=0)
        return cls(totals, checked_labels(labels, totals.shape[1], totals.shape[2]))

    @property
    def horizon(self) -> int:
        """T."""
        return int(self.totals.shape[0])

    @property
    def samples(self) -> int:
        """N."""
        return int(self.totals.shape[1])

    @cached_property
    def right(self) -> BoolArray:
        """Whether the prediction is right at t, bool [T, N]."""
        right: BoolArray = np.asarray(self.totals.argmax(axis=2) == self.labels)
        return right

    @cached_property
    def right_until_end(self) -> BoolArray:
        """R_t, bool [T, N]: the prediction is right at t and at every later timestep."""
        return np.logical_and.accumulate(self.right[::-1], axis=0)[::-1]

    def part(self, chosen: IntArray) -> "LabelledScores":
        """The samples of these indices."""
        return LabelledScores(self.totals[:, chosen], self.labels[chosen])

    def right_at(self, timesteps: IntArray) -> BoolArray:
        """Whether the predictions at these exits are right; timesteps int64 [..., N] → bool [..., N]."""
        return np.asarray(self.right[timesteps - 1, np.arange(self.samples)])

    def lost_at(self, timesteps: IntArray) -> BoolArray:
        """Whether the full horizon is right and the exit wrong; timesteps int64 [..., N] → bool [..., N]."""
        return np.asarray(self.right[-1] & ~self.right_at(timesteps), dtype=np.bool_)


class ExitReason(str, Enum):
    """Why a sample's run ended."""

    CUTOFF = "cutoff"  # the policy found the answer safe
    HORIZON = "horizon"  # all T timesteps were used


@dataclass(frozen=True)
class Exits:
    """Where a policy ends each of N samples.

    Attributes
    ----------
    timesteps: int64 [N], steps used, 1..T.
    reason: ExitReason per sample; HORIZON whenever all T steps were used.
    predictions: int64 [N], class with the largest total at the exit, the first one on a tie.
    totals: int64 [N, classes], Y at the exit.
    """

    timesteps: IntArray
    reason: tuple[ExitReason, ...]
    predictions: IntArray
    totals: IntArray

    __repr__ = brief


def apply_policy(policy: CutoffPolicy | None, scores: npt.ArrayLike) -> Exits:
    """Run a policy over full-horizon scores, all samples at once.

    Parameters
    ----------
    policy: the policy; None never cuts.
    scores: integers [T, N, classes], what each timestep adds.

    Raises InputError if the scores are malformed or the policy was made for another T.
    """
    totals = checked_scores(scores).cumsum(axis=0)
    horizon, samples, _ = totals.shape
    timesteps = np.full(samples, horizon, dtype=np.int64) if policy is None else exit_timesteps(policy, totals)
    at_exit = totals[timesteps - 1, np.arange(samples)]
    reason = tuple(ExitReason.CUTOFF if t < horizon else ExitReason.HORIZON for t in timesteps.tolist())
    return Exits(timesteps, reason, at_exit.argmax(axis=1).astype(np.int64), at_exit)


def exit_timesteps(policy: CutoffPolicy, totals: IntArray) -> IntArray:
    """Where a policy ends each sample, int64 [N] in 1..T, from Y int64 [T, N, classes]; stepped as an engine steps.

    Raises InputError if the policy was made for another T, or gives something else than one bool per sample.
    """
    horizon, samples, classes = totals.shape
    policy.check_horizon(horizon)
    timesteps = np.full(samples, horizon, dtype=np.int64)
    running = np.ones(samples, dtype=np.bool_)
    state = policy.init(samples, classes)
    for t in range(1, horizon):
        leaves, state = policy.step(totals[t - 1], t, state)
        if leaves.shape != (samples,) or leaves.dtype != np.bool_:
            raise InputError(
                f"cutoff policy {policy.name}: step gave {leaves.dtype} {leaves.shape}, expected bool ({samples},)"
            )
        timesteps[running & leaves] = t
        running &= ~leaves
        if not running.any():
            break
    return timesteps
