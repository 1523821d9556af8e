"""A family of policies with one parameter: from never cutting downwards, each member less careful than the last.

The parameter is the ε that a member is fitted with, on samples that take no part in choosing among them. So the family
is fixed before the samples that test it are seen, which is what fixed-sequence testing needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikecut.deploy.cutoff.base import CutoffPolicy, LabelledScores
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.cutoff.spikecp import SpikeCP
from spikecut.deploy.cutoff.threshold import ThresholdPolicy

PARAMETERS: tuple[float, ...] = (0.0, *(float(f"{value:.4g}") for value in np.geomspace(1e-4, 0.9, 160)))
"""Values of the parameter, ascending: 0, then 160 in geometric progression from 0.0001 to 0.9."""


@dataclass(frozen=True)
class Member:
    """One policy of a family; parameter None is the one that never cuts."""

    parameter: float | None
    policy: CutoffPolicy


def policy_family(
    policy: type[CutoffPolicy],
    data: LabelledScores,
    minimum_count: int = 20,
    parameters: Sequence[float] = PARAMETERS,
) -> tuple[Member, ...]:
    """The family of a policy, fitted to `data`, never cutting first; members that cut like the one before are left out.

    Raises InputError where the policy cannot be fitted.
    """
    members = [Member(None, FixedTimestep(data.horizon))]
    last = _before_the_end(members[0].policy, data.horizon)
    for parameter, fitted in zip(parameters, policy.fit(data, parameters, minimum_count), strict=True):
        acts = _before_the_end(fitted, data.horizon)
        if acts != last:
            members.append(Member(parameter, fitted))
        last = acts
    return tuple(members)


def _before_the_end(policy: CutoffPolicy, horizon: int) -> object:
    """What two policies that cut alike before T have in common: at T the run ends by itself."""
    if policy == FixedTimestep(horizon):
        return None
    if isinstance(policy, ThresholdPolicy | SpikeCP):
        before = policy.thresholds[:-1]
        return None if set(before) <= {None} else {**policy.to_dict(), "thresholds": (*before, None)}
    return policy
