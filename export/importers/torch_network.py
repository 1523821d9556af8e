"""A trained torch network → FloatNetwork, layer by layer, before any folding."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from spikecut.errors import CheckpointError, UnsupportedError
from spikecut.export.network.adaptation import FloatAdaptation
from spikecut.export.network.arrays import BatchNorm, Pair, Shape
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import FloatLayer, FloatNetwork
from spikecut.export.network.neurons import FloatNeuron
from spikecut.export.network.parameters import FloatParameter
from spikecut.export.network.skip import INPUT, FloatSkip
from spikecut.models.conversion import fold_pooling, qcfs_to_spiking
from spikecut.models.layers.delayed import DelayedLinear
from spikecut.models.layers.qcfs import QCFS
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm
from spikecut.models.network import JoiningStage, ResidualStage, SpikingNetwork, Stage
from spikecut.models.neurons.current_based import CurrentBased
from spikecut.models.neurons.integrate_fire import IntegrateFire, MembraneReadout
from spikecut.models.neurons.leaky import LeakyIntegrateFire


def spiking_form(network: SpikingNetwork) -> SpikingNetwork:
    """The network as it will spike, in eval mode: integrate-and-fire in place of QCFS, pooling folded into weights."""
    if any(isinstance(stage.neuron, QCFS) for stage in network.every_stage()):
        network = qcfs_to_spiking(network)
    if any(stage.pool > 1 for stage in network.every_stage()):
        network = fold_pooling(network)
    return network.eval()


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
    point: tuple[str, Shape] = INPUT, tuple(network.input_shape)
    shapes = {"": point[1]}
    layers: list[FloatLayer] = []
    for stage in network.chain():
        skips: tuple[FloatSkip, ...] = ()
        source = None
        if isinstance(stage, ResidualStage):
            layers.append(_layer(stage.first, point[1]))
            skips = (_skip(stage, *point),)
            point = stage.first.name, layers[-1].output_shape
        if isinstance(stage, JoiningStage):
            source = stage.sources[0] or INPUT
            point = source, shapes[stage.sources[0]]
            skips = tuple(
                FloatSkip(source=name or INPUT, **_synapse(branch, shapes[name]))
                for name, branch in zip(stage.sources[1:], stage.branches(), strict=True)
            )
        layers.append(replace(_layer(stage, point[1]), skips=skips, source=source))
        point = stage.name, layers[-1].output_shape
        shapes[stage.name] = point[1]
    return FloatNetwork(tuple(layers), spec, network.readout, horizon)


def _skip(stage: ResidualStage, source: str, shape: Shape) -> FloatSkip:
    """The shortcut of a block that takes this shape: a projection, or what adds every message to its own neuron."""
    shortcut, channels = stage.shortcut, shape[0]
    if isinstance(shortcut, Stage) and isinstance(shortcut.norm, TemporalEffectiveBatchNorm):
        raise UnsupportedError(
            f"layer {stage.name}: TEBN scales each timestep of its shortcut alone, and a layer has one scale for both "
            "of its paths; give the shortcut a batch norm"
        )
    if shortcut is None:
        bias = np.zeros(channels)
        if isinstance(stage.synapse, nn.Linear):
            return FloatSkip(source, "dense", np.eye(channels), bias, shape, shape)
        return FloatSkip(source, "conv", np.ones((channels, 1, 1, 1)), bias, shape, shape, groups=channels)
    if not isinstance(shortcut, Stage) or not isinstance(shortcut.neuron, nn.Identity):
        raise UnsupportedError(f"layer {stage.name}: its shortcut has a neuron, or is unknown; use a stage without one")
    if shortcut.pool > 1:
        raise UnsupportedError(f"layer {stage.name}: its shortcut pools; fold the pooling first")
    return FloatSkip(source=source, **_synapse(shortcut, shape))


def _layer(stage: Stage, shape: Shape) -> FloatLayer:
    neuron = _neuron(stage)
    if isinstance(stage.norm, TemporalEffectiveBatchNorm):
        neuron = replace(neuron, gain=tuple(_numpy(stage.norm.scale).tolist()))
    back = stage.neuron.recurrent if isinstance(stage.neuron, CurrentBased) else None
    recurrent = None if back is None else _numpy(back)
    synapse = stage.synapse
    delay = np.array(synapse.delay.numpy(), dtype=np.int64) if isinstance(synapse, DelayedLinear) else None
    return FloatLayer(name=stage.name, neuron=neuron, recurrent=recurrent, delay=delay, **_synapse(stage, shape))


def _synapse(stage: Stage, shape: Shape) -> dict[str, Any]:
    """What a layer and a projection have in common: the fields of the synapse of a stage that takes this shape."""
    synapse = stage.synapse
    weight = _numpy(synapse.weight)
    outputs = weight.shape[0]
    shared = {
        "weight": weight,
        "bias": np.zeros(outputs) if synapse.bias is None else _numpy(synapse.bias),
        "batch_norm": _batch_norm(stage),
        "input_shape": shape,
    }
    if isinstance(synapse, nn.Linear):
        return {**shared, "kind": "dense", "output_shape": (outputs,)}
    if synapse.padding_mode != "zeros" or isinstance(synapse.padding, str):
        raise UnsupportedError(f"layer {stage.name}: only zero padding of a given width has a counterpart on the chip")
    with torch.no_grad():
        output = tuple(synapse(torch.zeros(1, *shape, dtype=synapse.weight.dtype)).shape[1:])
    return {
        **shared,
        "kind": "conv",
        "output_shape": output,
        "stride": _pair(synapse.stride),
        "padding": _pair(synapse.padding),
        "dilation": _pair(synapse.dilation),
        "groups": synapse.groups,
    }


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
        return FloatNeuron(threshold=float(neuron.threshold), decay_v=float(neuron.decay), reset=neuron.reset)
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
    decay_u, decay_v, v_init = (_parameter(each) for each in (neuron.decay_u, neuron.decay_v, neuron.v_init))
    if neuron.threshold is None:
        return FloatNeuron(threshold=0.0, decay_u=decay_u, decay_v=decay_v, reset="none", bias_enters="current")
    return FloatNeuron(
        threshold=_parameter(neuron.threshold),
        decay_u=decay_u,
        decay_v=decay_v,
        v_init=v_init,
        reset=neuron.reset if neuron.adaptation is None else "adapt",
        reset_order="before_leak" if neuron.delayed_reset else "after_leak",
        fires=">=" if neuron.at_equality else ">",
        bias_enters="current",
        refractory=neuron.refractory,
        drive=None if neuron.drive is None else _numpy(neuron.drive),
        adaptation=None if neuron.adaptation is None else FloatAdaptation(*neuron.adaptation),
    )


def _parameter(parameter: float | torch.Tensor) -> FloatParameter:
    return _numpy(parameter) if isinstance(parameter, torch.Tensor) else parameter


def _numpy(tensor: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)


def _pair(values: tuple[int, ...] | int | str) -> Pair:
    if isinstance(values, int):
        return values, values
    return int(values[0]), int(values[-1])
