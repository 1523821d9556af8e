"""Writes tests/golden/neurobench.json: what the neurobench package says of the plain network of the tests.

Needs neurobench 2.3, snntorch and torchaudio 2.3.1 (the release that fits torch 2.3.1) besides spikecut:

    pip install --group neurobench
    PYTHONPATH=tests/support python scripts/neurobench_golden.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import neurobench_network as plain
import torch
from neurobench.metrics.static import ConnectionSparsity, Footprint
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import TorchModel
from torch import nn

from spikecut.export.network.arrays import size
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork

TARGET = Path(__file__).resolve().parent.parent / "tests" / "golden" / "neurobench.json"


class Fire(nn.Module):
    """v += current; a spike where v > threshold, then v = 0."""

    def __init__(self) -> None:
        super().__init__()
        self.voltage: torch.Tensor | float = 0.0

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        """Spikes of one step."""
        voltage = self.voltage + current
        spikes = voltage > plain.THRESHOLD
        self.voltage = torch.where(spikes, 0.0, voltage)
        return spikes.float()


def synapse(layer: IntegerLayer) -> nn.Module:
    """The layer's torch module."""
    if layer.kind == "dense":
        module: nn.Module = nn.Linear(size(layer.input_shape), layer.output_shape[0], bias=False)
    else:
        channels, kernel = layer.input_shape[0], layer.weight.shape[2:]
        geometry = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
        module = nn.Conv2d(channels, layer.output_shape[0], kernel, bias=False, **geometry)
    module.weight = nn.Parameter(torch.tensor(layer.weight, dtype=torch.float32), requires_grad=False)
    return module


class Plain(nn.Module):
    """All steps of the network: [N, T, ...] to spikes of the last layer [N, T, classes]."""

    def __init__(self, network: IntegerNetwork) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for layer in network.layers:
            flatten = [nn.Flatten()] if layer.kind == "dense" and len(layer.input_shape) == 3 else []
            stages += [*flatten, synapse(layer), Fire()]
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


def main() -> None:
    """Measure and write."""
    network = plain.plain_network()
    inputs = torch.tensor(plain.plain_inputs(), dtype=torch.float32).transpose(0, 1)
    model = TorchModel(Plain(network))
    model.add_activation_module(Fire)
    model.register_hooks()
    with torch.no_grad():
        predictions = model(inputs)
    data = (inputs, torch.zeros(len(inputs)))
    result = {
        "Footprint": Footprint()(TorchModel(Stored(network))),
        "ConnectionSparsity": ConnectionSparsity()(model),
        "ActivationSparsity": ActivationSparsity()(model, predictions, data),
        "SynapticOperations": SynapticOperations()(model, predictions, data),
        "spikes": int(predictions.sum()),
        "made by": f"scripts/neurobench_golden.py, neurobench {version('neurobench')}",
    }
    TARGET.write_text(json.dumps(result, indent=2) + "\n")
    print(TARGET.read_text())


if __name__ == "__main__":
    main()
