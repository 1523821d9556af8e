"""IntegerNetwork → NIR → IntegerNetwork is the identity, and what other tools see is the network."""

from dataclasses import replace

import h5py
import nir
import numpy as np
import pytest
from equality import equal
from hypothesis import HealthCheck, given, settings
from networks import networks, random_network

from spikecut.deploy.bundle import load
from spikecut.errors import BundleError, InputError, UnsupportedError
from spikecut.export.nir.file import parse_graph
from spikecut.export.nir.write import graph_of, holds_integers, read_integers, write_nir


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(beyond_nir=False))
def test_round_trip_is_the_identity(tmp_path_factory, network):
    path = tmp_path_factory.mktemp("nir") / "network.nir"
    write_nir(network, path)
    with pytest.MonkeyPatch.context() as patched:  # without the process that goes ahead, to be quicker
        patched.setattr("spikecut.export.nir.write.read_graph", parse_graph)
        assert equal(read_integers(path), network)


def test_a_gain_per_timestep_is_refused_by_name(tmp_path):
    with pytest.raises(UnsupportedError, match="layer conv1: NIR has no neuron with a gain per timestep"):
        write_nir(random_network(1, gain=True), tmp_path / "network.nir")
    assert list(tmp_path.iterdir()) == []


def test_load_reads_it(tmp_path):
    network = random_network(5, dense_only=True, delays=True, recurrent=True)
    write_nir(network, tmp_path / "network.nir")
    assert equal(load(tmp_path / "network.nir"), network)


@pytest.mark.parametrize("case", [{}, {"soft": True, "membrane": True}, {"dense_only": True, "recurrent": True}])
def test_the_package_reads_the_same_graph(tmp_path, case):
    network = random_network(3, **case)
    write_nir(network, tmp_path / "network.nir")
    graph = nir.read(tmp_path / "network.nir", type_check=False)
    written = graph_of(network)
    assert set(graph.edges) == set(written.edges)
    for node in written.nodes:
        found = graph.nodes[node.name]
        assert type(found).__name__ == node.kind
        for key in set(node.numbers) - {"shape", "input_type"}:
            np.testing.assert_array_equal(getattr(found, key), node.numbers[key], key)


def test_the_package_checks_what_it_can(tmp_path):
    """Square kernels without groups, dense layers, recurrence: nir.read's own check of the shapes passes."""
    network = random_network(3, dense_only=True, recurrent=True)
    write_nir(network, tmp_path / "dense.nir")
    assert len(nir.read(tmp_path / "dense.nir").nodes) == 2 + 3 * len(network.layers) - 1  # the output is not recurrent
    first, *_ = random_network(3).layers
    weight = np.full((5, int(np.prod(first.output_shape))), 2)
    last = replace(random_network(3).layers[-1], weight=weight, input_shape=first.output_shape)
    write_nir(replace(random_network(3), layers=(first, last)), tmp_path / "conv.nir")
    assert len(nir.read(tmp_path / "conv.nir").nodes) == 7


def test_integers_stand_in_the_file_as_they_are(tmp_path):
    network = random_network(3)
    write_nir(network, tmp_path / "network.nir")
    graph = nir.read(tmp_path / "network.nir", type_check=False)
    layer = network.layers[0]
    np.testing.assert_array_equal(graph.nodes["0_conv1.synapse"].weight, layer.weight)
    neuron = graph.nodes["0_conv1"]
    assert (neuron.v_threshold == layer.neuron.threshold * 64).all()
    assert (4096 / neuron.tau == layer.neuron.decay_v).all() and (neuron.v_reset == 0).all()


def changed(key, value):
    def change(file):
        file[key][...] = value

    return change


def metadata(old, new):
    def change(file):
        text = file["node/metadata/spikecut"][()].decode()
        assert old in text
        del file["node/metadata/spikecut"]
        file["node/metadata/spikecut"] = text.replace(old, new, 1)

    return change


CHANGES = {
    "a fraction": (changed("node/nodes/0_conv1.synapse/weight", 0.5), "not an integer"),
    "a threshold": (changed("node/nodes/1_conv2/v_threshold", 64.0), "changed since"),
    "a time constant": (changed("node/nodes/2_output/tau", 9.0), "changed since"),
    "another decay": (metadata('"decay_v": ', '"decay_v": 1'), "decay_v|changed since"),
    "no JSON": (metadata("{", "["), "do not fit"),
    "a missing key": (metadata('"v_init"', '"v_initial"'), "v_init"),
    "a layer's name": (metadata('"conv1"', '"conv7"'), "do not fit"),
    "text for a number": (metadata('"horizon": 6', '"horizon": "6"'), "horizon"),
    "an absurd input": (metadata('"shape": [2, 7, 5]', '"shape": [2, 7, -5]'), "do not fit"),
    "another format": (metadata('"format": 1', '"format": 5'), "format"),
    "deep JSON": (metadata("{", "[" * 100_000), "do not fit"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CHANGES)
def test_what_was_changed_is_refused(tmp_path, case):
    change, message = CHANGES[case]
    path = tmp_path / "network.nir"
    network = random_network(3)
    neurons = [replace(layer.neuron, decay_u=4096) for layer in network.layers]
    layers = tuple(replace(layer, neuron=neuron) for layer, neuron in zip(network.layers, neurons, strict=True))
    write_nir(replace(network, layers=layers), path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(BundleError, match=message) as caught:
        read_integers(path)
    assert "\n" not in str(caught.value)


def test_weights_are_those_of_the_graph(tmp_path):
    write_nir(random_network(3), tmp_path / "network.nir")
    with h5py.File(tmp_path / "network.nir", "r+") as file:
        file["node/nodes/0_conv1.synapse/weight"][...] = 4.0
    assert (read_integers(tmp_path / "network.nir").layers[0].weight == 4).all()


@pytest.mark.slow
def test_files_of_others_are_told_apart(repository):
    path = repository / "tests" / "golden" / "nir" / "sinabs.nir"
    assert not holds_integers(path)
    with pytest.raises(InputError, match="spikecut export"):
        load(path)
