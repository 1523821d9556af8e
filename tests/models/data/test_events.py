import builtins
import sys

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecut.errors import DataError
from spikecut.models.data import load_dataset
from spikecut.models.data.emulated import emulate_events, emulated
from spikecut.models.data.events import bin_events
from spikecut.models.data.own import load_own


@given(seed=st.integers(0, 1000), frames=st.integers(1, 12), contrast=st.sampled_from([0.1, 0.3, 0.5]))
def test_every_pixel_sends_as_many_on_as_off_events_over_the_closed_path(seed, frames, contrast):
    images = np.random.default_rng(seed).random((3, 7, 5))
    events = emulate_events(images, frames, contrast).astype(int)
    assert events.shape == (3, frames, 2, 7, 5)
    assert np.array_equal(events[:, :, 0].sum(1), events[:, :, 1].sum(1))


def test_frames_divide_the_same_events():
    images = np.random.default_rng(1).random((2, 8, 8))
    whole = emulate_events(images, 1)
    for frames in (2, 7, 60):
        assert np.array_equal(emulate_events(images, frames).sum(1), whole[:, 0])
    assert whole.sum() > 0


def test_a_bright_square_sends_events_at_its_edges_and_nothing_inside():
    images = np.zeros((1, 16, 16))
    images[:, 4:12, 4:12] = 1
    events = emulate_events(images, 3)[0].sum((0, 1))
    assert events[7:10, 7:10].sum() == 0 and events[0].sum() == 0
    assert events[3, 5:10].min() > 0
    assert emulate_events(np.full((1, 8, 8), 0.7), 4).sum() == 0


def test_the_first_saccade_moves_the_view_down():
    """What lies above a bright field sees it arrive: on events first, off events on the way back."""
    images = np.zeros((1, 12, 12))
    images[:, 6:] = 1
    events = emulate_events(images, 3)[0, :, :, 5, 6].astype(int)
    assert events[0, 0] > 0 and events[0, 1] == 0 and events[1, 1] > 0 and events[1, 0] == 0


@pytest.mark.parametrize(
    "images", [np.zeros((2, 3)), np.full((1, 4, 4), 1.5), np.zeros((0, 4, 4)), -np.ones((1, 4, 4))]
)
def test_what_is_no_image_is_refused(images):
    with pytest.raises(DataError, match="intensities from 0 to 1"):
        emulate_events(images, 4)
    with pytest.raises(DataError, match="at least 1"):
        emulate_events(np.zeros((1, 4, 4)), 0)
    with pytest.raises(DataError, match="more than 255 events"):
        emulate_events(np.eye(8)[None], 1, contrast=0.001)


def test_emulated_digits_keep_their_parts_and_say_that_they_are_emulated(tmp_path):
    stills, events = load_dataset("digits"), load_dataset("emulated-digits", frames=6)
    assert events.name == "emulated-digits" and "emulated" in events.note
    assert events.frames == 6 and stills.frames is None and events.shape == (2, 8, 8)
    assert events.train.x.dtype == np.uint8 and events.train.x.shape[1:] == (6, 2, 8, 8)
    for part in ("train", "calibration", "test"):
        assert np.array_equal(getattr(events, part).index, getattr(stills, part).index)
    assert np.array_equal(events.test.x, emulate_events(stills.test.x[:, 0] / 16, 6))
    np.savez(tmp_path / "vectors.npz", x=np.arange(60.0).reshape(20, 3), y=np.arange(20) % 2)
    with pytest.raises(DataError, match="only images"):
        emulated(load_own(tmp_path / "vectors.npz"), 4)


def test_colours_are_seen_by_their_luminance(tmp_path):
    x = np.random.default_rng(3).random((20, 3, 8, 8))
    np.savez(tmp_path / "colours.npz", x=x, y=np.arange(20) % 2)
    dataset = load_own(tmp_path / "colours.npz")
    grey = np.tensordot(dataset.test.x, np.float32([0.299, 0.587, 0.114]), axes=(1, 0)) / dataset.train.x.max()
    assert np.array_equal(emulated(dataset, 5).test.x, emulate_events(grey, 5))


def recorded(times, columns, rows=None, polarities=None):
    fields = [("t", np.int64), ("x", np.int16)] + ([("y", np.int16), ("p", np.bool_)] if rows is not None else [])
    events = np.zeros(len(times), dtype=fields)
    events["t"], events["x"] = times, columns
    if rows is not None:
        events["y"], events["p"] = rows, polarities
    return events


def test_events_are_counted_in_frames_of_equal_length():
    events = recorded([100, 149, 150, 199, 199], [0, 5, 4, 5, 5], [0, 3, 3, 2, 2], [True, False, True, True, True])
    frames = bin_events(events, 2, (2, 2, 3), merge=2)
    assert frames.dtype == np.uint8 and frames.sum() == 5
    assert frames[0, 0, 0, 0] == 1 and frames[0, 1, 1, 2] == 1 and frames[1, 0, 1, 2] == 3
    sound = bin_events(recorded([0, 1, 2, 3], [699, 0, 0, 0]), 4, (700,))
    assert sound.shape == (4, 700) and sound[0, 699] == 1 and sound[1:, 0].tolist() == [1, 1, 1]
    assert bin_events(recorded([], []), 3, (700,)).sum() == 0
    with pytest.raises(DataError, match="outside the sensor"):
        bin_events(recorded([0], [700]), 1, (700,))
    with pytest.raises(DataError, match="more than 255 events"):
        bin_events(recorded([0] * 256, [1] * 256), 1, (700,))


@pytest.mark.parametrize("name", ["n-mnist", "dvs128-gesture", "cifar10-dvs", "shd"])
def test_without_tonic_the_message_says_so(monkeypatch, tmp_path, name):
    original = builtins.__import__

    def absent(module, *arguments, **options):
        if module == "tonic":
            raise ImportError("No module named 'tonic'", name="tonic")
        return original(module, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DataError, match="read by tonic, which is not installed") as caught:
        load_dataset(name, folder=tmp_path)
    assert "\n" not in str(caught.value)


def test_tonic_is_imported_only_when_asked():
    load_dataset("emulated-digits", frames=2)
    assert "tonic" not in sys.modules


@pytest.mark.parametrize("name", ["n-mnist", "dvs128-gesture", "cifar10-dvs", "shd"])
def test_tonic_downloads_nothing(tmp_path, name):
    pytest.importorskip("tonic", reason="an optional dependency")
    with pytest.raises(DataError, match=r"does not hold it; get it by tonic\.datasets"):
        load_dataset(name, folder=tmp_path)
    with pytest.raises(DataError, match="give the folder"):
        load_dataset(name)


def test_spiking_heidelberg_digits_through_tonic(tmp_path):
    pytest.importorskip("tonic", reason="an optional dependency")
    random = np.random.default_rng(0)
    (tmp_path / "SHD").mkdir()
    for part, count in (("train", 40), ("test", 20)):
        with h5py.File(tmp_path / "SHD" / f"shd_{part}.h5", "w") as file:
            times = file.create_dataset("spikes/times", (count,), dtype=h5py.vlen_dtype(np.float16))
            units = file.create_dataset("spikes/units", (count,), dtype=h5py.vlen_dtype(np.int64))
            for sample in range(count):
                times[sample] = np.sort(random.random(50)).astype(np.float16)
                units[sample] = random.integers(0, 700, 50)
            file["labels"] = np.arange(count) % 2
            file["extra/speaker"] = np.zeros(count, dtype=int)
            file["extra/keys"] = np.array([b"null", b"eins"])
        (tmp_path / "SHD" / f"shd_{part}.h5.zip").write_bytes(b"")
    dataset = load_dataset("shd", folder=tmp_path, frames=5)
    assert dataset.shape == (700,) and dataset.frames == 5
    assert [len(part) for part in (dataset.train, dataset.calibration, dataset.test)] == [36, 4, 20]
    assert (dataset.test.x.sum((1, 2)) == 50).all()
    with h5py.File(tmp_path / "SHD" / "shd_test.h5", "a") as file:
        del file["labels"]
    with pytest.raises(DataError, match="holds what tonic cannot read"):
        load_dataset("shd", folder=tmp_path)
