"""The guarantee by simulation: rarely broken, not vacuous, and honest about samples that are too few."""

import math
import re

import numpy as np
import pytest
from cutoff_scores import score_family
from hypothesis import given
from hypothesis import strategies as st

from spikecut.deploy.cutoff import FixedTimestep, TopK
from spikecut.deploy.cutoff.base import LabelledScores, policy_class
from spikecut.deploy.cutoff.calibration.calibrate import calibrate
from spikecut.deploy.cutoff.calibration.family import PARAMETERS, Member, policy_family
from spikecut.deploy.cutoff.calibration.guarantee import divide, fixed_sequence, guaranteed_policy
from spikecut.deploy.cutoff.calibration.intervals import risk_p_value, smallest_sample, sufficient_sample
from spikecut.deploy.cutoff.threshold import all_exit_timesteps
from spikecut.errors import InputError

RESAMPLINGS = 1000
VIOLATIONS_ALLOWED = 73  # P(Binomial(1000, 0.05) > 73) < 0.001
KINDS = ("counts", "membrane", "misleading")


def population(kind, samples, seed, horizon=8, classes=4):
    return LabelledScores.of(*score_family(kind, samples, seed, horizon, classes))


def true_risk(policy, everyone):
    return float(everyone.lost_at(all_exit_timesteps([policy], everyone.totals)[0]).mean())


def test_the_bound_of_the_simulation_is_the_binomial_one():
    above = sum(math.comb(1000, k) * 0.05**k * 0.95 ** (1000 - k) for k in range(VIOLATIONS_ALLOWED + 1, 1001))
    assert above < 0.001 < above + math.comb(1000, 73) * 0.05**73 * 0.95**927


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_broken_at_most_as_often_as_promised(kind):
    """Samples are drawn with replacement from a finite population, so that the risk of a policy is known exactly."""
    everyone = population(kind, 4000, seed=1, horizon=6)
    rng = np.random.default_rng(7)
    risks: dict[object, float] = {}
    violations, cuts = 0, 0
    for _ in range(RESAMPLINGS):
        drawn = everyone.part(rng.integers(0, everyone.samples, 400))
        policy, guarantee = guaranteed_policy(TopK, drawn, epsilon=0.05, delta=0.05)
        if policy not in risks:
            risks[policy] = true_risk(policy, everyone)
        violations += risks[policy] > 0.05
        cuts += guarantee.chosen > 0
    assert violations <= VIOLATIONS_ALLOWED
    assert cuts > RESAMPLINGS // 2


@pytest.mark.slow
def test_the_simulation_can_fail():
    """Without the test, the same thresholds' family breaks the promise far more often: the simulation would see it."""
    everyone = population("membrane", 4000, seed=1, horizon=6)
    rng = np.random.default_rng(7)
    violations = 0
    for _ in range(200):
        drawn = everyone.part(rng.integers(0, everyone.samples, 400))
        members = policy_family(TopK, drawn)
        exits = all_exit_timesteps([member.policy for member in members], drawn.totals)
        allowed = np.flatnonzero(drawn.lost_at(exits).mean(axis=1) <= 0.05)
        violations += true_risk(members[int(allowed[-1])].policy, everyone) > 0.05
    assert violations > 200 * VIOLATIONS_ALLOWED / RESAMPLINGS * 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", ["topk", "confidence"])
def test_it_is_not_vacuous(kind, policy):
    """10,000 samples, ε = 0.01: mean timesteps within 10 % of the family's best member that keeps the true risk ≤ ε."""
    everyone = population(kind, 40_000, seed=3, horizon=8, classes=10)
    fitter = policy_class(policy)
    drawn = everyone.part(np.random.default_rng(5).integers(0, everyone.samples, 10_000))
    chosen, guarantee = guaranteed_policy(fitter, drawn, epsilon=0.01, delta=0.05)
    members = policy_family(fitter, drawn.part(divide(10_000).family))
    assert guarantee.members == len(members)
    assert members[guarantee.chosen].policy == chosen
    exits = all_exit_timesteps([member.policy for member in members], everyone.totals)
    mean = exits.mean(axis=1)
    keeps = everyone.lost_at(exits).mean(axis=1) <= 0.01
    assert guarantee.chosen > 0
    assert mean[keeps].min() < everyone.horizon
    assert mean[guarantee.chosen] <= 1.10 * mean[keeps].min()


@given(st.integers(1, 60), st.integers(0, 60), st.sampled_from([0.01, 0.2, 0.5]))
def test_the_p_value_is_the_exact_binomial_tail(samples, losses, epsilon):
    losses = min(losses, samples)
    tail = sum(math.comb(samples, k) * epsilon**k * (1 - epsilon) ** (samples - k) for k in range(losses + 1))
    assert float(risk_p_value(losses, samples, epsilon)) == pytest.approx(tail, rel=1e-9)


def test_the_sequence_stops_at_the_first_failure():
    """What follows a failure is never looked at, though it would pass."""
    scores = np.zeros((3, 200, 2), dtype=np.int64)
    scores[0, :, 0] = 1
    scores[0, :100, 1] = 2  # at t = 1 half of the samples are wrong
    scores[1, :, 0] = 5
    data = LabelledScores.of(scores, np.zeros(200, dtype=np.int64))
    order = [Member(None, FixedTimestep(3)), *(Member(float(n), FixedTimestep(t)) for n, t in enumerate((2, 1, 2)))]
    assert fixed_sequence(order, data, 0.05, 0.05) == ([0, 0, 100], 1, 2)
    assert fixed_sequence([*order[:2], order[3]], data, 0.05, 0.05) == ([0, 0, 0], 2, 2)
    assert fixed_sequence(order[:1], data, 0.05, 0.05) == ([0], 0, 0)


def test_a_long_family_is_tested_in_one_order():
    """Members beyond the first block of the evaluation are reached in the same sequence."""
    data = population("membrane", 3000, seed=2)
    members = policy_family(TopK, data)
    assert len(members) > 40
    losses, chosen, tested = fixed_sequence(members, data, 0.2, 0.05)
    assert chosen > 20
    exits = all_exit_timesteps([member.policy for member in members], data.totals)
    counts = data.lost_at(exits).sum(axis=1)
    passed = risk_p_value(counts, data.samples, 0.2) <= 0.05
    first = next(k for k in range(1, len(members)) if not passed[k])
    assert (losses, chosen, tested) == (counts[: first + 1].tolist(), first - 1, first)


def test_the_family_descends_from_never_cutting():
    data = population("membrane", 600, seed=4)
    members = policy_family(TopK, data)
    assert members[0] == Member(None, FixedTimestep(8))
    assert [member.parameter for member in members[1:]] == sorted(member.parameter for member in members[1:])
    assert {member.parameter for member in members[1:]} <= set(PARAMETERS)
    exits = all_exit_timesteps([member.policy for member in members], data.totals)
    assert (np.diff(exits, axis=0) <= 0).all()


@given(st.integers(0, 500), st.integers(0, 9))
def test_the_two_parts_are_disjoint_and_whole(samples, seed):
    division = divide(samples, seed)
    assert sorted([*division.family.tolist(), *division.test.tolist()]) == list(range(samples))
    again = divide(samples, seed)
    assert division.family.tolist() == again.family.tolist()


def test_too_few_samples_are_refused_and_the_right_number_is_named():
    assert smallest_sample(0.01, 0.05) == 299  # 0.99^299 ≤ 0.05 < 0.99^298
    scores, labels = score_family("counts", 300, 0)
    with pytest.raises(InputError, match="too few") as caught:
        calibrate(scores, labels, epsilon=0.01, delta=0.05)
    (needed,) = map(int, re.findall(r"give (\d+)", str(caught.value)))
    scores, labels = score_family("counts", needed, 0)
    assert calibrate(scores, labels, epsilon=0.01, delta=0.05).guarantee.test_samples == 299
    with pytest.raises(InputError, match="too few"):
        calibrate(scores[:, 1:], labels[1:], epsilon=0.01, delta=0.05)


def test_the_sufficient_sample_is_within_its_step():
    enough = sufficient_sample(0.005, 0.01, 0.05)
    assert float(risk_p_value(math.ceil(0.005 * enough), enough, 0.01)) <= 0.05
    fewer = math.floor(0.8 * enough)  # the tail is a sawtooth in n
    assert float(risk_p_value(math.ceil(0.005 * fewer), fewer, 0.01)) > 0.05
    assert sufficient_sample(0.01, 0.01, 0.05) is None


def careless(samples, losses):
    """Scores of two steps whose first is wrong, and then right, for so many samples, all with the same lead."""
    scores = np.zeros((2, samples, 2), dtype=np.int64)
    scores[:, :, 0] = 1
    order = np.random.default_rng(1).permutation(samples)[:losses]
    scores[0, order] = 0, 1
    scores[1, order] = 3, 0
    return scores, np.zeros(samples, dtype=np.int64)


def test_the_note_tells_hopeless_from_too_few():
    hopeless = calibrate(*careless(1000, 200), epsilon=0.05, delta=0.05)
    assert hopeless.policy == FixedTimestep(2)
    assert "more samples will not help" in hopeless.guarantee.note
    few = calibrate(*careless(450, 4), epsilon=0.015, delta=0.05)
    assert few.policy == FixedTimestep(2)
    assert "too few" in few.guarantee.note
    lost, enough, whole = map(int, re.search(r"loses (\d+) .* (\d+) would .* (\d+) calib", few.guarantee.note).groups())
    rate = lost / few.guarantee.test_samples
    assert float(risk_p_value(math.ceil(rate * enough), enough, 0.015)) <= 0.05
    assert float(risk_p_value(math.ceil(rate * enough / 2), enough // 2, 0.015)) > 0.05
    assert divide(whole).test.size >= enough > divide(whole - 1).test.size
    clean = calibrate(*careless(450, 0), epsilon=0.015, delta=0.05)
    assert (clean.guarantee.chosen, clean.guarantee.note, clean.mean_timesteps) == (1, "", 1.0)
    nothing = calibrate(*careless(60, 0), epsilon=0.1, delta=0.05)
    assert "smaller minimum count" in nothing.guarantee.note


def test_the_guarantee_is_recorded():
    scores, labels = score_family("membrane", 2000, 0)
    result = calibrate(scores, labels, policy="confidence", epsilon=0.02, delta=0.1, seed=3)
    recorded = result.to_dict()["guarantee"]
    assert (recorded["epsilon"], recorded["delta"], recorded["seed"]) == (0.02, 0.1, 3)
    assert recorded["family_samples"] + recorded["test_samples"] == 2000
    assert recorded["p_value"] <= 0.1
    assert recorded["losses"] / recorded["test_samples"] < 0.02
    again = calibrate(scores, labels, policy="confidence", epsilon=0.02, delta=0.1, seed=3)
    assert again == result


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.05), (0.01, 0.0), (0.01, 1.0), (0.01, True), (0.01, "0.05")])
def test_what_cannot_be_guaranteed_is_refused(epsilon, delta):
    scores, labels = score_family("counts", 500, 0)
    with pytest.raises(InputError, match=r"epsilon|delta"):
        calibrate(scores, labels, epsilon=epsilon, delta=delta)
