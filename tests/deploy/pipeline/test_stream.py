"""Events of a file through the streaming monitor: the verdicts of the host's simulator, one at a time."""

import json
from dataclasses import asdict, replace
from itertools import islice

import numpy as np
import pytest
from networks import random_network

from spikecut.deploy.backends.batched.stream import run_network, stream_network
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cutoff.stream import StreamSettings
from spikecut.deploy.cutoff.topk import TopK
from spikecut.deploy.pipeline.calibrate import CalibrationOptions, calibrate_split
from spikecut.deploy.pipeline.export import export_to_bundle
from spikecut.deploy.pipeline.stream import StreamOptions, Verdict, _opened, stream
from spikecut.errors import DataError, InputError
from spikecut.export.network.arrays import size
from spikecut.export.network.input_spec import InputSpec
from spikecut.models.data import load_dataset

FRAMES = 90


@pytest.fixture(scope="module")
def network():
    found = random_network(8, horizon=8)
    labels = tuple(f"class {n}" for n in range(found.classes))
    return replace(found, input=InputSpec(found.input_shape, "events", bits=4, labels=labels))


POLICY = TopK((3,) * 7 + (None,))


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    """Events of 90 frames of 100 µs, and these frames."""
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 3, (FRAMES, *network.input_shape)) * (rng.random((FRAMES, *network.input_shape)) < 0.4)
    frames[0].flat[0] = frames[-1].flat[0] = 1
    frame, channel, y, x = np.repeat(np.argwhere(frames > 0), frames[frames > 0], axis=0).T
    path = tmp_path_factory.mktemp("events") / "a.npz"
    np.savez(path, t=100 * frame, x=x, y=y, p=1 - channel)
    return path, frames.astype(np.int32)


def expected(network, frames, settings):
    run = run_network(network, frames[:, None], settings)
    return run, np.flatnonzero(run.emitted[:, 0])


@pytest.mark.parametrize("confirmations", [1, 3])
def test_verdicts_are_those_of_the_simulator(network, file, confirmations):
    path, frames = file
    options = StreamOptions(window=6, confirmations=confirmations, frame_us=100)
    opened = _opened(network, POLICY, path, options, "mine.npz")
    found = list(opened.verdicts)
    run, ends = expected(network, frames, StreamSettings(POLICY, 6, confirmations))
    assert (opened.frames, opened.notes) == (FRAMES, ()) and len(found) == len(ends) > 5
    for number, (verdict, end) in enumerate(zip(found, ends.tolist(), strict=True), start=1):
        announced = int(run.announced[end, 0])
        assert verdict == Verdict(
            segment=number,
            frame=end + 1,
            hardware_step=end + 1 + network.depth,
            end_us=100 * (end + 1),
            prediction=int(run.predictions[end, 0]),
            label=f"class {run.predictions[end, 0]}",
            timesteps=int(run.timesteps[end, 0]),
            margin=int(run.margins[end, 0]),
            safe=bool(run.safe[end, 0]),
            announced=None if announced < 0 else announced,
        )
    assert all((verdict.margin > 3) == verdict.safe for verdict in found)  # as the policy's thresholds say


@pytest.mark.lava
def test_lava_says_the_same(network, file):
    path, _ = file
    settings = {"window": 6, "confirmations": 2, "frame_us": 100}
    both = [
        _opened(network, POLICY, path, StreamOptions(name, **settings), "").verdicts for name in ("batched", "lava")
    ]
    host, lava = map(list, both)
    assert host == lava and len(host) > 5


def test_verdicts_come_while_the_stream_is_played(network):
    """The second frame is asked for only after the verdict on the first was taken."""
    asked = []

    def pieces():
        for number in range(100):
            asked.append(number)
            yield np.zeros((1, 1, *network.input_shape), dtype=np.int32)

    at_once = StreamSettings(TopK((0,) * 8), window=1)
    assert [said.emitted[0] for said in islice(stream_network(network, pieces(), at_once), 2)] == [True, False]
    assert asked == [0, 1]


def test_a_whole_file_is_cut_as_in_training(network, file):
    opened = _opened(network, POLICY, file[0], StreamOptions(), "")
    assert opened.frames == network.horizon and "as training does" in opened.notes[0]
    assert len(list(opened.verdicts)) >= 1


def test_what_cannot_be_streamed_is_refused(network, file, tmp_path):
    for wrong in ({"frame_us": 0}, {"merge": 0}, {"frame_us": 10**30}, {"merge": 10**30}):
        with pytest.raises(InputError):
            StreamOptions(**wrong)
    with pytest.raises(InputError, match="'loihi2' plays no streams: expected one of batched, lava"):
        _opened(network, POLICY, file[0], StreamOptions("loihi2"), "")
    with pytest.raises(InputError, match="lava_models fused: the batched engine has no choice"):
        _opened(network, POLICY, file[0], StreamOptions(lava_models="fused"), "")
    images = replace(network, input=InputSpec(network.input_shape, "direct", bits=4))
    with pytest.raises(InputError, match="takes images"):
        _opened(images, POLICY, file[0], StreamOptions(), "")
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 8, 5), np.uint8), y=np.array([0, 1]))
    with pytest.raises(DataError, match=r"frames of shape \(5,\)"):
        _opened(network, POLICY, tmp_path / "a.npz", StreamOptions(), "")
    np.savez(tmp_path / "channels.npz", t=np.arange(3), x=np.zeros(3, int))
    with pytest.raises(DataError, match="holds t and x alone"):
        _opened(network, POLICY, tmp_path / "channels.npz", StreamOptions(), "")
    line = random_network(8, horizon=8, dense_only=True)
    line = replace(line, input=InputSpec((size(line.input_shape),), "events", bits=4))
    with pytest.raises(DataError, match="events of a camera"):
        _opened(line, POLICY, file[0], StreamOptions(), "")
    with pytest.raises(InputError, match="window 9"):
        _opened(network, POLICY, file[0], StreamOptions(window=9), "")


@pytest.fixture(scope="module")
def event_bundle(tmp_path_factory):
    """A network of events, hardly trained, calibrated."""
    from spikecut.models.training.train import train

    folder = tmp_path_factory.mktemp("event") / "bundle"
    data = load_dataset("emulated-digits", frames=4)
    trained = train("tet", data, epochs=1, timesteps=4, train_samples=128)
    export_to_bundle(trained.network, trained.recipe, folder)
    calibrate_split(open_bundle(folder), data.calibration, "emulated-digits", CalibrationOptions(epsilon=0.2))
    np.savez(folder.parent / "some.npz", x=data.test.x[:6], y=data.test.y[:6])
    return folder


@pytest.mark.slow
def test_the_command_prints_each_verdict_and_a_summary(command, event_bundle):
    events = event_bundle.parent / "some.npz"
    verdicts = list(stream(event_bundle, events))
    code, out, err = command("stream", event_bundle, events)
    head, *lines, last = out.splitlines()
    assert code == 0 and head.split()[:2] == ["segment", "frame"] and head.endswith("ended by")
    numbers = [line.split()[:3] for line in lines[: len(verdicts)]]
    assert numbers == [[str(n) for n in (v.segment, v.frame, v.hardware_step)] for v in verdicts]
    assert f"{len(verdicts)} verdicts in 24 frames" in " ".join(out.split()) and max(map(len, lines)) <= 100
    assert err == f"next: spikecut stream {event_bundle} {events} --confirmations 3\n", last
    code, out, err = command("stream", event_bundle, events, "--json", "--quiet")
    *lines, summary = map(json.loads, out.splitlines())
    assert (code, err, lines) == (0, "", [asdict(verdict) for verdict in verdicts])
    assert summary["verdicts"] == len(verdicts) and sum(summary["classes"].values()) == len(verdicts)
    code, out, err = command("stream", event_bundle, events, "--frame-us", 0)
    assert (code, out, err.count("\n")) == (2, "", 1)
