"""Quantisation-aware training: the forward computes with the weights that export will round to."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikecut.errors import InputError
from spikecut.fixed_point import WEIGHT_BITS_MAXIMUM, WEIGHT_BITS_MINIMUM
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm
from spikecut.models.network import Norm, ResidualStage, SpikingNetwork


class RoundedWeights(nn.Module):
    """w' = round(w g / δ) δ / g with δ = max|w g| / (2^(bits-1) - 1), the gradient passed straight through.

    Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR
    2018, with the batch norm folded as export folds it: g = γ / √(σ² + ε) of the running statistics, per channel, 1
    without a norm. w g / δ are then the mantissas of the exported weights. Channels with γ = 0 are left alone.
    """

    def __init__(self, norm: Norm, bits: int) -> None:
        super().__init__()
        self.norms = (norm,)  # in a tuple, since it belongs to its stage
        self.levels = 2 ** (bits - 1) - 1

    def forward(self, weight: Tensor) -> Tensor:
        """Weights (O, ...) → the rounded ones of the same shape."""
        with torch.no_grad():
            gain = self._gain(weight).view(-1, *[1] * (weight.ndim - 1))
            folded = weight * gain
            step = (folded.abs().max() / self.levels).clamp(min=torch.finfo(weight.dtype).tiny)
            rounded = torch.where(gain == 0, weight, torch.round(folded / step) * step / gain)
            error = rounded - weight
        return weight + error

    def _gain(self, weight: Tensor) -> Tensor:
        (norm,) = self.norms
        if isinstance(norm, TemporalEffectiveBatchNorm):
            norm = norm.norm
        if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) or norm.running_var is None:
            return weight.new_ones(len(weight))
        return norm.weight / torch.sqrt(norm.running_var + norm.eps)


def round_while_training(network: SpikingNetwork, bits: int) -> None:
    """Let every synapse compute with rounded weights, until `keep_rounded`.

    InputError for a network with residual blocks, where two synapses share a scale, or bits outside 5 to 8.
    """
    if not WEIGHT_BITS_MINIMUM <= bits <= WEIGHT_BITS_MAXIMUM:
        raise InputError(
            f"--weight-bits {bits}: expected {WEIGHT_BITS_MINIMUM} to {WEIGHT_BITS_MAXIMUM}, the widths that "
            "export takes"
        )
    stages = list(network.chain())
    if any(isinstance(stage, ResidualStage) for stage in stages):
        raise InputError("--weight-bits: the two paths of a residual block share a scale; train it without")
    for stage in stages:
        parametrize.register_parametrization(stage.synapse, "weight", RoundedWeights(stage.norm, bits))


def keep_rounded(network: SpikingNetwork) -> None:
    """Leave the rounded weights in place of those that were trained."""
    for stage in network.chain():
        if parametrize.is_parametrized(stage.synapse, "weight"):
            parametrize.remove_parametrizations(stage.synapse, "weight", leave_parametrized=True)
