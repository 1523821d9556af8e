"""From a trained network to the one that is deployed: QCFS becomes spikes, pooling becomes part of the weights."""

import copy

import torch
from torch import nn

from spikecut.errors import InputError
from spikecut.models.layers.qcfs import QCFS
from spikecut.models.network import ResidualStage, SpikingNetwork, Stage
from spikecut.models.neurons.integrate_fire import IntegrateFire


def qcfs_to_spiking(network: SpikingNetwork) -> SpikingNetwork:
    """A copy in which every QCFS activation is an IntegrateFire neuron with threshold λ, v(0) = λ/2, amplitude λ.

    Bu et al., "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural networks", ICLR 2022.
    InputError if there is no QCFS activation, or if training left a λ that is not positive.
    """
    spiking = copy.deepcopy(network)
    converted = 0
    for stage in spiking.every_stage():
        if isinstance(stage.neuron, QCFS):
            threshold = stage.neuron.threshold.item()
            if not threshold > 0:
                raise InputError(f"stage {stage.name}: the trained threshold λ is {threshold}; train again")
            stage.neuron = IntegrateFire(threshold, threshold / 2)
            converted += 1
    if not converted:
        raise InputError("the network has no QCFS activation to convert")
    return spiking


def fold_pooling(network: SpikingNetwork) -> SpikingNetwork:
    """A copy of the chain without pooling layers, which computes the same sums.

    Average pooling of side p followed by a convolution (k, stride s, padding a) is one convolution with each weight
    repeated p × p times and divided by p²: kernel k · p, stride s · p, padding a · p. A dense layer is repeated alike.
    InputError for a dilated convolution behind a pooling.
    """
    folded = copy.deepcopy(network)
    shape = folded.input_shape
    for stage in folded.chain():
        if isinstance(stage, ResidualStage):
            if isinstance(stage.shortcut, Stage):
                _without_pooling(stage.shortcut, shape)
            shape = _without_pooling(stage.first, shape)
        shape = _without_pooling(stage, shape)
    return folded


def _without_pooling(stage: Stage, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Fold the pooling of one stage that takes this shape; the shape that it gives."""
    pooled = (shape[0], *(side // stage.pool for side in shape[1:]))
    with torch.no_grad():
        frame = torch.zeros(1, *pooled, dtype=stage.synapse.weight.dtype)
        sent = stage.synapse(frame.flatten(1) if isinstance(stage.synapse, nn.Linear) else frame)
        if stage.pool > 1:
            _fold(stage, pooled)
    return tuple(sent.shape[1:])


def _fold(stage: Stage, pooled: tuple[int, ...]) -> None:
    synapse, pool = stage.synapse, stage.pool
    if isinstance(synapse, nn.Linear):
        weight = _repeated(synapse.weight.view(-1, *pooled), pool).flatten(1)
        wider: nn.Linear | nn.Conv2d = nn.Linear(weight.shape[1], weight.shape[0], bias=synapse.bias is not None)
    else:
        if any(step != 1 for step in synapse.dilation):
            raise InputError(f"stage {stage.name}: a dilated convolution behind a pooling cannot be folded")
        if isinstance(synapse.padding, str):
            raise InputError(f"stage {stage.name}: padding {synapse.padding!r}: give its width as numbers")
        weight = _repeated(synapse.weight, pool)
        wider = nn.Conv2d(
            synapse.in_channels,
            synapse.out_channels,
            kernel_size=_times(synapse.kernel_size, pool),
            stride=_times(synapse.stride, pool),
            padding=_times(synapse.padding, pool),
            groups=synapse.groups,
            bias=synapse.bias is not None,
        )
    wider.weight = nn.Parameter(weight, requires_grad=synapse.weight.requires_grad)
    wider.bias = synapse.bias
    stage.synapse = wider
    stage.pool = 1


def _times(sides: tuple[int, ...], pool: int) -> tuple[int, int]:
    return sides[0] * pool, sides[1] * pool


def _repeated(weight: torch.Tensor, pool: int) -> torch.Tensor:
    return weight.repeat_interleave(pool, 2).repeat_interleave(pool, 3) / pool**2
