"""Neurons written by hand, as users have them, and declared."""

import torch
from torch import nn

import spikecut


class Step(torch.autograd.Function):
    """A surrogate's forward, of which no torch function tells."""

    @staticmethod
    def forward(ctx, distance):
        return (distance > 0).float()


class HandWritten(nn.Module):
    """A LIF neuron as papers' code has it: hard reset, v ← β v + x."""

    def __init__(self, beta=0.75, threshold=1.0):
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, x, v):
        v = self.beta * v + x
        spike = Step.apply(v - self.threshold)
        return spike, v * (1 - spike)


class Remembers(nn.Module):
    """A soft reset, with the state inside, and no leak."""

    def __init__(self):
        super().__init__()
        self.v = None

    def reset(self):
        self.v = None

    def forward(self, x):
        self.v = x if self.v is None else self.v + x
        spike = Step.apply(self.v - 1.0)
        self.v = self.v - spike
        return spike


class Tired(nn.Module):
    """A current that goes on while v rests after a spike, counted down; all timesteps at once."""

    def __init__(self, rests):
        super().__init__()
        self.rests = rests

    def forward(self, x):
        u = v = waits = torch.zeros_like(x[0])
        spikes = []
        for frame in x:
            u = 0.5 * u + frame
            v = torch.where(waits > 0, v, 0.75 * v + u)
            spike = Step.apply(v - 1.0) * (waits == 0)
            waits = spike * self.rests + (waits - 1).clamp(min=0)
            v = v * (1 - spike)
            spikes.append(spike)
        return torch.stack(spikes)


class Rising(nn.Module):
    """A threshold that adapts, as lava-dl's ALIF has it: v is never reset. All timesteps at once."""

    def __init__(self, fade, current=0.5):
        super().__init__()
        self.fade, self.current, self.threshold, self.step = fade, current, 0.5, 0.25

    def forward(self, x):
        u = v = r = torch.zeros_like(x[0])
        threshold = torch.full_like(u, self.threshold)
        spikes = []
        for frame in x:
            u = self.current * u + frame
            v = 0.75 * v + u
            threshold = (threshold - self.threshold) * (1 - self.fade) + self.threshold
            r = 0.5 * r
            spike = Step.apply(v - r - threshold + 1e-9)  # a step that is 1 at 0, too
            r, threshold = r + 2 * threshold * spike, threshold + self.step * spike
            spikes.append(spike)
        return torch.stack(spikes)


# As a user does, once for every class of their own.
spikecut.neuron(HandWritten, threshold="threshold", decay=lambda module: 1 - module.beta)
spikecut.neuron(Tired, threshold=1.0, decay=0.25, decay_u=0.5, refractory="rests")
spikecut.neuron(
    Rising,
    threshold="threshold",
    decay=0.25,
    decay_u=lambda module: 1 - module.current,
    reset="adapt",
    fires=">=",
    threshold_step="step",
    threshold_decay="fade",
    refractory_decay=0.5,
)
spikecut.neuron(Remembers, threshold=1.0, reset="subtract")
