"""A chain of spiking stages: synapse, normalisation, neuron."""

import math
from collections.abc import Iterator
from typing import Literal, cast

from torch import Tensor, nn

from spikecut.errors import InputError

Readout = Literal["count", "membrane"]
Synapse = nn.Conv2d | nn.Linear
Norm = nn.BatchNorm2d | nn.BatchNorm1d | nn.Identity


class Stage(nn.Module):
    """One layer: synapse and normalisation at each timestep, then the neuron over time.

    Attributes
    ----------
    name: unique in its network.
    synapse: nn.Conv2d or nn.Linear, bias optional; a Linear flattens what comes as (C, H, W) in torch's order.
    norm: nn.BatchNorm2d, nn.BatchNorm1d or nn.Identity.
    neuron: LeakyIntegrateFire, IntegrateFire, MembraneReadout or QCFS.
    """

    def __init__(self, name: str, synapse: Synapse, norm: Norm, neuron: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.synapse: Synapse = synapse
        self.norm: Norm = norm
        self.neuron = neuron

    def forward(self, inputs: Tensor) -> Tensor:
        """What the stage before sent, [T, N, *] → what this one sends, [T, N, *]."""
        timesteps, samples = inputs.shape[:2]
        frames = inputs.flatten(0, 1)
        if isinstance(self.synapse, nn.Linear):
            frames = frames.flatten(1)
        currents: Tensor = self.norm(self.synapse(frames))
        sent: Tensor = self.neuron(currents.reshape(timesteps, samples, *currents.shape[1:]))
        return sent


class SpikingNetwork(nn.Module):
    """Stages in a chain.

    Attributes
    ----------
    stages: nn.ModuleList of Stage, input first.
    readout: "count": the score of a step is the output's spikes; "membrane": the output's current.
    input_shape: (C, H, W) or (F,) of one frame.

    InputError for a readout of another name, an input shape of another rank, no stages, or two of one name.
    """

    def __init__(self, stages: list[Stage], readout: Readout, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        if readout not in ("count", "membrane"):
            raise InputError(f"readout {readout!r}: expected count or membrane")
        if len(input_shape) not in (1, 3) or min(input_shape) < 1:
            raise InputError(f"input shape {input_shape}: expected (features,) or (channels, height, width)")
        if not stages or len({stage.name for stage in stages}) != len(stages):
            raise InputError("a network needs at least one stage, each of a name of its own")
        self.stages = nn.ModuleList(stages)
        self.readout: Readout = readout
        self.input_shape = tuple(input_shape)

    def chain(self) -> Iterator[Stage]:
        """The stages, input first, typed."""
        return (cast(Stage, stage) for stage in self.stages)

    @property
    def input_size(self) -> int:
        """Numbers in one frame."""
        return math.prod(self.input_shape)

    def forward(self, inputs: Tensor) -> Tensor:
        """Frames [T, N, *input_shape] → scores per step [T, N, classes]. InputError for frames of another shape."""
        if inputs.ndim < 3 or tuple(inputs.shape[2:]) != self.input_shape:
            raise InputError(
                f"frames of shape {tuple(inputs.shape)}: expected [T, N, {', '.join(map(str, self.input_shape))}]"
            )
        for stage in self.chain():
            inputs = stage(inputs)
        return inputs
