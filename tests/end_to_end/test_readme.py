"""The README's Python and commands run as printed."""

import importlib
import json
import re
import shlex
import shutil

import h5py
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file


def examples(repository):
    """The blocks of Python: a module of one's own, and a run of the demo's bundle."""
    blocks = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    return blocks


MINE = """
import torch
from torch import nn

class LIF(nn.Module):
    def forward(self, x, v):
        v = 0.75 * v + x
        spike = (v > 1).float()
        return spike, v * (1 - spike)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(64, 10), LIF()

    def forward(self, x):
        v, spikes = 0.0, 0.0
        for _ in range(8):
            spike, v = self.lif(self.fc(x.flatten(1)), v)
            spikes = spikes + spike
        return spikes
"""


@pytest.mark.lava
def test_a_module_of_ones_own_is_exported_and_verified(repository, tmp_path, monkeypatch, capsys, digits):
    block = examples(repository)[0]
    assert len(block.strip().splitlines()) <= 10
    (tmp_path / "mine.py").write_text(MINE)
    splits = {"train": digits.train, "calibration": digits.calibration, "test": digits.test}
    np.savez(
        tmp_path / "mine.npz",
        **{f"{key}_{name}": getattr(split, key) for name, split in splits.items() for key in "xy"},
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    torch.save(importlib.import_module("mine").Net().state_dict(), "weights.pt")
    exec(compile(block, "README.md", "exec"), {})
    assert "are equal" in capsys.readouterr().out


def test_the_python_example_runs(repository, workshop, tmp_path, monkeypatch, capsys):
    block = examples(repository)[1]
    shutil.copytree(workshop / "lif", tmp_path / "runs" / "demo" / "lif" / "bundle")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    accuracy, _, energy, low, high = map(float, capsys.readouterr().out.split())
    assert 0.5 < accuracy <= 1 and low < energy < high


@pytest.mark.parametrize("picture", ["raster", "accuracy", "report"])
def test_the_pictures_are_there(repository, picture):
    assert f"docs/images/{picture}.png" in (repository / "README.md").read_text(encoding="utf-8")
    assert (repository / "docs" / "images" / f"{picture}.png").is_file()


BLOCKS = yaml.safe_load("""
input_shape: [1, 8, 8]
neuron: {threshold: 1.25}
blocks:
- {block: Flatten}
- {block: Dense, in_neurons: 64, out_neurons: 16}
- {block: Dense, in_neurons: 16, out_neurons: 10}
""")
CNN = {
    "input_shape": [1, 8, 8],
    "layers": [
        {"type": "Conv2d", "in_channels": 1, "out_channels": 4, "kernel_size": 3, "stride": 2},
        {"type": "ReLU"},
        {"type": "Flatten"},
        {"type": "Linear", "in_features": 36, "out_features": 10},
    ],
}
FILES_OF_OTHERS = "FOLDER"
"""In commands that need a data set which is not embedded."""


def commands(repository):
    """The blocks of commands, each a list of lines without their comments."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^    spikecut .*\n)+", text, re.MULTILINE)
    return [[line.split("  #")[0].strip() for line in block.splitlines()] for block in blocks]


def test_every_block_of_commands_is_run(repository):
    assert [len(block) for block in commands(repository)] == [6, 3, 3, 1, 1, 1]


@pytest.fixture
def own_files(repository, digits, workshop, tmp_path, monkeypatch):
    """A folder with what the README's commands call mine, theirs, state, blocks and cnn."""
    parts = {"train": 200, "calibration": 120, "test": 8}
    splits = {name: getattr(digits, name) for name in parts}
    np.savez(
        tmp_path / "mine.npz",
        **{f"x_{name}": splits[name].x[:number] for name, number in parts.items()},
        **{f"y_{name}": splits[name].y[:number] for name, number in parts.items()},
    )
    shutil.copy(repository / "tests" / "golden" / "nir" / "snntorch.nir", tmp_path / "theirs.nir")
    shutil.copy(workshop / "lif" / "network.net", tmp_path / "theirs.net")
    with h5py.File(tmp_path / "theirs.net", "a") as file:
        del file["spikecut"]  # what lava-dl writes alone
    torch.manual_seed(0)
    _slayer_files(tmp_path)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, 2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(36, 10)
    )
    save_file(layers.state_dict(), tmp_path / "cnn.safetensors")
    (tmp_path / "cnn.json").write_text(json.dumps(CNN))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def _slayer_files(folder):
    from lava.lib.dl.slayer.block import cuba

    neuron = {"threshold": 1.25, "current_decay": 0.5, "voltage_decay": 0.1}
    blocks = torch.nn.ModuleList([cuba.Flatten(), cuba.Dense(neuron, 64, 16), cuba.Dense(neuron, 16, 10)])
    torch.save(torch.nn.ModuleDict({"blocks": blocks}).state_dict(), folder / "state.pt")
    (folder / "blocks.yaml").write_text(yaml.safe_dump(BLOCKS))


@pytest.mark.parametrize("number", range(6))
def test_the_commands_run(repository, own_files, command, number):
    for line in commands(repository)[number]:
        program, *arguments = shlex.split(line)
        assert program == "spikecut"
        code, _, err = command(*arguments)
        if FILES_OF_OTHERS in arguments:
            assert code == 2 and FILES_OF_OTHERS in err and len(err.splitlines()) == 1, line
        else:
            assert code == 0, f"{line}: {err}"
