"""A published network on the command line: its state dict, by the name of its layout."""

import json

import numpy as np
import pytest
import torch

from spikecut.models.layouts import spec


@pytest.mark.slow
def test_a_residual_network_of_relu_is_converted_by_its_layout(command, tmp_path, monkeypatch):
    (family,) = (each for each in spec._families() if "akamaster-resnet20" in each["networks"])
    plan = family["networks"]["akamaster-resnet20"]
    narrow = [{**stage, "out": out} for stage, out in zip(plan["stages"], (16, 18, 20), strict=True)]
    networks = {"akamaster-resnet20": {**plan, "n": 1, "stages": narrow}}
    monkeypatch.setattr(spec, "_families", lambda: [{**family, "input_shape": [3, 8, 8], "networks": networks}])
    torch.manual_seed(0)
    torch.save(tensors(spec.layout("akamaster-resnet20")), tmp_path / "weights.th")
    x, y = np.random.default_rng(0).normal(size=(32, 3, 8, 8)).astype(np.float32), np.arange(32) % 10
    parts = ("train", "calibration", "test")
    np.savez(tmp_path / "own.npz", **{f"{a}_{part}": b for a, b in (("x", x), ("y", y)) for part in parts})
    given = ("convert", tmp_path / "weights.th", "--dataset", tmp_path / "own.npz", "--timesteps", 4, "--json")
    code, said, _ = command(*given, "--layout", "akamaster-resnet20", "--out", tmp_path / "bundle")
    found = json.loads(said)
    assert code == 0 and found["conversion"]["calibration_samples"] == 32
    assert found["recipe"]["horizon"] == 4 and len(found["layers"]) == 8
    code, _, error = command(*given, "--layout", "akamaster-resnet21", "--out", tmp_path / "other")
    assert code == 2 and "akamaster-resnet20" in error
    (tmp_path / "spec.json").write_text("{}")
    both = ("--layout", "akamaster-resnet20", "--spec", tmp_path / "spec.json", "--out", tmp_path / "other")
    code, _, error = command(*given, *both)
    assert code == 2 and "--spec, --layout: a network has its layers from one of them" in error


def tensors(layout):
    """Random ones for every layer, as the repository names them."""
    found, channels = {}, {"": layout.input_shape[0]}
    for step in layout.steps:
        layer, taken = step.layer, channels[step.sources[0]]
        channels[step.name] = getattr(layer, "out", taken)
        if isinstance(layer, spec.Convolution):
            found[f"{step.name}.weight"] = torch.randn(layer.out, taken, 3, 3) * (2 / (9 * taken)) ** 0.5
        elif isinstance(layer, spec.Dense):
            found |= {f"{step.name}.weight": torch.randn(10, taken), f"{step.name}.bias": torch.zeros(10)}
        elif isinstance(layer, spec.Norm):
            ones, zeros = torch.ones(taken), torch.zeros(taken)
            numbers = {"weight": ones, "bias": zeros, "running_mean": zeros, "running_var": ones}
            found |= {f"{step.name}.{key}": value for key, value in numbers.items()}
    return found
