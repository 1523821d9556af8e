"""SLAYER network → IntegerNetwork, without scaling or rounding of our own, and its golden witness.

slayer computes in torch what the chip computes, so export only reads: weights, decays, thresholds and biases are the
integers that slayer's own forward uses, and the twin of the witness is that forward.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from spikecut.errors import ExportError, RangeError, UnsupportedError
from spikecut.export.encode import encode_samples
from spikecut.export.golden import MINIMUM_SAMPLES, Golden, integers, too_few
from spikecut.export.network.adaptation import Adaptation
from spikecut.export.network.arrays import Floats, IntArray, Pair, Shape
from spikecut.export.network.geometry import convolved_shape
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.quantise.headroom import Ranges, worst_case
from spikecut.export.quantise.integers import Measure, measured_ranges
from spikecut.export.quantise.report import LayerReport, weight_bits
from spikecut.fixed_point import ALIGNMENT_SHIFT, DECAY_UNITY, WEIGHT_MAXIMUM, WEIGHT_MINIMUM

if TYPE_CHECKING:
    from spikecut.models.slayer.network import SlayerNetwork, SlayerStage


def slayer_integers(
    network: "SlayerNetwork", spec: InputSpec, horizon: int, name: str, measure: Measure | None
) -> tuple[IntegerNetwork, tuple[LayerReport, ...]]:
    """The integers that slayer computes with, and a report with the headroom of each layer.

    measure: the largest |u| and |v| on samples, where worst-case sums do not prove that they stay within 24 bits.

    Raises
    ------
    RangeError: u or v of a layer may leave 24 bits, and samples do not show a margin of one bit.
    ExportError, UnsupportedError: see IntegerNetwork.
    """
    layers: list[IntegerLayer] = []
    shape: Shape = spec.shape
    stages = _stages(network)
    for stage in stages:
        layers.append(_layer(stage, shape))
        shape = layers[-1].output_shape
    integer = IntegerNetwork(tuple(layers), spec, "count", horizon, name)
    ranges: dict[str, Ranges] = {}
    for depth, layer in enumerate(layers):
        low, high = (spec.minimum, spec.maximum) if depth == 0 else (0, 1)
        ranges[layer.name] = worst_case(layer, horizon, low, high)
    unproven = [layer.name for layer in layers if not ranges[layer.name].fits]
    ranges |= measured_ranges(integer, unproven, measure, "its weights are not proven to keep u and v within 24 bits")
    reports = (
        _report(stage, layer, ranges[layer.name], layer.name in unproven)
        for stage, layer in zip(stages, layers, strict=True)
    )
    return integer, tuple(reports)


def slayer_golden(network: "SlayerNetwork", spec: InputSpec, horizon: int, images: Floats, labels: IntArray) -> Golden:
    """What slayer's own forward says of samples; its scores are both the float ones and the twin's.

    Raises
    ------
    DataError: fewer than 32 samples, or values out of range.
    UnsupportedError: the forward of somebody's module is not the chain of its blocks.
    """
    import torch

    if len(images) < MINIMUM_SAMPLES:
        raise too_few(len(images))
    encoded = encode_samples(images, spec, horizon)
    frames = torch.tensor(encoded, dtype=torch.float32)
    spikes = {name: integers(sent) for name, sent in network.record(frames).items()}
    stages = _stages(network)
    scores = integers(network.scores(frames))
    chained = spikes[stages[-1].name]
    if scores.shape != chained.shape or not np.array_equal(scores, chained):
        raise UnsupportedError(
            "the module's forward is not the chain of its blocks: it gives other spikes; a bundle is a chain of layers"
        )
    return Golden(
        images=np.asarray(images, dtype=np.float64),
        labels=np.asarray(labels, dtype=np.int64),
        inputs=encoded.astype(np.int64),
        float_scores=scores.astype(np.float64),
        twin_scores=scores,
        twin_spikes=spikes,
        twin_weights={
            stage.name: _in_own_shape(stage, stage.quantised_weight()) << ALIGNMENT_SHIFT for stage in stages
        },
        twin_biases={stage.name: _hooked_bias(stage) for stage in stages},
        twin_neurons={stage.name: numbers for stage in stages if (numbers := _hooked_neurons(stage)) is not None},
        twin_recurrent_weights={
            stage.name: _in_own_shape(stage, weight) << ALIGNMENT_SHIFT
            for stage, weight in ((stage, stage.quantised_recurrent_weight()) for stage in stages)
            if weight is not None
        },
    )


def _stages(network: "SlayerNetwork") -> "list[SlayerStage]":
    from spikecut.models.slayer.network import SlayerStage

    return [stage for stage in network.chain() if isinstance(stage, SlayerStage)]


def _layer(stage: "SlayerStage", shape: Shape) -> IntegerLayer:
    block = stage.block
    weight = _even(stage, stage.synapse.weight)
    geometry: dict[str, Any] = {}
    output: Shape = (weight.shape[0],)
    if stage.convolutional:
        for key in ("stride", "padding", "dilation"):
            geometry[key] = _pair(getattr(block.synapse, key))
        geometry["groups"] = int(block.synapse.groups)
        if len(shape) != 3:
            raise ExportError(f"layer {stage.name}: a convolution takes (channels, height, width), but gets {shape}")
        output = convolved_shape(weight.shape, shape, geometry["stride"], geometry["padding"], geometry["dilation"])
    delays = stage.delays()
    if delays is not None:
        geometry["delay"] = np.broadcast_to(delays.numpy().astype(np.int64)[:, None], weight.shape)
    if hasattr(block, "recurrent_synapse"):
        geometry["recurrent"] = _even(stage, block.recurrent_synapse.weight)
    neuron: Any = stage.neuron
    adapts = hasattr(neuron, "threshold_step")
    if stage.convolutional and output[-1] == output[0] and neuron.current_decay.numel() > 1:
        raise UnsupportedError(
            f"layer {stage.name}: decays per channel of {output[0]} maps that are as wide: slayer takes them per "
            "channel on a GPU, and along the width on a CPU, and nothing tells which; train with shared_param=True"
        )
    return IntegerLayer(
        name=stage.name,
        kind="conv" if stage.convolutional else "dense",
        weight=weight,
        neuron=IntegerNeuron(
            threshold=round(neuron.threshold * neuron.w_scale),
            bias_mantissa=_bias(stage),
            decay_u=_decay(stage, neuron.current_decay),
            decay_v=_decay(stage, neuron.voltage_decay),
            bias_exponent=ALIGNMENT_SHIFT,
            reset="adapt" if adapts else "zero",
            adaptation=_adaptation(stage) if adapts else None,
        ),
        input_shape=shape,
        output_shape=output,
        **geometry,
    )


def _adaptation(stage: "SlayerStage") -> Adaptation:
    """Of slayer's ALIF."""
    neuron: Any = stage.neuron
    decays = (_decay(stage, decay) for decay in (neuron.threshold_decay, neuron.refractory_decay))
    threshold_decay, refractory_decay = (int(each.flat[0]) for each in decays)
    return Adaptation(threshold_decay, round(neuron.threshold_step * neuron.w_scale), refractory_decay)


def _even(stage: "SlayerStage", values: Any) -> IntArray:
    """slayer's rule: 2 · round(w · scale / 2), halves to even, cut at -256 and 254 as slayer itself cuts."""
    neuron: Any = stage.neuron
    doubled = 2 * np.rint(values.detach().double().numpy() * neuron.w_scale / 2)
    return _in_own_shape(stage, np.clip(doubled, WEIGHT_MINIMUM, WEIGHT_MAXIMUM).astype(np.int64))


def _in_own_shape(stage: "SlayerStage", weight: IntArray) -> IntArray:
    """(O, I/groups, H, W, 1) of slayer as (O, I/groups, H, W), or (O, I) of a dense block."""
    return weight[..., 0] if stage.convolutional else weight.reshape(len(weight), -1)


def _decay(stage: "SlayerStage", parameter: Any) -> IntArray:
    """One for the layer, (), or one per channel, (C,)."""
    decay = np.rint(parameter.detach().double().numpy()).reshape(-1)
    wrong = decay[(decay < 0) | (decay > DECAY_UNITY)]
    if wrong.size:
        raise RangeError(
            f"layer {stage.name}: a decay of {wrong[0]:.0f} / {DECAY_UNITY} is beyond 12 bits: train again"
        )
    found: IntArray = decay.astype(np.int64)
    return found if found.size > 1 else found.reshape(())


def _bias(stage: "SlayerStage") -> IntArray:
    """MeanOnlyBatchNorm takes its mean, rounded like a weight, off the current: a bias in weight units."""
    outputs = len(stage.synapse.weight)
    norm = stage.block.neuron.norm
    if norm is None:
        return np.zeros(outputs, dtype=np.int64)
    neuron: Any = stage.neuron
    mean = 2 * np.rint(norm.running_mean.detach().double().numpy() * neuron.w_scale / 2)
    return np.broadcast_to(-np.clip(mean, WEIGHT_MINIMUM, WEIGHT_MAXIMUM).astype(np.int64), outputs).copy()


def _hooked_bias(stage: "SlayerStage") -> IntArray:
    """The bias in v's units, from slayer's own property."""
    outputs = len(stage.synapse.weight)
    norm = stage.block.neuron.norm
    if norm is None:
        return np.zeros(outputs, dtype=np.int64)
    return np.broadcast_to(integers(norm.bias.detach()) << ALIGNMENT_SHIFT, outputs).copy()


def _hooked_neurons(stage: "SlayerStage") -> IntArray | None:
    """Of neurons that differ, threshold, decays, v(0) and what a soft reset would subtract, from slayer's properties.

    [5, C]; None of others.
    """
    neuron: Any = stage.neuron
    decays = [np.asarray(each).reshape(-1) for each in (neuron.cx_current_decay, neuron.cx_voltage_decay)]
    if all((each == each[0]).all() for each in decays):
        return None
    level = np.full(1, int(neuron.v_th_mant))
    given = level, *decays, np.zeros(1, dtype=np.int64), level << ALIGNMENT_SHIFT
    return np.stack(np.broadcast_arrays(*given)).astype(np.int64)


def _pair(values: tuple[int, ...]) -> Pair:
    return int(values[0]), int(values[1])


def _report(stage: "SlayerStage", layer: IntegerLayer, ranges: Ranges, measured: bool) -> LayerReport:
    """Errors of slayer's own rounding against the weights that it trained; the network computes with the rounded."""
    neuron: Any = stage.neuron
    trained = _in_own_shape(stage, stage.synapse.weight.detach().double().numpy())
    error = layer.weight / neuron.w_scale - trained
    return LayerReport(
        name=layer.name,
        scale=float(neuron.w_scale),
        weight_bits=weight_bits(layer.weight),
        weight_error_max=float(np.abs(error).max()),
        weight_error_rms=float(np.sqrt(np.mean(error**2))),
        threshold_error=0.0,
        bias_error_max=0.0,
        decay_error_u=0.0,
        decay_error_v=0.0,
        gain_error_max=0.0,
        bias_exponent=layer.neuron.bias_exponent,
        headroom_bits=ranges.bits,
        headroom="measured" if measured else "proven",
    )
