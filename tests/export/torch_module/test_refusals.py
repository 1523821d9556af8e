"""What is no exact network is refused with the module's path; ties of float32 are told apart from differences."""

import numpy as np
import pytest
import torch
from torch import nn
from torch_networks import TIMESTEPS, Loop, firing, layer, neuron, norse, snntorch
from torch_neurons import HandWritten, Remembers, Step

import spikecut
from spikecut.export.torch_module.importer import Sampled, import_module

FRAMES = np.broadcast_to(np.random.default_rng(3).random((1, 8, 1, 8, 8)).astype(np.float32), (TIMESTEPS, 8, 1, 8, 8))


def imported(module, sample=(2, 1, 8, 8), frames=FRAMES):
    return import_module(firing(module), Sampled.of(frames, None if sample is None else torch.zeros(sample)))


def chain(*between, last=None):
    """A network that is called for each timestep."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), *between, nn.Linear(16, 10), last or Remembers())


class Wrong(HandWritten):
    """As HandWritten, declared otherwise."""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"threshold": 1.0, "decay": 0.5},
            "net.lif1: .* neuron .*, timestep 1, sample .*: v = .*, the threshold 1, but",
        ),
        ({"threshold": 1.5, "decay": 0.25}, r"net.lif1: .*timestep 0.*the threshold 1.5, but the module sends 1"),
        ({"threshold": 1.0, "decay": 0.25, "reset": "subtract"}, "net.lif1: does not do what was read of it: neuron"),
        ({"threshold": 1.0, "decay": 0.25, "gain": 0.5}, "net.lif1: .*say what it does: spikecut.neuron"),
    ],
)
def test_a_wrong_declaration_is_refused_with_the_first_difference(said, told):
    torch.manual_seed(0)
    spikecut.neuron(Wrong, **said)
    with pytest.raises(spikecut.ExportError, match=told):
        imported(Loop(Wrong(), Wrong()))
    spikecut.neuron(Wrong, threshold="threshold", decay=lambda module: 1 - module.beta)
    assert imported(Loop(Wrong(), Wrong())).refusal is None


def test_declarations_name_what_they_lack():
    module = spikecut.neuron(HandWritten(), threshold="limit")
    with pytest.raises(
        spikecut.InputError, match=r"net.lif1: .*threshold='limit', but the module has no such attribute"
    ):
        imported(Loop(module, HandWritten()))
    with pytest.raises(spikecut.InputError, match="reset 'hard': expected zero, subtract, subtract_next or adapt"):
        spikecut.neuron(HandWritten(), threshold=1.0, reset="hard")
    with pytest.raises(spikecut.InputError, match=r"net.lif1: declared decays .* fractions"):
        imported(Loop(spikecut.neuron(HandWritten(), threshold=1.0, decay=1.5), HandWritten()))


class Thirds(nn.Module):
    """Three times a third is 1 in float32, which does not fire, and 1.00000003 in float64."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(64, 10, bias=False), Remembers()
        self.fc.weight.data.zero_()
        self.fc.weight.data[:, 0] = 1 / 3

    def forward(self, x):
        return self.lif(self.fc(x.flatten(1)))


def test_ties_are_counted_where_float32_cannot_tell():
    frames = np.ones((TIMESTEPS, 1, 1, 8, 8), dtype=np.float32)
    module = Thirds()
    found = import_module(module, Sampled.of(frames, torch.zeros(2, 1, 8, 8)))
    compared = found.recipe.details["compared"]
    assert compared["ties"] == 10  # every neuron at the third timestep
    assert 0 < compared["bound"] < 1e-4 and compared["decisions"] == 10 * TIMESTEPS
    assert any("but for 10 ties, where v is within" in line for line in found.assumed)
    with pytest.raises(
        spikecut.ExportError, match=r"net.lif: 40 of 240 decisions .* float32 .*too many .*\.double\(\)"
    ):
        import_module(module, Sampled.of(frames.repeat(4, axis=1)))
    assert (
        import_module(Thirds().double(), Sampled.of(frames.repeat(4, axis=1))).recipe.details["compared"]["ties"] == 0
    )
    module.fc.weight.data[:, 0] += 1e-4
    assert import_module(module, Sampled.of(frames)).recipe.details["compared"]["ties"] == 0
    spikecut.neuron(module.lif, threshold=1.001, reset="subtract")  # far from float32's rounding
    with pytest.raises(spikecut.ExportError, match=r"net.lif: .*neuron 0, timestep 2, sample 0: v = 1.0003"):
        import_module(module, Sampled.of(frames))


class Inline(nn.Module):
    """A neuron in the forward itself, in front of one that is declared."""

    def __init__(self):
        super().__init__()
        self.fc, self.out, self.lif = nn.Linear(64, 16), nn.Linear(16, 10), Remembers()

    def forward(self, x):
        return self.lif(self.out((self.fc(x.flatten(1)) > 1.0).float()))


class Changing(Loop):
    """Another layer at the last timestep."""

    def forward(self, x):
        v1 = v2 = torch.zeros(1)
        found = []
        for step in range(TIMESTEPS):
            weights = self.fc1 if step < TIMESTEPS - 1 else lambda x: 2 * self.fc1(x)
            s1, v1 = self.lif1(weights(x.flatten(1)), v1)
            s2, v2 = self.lif2(self.fc2(s1), v2)
            found.append(s2)
        return torch.stack(found)


class Last(Loop):
    def forward(self, x):
        return super().forward(x)[0][-1]


class Half(Loop):
    def forward(self, x):
        return torch.stack(list(super().forward(x)[0])[3:])


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.gate, self.lif = nn.Linear(64, 10), nn.Linear(64, 10), Remembers()

    def forward(self, x):
        x = x.flatten(1)
        return self.lif(self.fc(x) * self.gate(x))


class Recurrent(nn.Module):
    """A frame that stays the same; what was sent `lag` timesteps ago comes back."""

    def __init__(self, lag=1):
        super().__init__()
        self.fc, self.back, self.lif, self.lag = nn.Linear(64, 10), nn.Linear(10, 10), Remembers(), lag

    def forward(self, x):
        found = [torch.zeros(len(x), 10)] * self.lag
        for _ in range(TIMESTEPS):
            found.append(self.lif(self.fc(x.flatten(1)) + self.back(found[-self.lag])))
        return torch.stack(found[self.lag :])


class Twice(Recurrent):
    def forward(self, x):
        found = [torch.zeros(len(x), 10)]
        for _ in range(TIMESTEPS):
            found.append(self.lif(self.fc(x.flatten(1)) + self.back(found[-1]) + found[-1]))
        return torch.stack(found[1:])


class Feedback(Recurrent):
    """The last layer's spikes come back to the first."""

    def __init__(self):
        super().__init__()
        self.out, self.last = nn.Linear(10, 10), Remembers()

    def forward(self, x):
        found = [torch.zeros(len(x), 10)]
        for _ in range(TIMESTEPS):
            found.append(self.last(self.out(self.lif(self.fc(x.flatten(1)) + self.back(found[-1])))))
        return torch.stack(found[1:])


def leaky(**options):
    return snntorch.Leaky(**{"beta": 0.8, "reset_mechanism": "zero", "init_hidden": True, **options})


def sinabs_alif():
    """A stand-in by its names: Sinabs is not installed."""
    layer_class = type("StatefulLayer", (nn.Module,), {"__module__": "sinabs.layers.stateful_layer"})
    return type("ALIF", (layer_class,), {"__module__": "sinabs.layers.alif"})()


LIF = {"v_threshold": 1.0}
REFUSED = {
    "snntorch default without a past": (
        lambda: chain(leaky(beta=0.0, reset_mechanism="subtract")),
        "net.2: v leaks whole, .* beta = 0.* train with beta > 0",
    ),
    "snntorch alpha": (lambda: chain(snntorch.Alpha(0.9, 0.8)), r"net.2 \(Alpha\): two currents .* train with Leaky"),
    "a graded spike": (lambda: chain(leaky(graded_spikes_factor=2.0)), "net.2 .*graded_spikes_factor=2"),
    "norse lsnn": (lambda: chain(norse.LSNNCell(16, 16)), r"net.2 \(LSNNCell\): .* resets; the chip's .*alif"),
    "sinabs alif": (lambda: chain(sinabs_alif()), r"net.2 \(ALIF\): .* resets; the chip's neuron .* twice the"),
    "spikingjelly": (lambda: chain(neuron.QIFNode()), r"net.2 \(QIFNode\): .* train with IFNode"),
    "a filter": (lambda: chain(layer.SynapseFilter()), r"net.2 \(SynapseFilter\): keeps a state"),
    "no neurons": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU()),
        r"net: holds no neurons .* spikecut.convert",
    ),
    "a neuron inline": (Inline, "net: gt in the forward itself: put the neuron into a module of its own"),
    "other layers in time": (
        lambda: Changing(HandWritten(), HandWritten()),
        "net.lif1: takes something else at timestep 5",
    ),
    "the last spikes": (
        lambda: Last(HandWritten(), HandWritten()),
        "net.lif2: the output is the last timestep's spikes",
    ),
    "some of the timesteps": (lambda: Half(HandWritten(), HandWritten()), "net: stack of only some of the 6 timesteps"),
    "timesteps that are not its own": (lambda: Loop(HandWritten(), HandWritten(), 5), "net.lif1: called 5 times for 6"),
    "a product of signals": (Gated, "net: mul of two signals"),
    "feedback": (Feedback, "net.lif: takes what net.last sent in the timestep before; only a layer's own spikes may"),
    "recurrence over two timesteps": (
        lambda: Recurrent(2),
        "net.lif: takes at timestep 2 what was sent at 0; only what is sent in the same timestep, or comes back",
    ),
    "recurrence twice": (Twice, "net.lif: its spikes come back twice; add up the weights"),
    "max pooling of sums": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), Remembers(), nn.Flatten(), nn.Linear(18, 10), Remembers()
        ),
        "net.1: max pooling of weighted sums",
    ),
    "a map at the end": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), Remembers()), "net.1: the output is a map"),
    "an activation": (lambda: chain(nn.Sigmoid(), Remembers()), "net.2: sigmoid is not read"),
    "a bias before a current": (
        lambda: chain(spikecut.neuron(Remembers(), threshold=1.0, decay_u=0.0)),
        "net.2: a bias in front of a current that never decays",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_chain_of_neurons_is_refused_by_its_path(case):
    make, told = REFUSED[case]
    torch.manual_seed(0)
    with pytest.raises(spikecut.ExportError, match=told):
        imported(make()).checked()


def test_a_forward_that_fails_says_so():
    with pytest.raises(
        spikecut.InputError, match=r"forward fails for an input of shape \(3, 1, 8, 8\) .* give `sample`"
    ):
        imported(nn.Sequential(nn.Linear(64, 10), Remembers()), sample=None)
    with pytest.raises(spikecut.InputError, match=r"sample of shape \(2, 3, 3\)"):
        imported(chain(Remembers()), sample=(2, 3, 3))


class Block(nn.Module):
    """A skip around one layer, as residual spiking networks have it: a sum of currents."""

    def __init__(self, project):
        super().__init__()
        self.conv0, self.lif0 = nn.Conv2d(1, 4, 3), Remembers()
        self.conv1, self.norm1, self.lif1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), Remembers()
        self.conv2, self.norm2, self.lif2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), Remembers()
        self.short = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)) if project else nn.Identity()
        self.pool, self.fc, self.lif = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 10), Remembers()

    def forward(self, x):
        x = self.lif0(self.conv0(x))
        x = self.lif2(self.norm2(self.conv2(self.lif1(self.norm1(self.conv1(x))))) + self.short(x))
        return self.lif(self.fc(self.pool(x).flatten(1)))


@pytest.mark.parametrize("project", [False, True])
def test_a_skip_around_one_layer_is_read(project):
    torch.manual_seed(0)
    found = imported(Block(project))
    assert [layer.sources for layer in found.witness.layers][2] == ("lif1", "lif0")
    assert [stage.name for stage in found.network.layers()] == ["lif0", "lif1", "lif2", "lif"]
    theirs, _ = found.witness.record(torch.tensor(np.array(FRAMES)))
    scores = found.network(torch.tensor(np.array(FRAMES)).double())
    assert torch.equal(scores, theirs["lif"]) and 0.02 < float(scores.mean()) < 0.9


class Surrogate(HandWritten):
    """A class of its own, whose instances are declared one by one."""

    def forward(self, x, v):
        v = self.beta * v + x
        spike = Step.apply(v - self.threshold)
        return spike, v - spike * self.threshold


def test_a_refractory_period_that_no_neuron_has_is_refused():
    with pytest.raises(spikecut.InputError, match="a refractory period beside reset subtract_next"):
        spikecut.neuron(Surrogate(1.0), threshold=1.0, reset="subtract_next", refractory=2)
    for wrong in (1.5, -1, 64, torch.tensor([1.0, 2.0])):
        first = spikecut.neuron(Surrogate(1.0), threshold=1.0, refractory=wrong)
        with pytest.raises(spikecut.InputError, match=r"net.lif1: declared refractory .*: expected a whole number"):
            imported(Loop(first, HandWritten(0.5)))


def test_an_instance_may_be_declared():
    torch.manual_seed(0)
    first = spikecut.neuron(Surrogate(1.0), threshold=1.0, reset="subtract", fires=">")
    assert imported(Loop(first, HandWritten(0.5))).refusal is None


class Late(nn.Module):
    """A soft reset one timestep later, after the leak."""

    def forward(self, x, v):
        v = 0.75 * v + x - (v > 1).to(x.dtype)
        return (v > 1).to(x.dtype), v


def test_what_comes_back_is_read_with_a_frame_that_stays_the_same():
    torch.manual_seed(0)
    found = imported(Recurrent())
    assert found.refusal is None and next(found.network.layers()).neuron.recurrent.shape == (10, 10)


class Unbiased(Recurrent):
    """Nothing comes back at the first timestep, not even the bias."""

    def forward(self, x):
        found = []
        for _ in range(TIMESTEPS):
            given = self.fc(x.flatten(1))
            found.append(self.lif(given + self.back(found[-1]) if found else given))
        return torch.stack(found)


def test_a_bias_that_comes_back_from_the_second_timestep_on_is_found_out():
    torch.manual_seed(0)
    module = firing(Unbiased())
    with torch.no_grad():
        module.back.bias += 0.5
    with pytest.raises(spikecut.ExportError, match=r"net.lif: does not do what was read of it: .* timestep 0"):
        imported(module)


def test_snntorchs_soft_reset_at_once_is_refused_where_v_stays_over_the_threshold():
    torch.manual_seed(0)
    module = chain(leaky(reset_mechanism="subtract", reset_delay=False))
    frames = np.random.default_rng(3).random(FRAMES.shape) > 0.5  # others at every timestep
    with pytest.raises(
        spikecut.ExportError, match=r"net\.2: does not do .*over the threshold still; train with its default"
    ):
        imported(module, frames=frames)


def test_a_reset_of_the_next_timestep_may_be_declared():
    torch.manual_seed(0)
    late = spikecut.neuron(Late(), threshold=1.0, decay=0.25, reset="subtract_next")
    assert imported(Loop(late, HandWritten(0.5))).refusal is None
    with pytest.raises(spikecut.ExportError, match=r"net.lif1: does not do what was read of it"):
        imported(Loop(spikecut.neuron(Late(), threshold=1.0, decay=0.25, reset="subtract"), HandWritten(0.5)))


def test_options_of_files_are_no_options_of_modules(tmp_path):
    with pytest.raises(spikecut.InputError, match="framework: a module takes dataset, timesteps, encoding and strict"):
        spikecut.export(chain(Remembers()), tmp_path / "out", framework="norse", timesteps=4)
    with pytest.raises(spikecut.InputError, match="give `dataset` and `timesteps`"):
        spikecut.export(chain(Remembers()), tmp_path / "out")


def test_a_single_timestep_and_a_line_of_values_are_read():
    torch.manual_seed(0)
    assert imported(chain(Remembers()), sample=None, frames=FRAMES[:1]).refusal is None
    line = nn.Sequential(
        nn.Conv1d(2, 4, 3, stride=2, padding=1),
        nn.BatchNorm1d(4),
        Remembers(),
        nn.Flatten(),
        nn.Linear(64, 10),
        Remembers(),
    )
    frames = FRAMES.reshape(TIMESTEPS, 8, 2, 1, 32)
    found = imported(line, sample=(2, 2, 32), frames=frames)
    assert found.input_shape == (2, 1, 32) and found.recipe.details["compared"]["spikes"] > 100
