"""Batch norm, spike amplitudes, the input's scale and the largest gain folded into weights and biases, in float64."""

from dataclasses import replace
from typing import TypeVar

import numpy as np

from spikecut.errors import UnsupportedError
from spikecut.export.network.arrays import Array
from spikecut.export.network.graph import sources_of
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import FloatLayer, FloatNetwork
from spikecut.export.network.skip import FloatSkip

Folding = TypeVar("Folding", FloatLayer, FloatSkip)


def fold(network: FloatNetwork) -> FloatNetwork:
    """The same function without batch norms, with spikes of value 1 and integer inputs q for x = scale · q + zero.

    Batch norm (inference): w' = w γ/√(σ² + ε), b' = (b - μ) γ/√(σ² + ε) + β. A spike's amplitude, and the scale of a
    direct input, multiply the weights that read them. A non-zero `zero` moves into the bias, which is exact only
    without padding. Skips are folded alike; their biases move into the layer's. The largest |gain| of a layer
    multiplies its weights and its bias, so that all of its gains lie within -1 and 1; gains that are then 1 throughout
    are none.

    Raises
    ------
    UnsupportedError: the input has a zero point and a layer that reads it pads, or all gains of a layer are 0.
    """
    layers: list[FloatLayer] = []
    for layer, (source, *more), (factor, *factors) in zip(
        network.layers, sources_of(network.layers), factors_of(network), strict=True
    ):
        folded = _fold_batch_norm(layer)
        bias = folded.bias
        if source == 0:
            bias = bias + _zero_bias(folded, layer.name, network.input)
        largest, gain = _normalised_gain(layer)
        skips = []
        for skip, begins, unit in zip(layer.skips, more, factors, strict=True):
            plain = _fold_batch_norm(skip)
            bias = bias + plain.bias
            if begins == 0:
                bias = bias + _zero_bias(plain, layer.name, network.input)
            skips.append(replace(plain, weight=plain.weight * largest * unit, bias=np.zeros_like(plain.bias)))
        neuron = replace(folded.neuron, amplitude=1.0, gain=gain)
        weight = folded.weight * largest * factor
        layers.append(replace(folded, weight=weight, bias=bias * largest, neuron=neuron, skips=tuple(skips)))
    return replace(network, layers=tuple(layers))


def _zero_bias(synapse: FloatLayer | FloatSkip, name: str, spec: InputSpec) -> Array:
    """What the zero point of the input adds to the bias of a layer that reads it."""
    if not spec.zero or spec.encoding != "direct":
        return np.zeros_like(synapse.bias)
    if synapse.kind == "conv" and max(synapse.padding) > 0:
        raise UnsupportedError(
            f"layer {name}: an input zero point of {spec.zero:g} cannot be folded through padding; shift the data so "
            "that zero is 0 and train again"
        )
    sums: Array = spec.zero * synapse.weight.sum(axis=tuple(range(1, synapse.weight.ndim)))
    return sums


def input_factor(network: FloatNetwork) -> float:
    """Value of one integer unit of input: the scale of a direct input, 1 for spikes."""
    return network.input.scale if network.input.encoding == "direct" else 1.0


def factors_of(network: FloatNetwork) -> list[tuple[float, ...]]:
    """Value of one integer unit of what each layer's own synapse and its skips take, in a network not yet folded."""
    units = [input_factor(network), *(layer.neuron.amplitude for layer in network.layers)]
    return [tuple(units[source] for source in sources) for sources in sources_of(network.layers)]


def _fold_batch_norm(layer: Folding) -> Folding:
    norm = layer.batch_norm
    if norm is None:
        return layer
    gain = norm.gamma / np.sqrt(norm.variance + norm.epsilon)
    shape = (-1, *([1] * (layer.weight.ndim - 1)))
    return replace(
        layer,
        weight=layer.weight * gain.reshape(shape),
        bias=(layer.bias - norm.mean) * gain + norm.beta,
        batch_norm=None,
    )


def _normalised_gain(layer: FloatLayer) -> tuple[float, tuple[float, ...] | None]:
    """The largest |gain| of a layer, and its gains divided by it, or None where they are all 1."""
    gain = layer.neuron.gain
    if gain is None:
        return 1.0, None
    largest = max(map(abs, gain))
    if not 0 < largest < np.inf:
        raise UnsupportedError(
            f"layer {layer.name}: its scales per timestep are {gain}: 0 throughout, or not finite; train again"
        )
    normalised = tuple(value / largest for value in gain)
    return largest, None if set(normalised) == {1.0} else normalised
