"""What a NIR graph says, node by node in torch, with nothing folded: the independent witness of an import.

It shares the reading of the file and the framework's rules (nir_time) with the import, but neither its algebra nor its
neurons: pooling pools, a scale scales, and every neuron integrates with its own tau, r, v_leak and v_reset.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

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
        frames = frames.double().reshape(*frames.shape[:2], *self.shape)
        fed = {source for each in self.placed for source in each.back}
        neurons: Stateful = {
            place: _Neuron(each.node, self.time, place in fed)
            for place, each in enumerate(self.placed)
            if each.node.kind in NEURONS
        }
        late = {place: each.node for place, each in enumerate(self.placed) if each.node.kind == "Delay"}
        neurons = {
            **neurons,
            **{place: _Late(node, self.time) for place, node in late.items() if node.numbers["delay"].any()},
        }
        if not any(each.back for each in self.placed):
            return self._sent(frames, neurons, None)
        steps: list[list[Tensor]] = []
        for frame in frames:
            steps.append(self._sent(frame[None], neurons, steps[-1] if steps else None))
        return [torch.cat(each) for each in zip(*steps, strict=True)]

    def _sent(
        self, frames: Tensor, neurons: "Mapping[int, _Neuron | _Late]", before: list[Tensor] | None
    ) -> list[Tensor]:
        """What every node sends at some timesteps; before: at the one before, None before the first."""
        found: list[Tensor] = []
        for place, each in enumerate(self.placed):
            given = [found[source] for source in each.sources]
            if before is not None:
                given += [before[source] for source in each.back]
            if given:
                sent = torch.stack(given).sum(0)
            elif each.back:
                sent = self._nothing(each, found)
            else:
                sent = frames
            if place in neurons:
                sent = torch.stack([neurons[place].step(x) for x in sent])
            elif each.node.kind not in PASSING:
                flat = _linear(each.node, sent.flatten(0, 1))
                sent = flat.reshape(*sent.shape[:2], *flat.shape[1:])
            found.append(sent)
        return found

    def _nothing(self, placed: Placed, found: list[Tensor]) -> Tensor:
        """What comes back at the first timestep: zeros of the neurons' shape, which is that of what they get."""
        for source in self.placed[placed.back[0]].sources:
            if source < len(found):
                return torch.zeros_like(found[source])
        columns = placed.node.numbers["weight"].shape[1]
        return torch.zeros(1, len(found[0][0]), columns, dtype=torch.float64)


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


class _Neuron:
    """One neuron node through time, from rest; fed: by its own messages, too."""

    def __init__(self, node: NirNode, time: Discretisation, fed: bool) -> None:
        self.node, self.time, self.fed = node, time, fed
        self.current: Tensor | float = 0.0
        self.late: Tensor | float = 0.0
        self.v: Tensor | None = None
        self.held: Tensor | None = None

    def _parameter(self, key: str, x: Tensor) -> Tensor:
        values = torch.tensor(self.node.numbers[key], dtype=torch.float64)
        return values.reshape(x.shape[1:]) if values.numel() > 1 else values.reshape(1)

    def _lost(self, key: str, x: Tensor) -> Tensor:
        ratio: Tensor = self.time.step(self.node.name) / self._parameter(key, x)
        return 1 - torch.exp(-ratio) if self.time.integration == "exponential" else ratio

    # The equations of every kind of neuron stand side by side, as in the paper.
    def step(self, x: Tensor) -> Tensor:
        """Currents of a timestep [N, ...] → spikes, or the increment of the membrane."""
        node, time = self.node, self.time
        fires_at_equality = time.fires_at_equality
        if node.kind == "Threshold":
            threshold = self._parameter("threshold", x)
            over: Tensor = x >= threshold if fires_at_equality else x > threshold
            return over.double()
        zero = torch.zeros(1, dtype=torch.float64)
        cuba, fires = node.kind.startswith("Cuba"), node.kind.endswith("IF")
        keeps_all = node.kind in ("I", "IF")
        r = self._parameter("r", x)
        loss = zero if keeps_all else self._lost("tau_mem" if cuba else "tau", x)
        leak = zero if keeps_all else self._parameter("v_leak", x)
        if keeps_all:
            gain = r * time.step(node.name) if time.integrator_uses_dt else r
        else:
            gain = r * loss if (time.scales_input if fires else time.scales_leaky_readout) else r
        reset = self._parameter("v_reset", x) if "v_reset" in node.numbers else zero
        if self.v is None:
            self.v = torch.zeros_like(x) + {"zero": zero, "leak": leak, "reset": reset}[time.starts_at]
        before = self.v
        if cuba:
            jump = (self._parameter("w_in", x) if "w_in" in node.numbers else 1.0) * x
            kept, lost = self.current, self._lost("tau_syn", x)
            self.current = x = kept - lost.clamp(min=0) * kept + (jump if time.synapse_jumps else lost * jump)
        v = self.v = before + loss.clamp(min=0) * (leak - before) + gain * x - self.late
        if self.held is not None:
            v = self.v = torch.where(self.held, reset, v)
        if not fires:
            return v - before
        threshold = self._parameter("v_threshold", x)
        spike = v >= threshold if fires_at_equality else v > threshold
        count = torch.floor(v / threshold) * spike if time.spikes == "multi" else spike.double()
        if time.reset == "zero":
            late = time.drops_input and time.reset_order == "next_step"
            self.held = spike if late and (cuba or self.fed) else None  # at v_reset in the next timestep, by snnTorch
            self.v = torch.where(spike, reset.expand_as(v), v)
        elif time.reset_order == "next_step":
            self.late = threshold * count
        else:
            self.v = v - threshold * count
        return count


class _Late:
    """A Delay through time: x(t - delay), and nothing before the first timestep."""

    def __init__(self, node: NirNode, time: Discretisation) -> None:
        self.steps = torch.tensor(node.numbers["delay"] / time.step(node.name)).round().long()
        self.past: list[Tensor] = []

    def step(self, x: Tensor) -> Tensor:
        """A timestep [N, ...] → what was sent so many before."""
        self.past.append(x)
        steps = self.steps.reshape(x.shape[1:]) if self.steps.numel() > 1 else self.steps.reshape(1)
        sent = torch.zeros_like(x)
        for number, before in enumerate(reversed(self.past)):
            sent = torch.where(steps == number, before, sent)
        return sent


Stateful: TypeAlias = Mapping[int, _Neuron | _Late]
"""What has a past, by its place."""


def _whole(node: NirNode, key: str) -> list[int]:
    return [int(value) for value in node.numbers[key].reshape(-1)]


def _pair(node: NirNode, key: str) -> tuple[int, int]:
    values = _whole(node, key)
    return values[0], values[-1]
