"""The first nodes of a NIR file as a network of their own: what they send is what they send in the whole."""

import json

import nir
import numpy as np
import pytest
import torch
from nir_graphs import chain, lif, write

from spikecut.errors import InputError, UnsupportedError
from spikecut.export.nir.discretisation import discretisation
from spikecut.export.nir.file import parse_graph
from spikecut.export.nir.read import read_nir

NODES = ["input", "n0", "n1", "n2", "n3", "output"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    rng = np.random.default_rng(4)
    linear = [nir.Linear(rng.uniform(-0.5, 1.0, shape)) for shape in ((5, 3), (2, 5))]
    nodes = chain(linear[0], lif((5,)), linear[1], lif((2,)), out=[2])
    return write(tmp_path_factory.mktemp("nir") / "whole.nir", nodes)


def test_a_part_sends_what_it_sends_in_the_whole(path, monkeypatch):
    monkeypatch.setattr("spikecut.export.nir.read.read_graph", parse_graph)
    time = discretisation(dt=1.0)
    frames = torch.tensor(np.random.default_rng(1).random((9, 6, 3)) < 0.5).double()
    sent = read_nir(path, time).witness.record(frames)
    part = read_nir(path, time, first=3)
    network, witness = part.checked(strict=True)
    assert sent["n1"].sum() > 10
    for module in (network, witness):
        np.testing.assert_array_equal(module(frames), sent["n1"])
    assert [(node.node, node.exactness) for node in part.nodes] == [
        (name, "exact" if number < 3 else "not reached") for number, name in enumerate(NODES)
    ]
    assert not any("shape" in line for line in part.assumed)
    currents, _ = read_nir(path, time, first=2).checked()
    assert currents.readout == "membrane"


def test_what_is_no_part_is_refused(path, tmp_path, command, monkeypatch):
    monkeypatch.setattr("spikecut.export.nir.read.read_graph", parse_graph)
    for layers, message in ((":6", "of its 6 nodes :2 to :5"), ("2:4", "the first B nodes are taken")):
        code, _, error = command("inspect", path, "--layers", layers)
        assert code == 2 and message in error
    code, shown, _ = command("inspect", path, "--dt", 1, "--layers", ":3", "--json")
    assert code == 0 and [node["exactness"] for node in json.loads(shown)["nodes"]].count("not reached") == 3
    split = chain(nir.Linear(np.ones((2, 3))), lif((2,)), nir.Linear(np.ones((2, 3))), lif((2,)), out=[2])
    edges = [("input", "n0"), ("n0", "n1"), ("input", "n2"), ("n2", "n3"), ("n1", "output"), ("n3", "output")]
    with pytest.raises(UnsupportedError, match="--layers :4 cuts through n"):
        read_nir(write(tmp_path / "split.nir", split, edges), discretisation(dt=1.0), first=4)
    with pytest.raises(InputError, match="of its 6 nodes"):
        read_nir(path, discretisation(dt=1.0), first=1)
