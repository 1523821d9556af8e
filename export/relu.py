"""Plain ReLU networks → chains of spiking stages, with a line on every layer, and their witness (DESIGN: others' nets).

What stands between two ReLUs (pooling, weights, batch norm) becomes one synapse by the algebra that NIR's linear nodes
use, in float64; models.relu holds thresholds and witness, which share none of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from spikecut.errors import BundleError, InputError, UnsupportedError
from spikecut.export.graph import Array, Floats, IntArray, Shape
from spikecut.export.nir import synapse_module
from spikecut.export.nir_file import NirNode
from spikecut.export.nir_synapses import Synapse, after, as_dense, identity
from spikecut.models.layer_spec import load_relu_network
from spikecut.models.network import SpikingNetwork, Stage
from spikecut.models.neurons.integrate_fire import MembraneReadout
from spikecut.models.relu import ReluLayer, ReluNetwork, SpikingWitness, integrate_fire


@dataclass(frozen=True)
class LayerFate:
    """What becomes of one layer; threshold: λ of a ReLU, None otherwise."""

    layer: str
    kind: str
    shape: Shape
    threshold: float | None
    detail: str


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
    layers: tuple[LayerFate, ...]
    percentile: float
    relu_accuracy: float
    clipped_accuracy: float

    def report(self) -> dict[str, Any]:
        """Everything but the networks, as plain data."""
        return {
            "percentile": self.percentile,
            "relu_accuracy": self.relu_accuracy,
            "clipped_accuracy": self.clipped_accuracy,
            "layers": [asdict(layer) for layer in self.layers],
        }


def read_relu(weights: Path, spec: Path | None) -> ReluNetwork:
    """A trained ReLU network from files.

    weights: a state dict (.safetensors, .pt, .pth), whose layers `spec` tells; see models.layer_spec.

    Raises CheckpointError, InputError and UnsupportedError, see there.
    """
    if spec is None:
        raise InputError(f"{weights}: a file of tensors does not tell its layers: give --spec SPEC.json")
    return load_relu_network(weights, spec)


def convert_relu(
    network: ReluNetwork | nn.Module, images: Floats, labels: IntArray, percentile: float = 99.9
) -> Converted:
    """Balance the thresholds of a trained ReLU network on calibration samples, and make it spike.

    network: a module whose forward is a chain (nn.Sequential, or what torch.fx reads as one), or what was read already.
    images [N, *shape], labels [N]: as the network was trained on. percentile: see ReluNetwork.thresholds.

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
    thresholds = chain.thresholds(samples, percentile)
    stages, layers = _stages(chain, thresholds)
    return Converted(
        network=SpikingNetwork(stages, "membrane", chain.input_shape).double().eval().requires_grad_(False),
        witness=SpikingWitness(chain, thresholds),
        layers=tuple(layers),
        percentile=percentile,
        relu_accuracy=_accuracy(chain.scores(samples), labels),
        clipped_accuracy=_accuracy(chain.scores(samples, thresholds), labels),
    )


def _accuracy(scores: Tensor, labels: IntArray) -> float:
    return float(np.mean(scores.argmax(1).numpy() == labels))


def _stages(network: ReluNetwork, thresholds: Mapping[str, float]) -> tuple[list[Stage], list[LayerFate]]:
    stages: list[Stage] = []
    layers: list[LayerFate] = []
    between = _Between(network.input_shape)
    for layer in network.layers:
        threshold = None
        if layer.role == "relu":
            threshold = thresholds[layer.name]
            stages.append(between.stage(integrate_fire(threshold)))
            detail = f"integrate-and-fire neurons of {stages[-1].name}, soft reset, v(0) = λ/2"
            between = _Between(layer.output_shape)
        else:
            detail = between.add(layer)
        kind = type(layer.module).__name__
        layers.append(LayerFate(layer.name, kind, layer.output_shape, threshold, detail))
    stages.append(between.stage(MembraneReadout()))
    return stages, layers


class _Between:
    """The linear layers between two ReLUs, as they come: W x + b, and an offset that the next weights will read."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.synapse: Synapse | None = None
        self.offset = np.zeros(shape[0])  # per channel of what comes in, from a batch norm before the weights
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
        node = _pool(layer) if layer.role == "pool" else _weights(layer)
        try:
            self._add(layer, node)
        except (BundleError, UnsupportedError) as error:
            raise type(error)(str(error).replace("node ", "layer ", 1)) from error
        return "weights" if layer.role == "weights" else "multiplied into weights, exactly"

    def _add(self, layer: ReluLayer, node: NirNode) -> None:
        divisor = getattr(layer.module, "divisor_override", None)
        added = after(self.synapse, node, self.shape, self.flat)
        if divisor:
            added = added.scaled(1 / divisor)
        if layer.role == "weights":
            self.name = _stage_name(layer)
            added = replace(added, bias=added.bias + self._read_offset(layer, node))
            self.flat = False
        elif divisor:
            self.offset = self.offset * np.prod(_sides(node, "kernel_size")) / divisor
        self.synapse, self.shape = added, added.output_shape

    def _read_offset(self, layer: ReluLayer, node: NirNode) -> Array:
        """What the weights make of the offset; UnsupportedError where padding would have to carry it."""
        weight = np.asarray(node.numbers["weight"], dtype=np.float64)
        if not self.offset.any():
            return np.zeros(len(weight))
        if isinstance(layer.module, nn.Linear):
            per_input = np.repeat(self.offset, weight.shape[1] // len(self.offset))
            return np.asarray(weight @ per_input, dtype=np.float64)
        if node.texts.get("padding", "valid") != "valid" or ("padding" in node.numbers and _sides(node, "padding").any()):
            raise UnsupportedError(
                f"layer {layer.name}: a batch norm before a convolution that pads: its offset is not in the padding; "
                "put the batch norm behind the convolution, or pad with 0"
            )
        groups = int(node.numbers["groups"])
        channel = np.arange(len(weight))[:, None] // (len(weight) // groups) * weight.shape[1]
        read = self.offset[channel + np.arange(weight.shape[1])]
        return np.asarray((weight.sum(axis=(2, 3)) * read).sum(axis=1), dtype=np.float64)

    def _norm(self, layer: ReluLayer) -> str:
        state = {key: value.numpy().astype(np.float64) for key, value in layer.module.state_dict().items()}
        epsilon = cast("nn.BatchNorm2d | nn.BatchNorm1d", layer.module).eps
        gain = state.get("weight", np.ones(1)) / np.sqrt(state["running_var"] + epsilon)
        offset = state.get("bias", np.zeros(1)) - state["running_mean"] * gain
        if self.name:
            if self.synapse is None or len(gain) != len(self.synapse.bias):
                raise UnsupportedError(f"layer {layer.name}: a batch norm behind Flatten; put it before")
            self.synapse = replace(self.synapse.scaled(gain), bias=self.synapse.bias * gain + offset)
            return f"folded into the weights of {self.name}"
        if self.flat and len(gain) != len(self.offset):
            raise UnsupportedError(f"layer {layer.name}: a batch norm behind Flatten; put it before")
        self.synapse = (self.synapse or identity(self.shape, layer.name)).scaled(gain)
        self.offset = self.offset * gain + offset
        return "folded into the next weights"

    def stage(self, neuron: nn.Module) -> Stage:
        """The stage of what was taken, with these neurons behind it."""
        if self.synapse is None:
            raise InputError("a ReLU without weights in front")
        synapse = self.synapse
        if synapse.output_shape[1:] == (1, 1) and isinstance(neuron, MembraneReadout):
            synapse = as_dense(synapse, self.name)
        if isinstance(neuron, MembraneReadout) and len(synapse.output_shape) != 1:
            raise UnsupportedError(
                f"layer {self.name}: the scores are a flattened map {synapse.output_shape}; end in Linear, or in global "
                "average pooling and Flatten"
            )
        if not synapse.weight.any():
            raise UnsupportedError(f"layer {self.name}: all weights are zero; nothing would ever reach it")
        return Stage(self.name, synapse_module(synapse), nn.Identity(), neuron)


def _stage_name(layer: ReluLayer) -> str:
    kind = "dense" if isinstance(layer.module, nn.Linear) else "conv"
    return f"{kind}{layer.name}" if layer.name.isdigit() else layer.name


def _weights(layer: ReluLayer) -> NirNode:
    numbers = {key: value.numpy() for key, value in layer.module.state_dict().items()}
    if isinstance(layer.module, nn.Linear):
        return NirNode(layer.name, "Affine", numbers)
    module = cast(nn.Conv2d, layer.module)
    texts = {}
    if isinstance(module.padding, str):
        texts["padding"] = module.padding
    else:
        numbers["padding"] = np.array(module.padding)
    numbers |= {key: np.array(getattr(module, key)) for key in ("stride", "dilation", "groups")}
    return NirNode(layer.name, "Conv2d", numbers, texts)


def _pool(layer: ReluLayer) -> NirNode:
    module = cast(nn.AvgPool2d, layer.module)
    kernel = _both(module.kernel_size)
    kind = "SumPool2d" if module.divisor_override else "AvgPool2d"
    return NirNode(layer.name, kind, {"kernel_size": kernel, "stride": kernel, "padding": np.zeros(2, dtype=np.int64)})


def _both(sides: int | Iterable[int]) -> IntArray:
    return np.array([sides, sides] if isinstance(sides, int) else list(sides), dtype=np.int64)


def _sides(node: NirNode, key: str) -> IntArray:
    return np.asarray(node.numbers[key], dtype=np.int64).reshape(-1)
