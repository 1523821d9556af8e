"""Recordings written by the package nir itself: our own run as theirs, and one spike of it changed."""

import nir
import numpy as np
import pytest
from networks import random_network

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.verify.recording import compare_recording
from spikecut.errors import BundleError, InputError


class Opened:
    """As much of a bundle as is looked at."""

    def __init__(self, network):
        self.network = network


@pytest.fixture(scope="module")
def made():
    network = random_network(2)
    inputs = np.random.default_rng(0).integers(0, 2, (network.horizon, 3, *network.input_shape))
    return network, inputs, run_batched(network, inputs, record="all").spikes


def gridded(values):
    """[T, N, *shape] as nir has it, [N, T, neurons]."""
    return nir.TimeGriddedData(values.reshape(*values.shape[:2], -1).swapaxes(0, 1).astype(bool), 1e-3)


def recorded(path, nodes, **observables):
    nir.write_data(
        path, nir.NIRGraphData({name: nir.NIRNodeData({"spikes": data, **observables}) for name, data in nodes.items()})
    )
    return path


def test_our_own_run_is_equal_as_a_grid_and_as_events(made, tmp_path):
    network, inputs, spikes = made
    nodes = {"input": gridded(inputs)} | {name: gridded(values) for name, values in spikes.items()}
    events = {name: data.to_event(int(data.data.sum()) or 1, 0.0005) for name, data in nodes.items()}
    for each in (nodes, events):
        found = compare_recording(Opened(network), recorded(tmp_path / "run.nir", each))
        assert found.passed and (found.samples, found.timesteps) == (3, network.horizon)
        assert [check.layer for check in found.checks] == [layer.name for layer in network.layers]
        assert sum(check.ours for check in found.checks) == sum(
            int(spikes[layer.name].sum()) for layer in network.layers
        )
        assert all(check.ours == check.theirs and not check.mismatches for check in found.checks)
        assert found.left_out == () and found.unrecorded == ()


def test_the_first_difference_is_named(made, tmp_path):
    network, inputs, spikes = made
    name = network.layers[1].name
    changed = spikes[name].copy()
    changed[3, 1].flat[2] ^= 1
    changed[4, 0].flat[0] ^= 1
    nodes = {"input": gridded(inputs), name: gridded(changed), "elsewhere": gridded(changed)}
    volts = gridded(changed)
    found = compare_recording(Opened(network), recorded(tmp_path / "run.nir", nodes, voltages=volts))
    assert not found.passed and found.checks[0].mismatches == 2
    place = tuple(int(n) for n in np.unravel_index(2, network.layers[1].output_shape))
    assert (found.difference.timestep, found.difference.sample, found.difference.neuron) == (4, 1, place)
    assert str(found.difference).startswith(f"layer {name}, timestep 4, sample 1, neuron {place}: the recording has")
    assert "elsewhere" in found.left_out and f"{name}: voltages" in found.left_out
    assert network.layers[0].name in found.unrecorded
    assert compare_recording(Opened(network), tmp_path / "run.nir", samples=1).difference.timestep == 5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda nodes: nodes.pop("input"), InputError, "holds no node with the network's input"),
        (lambda nodes: [nodes.pop(name) for name in list(nodes) if name != "input"], InputError, "is a layer of the"),
        (
            lambda nodes: nodes.update(input=nir.TimeGriddedData(np.full((3, 6, 6), np.nan), 1.0)),
            BundleError,
            "data of",
        ),
        (
            lambda nodes: nodes.update(input=nir.EventData(np.array([[7]]), np.array([[9.0]]), 8, 2.0)),
            BundleError,
            "an event outside the recording's time",
        ),
    ],
)
def test_what_does_not_fit_is_refused(made, tmp_path, change, error, message):
    network, inputs, spikes = made
    nodes = {"input": gridded(inputs)} | {name: gridded(values) for name, values in spikes.items()}
    change(nodes)
    with pytest.raises(error, match=message):
        compare_recording(Opened(network), recorded(tmp_path / "run.nir", nodes))


def test_another_file_is_refused(made, tmp_path):
    import h5py

    path = tmp_path / "run.nir"
    with h5py.File(path, "w") as file:
        file["a"] = 1
    with pytest.raises(InputError, match="no recording of NIR"):
        compare_recording(Opened(made[0]), path)
    path.write_bytes(b"text")
    with pytest.raises(BundleError, match="not an HDF5 file"):
        compare_recording(Opened(made[0]), path)
