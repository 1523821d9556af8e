"""A policy of another package, found by its entry point, from calibration to the engines."""

import sys
import textwrap

import numpy as np
import pytest

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cutoff import CutoffPolicy, apply_policy, policy_from_dict, policy_names
from spikecut.deploy.cutoff.base import policy_class
from spikecut.deploy.cutoff.calibration.calibrate import calibrate
from spikecut.errors import InputError

PATIENCE = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikecut.deploy.cutoff import CutoffPolicy


@dataclass(frozen=True)
class Patience(CutoffPolicy):
    """Cut when the prediction has not changed for `steps` steps."""

    name: ClassVar[str] = "patience"
    steps: int
    last: int

    @property
    def horizon(self):
        return self.last

    def init(self, samples, classes):
        return np.full((samples, 2), -1, dtype=np.int64)

    def step(self, totals, t, state):
        prediction = totals.argmax(axis=1)
        same = np.where(prediction == state[:, 0], state[:, 1] + 1, 0)
        return same >= self.steps, np.stack([prediction, same], axis=1)

    def to_dict(self):
        return {"policy": self.name, "steps": self.steps, "last": self.last}

    @classmethod
    def from_dict(cls, data):
        return cls(data["steps"], data["last"])

    @classmethod
    def fit(cls, data, epsilons, minimum_count):
        return [cls(max(1, round((1 - epsilon) * data.horizon / 2)), data.horizon) for epsilon in epsilons]
'''

OTHERS = """

class Nothing:
    name = "nothing"


class Unfit(CutoffPolicy):
    name = "unfit"
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution with policies: a good one, one without a fit, what is none, and names that are not theirs."""
    (tmp_path / "patient.py").write_text(PATIENCE + OTHERS)
    information = tmp_path / "patient-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: patient\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        textwrap.dedent(
            """
            [spikecut.cutoff_policies]
            patience = patient:Patience
            nothing = patient:Nothing
            missing = patient_of_nobody:Policy
            misnamed = patient:Patience
            unfit = patient:Unfit
            topk = patient:Patience
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("patient", None)


def test_it_calibrates_runs_and_comes_back(installed):
    from cutoff_scores import network_of_scores

    assert {"patience", "nothing", "missing", "topk", "spikecp"} <= set(policy_names())
    rng = np.random.default_rng(0)
    inputs = (rng.random((6, 40, 3)) < 0.5).astype(np.int32)
    result = calibrate(inputs, rng.integers(0, 3, 40), policy="patience", epsilon=0.5)
    assert policy_from_dict(result.to_dict()["policy"]) == result.policy
    trace = run_batched(network_of_scores(6, 3, membrane=False), inputs, result.policy)
    assert trace.timesteps.tolist() == apply_policy(result.policy, inputs).timesteps.tolist()
    assert len(np.unique(trace.timesteps)) > 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "is no cutoff policy .it is no subclass of CutoffPolicy"),
        ("missing", "cannot be loaded"),
        ("misnamed", "calls itself 'patience'"),
        ("topk", "is offered twice, by patient:Patience and spikecut.*TopK"),
        ("else", "expected one of confidence, entropy, fixed, "),
        (None, "expected one of"),
    ],
)
def test_what_is_no_policy_is_refused(installed, name, message):
    with pytest.raises(InputError, match=message):
        policy_class(name)


def test_a_policy_without_a_fit_says_so(installed):
    with pytest.raises(InputError, match="no method `fit`"):
        calibrate(np.ones((2, 3, 2), dtype=np.int64), np.zeros(3, dtype=np.int64), policy="unfit")


def test_a_step_that_does_not_answer_is_refused():
    class Vague(CutoffPolicy):
        name = "vague"
        horizon = 2

        def step(self, totals, t, state):
            return totals.max(axis=1), state

        def to_dict(self):
            return {"policy": "vague"}

        @classmethod
        def from_dict(cls, data):
            return cls()

    with pytest.raises(InputError, match="expected bool"):
        apply_policy(Vague(), np.ones((2, 3, 2), dtype=np.int64))
