"""The quantised twin of a user's network: its own torch modules with rounded numbers, the witness of the export.

Units and rounding: spikecut.fixed_point. What the neurons compute is written anew, in float64: integer_neurons.py.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikecut.errors import InputError, RangeError, UnsupportedError
from spikecut.fixed_point import (
    DECAY_UNITY,
    WEIGHT_UNIT,
    FloatArray,
    IntArray,
    round_bias,
    round_decay,
    round_gain,
    round_reset,
    round_start,
    round_threshold,
    round_weight,
)
from spikecut.models.integer_neurons import IntegerCurrentBased, IntegerGain, IntegerIntegrateFire, IntegerLeaky
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm
from spikecut.models.network import JoiningStage, ResidualStage, SpikingNetwork, Stage
from spikecut.models.neurons.current_based import CurrentBased
from spikecut.models.neurons.integrate_fire import IntegrateFire, MembraneReadout
from spikecut.models.neurons.leaky import LeakyIntegrateFire


@dataclass(frozen=True)
class StagePlan:
    """How one stage becomes integers.

    Attributes
    ----------
    scale: integer weight units per float unit of current, positive.
    bias_exponent: 0 or more; the bias is mantissa · 2^bias_exponent.
    input_factor: float value of one integer unit of the stage's input: the amplitude of the spikes of the stage
        before, or the scale of the input encoding; positive.
    skip_factors: the same of what its shortcuts take; 1 for those that are not given.
    """

    scale: float
    bias_exponent: int
    input_factor: float
    skip_factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        factors = [("skip_factors", value) for value in self.skip_factors]
        for name, value in (("scale", self.scale), ("input_factor", self.input_factor), *factors):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"stage plan: {name} {value}, expected a positive number")
        if self.bias_exponent < 0:
            raise InputError(f"stage plan: bias_exponent {self.bias_exponent}, expected 0 or more")


class Scaled(nn.Module):
    """A shortcut that adds what entered the block: x · weight · 64, in v's units. weight: an integer."""

    def __init__(self, weight: int) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Messages [T, N, *], float64 integers → currents of the same shape."""
        return inputs * (WEIGHT_UNIT * self.weight)


class QuantisedTwin(nn.Module):
    """A user's network with its numbers rounded: the same chain of stages, in integers held exactly by float64."""

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        """Integer frames [T, N, *input_shape] → scores per step, float64 integers [T, N, classes].

        count readout: output spikes; membrane readout: output currents in v's units. InputError if a frame holds a
        number that is not an integer, or has another shape.
        """
        scores: Tensor = self.network(_integer_frames(frames))
        return scores

    def record(self, frames: Tensor) -> dict[str, Tensor]:
        """What every stage sends, name → float64 integers [T, N, *shape]; the last entry equals forward's scores."""
        sent = given = _integer_frames(frames)
        recorded: dict[str, Tensor] = {}
        with torch.no_grad():
            for stage in self.network.chain():
                if isinstance(stage, ResidualStage):
                    middle = recorded[stage.first.name] = stage.first(sent)
                    sent = stage.join(sent, middle)
                elif isinstance(stage, JoiningStage):
                    sent = stage.join([recorded[name] if name else given for name in stage.sources])
                else:
                    sent = stage(sent)
                recorded[stage.name] = sent
        return recorded

    def skip_weights(self) -> dict[str, list[Tensor]]:
        """Integer weights · 64 of the shortcuts, by the name of the stage that they lead to.

        A shortcut that adds what entered the block: one weight per channel, (C, 1, 1, 1), or a diagonal (O, O).
        """
        found = {}
        for stage in self.network.chain():
            shortcut = stage.shortcut if isinstance(stage, ResidualStage) else None
            if isinstance(stage, JoiningStage) and stage.sources[1:]:
                found[stage.name] = [branch.synapse.weight.detach() for branch in stage.branches()]
            elif isinstance(shortcut, Stage):
                found[stage.name] = [shortcut.synapse.weight.detach()]
            elif isinstance(shortcut, Scaled):
                one = torch.tensor(float(WEIGHT_UNIT * shortcut.weight), dtype=torch.float64)
                outputs = len(stage.synapse.weight)
                dense = isinstance(stage.synapse, nn.Linear)
                found[stage.name] = [torch.eye(outputs).double() * one if dense else one.expand(outputs, 1, 1, 1)]
        return found

    def recurrent_weights(self) -> dict[str, Tensor]:
        """Integer weights · 64 of the stages whose own spikes come back, by name."""
        neurons = {stage.name: stage.neuron for stage in self.network.layers()}
        return {
            name: neuron.recurrent
            for name, neuron in neurons.items()
            if isinstance(neuron, IntegerCurrentBased) and neuron.recurrent is not None
        }

    @property
    def neurons(self) -> dict[str, IntArray]:
        """The parameters of the stages whose neurons differ, by name; see IntegerCurrentBased.numbers."""
        modules = {stage.name: stage.neuron for stage in self.network.layers()}
        given = {name: each.numbers() for name, each in modules.items() if isinstance(each, IntegerCurrentBased)}
        return {name: numbers for name, numbers in given.items() if numbers is not None}

    @property
    def gains(self) -> dict[str, IntArray]:
        """The gains per timestep of the stages that have any, name → int64 [T], in 4096ths."""
        chain = self.network.chain()
        modules = {stage.name: stage.neuron[0] for stage in chain if isinstance(stage.neuron, nn.Sequential)}
        return {name: module.gain for name, module in modules.items() if isinstance(module, IntegerGain)}


def _integer_frames(frames: Tensor) -> Tensor:
    exact = frames.to(torch.float64)
    if not torch.equal(exact, exact.round()):
        raise InputError("the quantised twin takes integers: encode the samples first")
    return exact


def quantised_twin(network: SpikingNetwork, plans: Sequence[StagePlan]) -> QuantisedTwin:
    """A copy of the network, batch norm folded in float64, every number rounded by the rules above.

    w' = w · γ / √(σ² + ε) · input_factor and b' = (b - μ) · γ / √(σ² + ε) + β; then weights, biases and thresholds
    become integers at the plan's scale and the neurons integer ones that send 1 per spike. A shortcut is rounded at the
    scale of the stage that it leads to; its bias adds to that stage's. Of TEBN, the largest |p[t]| multiplies w', b'
    and the shortcut, and p[t] in parts of it becomes a gain in front of the neuron.

    plans: one per layer, see SpikingNetwork.layers. InputError for another number of them, RangeError for a value
    beyond the chip's range, UnsupportedError for a stage that no integer neuron equals.
    """
    twin = copy.deepcopy(network).double().eval().requires_grad_(False)
    stages = list(twin.layers())
    if len(plans) != len(stages):
        raise InputError(f"{len(plans)} plans for {len(stages)} stages: give one per layer")
    for stage, plan in zip(stages, plans, strict=True):
        try:
            _quantise(stage, plan)
        except RangeError as exc:
            raise RangeError(f"stage {stage.name}: {exc}") from exc
    return QuantisedTwin(twin.eval())


def _quantise(stage: Stage, plan: StagePlan) -> None:
    if type(stage) not in (Stage, ResidualStage, JoiningStage) or stage.pool > 1:
        raise UnsupportedError(f"stage {stage.name}: {type(stage).__name__} is unknown, or its pooling not folded yet")
    weight, bias = _folded(stage)
    scales = stage.norm.scale if isinstance(stage.norm, TemporalEffectiveBatchNorm) else None
    largest = 1.0 if scales is None else float(scales.abs().max())
    if isinstance(stage, ResidualStage):
        bias = bias + _quantise_shortcut(stage, plan, largest)
    if isinstance(stage, JoiningStage):
        for branch, factor in zip(stage.branches(), plan.skip_factors, strict=True):
            bias = bias + _quantise_branch(branch, plan.scale, largest * factor)
    integer_weight = round_weight((weight * largest * plan.input_factor).numpy(), plan.scale)
    decay_u = stage.neuron.decay_u if isinstance(stage.neuron, CurrentBased) else 1.0
    rises = bool((torch.as_tensor(decay_u) < 1).any()) and bool(bias.any())
    drive = stage.neuron.drive if isinstance(stage.neuron, CurrentBased) else None
    if rises:
        level, decay = _beside(bias, round_decay(_floats(decay_u)))
        bias = torch.as_tensor(level * DECAY_UNITY / decay)
    if drive is not None:
        bias = bias.reshape(*bias.shape, *[1] * (drive.ndim - bias.ndim)) + drive
    integer_bias = round_bias((bias * largest).numpy(), plan.scale, plan.bias_exponent) * 2**plan.bias_exponent
    stage.synapse.weight = nn.Parameter(torch.from_numpy(WEIGHT_UNIT * integer_weight).double(), requires_grad=False)
    each = bias.ndim > 1 or drive is not None  # the neurons' own: a map's synapse has one a channel, and u decays
    stage.synapse.bias = nn.Parameter(torch.from_numpy(integer_bias).double(), requires_grad=False)
    neuron = _integer_neuron(stage, plan.scale)
    if each and isinstance(neuron, IntegerCurrentBased):
        neuron.bias, stage.synapse.bias = stage.synapse.bias.detach(), None
        neuron.own_bias, neuron.rises = True, rises
    elif rises:
        neuron.bias = stage.synapse.bias.reshape(-1, *[1] * (weight.ndim - 2))
    if scales is not None:
        neuron = nn.Sequential(IntegerGain(round_gain((scales / scales.abs().max()).numpy())), neuron)
    stage.norm = nn.Identity()
    stage.neuron = neuron


def _quantise_shortcut(stage: ResidualStage, plan: StagePlan, largest: float) -> Tensor:
    """Round the shortcut of a stage whose largest |p[t]| is `largest`; its bias, which is left to the stage."""
    shortcut, factor = stage.shortcut, (*plan.skip_factors, 1.0)[0]
    if not isinstance(shortcut, Stage):
        if shortcut is not None:
            raise UnsupportedError(f"stage {stage.name}: a shortcut of type {type(shortcut).__name__} is unknown")
        stage.shortcut = Scaled(int(round_weight(factor * largest, plan.scale)))
        return stage.synapse.weight.new_zeros(len(stage.synapse.weight))
    return _quantise_branch(shortcut, plan.scale, largest * factor)


def _quantise_branch(shortcut: Stage, scale: float, factor: float) -> Tensor:
    """Round the weights, times `factor`, of what leads around a stage; its bias, which is left to the stage."""
    if shortcut.pool > 1 or not isinstance(shortcut.neuron, nn.Identity):
        raise UnsupportedError(f"stage {shortcut.name}: a shortcut with a neuron, or with pooling not folded yet")
    if isinstance(shortcut.norm, TemporalEffectiveBatchNorm):
        raise UnsupportedError(f"stage {shortcut.name}: a shortcut with scales per timestep of its own")
    weight, bias = _folded(shortcut)
    integers = round_weight((weight * factor).numpy(), scale)
    shortcut.synapse.weight = nn.Parameter(torch.from_numpy(WEIGHT_UNIT * integers).double(), requires_grad=False)
    shortcut.synapse.bias = None
    shortcut.norm = nn.Identity()
    return bias


def _folded(stage: Stage) -> tuple[Tensor, Tensor]:
    """Weight and bias of the synapse with the normalisation folded in, but for the scales per timestep of TEBN."""
    weight, norm = stage.synapse.weight, stage.norm
    bias = weight.new_zeros(len(weight)) if stage.synapse.bias is None else stage.synapse.bias
    if isinstance(norm, nn.Identity):
        return weight, bias
    if isinstance(norm, TemporalEffectiveBatchNorm):
        norm = norm.norm
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        raise UnsupportedError(f"stage {stage.name}: {type(norm).__name__} cannot be folded into weights")
    if norm.running_mean is None or norm.running_var is None or not norm.affine:
        raise UnsupportedError(f"stage {stage.name}: its batch norm has no running statistics or no γ and β")
    deviation = torch.sqrt(norm.running_var + norm.eps)
    per_channel = (-1, *[1] * (weight.ndim - 1))
    folded_weight = weight * norm.weight.view(per_channel) / deviation.view(per_channel)
    folded_bias = (bias - norm.running_mean) * norm.weight / deviation + norm.bias
    return folded_weight, folded_bias


def _integer_neuron(stage: Stage, scale: float) -> nn.Module:
    neuron = stage.neuron
    if isinstance(neuron, MembraneReadout):
        return neuron
    if isinstance(neuron, LeakyIntegrateFire):
        return IntegerLeaky(int(round_decay(neuron.decay)), int(round_threshold(neuron.threshold, scale)), neuron.reset)
    if isinstance(neuron, IntegrateFire):
        if 2 * float(neuron.v_init) != float(neuron.threshold):
            raise UnsupportedError(f"stage {stage.name}: v_init must be half the threshold")
        return IntegerIntegrateFire(int(round_threshold(float(neuron.threshold), scale)))
    if isinstance(neuron, CurrentBased):
        return _integer_current_based(stage.name, neuron, scale)
    raise UnsupportedError(
        f"stage {stage.name}: {type(neuron).__name__} has no integer neuron; a QCFS network must be converted first"
    )


def _integer_current_based(name: str, neuron: CurrentBased, scale: float) -> IntegerCurrentBased:
    decay_u, decay_v = (round_decay(_floats(decay)) for decay in (neuron.decay_u, neuron.decay_v))
    level, start, leak = _beside(neuron.threshold, neuron.v_init, decay_v)
    threshold = None if neuron.threshold is None else round_threshold(level, scale)
    # The chip fires at v > threshold: one unit more in v(0) makes that ≥, as long as v neither leaks nor is set to 0.
    soft = neuron.reset == "subtract" and neuron.adaptation is None
    at_equality = neuron.at_equality and soft and not np.any(decay_v)
    amount = None
    if neuron.delayed_reset and neuron.threshold is not None and np.any(decay_v):
        if np.any(leak == DECAY_UNITY):
            raise UnsupportedError(f"stage {name}: v leaks whole before the reset of the next timestep")
        amount = round_reset(level, scale, leak)
    v_init = round_start(start, level, scale) if np.any(start) else 0
    made = IntegerCurrentBased(decay_u, decay_v, threshold, neuron.reset, at_equality, amount, v_init)
    made.refractory = neuron.refractory
    if neuron.adaptation is not None:
        fade, rise, fade_held = neuron.adaptation
        step = WEIGHT_UNIT * int(round_threshold(rise, scale))
        made.adaptation = int(round_decay(fade)), step, int(round_decay(fade_held))
    if neuron.recurrent is not None:
        made.recurrent = WEIGHT_UNIT * torch.from_numpy(round_weight(neuron.recurrent.numpy(), scale)).double()
    return made


def _floats(parameter: float | Tensor) -> float | FloatArray:
    return parameter.double().numpy() if isinstance(parameter, Tensor) else parameter


def _beside(*parameters: Any) -> tuple[Any, ...]:
    """Numbers as they are; arrays with axes of length 1 behind them, as many as the largest has."""
    arrays = [np.asarray(0.0 if each is None else _floats(each)) for each in parameters]
    most = max(array.ndim for array in arrays)
    return tuple(each.reshape(*each.shape, *[1] * (most - each.ndim)) if each.ndim else each for each in arrays)
