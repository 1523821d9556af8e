"""Writes tests/golden/neurobench.json: what the neurobench package says of the networks of the tests.

Needs neurobench 2.3, snntorch and torchaudio 2.3.1 (the release that fits torch 2.3.1) besides spikecut:

    pip install --group neurobench
    PYTHONPATH=tests/support python scripts/golden/neurobench_counts.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import neurobench_network as cases
import torch
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import (
    ActivationSparsity,
    ActivationSparsityByLayer,
    MembraneUpdates,
    NeuronOperations,
    SynapticOperations,
)
from neurobench.models import TorchModel
from snntorch import SpikingNeuron
from torch import nn

from spikecut.export.network.arrays import size
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.fixed_point import ALIGNMENT_SHIFT, DECAY_UNITY

TARGET = Path(__file__).resolve().parents[2] / "tests" / "golden" / "neurobench.json"


class Leaky(SpikingNeuron):
    """v = trunc(leak v) + current; a spike where v > threshold, then the reset. NeuroBench knows it by its name."""

    def __init__(self, neuron: IntegerNeuron) -> None:
        super().__init__(init_hidden=True, reset_mechanism=neuron.reset)
        self.kept_u, self.kept_v = (1 - decay / DECAY_UNITY for decay in (neuron.decay_u, neuron.decay_v))
        self.level = float(neuron.threshold << ALIGNMENT_SHIFT)
        self.reset_to_zero = neuron.reset == "zero"
        self.mem = self.current = torch.zeros(1, dtype=torch.float64)

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        """Spikes of one step."""
        self.current = torch.trunc(self.current * self.kept_u) + current * 2**ALIGNMENT_SHIFT
        voltage = torch.trunc(self.mem * self.kept_v) + self.current
        spikes = voltage > self.level
        self.mem = torch.where(spikes, 0.0 if self.reset_to_zero else voltage - self.level, voltage)
        return spikes.double()


class Synaptic(Leaky):
    """The same, with a current that stays for more than a step."""


def synapse(layer: IntegerLayer) -> nn.Module:
    """The layer's torch module."""
    if layer.kind == "dense":
        module: nn.Module = nn.Linear(size(layer.input_shape), layer.output_shape[0], bias=False)
    else:
        channels, kernel = layer.input_shape[0], layer.weight.shape[2:]
        geometry = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
        module = nn.Conv2d(channels, layer.output_shape[0], kernel, bias=False, **geometry)
    module.weight = nn.Parameter(torch.tensor(layer.weight, dtype=torch.float64), requires_grad=False)
    return module


class Chain(nn.Module):
    """All steps of the network: [N, T, ...] to spikes of the last layer [N, T, classes]."""

    def __init__(self, network: IntegerNetwork) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for layer in network.layers:
            flatten = [nn.Flatten()] if layer.kind == "dense" and len(layer.input_shape) == 3 else []
            kind = Leaky if layer.neuron.decay_u == DECAY_UNITY else Synaptic
            stages += [*flatten, synapse(layer), kind(layer.neuron)]
        self.stages = nn.Sequential(*stages)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Step by step, so that every hook sees one step at a time."""
        return torch.stack([self.stages(inputs[:, step]) for step in range(inputs.shape[1])], dim=1)


class Stored(nn.Module):
    """The network as bytes: int8 weights, int16 biases, and u and v of 24 bits a neuron."""

    def __init__(self, network: IntegerNetwork) -> None:
        super().__init__()
        for number, layer in enumerate(network.layers):
            biases = torch.zeros(layer.neuron.bias_mantissa.size, dtype=torch.int16)
            weights = torch.tensor(layer.weight // 2, dtype=torch.int8)
            self.register_parameter(f"weight{number}", nn.Parameter(weights, requires_grad=False))
            self.register_parameter(f"bias{number}", nn.Parameter(biases, requires_grad=False))
            self.register_buffer(f"state{number}", torch.zeros((size(layer.output_shape), 2, 3), dtype=torch.uint8))


def measured(network: IntegerNetwork) -> dict[str, object]:
    """What the package says of a network."""
    inputs = torch.tensor(cases.inputs_of(network), dtype=torch.float64).transpose(0, 1)
    model, stored = TorchModel(Chain(network)), TorchModel(Stored(network))
    model.add_activation_module(SpikingNeuron)
    model.register_hooks()
    with torch.no_grad():
        predictions = model(inputs)
    data = (inputs, torch.zeros(len(inputs)))
    metrics = (ActivationSparsity, ActivationSparsityByLayer, SynapticOperations, MembraneUpdates, NeuronOperations)
    found: dict[str, object] = {kind.__name__: kind()(model, predictions, data) for kind in metrics}
    by_layer = found["ActivationSparsityByLayer"]
    assert isinstance(by_layer, dict)
    found["ActivationSparsityByLayer"] = list(by_layer.values())  # by its place in the module, in order
    static = {"Footprint": Footprint()(stored), "ParameterCount": ParameterCount()(stored)}
    sparsity = {"ConnectionSparsity": ConnectionSparsity()(model)}
    return {**static, **sparsity, **found, "spikes": int(predictions.sum())}


def main() -> None:
    """Measure and write."""
    result: dict[str, object] = {name: measured(network) for name, network in cases.networks().items()}
    result["made by"] = f"scripts/golden/neurobench_counts.py, neurobench {version('neurobench')}"
    TARGET.write_text(json.dumps(result, indent=2) + "\n")
    print(TARGET.read_text())


if __name__ == "__main__":
    main()
