"""Modules and declarations that cannot be read end in one line, which names what is wrong."""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch_networks import TIMESTEPS, firing
from torch_neurons import Remembers

import spikecut
from spikecut.export.torch_module.importer import Sampled, import_module

FRAMES = np.broadcast_to(np.random.default_rng(3).random((1, 4, 1, 8, 8)).astype(np.float32), (TIMESTEPS, 4, 1, 8, 8))


def chain():
    torch.manual_seed(0)
    return firing(nn.Sequential(nn.Flatten(), nn.Linear(64, 16), Remembers(), nn.Linear(16, 10), Remembers()))


def imported(module, timesteps=TIMESTEPS):
    return import_module(module, Sampled.of(FRAMES[:timesteps], torch.zeros(2, 1, 8, 8)))


@pytest.mark.parametrize("timesteps", [1, TIMESTEPS])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
@pytest.mark.parametrize("of", ["weight", "bias"])
def test_weights_that_are_no_numbers_are_refused_by_their_layer(of, wrong, timesteps):
    module = chain()
    getattr(module[3], of).data.flatten()[0] = wrong
    with pytest.raises(spikecut.ExportError, match=r"net\.3: its numbers hold NaN or infinity"):
        imported(module, timesteps)


def test_what_a_training_left_behind_is_taken_without_its_history():
    module = chain()
    module.left = {"a": [module[1].weight * 2, {"b": (module[1].weight * 3,)}]}
    assert imported(module).refusal is None
    assert module.left["a"][0].grad_fn is not None


def test_what_cannot_be_copied_is_named():
    module = chain()
    module[2].lock = threading.Lock()
    with pytest.raises(spikecut.InputError, match=r"^net\.2\.lock cannot be copied \(TypeError: .*delete it"):
        imported(module)


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (chain().state_dict(), "not OrderedDict; give the module"),
        (Remembers, "not the class Remembers; give"),
        (7, "not int"),
    ],
)
def test_what_is_no_module_is_refused(module, told):
    with pytest.raises(spikecut.InputError, match=told):
        imported(module)


DECLARED = {
    "NaN": ({"threshold": 1.0, "decay": float("nan")}, r"net\.4: .* told decay, which is nan; expected a number"),
    "None": ({"threshold": "v"}, r"net\.4: .* told threshold, which is None; expected a number"),
    "a word": ({"threshold": lambda _: "one"}, r"net\.4: .* told threshold, which is 'one'; expected a number"),
    "nothing": ({"threshold": lambda _: torch.zeros(0)}, r"net\.4: .* told threshold, which is tensor"),
    "a failure": ({"threshold": lambda each: 1 / each.none}, r"net\.4: .* function for threshold, which fails: Attr"),
    "infinite": ({"threshold": 1.0, "gain": float("inf")}, r"net\.4: .* told gain, which is inf"),
}


@pytest.mark.parametrize("case", DECLARED)
def test_declarations_without_a_number_are_refused(case):
    said, told = DECLARED[case]
    module = chain()
    spikecut.neuron(module[4], **said)
    with pytest.raises(spikecut.InputError, match=told):
        imported(module)


def test_a_module_that_shapes_its_input_otherwise_than_the_data_is_refused_at_once():
    class Shaped(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.lif, self.fc = nn.Conv2d(1, 4, 3), Remembers(), nn.Linear(144, 10)

        def forward(self, x):
            return self.fc(self.lif(self.conv(x.view(-1, 1, 8, 8))).flatten(1))

    flat = FRAMES.reshape(TIMESTEPS, 4, 64)
    with pytest.raises(
        spikecut.InputError, match=r"shape \(1, 8, 8\), .* \(64,\): store them as \(N, 1, 8, 8\), x\.resh"
    ):
        import_module(firing(Shaped()), Sampled.of(flat, torch.zeros(2, 64)))


def test_a_fixed_number_of_samples_in_a_forward_is_named():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif, self.last = nn.Linear(64, 10), Remembers(), nn.Linear(10, 10)

        def forward(self, x):
            return self.last(self.lif(self.fc(x.view(7, 64))))

    with pytest.raises(
        spikecut.InputError, match=r"takes 7 samples at a time, as `sample` has, and fails for 3: write"
    ):
        import_module(firing(Fixed()), Sampled.of(FRAMES, torch.zeros(7, 1, 8, 8)))
