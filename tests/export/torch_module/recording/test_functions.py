"""Torch functions in a forward: each is read for all of its arguments, or refused by its name."""

import numpy as np
import pytest
import torch
from torch import nn
from torch_networks import TIMESTEPS, firing
from torch_neurons import Remembers

import spikecut
from spikecut.export.torch_module.importer import Sampled, import_module

FRAMES = np.broadcast_to(np.random.default_rng(3).random((1, 4, 1, 8, 8)).astype(np.float32), (TIMESTEPS, 4, 1, 8, 8))


class Between(nn.Module):
    """`change` stands in front of the neurons, or behind the last weights."""

    def __init__(self, change, at_end):
        super().__init__()
        self.fc1, self.lif, self.fc2 = nn.Linear(64, 16), Remembers(), nn.Linear(16, 10)
        self.norm = nn.BatchNorm1d(16)
        self.change, self.at_end = change, at_end

    def forward(self, x):
        y = self.fc1(x.flatten(1))
        y = self.fc2(self.lif(y if self.at_end else self.change(y, self.norm)))
        return self.change(y, self.norm) if self.at_end else y


def imported(change, at_end):
    torch.manual_seed(0)
    return import_module(firing(Between(change, at_end)), Sampled.of(FRAMES, torch.zeros(2, 1, 8, 8)))


REFUSED = {
    "sub with alpha": (lambda y, _: torch.sub(y, torch.full((1,), 0.25), alpha=3), "net: sub with alpha"),
    "rsub with alpha": (lambda y, _: torch.rsub(y, torch.full((1,), 0.25), alpha=3), "net: rsub with alpha"),
    "sub_ with alpha": (lambda y, _: y.sub_(torch.full((1,), 0.25), alpha=3), "net: sub with alpha"),
    "floor division": (lambda y, _: torch.div(y, 0.7, rounding_mode="floor"), "net: div with rounding_mode"),
    "truncation": (lambda y, _: y.div(0.7, rounding_mode="trunc"), "net: div with rounding_mode"),
    "to integers": (lambda y, _: y.to(torch.int32).float(), "net: to rounds to torch.int32; keep .* float32"),
    "type of integers": (lambda y, _: y.type(torch.int64).float(), "net: type rounds to torch.int64"),
    "to booleans": (lambda y, _: y.to(dtype=torch.bool).float(), "net: to rounds to torch.bool"),
    "to half precision": (lambda y, _: y.to(torch.bfloat16).float(), "net: to rounds to torch.bfloat16"),
    "permute by name": (lambda y, _: y.permute(dims=(1, 0)).t(), "net: permute moves features"),
    "sum by name": (lambda y, _: torch.sum(input=y, dim=1, keepdim=True) + y, "net: sum is called in a way that is"),
}


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_read_is_refused_by_its_name(case, at_end):
    change, told = REFUSED[case]
    with pytest.raises(spikecut.ExportError, match=told):
        imported(change, at_end)


READ = {
    "permute by name": lambda y, _: y.permute(dims=(0, 1)),
    "torch.batch_norm": lambda y, n: torch.batch_norm(
        y, n.weight, n.bias, n.running_mean, n.running_var, False, 0.1, n.eps, False
    ),
    "functional.batch_norm": lambda y, n: nn.functional.batch_norm(
        y, n.running_mean, n.running_var, n.weight, n.bias, False, 0.1, n.eps
    ),
    "to float64": lambda y, _: y.to(torch.float64).float(),
}


@pytest.mark.parametrize("case", READ)
def test_arguments_are_read_by_place_and_by_name(case):
    assert imported(READ[case], at_end=False).refusal is None
