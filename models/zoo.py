"""Architectures by name. Every one is a chain of stages, made for any input shape and number of classes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from spikecut.errors import InputError
from spikecut.models.layers.qcfs import QCFS
from spikecut.models.network import SpikingNetwork, Stage
from spikecut.models.neurons.integrate_fire import IntegrateFire, MembraneReadout
from spikecut.models.neurons.leaky import LeakyIntegrateFire

CHANNELS = (16, 32)
HIDDEN = 128
INITIAL_THRESHOLD = 2.0


@dataclass(frozen=True)
class _Style:
    """What the architectures of one training method have in common."""

    normalised: bool
    neuron: Callable[[], nn.Module]
    output: Callable[[], nn.Module]

    def conv(self, name: str, channels_in: int, channels_out: int, stride: int) -> Stage:
        """3 x 3 convolution, padding 1."""
        synapse = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=not self.normalised)
        norm = nn.BatchNorm2d(channels_out) if self.normalised else nn.Identity()
        return Stage(name, synapse, norm, self.neuron())

    def dense(self, name: str, features_in: int, features_out: int, output: bool = False) -> Stage:
        """Fully connected."""
        synapse = nn.Linear(features_in, features_out, bias=not self.normalised)
        norm = nn.BatchNorm1d(features_out) if self.normalised else nn.Identity()
        return Stage(name, synapse, norm, self.output() if output else self.neuron())


def _convolutional(style: _Style, shape: tuple[int, ...], classes: int) -> list[Stage]:
    if len(shape) != 3:
        raise InputError(f"a convolutional architecture needs (channels, height, width), not {shape}: use an mlp")
    height, width = ((side + 1) // 2 for side in shape[1:])
    return [
        style.conv("conv1", shape[0], CHANNELS[0], stride=1),
        style.conv("conv2", CHANNELS[0], CHANNELS[1], stride=2),
        style.dense("output", CHANNELS[1] * height * width, classes, output=True),
    ]


def _perceptron(style: _Style, shape: tuple[int, ...], classes: int) -> list[Stage]:
    return [
        style.dense("hidden", math.prod(shape), HIDDEN),
        style.dense("output", HIDDEN, classes, output=True),
    ]


BODIES = {"digits": _convolutional, "mlp": _perceptron}
ARCHITECTURES = tuple(f"{body}-{style}" for body in BODIES for style in ("lif", "qcfs"))


def build(
    arch: str,
    *,
    input_shape: tuple[int, ...] = (1, 8, 8),
    classes: int = 10,
    decay: float = 0.5,
    threshold: float = 1.0,
    levels: int = 8,
    converted: bool = False,
) -> SpikingNetwork:
    """A fresh network with random weights (torch's global generator).

    arch: "digits-lif", "digits-qcfs" (conv 16, conv 32 stride 2, output; for (C, H, W)), "mlp-lif" or "mlp-qcfs"
        (128 hidden neurons; for any shape). lif: batch norm, firing output, count readout. qcfs: biases instead of
        batch norm, membrane readout.
    decay, threshold: of the LIF neurons. levels: L of the QCFS activations.
    converted: a qcfs architecture with IntegrateFire neurons in the place of its activations, as after conversion.

    InputError for an unknown arch, or a shape or number that does not fit it.
    """
    if arch not in ARCHITECTURES:
        raise InputError(f"architecture {arch!r} is unknown: choose one of {', '.join(ARCHITECTURES)}")
    if classes < 2:
        raise InputError(f"{classes} classes: expected at least 2")
    body, style_name = arch.split("-")
    if style_name == "lif":
        if converted:
            raise InputError(f"architecture {arch}: only a qcfs architecture is converted")
        style = _Style(True, lambda: LeakyIntegrateFire(decay, threshold), lambda: LeakyIntegrateFire(decay, threshold))
        return SpikingNetwork(BODIES[body](style, input_shape, classes), "count", input_shape)

    def activation() -> nn.Module:
        if converted:
            return IntegrateFire(INITIAL_THRESHOLD, INITIAL_THRESHOLD / 2)
        return QCFS(levels, INITIAL_THRESHOLD)

    style = _Style(False, activation, MembraneReadout)
    return SpikingNetwork(BODIES[body](style, input_shape, classes), "membrane", input_shape)
