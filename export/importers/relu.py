"""Plain ReLU networks → chains of spiking stages, with a line on every layer, and their witness (DESIGN: others' nets).

What stands between two ReLUs (pooling, weights, batch norm) becomes one synapse by the algebra of
spikecut.export.importers.linear, in float64; models.relu holds thresholds and witness, which share none of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from spikecut.errors import DataError, InputError, UnsupportedError
from spikecut.export.importers.base import ImportedNetwork, PartReport, Recipe
from spikecut.export.importers.keras import SUFFIXES as KERAS
from spikecut.export.importers.keras import read_keras
from spikecut.export.importers.linear import (
    Convolution,
    Dense,
    Operation,
    Pooling,
    Synapse,
    after,
    as_dense,
)
from spikecut.export.importers.synapse_modules import synapse_module
from spikecut.export.network.arrays import Array, Floats, IntArray, Pair, Shape
from spikecut.export.network.geometry import same_padding
from spikecut.export.quantise.measure import integrate_fire_ranges
from spikecut.models.data import Dataset, load_dataset
from spikecut.models.network import SpikingNetwork, Stage
from spikecut.models.neurons.integrate_fire import IntegrateFire, MembraneReadout
from spikecut.models.relu.calibration import corrected, lowered
from spikecut.models.relu.network import ReluLayer, ReluNetwork, SpikingWitness, balanced_thresholds
from spikecut.models.relu.spec import load_relu_network

PERCENTILE = 99.0


@dataclass(frozen=True)
class Converted:
    """A ReLU network as a spiking one.

    Attributes
    ----------
    network: the chain of stages, everything folded, float64. witness: the layers themselves over time.
    layers: what became of each. percentile: of the thresholds.
    relu_accuracy, clipped_accuracy: shares of right predictions on the calibration samples, of the ReLU network and of
        the same with its activations cut at λ, which is what spikes tend to for T → ∞.
    """

    network: SpikingNetwork
    witness: SpikingWitness
    layers: tuple[PartReport, ...]
    percentile: float
    relu_accuracy: float
    clipped_accuracy: float

    def report(self) -> dict[str, Any]:
        """Everything but the networks, as plain data."""
        layers = [
            {
                "layer": part.name,
                "kind": part.kind,
                "shape": part.shape,
                "thresholds": part.thresholds,
                "detail": part.detail,
            }
            for part in self.layers
        ]
        return {
            "percentile": self.percentile,
            "relu_accuracy": self.relu_accuracy,
            "clipped_accuracy": self.clipped_accuracy,
            "layers": layers,
        }

    def imported(self, source: Path, details: Mapping[str, Any]) -> ImportedNetwork:
        """As every importer gives its network; details: about the file."""
        recipe = Recipe(
            "relu",
            "direct",
            {**details, **self.report()},
            wide=True,
            measure=integrate_fire_ranges,
            encoding_known=True,
        )
        return ImportedNetwork(
            source,
            network=self.network,
            witness=self.witness,
            input_shape=tuple(self.network.input_shape),
            report=self.layers,
            recipe=recipe,
            conversion={
                "percentile": self.percentile,
                "relu_accuracy": self.relu_accuracy,
                "clipped_accuracy": self.clipped_accuracy,
            },
        )


def stills(dataset: str) -> Dataset:
    """The data set; DataError if its samples are events."""
    data = load_dataset(dataset)
    if data.frames is not None:
        raise DataError(f"{dataset} holds events: a ReLU network is converted for stills only; choose images")
    return data


def read_relu(weights: Path, spec: Path | None) -> ReluNetwork:
    """A trained ReLU network from files.

    weights: a state dict (.safetensors, .pt, .pth), whose layers `spec` tells, see models.relu.spec; or a Keras model
    (.h5, .hdf5), which tells them itself, see read_keras.

    Raises BundleError, CheckpointError, InputError and UnsupportedError, see there.
    """
    if spec is None and weights.suffix in KERAS:
        return read_keras(weights)
    if spec is None:
        raise InputError(f"{weights}: a file of tensors does not tell its layers: give --spec SPEC.json")
    return load_relu_network(weights, spec)


def convert_relu(
    network: ReluNetwork | nn.Module,
    images: Floats,
    labels: IntArray,
    percentile: float = PERCENTILE,
    timesteps: int | None = None,
) -> Converted:
    """Balance the thresholds of a trained ReLU network on calibration samples, and make it spike.

    network: a module whose forward is a chain (nn.Sequential, or what torch.fx reads as one), or what was read already.
    images [N, *shape], labels [N]: as the network was trained on. percentile: see balanced_thresholds.
    timesteps: T, for which thresholds are lowered and biases corrected, see models.relu.calibration; None leaves both.

    Raises
    ------
    UnsupportedError: a layer that no spiking chain equals, with advice. InputError: what does not fit.
    """
    samples = torch.from_numpy(np.array(images))
    chain = network
    if not isinstance(chain, ReluNetwork):
        chain = ReluNetwork.of(network, tuple(images.shape[1:]))
        chain.check_same(network, samples[:32])
    if tuple(images.shape[1:]) != chain.input_shape:
        raise InputError(f"samples of shape {tuple(images.shape[1:])}, but the network takes {chain.input_shape}")
    _stages(chain, {layer.name: torch.ones(1) for layer in chain.layers})  # refuses before samples are run
    thresholds = balanced_thresholds(chain, samples, percentile)
    spiking = chain
    if timesteps is not None:
        thresholds = lowered(chain, thresholds, samples, timesteps)
        spiking = corrected(chain, thresholds, samples, timesteps)
    stages, layers = _stages(spiking, thresholds)
    return Converted(
        network=SpikingNetwork(stages, "membrane", chain.input_shape).double().eval().requires_grad_(False),
        witness=SpikingWitness(spiking, thresholds),
        layers=tuple(layers),
        percentile=percentile,
        relu_accuracy=_accuracy(chain.scores(samples), labels),
        clipped_accuracy=_accuracy(chain.scores(samples, thresholds), labels),
    )


def _accuracy(scores: Tensor, labels: IntArray) -> float:
    return float(np.mean(scores.argmax(1).numpy() == labels))


def _stages(network: ReluNetwork, thresholds: Mapping[str, Tensor]) -> tuple[list[Stage], list[PartReport]]:
    stages: list[Stage] = []
    layers: list[PartReport] = []
    between = _Between(network.input_shape, np.ones(network.input_shape[0]))
    for layer in network.layers:
        balanced: tuple[float, ...] = ()
        if layer.role == "relu":
            balanced = tuple(thresholds[layer.name].flatten().tolist())
            stages.append(between.spiking(balanced))
            detail = f"integrate-and-fire neurons of {stages[-1].name}, soft reset, v(0) = λ/2"
            gain = np.array(balanced) if len(balanced) > 1 else np.ones(layer.output_shape[0])
            between = _Between(layer.output_shape, gain)
        else:
            detail = between.add(layer)
        kind = type(layer.module).__name__
        layers.append(PartReport(layer.name, kind, layer.output_shape, "exact", detail, thresholds=balanced))
    stages.append(between.last())
    return stages, layers


class _Between:
    """The linear layers between two ReLUs, as they come, as one synapse.

    shape: of what comes in. gain, offset: per channel, what the next weights read is gain · x + offset: the λ of the
    spikes, and a batch norm before the weights.
    """

    def __init__(self, shape: Shape, gain: Array) -> None:
        self.shape = shape
        self.gain = gain
        self.offset = np.zeros(shape[0])
        self.synapse: Synapse | None = None
        self.name = ""
        self.flat = False

    def add(self, layer: ReluLayer) -> str:
        """Take one layer; says what becomes of it."""
        if layer.role == "nothing":
            return "nothing at inference: left out"
        if layer.role == "flatten":
            self.flat = True
            return "torch's order is kept"
        if layer.role == "norm":
            return self._norm(layer)
        self._pool(layer) if layer.role == "pool" else self._weights(layer)
        return "weights" if layer.role == "weights" else "multiplied into weights, exactly"

    def _pool(self, layer: ReluLayer) -> None:
        module = cast(nn.AvgPool2d, layer.module)
        kernel = _pair(module.kernel_size)
        taps = kernel[0] * kernel[1]
        divisor = module.divisor_override or taps
        pooling = Pooling(f"layer {layer.name}", "SumPool2d", kernel, kernel, (0, 0), 1.0)
        self.synapse = after(self.synapse, pooling, self.shape, self.flat).scaled(1 / divisor)
        self.offset = self.offset * (taps / divisor)
        self.shape = self.synapse.output_shape

    def _weights(self, layer: ReluLayer) -> None:
        module = cast("nn.Conv2d | nn.Linear", layer.module)
        weight = np.asarray(module.weight.detach().numpy(), dtype=np.float64)
        added = self._read(layer, weight, self.offset)
        synapse = after(self.synapse, _operation(layer, self._scaled(layer, weight)), self.shape, self.flat)
        self.synapse = replace(synapse, bias=synapse.bias + added)
        self.shape, self.flat, self.name = synapse.output_shape, False, _stage_name(layer)

    def _scaled(self, layer: ReluLayer, weight: Array) -> Array:
        read = self._channels(layer, weight, self.gain)
        return np.asarray(weight * read.reshape(*read.shape, *([1] * (weight.ndim - 2))))

    def _read(self, layer: ReluLayer, weight: Array, offset: Array) -> Array:
        """What the weights make of the offset; UnsupportedError where padding would have to carry it."""
        if not offset.any():
            return np.zeros(len(weight))
        padding = getattr(layer.module, "padding", 0)
        if padding != "valid" and np.any(np.asarray(padding) != 0):
            raise UnsupportedError(
                f"layer {layer.name}: a batch norm before a convolution that pads: its offset is not in the padding; "
                "put the batch norm behind the convolution, or pad with 0"
            )
        sums = weight.reshape(*weight.shape[:2], -1).sum(axis=2)
        return np.asarray((sums * self._channels(layer, weight, offset)).sum(axis=1))

    def _channels(self, layer: ReluLayer, weight: Array, values: Array) -> Array:
        """Values per incoming channel, where each weight reads them: (O, I/groups), or (1, I) of a dense layer."""
        if isinstance(layer.module, nn.Conv2d):
            per_group = weight.shape[1]
            first = np.arange(len(weight))[:, None] // (len(weight) // layer.module.groups) * per_group
            return np.asarray(values[first + np.arange(per_group)])
        return np.asarray(np.repeat(values, weight.shape[1] // len(values))[None])

    def _norm(self, layer: ReluLayer) -> str:
        state = {key: value.numpy().astype(np.float64) for key, value in layer.module.state_dict().items()}
        epsilon = cast("nn.BatchNorm2d | nn.BatchNorm1d", layer.module).eps
        gain = state.get("weight", np.ones(1)) / np.sqrt(state["running_var"] + epsilon)
        offset = state.get("bias", np.zeros(1)) - state["running_mean"] * gain
        channels = len(self.gain) if self.synapse is None or not self.name else len(self.synapse.bias)
        if len(gain) != channels:
            raise UnsupportedError(f"layer {layer.name}: a batch norm behind Flatten; put it before")
        if self.synapse is not None and self.name:
            scaled = self.synapse.scaled(gain)
            self.synapse = replace(scaled, bias=scaled.bias + offset)
            return f"folded into the weights of {self.name}"
        self.gain, self.offset = self.gain * gain, self.offset * gain + offset
        return "folded into the next weights"

    def spiking(self, thresholds: tuple[float, ...]) -> Stage:
        """The stage of what was taken, spiking; of several λ, each is divided out of its channel's weights."""
        if len(thresholds) == 1:
            return self._stage(self._taken(), IntegrateFire(thresholds[0], thresholds[0] / 2))
        return self._stage(self._taken().scaled(1 / np.array(thresholds)), IntegrateFire(1.0, 0.5))

    def last(self) -> Stage:
        """The stage whose sums are the scores."""
        synapse = self._taken()
        if synapse.output_shape[1:] == (1, 1):
            synapse = as_dense(synapse, f"layer {self.name}")
        if len(synapse.output_shape) != 1:
            raise UnsupportedError(
                f"layer {self.name}: the scores are a flattened map {synapse.output_shape}; end in Linear, or in "
                "global average pooling and Flatten"
            )
        return self._stage(synapse, MembraneReadout())

    def _taken(self) -> Synapse:
        if self.synapse is None or not self.synapse.weight.any():
            raise UnsupportedError(f"layer {self.name}: all weights are zero; nothing would ever reach it")
        return self.synapse

    def _stage(self, synapse: Synapse, neuron: nn.Module) -> Stage:
        return Stage(self.name, synapse_module(synapse), nn.Identity(), neuron)


def _stage_name(layer: ReluLayer) -> str:
    kind = "dense" if isinstance(layer.module, nn.Linear) else "conv"
    return f"{kind}{layer.name}" if layer.name.isdigit() else layer.name


def _operation(layer: ReluLayer, weight: Array) -> Operation:
    """A convolution or a dense layer with this weight in the place of its own."""
    where, module = f"layer {layer.name}", cast("nn.Conv2d | nn.Linear", layer.module)
    bias = None if module.bias is None else np.asarray(module.bias.detach().numpy(), dtype=np.float64)
    if isinstance(module, nn.Linear):
        return Dense(where, "Affine", weight, bias)
    stride, dilation = _pair(module.stride), _pair(module.dilation)
    if module.padding == "same":
        weight, padding = same_padding(weight, stride, dilation, where)
    else:
        padding = (0, 0) if isinstance(module.padding, str) else _pair(module.padding)
    return Convolution(where, "Conv2d", weight, bias, stride, padding, dilation, module.groups)


def _pair(value: int | tuple[int, ...]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
