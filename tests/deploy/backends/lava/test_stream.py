"""Streams without end on Lava: the monitor cuts, emits, resets and goes on, as the simulator on the host does."""

from dataclasses import fields, replace

import numpy as np
import pytest
from networks import random_inputs, random_network

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.batched.stream import run_network
from spikecut.deploy.backends.lava.processes.stream import EMITTED, TIMESTEPS
from spikecut.deploy.backends.lava.stream import LavaStream, run_lava_stream
from spikecut.deploy.cutoff.stream import NOTHING, StreamSettings
from spikecut.deploy.cutoff.topk import TopK, top_two_gap
from spikecut.errors import DataError

FRAMES = 160
CASES = {
    "convolutions, hard reset, biases": {},
    "soft reset, v(0), graded, membrane, recurrent maps": {
        "soft": True,
        "graded": True,
        "membrane": True,
        "recurrent_maps": True,
    },
    "delays": {"dense_only": True, "delays": True},
    "recurrent": {"dense_only": True, "recurrent": True},
}


def stream_of(network, seed=0):
    """One stream of frames [F, *shape], and a policy that ends its segments at many lengths."""
    inputs = random_inputs(network, FRAMES // network.horizon)
    gaps = top_two_gap(run_batched(network, inputs).scores.cumsum(axis=0))
    frames = inputs.swapaxes(0, 1).reshape(-1, *network.input_shape)
    return frames, TopK(tuple(int(np.median(gap)) for gap in gaps))


def assert_same(one, other):
    for field in fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


@pytest.mark.parametrize("models", ["stock", "fast", "fused"])
@pytest.mark.parametrize("case", CASES)
def test_the_monitor_says_what_the_host_says(case, models):
    network = random_network(8, horizon=8, **CASES[case])
    frames, policy = stream_of(network)
    settings = StreamSettings(policy, window=6, confirmations=2)
    stream = run_lava_stream(network, frames, settings, models, chunk=97)
    assert_same(stream, run_network(network, frames[:, None], settings))
    lengths = stream.timesteps[stream.emitted]
    assert len(lengths) > 15 and len(np.unique(lengths)) > 1
    assert stream.safe.any() and (stream.emitted & ~stream.safe).any()


def test_an_output_of_maps_is_read_in_the_order_of_torch():
    network = random_network(3, horizon=8)
    network = replace(network, layers=network.layers[:2])
    frames, policy = stream_of(network)
    settings = StreamSettings(policy, window=6, confirmations=2)
    stream = run_lava_stream(network, frames, settings)
    assert_same(stream, run_network(network, frames[:, None], settings))
    assert len(np.unique(stream.predictions[stream.emitted])) > 3


def test_hysteresis_changes_the_announced_class_less_often():
    network = random_network(8, horizon=8)
    frames, policy = stream_of(network)
    flapping = run_lava_stream(network, frames, StreamSettings(policy))
    calm = run_lava_stream(network, frames, StreamSettings(policy, confirmations=3))
    np.testing.assert_array_equal(flapping.predictions, calm.predictions)
    assert calm.changes[0] < flapping.changes[0]


def test_a_stream_is_fed_as_it_comes():
    network = random_network(8, horizon=8)
    frames, policy = stream_of(network)
    settings = StreamSettings(policy)
    host = run_network(network, frames[:, None], settings)
    with LavaStream(network, settings, capacity=50) as stream:
        said = np.concatenate([stream.feed(frames[start : start + 20]) for start in range(0, FRAMES, 20)])
    # The verdict on a frame comes P steps later; nothing is known before the first frame has gone through.
    depth = network.depth
    assert not said[:depth, EMITTED].any()
    np.testing.assert_array_equal(said[depth:, EMITTED], host.emitted[:-depth, 0])
    np.testing.assert_array_equal(said[depth:, TIMESTEPS], host.timesteps[:-depth, 0])


def test_a_segment_is_a_fresh_run_of_its_frames():
    network = random_network(8, horizon=8, soft=True, graded=True, membrane=True)
    frames, policy = stream_of(network)
    stream = run_lava_stream(network, frames, StreamSettings(policy))
    checked = 0
    for last in np.flatnonzero(stream.emitted[:, 0]):
        length = stream.timesteps[last, 0]
        first = last - length + 1
        if first + network.horizon > FRAMES:
            break
        alone = run_batched(network, frames[first : first + network.horizon, None], policy)
        assert (alone.timesteps[0], alone.predictions[0]) == (length, stream.predictions[last, 0])
        checked += 1
    assert checked > 15


def test_frames_that_do_not_fit_are_refused():
    network = random_network(4)
    with pytest.raises(DataError, match="frames of shape"):
        run_lava_stream(network, np.zeros((5, 3), dtype=np.int64), StreamSettings(TopK((0,) * 6)))


def test_what_is_fed_is_checked():
    network = random_network(8, horizon=8)
    frames, policy = stream_of(network)
    with LavaStream(network, StreamSettings(policy), capacity=10) as stream:
        for wrong, message in (
            (frames[:11], "11 frames at once"),
            (frames[:0], "no frames"),
            (frames[:3] + 1000, "lies outside"),
            (frames[:3].astype(float), "frames of shape"),
            (frames[:3, :1], "frames of shape"),
        ):
            with pytest.raises(DataError, match=message):
                stream.feed(wrong)


def test_silence_is_never_announced():
    network = random_network(4, bias=False)
    silence = np.zeros((30, *network.input_shape), dtype=np.int64)
    stream = run_lava_stream(network, silence, StreamSettings(TopK((0,) * network.horizon)))
    assert (stream.announced == NOTHING).all() and not stream.safe.any()
    assert stream.segments[0] > 1
