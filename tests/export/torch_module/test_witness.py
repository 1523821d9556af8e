"""The witness compares all that a module gives, by float32's own rounding, and says by how much it could be wrong."""

import numpy as np
import pytest
import torch
from torch import nn
from torch_networks import TIMESTEPS, firing
from torch_neurons import HandWritten, Remembers

import spikecut
from spikecut.export.torch_module.importer import Sampled, import_module

FRAMES = np.broadcast_to(np.random.default_rng(3).random((1, 8, 1, 8, 8)).astype(np.float32), (TIMESTEPS, 8, 1, 8, 8))


class Ends(nn.Module):
    """One frame a call; ends in plain weights, neurons or a pooling of spikes, of which `change` makes the output."""

    def __init__(self, change, end="weights"):
        super().__init__()
        self.fc1, self.lif, self.fc2 = nn.Linear(64, 16), Remembers(), nn.Linear(16, 10)
        self.last = Remembers() if end == "spikes" else nn.Identity()
        self.change, self.calls = change, 0

    def forward(self, x):
        self.calls += 1
        return self.change(self.last(self.fc2(self.lif(self.fc1(x.flatten(1))))), self.calls)


class Pooled(Ends):
    """Ends in a max pooling of spikes."""

    def __init__(self, change):
        super().__init__(change)
        self.fc1 = nn.Conv2d(1, 10, 7)
        del self.fc2

    def forward(self, x):
        self.calls += 1
        return self.change(nn.functional.max_pool2d(self.lif(self.fc1(x)), 2).flatten(1), self.calls)


def made(change, end):
    torch.manual_seed(0)
    return firing(Pooled(change) if end == "pool" else Ends(change, end))


def compared(module, frames=FRAMES):
    return import_module(module, Sampled.of(frames, torch.zeros(2, *frames.shape[2:])))


def negated(y, _):
    y.data.mul_(-1)
    return y


def drifting(y, call):
    other = y.detach()
    other += call * 5
    return y


def written(y, _):
    y.detach().numpy()[:, 0] = 9
    return y


def slightly(y, _):
    y.data.mul_(1 + 2e-5)
    return y


CHANGES = [negated, drifting, written]


@pytest.mark.parametrize("end", ["weights", "spikes", "pool"])
@pytest.mark.parametrize("change", CHANGES)
def test_the_modules_own_output_is_compared(change, end):
    assert compared(made(lambda y, _: y, end)).refusal is None
    with pytest.raises(
        spikecut.ExportError, match=r"output is not what its last layer sends: output .*, timestep 0, sample"
    ):
        compared(made(change, end))


def test_scores_are_compared_by_float32s_rounding():
    with pytest.raises(spikecut.ExportError, match=r"net: .*output is not what .*but the module gives"):
        compared(made(slightly, "weights"))


def test_the_scores_of_the_witness_are_the_modules_own():
    found = compared(made(lambda y, _: y, "weights"))
    frames = torch.tensor(np.array(FRAMES))
    _, given = found.witness.record(frames)
    assert torch.equal(found.witness(frames), torch.stack(given).double())


class Tenths(nn.Module):
    """Ten times 0.1 in float32 is 1.0000001, which fires, and 1.00000001 in float64; a hard reset."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(64, 10, bias=False), HandWritten(1.0)
        spikecut.neuron(self.lif, threshold=1.00000006, decay=0.0)
        self.fc.weight.data.zero_()
        self.fc.weight.data[:, 0] = 0.1

    def forward(self, x):
        sent, v = [], torch.zeros(1)
        for frame in x:
            spike, v = self.lif(self.fc(frame.flatten(1)), v)
            sent.append(spike)
        return torch.stack(sent)


def test_a_tie_where_the_module_fires_tells_the_bound_it_was_judged_by():
    found = import_module(Tenths(), Sampled.of(np.ones((10, 1, 1, 8, 8)), torch.zeros(10, 2, 1, 8, 8)))
    told = found.recipe.details["compared"]
    assert told["ties"] == 10 and told["bound"] > 1e-5  # not 2⁻²⁴, what is left of the doubt after the reset


class Cancelling(nn.Module):
    """v = 0.4, 0.8, 1.2 as the difference of large numbers."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(64, 10, bias=False), Remembers()
        self.fc.weight.data.zero_()
        self.fc.weight.data[:, 0], self.fc.weight.data[:, 1] = 30000.4, -30000

    def forward(self, x):
        return self.lif(self.fc(x.flatten(1)))


def test_ties_that_may_hide_a_wrong_threshold_are_refused():
    frames = np.ones((3, 1, 1, 8, 8))
    assert compared(Cancelling(), frames).recipe.details["compared"]["ties"] == 0  # a wide bound that nothing needs
    wrong = Cancelling()
    spikecut.neuron(wrong.lif, threshold=1.5, reset="subtract")
    with pytest.raises(
        spikecut.ExportError, match=r"net.lif: .*float32's rounding, up to .* beside the threshold 1\.5"
    ):
        compared(wrong, frames)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_module_in_half_precision_is_compared_in_float32(dtype):
    module = made(lambda y, _: y, "spikes").to(dtype)
    found = compared(module)
    assert found.recipe.details["compared"]["precision"] == "float32"
    assert any(f"the module holds {str(dtype)[6:]}; it is read, and compared" in line for line in found.assumed)
    assert module.fc1.weight.dtype == dtype
    spikecut.neuron(module.lif, threshold=3.0, reset="subtract")
    with pytest.raises(spikecut.ExportError, match=r"net.lif: does not do what was read of it"):
        compared(module)
