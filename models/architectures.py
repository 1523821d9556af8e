"""Architectures by name. Every one is a chain of stages, made for any input shape and number of classes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from spikecut.errors import InputError
from spikecut.models.bodies import ARCHITECTURES, BODIES, RESIDUAL_BODIES, Body
from spikecut.models.layers.qcfs import QCFS
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm
from spikecut.models.network import Norm, Readout, ResidualStage, SpikingNetwork, Stage
from spikecut.models.neurons.integrate_fire import IntegrateFire, MembraneReadout
from spikecut.models.neurons.leaky import LeakyIntegrateFire, reset_named
from spikecut.models.slayer.network import build_slayer

INITIAL_THRESHOLD = 2.0
Normalisation = Literal["batch", "tebn", "none"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class _Style:
    """What all layers of a network have in common."""

    neuron: Callable[[], nn.Module]
    output: Callable[[], nn.Module]
    normalised_output: bool
    norm: Normalisation
    timesteps: int | None

    def make_norm(self, channels: int, dimensions: Literal["1d", "2d"]) -> Norm:
        """Fresh normalisation of this many channels."""
        if self.norm == "tebn" and self.timesteps is not None:
            return TemporalEffectiveBatchNorm(channels, self.timesteps, dimensions)
        if self.norm == "batch":
            return nn.BatchNorm2d(channels) if dimensions == "2d" else nn.BatchNorm1d(channels)
        return nn.Identity()

    def conv(self, channels_in: int, channels_out: int, stride: int, kernel: int = 3) -> tuple[nn.Conv2d, Norm]:
        """Convolution that keeps the map but for its stride, and its normalisation."""
        bias = self.norm == "none"
        synapse = nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=bias)
        return synapse, self.make_norm(channels_out, "2d")

    def projection(self, channels_in: int, channels_out: int, stride: int) -> tuple[nn.Conv2d, Norm]:
        """1 × 1 convolution of a shortcut; the scales per timestep of TEBN are those of the stage that it leads to."""
        plain = replace(self, norm="batch") if self.norm == "tebn" else self
        return plain.conv(channels_in, channels_out, stride, kernel=1)

    def dense(self, name: str, features_in: int, features_out: int, pool: int = 1) -> Stage:
        """Fully connected, hidden."""
        synapse = nn.Linear(features_in, features_out, bias=self.norm == "none")
        return Stage(name, synapse, self.make_norm(features_out, "1d"), self.neuron(), pool)

    def output_stage(self, features_in: int, classes: int, pool: int = 1) -> Stage:
        """Fully connected, one neuron per class."""
        synapse = nn.Linear(features_in, classes, bias=not self.normalised_output)
        norm = self.make_norm(classes, "1d") if self.normalised_output else nn.Identity()
        return Stage("output", synapse, norm, self.output(), pool)


def _pooled(shape: Shape, pool: int) -> Shape:
    if any(side % pool for side in shape[1:]):
        raise InputError(
            f"a map of {shape[1:]} is not divisible by this architecture's pooling, {pool}: choose another"
        )
    return (shape[0], *(side // pool for side in shape[1:]))


def _chain(body: Body, style: _Style, shape: Shape, classes: int) -> list[Stage]:
    if body.convolutions and len(shape) != 3:
        raise InputError(f"a convolutional architecture needs (channels, height, width), not {shape}: use an mlp")
    stages = []
    for number, layer in enumerate(body.convolutions, 1):
        channels, height, width = _pooled(shape, layer.pool)
        synapse, norm = style.conv(channels, layer.channels, layer.stride)
        stages.append(Stage(f"conv{number}", synapse, norm, style.neuron(), layer.pool))
        shape = (layer.channels, -(-height // layer.stride), -(-width // layer.stride))
    pool = body.pool
    features = math.prod(_pooled(shape, pool))
    for number, width in enumerate(body.hidden, 1):
        name = "hidden" if len(body.hidden) == 1 else f"hidden{number}"
        stages.append(style.dense(name, features, width, pool))
        features, pool = width, 1
    return [*stages, style.output_stage(features, classes, pool)]


def _residual(groups: tuple[tuple[int, int], ...], style: _Style, shape: Shape, classes: int) -> list[Stage]:
    """A convolution, residual blocks (He et al., CVPR 2016), average pooling over the map, output."""
    if len(shape) != 3:
        raise InputError(f"a residual architecture needs (channels, height, width), not {shape}: use an mlp")
    synapse, norm = style.conv(shape[0], groups[0][0], 1)
    stages = [Stage("conv1", synapse, norm, style.neuron())]
    channels, height, width = groups[0][0], shape[1], shape[2]
    for group, (wider, blocks) in enumerate(groups, 1):
        for block in range(1, blocks + 1):
            stride = 2 if group > 1 and block == 1 else 1
            name = f"block{group}.{block}"
            shortcut = None
            if stride > 1:
                shortcut = Stage(f"{name}.shortcut", *style.projection(channels, wider, stride), nn.Identity())
            first = Stage(f"{name}.first", *style.conv(channels, wider, stride), style.neuron())
            stages.append(ResidualStage(name, first, *style.conv(wider, wider, 1), style.neuron(), shortcut))
            channels, height, width = wider, -(-height // stride), -(-width // stride)
    if height != width:
        raise InputError(f"a residual architecture needs square samples, not {shape}: choose another")
    return [*stages, style.output_stage(channels, classes, pool=height)]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What an architecture is made for, beside its name.

    Attributes
    ----------
    input_shape: (C, H, W) or (F,). classes: at least 2.
    readout: "count" (the output fires) or "membrane" (it does not); None: count for lif, membrane for qcfs.
    norm: "batch", "tebn" (needs timesteps; lif only) or "none" (biases instead); None: batch for lif, none for qcfs.
        An output that does not fire has a bias and no norm.
    decay, threshold, surrogate: of the LIF neurons. reset: "zero" or "subtract"; in earlier recipes "hard" or "soft".
    levels: L of the QCFS activations.
    converted: a qcfs architecture with IntegrateFire neurons in the place of its activations, as after conversion.
    """

    input_shape: tuple[int, ...] = (1, 8, 8)
    classes: int = 10
    decay: float = 0.5
    threshold: float = 1.0
    levels: int = 8
    converted: bool = False
    readout: Readout | None = None
    norm: Normalisation | None = None
    timesteps: int | None = None
    reset: str = "zero"
    surrogate: str = "triangle"


def build(arch: str, **arguments: Any) -> SpikingNetwork:
    """A fresh network with random weights (torch's global generator). arguments: fields of Arguments.

    arch: BODY-lif (leaky integrate-and-fire), BODY-qcfs (QCFS activations) or BODY-cuba (lava-dl's SLAYER blocks; takes
        no argument but shape and classes; its readout is count, and there is no norm), where BODY is
        digits: conv 16, conv 32 stride 2, output; for small (C, H, W).
        mlp: 128 hidden neurons; for any shape.
        small: conv 8 and 16, stride 2, 48 hidden neurons; below 50,000 parameters for 28 × 28.
        conv: conv 32, 32 stride 2, 64, 64 stride 2, 128 hidden neurons; for 28 × 28.
        strided: conv 32 stride 2, 64, 64 stride 2, 128 hidden neurons; for 28 × 28.
        vgg6: conv 64, 64, 128, 160, 160, 192, average pooling; 0.8 million parameters, for 32 × 32.
        vgg: conv 64, 64, 128, 128, 256, 256, average pooling; for 32 × 32.
        vggsnn: conv 64, 128, 256, 256, 512, 512, 512, 512, average pooling (after Deng et al., ICLR 2022); for event
            frames of 48 × 48 or 32 × 32.
        residual: conv 16, three residual blocks of 16, 32 with stride 2, and 32, average pooling; for square maps.
        resnet20: conv 16, nine residual blocks of 16 to 64, average pooling; 0.27 million parameters and 41 million
            multiplications a timestep for 32 × 32 (He et al.'s for CIFAR-10, but with projections as shortcuts where
            the map shrinks).
        resnet18: conv 64, eight residual blocks of 64 to 512, average pooling; for square maps of about 32 × 32.
        vgg6, vgg, vggsnn and the residual ones pool, which BODY-cuba does not.

    InputError for an unknown arch, or a shape or number that does not fit it; TypeError for an unknown argument.
    """
    given = Arguments(**arguments)
    if arch not in ARCHITECTURES:
        raise InputError(f"architecture {arch!r} is unknown: choose one of {', '.join(ARCHITECTURES)}")
    if given.classes < 2:
        raise InputError(f"{given.classes} classes: expected at least 2")
    body, neuron_name = arch.split("-")
    if neuron_name == "cuba":
        return _slayer(BODIES[body], given)
    style, readout = _style(arch, given, neuron_name == "lif")
    stages = (
        _residual(RESIDUAL_BODIES[body], style, given.input_shape, given.classes)
        if body in RESIDUAL_BODIES
        else _chain(BODIES[body], style, given.input_shape, given.classes)
    )
    return SpikingNetwork(stages, readout, given.input_shape)


def _style(arch: str, given: Arguments, leaky: bool) -> tuple[_Style, Readout]:
    """The neurons and norms of an architecture, and its readout; InputError for arguments that do not fit."""
    norm = given.norm or ("batch" if leaky else "none")
    readout: Readout = given.readout or ("count" if leaky else "membrane")
    if norm not in ("batch", "tebn", "none"):
        raise InputError(f"norm {norm!r}: expected batch, tebn or none")
    if norm == "tebn" and (given.timesteps is None or not leaky):
        raise InputError(f"architecture {arch}: TEBN needs LIF neurons and a number of timesteps")
    if leaky and given.converted:
        raise InputError(f"architecture {arch}: only a qcfs architecture is converted")
    if readout == "count" and not leaky:
        raise InputError(f"architecture {arch}: a QCFS network has a membrane readout")
    reset = reset_named(given.reset)

    def neuron() -> nn.Module:
        if leaky:
            return LeakyIntegrateFire(given.decay, given.threshold, given.surrogate, reset)
        if given.converted:
            return IntegrateFire(INITIAL_THRESHOLD, INITIAL_THRESHOLD / 2)
        return QCFS(given.levels, INITIAL_THRESHOLD)

    fires = readout == "count"
    style = _Style(neuron, neuron if fires else MembraneReadout, fires and norm != "none", norm, given.timesteps)
    return style, readout


def _slayer(body: Body, given: Arguments) -> SpikingNetwork:
    if given.readout not in (None, "count") or given.norm not in (None, "none") or reset_named(given.reset) != "zero":
        raise InputError("slayer's neurons fire, reset to zero and have no norm: leave out --reset and other readouts")
    return build_slayer(body, given.input_shape, given.classes)
