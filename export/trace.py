"""A trained torch network → FloatNetwork, layer by layer, before any folding."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from spikecut.errors import CheckpointError, UnsupportedError
from spikecut.export.graph import BatchNorm, FloatLayer, FloatNetwork, FloatNeuron, InputSpec, Pair, Reset, Shape
from spikecut.models.convert import fold_pooling, qcfs_to_spiking
from spikecut.models.layers.qcfs import QCFS
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm
from spikecut.models.network import ResidualStage, SpikingNetwork, Stage
from spikecut.models.neurons.current_based import CurrentBased
from spikecut.models.neurons.integrate_fire import IntegrateFire, MembraneReadout
from spikecut.models.neurons.leaky import LeakyIntegrateFire


def spiking_form(network: SpikingNetwork) -> SpikingNetwork:
    """The network as it will spike, in eval mode: integrate-and-fire in place of QCFS, pooling folded into weights."""
    if any(isinstance(stage.neuron, QCFS) for stage in network.every_stage()):
        network = qcfs_to_spiking(network)
    if any(stage.pool > 1 for stage in network.chain()) and not _residual(network):
        network = fold_pooling(network)
    return network.eval()


def _residual(network: SpikingNetwork) -> bool:
    return any(isinstance(stage, ResidualStage) for stage in network.chain())


def input_spec(recipe: Mapping[str, Any], shape: Shape) -> InputSpec:
    """InputSpec from a checkpoint's recipe; CheckpointError if a field is missing."""
    try:
        fields = recipe["input"]
        return InputSpec(
            shape=shape,
            encoding=fields["encoding"],
            bits=int(fields["bits"]),
            signed=bool(fields["signed"]),
            scale=float(fields["scale"]),
            zero=float(fields["zero"]),
            seed=int(fields["seed"]),
            labels=tuple(str(label) for label in recipe["labels"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint's recipe does not describe its input ({error}); train again") from error


def trace(network: SpikingNetwork, spec: InputSpec, horizon: int) -> FloatNetwork:
    """Read the weights, norms and neurons of a spiking network.

    Raises
    ------
    UnsupportedError: a module that has no counterpart, with its name.
    """
    shape: Shape = tuple(network.input_shape)
    layers: list[FloatLayer] = []
    for stage in network.chain():
        layers.append(_layer(stage, shape))
        shape = layers[-1].output_shape
    return FloatNetwork(tuple(layers), spec, network.readout, horizon)


def _layer(stage: Stage, shape: Shape) -> FloatLayer:
    if isinstance(stage, ResidualStage):
        raise UnsupportedError(f"layer {stage.name}: a residual connection; a bundle is a chain of layers")
    synapse = stage.synapse
    weight = _numpy(synapse.weight)
    bias = np.zeros(weight.shape[0]) if synapse.bias is None else _numpy(synapse.bias)
    norm = _batch_norm(stage)
    neuron = _neuron(stage)
    if isinstance(stage.norm, TemporalEffectiveBatchNorm):
        neuron = replace(neuron, gain=tuple(_numpy(stage.norm.scale).tolist()))
    if isinstance(synapse, nn.Linear):
        return FloatLayer(stage.name, "dense", weight, bias, neuron, shape, (weight.shape[0],), norm)
    if synapse.padding_mode != "zeros" or isinstance(synapse.padding, str):
        raise UnsupportedError(f"layer {stage.name}: only zero padding of a given width has a counterpart on the chip")
    with torch.no_grad():
        output = tuple(synapse(torch.zeros(1, *shape, dtype=synapse.weight.dtype)).shape[1:])
    return FloatLayer(
        name=stage.name,
        kind="conv",
        weight=weight,
        bias=bias,
        neuron=neuron,
        input_shape=shape,
        output_shape=output,
        batch_norm=norm,
        stride=_pair(synapse.stride),
        padding=_pair(synapse.padding),
        dilation=_pair(synapse.dilation),
        groups=synapse.groups,
    )


def _batch_norm(stage: Stage) -> BatchNorm | None:
    norm = stage.norm.norm if isinstance(stage.norm, TemporalEffectiveBatchNorm) else stage.norm
    if isinstance(norm, nn.Identity):
        return None
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        raise UnsupportedError(f"layer {stage.name}: {type(norm).__name__} cannot be folded; use batch norm or none")
    if norm.running_mean is None or norm.running_var is None:
        raise UnsupportedError(f"layer {stage.name}: a batch norm without running statistics cannot be folded")
    count = norm.num_features
    gamma = np.ones(count) if norm.weight is None else _numpy(norm.weight)
    beta = np.zeros(count) if norm.bias is None else _numpy(norm.bias)
    return BatchNorm(gamma, beta, _numpy(norm.running_mean), _numpy(norm.running_var), norm.eps)


def _neuron(stage: Stage) -> FloatNeuron:
    neuron = stage.neuron
    if isinstance(neuron, LeakyIntegrateFire):
        reset: Reset = "zero" if neuron.reset == "hard" else "subtract"
        return FloatNeuron(threshold=float(neuron.threshold), decay_v=float(neuron.decay), reset=reset)
    if isinstance(neuron, IntegrateFire):
        return FloatNeuron(
            threshold=float(neuron.threshold),
            v_init=float(neuron.v_init),
            reset="subtract",
            fires=">=",
            amplitude=float(neuron.amplitude),
        )
    if isinstance(neuron, CurrentBased):
        return _current_based(neuron)
    if isinstance(neuron, MembraneReadout):
        return FloatNeuron(threshold=0.0, reset="none")
    raise UnsupportedError(
        f"layer {stage.name}: no Process implements {type(neuron).__name__}; use LeakyIntegrateFire, IntegrateFire or "
        "MembraneReadout"
    )


def _current_based(neuron: CurrentBased) -> FloatNeuron:
    if neuron.threshold is None:
        return FloatNeuron(threshold=0.0, decay_u=neuron.decay_u, decay_v=neuron.decay_v, reset="none")
    return FloatNeuron(
        threshold=neuron.threshold,
        decay_u=neuron.decay_u,
        decay_v=neuron.decay_v,
        reset="zero" if neuron.reset == "hard" else "subtract",
        reset_order="before_leak" if neuron.delayed_reset else "after_leak",
        fires=">=" if neuron.at_equality else ">",
    )


def _numpy(tensor: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)


def _pair(values: tuple[int, ...] | int | str) -> Pair:
    if isinstance(values, int):
        return values, values
    return int(values[0]), int(values[-1])
