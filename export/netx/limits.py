"""What netx cannot express, and what nothing but spikecut's own engines can run of a network."""

import numpy as np

from spikecut.errors import Refusal, UnsupportedError
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.layers import IntegerNetwork, passes_input
from spikecut.export.network.neurons import NETX_BIAS_EXPONENT
from spikecut.export.network.parameters import said


def dense_weight_in_lava(weight: IntArray) -> IntArray:
    """The weights that netx and Lava's Dense really apply to a matrix stored in the file, times their exponent.

    netx scales a matrix up to 8 bits by `optimize_weight_bits`; Lava's Dense then clips and truncates it by the sign
    mode that it finds, and shifts the sum back.
    """
    largest, smallest = int(weight.max()), int(weight.min())
    if largest == 0 and smallest == 0:
        return weight
    if (largest > 254 and smallest < 0) or (smallest < -256 and largest > 0):
        weight = np.clip(weight, -256, 254)
        largest, smallest = int(weight.max()), int(weight.min())
    mixed = not (largest < 0 or smallest >= 0)
    if mixed:
        ratios = [127 / largest if largest else np.inf, -128 / smallest if smallest else np.inf]
        scale = min(ratios)
    else:
        scale = -256 / smallest if largest < 0 else 255 / largest
    shift = int(np.floor(np.log2(scale))) + int(mixed)
    zeros = 8
    while zeros > 0 and np.any(weight % 2**zeros):
        zeros -= 1
    bits = 8 - shift - (zeros - int(mixed))
    if shift < 0:
        return np.zeros_like(weight)
    return _clip_and_truncate(weight << shift, bits) >> shift


def _clip_and_truncate(weight: IntArray, bits: int) -> IntArray:
    """Lava's clip_weights and truncate_weights with the sign mode that it determines itself."""
    inhibitory = int(weight.max()) <= 0 and int(weight.min()) < 0
    mixed = int(weight.min()) < 0 and not inhibitory
    magnitude = -weight if inhibitory else weight
    magnitude = np.clip(magnitude, -256 if mixed else 0, 255)
    truncated = 8 - bits + int(mixed)
    if truncated < 0:  # numpy shifts by a negative count here: the whole matrix becomes zero
        return np.zeros_like(weight)
    magnitude = (magnitude >> truncated) << truncated
    return -magnitude if inhibitory else magnitude


def beyond_netx(network: IntegerNetwork) -> tuple[Refusal, ...]:
    """What netx cannot express of this network; empty where its own Network loads it unchanged."""
    refusals: list[Refusal] = []
    if passes_input(network.layers[0]) and network.layers[0].neuron.sigma_delta is None:
        refusals.append(Refusal(network.layers[0].name, "input neurons"))
    graded = network.layers[-1].neuron.sigma_delta is not None
    if network.readout == "membrane" and not graded:
        refusals.append(Refusal("", "membrane readout"))
    for layer in network.layers:
        neuron = layer.neuron
        if neuron.sigma_delta is not None:
            refusals.append(Refusal(layer.name, "sigma-delta neurons, which netx does not reset between samples"))
        if neuron.reset == "subtract":
            refusals.append(Refusal(layer.name, "soft reset"))
        if np.any(neuron.v_init):
            refusals.append(Refusal(layer.name, f"v(0) = {said(neuron.v_init, 'd')}"))
        if neuron.varies_inside_channels:
            refusals.append(Refusal(layer.name, "neurons that differ inside a channel"))
        if neuron.adaptation is not None:
            refusals.append(Refusal(layer.name, "an adaptive threshold"))
        if neuron.refractory:
            refusals.append(Refusal(layer.name, "a refractory period"))
        if neuron.u_init is not None:
            refusals.append(Refusal(layer.name, "u(0) that is not 0"))
        if neuron.bias_exponent != NETX_BIAS_EXPONENT:
            refusals.append(Refusal(layer.name, f"bias exponent {neuron.bias_exponent}"))
        if neuron.gain is not None:
            refusals.append(Refusal(layer.name, "a gain per timestep, which needs programmable neurons: Loihi 2"))
        refusals += [Refusal(layer.name, f"a {skip.name}") for skip in layer.skips]
        if layer.source is not None:
            refusals.append(Refusal(layer.name, f"a branch: it takes from {layer.source}"))
        if layer.recurrent is not None:
            refusals.append(Refusal(layer.name, "recurrent synapses, for which netx has no ProcessModel"))
        if layer.kind == "dense" and not np.array_equal(dense_weight_in_lava(layer.weight), layer.weight):
            refusals.append(Refusal(layer.name, "a weight matrix that netx would change"))
    return tuple(refusals)


def check_exportable(network: IntegerNetwork) -> None:
    """Raise UnsupportedError for what only the batched engine runs: netx's input neurons that spike."""
    given = network.layers[0].neuron.sigma_delta
    if passes_input(network.layers[0]) and (given is None or given.decodes):
        raise UnsupportedError(
            f"layer {network.layers[0].name}: input neurons run on the batched engine alone: use --backend batched"
        )
