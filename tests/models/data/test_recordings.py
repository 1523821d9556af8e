import sys

import numpy as np
import pytest

from spikecut.errors import DataError
from spikecut.models.data import load_dataset
from spikecut.models.data.recordings import read_events

EVENTS = [(0, 33, 0, 1), (893, 2, 30, 0), (65536, 5, 7, 1), (2**23 - 1, 255, 129, 1)]


def written(path, events):
    """As the format is described: each event is one big-endian number of 40 bits."""
    numbers = [(x << 32) | (y << 24) | (p << 23) | t for t, x, y, p in events]
    path.write_bytes(b"".join(number.to_bytes(5, "big") for number in numbers))


@pytest.fixture
def folder(tmp_path):
    """22 recordings of two classes: class 0 sends from the left, class 1 from the right; the last two are the test."""
    lines = []
    for number in range(1, 23):
        column = 3 if number % 2 else 30
        written(tmp_path / f"{number}.bs2", [(1000 * step, column, step, step % 2) for step in range(10)])
        lines.append(f"{number}\t{1 - number % 2}")
    (tmp_path / "train1K.txt").write_text("\r\n".join(["#sample #class", *lines[:20]]) + "\r\n")
    (tmp_path / "test100.txt").write_text("\n".join(["#sample #class", *lines[20:]]) + "\n")
    return tmp_path


def test_events_are_read_bit_by_bit(tmp_path):
    written(tmp_path / "1.bs2", EVENTS)
    events = read_events(tmp_path / "1.bs2")
    assert [tuple(int(event[name]) for name in "txyp") for event in events] == EVENTS


def test_listed_recordings_become_frames_without_tonic(folder):
    dataset = load_dataset("n-mnist", folder=folder, frames=5)
    assert dataset.frames == 5 and dataset.shape == (2, 34, 34) and len(dataset.labels) == 10
    assert [len(part) for part in (dataset.train, dataset.calibration, dataset.test)] == [18, 2, 2]
    assert dataset.test.y.tolist() == [0, 1] and sorted(dataset.calibration.y) == [0, 1]
    for part in (dataset.train, dataset.calibration, dataset.test):
        assert np.array_equal(part.x.sum((1, 2, 3, 4)), np.full(len(part), 10))
        assert np.array_equal(part.x.sum((1, 2, 3)).argmax(1), np.where(part.y, 30, 3))
    first = dataset.test.x[0]
    assert first[0, 1, 0, 3] == first[0, 0, 1, 3] == 1  # polarity 0 lies in the second channel, time within frames
    assert np.array_equal(first.sum((1, 2, 3)), np.full(5, 2))
    assert "tonic" not in sys.modules
    named = folder / "n-mnist"
    named.mkdir()
    for path in list(folder.glob("*.*")):
        path.rename(named / path.name)
    assert np.array_equal(load_dataset("n-mnist", folder=folder, frames=5).train.x, dataset.train.x)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("3.bs2", b"", "its 0 bytes are not events of 5 bytes"),
        ("3.bs2", bytes(11), "its 11 bytes are not events"),
        ("3.bs2", bytes([34, 0, 0, 0, 0]), "outside the sensor"),
        ("3.bs2", None, "no such file"),
        ("test100.txt", b"21 10\n", "class 10, expected 0 to 9"),
        ("test100.txt", b"#sample #class\n", "lists no recording"),
        ("test100.txt", b"../21 1\n", "expected the number of a file and its class"),
        ("test100.txt", b"21\n", "expected the number of a file and its class"),
        ("test100.txt", b"\xff\n", "not a text"),
    ],
)
def test_damaged_recordings_are_refused(folder, name, content, message):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_dataset("n-mnist", folder=folder, frames=5)


def test_times_that_begin_at_0_again_are_counted_on(tmp_path):
    """23 bits hold 8.388608 s; events of one moment may come out of order, also where that moment is the end."""
    times = [8_000_000, 8_388_607, 8_388_610, 8_388_606, 8_388_611, 13_000_000, 12_999_990, 16_000_000, 17_000_000]
    written(tmp_path / "1.bs2", [(t % 2**23, 1, 2, 1) for t in times])
    assert read_events(tmp_path / "1.bs2")["t"].tolist() == times


def test_times_that_go_back_otherwise_are_refused(tmp_path):
    written(tmp_path / "1.bs2", [(t, 1, 2, 1) for t in (10, 5_000_000, 2_000_000)])
    with pytest.raises(
        DataError, match="back from 5,000,000 to 2,000,000 µs at event 3: events out of order, or a pause"
    ):
        read_events(tmp_path / "1.bs2")
