"""Batch norm, spike amplitudes, the input's scale and the largest gain folded into weights and biases, in float64."""

from dataclasses import replace

import numpy as np

from spikecut.errors import UnsupportedError
from spikecut.export.graph import FloatLayer, FloatNetwork


def fold(network: FloatNetwork) -> FloatNetwork:
    """The same function without batch norms, with spikes of value 1 and integer inputs q for x = scale · q + zero.

    Batch norm (inference): w' = w γ/√(σ² + ε), b' = (b - μ) γ/√(σ² + ε) + β. A spike's amplitude, and the scale of a
    direct input, multiply the weights that read them. A non-zero `zero` moves into the bias, which is exact only
    without padding. The largest |gain| of a layer multiplies its weights and its bias, so that all of its gains lie
    within -1 and 1; gains that are then 1 throughout are none.

    Raises
    ------
    UnsupportedError: the input has a zero point and the first layer pads, or all gains of a layer are 0.
    """
    factor = input_factor(network)
    layers: list[FloatLayer] = []
    for depth, layer in enumerate(network.layers):
        folded = _fold_batch_norm(layer)
        bias = folded.bias
        if depth == 0 and network.input.zero and network.input.encoding == "direct":
            if layer.kind == "conv" and max(layer.padding) > 0:
                raise UnsupportedError(
                    f"layer {layer.name}: an input zero point of {network.input.zero:g} cannot be folded through "
                    "padding; shift the data so that zero is 0 and train again"
                )
            bias = bias + network.input.zero * folded.weight.sum(axis=tuple(range(1, folded.weight.ndim)))
        largest, gain = _normalised_gain(layer)
        neuron = replace(folded.neuron, amplitude=1.0, gain=gain)
        layers.append(replace(folded, weight=folded.weight * largest * factor, bias=bias * largest, neuron=neuron))
        factor = layer.neuron.amplitude
    return replace(network, layers=tuple(layers))


def input_factor(network: FloatNetwork) -> float:
    """Value of one integer unit of input: the scale of a direct input, 1 for spikes."""
    return network.input.scale if network.input.encoding == "direct" else 1.0


def _fold_batch_norm(layer: FloatLayer) -> FloatLayer:
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
