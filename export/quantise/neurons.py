"""The neurons of a float layer as the chip's integers at the scale of its weights, each neuron by itself."""

from dataclasses import replace

import numpy as np

from spikecut.errors import UnsupportedError
from spikecut.export.network.adaptation import Adaptation, FloatAdaptation
from spikecut.export.network.arrays import Array
from spikecut.export.network.layers import FloatLayer, FloatNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.network.parameters import (
    FloatParameter,
    Parameter,
    beside,
    differs_inside_channels,
    highest,
)
from spikecut.fixed_point import (
    DECAY_UNITY,
    round_bias,
    round_decay,
    round_gain,
    round_reset,
    round_start,
    round_threshold,
)


def rounded(network: FloatNetwork) -> FloatNetwork:
    """The network with decays of 12 bits, and neurons that fire at equality only where a Process can."""
    layers = []
    for layer in network.layers:
        neuron = layer.neuron
        decay_u, decay_v = round_decay(neuron.decay_u) / DECAY_UNITY, round_decay(neuron.decay_v) / DECAY_UNITY
        equal = neuron.reset == "adapt" or (neuron.reset == "subtract" and not np.any(decay_v))
        found = replace(neuron, decay_u=decay_u, decay_v=decay_v, fires=neuron.fires if equal else ">")
        if neuron.adaptation is not None:
            decay, step, refractory_decay = neuron.adaptation.numbers
            fractions = [float(round_decay(each)) / DECAY_UNITY for each in (decay, refractory_decay)]
            found = replace(found, adaptation=FloatAdaptation(fractions[0], step, fractions[1]))
        layers.append(replace(layer, neuron=found))
    return replace(network, layers=tuple(layers))


def netx_neurons(network: FloatNetwork) -> bool:
    """Whether netx can express all neurons: hard reset, u(0) = v(0) = 0, no gain, no refractory period, spiking output.

    They may differ between channels, but not inside them.
    """
    return network.readout == "count" and all(
        neuron.reset == "zero"
        and not np.any(neuron.v_init)
        and neuron.fires == ">"
        and neuron.gain is None
        and not neuron.refractory
        and not rises
        and not differs_inside_channels(neuron.threshold, neuron.decay_u, neuron.decay_v)
        for neuron, rises in ((layer.neuron, _rises(layer)) for layer in network.layers)
    )


def _rises(layer: FloatLayer) -> bool:
    """Whether a layer has a bias that enters a current with a memory."""
    memory = bool(np.any(np.asarray(layer.neuron.decay_u) != 1))
    return layer.neuron.bias_enters == "current" and memory and bool(layer.bias.any())


def membrane_bias(layer: FloatLayer) -> Array:
    """A layer's biases as they enter the membrane, (O,) or per neuron; those of a current are what they rise to."""
    if not _rises(layer):
        bias, drive = beside(layer.bias, layer.neuron.drive)
        return np.asarray(bias if drive is None else bias + drive)
    decay = decay_12bit(layer.neuron.decay_u, layer.name)
    bias, decay = beside(layer.bias, decay)
    if np.any((np.asarray(decay) == 0) & (np.asarray(bias) != 0)):
        raise UnsupportedError(
            f"layer {layer.name}: a bias in front of a current that never decays, which would grow for ever; train "
            "without bias, or with a decay"
        )
    return np.asarray(bias * DECAY_UNITY / np.maximum(decay, 1))


def decay_12bit(fraction: FloatParameter, layer: str) -> Parameter:
    """Decay fractions as Loihi's 12-bit integers; UnsupportedError where one is not exact."""
    values = np.asarray(fraction, dtype=np.float64) * DECAY_UNITY
    wrong = values[~((values >= 0) & (values <= DECAY_UNITY) & (values == np.trunc(values)))]
    if wrong.size:
        raise UnsupportedError(
            f"layer {layer}: a decay of {wrong.flat[0] / DECAY_UNITY:g} is not a multiple of 1/{DECAY_UNITY}; round it "
            f"in training, for instance to {round(min(max(float(wrong.flat[0]), 0), DECAY_UNITY))}/{DECAY_UNITY}"
        )
    return int(values) if values.ndim == 0 else values.astype(np.int64)


def integer_neuron(layer: FloatLayer, scale: float, exponent: int) -> IntegerNeuron:
    """The neurons of a folded layer.

    scale: integer weight units per float unit. exponent: of the biases.

    Raises
    ------
    UnsupportedError: an order of reset and leak, or decays, that have no Process. RangeError: a value is out of range.
    """
    neuron = layer.neuron
    decay_v = decay_12bit(neuron.decay_v, layer.name)
    late = neuron.reset != "none" and neuron.reset_order != "after_leak"
    if late and (neuron.reset == "zero" or highest(decay_v) == DECAY_UNITY):
        raise UnsupportedError(
            f"layer {layer.name}: a reset that waits for the next timestep, after the leak, of a v that is set to 0 or "
            "leaks whole by then, has no Process; train with a reset right after the spike"
        )
    if neuron.gain is not None and np.any(np.asarray(neuron.decay_u) != 1):
        raise UnsupportedError(
            f"layer {layer.name}: scales per timestep (TEBN) on a current that decays slowly have no Process; train "
            "with batch norm, or without synaptic memory"
        )
    spiking = neuron.reset != "none"
    threshold = round_threshold(neuron.threshold, scale) if spiking else 0
    v_init = round_start(*beside(neuron.v_init, neuron.threshold), scale) if np.any(neuron.v_init) else 0
    if neuron.reset == "adapt" and neuron.fires != ">=":
        raise UnsupportedError(f"layer {layer.name}: a threshold that adapts fires at v ≥ threshold on the chip, not >")
    if neuron.fires == ">=" and neuron.reset != "adapt":
        # Lava fires at v > threshold; one unit more in v(0) makes equality fire, and a soft reset carries it along.
        if neuron.reset == "zero" or np.any(decay_v):
            raise UnsupportedError(f"layer {layer.name}: firing at equality needs soft reset and no leak")
        v_init = v_init + 1
    mantissa = round_bias(membrane_bias(layer), scale, exponent)
    level, leak = beside(neuron.threshold, decay_v)
    return IntegerNeuron(
        threshold=threshold,
        bias_mantissa=mantissa,
        decay_u=decay_12bit(neuron.decay_u, layer.name),
        decay_v=decay_v,
        bias_exponent=exponent,
        v_init=v_init,
        reset=neuron.reset,
        gain=None if neuron.gain is None else tuple(round_gain(neuron.gain).tolist()),
        reset_amount=round_reset(level, scale, leak) if late and np.any(decay_v) else None,
        u_init=-mantissa * 2**exponent if _rises(layer) else None,
        refractory=neuron.refractory,
        adaptation=_adaptation(layer, scale),
    )


def _adaptation(layer: FloatLayer, scale: float) -> Adaptation | None:
    """What thresholds that adapt have beside themselves."""
    if layer.neuron.adaptation is None:
        return None
    decay, step, refractory_decay = layer.neuron.adaptation.numbers
    fade, fade_held = (int(decay_12bit(each, layer.name)) for each in (decay, refractory_decay))
    return Adaptation(fade, int(round_threshold(step, scale)), fade_held)
