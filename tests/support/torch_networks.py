"""Networks of other frameworks, untrained but firing, as their users write them: T = 6 timesteps of 8 x 8 images."""

import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch_neurons import HandWritten, Rising, Tired

from spikecut.models.neurons.current_based import CurrentBased
from spikecut.models.neurons.leaky import LeakyIntegrateFire

with warnings.catch_warnings():  # of their imports, which are not ours
    warnings.simplefilter("ignore")
    import norse.torch as norse
    import snntorch
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

TIMESTEPS = 6


class Adaptive(nn.Module):
    """Two layers of such, time first; a bias in front of a current, and convolutions."""

    def __init__(self):
        super().__init__()
        self.conv, self.first = nn.Conv2d(1, 4, 3, stride=2), Rising(0.125)
        self.fc, self.last = nn.Linear(36, 10), Rising(0.25, current=0.0)

    def forward(self, x):
        maps = self.first(self.conv(x.flatten(0, 1)).unflatten(0, x.shape[:2]))
        return self.last(self.fc(maps.flatten(2)))


class Resting(nn.Module):
    """Of the user's own, and Norse's cells with a refractory period; time first."""

    def __init__(self, first):
        super().__init__()
        self.fc, self.first, self.out = nn.Linear(64, 24, bias=False), first, nn.Linear(24, 10, bias=False)
        parameters = norse.LIFParameters(tau_mem_inv=torch.tensor(250.0), v_th=torch.tensor(0.25))
        self.last = norse.LIFRefracCell(norse.LIFRefracParameters(parameters, torch.tensor(2.0)))

    def forward(self, x):
        sent = self.first(self.fc(x.flatten(2)))
        state, found = None, []
        for spikes in sent:
            spike, state = self.last(self.out(spikes), state)
            found.append(spike)
        return torch.stack(found)


class Loop(nn.Module):
    """snnTorch's tutorials: a frame, repeated in the forward, and lists of what comes out."""

    def __init__(self, first, last, steps=TIMESTEPS):
        super().__init__()
        self.fc1, self.lif1, self.fc2, self.lif2 = nn.Linear(64, 24), first, nn.Linear(24, 10), last
        self.steps = steps

    def forward(self, x):
        v1 = v2 = torch.zeros(1)
        spikes, membranes = [], []
        x = x.view(x.size(0), -1)
        for _ in range(self.steps):
            s1, v1 = self.lif1(self.fc1(x), v1)
            s2, v2 = self.lif2(self.fc2(s1), v2)
            spikes.append(s2)
            membranes.append(v2)
        return torch.stack(spikes), torch.stack(membranes)


class Frames(nn.Module):
    """Time first, a loop over the timesteps of the input, an array that is filled; no neurons at the end."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.lif, self.fc = (
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            HandWritten(),
            nn.Linear(36, 10),
        )

    def forward(self, x):
        v = 0.0
        sent = torch.zeros(len(x), x.shape[1], 10)
        for step in range(x.size(0)):
            spike, v = self.lif(self.norm(self.conv(x[step])), v)
            sent[step] = self.fc(torch.flatten(nn.functional.avg_pool2d(spike, 2), 1))
        return sent.mean(0)


class Synapses(nn.Module):
    """snnTorch with a current that decays, and a membrane at the end."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, 24), nn.Linear(24, 10)
        self.lif1 = snntorch.Synaptic(alpha=0.5, beta=0.75)
        self.lif2 = snntorch.Leaky(beta=0.9, reset_mechanism="none")

    def forward(self, x):
        current, v1 = self.lif1.reset_mem()
        v2 = self.lif2.reset_mem()
        for _ in range(TIMESTEPS):
            s1, current, v1 = self.lif1(self.fc1(x.flatten(1)), current, v1)
            _, v2 = self.lif2(self.fc2(s1), v2)
        return v2


class Lateral(nn.Module):
    """A layer whose spikes come back through weights of its own, and one as snnTorch has it; time first."""

    def __init__(self):
        super().__init__()
        self.fc, self.back, self.lif = nn.Linear(64, 24), nn.Linear(24, 24), HandWritten()
        self.last, self.out = snntorch.RLeaky(beta=0.9, linear_features=10), nn.Linear(24, 10)
        with torch.no_grad():
            self.back.weight /= 4  # of larger ones a network is chaos, and its predictions hang on every rounding
            self.last.recurrent.weight /= 4

    def forward(self, x):
        v, spike = 0.0, torch.zeros(x.shape[1], 24)
        again, w = self.last.reset_mem()
        found = []
        for frame in x:
            spike, v = self.lif(self.fc(frame.flatten(1)) + self.back(spike), v)
            again, w = self.last(self.out(spike), again, w)
            found.append(again)
        return torch.stack(found)


class Csnn(nn.Module):
    """SpikingJelly's tutorial on Fashion-MNIST: all timesteps at once, max pooling of spikes, a mean over time."""

    def __init__(self):
        super().__init__()
        self.conv_fc = nn.Sequential(
            layer.Conv2d(1, 4, 3, padding=1, bias=False),
            layer.BatchNorm2d(4),
            neuron.IFNode(surrogate_function=surrogate.ATan()),
            layer.MaxPool2d(2, 2),
            layer.Flatten(),
            layer.Linear(64, 20, bias=False),
            neuron.ParametricLIFNode(),
            layer.Dropout(0.5),
            layer.Linear(20, 10, bias=False),
            neuron.LIFNode(tau=2.0, v_reset=None, decay_input=False),
        )
        functional.set_step_mode(self, "m")

    def forward(self, x):
        return self.conv_fc(x.unsqueeze(0).repeat(TIMESTEPS, 1, 1, 1, 1)).mean(0)


class Containers(nn.Module):
    """SpikingJelly's wrappers around layers of torch."""

    def __init__(self):
        super().__init__()
        self.conv = layer.SeqToANNContainer(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
        self.first = neuron.LIFNode(step_mode="m")
        self.fc = layer.SeqToANNContainer(nn.Flatten(), nn.Linear(144, 10))
        self.second = layer.MultiStepContainer(neuron.IFNode(v_reset=-0.5))

    def forward(self, x):
        return self.second(self.fc(self.first(self.conv(x)))).sum(0)


class Cells(nn.Module):
    """Norse, cell by cell, with a membrane at the end; numbers that differ between neurons."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(64, 24, bias=False), nn.Linear(24, 10, bias=False)
        rates = {"tau_mem_inv": torch.linspace(50, 200, 24), "tau_syn_inv": torch.linspace(100, 250, 24)}
        rates |= {"v_leak": torch.tensor(-0.25), "v_th": torch.linspace(0.2, 1.2, 24)}
        self.lif = norse.LIFCell(norse.LIFParameters(**rates), dt=0.004)
        self.li = norse.LICell(norse.LIParameters(tau_mem_inv=torch.linspace(100, 250, 10)), dt=0.004)

    def forward(self, x):
        first = second = None
        found = []
        for frame in x:
            spike, first = self.lif(self.fc(frame.flatten(1)), first)
            v, second = self.li(self.out(spike), second)
            found.append(v)
        return torch.stack(found)


class Lifted(nn.Module):
    """Norse over time."""

    def __init__(self):
        super().__init__()
        per_channel = torch.linspace(50, 150, 4).view(4, 1, 1)
        lif = norse.LIF(norse.LIFParameters(tau_mem_inv=per_channel, v_th=torch.linspace(0.1, 0.5, 144).view(4, 6, 6)))
        weights = nn.Conv2d(1, 4, 3, bias=False), nn.Linear(144, 10)
        self.net = norse.SequentialState(norse.Lift(weights[0]), lif, nn.Flatten(2), weights[1], norse.IAF())

    def forward(self, x):
        return self.net(x)[0]


def stepwise():
    """snnTorch with hidden states, a timestep a call."""
    options = {"beta": 0.5, "init_hidden": True, "reset_mechanism": "zero"}
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.AvgPool2d(2),
        snntorch.Leaky(**options),
        nn.Flatten(),
        nn.Linear(128, 10),
        snntorch.Leaky(**options, output=True),
    )


def each_its_own():
    """snnTorch with thresholds and decays that differ: learned per channel, per neuron of a map, per neuron."""
    options = {"init_hidden": True, "learn_beta": True, "learn_threshold": True}
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.AvgPool2d(2),
        snntorch.Leaky(
            beta=torch.linspace(0.3, 0.9, 8).view(8, 1, 1),
            threshold=torch.linspace(0.1, 0.6, 128).view(8, 4, 4),
            **options,
        ),
        nn.Flatten(),
        nn.Linear(128, 20),
        snntorch.Synaptic(alpha=torch.linspace(0, 0.75, 20), beta=torch.linspace(0.9, 0.5, 20), init_hidden=True),
        nn.Linear(20, 10),
        snntorch.Leaky(beta=torch.linspace(0, 1, 10), reset_mechanism="zero", output=True, **options),
    )


def recurrent():
    """snnTorch's recurrent neurons, one to one and all to all, with hidden states, a timestep a call."""
    options = {"beta": 0.75, "init_hidden": True}
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 16),
        snntorch.RSynaptic(alpha=0.5, linear_features=16, **options),
        nn.Linear(16, 10),
        snntorch.RLeaky(all_to_all=False, V=-0.4, reset_mechanism="zero", reset_delay=False, **options),
    )


def set_to_0_late():
    """snnTorch's neurons whose v is 0 in the timestep after a spike, whatever comes in."""
    options = {"beta": 0.75, "init_hidden": True, "reset_mechanism": "zero"}
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2),
        snntorch.Synaptic(alpha=0.5, **options),
        nn.Flatten(),
        nn.Linear(36, 16),
        snntorch.RSynaptic(alpha=0.5, linear_features=16, **options),
        nn.Linear(16, 10),
        snntorch.RLeaky(all_to_all=False, V=-0.4, **options),
    )


def recurrent_maps():
    """Maps that come back by a convolution in snnTorch's neurons, and by one number for all."""
    options = {"beta": 0.75, "init_hidden": True}
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        snntorch.RSynaptic(alpha=0.5, conv2d_channels=4, kernel_size=(3, 5), **options),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1, groups=2),
        snntorch.RLeaky(all_to_all=False, V=-0.4, threshold=0.3, **options),
        nn.Flatten(),
        nn.Linear(96, 10),
        snntorch.Leaky(threshold=0.3, **options),
    )


def single_steps():
    """SpikingJelly, a timestep a call, with v not counted from 0, and numbers that differ between neurons."""
    own = neuron.ParametricLIFNode(v_reset=-0.1)
    own.w, own.v_threshold = nn.Parameter(torch.linspace(-1, 2, 10)), torch.linspace(0.5, 1.5, 10)
    return nn.Sequential(
        layer.Flatten(),
        layer.Linear(64, 20),
        neuron.LIFNode(tau=2.0, decay_input=True),
        layer.Linear(20, 20),
        neuron.LIFNode(tau=4.0, decay_input=False, v_reset=None),
        layer.Linear(20, 10),
        own,
    )


class Ours(nn.Module):
    """spikecut's own neurons, which take all timesteps, in a module of the user's."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(64, 24), nn.Linear(24, 10, bias=False)
        self.leaky = LeakyIntegrateFire(0.25, reset="subtract")
        self.current = CurrentBased(1.0, decay_u=0.5, decay_v=0.25, reset="zero")

    def forward(self, x):
        return self.current(self.out(self.leaky(self.fc(x.flatten(2))))).sum(0)


FRAME, STEPS = (2, 1, 8, 8), (TIMESTEPS, 2, 1, 8, 8)
# By framework: how a network is made, and the shape of an input as it takes it.
NETWORKS: dict[str, dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]] = {
    "torch": {
        "loop": (
            lambda: Loop(HandWritten(torch.linspace(0, 1, 24), torch.linspace(0.5, 1.5, 24)), HandWritten(0.5)),
            (2, 64),
        ),
        "frames": (Frames, STEPS),
        "adaptive": (Adaptive, STEPS),
    },
    "snntorch": {
        "loop": (lambda: Loop(*(snntorch.Leaky(beta=0.8, reset_mechanism="zero") for _ in range(2))), FRAME),
        "default": (lambda: Loop(snntorch.Leaky(beta=0.9), snntorch.Leaky(beta=0.75)), FRAME),
        "synapses": (Synapses, FRAME),
        "lateral": (Lateral, STEPS),
        "recurrent": (recurrent, FRAME),
        "recurrent maps": (recurrent_maps, FRAME),
        "stepwise": (stepwise, FRAME),
        "each its own": (each_its_own, FRAME),
        "set to 0 late": (set_to_0_late, FRAME),
    },
    "spikingjelly": {"csnn": (Csnn, FRAME), "containers": (Containers, STEPS), "single steps": (single_steps, FRAME)},
    "spikecut": {"ours": (Ours, STEPS)},
    "norse": {"cells": (Cells, STEPS), "lifted": (Lifted, STEPS), "resting": (lambda: Resting(Tired(2)), STEPS)},
}
CASES = [(framework, name) for framework, networks in NETWORKS.items() for name in networks]


def network(framework, name, seed=0):
    """A network that fires, and an input as it takes it."""
    make, shape = NETWORKS[framework][name]
    torch.manual_seed(seed)
    made = make()
    return firing(made), torch.zeros(shape)


def firing(made):
    """Larger weights, and batch norms as after a training."""
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.weight *= 4
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 2)
                module.bias.uniform_(-0.3, 0.5)
    return made.eval()
