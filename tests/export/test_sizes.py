"""What a file claims is held against what it stores and against one budget, before anything is allocated."""

import hashlib
import os
import tracemalloc

import h5py
import numpy as np
import pytest
from networks import random_network

from spikecut.deploy.bundle import load
from spikecut.deploy.run.journal import Journal
from spikecut.errors import BundleError, ExportError, InputError, SpikecutError
from spikecut.export import golden as golden_file
from spikecut.export.golden import Golden, golden_bytes, read_golden
from spikecut.export.hdf5 import open_hdf5, read_whole
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.netx.read import read_netx
from spikecut.export.netx.write import write_netx

LITTLE = 2**27


@pytest.fixture
def net_file(tmp_path):
    path = tmp_path / "network.net"
    write_netx(random_network(1), path)
    return path


@pytest.fixture
def little_memory():
    """The test may not hold more than 128 MiB of arrays at once."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < LITTLE


def never_written(file):
    del file["layer/1/weight"]
    file.create_dataset("layer/1/weight", shape=(2**10, 2, 2**6, 2**6), dtype="i4")


def never_written_in_chunks(file):
    del file["layer/1/weight"]
    file.create_dataset("layer/1/weight", shape=(2**10, 2, 2**6, 2**6), dtype="i1", chunks=(2**10, 2, 8, 8))


def hardly_written(file):
    """One chunk of thousands."""
    del file["layer/1/weight"]
    dataset = file.create_dataset("layer/1/weight", shape=(2**10, 2, 2**6, 2**6), dtype="i1", chunks=(1, 1, 8, 8))
    dataset[0, 0, :8, :8] = 2


def a_long_type(file):
    del file["layer/1/type"]
    file.create_dataset("layer/1/type", (1,), f"S{2**27}")


def many_layers(file):
    """One packed matrix under a thousand names."""
    weight = np.zeros((2**11, 2**11), dtype=np.int8)
    file["layer"].create_dataset("shared", data=weight, compression="gzip")
    for index in range(len(file["layer"]) - 1, 1000):
        group = file["layer"].create_group(str(index))
        for key in ("type", "inFeatures", "outFeatures", "neuron"):
            group[key] = file[f"layer/4/{key}"]
        group["weight"] = file["layer/shared"]
    del file["layer/shared"]


def a_huge_chunk(file):
    del file["layer/1/bias"]
    options = {"maxshape": (None,), "chunks": (2**28,), "compression": "gzip"}
    file["layer/1"].create_dataset("bias", shape=(4,), dtype="i1", **options)


CLAIMS = {
    "a huge chunk": (a_huge_chunk, "chunks of an absurd size"),
    "never written": (never_written, r"claims 33554432 bytes, of which the file stores 0"),
    "never written, in chunks": (never_written_in_chunks, "claims 8388608 bytes, of which the file stores 0"),
    "hardly written": (hardly_written, "claims 8388608 bytes, of which the file stores 64"),
    "a type of megabytes": (a_long_type, "of which the file stores 0"),
}


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("case", CLAIMS)
def test_what_is_not_stored_is_not_allocated(net_file, case):
    change, message = CLAIMS[case]
    with h5py.File(net_file, "r+") as file:
        change(file)
    with pytest.raises(BundleError, match=message):
        load(net_file)


def test_all_datasets_of_a_file_share_one_budget(net_file):
    """Each of them alone would be read; a megabyte asks for gigabytes."""
    with h5py.File(net_file, "r+") as file:
        many_layers(file)
    assert net_file.stat().st_size < 2**21
    tracemalloc.start()
    with (
        pytest.raises(BundleError, match="claims more than spikecut reads of one file"),
        open_hdf5(net_file, 2**26) as file,
    ):
        for index in range(4, 1000):
            read_whole(file[f"layer/{index}"], "weight", net_file)
    assert tracemalloc.get_traced_memory()[1] < LITTLE
    tracemalloc.stop()


def test_budgets_of_files_do_not_mix(net_file, tmp_path):
    other = tmp_path / "other.net"
    write_netx(random_network(1), other)
    with open_hdf5(net_file, 2**12) as file, open_hdf5(other, 2**20) as second:
        for _ in range(20):
            read_whole(second["layer/1"], "weight", other)
        read_whole(file["layer/1"], "weight", net_file)
        with pytest.raises(BundleError, match="one file"), open_hdf5(other, 8) as third:
            read_whole(third["layer/1"], "weight", other)
        read_whole(second["layer/1"], "weight", other)


@pytest.mark.usefixtures("little_memory")
def test_networks_that_would_need_gigabytes():
    neuron = IntegerNeuron(9, [0])
    for padding, kernel, message in (
        ((2**14, 2**14), 1, "needs"),
        ((2**11, 2**11), 2**11, "needs"),
        ((2**62, 0), 1, "needs"),
    ):
        weight = np.ones((1, 1, kernel, kernel), dtype=np.int64) * 2
        sides = tuple(4 + 2 * p - kernel + 1 for p in padding)
        with pytest.raises(ExportError, match=f"layer wide: a convolution that {message}"):
            IntegerLayer("wide", "conv", weight, neuron, (1, 4, 4), (1, *sides), padding=padding)
    network = random_network(1)
    shape, layers = network.input_shape, []
    for index in range(80):
        weight = 2 * np.ones((2, 2, 1, 1), dtype=np.int64)
        output = (2, shape[1] + 40, shape[2] + 40)
        one = IntegerNeuron(9, [0, 0])
        layers.append(IntegerLayer(f"conv{index}", "conv", weight, one, shape, output, padding=(20, 20)))
        shape = output
    with pytest.raises(ExportError, match="a network that needs"):
        IntegerNetwork(tuple(layers), network.input, "count", 4)


def a_golden():
    arrays = {key: np.ones((2, 3, 4), dtype=np.int64) for key in ("inputs", "twin_scores", "float_scores")}
    by_layer = {"conv1": np.ones((2, 3, 4), dtype=np.int64)}
    return Golden(
        np.ones((3, 4)), np.ones(3, dtype=np.int64), **arrays, twin_spikes=by_layer, twin_weights={}, twin_biases={}
    )


def claim(key, dtype="i1"):
    def change(file):
        del file[key]
        file.create_dataset(key, shape=(2**10, 2**10, 2**7), dtype=dtype)

    return change


def rename(file):
    file["twin_spikes/\x1b[31m"] = file["twin_spikes/conv1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (claim("images", "f8"), "of which the file stores 0"),
        (claim("twin_spikes/conv1"), "of which the file stores 0"),
        (rename, "printable characters"),
        (lambda file: (file.__delitem__("inputs"), file.__setitem__("inputs", 3)), "different numbers of samples"),
        (lambda file: (file.__delitem__("images"), file.__setitem__("images", b"text")), "expected numbers"),
    ],
)
@pytest.mark.usefixtures("little_memory")
def test_golden_files(tmp_path, change, message):
    path = tmp_path / "golden.h5"
    path.write_bytes(golden_bytes(a_golden()))
    read_golden(path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(SpikecutError, match=message):
        read_golden(path)


def test_no_golden_file_is_written_that_could_not_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(golden_file, "MAXIMUM_BYTES", 8 * 60)
    with pytest.raises(InputError, match="use fewer samples"):
        golden_bytes(a_golden())
    assert not (tmp_path / "golden.h5").exists()


def test_a_journal_that_claims_much(tmp_path):
    journal = Journal.of(tmp_path / "run", random_network(1))
    journal.folder.mkdir()
    (journal.folder / "request.json").write_text("{}")
    path = journal.folder / "cut-00000000.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("scores", shape=(2**13, 2**13), dtype="i8")
    content = path.read_bytes()
    digest = journal._digest(path, hashlib.sha256(content).digest())  # as whoever can write the file can compute
    path.write_bytes(content + digest)
    with pytest.raises(InputError, match="of which the file stores 0"):
        journal.read("cut")


def test_pipes_and_devices(tmp_path):
    os.mkfifo(tmp_path / "pipe.net")
    (tmp_path / "zero.net").symlink_to("/dev/zero")
    for name in ("pipe.net", "zero.net"):
        with pytest.raises(BundleError, match="a pipe or a device"):
            load(tmp_path / name)
        with pytest.raises(BundleError, match="a pipe or a device"):
            read_netx(tmp_path / name)
        with pytest.raises(BundleError, match="a pipe or a device"):
            read_golden(tmp_path / name)
