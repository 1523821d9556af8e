"""Files whose exporter left out shapes: completed from the nodes, or the samples, and said."""

import h5py
import nir
import numpy as np
import pytest
from nir_graphs import chain, conv, flatten, lif, write

from spikecut.errors import InputError
from spikecut.export.importers.base import read_network
from spikecut.export.nir.discretisation import discretisation
from spikecut.export.nir.read import read_nir

EULER = discretisation(dt=1.0)
RNG = np.random.default_rng(0)


def dense(path):
    return write(path, chain(nir.Affine(RNG.normal(size=(4, 6)), np.zeros(4)), lif((4,)), shape=(6,), out=(4,)))


def convolution(path):
    nodes = chain(
        conv(RNG.normal(size=(2, 1, 3, 3))),
        lif((2, 4, 4)),
        nir.Affine(RNG.normal(size=(3, 32)), np.zeros(3)),
        lif((3,)),
        shape=(1, 6, 6),
        out=(3,),
    )
    nodes.insert(3, ("n4", flatten(2, 4, 4)))
    return write(path, nodes)


def without(path, empty=False):
    """The names of the Input and Output, whose shapes the file loses."""
    with h5py.File(path, "r+") as file:
        names = {
            kind: name
            for name, node in file["node/nodes"].items()
            if (kind := node["type"][()].decode()) in ("Input", "Output")
        }
        for name in names.values():
            group = file[f"node/nodes/{name}"]
            del group["shape"]
            if empty:
                group["shape"] = h5py.Empty("i8")
    return names


@pytest.mark.parametrize("empty", [False, True])
def test_weights_tell_the_shape_and_the_network_is_the_same(tmp_path, empty):
    path = dense(tmp_path / "net.nir")
    whole, _ = read_nir(path, EULER).checked()
    names = without(path, empty)
    found = read_nir(path, EULER)
    network, _ = found.checked()
    assert found.input_shape == (6,) and str(network) == str(whole)
    told = [line for line in found.assumed if "leaves out its shape" in line]
    assert told == [
        f"node {names['Input']}: the file leaves out its shape; completed: (6,), from the weights of n0",
        f"node {names['Output']}: the file leaves out its shape; completed: (4,), from what comes in",
    ]


def test_a_convolution_tells_it_by_its_input_shape_or_the_samples_do(tmp_path):
    path = convolution(tmp_path / "net.nir")
    without(path)
    with h5py.File(path, "r+") as file:
        group = file["node/nodes/n0"]
        del group["input_shape"]
        group["input_shape"] = np.array([6, 6])
    assert read_nir(path, EULER).input_shape == (1, 6, 6)
    with h5py.File(path, "r+") as file:
        del file["node/nodes/n0/input_shape"]
    with pytest.raises(
        InputError, match="leaves out its shape, and the nodes behind it do not tell it: give --dataset"
    ):
        read_nir(path, EULER)
    np.savez(tmp_path / "data.npz", x=RNG.random((90, 1, 6, 6)), y=np.arange(90) % 3)
    imported = read_network(path, {"dt": 1.0, "dataset": str(tmp_path / "data.npz"), "horizon": 4})
    assert imported.input_shape == (1, 6, 6) and imported.refusal is None
    assert any("(1, 6, 6), from the samples" in line for line in imported.assumed)
