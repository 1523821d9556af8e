"""CutoffPolicy: when a sample's answer is safe. A pure function of the scores so far.

The same policy object calibrates, drives the batched engine and runs inside the Lava monitor, so nothing heavier
than numpy is imported here. Y_t is the running sum of the output's scores after timestep t, counted from 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from spikecut.deploy.trace import ExitReason
from spikecut.errors import InputError

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

State = npt.NDArray[np.int64]
"""What a policy remembers of each sample, int64 [N, ...]: samples first, so that `state[keep]` drops finished ones."""


class CutoffPolicy(ABC):
    """Base of every policy: frozen, comparable, and the same after `policy_from_dict(policy.to_dict())`.

    At timestep T the run ends by itself (reason "horizon"), whatever the policy says.
    """

    name: ClassVar[str]
    _registry: ClassVar[dict[str, "type[CutoffPolicy]"]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "name" in cls.__dict__:
            CutoffPolicy._registry[cls.name] = cls

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

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The policy as JSON data, with its `name` under "policy"."""

    @classmethod
    @abstractmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "CutoffPolicy":
        """The policy that `to_dict` described; InputError if a key is missing, unknown or of the wrong type."""


def policy_from_dict(data: Any) -> CutoffPolicy:
    """The policy that `to_dict` described; InputError, naming the key, if it is not one."""
    if not isinstance(data, Mapping):
        raise InputError(f"cutoff policy: expected an object with a key 'policy', got {type(data).__name__}")
    name = data.get("policy")
    known = CutoffPolicy._registry
    if not isinstance(name, str) or name not in known:
        raise InputError(f"cutoff policy: key 'policy' is {name!r}, expected one of {', '.join(sorted(known))}")
    return known[name].from_dict(data)


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


def apply_policy(policy: CutoffPolicy | None, scores: npt.ArrayLike) -> Exits:
    """Run a policy over full-horizon scores, all samples at once.

    Parameters
    ----------
    policy: the policy; None never cuts.
    scores: integers [T, N, classes], what each timestep adds.

    Raises InputError if the scores are malformed or the policy was made for another T.
    """
    totals = checked_scores(scores).cumsum(axis=0)
    horizon, samples, classes = totals.shape
    timesteps = np.full(samples, horizon, dtype=np.int64)
    if policy is not None:
        policy.check_horizon(horizon)
        running = np.ones(samples, dtype=np.bool_)
        state = policy.init(samples, classes)
        for t in range(1, horizon):
            leaves, state = policy.step(totals[t - 1], t, state)
            timesteps[running & leaves] = t
            running &= ~leaves
            if not running.any():
                break
    at_exit = totals[timesteps - 1, np.arange(samples)]
    reason = tuple(ExitReason.CUTOFF if t < horizon else ExitReason.HORIZON for t in timesteps.tolist())
    return Exits(timesteps, reason, at_exit.argmax(axis=1).astype(np.int64), at_exit)
