"""Calibration and the optimal cutoff against plain Python written from the definitions."""

import json
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from networks import random_inputs, random_network

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cutoff import FixedTimestep, TopK, apply_policy, policy_from_dict
from spikecut.deploy.cutoff.base import LabelledScores
from spikecut.deploy.cutoff.calibration.calibrate import calibrate
from spikecut.deploy.cutoff.calibration.oct import optimal_cutoff_timestep
from spikecut.errors import InputError

IntArray = npt.NDArray[np.int64]
EPSILONS = (0.0, 0.01, 0.05, 0.1, 0.25, 1 / 3, 0.5, 0.99)


def predictions_and_gaps(scores: IntArray) -> tuple[list[list[int]], list[list[int]]]:
    """Prediction and g of every sample after every t, [T][N]."""
    horizon, samples, classes = scores.shape
    totals = [[0] * classes for _ in range(samples)]
    predictions, gaps = [], []
    for t in range(horizon):
        for n in range(samples):
            totals[n] = [totals[n][c] + int(scores[t, n, c]) for c in range(classes)]
        predictions.append([total.index(max(total)) for total in totals])
        gaps.append([sorted(total)[-1] - sorted(total)[-2] for total in totals])
    return predictions, gaps


def brute_right(predictions: list[list[int]], labels: IntArray) -> list[list[bool]]:
    horizon = len(predictions)
    return [
        [all(predictions[later][n] == labels[n] for later in range(t, horizon)) for n in range(len(labels))]
        for t in range(horizon)
    ]


def brute_thresholds(scores: IntArray, labels: IntArray, epsilon: float, minimum_count: int) -> list[int | None]:
    """β_t straight from the definition: every candidate tried, from the smallest."""
    predictions, gaps = predictions_and_gaps(scores)
    right = brute_right(predictions, labels)
    thresholds: list[int | None] = []
    for t in range(len(scores)):
        found = None
        for beta in sorted({0} | set(gaps[t])):
            above = [n for n in range(len(labels)) if gaps[t][n] > beta]
            if len(above) < minimum_count:
                continue
            if Fraction(sum(right[t][n] for n in above), len(above)) >= 1 - Fraction(str(epsilon)):
                found = beta
                break
        thresholds.append(found)
    return thresholds


@st.composite
def problems(draw: st.DrawFn) -> tuple[IntArray, IntArray]:
    horizon, samples, classes = draw(st.tuples(st.integers(1, 4), st.integers(1, 24), st.integers(2, 4)))
    largest = draw(st.sampled_from([1, 3, 2**20]))
    scores = draw(hnp.arrays(np.int64, (horizon, samples, classes), elements=st.integers(-largest, largest)))
    labels = draw(hnp.arrays(np.int64, samples, elements=st.integers(0, classes - 1)))
    if draw(st.booleans()):
        scores[:, np.arange(samples), labels] += draw(st.integers(0, 3))
    return scores, labels


@given(problems(), st.sampled_from(EPSILONS), st.integers(1, 25))
@example((np.zeros((2, 5, 3), dtype=np.int64), np.zeros(5, dtype=np.int64)), 0.0, 1)
@example((np.array([[[1, 0]] * 20]), np.zeros(20, dtype=np.int64)), 0.0, 20)
@example((np.array([[[1, 0]] * 20]), np.ones(20, dtype=np.int64)), 0.99, 20)
def test_thresholds_equal_the_definition(problem: tuple[IntArray, IntArray], epsilon: float, count: int) -> None:
    scores, labels = problem
    result = calibrate(scores, labels, epsilon=epsilon, minimum_count=count)
    assert isinstance(result.policy, TopK)
    assert list(result.policy.thresholds) == brute_thresholds(scores, labels, epsilon, count)


@given(problems(), st.sampled_from(EPSILONS), st.integers(1, 10))
def test_the_table_counts_what_the_policy_does(problem: tuple[IntArray, IntArray], epsilon: float, count: int) -> None:
    scores, labels = problem
    result = calibrate(scores, labels, epsilon=epsilon, minimum_count=count)
    predictions, gaps = predictions_and_gaps(scores)
    right = brute_right(predictions, labels)
    exits = apply_policy(result.policy, scores)
    assert sum(step.exits for step in result.steps) == result.samples == len(labels)
    for t, step in enumerate(result.steps):
        above = [n for n in range(len(labels)) if step.threshold is not None and gaps[t][n] > step.threshold]
        assert step.timestep == t + 1
        assert step.considered == len(above)
        assert step.right == sum(right[t][n] for n in above)
        assert step.precision == (step.right / len(above) if above else None)
        assert step.exits == exits.timesteps.tolist().count(t + 1)
        if step.threshold is not None:
            assert step.considered >= count
            assert Fraction(step.right, step.considered) >= 1 - Fraction(str(epsilon))
    assert result.accuracy_full * len(labels) == pytest.approx(sum(right[-1]))
    assert result.mean_timesteps * len(labels) == pytest.approx(sum(exits.timesteps.tolist()))


@given(problems())
def test_optimal_cutoff_equals_the_definition(problem: tuple[IntArray, IntArray]) -> None:
    scores, labels = problem
    right = brute_right(predictions_and_gaps(scores)[0], labels)
    result = optimal_cutoff_timestep(scores, labels)
    for n in range(len(labels)):
        times = [t + 1 for t in range(len(scores)) if right[t][n]]
        assert result.never_right[n] == (not times)
        assert result.timesteps[n] == (min(times) if times else len(scores))
    assert result.mean_timesteps * len(labels) == pytest.approx(result.timesteps.sum())


def test_optimal_cutoff_ignores_a_passing_success() -> None:
    scores = np.array([[[2, 0], [2, 0]], [[0, 3], [0, 1]], [[2, 0], [0, 2]]])
    result = optimal_cutoff_timestep(scores, np.array([0, 0]))
    assert result.timesteps.tolist() == [3, 3]
    assert result.never_right.tolist() == [False, True]


def one_step(gaps: list[int], right: list[bool]) -> tuple[IntArray, IntArray]:
    """Scores of one timestep with these gaps, and labels that make them right or wrong."""
    scores = np.array([[[gap, 0] for gap in gaps]])
    return scores, np.array([0 if good else 1 for good in right])


def test_the_ratio_is_exact_at_its_edge() -> None:
    scores, labels = one_step([5] * 100, [True] * 99 + [False])
    assert calibrate(scores, labels, epsilon=0.01).policy == TopK((0,))
    assert calibrate(scores, labels, epsilon=0.0099).policy == TopK((None,))
    scores, labels = one_step([5] * 10, [True] * 7 + [False] * 3)
    assert Fraction(0.3) < Fraction(3, 10)  # read as the binary number, ε would forbid 3 wrong of 10
    assert calibrate(scores, labels, epsilon=0.3, minimum_count=1).policy == TopK((0,))


def test_the_smallest_admissible_threshold_wins_though_a_larger_one_fails() -> None:
    scores, labels = one_step([1] * 18 + [2] * 2, [True] * 18 + [False] * 2)
    assert calibrate(scores, labels, epsilon=0.1, minimum_count=2).policy == TopK((0,))
    assert calibrate(scores, labels, epsilon=0.05, minimum_count=2).policy == TopK((None,))


def test_minimum_count_at_its_edge() -> None:
    scores, labels = one_step([1] * 3 + [2] * 20, [False] * 3 + [True] * 20)
    assert calibrate(scores, labels, epsilon=0.0, minimum_count=20).policy == TopK((1,))
    assert calibrate(scores, labels, epsilon=0.0, minimum_count=21).policy == TopK((None,))


def test_all_wrong_never_cuts() -> None:
    scores, labels = one_step([3] * 50, [False] * 50)
    result = calibrate(scores, labels, epsilon=0.99)
    assert result.policy == TopK((None,))
    assert result.steps[0].precision is None
    assert (result.accuracy_full, result.accuracy_cutoff, result.mean_timesteps) == (0.0, 0.0, 1.0)


def test_it_is_json_and_the_policy_comes_back() -> None:
    scores, labels = one_step([1] * 30, [True] * 30)
    result = calibrate(scores, labels)
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert policy_from_dict(data["policy"]) == result.policy
    assert data["epsilon"] == 0.01
    (step,) = data["steps"]
    low, high = step.pop("precision_interval")
    assert low == pytest.approx(0.025 ** (1 / 30))
    assert high == 1.0
    assert step == {"timestep": 1, "threshold": 0, "considered": 30, "right": 30, "precision": 1.0, "exits": 30}
    assert data["guarantee"] is None
    assert data["intervals"]["lost"] == [0.0, pytest.approx(1 - 0.025 ** (1 / 30))]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"epsilon": 1.0}, "epsilon"),
        ({"epsilon": -0.01}, "epsilon"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"epsilon": float("inf")}, "epsilon"),
        ({"epsilon": "0.01"}, "epsilon"),
        ({"epsilon": True}, "epsilon"),
        ({"minimum_count": 0}, "minimum_count"),
        ({"minimum_count": 2.0}, "minimum_count"),
        ({"policy": "top-k"}, "topk"),
        ({"policy": None}, "spikecp"),
        ({"labels": np.array([0, 1])}, "labels of shape"),
        ({"labels": np.array([[0, 1, 1]])}, "labels of shape"),
        ({"labels": np.array([0, 1, 2])}, "expected 0 to 1"),
        ({"labels": np.array([0, 1, -1])}, "expected 0 to 1"),
        ({"labels": np.array([0.0, 1.0, 1.0])}, "dtype"),
        ({"scores": np.ones((2, 0, 2), dtype=np.int64)}, "scores of shape"),
        ({"scores": np.ones((2, 3, 1), dtype=np.int64), "labels": np.zeros(3, dtype=np.int64)}, "at least 2 classes"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], names: str) -> None:
    given_arguments: dict[str, Any] = {
        "scores": np.ones((2, 3, 2), dtype=np.int64),
        "labels": np.array([0, 1, 1]),
        **arguments,
    }
    with pytest.raises(InputError) as caught:
        calibrate(**given_arguments)
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)


def test_optimal_cutoff_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="labels of shape"):
        optimal_cutoff_timestep(np.ones((2, 3, 2), dtype=np.int64), np.array([0, 1]))
    with pytest.raises(InputError, match="scores of shape"):
        optimal_cutoff_timestep(np.ones((2, 2), dtype=np.int64), np.array([0, 1]))


def halted_and_full():
    """A run of random scores that a policy halted, and the same to the horizon."""
    network = random_network(1, horizon=6)
    inputs = random_inputs(network, 12)
    return (run_batched(network, inputs, policy) for policy in (FixedTimestep(3), None))


def test_scores_of_a_halted_run_are_refused() -> None:
    halted, full = halted_and_full()
    labels = full.predictions
    for function in (calibrate, optimal_cutoff_timestep, LabelledScores.of):
        with pytest.raises(InputError, match=r"12 of 12 samples were halted.*run them again with policy=None"):
            function(halted, labels)
    assert calibrate(full, labels, minimum_count=2) == calibrate(full.scores, labels, minimum_count=2)
    of_array = optimal_cutoff_timestep(full.scores, labels).timesteps
    assert optimal_cutoff_timestep(full, labels).timesteps.tolist() == of_array.tolist()


def test_what_is_no_basis_for_a_cutoff_is_noted() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 400)
    scores = random.integers(0, 3, (5, 400, 4))
    scores[:, np.arange(400), labels] += 2
    assert calibrate(scores, labels).notes == ()
    (unsupported,) = calibrate(scores, labels, minimum_count=100_000).notes
    assert "never exits before T = 5" in unsupported and "100,000 of 400 (minimum count)" in unsupported
    (never,) = calibrate(-scores, labels).notes
    assert "never exits before T = 5" in never and "a larger ε" in never
    alone = scores[:, labels == 2], labels[labels == 2]
    (single,) = calibrate(*alone, epsilon=0.1).notes
    assert f"all {len(alone[1])} labels are class 2" in single
    (few,) = calibrate(scores[:, :200], labels[:200]).notes
    assert "200 samples are few for ε = 0.01" in few and "up to 1.83 % of new ones" in few and "368 would do" in few
    assert calibrate(scores[:, :368], labels[:368]).notes == ()
    assert "(95 %: 0.00 % to 0.92 %) are right at T" in str(calibrate(scores, labels, epsilon=0))
    assert calibrate(scores, labels).to_dict()["notes"] == []
