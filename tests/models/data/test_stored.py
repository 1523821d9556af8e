"""Samples that stay in their file are those that load_own reads, slice by slice."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikecut.errors import DataError
from spikecut.models.data.own import load_own, load_samples
from spikecut.models.data.stored import StoredSplit, open_own

X = np.random.default_rng(0).normal(size=(60, 2, 3, 3))
Y = np.arange(60) % 4
THREE = {
    **{f"x_{part}": X[first : first + 20] for first, part in ((0, "train"), (20, "calibration"), (40, "test"))},
    **{f"y_{part}": Y[first : first + 20] for first, part in ((0, "train"), (20, "calibration"), (40, "test"))},
}


def write(path: Path, **arrays: Any) -> Path:
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for key, value in arrays.items():
                file[key] = value
    else:
        (np.savez_compressed if "packed" in path.name else np.savez)(path, **arrays)
    return path


def same(stored: StoredSplit, split: Any, step: int = 7) -> None:
    assert stored.x.shape == split.x.shape and stored.x.dtype == split.x.dtype
    parts = [stored.x[first : first + step] for first in range(0, len(stored), step)]
    np.testing.assert_array_equal(np.concatenate(parts), split.x)
    np.testing.assert_array_equal(stored.y, split.y)
    np.testing.assert_array_equal(stored.index, split.index)


@pytest.mark.parametrize("name", ["plain.npz", "packed.npz", "plain.h5"])
def test_slices_are_those_of_the_whole(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, x=X, y=Y)
    found, loaded = open_own(path), load_own(path)
    same(found.calibration, loaded.calibration)
    same(found.test, loaded.test)
    assert found.everything is not None and found.split == loaded.split
    same(found.everything, load_samples(path))
    np.testing.assert_array_equal(found.everything.x[3:5], X[3:5].astype(np.float32))  # back again
    same(found.everything, load_samples(path))
    few = found.everything.take(np.arange(4, 9))
    np.testing.assert_array_equal(few.x[1:3], X[5:7].astype(np.float32))
    back = found.everything.take(np.array([59, 2, 30]))
    np.testing.assert_array_equal(back.x[:], X[[59, 2, 30]].astype(np.float32))
    assert back.y.tolist() == Y[[59, 2, 30]].tolist()
    assert few.x[9:12].shape == (0, 2, 3, 3)
    parts = write(tmp_path / f"parts_{name}", **THREE)
    assert open_own(parts).everything is None
    same(open_own(parts).test, load_own(parts).test)


def test_events_and_the_order_of_fortran(tmp_path: Path) -> None:
    events = np.random.default_rng(1).integers(0, 3, (20, 5, 6), dtype=np.uint8)
    path = write(tmp_path / "events.npz", x=np.asfortranarray(events), y=Y[:20])
    same(open_own(path).test, load_own(path).test, 2)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, suffix: str) -> None:
    bad = X.copy()
    bad[50, 0, 0, 0] = np.nan
    stored = open_own(write(tmp_path / f"bad{suffix}", x=bad, y=Y)).everything
    assert stored is not None and len(stored.x[:50]) == 50
    with pytest.raises(DataError, match=r"bad.* holds a NaN"):
        stored.x[50:]
    path = write(tmp_path / f"changed{suffix}", x=X, y=Y)
    found = open_own(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="changed while its samples were read"):
        found.test.x[:2]
    path.write_bytes(whole)
    for arrays, match in (({"x": X}, "holds neither"), ({"x": X, "y": Y[:5]}, "one label per sample")):
        with pytest.raises(DataError, match=match):
            open_own(write(tmp_path / f"other{suffix}", **arrays))
    with pytest.raises(DataError, match="expected a file ending in"):
        open_own(tmp_path / "x.csv")
    if suffix == ".npz":
        content = bytearray(path.read_bytes())
        content[content.index(X.tobytes()[-64:])] ^= 1
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"damaged \(BadZipFile\)"):
            open_own(path).everything.x[:]  # type: ignore[union-attr]  # is there
    damaged = tmp_path / f"damaged{suffix}"
    damaged.write_bytes(b"nothing")
    with pytest.raises(DataError, match="truncated or not a"):
        open_own(damaged)


def test_damage_behind_the_last_sample_that_is_needed_is_found(tmp_path: Path) -> None:
    x = np.arange(40000, dtype=np.float32).reshape(10000, 4)
    path = write(tmp_path / "plain.npz", x=x, y=np.arange(10000) % 4)
    content = bytearray(path.read_bytes())
    content[content.index(x.tobytes()) + 16 * 6000] ^= 1
    path.write_bytes(content)
    everything = open_own(path).everything
    assert everything is not None
    few = everything.take(np.arange(100))
    np.testing.assert_array_equal(few.x[:50], x[:50])
    with pytest.raises(DataError, match=r"damaged \(BadZipFile\)"):
        few.x[50:]
    np.testing.assert_array_equal(few.x[7:9], x[7:9])  # not from where the failure left off
    with pytest.raises(DataError, match=r"damaged \(BadZipFile\)"):
        few.x[50:]


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("fortran.npz", {"x": np.asfortranarray(np.zeros((10, 2000))), "y": np.arange(10) % 2}),
        ("labels.npz", {"x": np.zeros((8000, 1)), "y": np.zeros(8000, np.int8)}),
        ("labels.h5", {"x": np.zeros((8000, 1)), "y": np.zeros(8000, np.int8)}),
        ("sample.npz", {"x": np.zeros((10, 8000), np.uint8), "y": np.arange(10) % 2}),
    ],
)
def test_what_the_memory_cannot_hold_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, arrays: dict[str, Any]
) -> None:
    path = write(tmp_path / f"packed_{name}", **arrays)
    monkeypatch.setattr("spikecut.memory.available_bytes", lambda: 100_000)
    with pytest.raises(DataError, match="GiB are available: give fewer samples"):
        open_own(path).test.x[:1]


@pytest.mark.parametrize("load", [load_own, open_own])
def test_labels_of_no_sample_take_little_memory(tmp_path: Path, load: Callable[[Path], object]) -> None:
    path = write(tmp_path / "labels.npz", x=X, y=np.zeros(2**22, np.uint8))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"x holds 60 samples but y has shape \(4194304,\): give one label per sa"):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 3 * 2**22  # as int64 they alone would take 8
    finally:
        tracemalloc.stop()
