"""`spikecut export FILE.py:FUNCTION`: a module made by the user's own program, in a process of its own."""

import sys

import pytest
import torch
from torch import nn

from spikecut.errors import InputError
from spikecut.export.torch_module.program import Program

PROGRAM = """
import os
import torch
from torch import nn
import spikecut

class LIF(nn.Module):
    v = 0.0
    def reset(self):
        self.v = 0.0
    def forward(self, x):
        self.v = 0.75 * self.v + x
        spike = (self.v > 1).float()
        self.v = self.v * (1 - spike)
        return spike

spikecut.neuron(LIF, threshold=1.0, decay=0.25)

def build():
    print("built by", os.getpid())
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), LIF()), torch.zeros(1, 1, 8, 8)

def broken():
    raise KeyError("no such thing")

def nothing():
    return 3
"""
OPTIONS = ("--dataset", "digits", "--horizon", "6")


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PROGRAM)
    torch.manual_seed(0)
    weights = {"1.weight": nn.Linear(64, 10).weight.detach(), "1.bias": torch.zeros(10)}
    torch.save(weights, tmp_path / "weights.pt")
    torch.save({"1.weight": torch.zeros(3, 3)}, tmp_path / "other.pt")
    return path


@pytest.mark.slow
def test_a_program_gives_a_bundle_and_says_that_it_runs(program, command):
    out = program.parent / "bundle"
    weights = program.parent / "weights.pt"
    code, said, told = command("export", f"{program}:build", "--weights", weights, "--out", out, *OPTIONS)
    assert code == 0, told
    assert "runs this code of yours, in a process of its own" in told
    assert "bundle written" in said and "the float network fires where the module does" in " ".join(said.split())
    code, said, told = command("verify", out, "--backend", "batched")
    assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "options", "told"),
    [
        (":build", ("--weights", "other.pt"), "other.pt does not fit the module"),
        (":build", ("--dt", "1"), "--dt: no use for a torch module"),
        ("", ("--weights", "weights.pt"), "--weights: of FILE.py:FUNCTION alone"),
    ],
)
def test_what_a_program_gets_wrong_is_one_line(program, command, monkeypatch, source, options, told):
    monkeypatch.chdir(program.parent)
    code, _, said = command("export", f"{program.name}{source}", "--out", "bundle", *OPTIONS, *options)
    assert code == 2 and told in said and not (program.parent / "bundle").exists()
    assert len(said.strip().splitlines()) <= 2


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("broken", "mine.py:broken fails: KeyError: 'no such thing'"),
        ("nothing", "mine.py:nothing gives int: return a torch module"),
        ("absent", "mine.py has no function absent"),
    ],
)
def test_a_function_that_makes_no_module_is_named(program, monkeypatch, function, told):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with pytest.raises(InputError, match=told):
        Program(program, function).built(None)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
