"""Synapses of an import as modules of torch."""

import torch
from torch import nn

from spikecut.export.importers.linear import Synapse
from spikecut.models.layers.delayed import DelayedLinear


def synapse_module(synapse: Synapse) -> nn.Conv2d | nn.Linear:
    """The synapse in torch, float64, without gradients."""
    weight = torch.tensor(synapse.weight)
    module: nn.Conv2d | nn.Linear
    has_bias = bool(synapse.bias.any())
    if synapse.delay is not None:
        module = DelayedLinear(weight, torch.tensor(synapse.delay))
    elif synapse.kind == "dense":
        module = nn.Linear(weight.shape[1], weight.shape[0], bias=has_bias, device="meta")
    else:
        module = nn.Conv2d(
            synapse.input_shape[0],
            weight.shape[0],
            (weight.shape[2], weight.shape[3]),
            synapse.stride,
            synapse.padding,
            synapse.dilation,
            synapse.groups,
            bias=has_bias,
            device="meta",
        )
    module.weight = nn.Parameter(weight, requires_grad=False)
    module.bias = nn.Parameter(torch.tensor(synapse.bias), requires_grad=False) if has_bias else None
    return module
