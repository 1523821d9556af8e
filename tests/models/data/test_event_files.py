"""Event files of three formats hold the same events, become the frames of a training, and are refused where damaged."""

import struct
from pathlib import Path

import numpy as np
import pytest

from spikecut.errors import DataError
from spikecut.models.data import event_files
from spikecut.models.data.event_files import Binning, binned, count_frames, read_event_file
from spikecut.models.data.events import bin_events
from spikecut.models.data.recordings import EVENT

SHAPE = (2, 8, 9)
HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#End Of ASCII Header\r\n"


def drawn(count=200):
    """Events of a small camera in the order of time."""
    rng = np.random.default_rng(7)
    events = np.zeros(count, dtype=EVENT)
    events["t"] = np.sort(rng.integers(1000, 90_000, count))
    events["x"], events["y"], events["p"] = (rng.integers(0, top, count) for top in (9, 8, 2))
    return events


def as_bs2(path, events):
    numbers = [(x << 32) | (y << 24) | (p << 23) | t for t, x, y, p in events.tolist()]
    path.write_bytes(b"".join(number.to_bytes(5, "big") for number in numbers))


def packet(events, kind=1, size=8, capacity=None, overflow=0, valid=1):
    """A packet as the format is described, event by event."""
    body = b"".join(struct.pack("<II", valid | p << 1 | y << 2 | x << 17, t) for t, x, y, p in events.tolist())
    capacity = len(events) if capacity is None else capacity
    return struct.pack("<HHIIIIII", kind, 1, size, 4, overflow, capacity, len(events), len(events)) + body


def as_aedat(path, events):
    """In two packets, with one of another kind between them, and events that are not valid."""
    other = struct.pack("<HHIIIIII", 2, 1, 12, 4, 0, 1, 1, 1) + bytes(12)
    parts = [packet(events[:90]), other, packet(events[:5], valid=0), packet(events[90:])]
    path.write_bytes(HEADER + b"".join(parts))


def as_npz(path, events):
    np.savez(path, **{name: events[name].astype(np.int32) for name in "txyp"})


WRITERS = {".bs2": as_bs2, ".aedat": as_aedat, ".npz": as_npz}


@pytest.mark.parametrize("suffix", WRITERS)
def test_all_formats_hold_the_same_events(tmp_path, suffix):
    events = drawn()
    WRITERS[suffix](tmp_path / f"a{suffix}", events)
    found = read_event_file(tmp_path / f"a{suffix}")
    assert found.frames is None and found.events.tolist() == events.tolist()
    shuffled = np.random.default_rng(1).permutation(events)
    WRITERS[suffix](tmp_path / f"b{suffix}", shuffled)
    assert sorted(read_event_file(tmp_path / f"b{suffix}").events.tolist()) == sorted(events.tolist())
    assert (np.diff(read_event_file(tmp_path / f"b{suffix}").events["t"]) >= 0).all()


@pytest.mark.parametrize("chunk", [1, 3, 64])
@pytest.mark.parametrize("merge", [1, 2])
def test_frames_are_those_of_training(chunk, merge):
    events = drawn()
    shape = (2, -(-8 // merge), -(-9 // merge))
    pieces = list(binned(Path("a"), events, Binning(shape, 10, merge=merge), chunk))
    np.testing.assert_array_equal(np.concatenate(pieces), bin_events(events, 10, shape, merge))
    assert {len(piece) for piece in pieces[:-1]} <= {chunk}


def test_frames_of_a_given_length_count_every_event_once():
    events = drawn()
    frames = np.concatenate(list(binned(Path("a"), events, Binning(SHAPE, 10, 7000), 4)))
    since = events["t"] - events["t"][0]
    assert len(frames) == since[-1] // 7000 + 1
    np.testing.assert_array_equal(frames.sum((1, 2, 3)), np.bincount(since // 7000))
    one_line = drawn()
    flat = np.concatenate(list(binned(Path("a"), one_line, Binning((9,), 10, 7000), 4)))
    np.testing.assert_array_equal(flat.sum(0), np.bincount(one_line["x"], minlength=9))


def test_samples_of_events_are_frames_one_behind_the_other(tmp_path):
    x = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    np.savez(tmp_path / "a.npz", x=x, y=np.array([0, 1]))
    found = read_event_file(tmp_path / "a.npz")
    assert found.events is None and found.frames.tolist() == x.reshape(6, 4).tolist()


def arrays(**change):
    made = {name: np.arange(4) % 2 for name in "txyp"} | change
    return {name: array for name, array in made.items() if array is not None}


DAMAGED = {
    "no event": (".npz", arrays(**{name: np.zeros(0, int) for name in "txyp"}), "holds no event"),
    "half a camera": (".npz", arrays(y=None), "expected t and x, or t, x, y and p"),
    "lengths": (".npz", arrays(x=np.zeros(3, int)), "of one length"),
    "floats": (".npz", arrays(t=np.zeros(4)), "t has dtype float64, expected integers"),
    "negative": (".npz", arrays(x=np.array([0, 0, 0, -1])), "a negative x"),
    "polarity": (".npz", arrays(p=np.array([0, 0, 2, 1])), "a polarity p other than 0 and 1"),
    "far away": (".npz", arrays(t=np.array([0, 1, 2, 2**62])), "expected less than"),
    "images": (".npz", {"x": np.zeros((2, 5), np.float32), "y": np.array([0, 1])}, "holds images, no events"),
    "odd length": (".bs2", b"1234567", "are not events of 5 bytes"),
    "AEDAT 2": (".aedat", b"#!AER-DAT2.0\r\n", "AEDAT 3.1 alone is read, and it begins with '#!AER-DAT2"),
    "no end": (".aedat", b"#!AER-DAT3.1\r\n", "its header has no end"),
    "half a header": (".aedat", HEADER + bytes(10), "truncated in the header"),
    "forged length": (".aedat", HEADER + packet(drawn(3), capacity=2**31), "a packet claims 17179869184 bytes"),
    "forged size": (".aedat", HEADER + packet(drawn(3), size=2**32 - 1, capacity=2**32 - 1), "a packet claims"),
    "more than it holds": (".aedat", HEADER + packet(drawn(3), capacity=2), "a packet claims"),
    "overflow": (".aedat", HEADER + packet(drawn(3), overflow=1), "overflow 1: not read"),
    "another kind": (".raw", b"1", "expected events in a .npz, .bs2 or .aedat"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused_in_words(tmp_path, name):
    suffix, content, message = DAMAGED[name]
    path = tmp_path / f"a{suffix}"
    if isinstance(content, dict):
        np.savez(path, **content)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        read_event_file(path)
    assert message in str(refused.value) and str(path) in str(refused.value)


def test_what_does_not_fit_the_sensor_or_the_memory_is_refused(monkeypatch):
    with pytest.raises(DataError, match="--merge N"):
        next(binned(Path("a"), drawn(), Binning((2, 4, 9), 10), 4))
    with pytest.raises(DataError, match="outside the sensor"):
        next(binned(Path("a"), drawn(), Binning((5,), 10), 4))
    monkeypatch.setattr(event_files, "MAXIMUM_FRAMES", 100)
    with pytest.raises(DataError, match="frames of 1 µs, at most 100: take longer ones"):
        next(binned(Path("a"), drawn(), Binning(SHAPE, 10, 1), 4))


def test_times_too_long_to_be_cut_exactly_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, t=[0, 2**46 - 1], x=[0, 3])
    found = read_event_file(path)
    with pytest.raises(DataError, match="too long to be cut into 131,072 frames"):
        count_frames(path, found.events, Binning((4,), 2**17))
    frame, total = count_frames(path, found.events, Binning((4,), 2**16))
    assert (frame.tolist(), total, found.camera) == ([0, 2**16 - 1], 2**16, False)
