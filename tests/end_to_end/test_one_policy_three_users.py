"""One policy, three users: calibration, the batched engine and the Lava monitor cut every sample at the same step."""

import numpy as np
import pytest
from cutoff_scores import UNIT, network_of_scores
from hypothesis import given, settings
from hypothesis import strategies as st

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.lava.cpu import run_lava
from spikecut.deploy.backends.lava.graph import require_lava
from spikecut.deploy.cutoff import Confidence, Entropy, FixedTimestep, SpikeCP, TopK, apply_policy
from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.cutoff.softmax import UNIT as WHOLE
from spikecut.deploy.cutoff.threshold import all_exit_timesteps


def thresholds(draw, horizon, values):
    return tuple(draw(st.lists(st.none() | values, min_size=horizon, max_size=horizon)))


@st.composite
def policies(draw, horizon, unit):
    """Any policy, with thresholds at which scores of this unit fall on both sides."""
    scale = draw(st.sampled_from([0.7, 1.0, 2.5, 13.0])) * unit
    fractions = st.integers(WHOLE // 8, WHOLE) | st.sampled_from([0, WHOLE // 2, WHOLE])
    return draw(
        st.sampled_from(
            [
                FixedTimestep(draw(st.integers(1, horizon))),
                TopK(thresholds(draw, horizon, st.integers(0, 6 * unit))),
                Confidence(thresholds(draw, horizon, fractions), scale),
                Entropy((draw(fractions),) * horizon, scale),
                SpikeCP(thresholds(draw, horizon, st.integers(-4 * unit, 8 * unit)), draw(st.integers(1, 3))),
            ]
        )
    )


@st.composite
def cases(draw):
    """A policy, a readout, and the inputs [T, N, classes] of a network that makes scores of them."""
    horizon, samples, classes = draw(st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(2, 5)))
    membrane = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = draw(st.sampled_from([1, 3, 200])) if membrane else 1
    inputs = rng.integers(-top if membrane else 0, top + 1, (horizon, samples, classes)).astype(np.int32)
    if draw(st.booleans()):
        inputs[:, :, 0] = np.abs(inputs[:, :, 0])  # some samples become clear
    return draw(policies(horizon, UNIT if membrane else 1)), membrane, inputs


class FakePort:
    """A port that hands out prepared messages."""

    def __init__(self):
        self.message = None

    def recv(self):
        return self.message


def drive_monitor(policy, scores, membrane, depth):
    """Exits (timestep, cut) per sample of the real ProcessModel, streamed without Lava's runtime or source."""
    require_lava()  # Lava must be imported this way once torch has asked for a start method
    from spikecut.deploy.backends.lava.processes import cutoff_monitor, source, wave

    horizon, samples, classes = scores.shape
    shared = {"ring": wave.new_ring(depth), "control": wave.shared_int64(source.CONTROL_WORDS)}
    shared["scores"] = wave.shared_int64(samples * horizon * classes)
    shared["results"] = wave.shared_int64(samples * cutoff_monitor.RESULT_COLUMNS)
    shared["verdicts"] = wave.shared_int64(1)
    wave.as_int64(shared["control"])[source.SAMPLES] = samples
    settings = {"depth": depth, "horizon": horizon, "policy": policy, "membrane": membrane}
    model = cutoff_monitor.PyCutoffMonitorModel({**shared, **settings})
    model.s_in = FakePort()
    ring = wave.as_int64(shared["ring"])
    messages = scores.cumsum(axis=0) if membrane else scores
    played, sample, step = [], -1, 0
    wave.announce(ring, 1)
    while not model._req_pause:
        step += 1
        if wave.starts(ring, step) or (sample + 1 < samples and played[-1] == (sample, horizon - 1)):
            wave.announce(ring, step)
            sample += 1
            played.append((sample, 0))
        else:
            played.append((sample, played[-1][1] + 1))
        model.time_step = step
        seen, t = played[step - depth - 1] if step > depth else (0, horizon)
        model.s_in.message = messages[t, seen] if t < horizon else np.full(classes, 99)
        model.run_spk()
    results = wave.as_int64(shared["results"]).reshape(samples, -1)
    columns = results[:, [cutoff_monitor.TIMESTEPS, cutoff_monitor.CUT]]
    return [(timestep, bool(cut)) for timestep, cut in columns.tolist()]


@settings(max_examples=150)
@given(cases(), st.integers(1, 4))
def test_the_three_decide_the_same_step(case, depth):
    policy, membrane, inputs = case
    scores = inputs.astype(np.int64) * (UNIT if membrane else 1)
    calibration = apply_policy(policy, scores)
    trace = run_batched(network_of_scores(inputs.shape[0], inputs.shape[2], membrane), inputs, policy)
    np.testing.assert_array_equal(trace.scores[trace.valid], scores[trace.valid])
    assert trace.timesteps.tolist() == calibration.timesteps.tolist()
    assert trace.reason == calibration.reason
    monitor = drive_monitor(policy, scores, membrane, depth)
    cut = [reason is ExitReason.CUTOFF for reason in calibration.reason]
    assert monitor == list(zip(calibration.timesteps.tolist(), cut, strict=True))
    assert all_exit_timesteps([policy], scores.cumsum(axis=0))[0].tolist() == calibration.timesteps.tolist()


@pytest.mark.parametrize(
    "policy",
    [
        TopK((None, 2 * UNIT, UNIT, UNIT, 0)),
        Confidence((int(0.9 * WHOLE),) * 5, 2.0 * UNIT),
        Entropy((int(0.4 * WHOLE),) * 5, 0.6 * UNIT),
        SpikeCP((None, 3 * UNIT, 4 * UNIT, 5 * UNIT, None)),
    ],
    ids=lambda policy: policy.name,
)
def test_real_lava_runs_decide_the_same_step(policy):
    rng = np.random.default_rng(3)
    inputs = rng.integers(-2, 5, (5, 30, 4)).astype(np.int32)
    network = network_of_scores(5, 4, membrane=True)
    lava, batched = run_lava(network, inputs, policy), run_batched(network, inputs, policy)
    calibration = apply_policy(policy, inputs.astype(np.int64) * UNIT)
    assert len(np.unique(calibration.timesteps)) > 2
    assert lava.timesteps.tolist() == batched.timesteps.tolist() == calibration.timesteps.tolist()
    assert lava.reason == batched.reason == calibration.reason
    np.testing.assert_array_equal(lava.scores, batched.scores)


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 10, 17]), st.sampled_from([1, 7, 300_000]))
def test_a_batch_changes_no_bit(seed, classes, top):
    """Alone, in a batch, backwards, with other strides: the numbers that thresholds are compared with are the same."""
    rng = np.random.default_rng(seed)
    totals = rng.integers(-top, top + 1, (37, classes))
    for policy in (TopK((0,)), Confidence((0,), 0.37 * top), Entropy((0,), 0.37 * top)):
        whole = policy.safety(totals, 1)
        assert whole.dtype == np.int64
        assert np.concatenate([policy.safety(row[None], 1) for row in totals]).tolist() == whole.tolist()
        assert policy.safety(totals[::-1], 1)[::-1].tolist() == whole.tolist()
        assert policy.safety(np.asfortranarray(totals), 1).tolist() == whole.tolist()
        assert policy.safety(totals[:, rng.permutation(classes)], 1).tolist() == whole.tolist()
