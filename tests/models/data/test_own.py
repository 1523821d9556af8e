import io
import os
import zipfile

import h5py
import numpy as np
import pytest

from spikecut.errors import DataError
from spikecut.models.data import load_dataset, load_samples, memory
from spikecut.models.data.idx import read_idx
from spikecut.models.data.images import read_class_folders

X = np.arange(60 * 3, dtype=np.float64).reshape(60, 3)
Y = np.repeat(np.arange(4), 15)


def write(path, **arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                file[key] = array
    return path


@pytest.fixture(params=[".npz", ".h5", ".hdf5"])
def path(request, tmp_path):
    return tmp_path / f"samples{request.param}"


def test_x_and_y_are_split_three_to_one_to_one_within_each_class(path):
    dataset = load_dataset(str(write(path, x=X, y=Y)))
    assert [len(part) for part in (dataset.train, dataset.calibration, dataset.test)] == [36, 12, 12]
    for part in (dataset.train, dataset.calibration, dataset.test):
        assert np.array_equal(part.x, X[part.index].astype(np.float32))
        assert np.array_equal(part.y, Y[part.index])
        assert len(set(np.bincount(part.y))) == 1
    assert np.array_equal(dataset.calibration.index % 5, np.full(12, 3))
    assert dataset.name == path.name and dataset.labels == ("0", "1", "2", "3") and dataset.shape == (3,)


def test_given_parts_are_kept(path):
    arrays = {"x_train": X, "y_train": Y, "x_calibration": X[:8], "y_calibration": Y[:8]}
    dataset = load_dataset(str(write(path, **arrays, x_test=X[50:], y_test=Y[50:])))
    assert np.array_equal(dataset.test.x, X[50:].astype(np.float32))
    assert np.array_equal(dataset.calibration.index, np.arange(60, 68))
    assert np.array_equal(load_samples(path).y, Y[50:])


def test_all_samples_as_a_test_set(path):
    samples = load_samples(write(path, x=X, y=Y))
    assert np.array_equal(samples.x, X.astype(np.float32)) and np.array_equal(samples.index, np.arange(60))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "holds neither x and y nor"),
        ({"x": X, "y": Y[:-1]}, "60 samples but y has shape"),
        ({"x": X, "y": Y.astype(float)}, "dtype float64, expected integers"),
        ({"x": X, "y": Y - 1}, "labels from -1"),
        ({"x": X, "y": Y + 10**12}, "expected 0 to classes - 1"),
        ({"x": np.where(X == 7, np.nan, X), "y": Y}, "holds a NaN"),
        ({"x": X * 1e300, "y": Y}, "beyond float32"),
        ({"x": X + 1j, "y": Y}, "expected real numbers"),
        ({"x": X.reshape(60, 1, 3), "y": Y}, r"expected \[N, features\]"),
        ({"x": X[:0], "y": Y[:0]}, "N ≥ 1"),
        ({"x": X[:4], "y": np.arange(4)}, "at least five of one class"),
    ],
)
def test_unfit_arrays_are_refused_in_one_line(path, arrays, message):
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(str(write(path, **arrays)))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_truncated_and_foreign_files_are_refused(path):
    whole = write(path, x=X, y=Y).read_bytes()
    for content in (b"", b"not a file of this kind", *(whole[:length] for length in range(0, len(whole) - 1, 97))):
        path.write_bytes(content)
        with pytest.raises(DataError):
            load_dataset(str(path))


def test_damaged_compressed_file_is_refused(tmp_path):
    path = tmp_path / "samples.npz"
    np.savez_compressed(path, x=X, y=Y)
    content = bytearray(path.read_bytes())
    content[80:200] = bytes(120)
    path.write_bytes(content)
    with pytest.raises(DataError):
        load_dataset(str(path))


def test_missing_file_and_foreign_suffix(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_dataset(str(tmp_path / "absent.npz"))
    with pytest.raises(DataError, match="expected a file ending in"):
        load_samples(tmp_path / "samples.csv")


class Exploit:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_nothing_is_unpickled(tmp_path):
    path, target = tmp_path / "samples.npz", tmp_path / "executed"
    np.savez(path, x=np.array([Exploit(target)] * 60, dtype=object), y=Y)
    with pytest.raises(DataError, match="expected real numbers"):
        load_dataset(str(path))
    assert not target.exists()


def test_absurd_size_is_refused_before_allocation(tmp_path, monkeypatch):
    path = tmp_path / "samples.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**6)})
    labels = io.BytesIO()
    np.save(labels, Y)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
        archive.writestr("y.npy", labels.getvalue())
    with pytest.raises(DataError, match="x is truncated"):
        load_dataset(str(path))
    monkeypatch.setattr(memory, "MAXIMUM_BYTES", X.nbytes + Y.nbytes - 1)
    for suffix in (".npz", ".h5"):
        with pytest.raises(DataError, match="the limit is"):
            load_samples(write(tmp_path / f"large{suffix}", x=X, y=Y))


def test_hdf5_links_to_other_files_are_not_followed(tmp_path):
    outside = write(tmp_path / "outside.h5", x=X, y=Y)
    path = tmp_path / "samples.h5"
    with h5py.File(path, "w") as file:
        file["y"] = Y
        file["x"] = h5py.ExternalLink(outside.name, "x")
    with pytest.raises(DataError, match="x is not a data set stored in this file"):
        load_samples(path)


def test_the_limit_is_on_the_samples_as_they_are_held(tmp_path, monkeypatch):
    """uint8 images become float32 and are split: nine bytes for each that is stored."""
    path = write(tmp_path / "images.h5", x=np.zeros((600, 1, 8, 8), dtype=np.uint8), y=np.arange(600) % 2)
    need = 600 * 64 * 9 + 600 * 16
    monkeypatch.setattr("spikecut.memory.available_bytes", lambda: need - 1)
    with pytest.raises(DataError, match=r"images.h5: its samples need .* GiB of memory, .*: give fewer samples"):
        load_samples(path)
    monkeypatch.setattr("spikecut.memory.available_bytes", lambda: need)
    assert len(load_samples(path)) == 600


def test_a_data_set_that_was_never_written_is_refused(tmp_path):
    path = tmp_path / "samples.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (7 * 2**26, 16), dtype="u1", chunks=(2**16, 16), compression="gzip")
        file["y"] = np.zeros(5, dtype=np.int64)
    assert path.stat().st_size < 60_000
    with pytest.raises(DataError, match="x claims 7516192768 bytes, but 0 are stored"):
        load_samples(path)
    with h5py.File(path, "w") as file:
        chunk = {"chunks": (10, 2**26), "maxshape": (10, None), "compression": "gzip"}
        file.create_dataset("x", (10, 4), dtype="f4", **chunk)
        file["y"] = np.zeros(10, dtype=np.int64)
    with pytest.raises(DataError, match="x claims 2684354560 bytes"):
        load_samples(path)


def test_only_the_member_whose_header_was_checked_is_read(tmp_path):
    """np.load would give the raw member x, whatever its size, in the place of x.npy."""
    path = write(tmp_path / "samples.npz", x=X, y=Y)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(2**20))
    np.testing.assert_array_equal(load_samples(path).x, X.astype(np.float32))


def test_images_and_idx_files_that_are_pipes(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a pipe or a device"):
        read_idx(tmp_path / "pipe", 3)
    (tmp_path / "images" / "a").mkdir(parents=True)
    os.mkfifo(tmp_path / "images" / "a" / "1.png")
    with pytest.raises(DataError, match="a pipe or a device"):
        read_class_folders(tmp_path / "images", (32, 32))
