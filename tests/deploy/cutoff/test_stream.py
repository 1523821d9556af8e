"""Streams without end: segments against a plain loop, hysteresis, and a network that every verdict resets."""

import numpy as np
import pytest
from cutoff_scores import network_of_scores
from hypothesis import given
from hypothesis import strategies as st
from networks import random_network
from oracle import run_network as oracle_network

from spikecut.deploy.backends.batched.stream import run_network, run_scores
from spikecut.deploy.backends.kernels.reference import scores_of
from spikecut.deploy.cutoff import Confidence, CutoffPolicy, FixedTimestep, TopK, apply_policy
from spikecut.deploy.cutoff.stream import NOTHING, StreamCutoff, StreamSettings
from spikecut.errors import DataError, InputError


def plain_stream(scores, settings):
    """Verdicts (frame, class, length, safe) of one stream [F, classes], each segment judged as a sample of its own."""
    verdicts, frame = [], 0
    while frame < len(scores):
        segment = scores[frame : frame + settings.longest]
        total, state = np.zeros((1, scores.shape[1]), dtype=np.int64), settings.policy.init(1, scores.shape[1])
        for t, added in enumerate(segment, start=1):
            total = total + added
            exits, state = settings.policy.step(total, t, state)
            if exits[0] or t == settings.longest:
                verdicts.append((frame + t - 1, int(total[0].argmax()), t, bool(exits[0])))
                break
        frame += t + settings.gap
    return verdicts


def plain_announcements(verdicts, frames, confirmations):
    """The announced class after every frame."""
    announced, run, result = NOTHING, [], []
    at = {frame: (label, safe) for frame, label, _, safe in verdicts}
    for frame in range(frames):
        if frame in at:
            label, safe = at[frame]
            if not safe or label == announced:
                run = []
            else:
                run = [*run, label] if run and run[-1] == label else [label]
                if len(run) == confirmations:
                    announced, run = label, []
        result.append(announced)
    return result


@st.composite
def streams(draw):
    horizon, classes = draw(st.integers(1, 5)), draw(st.integers(2, 3))
    thresholds = draw(st.lists(st.none() | st.integers(0, 4), min_size=horizon, max_size=horizon))
    policy: CutoffPolicy = draw(
        st.sampled_from(
            [TopK(tuple(thresholds)), Confidence(((1 << 20) * 2 // 3,) * horizon, 1.0), FixedTimestep(horizon)]
        )
    )
    window = draw(st.none() | st.integers(1, horizon))
    settings = StreamSettings(policy, window, draw(st.integers(1, 3)), draw(st.integers(0, 4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return settings, rng.integers(-1, 3, (draw(st.integers(1, 40)), draw(st.integers(1, 5)), classes))


@given(streams())
def test_segments_and_announcements_equal_the_plain_loop(case):
    settings, scores = case
    run = run_scores(scores, settings)
    for stream in range(scores.shape[1]):
        verdicts = plain_stream(scores[:, stream], settings)
        frames = np.flatnonzero(run.emitted[:, stream])
        assert [
            (int(f), int(run.predictions[f, stream]), int(run.timesteps[f, stream]), bool(run.safe[f, stream]))
            for f in frames
        ] == verdicts
        announced = plain_announcements(verdicts, len(scores), settings.confirmations)
        assert run.announced[:, stream].tolist() == announced
    assert (run.predictions[~run.emitted] == NOTHING).all()
    assert run.segments.tolist() == run.emitted.sum(axis=0).tolist()


@given(streams())
def test_a_stream_alone_is_judged_as_among_others(case):
    """What a monitor does with its own stream, one step after the other, is what a batch does."""
    settings, scores = case
    together = run_scores(scores, settings)
    for stream in range(scores.shape[1]):
        monitor = StreamCutoff(settings, scores.shape[2])
        for frame, added in enumerate(scores[:, stream]):
            verdict = monitor.step(added[None])
            for name in ("emitted", "safe", "predictions", "timesteps", "announced"):
                assert getattr(verdict, name)[0] == getattr(together, name)[frame, stream]


def test_a_segment_is_cut_where_a_sample_would_be():
    rng = np.random.default_rng(0)
    policy = TopK((2, 2, 1, 1, 0, None))
    scores = rng.integers(0, 3, (6, 200, 4))
    exits = apply_policy(policy, scores)
    run = run_scores(scores, StreamSettings(policy))
    first = run.emitted.argmax(axis=0)
    assert len(np.unique(first)) > 3
    assert (first + 1).tolist() == exits.timesteps.tolist()
    assert run.predictions[first, np.arange(200)].tolist() == exits.predictions.tolist()


def test_hysteresis_keeps_a_flicker_out():
    labels = [0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 0]
    scores = 3 * np.eye(2, dtype=np.int64)[labels][:, None]
    policy = TopK((1,))
    quick, steady = (run_scores(scores, StreamSettings(policy, confirmations=count)) for count in (1, 2))
    assert quick.announced[:, 0].tolist() == labels
    assert steady.announced[:, 0].tolist() == [-1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0]
    assert (quick.changes.tolist(), steady.changes.tolist()) == ([6], [2])


def test_an_unsafe_verdict_announces_nothing():
    scores = np.array([[[1, 0]], [[0, 0]], [[1, 0]], [[0, 0]], [[5, 0]]])
    run = run_scores(scores, StreamSettings(TopK((2, 2))))
    assert run.emitted[:, 0].tolist() == [False, True, False, True, True]
    assert run.predictions[:, 0].tolist() == [-1, 0, -1, 0, 0]
    assert run.announced[:, 0].tolist() == [-1, -1, -1, -1, 0]


@pytest.mark.parametrize(
    "options", [{}, {"dense_only": True}, {"soft": True, "membrane": True, "graded": True}, {"soft": True}]
)
def test_every_segment_of_a_network_is_a_sample_from_rest(options):
    """Against the independent oracle, run afresh on each segment's frames; the gap is the pipeline's depth."""
    network = random_network(4, **options)
    rng = np.random.default_rng(1)
    shape = (60, 3, *network.input_shape)
    frames = rng.integers(0, network.input.maximum + 1, shape) * (rng.random(shape) < 0.5)
    gaps = 2000 if network.readout == "membrane" else 0
    settings = StreamSettings(TopK((gaps,) * 5 + (None,)), confirmations=2)
    run = run_network(network, frames.astype(np.int32), settings)
    lengths = set()
    for stream in range(3):
        start = 0
        for frame in np.flatnonzero(run.emitted[:, stream]):
            length = int(run.timesteps[frame, stream])
            assert frame == start + length - 1
            segment = frames[start : frame + 1, stream : stream + 1].astype(np.int32)
            total = scores_of(network, oracle_network(network, segment)[-1]).sum(axis=0)[0]
            assert run.predictions[frame, stream] == total.argmax()
            best = sorted(total.tolist())
            assert run.safe[frame, stream] == (length < 6 and best[-1] - best[-2] > gaps)
            lengths.add(length)
            start = frame + 1 + network.depth
    assert len(lengths) > 1


def test_a_network_that_passes_scores_on_gives_the_same_verdicts():
    rng = np.random.default_rng(2)
    frames = (rng.random((50, 4, 3)) < 0.5).astype(np.int32)
    settings = StreamSettings(TopK((1, 1, 0, None)), gap=1)
    run, plain = run_network(network_of_scores(4, 3, False), frames, settings), run_scores(frames, settings)
    np.testing.assert_array_equal(run.predictions, plain.predictions)
    np.testing.assert_array_equal(run.timesteps, plain.timesteps)


def test_settings_that_do_not_fit():
    with pytest.raises(InputError, match="window 4"):
        StreamSettings(TopK((0, 0, 0)), window=4)
    with pytest.raises(InputError, match="confirmations"):
        StreamSettings(TopK((0,)), confirmations=0)
    with pytest.raises(InputError, match="gap of -1"):
        StreamSettings(TopK((0,)), gap=-1)
    with pytest.raises(InputError, match="scores of shape"):
        StreamCutoff(StreamSettings(TopK((0,))), 3).step(np.zeros((2, 3), dtype=np.int64))
    with pytest.raises(DataError, match="stream scores"):
        run_scores(np.zeros((3, 2)), StreamSettings(TopK((0,))))
    network = random_network(1)
    for frames in (np.zeros((3, 2, 2)), np.zeros((0, 2, *network.input_shape), dtype=np.int32)):
        with pytest.raises(DataError, match="frames"):
            run_network(network, frames, StreamSettings(TopK((0,))))
    with pytest.raises(DataError, match="outside"):
        run_network(network, np.full((3, 2, *network.input_shape), 7), StreamSettings(TopK((0,))))
