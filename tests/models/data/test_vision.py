import gzip
import os
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from spikecut.errors import DataError
from spikecut.models.data import FOLDER_VARIABLE, load_dataset, memory
from spikecut.models.data.images import _read_image

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (60, 28, 28), dtype=np.uint8)
LABELS = np.arange(60, dtype=np.uint8) % 3


def idx_bytes(array):
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(folder, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, part in (("train", slice(0, 40)), ("t10k", slice(40, 60))):
        for name, array in ((f"{stem}-images-idx3-ubyte", IMAGES), (f"{stem}-labels-idx1-ubyte", LABELS)):
            content = idx_bytes(array[part])
            path = folder / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "inside"), [("mnist", "MNIST/raw"), ("fashion-mnist", "fashion-mnist"), ("mnist", "")]
)
def test_idx_files_become_three_disjoint_parts(tmp_path, name, inside, packed):
    write_idx(tmp_path / inside, packed)
    dataset = load_dataset(name, folder=tmp_path)
    assert dataset.name == name and dataset.shape == (1, 28, 28) and len(dataset.labels) == 10
    assert [len(part) for part in (dataset.train, dataset.calibration, dataset.test)] == [37, 3, 20]
    every = np.concatenate([part.index for part in (dataset.train, dataset.calibration, dataset.test)])
    assert np.array_equal(np.sort(every), np.arange(60))
    for part in (dataset.train, dataset.calibration, dataset.test):
        assert part.x.dtype == np.float32
        assert np.array_equal(part.x[:, 0], IMAGES[part.index] / np.float32(255))
        assert np.array_equal(part.y, LABELS[part.index])


def test_the_environment_names_the_folder_and_the_seed_only_the_order(tmp_path, monkeypatch):
    write_idx(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    first, other = load_dataset("mnist", 1), load_dataset("mnist", 2)
    assert not np.array_equal(first.train.index, other.train.index)
    assert set(first.train.index) == set(other.train.index)
    assert np.array_equal(first.calibration.index, other.calibration.index)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "cifar100"])
def test_missing_files_come_with_the_way_to_get_them(tmp_path, monkeypatch, name):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    for folder in (None, tmp_path / "absent", tmp_path):
        with pytest.raises(DataError, match=rf"(?s)^{name}: .*--data FOLDER or in the environment variable") as caught:
            load_dataset(name, folder=folder)
        assert "\n" not in str(caught.value)


def hostile(path, content):
    path.write_bytes(content)


HOSTILE = {
    "empty": b"",
    "text": b"not an idx file at all",
    "labels where images should be": idx_bytes(LABELS[:40]),
    "signed bytes": struct.pack(">HBB3I", 0, 9, 3, 1, 28, 28) + bytes(784),
    "truncated": idx_bytes(IMAGES[:40])[:-1],
    "too long": idx_bytes(IMAGES[:40]) + b"x",
    "absurd": struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 28),
    "header only": struct.pack(">HBB3I", 0, 8, 3, 40, 28, 28)[:-1],
    "another size": idx_bytes(IMAGES[:40, :27]),
    "fewer images": idx_bytes(IMAGES[:39]),
    "none": idx_bytes(IMAGES[:0]),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_idx_files_are_refused_in_one_line(tmp_path, case, packed):
    write_idx(tmp_path, packed)
    name = "train-images-idx3-ubyte"
    content = gzip.compress(HOSTILE[case]) if packed else HOSTILE[case]
    hostile(tmp_path / (f"{name}.gz" if packed else name), content)
    with pytest.raises(DataError) as caught:
        load_dataset("mnist", folder=tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_gzip_and_labels_beyond_the_classes_are_refused(tmp_path):
    write_idx(tmp_path, packed=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="truncated"):
        load_dataset("mnist", folder=tmp_path)
    write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(LABELS[:20] + 10))
    with pytest.raises(DataError, match="labels from 0 to 9"):
        load_dataset("mnist", folder=tmp_path)


def test_a_size_beyond_the_limit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    write_idx(tmp_path)
    monkeypatch.setattr(memory, "MAXIMUM_BYTES", 5 * 40 * 784 - 1)
    with pytest.raises(DataError, match="need 156800 bytes, the limit is"):
        load_dataset("mnist", folder=tmp_path)


COLOURS = RANDOM.integers(0, 256, (10, 12, 3, 32, 32), dtype=np.uint8)  # class, sample


def write_folders(folder, suffix="png"):
    for label in range(10):
        for sample in range(12):
            place = folder / ("train" if sample < 10 else "test") / f"class{label}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(COLOURS[label, sample].transpose(1, 2, 0)).save(place / f"{sample:02d}.{suffix}")
    return folder


def test_class_folders_of_images(tmp_path):
    dataset = load_dataset("cifar10", folder=write_folders(tmp_path))
    assert dataset.shape == (3, 32, 32) and dataset.labels == tuple(f"class{label}" for label in range(10))
    assert [len(part) for part in (dataset.train, dataset.calibration, dataset.test)] == [90, 10, 20]
    assert np.array_equal(np.sort(dataset.calibration.index), np.arange(9, 100, 10))
    for position, label in zip(dataset.test.index - 100, dataset.test.y, strict=True):
        expected = COLOURS[label, 10 + position % 2] / np.float32(255)
        assert np.array_equal(dataset.test.x[position], expected)
    assert dataset.note == "read from image files"


def test_jpeg_files_are_said_to_be_lossy(tmp_path):
    dataset = load_dataset("cifar10", folder=write_folders(tmp_path / "cifar10", "jpg").parent)
    assert "lossy" in dataset.note


def test_class_folders_that_do_not_fit_are_refused(tmp_path):
    folder = write_folders(tmp_path)
    first = folder / "train" / "class0" / "00.png"
    for content, message in ((first.read_bytes()[:90], "truncated or not an image"), (b"", "not an image")):
        first.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_dataset("cifar10", folder=folder)
    Image.new("RGB", (31, 32)).save(first)
    with pytest.raises(DataError, match="32 × 31, expected 32 × 32"):
        load_dataset("cifar10", folder=folder)
    with pytest.raises(DataError, match="same 100 class folders"):
        Image.new("RGB", (32, 32)).save(first)
        load_dataset("cifar100", folder=folder)
    for path in (folder / "train" / "class0").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="one folder of images per class"):
        load_dataset("cifar10", folder=folder)


def records(images, labels, coarse=False):
    head = [[0, label] if coarse else [label] for label in labels]
    return b"".join(bytes(one) + image.tobytes() for one, image in zip(head, images, strict=True))


def write_binary(folder):
    images, labels = COLOURS.swapaxes(0, 1).reshape(-1, 3, 32, 32), np.tile(np.arange(10), 12)
    batches = folder / "cifar-10-batches-bin"
    batches.mkdir()
    for number in range(5):
        part = slice(20 * number, 20 * number + 20)
        (batches / f"data_batch_{number + 1}.bin").write_bytes(records(images[part], labels[part]))
    (batches / "test_batch.bin").write_bytes(records(images[100:], labels[100:]))
    hundred = folder / "cifar-100-binary"
    hundred.mkdir()
    (hundred / "train.bin").write_bytes(records(images[:100], labels[:100], coarse=True))
    (hundred / "test.bin").write_bytes(records(images[100:], labels[100:], coarse=True))
    return images, labels, batches


def test_the_binary_version_of_cifar(tmp_path):
    images, labels, batches = write_binary(tmp_path)
    for name, classes in (("cifar10", 10), ("cifar100", 100)):
        dataset = load_dataset(name, folder=tmp_path)
        assert len(dataset.labels) == classes and len(dataset.calibration) == 10
        for part in (dataset.train, dataset.calibration, dataset.test):
            assert np.array_equal(part.x, images[part.index] / np.float32(255))
            assert np.array_equal(part.y, labels[part.index])
    (batches / "data_batch_3.bin").write_bytes(b"x" * 3074)
    with pytest.raises(DataError, match="not records of 3073 bytes"):
        load_dataset("cifar10", folder=tmp_path)
    (batches / "data_batch_3.bin").write_bytes(b"x" * 3073)
    with pytest.raises(DataError, match="a label is 120"):
        load_dataset("cifar10", folder=tmp_path)
    (batches / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match="no such file"):
        load_dataset("cifar10", folder=tmp_path)


class Exploit:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_pickled_cifar_is_refused_and_never_executed(tmp_path):
    folder, target = tmp_path / "cifar-10-batches-py", tmp_path / "executed"
    folder.mkdir()
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps(Exploit(target)))
    with pytest.raises(DataError, match="cifar-10-batches-py is pickled Python and is not opened"):
        load_dataset("cifar10", folder=tmp_path)
    assert not target.exists()


def test_an_image_of_many_pixels_is_refused_without_a_warning(tmp_path):
    head = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(DataError, match="10000 × 10000, expected 32 × 32"):
        _read_image(str(tmp_path / "a.png"), (32, 32))
