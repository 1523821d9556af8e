"""A cutoff whose loss on new samples is bounded with high probability: learn-then-test.

Loss of a sample: 1 if the full horizon is right and the exit wrong. Its mean on new samples, the risk, bounds the
accuracy lost. The held-out samples are divided at random: one part fixes a family of policies (family.py), the
other tests its members in that order, from never cutting downwards. A member with k losses among n has the p-value
P(Binomial(n, ε) ≤ k) of "its risk exceeds ε"; the first one above δ ends the sequence, and the last one before it is
chosen. Then P(risk of the chosen one > ε) ≤ δ over the draw of the samples: a family tested in a fixed order, up to the
first failure, needs no correction for many tests. Angelopoulos, Bates, Candès, Jordan, Lei, "Learn then test" (2021,
arXiv 2110.01052), section 3; fixed-sequence testing: Maurer, Hothorn, Lehmacher 1995.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikecut.deploy.cutoff.base import CutoffPolicy, IntArray, LabelledScores
from spikecut.deploy.cutoff.calibration.family import Member, policy_family
from spikecut.deploy.cutoff.calibration.intervals import risk_p_value, smallest_sample, sufficient_sample
from spikecut.deploy.cutoff.threshold import all_exit_timesteps
from spikecut.errors import InputError

FAMILY_SHARE = 0.25
"""Share of the held-out samples that fixes the family."""
BLOCK = 16
"""Members evaluated at once: most are never reached."""


@dataclass(frozen=True)
class Guarantee:
    """What was certified, and from how much.

    Attributes
    ----------
    epsilon, delta: with probability ≥ 1 - δ over the draw of the samples, the risk on new ones is ≤ ε.
    seed: of the division of the samples.
    family_samples, test_samples: how many fixed the family, and how many tested it.
    members: size of the family; tested: how many were tested, the one that failed included; chosen: index of the
        chosen one, 0 never cuts.
    parameter: the chosen member's; None if it never cuts.
    losses: losses of the chosen member among the test samples, its p-value beside it.
    p_value: of the chosen member; 0 if it never cuts.
    note: for the user, where more samples would help; else empty.
    """

    epsilon: float
    delta: float
    seed: int
    family_samples: int
    test_samples: int
    members: int
    tested: int
    chosen: int
    parameter: float | None
    losses: int
    p_value: float
    note: str

    def __str__(self) -> str:
        """One line."""
        return (
            f"with probability ≥ {1 - self.delta:g} at most {100 * self.epsilon:g} % of new samples are right at T and "
            "wrong at the exit"
        )


SMALLEST_EPSILON = 1e-6


@dataclass(frozen=True)
class Division:
    """Indices of the samples that fix the family, and of those that test it, int64 each."""

    family: IntArray
    test: IntArray


def divide(samples: int, seed: int = 0, share: float = FAMILY_SHARE) -> Division:
    """Divide N samples at random, whatever they hold."""
    order = np.random.default_rng(seed).permutation(samples).astype(np.int64)
    first = math.floor(share * samples)
    return Division(np.sort(order[:first]), np.sort(order[first:]))


def guaranteed_policy(
    policy: type[CutoffPolicy],
    data: LabelledScores,
    epsilon: float,
    delta: float,
    minimum_count: int = 20,
    seed: int = 0,
) -> tuple[CutoffPolicy, Guarantee]:
    """The least careful policy of a family whose risk is certified to be at most ε.

    Parameters
    ----------
    data: held-out samples, not trained on, drawn like those to come.
    epsilon, delta: both in (0, 1).
    minimum_count: samples a threshold of the family must rest on.
    seed: of the division of the samples.

    Raises
    ------
    InputError: ε or δ out of range, or too few samples to certify anything; the message says how many would do.
    """
    check_guarantee(epsilon, delta, seed)
    division = divide(data.samples, seed)
    least = smallest_sample(epsilon, delta)
    if division.test.size < least:
        raise InputError(
            f"{data.samples} calibration samples are too few for ε = {epsilon:g}, δ = {delta:g}: "
            f"{division.test.size} of them test, at least {least} must; give {_whole(least)} or more, or a larger ε"
        )
    members = policy_family(policy, data.part(division.family), minimum_count)
    test = data.part(division.test)
    losses, chosen, tested = fixed_sequence(members, test, epsilon, delta)
    values = risk_p_value(losses, test.samples, epsilon)
    return members[chosen].policy, Guarantee(
        epsilon=float(epsilon),
        delta=float(delta),
        seed=seed,
        family_samples=int(division.family.size),
        test_samples=test.samples,
        members=len(members),
        tested=tested,
        chosen=chosen,
        parameter=members[chosen].parameter,
        losses=losses[chosen],
        p_value=float(values[chosen]) if chosen else 0.0,
        note=_note(members, losses, chosen, test.samples, epsilon, delta),
    )


def check_guarantee(epsilon: float, delta: float, seed: int) -> None:
    """Raise InputError for an ε, δ or seed with which nothing can be guaranteed."""
    for name, value in (("epsilon", epsilon), ("delta", delta)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise InputError(f"{name} {value!r}: a guarantee needs a number in (0, 1)")
    if epsilon < SMALLEST_EPSILON:
        raise InputError(f"epsilon {epsilon!r}: below {SMALLEST_EPSILON:g} no test set is large enough to certify it")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed {seed!r}: expected an integer of at least 0")


def fixed_sequence(
    members: Sequence[Member], test: LabelledScores, epsilon: float, delta: float
) -> tuple[list[int], int, int]:
    """Test members in their order until one fails.

    Returns the losses of those reached, the index of the last that passed, and how many were tested. Member 0 never
    cuts, never loses, and is not tested.
    """
    losses = [0]
    for start in range(1, len(members), BLOCK):
        block = [member.policy for member in members[start : start + BLOCK]]
        counts = test.lost_at(all_exit_timesteps(block, test.totals)).sum(axis=1)
        failed = np.flatnonzero(risk_p_value(counts, test.samples, epsilon) > delta)
        reached = len(block) if not failed.size else int(failed[0]) + 1
        losses += counts[:reached].tolist()
        if failed.size:
            return losses, len(losses) - 2, len(losses) - 1
    return losses, len(losses) - 1, len(losses) - 1


def _whole(test_samples: int) -> int:
    """The smallest number of samples that leaves so many for the test."""
    samples = math.ceil(test_samples / (1 - FAMILY_SHARE))
    while samples - 1 - math.floor(FAMILY_SHARE * (samples - 1)) >= test_samples:
        samples -= 1
    return samples


def _note(
    members: Sequence[Member], losses: Sequence[int], chosen: int, samples: int, epsilon: float, delta: float
) -> str:
    """Why nothing is cut, and what size would do."""
    if chosen:
        return ""
    if len(members) == 1:
        return (
            "no threshold rests on enough samples: the family only never cuts; give more calibration samples, or "
            "a smaller minimum count"
        )
    rate = losses[1] / samples
    enough = sufficient_sample(rate, epsilon, delta)
    if enough is None:
        return (
            f"nothing can be cut at ε = {epsilon:g}: even the most careful member loses {losses[1]} of {samples} "
            "samples; more samples will not help unless the family gets better with them; try a larger ε"
        )
    return (
        f"{samples} test samples are too few: the most careful member loses {losses[1]} of them, and at that rate "
        f"about {enough} would certify it, {_whole(enough)} calibration samples in all"
    )
