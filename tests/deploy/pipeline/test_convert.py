"""A small ReLU CNN from file to Lava: converted, verified, cut off; one clear line for what is wrong."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

import spikecut
from spikecut.deploy.bundle import open_bundle

TIMESTEPS = 16


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small gain nothing from a second thread, and on a busy machine lose much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SPEC = {
    "input_shape": [1, 8, 8],
    "layers": [
        {"type": "Conv2d", "in_channels": 1, "out_channels": 8, "kernel_size": 3, "padding": 1, "bias": False},
        {"type": "BatchNorm2d", "num_features": 8},
        {"type": "ReLU", "inplace": True},
        {"type": "AvgPool2d", "kernel_size": 2},
        {"type": "Flatten"},
        {"type": "Dropout", "p": 0.1},
        {"type": "Linear", "name": "head.0", "in_features": 128, "out_features": 32},
        {"type": "ReLU"},
        {"type": "Linear", "name": "head.1", "in_features": 32, "out_features": 10},
    ],
}


class Cnn(nn.Module):
    """The layers of SPEC, half of them in nn.Sequential."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ModuleList()
        self.head.extend([nn.Linear(128, 32), nn.Linear(32, 10)])

    def forward(self, x):
        x = functional.avg_pool2d(functional.relu(self.norm(self.conv(x))), 2).flatten(1)
        return self.head[1](functional.relu(self.head[0](x)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, digits):
    """A folder with cnn.safetensors, cnn.pt and cnn.json, and the module itself."""
    folder = tmp_path_factory.mktemp("relu")
    torch.manual_seed(0)
    module = Cnn()
    optimiser = torch.optim.Adam(module.parameters(), 5e-3)
    x, y = torch.from_numpy(digits.train.x), torch.from_numpy(digits.train.y)
    for _ in range(8):
        for chosen in torch.randperm(len(x)).split(32):
            optimiser.zero_grad()
            functional.cross_entropy(module(x[chosen]), y[chosen]).backward()
            optimiser.step()
    names = {"conv": "0", "norm": "1"}
    tensors = {
        ".".join([names.get(key.split(".")[0], key.split(".")[0]), *key.split(".")[1:]]): tensor
        for key, tensor in module.state_dict().items()
    }
    save_file(tensors, folder / "cnn.safetensors")
    torch.save(tensors, folder / "cnn.pt")
    (folder / "cnn.json").write_text(json.dumps(SPEC), encoding="utf-8")
    return folder, module.eval(), tensors


@pytest.mark.lava
def test_from_torch_to_lava(command, trained, tmp_path, digits):
    folder, module, _ = trained
    bundle = tmp_path / "bundle"
    wanted = ("--spec", folder / "cnn.json", "--dataset", "digits", "--timesteps", TIMESTEPS)
    code, out, _ = command("convert", folder / "cnn.safetensors", "--out", bundle, *wanted, "--json")
    summary = json.loads(out)
    assert code == 0 and summary["conversion"]["calibration_samples"] == 450
    with torch.no_grad():
        right = module(torch.from_numpy(digits.calibration.x)).argmax(1).numpy() == digits.calibration.y
    assert summary["conversion"]["relu_accuracy"] == pytest.approx(right.mean(), abs=1e-12) and right.mean() > 0.93
    assert summary["conversion"]["lost_points"] <= 1
    recipe = open_bundle(bundle).manifest.recipe["relu"]
    assert recipe["file"] == "cnn.safetensors" and recipe["percentile"] == 99
    assert [layer["detail"] for layer in recipe["layers"]][5] == "nothing at inference: left out"
    code, out, _ = command("verify", bundle, "--samples", 16)
    assert code == 0 and "every integer is equal" in out
    assert command("calibrate", bundle, "--dataset", "digits", "--epsilon", 0.02)[0] == 0
    code, out, _ = command("run", bundle, "--dataset", "digits", "--backend", "batched", "--also-full", "--json")
    run = json.loads(out)
    assert code == 0 and run["mean_timesteps"] < TIMESTEPS / 2 and run["accuracy_full"] > right.mean() - 0.03


def test_the_module_itself_and_both_files_give_the_same_network(command, trained, tmp_path):
    folder, module, _ = trained
    done = spikecut.convert(module, "digits", tmp_path / "module", timesteps=4)
    assert isinstance(done, spikecut.Conversion) and done.bundle.path == tmp_path / "module"
    assert done.data() == json.loads((tmp_path / "module" / "summary.json").read_text())
    first, second = str(done).splitlines()
    assert first == f"module: 8 layers of a ReLU network became 3 spiking ones in {tmp_path / 'module'}"
    assert second.startswith("calibration split, 450 samples: ReLU 9") and len(repr(done)) < 300
    wanted = ("--spec", folder / "cnn.json", "--dataset", "digits", "--timesteps", 4)
    assert command("convert", folder / "cnn.pt", "--out", tmp_path / "file", *wanted)[0] == 0
    one, other = (open_bundle(tmp_path / name).network for name in ("module", "file"))
    for layer, twin in zip(one.layers, other.layers, strict=True):
        assert np.array_equal(layer.weight, twin.weight)
        assert np.array_equal(layer.neuron.bias_mantissa, twin.neuron.bias_mantissa)
        assert layer.neuron.threshold == twin.neuron.threshold


@pytest.mark.lava
def test_debts_beyond_24_bits_are_clipped_as_the_chip_clips_and_said(command, tmp_path):
    """Half of the hidden neurons get nothing but inhibition: refused before, at any width of the weights."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    with torch.no_grad():
        module[1].weight.abs_().mul_(torch.tensor([1.0, -1.0]).repeat(16)[:, None])
    spikecut.convert(module, "digits", tmp_path / "bundle", timesteps=TIMESTEPS)
    bundle = open_bundle(tmp_path / "bundle")
    first = bundle.manifest.layers[0]
    assert (first.headroom, bundle.manifest.layers[1].headroom != "clipped") == ("clipped", True)
    inputs = bundle.golden().inputs[0, :4].reshape(4, -1)
    layer = bundle.network.layers[0]
    debt = TIMESTEPS * 64 * (inputs @ layer.weight.T).min()
    assert debt < -(2**22) * 2 ** (first.weight_bits - 5) and first.headroom_bits >= 1  # at 5 bits beyond the margin
    code, out, _ = command("verify", tmp_path / "bundle", "--samples", 4)
    assert code == 0 and "every integer is equal" in out
    code, out, _ = command("inspect", tmp_path / "bundle")
    assert code == 0 and "v reaches the end of its 24 bits" in " ".join(out.split())


class Evil:
    """What a hostile pickle holds."""

    def __reduce__(self):
        return print, ("opened",)


def other_layer(number, **changes):
    layers = [dict(layer) for layer in SPEC["layers"]]
    layers[number] |= changes
    return {**SPEC, "layers": layers}


BAD = {
    "no spec": (lambda t, s: None, lambda f: None, "--spec"),
    "unknown layer": (lambda t, s: None, lambda f: other_layer(2, type="Swoosh"), "'Swoosh': expected one of"),
    "lambda": (lambda t, s: None, lambda f: other_layer(2, type="Lambda"), "'Lambda': expected one of"),
    "maximum pooling": (lambda t, s: None, lambda f: other_layer(3, type="MaxPool2d"), "layer 3 (MaxPool2d)"),
    "unknown argument": (lambda t, s: None, lambda f: other_layer(2, beta=1), "no argument 'beta'"),
    "a text": (lambda t, s: None, lambda f: other_layer(0, kernel_size="3"), "kernel_size = 3"),
    "absurd": (lambda t, s: None, lambda f: other_layer(6, in_features=2**26, out_features=2**26), "head.0.weight"),
    "negative": (lambda t, s: None, lambda f: other_layer(0, out_channels=-8), "layer 0"),
    "nothing": (lambda t, s: None, lambda f: other_layer(8, in_features=0), "in_features = 0: expected 1 or more"),
    "another shape": (lambda t, s: None, lambda f: {**SPEC, "input_shape": [1, 10, 10]}, "layer head.0: does not fit"),
    "no list": (lambda t, s: None, lambda f: {**SPEC, "layers": 3}, "layers: expected a list"),
    "a layer more": (lambda t, s: s.update(more=torch.ones(1)), lambda f: SPEC, "tensor more belongs to no layer"),
    "a layer less": (lambda t, s: s.pop("head.1.bias"), lambda f: SPEC, "tensor head.1.bias is missing"),
    "wrong shape": (lambda t, s: s.update({"1.bias": torch.ones(9)}), lambda f: SPEC, "tensor 1.bias is"),
    "NaN": (lambda t, s: s["head.1.bias"].fill_(float("nan")), lambda f: SPEC, "layer head.1: bias holds a NaN"),
    "negative variance": (lambda t, s: s["1.running_var"].fill_(-1), lambda f: SPEC, "layer 1: a negative variance"),
    "pickled": (lambda t, s: s.update(evil=Evil()), lambda f: SPEC, "pickled objects, which are not opened"),
    "no tensors": (lambda t, s: s.update(more=3), lambda f: SPEC, "not a state dict"),
    "raw pickle": (lambda t, s: t.write_bytes(pickle.dumps(Evil())), lambda f: SPEC, "not written by torch.save"),
    "truncated": (lambda t, s: t.write_bytes(b"PK\x03\x04" + bytes(500)), lambda f: SPEC, "truncated"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_clear_line(command, trained, tmp_path, case):
    change, spec, message = BAD[case]
    weights = tmp_path / "cnn.pt"
    tensors = {name: tensor.clone() for name, tensor in trained[2].items()}
    change(weights, tensors)
    if not weights.exists():
        torch.save(tensors, weights)
    given = spec(tmp_path)
    (tmp_path / "spec.json").write_text(json.dumps(given), encoding="utf-8")
    options = ("--spec", tmp_path / "spec.json") if given else ()
    code, out, err = command("convert", weights, *options, "--dataset", "digits", "--out", tmp_path / "bundle")
    assert code == 2 and out == "" and message in err
    assert len(err.strip().splitlines()) == 1 and "Traceback" not in err
    assert not (tmp_path / "bundle").exists()


def test_truncated_safetensors_a_missing_file_and_other_data(command, trained, tmp_path):
    folder = trained[0]
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((folder / "cnn.safetensors").read_bytes()[:900])
    np.savez(tmp_path / "wide.npz", x=np.random.default_rng(0).random((90, 1, 9, 9)), y=np.arange(90) % 10)
    whole = folder / "cnn.safetensors"
    for weights, dataset, message in (
        (cut, "digits", "truncated"),
        (tmp_path / "none.pt", "digits", "no such file"),
        (tmp_path / "cnn.h5", "digits", "expected a file ending in"),
        (whole, tmp_path / "wide.npz", "(1, 9, 9)"),
    ):
        wanted = ("--spec", folder / "cnn.json", "--dataset", dataset, "--out", tmp_path / "bundle")
        code, _, err = command("convert", weights, *wanted)
        assert code == 2 and message in err and len(err.strip().splitlines()) == 1


def test_inspect_exports_a_state_dict_for_a_look(command, trained, tmp_path):
    folder, *_ = trained
    file, spec = folder / "cnn.pt", ("--spec", folder / "cnn.json")
    code, out, error = command("inspect", file, *spec, "--dataset", "digits", "--horizon", 4, "--json")
    shown = json.loads(out)
    assert code == 0 and shown["horizon"] == 4 and shown["placements"]["loihi2"]["cores"] > 0, error
    first, *_ = shown["layers"]
    taps = 64 * 9 - 4 * 8 * 3 + 4  # those of a 3 x 3 kernel that do not lie in the padding around 8 x 8
    assert first["synapses"] == 8 * taps and first["parameters"] == 8 * 9 + 8
    code, out, _ = command("inspect", file, *spec, "--dataset", "digits")
    assert code == 0 and "exported for a look" in " ".join(out.split()) and "golden samples" in out
    for arguments, message in (
        ((file,), "--slayer BLOCKS.yaml"),
        ((file, *spec), "--dataset"),
        ((file, *spec, "--slayer", spec[1]), "one of them"),
        ((folder / "cnn.json", *spec), "a state dict"),
        ((file, *spec, "--dt", 1), "of a NIR file"),
        ((folder / "cnn.safetensors",), "--spec"),
    ):
        code, _, error = command("inspect", *arguments)
        assert code == 2 and message in error and error.count("\n") == 1, error
