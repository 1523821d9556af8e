"""Quantisation-aware training: what the forward rounds to is what export makes of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spikecut.errors import InputError
from spikecut.export.importers.torch_network import input_spec, spiking_form, trace
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.quantise.integers import quantise
from spikecut.models.architectures import build
from spikecut.models.checkpoint import load_checkpoint, save_checkpoint
from spikecut.models.training.presets import PRESETS
from spikecut.models.training.quantisation_aware import RoundedWeights, round_while_training
from spikecut.models.training.train import train

QUICK = {"epochs": 1, "train_samples": 128}


@settings(max_examples=60, deadline=None)
@given(bits=st.integers(5, 8), seed=st.integers(0, 2**32 - 1), normed=st.booleans())
def test_rounding_gives_mantissas_and_keeps_what_is_rounded(bits, seed, normed):
    torch.manual_seed(seed)
    weight = torch.randn(4, 3, 2, 2)
    norm = nn.BatchNorm2d(4) if normed else nn.Identity()
    gain = np.ones(4)
    if normed:
        with torch.no_grad():
            norm.weight.copy_(torch.randn(4))
            norm.running_var.copy_(torch.rand(4) + 0.1)
        gain = (norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)).detach().numpy()
    module = RoundedWeights(norm, bits)
    rounded = module(weight).detach()
    folded, exact = (each.double().numpy() * gain[:, None, None, None] for each in (rounded, weight))
    levels = 2 ** (bits - 1) - 1
    mantissas = folded * levels / np.abs(exact).max()
    assert np.abs(mantissas).max() <= levels + 1e-3
    np.testing.assert_allclose(mantissas, np.rint(mantissas), atol=1e-3)
    assert np.abs(mantissas - exact * levels / np.abs(exact).max()).max() <= 0.501
    torch.testing.assert_close(module(rounded), rounded, rtol=1e-5, atol=1e-6)


def test_the_gradient_passes_straight_through_and_a_dead_channel_is_left():
    norm = nn.BatchNorm2d(2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.0, 1.0]))
    weight = torch.randn(2, 1, 3, 3, requires_grad=True)
    sent = RoundedWeights(norm, 5)(weight)
    assert torch.equal(sent[0], weight[0]) and not torch.equal(sent[1], weight[1])
    factor = torch.randn_like(weight)
    (sent * factor).sum().backward()
    torch.testing.assert_close(weight.grad, factor)


@pytest.mark.parametrize("method", ["qcfs", "tet", "tebn"])
def test_export_rounds_nothing_more(digits, method):
    preset = replace(PRESETS[f"digits-{method}"], **QUICK, weight_bits=5)
    trained = train(method, digits, preset=preset)
    float_weights = train(method, digits, preset=replace(preset, weight_bits=None))
    assert all("parametrizations" not in name for name in trained.network.state_dict())
    spec = input_spec(trained.recipe, digits.shape)
    for result, lost in ((trained, False), (float_weights, True)):
        folded = trace(spiking_form(result.network), spec, preset.timesteps)
        report = quantise(folded, bits=5, measure=None).report
        for entry in report:
            assert entry.weight_bits == 5
            assert (entry.weight_error_max * entry.scale > 0.5) == lost  # in weight units, of which 2 are a step


def test_fine_tuning_from_a_checkpoint(command, tmp_path, digits):
    first, tuned, bundle = tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "bundle"
    quick = ("--epochs", 3, "--method", "qcfs")
    assert command("train", *quick, "--out", first)[0] == 0
    fine = ("--epochs", 1, "--method", "qcfs", "--learning-rate", "1e-4", "--weight-bits", 6, "--from", first)
    code, out, error = command("train", *fine, "--out", tuned, "--json")
    assert code == 0, error
    _, recipe = load_checkpoint(tuned)
    assert recipe["from"]["datasets"] == ["digits"]  # which a later run on them must not take for unseen
    assert recipe["from"]["file"] == "a.safetensors" and recipe["weight_bits"] == 6
    before = json.loads((tmp_path / "a.safetensors.summary.json").read_text())["accuracy_per_timestep"][-1]
    assert json.loads(out)["accuracy_per_timestep"][-1] > before - 0.02
    assert command("export", tuned, "--out", bundle)[0] == 0
    assert max(layer["weight_bits"] for layer in json.loads((bundle / "manifest.json").read_text())["layers"]) == 6
    code, _, error = command("verify", bundle, "--samples", 2)
    assert code == 0, error
    network, _ = load_checkpoint(tuned)
    for key, value in (
        ("weight_bits", "x"),
        ("weight_bits", 9),
        ("weight_bits", 1e300),
        ("horizon", "x"),
        ("horizon", -1),
        ("horizon", 10**12),
    ):
        save_checkpoint(tmp_path / "bad.safetensors", network, recipe | {key: value})
        code, _, error = command("export", tmp_path / "bad.safetensors", "--out", tmp_path / "bad")
        expected = "horizon T = 1000000000000: at most" if value == 10**12 else "recipe gives"
        assert code == 2 and expected in error and error.count("\n") == 1, error
    save_checkpoint(tmp_path / "long.safetensors", network, recipe | {"weight_bits": 8, "horizon": 24})
    code, out, error = command("export", tmp_path / "long.safetensors", "--out", tmp_path / "long")
    assert code == 0 and "trained with 8 bits, but fewer fit 24-bit sums: rounded again" in " ".join(out.split()), error
    code, _, error = command("train", "--method", "tet", "--epochs", 1, "--from", first, "--out", tmp_path / "c")
    assert code == 2 and "trained by qcfs, not tet" in error and error.count("\n") == 1
    other = ("train", "--method", "qcfs", "--arch", "small-qcfs", "--from", first, "--out", tmp_path / "c")
    code, _, error = command(*other)
    assert code == 2 and "another architecture" in error and error.count("\n") == 1


def test_what_cannot_be_rounded_is_refused(digits):
    network = build("residual-qcfs", input_shape=(1, 8, 8), classes=10)
    with pytest.raises(InputError, match="residual"):
        round_while_training(network, 8)
    with pytest.raises(InputError, match="5 to 8"):
        train("qcfs", digits, preset=replace(PRESETS["digits-qcfs"], **QUICK, weight_bits=9))
    with pytest.raises(InputError, match="4 bits"):
        quantise(trace(spiking_form(network), InputSpec((1, 8, 8), "direct", bits=4), 4), bits=4)
    with pytest.raises(InputError, match="itself"):
        train("slayer", digits, preset=replace(PRESETS["digits-slayer"], **QUICK, weight_bits=8))
