"""SLAYER on the command line: trained here, or elsewhere, down to Lava's own spikes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from spikecut.deploy.bundle import open_bundle
from spikecut.errors import InputError
from spikecut.models.checkpoint import load_checkpoint
from spikecut.models.slayer.network import slayer_library
from spikecut.models.training.encoding import InputEncoding
from spikecut.models.training.presets import PRESETS
from spikecut.models.training.train import scores_per_timestep, train

SPEC = {
    "input_shape": [1, 8, 8],
    "neuron": {"threshold": 1.25},
    "blocks": [
        {"block": "Dense", "in_neurons": 64, "out_neurons": 12, "weight_norm": True, "delay": True},
        {"block": "Dense", "in_neurons": 12, "out_neurons": 10},
    ],
}


def test_trained_here(command, tmp_path, digits):
    checkpoint, bundle = tmp_path / "net.safetensors", tmp_path / "bundle"
    trained = command("train", "--method", "slayer", "--arch", "mlp-cuba", "--out", checkpoint, "--json")
    assert trained[0] == 0
    assert json.loads(trained[1])["accuracy_per_timestep"][-1] > 0.93
    network, recipe = load_checkpoint(checkpoint)
    scores = scores_per_timestep(network, digits.test, InputEncoding(**recipe["input"]), 16, 0)
    said = (scores.sum(0).argmax(-1) == digits.test.y).mean()
    assert said == json.loads(trained[1])["accuracy_per_timestep"][-1]
    assert command("export", checkpoint, "--out", bundle)[0] == 0
    manifest = open_bundle(bundle).manifest
    assert manifest.loader == "netx"
    assert {layer.scale for layer in manifest.layers} == {64.0}
    assert max(layer.weight_error_max for layer in manifest.layers) <= 1 / 64  # slayer's own step, 1/32, and no other
    code, shown, _ = command("verify", bundle, "--samples", 4, "--json")
    found = json.loads(shown)
    assert code == 0 and found["engines"] == ["batched", "lava"]
    assert {check["mismatches"] for check in found["checks"]} == {0}
    assert found["largest_score_error"] == 0
    assert command("calibrate", bundle, "--dataset", "digits", "--epsilon", 0.02)[0] == 0
    run = ("run", bundle, "--dataset", "digits", "--backend", "batched", "--also-full", "--json")
    summary = json.loads(command(*run)[1])
    assert summary["mean_timesteps"] < 12 and summary["accuracy_cutoff"] > summary["accuracy_full"] - 0.03


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`?torch.nn.utils.weight_norm`? is deprecated")
def test_trained_elsewhere(command, tmp_path):
    cuba = slayer_library().block.cuba
    torch.manual_seed(0)
    neuron = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03}
    blocks = torch.nn.Sequential(
        cuba.Dense(neuron, 64, 12, weight_norm=True, delay=True, weight_scale=4), cuba.Dense(neuron, 12, 10)
    )
    blocks((torch.rand(2, 64, 5) < 0.5).float())
    blocks[0].delay.delay.data *= 5
    with torch.no_grad():
        blocks[1].synapse.weight *= 6
    torch.save(blocks.state_dict(), tmp_path / "state.pt")
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump({**SPEC, "prefix": ""}))
    files = (tmp_path / "state.pt", "--slayer", tmp_path / "spec.yaml", "--out", tmp_path / "bundle")
    code, _, error = command("export", *files, "--dataset", "digits")
    assert code == 2 and "--horizon" in error and error.count("\n") == 1
    code, shown, error = command("export", *files, "--dataset", "digits", "--horizon", 9)
    assert code == 0 and "input bernoulli" in " ".join(shown.split()), error
    inspected = ("inspect", *files[:3], "--dataset", "digits", "--horizon", 9, "--json")
    delay = open_bundle(tmp_path / "bundle").network.layers[0].delay
    assert delay.max() > 2
    assert json.loads(command(*inspected)[1])["layers"][0]["delay"] == f"{delay.min()} to {delay.max()}"
    golden = open_bundle(tmp_path / "bundle").golden()
    np.testing.assert_array_equal(golden.float_scores, golden.twin_scores)
    assert golden.twin_scores.sum() > 100
    assert command("verify", tmp_path / "bundle", "--samples", 4)[0] == 0
    code, _, error = command("export", *files, "--dataset", "digits", "--horizon", 9, "--strict")
    assert code == 2 and "leave out --strict" in error


def test_what_slayer_cannot_be_trained_with_is_refused(command, tmp_path):
    out = ("--out", tmp_path / "net.safetensors")
    for arguments, message in (
        (("--reset", "soft"), "reset to zero"),
        (("--arch", "vgg-cuba"), "vgg-cuba"),
        (("--arch", "digits-lif"), "ending in -cuba"),
    ):
        code, _, error = command("train", "--method", "slayer", *arguments, *out)
        assert code == 2 and message in error and error.count("\n") == 1


def test_rcs(digits):
    preset = replace(PRESETS["digits-slayer"], arch="mlp-cuba", epochs=1, train_samples=64, rcs_alpha=0.01)
    with_rcs, without = (train("slayer", digits, preset=p).network for p in (preset, replace(preset, rcs_alpha=0.0)))
    assert not torch.equal(*(net.state_dict()["stages.0.synapse.weight"] for net in (with_rcs, without)))
    with pytest.raises(InputError, match="bernoulli"):
        train("slayer", digits, preset=replace(preset, encoding="direct"))
