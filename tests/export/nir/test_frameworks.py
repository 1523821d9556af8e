"""What snnTorch, Norse and Sinabs recorded (scripts/golden/nir_files.py): the float network gives their own spikes."""

import numpy as np
import pytest
import torch

from spikecut.errors import ExportError
from spikecut.export.importers.torch_network import trace
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.nir.discretisation import discretisation
from spikecut.export.nir.read import read_nir
from spikecut.export.quantise.integers import quantise

CASES = {
    "snntorch": {"framework": "snntorch", "reset": "zero"},
    "snntorch_subtract": {"framework": "snntorch"},
    "norse": {"framework": "norse"},
    "sinabs": {"framework": "sinabs", "spikes": "single"},
    "sinabs_lif": {"framework": "sinabs", "spikes": "single"},
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
        ("snntorch_subtract", {"framework": "snntorch", "reset_order": "same_step"}),
        ("norse", {"framework": "norse", "reset": "subtract"}),
        ("sinabs_lif", {"framework": "sinabs", "spikes": "single", "reset": "zero"}),
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
def test_snntorchs_default_reset_is_one_by_more_than_the_threshold(repository):
    path = repository / "tests" / "golden" / "nir" / "snntorch_subtract.nir"
    network, _ = read_nir(path, discretisation("snntorch")).checked()
    inputs, _ = recorded(repository, "snntorch_subtract")
    found = quantise(trace(network, InputSpec(inputs.shape[2:], "events"), len(inputs)), rounding=True).network
    for layer in found.layers:
        neuron = layer.neuron
        assert abs(neuron.reset_amount * (4096 - neuron.decay_v) / 4096 - 64 * neuron.threshold) <= 65


def test_sinabs_default_of_several_spikes_is_no_exact_import(repository):
    """Its files do not tell MultiSpike from SingleSpike: unless the user does, the golden scores count all spikes."""
    inputs, _ = recorded(repository, "sinabs")
    path = repository / "tests" / "golden" / "nir" / "sinabs.nir"
    imported = read_nir(path, discretisation("sinabs"))
    neurons = [node for node in imported.nodes if node.kind == "IF"]
    assert {node.exactness for node in neurons} == {"approximate"} and "one spike" in neurons[0].detail
    assert any(line.startswith("spikes multi") and "--spikes single" in line for line in imported.assumed)
    with pytest.raises(ExportError, match="--strict"):
        imported.checked(strict=True)
    frames = torch.tensor(8 * inputs[:, :20], dtype=torch.float64)  # strong enough for several
    first = imported.witness.record(frames)[neurons[0].node]
    assert set(first.unique().tolist()) >= {0.0, 1.0, 2.0}
    single = read_nir(path, discretisation("sinabs", spikes="single"))
    assert all(node.exactness == "exact" for node in single.nodes)
    assert single.witness.record(frames)[neurons[0].node].max() == 1
    assert first.sum() > single.witness.record(frames)[neurons[0].node].sum()
