"""NIR files that are damaged, or made to harm: each ends in one clear line, soon and in little memory."""

import os
import struct
import time
import tracemalloc
from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest
from nir_graphs import chain, conv, external, flatten, lif, link, pool, replace_dataset, write

from spikecut.deploy.bundle import load
from spikecut.errors import BundleError, UnsupportedError
from spikecut.export.nir import sandbox as nir_probe
from spikecut.export.nir.discretisation import discretisation
from spikecut.export.nir.file import parse_graph
from spikecut.export.nir.read import read_nir

WEIGHT = "node/nodes/n2/weight"
TEXT = h5py.string_dtype()
SECONDS, BYTES = 5.0, 700 * 2**20


def good(path):
    """Input, conv, LIF … : n0 conv, n1 LIF, n2 dense, n3 LIF; between them a Flatten, n4."""
    rng = np.random.default_rng(0)
    nodes = chain(
        conv(rng.normal(size=(2, 1, 3, 3))),
        lif((2, 4, 4)),
        nir.Affine(rng.normal(size=(3, 32)), np.zeros(3)),
        lif((3,)),
        shape=(1, 6, 6),
        out=(3,),
    )
    nodes.insert(3, ("n4", flatten(2, 4, 4)))
    return write(path, nodes)


def test_the_file_that_is_damaged_below_is_sound(tmp_path):
    assert read_nir(good(tmp_path / "a.nir"), discretisation(dt=1.0)).checked()


def put(key, value, **options):
    return lambda file: replace_dataset(file, key, value, **options)


def drop(key):
    def change(file):
        del file[key]

    return change


def unallocated(file, shape=(2**20, 2**20), chunks=(64, 64)):
    """Claims much, holds nothing."""
    del file[WEIGHT]
    file.create_dataset(WEIGHT, shape=shape, dtype="f8", chunks=chunks, compression="gzip")


def bomb(file):
    """A gzip bomb: few kilobytes of zeros that unpack to hundreds of megabytes, and more from each name."""
    group = file["node/nodes"].create_group("bomb")
    group["type"] = "Linear"
    zeros = np.zeros((2**13, 2**11), dtype=np.uint8)
    group.create_dataset("weight", data=zeros, chunks=(2**13, 2**11), compression="gzip")
    for index in range(4):
        another = file["node/nodes"].create_group(f"bomb{index}")
        another["type"], another["weight"] = "Linear", group["weight"]


def nothing(file):
    """A dataset that was never written."""
    group = file["node/nodes"].create_group("nothing")
    group["type"] = "Linear"
    group.create_dataset("weight", shape=(2**10, 2**11), dtype="f8")


def chunk(file):
    """One small array in a huge chunk."""
    del file[WEIGHT]
    file.create_dataset(WEIGHT, shape=(3, 32), maxshape=(None, None), dtype="f8", chunks=(2**14, 2**13))


def virtual(file):
    layout = h5py.VirtualLayout(shape=(3, 32), dtype="f8")
    layout[...] = h5py.VirtualSource("/etc/hostname", "x", shape=(3, 32))
    del file[WEIGHT]
    file.create_virtual_dataset(WEIGHT, layout)


def raw_external(file):
    del file[WEIGHT]
    file.create_dataset(WEIGHT, shape=(3, 32), dtype="u1", external=[("/etc/passwd", 0, 96)])


def edges(*pairs):
    def change(file):
        replace_dataset(file, "node/edges", np.array(pairs, dtype=object), dtype=TEXT)

    return change


def rewired(*added, without=()):
    """The chain's edges, some more, some less."""
    names = ["input", "n0", "n1", "n4", "n2", "n3", "output"]
    pairs = [pair for pair in pairwise(names) if pair not in without]
    return edges(*pairs, *added)


def inside_itself(file):
    file["node/nodes/self"] = file["node"]


def nested(file, depth=40):
    """Graphs in graphs."""
    group = file["node/nodes"].create_group("deep")
    for _ in range(depth):
        group["type"] = "NIRGraph"
        group["edges"] = np.zeros((0, 2))
        group = group.create_group("nodes").create_group("deep")
    group["type"] = "Threshold"
    group["threshold"] = 1.0


def broad(file):
    """Seven levels of a group that is linked eight times into the next: millions of nodes in a small file."""
    lowest = file.create_group("parts/0")
    lowest["type"], lowest["threshold"] = "Threshold", 1.0
    for level in range(1, 8):
        group = file.create_group(f"parts/{level}")
        group["type"], group["edges"] = "NIRGraph", np.zeros((0, 2))
        nodes = group.create_group("nodes")
        for copy in range(8):
            nodes[str(copy)] = file[f"parts/{level - 1}"]
    file["node/nodes/broad"] = file["parts/7"]


def many(file):
    for index in range(5000):
        group = file["node/nodes"].create_group(f"extra{index}")
        group["type"], group["threshold"] = "Threshold", 1.0


def second(kind):
    def change(file):
        group = file["node/nodes"].create_group("another")
        group["type"], group["shape"] = kind, np.array([3])

    return change


def long_text(file):
    replace_dataset(file, "node/nodes/n1/type", "LIF" * 10**6, dtype=TEXT)


def long_names(file):
    """All edges name one text of a megabyte."""
    replace_dataset(file, "node/edges", np.array([["x" * 2**20] * 2] * 50, dtype=object), dtype=TEXT)


def compound(file):
    replace_dataset(file, WEIGHT, np.zeros(3, dtype=[("a", "f8"), ("b", "i4")]))


CASES = {
    "weights missing": (drop(WEIGHT), "weight is missing"),
    "bias missing": (drop("node/nodes/n2/bias"), "bias is missing"),
    "type missing": (drop("node/nodes/n1/type"), "missing"),
    "edges missing": (drop("node/edges"), "edges is missing"),
    "nodes missing": (drop("node/nodes"), "nodes is missing"),
    "no graph at all": (drop("node"), "/node is missing"),
    "a field too many": (put("node/nodes/n1/v_treshold", 1.0), "v_treshold"),
    "unknown primitive": (put("node/nodes/n1/type", "ALIF"), "ALIF"),
    "a type that is a number": (put("node/nodes/n1/type", 3), "not a text"),
    "a type of a million letters": (long_text, "more than 256"),
    "a type that is not UTF-8": (put("node/nodes/n1/type", np.bytes_(b"\xff\xfe")), "UTF-8"),
    "weights of text": (put(WEIGHT, np.array([["a"]], dtype=object), dtype=TEXT), "type object"),
    "complex weights": (put(WEIGHT, np.zeros((3, 32), complex)), "complex"),
    "compound weights": (compound, "expected numbers"),
    "long double weights": (put(WEIGHT, np.zeros((3, 32), np.longdouble)), "64 bits"),
    "NaN weights": (put(WEIGHT, np.full((3, 32), np.nan)), "NaN"),
    "infinite time constant": (put("node/nodes/n1/tau", np.inf), "infinity"),
    "NaN threshold": (put("node/nodes/n1/v_threshold", np.nan), "NaN"),
    "negative time constant": (put("node/nodes/n1/tau", -2.0), "positive time constant"),
    "time constant of zero": (put("node/nodes/n1/tau", 0.0), "positive time constant"),
    "absurd shape": (unallocated, "claims"),
    "gzip bomb": (bomb, "claims more than"),
    "nothing stored": (nothing, "of which the file stores 0"),
    "huge chunk": (chunk, "absurd size"),
    "weights of one dimension": (put(WEIGHT, np.zeros(96)), "weight of shape"),
    "weights of no dimension": (put(WEIGHT, 1.0), "weight of shape"),
    "empty weights": (put(WEIGHT, np.zeros((0, 32))), "weight of shape"),
    "weights that do not fit": (put(WEIGHT, np.zeros((3, 31))), "does not fit an input"),
    "bias that does not fit": (put("node/nodes/n2/bias", np.zeros(4)), "bias of shape"),
    "kernel larger than the map": (put("node/nodes/n0/weight", np.ones((2, 1, 9, 9))), "does not fit into a map"),
    "kernel of three dimensions": (put("node/nodes/n0/weight", np.ones((2, 3, 3))), "does not fit a Conv2d"),
    "empty kernel": (put("node/nodes/n0/weight", np.ones((2, 1, 0, 3))), "does not fit a Conv2d"),
    "channels that do not fit": (put("node/nodes/n0/weight", np.ones((2, 5, 3, 3))), "channels"),
    "groups of zero": (put("node/nodes/n0/groups", 0), "groups"),
    "groups that do not divide": (put("node/nodes/n0/groups", 3), "groups"),
    "stride of zero": (put("node/nodes/n0/stride", np.array([0, 1])), "stride"),
    "stride of a half": (put("node/nodes/n0/stride", np.array([0.5, 1.0])), "stride"),
    "three strides": (put("node/nodes/n0/stride", np.array([1, 1, 1])), "stride"),
    "no stride": (put("node/nodes/n0/stride", np.zeros(0, int)), "stride"),
    "negative padding": (put("node/nodes/n0/padding", np.array([-1, 0])), "padding"),
    "absurd padding": (put("node/nodes/n0/padding", np.array([2**40, 0])), "padding"),
    "padding that takes gigabytes": (put("node/nodes/n0/padding", np.array([2**15, 2**15])), "at most"),
    "unknown padding": (put("node/nodes/n0/padding", "full"), "padding 'full'"),
    "dilation of zero": (put("node/nodes/n0/dilation", np.array([0, 0])), "dilation"),
    "thresholds of another shape": (put("node/nodes/n1/v_threshold", np.ones(7)), "7 values"),
    "no threshold": (put("node/nodes/n1/v_threshold", np.zeros(0)), "0 values"),
    "input of five dimensions": (put("node/nodes/input/shape", np.ones(5, int)), "shape"),
    "input of a negative shape": (put("node/nodes/input/shape", np.array([1, -6, 6])), "shape"),
    "input of an absurd shape": (put("node/nodes/input/shape", np.array([2**20, 2**20, 2**20])), "absurd|claims|shape"),
    "input of a fractional shape": (put("node/nodes/input/shape", np.array([1.0, 6.5, 6.0])), "shape"),
    "batch of eight": (put("node/nodes/input/shape", np.array([8, 1, 6, 6])), "batch of 8"),
    "another output shape": (put("node/nodes/output/shape", np.array([7])), "states the shape"),
    "another flatten shape": (put("node/nodes/n4/input_type", np.array([7])), "states the shape"),
    "external link": (lambda file: link(file, WEIGHT, external("/etc/hostname")), "link"),
    "soft link": (lambda file: link(file, WEIGHT, h5py.SoftLink("/node/nodes/n0/weight")), "link"),
    "external group": (lambda file: link(file, "node/nodes/n1", external("/etc/hostname")), "missing|link"),
    "external nodes": (lambda file: link(file, "node/nodes", external("/etc/hostname")), "missing|link"),
    "virtual dataset": (virtual, "inside this file"),
    "raw external data": (raw_external, "inside this file"),
    "a group for weights": (lambda file: (file.__delitem__(WEIGHT), file.create_group(WEIGHT)), "not a dataset"),
    "a dataset for a node": (put("node/nodes/n1", 1.0), "not a group"),
    "a graph inside itself": (inside_itself, "contains itself"),
    "graphs nested deep": (nested, "nested more than"),
    "graphs nested broad": (broad, "under a second name"),
    "five thousand nodes": (many, "more than 1024 nodes"),
    "an edge to nowhere": (rewired(("n3", "ghost")), "ghost, which does not exist"),
    "an edge twice": (rewired(("n0", "n1")), "listed 2 times"),
    "a cycle": (rewired(("n3", "n1"), without=(("n1", "n4"), ("n3", "output"))), "leads nowhere|cycle"),
    "a loop without neurons": (rewired(("n0", "n0")), "node n0 feeds itself without neurons"),
    "recurrence of another size": (rewired(("n3", "n2")), "32 neurons, but n3 has 3"),
    "recurrence through layers": (
        rewired(("n3", "n0")),
        "n1 is recurrent through other layers, in the cycle n0 → n1 → n4",
    ),
    "what comes back, and is heard": (rewired(("n3", "n2"), ("n2", "output")), "n2 .* back to n3, .* and to output"),
    "an edge into the input": (rewired(("n1", "input")), "leads into the Input"),
    "a broken chain": (rewired(without=(("n1", "n4"),)), "leads nowhere"),
    "no edges": (put("node/edges", np.zeros((0, 2))), "leads nowhere"),
    "edges of three": (put("node/edges", np.array([["a", "b", "c"]], dtype=object), dtype=TEXT), "pairs"),
    "edges of numbers": (put("node/edges", np.zeros((4, 2))), "pairs"),
    "edges of megabytes": (long_names, "more than 256"),
    "two inputs": (second("Input"), "exactly one Input"),
    "two outputs": (second("Output"), "exactly one Output"),
    "a node by itself": (lambda file: file.copy("node/nodes/n1", "node/nodes/alone"), "not on the way"),
    "all weights zero": (put(WEIGHT, np.zeros((3, 32))), "all weights"),
    "version of numbers": (put("node/type", 7), "not a text"),
}


@pytest.fixture
def in_this_process(monkeypatch):
    """Without the process that goes ahead, so that time and memory can be seen; the tests at the end have it."""
    monkeypatch.setattr("spikecut.export.nir.read.read_graph", parse_graph)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("case", CASES)
def test_one_clear_line(tmp_path, case):
    change, message = CASES[case]
    path = good(tmp_path / "graph.nir")
    with h5py.File(path, "r+") as file:
        if case == "a field too many":
            file["node/nodes/n1/v_treshold"] = 0.0
        change(file)
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises((BundleError, UnsupportedError), match=message) as caught:
        read_nir(path, discretisation(dt=1.0)).checked()
    took, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    assert took < SECONDS and peak < BYTES


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated_files(tmp_path, share):
    whole = good(tmp_path / "graph.nir").read_bytes()
    path = tmp_path / "cut.nir"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BundleError, match=r"truncated|damaged"):
        read_nir(path, discretisation(dt=1.0))
    with pytest.raises(BundleError):
        load(path)


@pytest.mark.slow
def test_flipped_bytes_never_escape(tmp_path):
    whole = good(tmp_path / "graph.nir").read_bytes()
    path = tmp_path / "flipped.nir"
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(12):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 8):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_nir(path, discretisation(dt=1.0)).checked()
        except (BundleError, UnsupportedError) as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 3


@pytest.mark.slow
def test_where_hdf5_circles_for_ever(tmp_path, monkeypatch):
    """The free space of the heap in which the texts lie gets the size 0."""
    content = bytearray(good(tmp_path / "graph.nir").read_bytes())
    heap = content.index(b"GCOL")
    place, index = heap + 16, 1
    while index:
        index, _, _, size = struct.unpack_from("<HHIQ", content, place)
        place += 16 + -(-size // 8) * 8 if index else 0
    content[place + 8 : place + 16] = bytes(8)
    path = tmp_path / "circle.nir"
    path.write_bytes(content)
    monkeypatch.setattr(nir_probe, "SECONDS", 1.5)
    with pytest.raises(BundleError, match=r"circle.nir: damaged: HDF5 did not get to its end within 2 s of the proc"):
        read_nir(path, discretisation(dt=1.0))


@pytest.mark.slow
def test_a_busy_machine_does_not_make_a_sound_file_damaged(tmp_path, monkeypatch):
    """Time passes while the other process waits for a processor: only what it computes tells a damaged file."""
    path = good(tmp_path / "a.nir")
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\nsleep 2.5\nexec {nir_probe.sys.executable} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(nir_probe.sys, "executable", str(slow))
    monkeypatch.setattr(nir_probe, "SECONDS", 1.0)
    assert nir_probe.read_graph(path).kind == "NIRGraph"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(nir_probe, "PATIENCE", -1.5)
    with pytest.raises(BundleError, match=r"a.nir: not read within 0 s: the machine is busy") as caught:
        nir_probe.read_graph(path)
    assert "damaged" not in str(caught.value)


def test_pipes_and_devices(tmp_path):
    os.mkfifo(tmp_path / "pipe.nir")
    (tmp_path / "zero.nir").symlink_to("/dev/zero")
    for name in ("pipe.nir", "zero.nir"):
        with pytest.raises(BundleError, match="a pipe or a device"):
            load(tmp_path / name)


def test_where_hdf5_crashes(tmp_path, monkeypatch):
    path = good(tmp_path / "graph.nir")
    monkeypatch.setattr(nir_probe.sys, "executable", "/bin/false")
    with pytest.raises(BundleError, match="the HDF5 library failed on it"):
        nir_probe.read_graph(path)
    monkeypatch.setattr(nir_probe.sys, "executable", str(tmp_path / "no python"))
    with pytest.raises(BundleError, match="no process could be started"):
        nir_probe.read_graph(path)


@pytest.mark.slow
def test_the_other_process_says_the_same(tmp_path, monkeypatch):
    path = good(tmp_path / "graph.nir")
    monkeypatch.chdir(tmp_path)
    with h5py.File(path, "r+") as file:
        bomb(file)
    with pytest.raises(BundleError, match=r"^graph.nir: claims more than"):
        load("graph.nir")


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(4096)])
def test_foreign_files(tmp_path, content):
    path = tmp_path / "foreign.nir"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="not an HDF5 file"):
        read_nir(path, discretisation(dt=1.0))


def test_missing_files_and_folders(tmp_path):
    for path, message in ((tmp_path / "none.nir", "no such file"), (tmp_path, "a folder, expected a file")):
        with pytest.raises(BundleError, match=message):
            read_nir(path, discretisation(dt=1.0))


def test_a_pooling_of_gigabytes(tmp_path):
    nodes = chain(pool("SumPool2d", 2**14, 1, 2**14), shape=(1, 4, 4), out=(1,))
    with pytest.raises(BundleError, match="at most"):
        read_nir(write(tmp_path / "a.nir", nodes), discretisation(dt=1.0))


def test_a_single_node_is_no_graph(tmp_path):
    nir.write(tmp_path / "a.nir", nir.Linear(np.ones((2, 2))))
    with pytest.raises(BundleError, match="single Linear"):
        read_nir(tmp_path / "a.nir", discretisation())
