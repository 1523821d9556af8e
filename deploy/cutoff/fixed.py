"""Fixed timestep: the baseline that cuts every sample at the same t."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spikecut.deploy.cutoff.base import (
    BoolArray,
    CutoffPolicy,
    IntArray,
    LabelledScores,
    State,
    check_keys,
    is_integer,
)
from spikecut.deploy.cutoff.threshold import allowed_wrong
from spikecut.errors import InputError


@dataclass(frozen=True)
class FixedTimestep(CutoffPolicy):
    """Cut every sample at `timestep` (1-based), whatever its scores; fits any run of at least so many timesteps."""

    name: ClassVar[str] = "fixed"
    on_neurons: ClassVar[bool] = True
    timestep: int

    def __post_init__(self) -> None:
        if not is_integer(self.timestep) or self.timestep < 1:
            raise InputError(f"cutoff policy fixed: timestep {self.timestep!r}, expected an integer ≥ 1")
        object.__setattr__(self, "timestep", int(self.timestep))

    @property
    def horizon(self) -> int:
        """The last timestep that the policy speaks about: its own."""
        return self.timestep

    def check_horizon(self, horizon: int) -> None:
        """Raise InputError if the run is shorter than the fixed timestep."""
        if horizon < self.timestep:
            raise InputError(f"cutoff policy fixed: timestep {self.timestep} lies beyond the run's T = {horizon}")

    def step(self, totals: IntArray, t: int, state: State) -> tuple[BoolArray, State]:
        """Exit everywhere once t has reached the fixed timestep."""
        return np.full(totals.shape[0], t >= self.timestep, dtype=np.bool_), state

    def to_dict(self) -> dict[str, Any]:
        """The policy as JSON data."""
        return {"policy": self.name, "timestep": self.timestep}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FixedTimestep":
        """The policy that `to_dict` described."""
        check_keys(data, {"policy", "timestep"})
        return cls(data["timestep"])

    @classmethod
    def fit(cls, data: LabelledScores, epsilons: Sequence[float], minimum_count: int) -> list[CutoffPolicy]:
        """The smallest t that loses few enough samples; ε: tolerated share right at T and wrong at t.

        It cannot tell easy samples from hard ones, so ε is not a share of the cuts. `minimum_count` plays no part.
        """
        lost = (data.right[-1] & ~data.right).sum(axis=1)
        return [cls(int(np.argmax(lost <= allowed_wrong(epsilon, data.samples)[-1])) + 1) for epsilon in epsilons]
