"""Policies: strictness, agreement with a plain loop, and their JSON form."""

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spikecut.deploy.cutoff import CutoffPolicy, FixedTimestep, TopK, apply_policy, policy_from_dict
from spikecut.deploy.cutoff.base import BoolArray, ExitReason, IntArray, State
from spikecut.deploy.cutoff.topk import top_two_gap
from spikecut.errors import InputError


class TwiceTheSame(CutoffPolicy):
    """A policy with a memory: cuts once the prediction is the one of the step before."""

    name: ClassVar[str] = "twice-the-same"

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon

    @property
    def horizon(self) -> int:
        return self._horizon

    def init(self, samples: int, classes: int) -> State:
        return np.full((samples, 1), -1, dtype=np.int64)

    def step(self, totals: IntArray, t: int, state: State) -> tuple[BoolArray, State]:
        prediction = totals.argmax(axis=1)
        return prediction == state[:, 0], prediction[:, None].astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        return {"policy": self.name, "horizon": self._horizon}

    @classmethod
    def from_dict(cls, data: Any) -> "TwiceTheSame":
        return cls(data["horizon"])


def one_sample(policy: CutoffPolicy | None, scores: IntArray) -> tuple[int, str, int, list[int]]:
    """The definition, for one sample [T, classes], in plain Python."""
    horizon, classes = scores.shape
    total = [0] * classes
    state = np.zeros((1, 0), dtype=np.int64) if policy is None else policy.init(1, classes)
    for t in range(1, horizon + 1):
        total = [a + int(b) for a, b in zip(total, scores[t - 1], strict=True)]
        leaves = False
        if policy is not None:
            exits, state = policy.step(np.array([total], dtype=np.int64), t, state)
            leaves = bool(exits[0])
        if leaves and t < horizon:
            return t, "cutoff", total.index(max(total)), total
    return horizon, "horizon", total.index(max(total)), total


@st.composite
def policy_and_scores(draw: st.DrawFn) -> tuple[CutoffPolicy | None, IntArray]:
    horizon, samples, classes = draw(st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(2, 4)))
    scores = draw(hnp.arrays(np.int64, (horizon, samples, classes), elements=st.integers(-3, 3)))
    thresholds = st.lists(st.none() | st.integers(0, 6), min_size=horizon, max_size=horizon)
    policies = (
        st.none()
        | thresholds.map(lambda betas: TopK(tuple(betas)))
        | st.integers(1, horizon).map(FixedTimestep)
        | st.just(TwiceTheSame(horizon))
    )
    return draw(policies), scores


@given(policy_and_scores())
def test_apply_policy_is_the_step_by_step_loop(case: tuple[CutoffPolicy | None, IntArray]) -> None:
    policy, scores = case
    exits = apply_policy(policy, scores)
    for sample in range(scores.shape[1]):
        t, reason, prediction, totals = one_sample(policy, scores[:, sample])
        assert exits.timesteps[sample] == t
        assert exits.reason[sample].value == reason
        assert exits.predictions[sample] == prediction
        assert exits.totals[sample].tolist() == totals


@given(policy_and_scores())
def test_the_future_does_not_change_an_exit(case: tuple[CutoffPolicy | None, IntArray]) -> None:
    policy, scores = case
    exits = apply_policy(policy, scores)
    altered = scores.copy()
    for sample, t in enumerate(exits.timesteps):
        altered[t:, sample] += np.arange(1, scores.shape[2] + 1) * 7
    again = apply_policy(policy, altered)
    assert again.timesteps.tolist() == exits.timesteps.tolist()
    assert again.totals.tolist() == exits.totals.tolist()


def test_topk_is_strict_and_waits_where_there_is_no_threshold() -> None:
    scores = np.array([[[2, 0], [3, 0]], [[0, 0], [0, 0]], [[1, 0], [0, 0]], [[0, 9], [0, 0]]])
    exits = apply_policy(TopK((2, None, 2, 0)), scores)
    assert exits.timesteps.tolist() == [3, 1]
    assert exits.reason == (ExitReason.CUTOFF, ExitReason.CUTOFF)
    assert exits.totals.tolist() == [[3, 0], [3, 0]]


def test_a_tie_never_cuts_and_predicts_the_first_class() -> None:
    exits = apply_policy(TopK((0, 0)), np.array([[[0, 4, 4]], [[0, 1, 1]]]))
    assert exits.timesteps.tolist() == [2]
    assert exits.predictions.tolist() == [1]


def test_an_exit_at_the_horizon_has_reason_horizon() -> None:
    for policy in (TopK((None, 0)), FixedTimestep(2), None):
        exits = apply_policy(policy, np.array([[[5, 0]], [[5, 0]]]))
        assert exits.timesteps.tolist() == [2]
        assert exits.reason == (ExitReason.HORIZON,)


@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 5), st.integers(2, 6)), elements=st.integers(-9, 9)))
def test_gap_is_first_minus_second(totals: IntArray) -> None:
    expected = [sorted(row)[-1] - sorted(row)[-2] for row in totals.tolist()]
    assert top_two_gap(totals).tolist() == expected


@pytest.mark.parametrize("policy", [TopK((3, None, 0)), TopK(tuple(np.array([3, 0]))), FixedTimestep(4)])
def test_json_round_trip(policy: CutoffPolicy) -> None:
    assert policy_from_dict(json.loads(json.dumps(policy.to_dict(), allow_nan=False))) == policy


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ([1], "list"),
        ({}, "'policy'"),
        ({"policy": "top-k", "thresholds": [1]}, "topk"),
        ({"policy": ["topk"]}, "'policy'"),
        ({"policy": "topk"}, "thresholds"),
        ({"policy": "topk", "thresholds": [1], "extra": 1}, "extra"),
        ({"policy": "topk", "thresholds": "12"}, "list"),
        ({"policy": "topk", "thresholds": []}, "one entry"),
        ({"policy": "topk", "thresholds": [1, 2.0]}, "t = 2"),
        ({"policy": "topk", "thresholds": [True]}, "True"),
        ({"policy": "topk", "thresholds": [-1]}, "-1"),
        ({"policy": "topk", "thresholds": ["1"]}, "'1'"),
        ({"policy": "fixed", "timestep": 0}, "0"),
        ({"policy": "fixed", "timestep": True}, "True"),
        ({"policy": "fixed", "timestep": 1.0}, "1.0"),
        ({"policy": "fixed", "timestep": None}, "None"),
        ({"policy": "fixed", "thresholds": [1]}, "timestep"),
    ],
)
def test_foreign_json_is_refused(data: Any, names: str) -> None:
    with pytest.raises(InputError) as caught:
        policy_from_dict(data)
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)


def test_policies_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        FixedTimestep(1).timestep = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        TopK((1,)).thresholds = (2,)  # type: ignore[misc]
    assert len({TopK((1, None)), TopK((1, None)), FixedTimestep(1)}) == 2


def test_a_policy_of_another_horizon_is_refused() -> None:
    scores = np.ones((3, 1, 2), dtype=np.int64)
    with pytest.raises(InputError, match="T = 2"):
        apply_policy(TopK((1, 1)), scores)
    with pytest.raises(InputError, match="beyond"):
        apply_policy(FixedTimestep(4), scores)
    with pytest.raises(InputError, match="t = 3"):
        TopK((1, 1)).step(scores[0], 3, TopK((1, 1)).init(1, 2))


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="at least 2 classes"):
        apply_policy(TopK((0, 0)), np.ones((2, 3, 1), dtype=np.int64))
    with pytest.raises(InputError, match="at least 2 classes"):
        top_two_gap(np.ones((3, 1), dtype=np.int64))


@pytest.mark.parametrize(
    "scores",
    [
        np.ones((2, 3)),
        np.ones((2, 3), dtype=np.int64),
        np.ones((2, 0, 3), dtype=np.int64),
        np.ones((0, 2, 3), dtype=np.int64),
        np.ones((2, 2, 2)),
        np.ones((2, 2, 2), dtype=np.bool_),
        np.ones((2, 2, 2), dtype=np.uint64),
        np.full((2, 2, 2), "1"),
    ],
)
def test_malformed_scores_are_refused(scores: Any) -> None:
    with pytest.raises(InputError, match="scores of"):
        apply_policy(None, scores)


def test_policies_import_nothing_heavy() -> None:
    code = (
        "import sys; import spikecut.deploy.cutoff; "
        "print([m for m in ('torch', 'lava', 'matplotlib', 'pyarrow', 'rich', 'h5py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
