"""What snnTorch, Norse and Sinabs recorded (scripts/nir_golden.py): the float network gives their own spikes."""

import numpy as np
import pytest
import torch

from spikecut.errors import UnsupportedError
from spikecut.export.nir.discretisation import discretisation
from spikecut.export.nir.read import read_nir

CASES = {
    "snntorch": {"framework": "snntorch", "reset": "zero"},
    "snntorch_subtract": {"framework": "snntorch"},
    "norse": {"framework": "norse"},
    "sinabs": {"framework": "sinabs"},
    "sinabs_lif": {"framework": "sinabs"},
}


def recorded(repository, name):
    """Inputs [T, N, 1, 8, 8], and the spikes of every neuron node [T, N, ...]."""
    with np.load(repository / "tests" / "golden" / "nir" / f"{name}.npz") as file:

        def unpacked(key, shape):
            return np.unpackbits(file[key], count=int(np.prod(file[shape]))).reshape(file[shape])

        spikes = {
            key.removeprefix("spikes_"): unpacked(key, key.replace("spikes", "shape"))
            for key in file.files
            if key.startswith("spikes_")
        }
        return unpacked("inputs", "shape_inputs"), spikes


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_float_network_gives_the_frameworks_spikes(repository, name):
    inputs, spikes = recorded(repository, name)
    imported = read_nir(repository / "tests" / "golden" / "nir" / f"{name}.nir", discretisation(**CASES[name]))
    frames = torch.tensor(inputs, dtype=torch.float64)
    assert inputs.shape[1] >= 100 and len(spikes) == 2
    witness = imported.witness.record(frames)
    sent = frames
    for stage in imported.network.chain():
        sent = stage(sent)
        expected = spikes[stage.name]
        assert 0.05 < expected.mean() < 0.5
        np.testing.assert_array_equal(sent.numpy().reshape(expected.shape), expected)
        np.testing.assert_array_equal(witness[stage.name].numpy().reshape(expected.shape), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("snntorch", {"framework": "snntorch"}),
        ("snntorch", {"framework": "sinabs", "dt": 1e-4}),
        ("norse", {"framework": "norse", "reset": "subtract"}),
        ("sinabs_lif", {"framework": "sinabs", "reset": "zero"}),
        ("sinabs_lif", {"dt": 1.0, "reset": "subtract"}),
    ],
)
def test_other_rules_give_other_spikes(repository, name, wrong):
    inputs, spikes = recorded(repository, name)
    imported = read_nir(repository / "tests" / "golden" / "nir" / f"{name}.nir", discretisation(**wrong))
    output = list(spikes.values())[-1]
    scores = imported.network(torch.tensor(inputs, dtype=torch.float64)).numpy()
    assert (scores.reshape(output.shape) != output).mean() > 0.01


@pytest.mark.slow
def test_snntorchs_default_reset_is_refused(repository):
    path = repository / "tests" / "golden" / "nir" / "snntorch_subtract.nir"
    with pytest.raises(UnsupportedError, match=r"node 1: v leaks before .* train with reset_mechanism=\"zero\""):
        read_nir(path, discretisation("snntorch")).checked()
    read_nir(path, discretisation("snntorch", reset_order="same_step")).checked()
