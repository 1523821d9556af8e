"""A chain or graph of spiking stages: pooling, synapse, normalisation, neuron."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

import torch.nn.functional as functional
from torch import Tensor, nn

from spikecut.errors import InputError
from spikecut.models.layers.delayed import DelayedLinear
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm

Readout = Literal["count", "membrane"]
Synapse = nn.Conv2d | nn.Linear
Norm = nn.BatchNorm2d | nn.BatchNorm1d | TemporalEffectiveBatchNorm | nn.Identity


class Stage(nn.Module):
    """One layer: pooling, synapse and normalisation at each timestep, then the neuron over time.

    Attributes
    ----------
    name: unique in its network.
    synapse: nn.Conv2d or nn.Linear, bias optional; a Linear flattens what comes as (C, H, W) in torch's order. A
        DelayedLinear's messages come late.
    norm: nn.BatchNorm2d, nn.BatchNorm1d, TemporalEffectiveBatchNorm or nn.Identity.
    neuron: LeakyIntegrateFire, IntegrateFire, MembraneReadout or QCFS.
    pool: side of the non-overlapping average pooling before the synapse; 1 for none.
    """

    def __init__(self, name: str, synapse: Synapse, norm: Norm, neuron: nn.Module, pool: int = 1) -> None:
        super().__init__()
        self.name = name
        self.synapse: Synapse = synapse
        self.norm: Norm = norm
        self.neuron = neuron
        self.pool = pool

    def forward(self, inputs: Tensor, responses: list[Tensor] | None = None) -> Tensor:
        """What the stage before sent, [T, N, *] → what this one sends, [T, N, *].

        responses: where given, the neuron's response (see its `respond`) is appended, for RCS.
        """
        return self._fire(self.currents(inputs), responses)

    def currents(self, inputs: Tensor) -> Tensor:
        """Input currents of the neurons, [T, N, *]. InputError if the pooling does not divide the map."""
        return self._scaled(self._normalised(inputs))

    def _normalised(self, inputs: Tensor) -> Tensor:
        """The currents before the scales per timestep of TEBN."""
        frames = inputs.flatten(0, 1)
        if self.pool > 1:
            sides = tuple(frames.shape[2:])
            if any(side % self.pool for side in sides):
                raise InputError(f"stage {self.name}: a map of {sides} is not divisible by its pooling, {self.pool}")
            frames = functional.avg_pool2d(frames, self.pool)
        if isinstance(self.synapse, nn.Linear):
            frames = frames.flatten(1)
        norm = self.norm.norm if isinstance(self.norm, TemporalEffectiveBatchNorm) else self.norm
        if isinstance(self.synapse, DelayedLinear):
            sums = self.synapse.over_time(frames.reshape(*inputs.shape[:2], -1)).flatten(0, 1)
        else:
            sums = self.synapse(frames)
        currents: Tensor = norm(sums)
        return currents.reshape(*inputs.shape[:2], *currents.shape[1:])

    def _scaled(self, normalised: Tensor) -> Tensor:
        return self.norm.scaled(normalised) if isinstance(self.norm, TemporalEffectiveBatchNorm) else normalised

    def _fire(self, currents: Tensor, responses: list[Tensor] | None) -> Tensor:
        if responses is None:
            return cast(Tensor, self.neuron(currents))
        neuron: Any = self.neuron
        sent, response = neuron.respond(currents)
        responses.append(response)
        return cast(Tensor, sent)


class ResidualStage(Stage):
    """Two layers and a path around them: the neuron integrates norm(synapse(first(x))) + shortcut(x).

    He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016; the sum is one of currents. The
    scales per timestep of TEBN multiply the sum, so that both paths have the same.

    Attributes
    ----------
    first: the first of the two layers.
    shortcut: a stage without neuron (nn.Identity), or None, which adds x itself to the currents.
    """

    shortcut: nn.Module | None

    def __init__(
        self, name: str, first: Stage, synapse: Synapse, norm: Norm, neuron: nn.Module, shortcut: Stage | None = None
    ) -> None:
        super().__init__(name, synapse, norm, neuron)
        self.first = first
        self.shortcut = shortcut

    def forward(self, inputs: Tensor, responses: list[Tensor] | None = None) -> Tensor:
        """As that of a Stage; the responses of both layers are appended."""
        return self.join(inputs, self.first(inputs, responses), responses)

    def join(self, inputs: Tensor, middle: Tensor, responses: list[Tensor] | None = None) -> Tensor:
        """The second layer: what entered the block and what the first layer sent → what the block sends."""
        carried: Tensor = inputs if self.shortcut is None else self.shortcut(inputs)
        return self._fire(self._scaled(self._normalised(middle) + carried), responses)


class JoiningStage(Stage):
    """A layer that takes from any earlier layers: its neuron integrates norm(synapse(x)) + branch(x') + branch(x") + ….

    Attributes
    ----------
    sources: names of the stages that x, x', x", … come from, "" for the network's input.
    """

    sources: tuple[str, ...]

    def __init__(
        self,
        name: str,
        synapse: Synapse,
        norm: Norm,
        neuron: nn.Module,
        sources: Sequence[str],
        branches: Sequence[Stage] = (),
    ) -> None:
        super().__init__(name, synapse, norm, neuron)
        self.sources = tuple(sources)
        self.joined = nn.ModuleList(branches)

    def branches(self) -> list[Stage]:
        """The stages without neuron (nn.Identity) beside the layer's own synapse, one for each further source."""
        return [cast(Stage, branch) for branch in self.joined]

    def forward(self, inputs: Tensor, responses: list[Tensor] | None = None) -> Tensor:
        """InputError: what it takes is not one tensor."""
        raise InputError(f"stage {self.name}: takes from {len(self.sources)} sources; call join")

    def join(self, inputs: Sequence[Tensor], responses: list[Tensor] | None = None) -> Tensor:
        """What its sources sent, [T, N, *] each → what it sends, [T, N, *]."""
        currents = self._normalised(inputs[0])
        for branch, messages in zip(self.branches(), inputs[1:], strict=True):
            currents = currents + branch(messages)
        return self._fire(self._scaled(currents), responses)


class SpikingNetwork(nn.Module):
    """Stages in a chain, each of which takes what the one before sends; a JoiningStage takes from any earlier ones.

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

    def every_stage(self) -> Iterator[Stage]:
        """The stages of the chain and, before each, those inside it (of a ResidualStage or a JoiningStage)."""
        for stage in self.chain():
            yield from (inner for inner in stage.modules() if isinstance(inner, Stage) and inner is not stage)
            yield stage

    def layers(self) -> Iterator[Stage]:
        """The stages that fire or read out, one per layer of a bundle, in their order; of a ResidualStage two."""
        for stage in self.chain():
            if isinstance(stage, ResidualStage):
                yield stage.first
            yield stage

    @property
    def input_size(self) -> int:
        """Numbers in one frame."""
        return math.prod(self.input_shape)

    def forward(self, inputs: Tensor, responses: list[Tensor] | None = None) -> Tensor:
        """Frames [T, N, *input_shape] → scores per step [T, N, classes]. InputError for frames of another shape.

        responses: where given, the responses of all layers but the last are appended, input first.
        """
        if inputs.ndim < 3 or tuple(inputs.shape[2:]) != self.input_shape:
            raise InputError(
                f"frames of shape {tuple(inputs.shape)}: expected [T, N, {', '.join(map(str, self.input_shape))}]"
            )
        *hidden, output = self.chain()
        sent = {"": inputs}
        for stage in hidden:
            inputs = sent[stage.name] = self._step(stage, inputs, sent, responses)
        return self._step(output, inputs, sent, None)

    def _step(self, stage: Stage, before: Tensor, sent: dict[str, Tensor], responses: list[Tensor] | None) -> Tensor:
        if isinstance(stage, JoiningStage):
            return stage.join([sent[name] for name in stage.sources], responses)
        return cast(Tensor, stage(before) if responses is None else stage(before, responses))
