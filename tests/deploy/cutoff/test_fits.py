"""Confidence, entropy, SpikeCP and fixed: values and fits against plain Python written from the definitions."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from cutoff_scores import score_family
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spikecut.deploy.cutoff import Confidence, Entropy, FixedTimestep, SpikeCP, TopK, apply_policy, policy_from_dict
from spikecut.deploy.cutoff.base import LabelledScores
from spikecut.deploy.cutoff.calibration.calibrate import calibrate
from spikecut.deploy.cutoff.calibration.intervals import clopper_pearson
from spikecut.deploy.cutoff.calibration.oct import optimal_cutoff
from spikecut.deploy.cutoff.softmax import UNIT, fit_scale
from spikecut.errors import InputError


def softmax(totals, scale):
    exponentials = [math.exp((total - max(totals)) / scale) for total in totals]
    return [value / sum(exponentials) for value in exponentials]


@st.composite
def problems(draw):
    horizon, samples, classes = draw(st.tuples(st.integers(1, 4), st.integers(1, 24), st.integers(2, 4)))
    largest = draw(st.sampled_from([1, 3, 2**20]))
    scores = draw(hnp.arrays(np.int64, (horizon, samples, classes), elements=st.integers(-largest, largest)))
    labels = draw(hnp.arrays(np.int64, samples, elements=st.integers(0, classes - 1)))
    if draw(st.booleans()):
        scores[:, np.arange(samples), labels] += draw(st.integers(0, 3))
    return scores, labels


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=12), st.floats(0.5, 60), st.integers(1, 9))
def test_confidence_and_entropy_are_what_they_say(totals, scale, t):
    rows = np.array([totals])
    classes = len(totals)
    resolution = classes / UNIT * 4
    probabilities = softmax(totals, scale)
    assert Confidence((0,), scale).safety(rows, t)[0] / UNIT == pytest.approx(max(probabilities), abs=resolution)
    probabilities = softmax(totals, scale * t)
    entropy = -sum(p * math.log(p) for p in probabilities if p)
    certainty = Entropy((0,) * t, scale).safety(rows, t)[0] / UNIT
    assert certainty == pytest.approx(1 - entropy / math.log(classes), abs=resolution * 16)


def test_certain_and_undecided():
    clear, tie = np.array([[900, 0, 0]]), np.array([[5, 5, 5]])
    assert Confidence((0,), 2.0).safety(clear, 1).tolist() == [UNIT]
    assert Entropy((0,), 2.0).safety(clear, 1).tolist() == [UNIT]
    assert Confidence((0,), 2.0).safety(tie, 1).tolist() == [UNIT // 3]
    assert Entropy((0,), 2.0).safety(tie, 1).tolist() == [0]


def test_the_fitted_scale_has_the_smallest_loss():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 1500)
    for true_scale in (3.0, 700.0):
        logits = rng.normal(0, 2, (1, 1500, 5))
        exponentials = np.exp(logits[0])
        labels = (rng.random(1500)[:, None] > (exponentials / exponentials.sum(1, keepdims=True)).cumsum(1)).sum(1)
        data = LabelledScores.of(np.rint(logits * true_scale).astype(np.int64), labels)
        assert fit_scale(data, lambda t: 1) == pytest.approx(true_scale, rel=0.12)
    assert fit_scale(LabelledScores.of(np.zeros((2, 3, 2), dtype=np.int64), np.zeros(3, dtype=np.int64)), int) == 1.0


def test_the_scale_is_of_the_running_sum_or_of_its_mean():
    scores, labels = score_family("membrane", 400, 0)
    data = LabelledScores.of(scores, labels)
    confidence, entropy = Confidence.untuned(data), Entropy.untuned(data)
    assert confidence.scale == fit_scale(data, lambda t: 1)
    assert entropy.scale == fit_scale(data, lambda t: t)
    assert entropy.scale < confidence.scale


def admissible(chosen, right, epsilon, minimum_count):
    if len(chosen) < minimum_count:
        return False
    return Fraction(sum(right[n] for n in chosen), len(chosen)) >= 1 - Fraction(str(epsilon))


@given(problems(), st.sampled_from([0.0, 0.01, 0.1, 1 / 3, 0.5]), st.integers(1, 12))
def test_confidence_thresholds_equal_the_definition(problem, epsilon, count):
    data = LabelledScores.of(*problem)
    policy = calibrate(*problem, policy="confidence", epsilon=epsilon, minimum_count=count).policy
    for t, threshold in enumerate(policy.thresholds, start=1):
        safety = policy.safety(data.totals[t - 1], t).tolist()
        right = data.right_until_end[t - 1].tolist()
        found = None
        for beta in sorted({0, *safety}):
            if admissible([n for n, value in enumerate(safety) if value > beta], right, epsilon, count):
                found = beta
                break
        assert threshold == found


@given(problems(), st.sampled_from([0.0, 0.01, 0.1, 1 / 3, 0.5]), st.integers(1, 12))
def test_the_one_threshold_of_entropy_equals_the_definition(problem, epsilon, count):
    data = LabelledScores.of(*problem)
    policy = calibrate(*problem, policy="entropy", epsilon=epsilon, minimum_count=count).policy
    assert len(set(policy.thresholds)) == 1
    safety = [policy.safety(total, t).tolist() for t, total in enumerate(data.totals, start=1)]
    found = None
    for beta in sorted({0, *(value for row in safety[:-1] for value in row)}):
        exits = {}
        for n in range(data.samples):
            for t in range(data.horizon - 1):
                if safety[t][n] > beta:
                    exits[n] = data.right_until_end[t, n]
                    break
        if admissible(list(exits), exits, epsilon, count):
            found = beta
            break
    assert policy.thresholds[0] == (found if data.horizon > 1 else None)


@given(problems(), st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.9]))
def test_spikecp_thresholds_are_the_papers_quantiles(problem, epsilon):
    scores, labels = problem
    policy = calibrate(scores, labels, policy="spikecp", epsilon=epsilon).policy
    totals = scores.cumsum(axis=0)
    horizon, samples, _ = scores.shape
    checkpoints = {math.ceil(horizon * k / 4) for k in (1, 2, 3, 4)}
    level = 1 - Fraction(str(epsilon)) / len(checkpoints)
    rank = math.ceil(level * (samples + 1))
    for t in range(1, horizon + 1):
        nonconformity = [*sorted(t - int(totals[t - 1, n, labels[n]]) for n in range(samples)), math.inf]
        threshold = nonconformity[rank - 1]
        if t not in checkpoints or threshold == math.inf:
            assert policy.thresholds[t - 1] is None
        else:
            assert policy.thresholds[t - 1] == t - threshold


def test_spikecp_covers_the_right_class_on_new_samples():
    scores, labels = score_family("counts", 4000, 1)
    missed = []
    for start in range(0, 4000, 400):
        chosen = slice(start, start + 200)
        policy = calibrate(scores[:, chosen], labels[chosen], policy="spikecp", epsilon=0.2).policy
        fresh, truth = scores[:, start + 200 : start + 400], labels[start + 200 : start + 400]
        exits = apply_policy(policy, fresh)
        limits = np.array([-(2**40) if q is None else q for q in policy.thresholds])[exits.timesteps - 1]
        missed.append((exits.totals[np.arange(200), truth] < limits).mean())
    assert np.mean(missed) <= 0.2
    assert np.mean(missed) > 0


def test_spikecp_goes_on_at_an_empty_set():
    scores = np.array([[[1, 0, 0], [4, 3, 0], [4, 0, 0]], [[3, 0, 0], [0, 0, 0], [0, 0, 0]]])
    assert apply_policy(SpikeCP((2, 2)), scores).timesteps.tolist() == [2, 2, 1]
    assert apply_policy(SpikeCP((2, 2), set_size=2), scores).timesteps.tolist() == [2, 1, 1]


@given(problems(), st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_fixed_is_the_smallest_timestep_that_loses_little(problem, epsilon):
    scores, labels = problem
    right = scores.cumsum(axis=0).argmax(axis=2) == labels
    lost = [Fraction(int((right[-1] & ~row).sum()), len(labels)) for row in right]
    expected = min(t for t, share in enumerate(lost, start=1) if share <= Fraction(str(epsilon)))
    assert calibrate(scores, labels, policy="fixed", epsilon=epsilon).policy == FixedTimestep(expected)


@pytest.mark.parametrize("policy", ["fixed", "topk", "confidence", "entropy", "spikecp"])
def test_every_calibration_is_json_and_comes_back(policy):
    scores, labels = score_family("membrane", 300, 2)
    result = calibrate(scores, labels, policy=policy, epsilon=0.05)
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert policy_from_dict(data["policy"]) == result.policy
    assert sum(step["exits"] for step in data["steps"]) == 300
    assert data["mean_timesteps"] < 8
    low, high = data["intervals"]["accuracy_cutoff"]
    assert low < data["accuracy_cutoff"] < high


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        ({"policy": "confidence", "thresholds": [1], "scale": 0}, "scale 0"),
        ({"policy": "confidence", "thresholds": [1], "scale": float("nan")}, "scale nan"),
        ({"policy": "confidence", "thresholds": [1], "scale": True}, "scale True"),
        ({"policy": "confidence", "thresholds": [0.5], "scale": 1.0}, "t = 1"),
        ({"policy": "entropy", "thresholds": [1]}, "scale"),
        ({"policy": "entropy", "thresholds": [1], "scale": "1"}, "scale '1'"),
        ({"policy": "spikecp", "thresholds": [None], "set_size": 0}, "set_size 0"),
        ({"policy": "spikecp", "thresholds": [1.5], "set_size": 1}, "1.5"),
    ],
)
def test_foreign_json_is_refused(policy, names):
    with pytest.raises(InputError, match=names):
        policy_from_dict(policy)


def test_one_class_has_no_entropy():
    with pytest.raises(InputError, match="at least 2 classes"):
        apply_policy(Entropy((0, 0), 1.0), np.ones((2, 3, 1), dtype=np.int64))
    assert apply_policy(Confidence((0, 0), 1.0), np.ones((2, 3, 1), dtype=np.int64)).timesteps.tolist() == [1, 1, 1]


def test_distance_from_the_optimum():
    scores = np.array(
        [[[2, 0], [0, 2], [0, 3], [0, 1]], [[1, 0], [3, 0], [0, 3], [3, 0]], [[1, 0], [1, 0], [0, 3], [3, 0]]]
    )
    data = LabelledScores.of(scores, np.zeros(4, dtype=np.int64))
    optimal = optimal_cutoff(data)
    assert optimal.timesteps.tolist() == [1, 2, 3, 2]
    distance = optimal.distance(np.array([3, 1, 1, 2]))
    assert (distance.mean, distance.early, distance.late, distance.never_right) == (1 / 3, 1 / 3, 1 / 3, 0.25)
    nothing = optimal_cutoff(LabelledScores.of(scores[:, 2:3], np.zeros(1, dtype=np.int64)))
    assert nothing.distance(np.array([1])).mean is None


def test_clopper_pearson_against_its_definition():
    """At each end the tail beyond the observed count holds exactly half of what the level leaves."""
    for successes, trials in ((0, 5), (3, 7), (7, 7), (1, 400), (399, 400), (37, 1000)):
        low, high = (float(value) for value in clopper_pearson(successes, trials))

        def binomial(k, p, trials=trials):
            return math.comb(trials, k) * p**k * (1 - p) ** (trials - k)

        if successes:
            assert sum(binomial(k, low) for k in range(successes, trials + 1)) == pytest.approx(0.025, rel=1e-6)
        else:
            assert low == 0.0
        if successes < trials:
            assert sum(binomial(k, high) for k in range(successes + 1)) == pytest.approx(0.025, rel=1e-6)
        else:
            assert high == 1.0
    assert [float(value) for value in clopper_pearson(0, 0)] == [0.0, 1.0]


def test_thresholds_shared_by_many_epsilons_are_those_of_each():
    scores, labels = score_family("misleading", 500, 4)
    data = LabelledScores.of(scores, labels)
    epsilons = (0.0, 0.003, 0.01, 0.2)
    for policy in (TopK, Confidence, Entropy, SpikeCP, FixedTimestep):
        together = policy.fit(data, epsilons, 20)
        assert together == [policy.fit(data, [epsilon], 20)[0] for epsilon in epsilons]
