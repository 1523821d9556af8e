"""What a NIR graph says, node by node in torch, with nothing folded: the independent witness of an import.

It shares the reading of the file and the framework's rules (nir_time) with the import, but neither its algebra nor its
neurons: pooling pools, a scale scales, and every neuron integrates with its own tau, r, v_leak and v_reset.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikecut.export.network.arrays import Shape
from spikecut.export.nir.discretisation import Discretisation
from spikecut.export.nir.file import NirNode
from spikecut.export.nir.neurons import NEURONS
from spikecut.export.nir.order import Placed

PASSING = ("Input", "Output", "Delay")
"""Nodes that send what they get."""


class NirWitness(nn.Module):
    """The nodes over time, float64; what feeds one of them adds up.

    Frames [T, N, *input_shape] → scores per step [T, N, classes]: spikes, increments of a membrane that does not fire,
    or the currents of a last node without neurons.
    """

    def __init__(self, placed: Sequence[Placed], time: Discretisation, input_shape: Shape) -> None:
        super().__init__()
        self.placed = tuple(placed)
        self.time = time
        line = any(each.node.kind == "Conv1d" for each in placed)
        self.shape = (input_shape[0], input_shape[2]) if line else input_shape

    def forward(self, frames: Tensor) -> Tensor:
        """See above; float64."""
        return self._all(frames)[-1].flatten(2)

    def record(self, frames: Tensor) -> dict[str, Tensor]:
        """What every node sends, name → [T, N, ...], float64."""
        sent = zip(self.placed, self._all(frames), strict=True)
        return {each.node.name: messages for each, messages in sent if each.node.kind not in PASSING}

    def _all(self, frames: Tensor) -> list[Tensor]:
        """What every node sends, in their order."""
        found: list[Tensor] = []
        for each in self.placed:
            sent = frames.double().reshape(*frames.shape[:2], *self.shape)
            if each.sources:
                sent = torch.stack([found[source] for source in each.sources]).sum(0)
            if each.node.kind in NEURONS:
                sent = neuron_over_time(each.node, self.time, sent)
            elif each.node.kind not in PASSING:
                flat = _linear(each.node, sent.flatten(0, 1))
                sent = flat.reshape(*sent.shape[:2], *flat.shape[1:])
            found.append(sent)
        return found


def _linear(node: NirNode, x: Tensor) -> Tensor:
    """One linear node on samples [N, ...]."""
    numbers = {key: torch.tensor(values, dtype=torch.float64) for key, values in node.numbers.items()}
    if node.kind == "Flatten":
        return x.flatten(1)
    if node.kind == "Scale":
        return x * numbers["scale"].reshape(numbers["scale"].shape or (1,))
    if node.kind in ("Affine", "Linear"):
        return functional.linear(x, numbers["weight"], numbers.get("bias"))
    if node.kind == "Conv1d":
        options = [_whole(node, key)[0] for key in ("stride", "dilation", "groups")]
        padding: Any = node.texts.get("padding") or _whole(node, "padding")[-1]
        return functional.conv1d(x, numbers["weight"], numbers["bias"], options[0], padding, *options[1:])
    if node.kind == "Conv2d":
        stride, dilation = _pair(node, "stride"), _pair(node, "dilation")
        groups = _whole(node, "groups")[0]
        if node.texts.get("padding") == "same":  # torch does the same, but warns of an even kernel
            spans = [d * (k - 1) for d, k in zip(dilation, numbers["weight"].shape[2:], strict=True)]
            x = functional.pad(x, (spans[1] // 2, -(-spans[1] // 2), spans[0] // 2, -(-spans[0] // 2)))
            padding = (0, 0)
        else:
            padding = node.texts.get("padding") or _pair(node, "padding")
        return functional.conv2d(x, numbers["weight"], numbers["bias"], stride, padding, dilation, groups)
    kernel = _pair(node, "kernel_size")
    padding = _pair(node, "padding")
    padded = functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    pooled = functional.avg_pool2d(padded, kernel, _pair(node, "stride"))
    return pooled * (kernel[0] * kernel[1]) if node.kind == "SumPool2d" else pooled


# Two lines over 50: the equations of every kind of neuron stand side by side, as in the paper.
def neuron_over_time(node: NirNode, time: Discretisation, currents: Tensor) -> Tensor:
    """One neuron node: currents [T, N, ...] → spikes, or increments of the membrane."""

    def parameter(key: str) -> Tensor:
        values = torch.tensor(node.numbers[key], dtype=torch.float64)
        return values.reshape(currents.shape[2:]) if values.numel() > 1 else values.reshape(1)

    def lost(key: str) -> Tensor:
        ratio: Tensor = time.step(node.name) / parameter(key)
        return 1 - torch.exp(-ratio) if time.integration == "exponential" else ratio

    zero = torch.zeros(1, dtype=torch.float64)
    fires_at_equality = time.fires_at_equality
    if node.kind == "Threshold":
        threshold = parameter("threshold")
        over: Tensor = currents >= threshold if fires_at_equality else currents > threshold
        return over.double()
    cuba, fires = node.kind.startswith("Cuba"), node.kind.endswith("IF")
    keeps_all = node.kind in ("I", "IF")
    r = parameter("r")
    loss = zero if keeps_all else lost("tau_mem" if cuba else "tau")
    leak = zero if keeps_all else parameter("v_leak")
    if keeps_all:
        gain = r * time.step(node.name) if time.integrator_uses_dt else r
    else:
        gain = r * loss if (time.scales_input if fires else time.scales_leaky_readout) else r
    reset = parameter("v_reset") if "v_reset" in node.numbers else zero
    start = {"zero": zero, "leak": leak, "reset": reset}[time.starts_at]
    v = torch.zeros_like(currents[0]) + start
    i = torch.zeros_like(v)
    late = torch.zeros_like(v)
    sent = []
    for x in currents:
        before = v
        if cuba:
            jump = (parameter("w_in") if "w_in" in node.numbers else 1.0) * x
            i = i - lost("tau_syn").clamp(min=0) * i + (jump if time.synapse_jumps else lost("tau_syn") * jump)
            x = i
        v = v + loss.clamp(min=0) * (leak - v) + gain * x - late
        if not fires:
            sent.append(v - before)
            continue
        threshold = parameter("v_threshold")
        spike = v >= threshold if fires_at_equality else v > threshold
        count = torch.floor(v / threshold) * spike if time.spikes == "multi" else spike.double()
        if time.reset == "zero":
            v = torch.where(spike, reset.expand_as(v), v)
        elif time.reset_order == "next_step":
            late = threshold * count
        else:
            v = v - threshold * count
        sent.append(count)
    return torch.stack(sent)


def _whole(node: NirNode, key: str) -> list[int]:
    return [int(value) for value in node.numbers[key].reshape(-1)]


def _pair(node: NirNode, key: str) -> tuple[int, int]:
    values = _whole(node, key)
    return values[0], values[-1]
