"""The golden witness of integers that come without a torch module, as a .net of lava-dl: their arithmetic in numpy."""

import numpy as np

from spikecut.deploy.backends.kernels.reference import measure_ranges, propagate, scores_of
from spikecut.export.encode import encode_samples
from spikecut.export.golden import MINIMUM_SAMPLES, Golden, joined, too_few
from spikecut.export.network.arrays import Floats, IntArray, Integers
from spikecut.export.network.graph import message_range
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.quantise.headroom import Ranges, worst_case
from spikecut.export.quantise.report import LayerReport, weight_bits
from spikecut.fixed_point import ALIGNMENT_SHIFT


def integer_golden(network: IntegerNetwork, images: Floats, labels: IntArray) -> Golden:
    """What the integers make of samples [N, *shape], or events [N, T, *shape]; the scores are the float ones, too.

    DataError for fewer than 32 samples, or values out of range.
    """
    if len(images) < MINIMUM_SAMPLES:
        raise too_few(len(images))
    encoded = encode_samples(images, network.input, network.horizon)
    _, *sent = propagate(network, encoded)
    scores = scores_of(network, sent[-1])
    layers = network.layers
    return Golden(
        images=np.asarray(images, dtype=np.float64),
        labels=np.asarray(labels, dtype=np.int64),
        inputs=encoded.astype(np.int64),
        float_scores=scores.astype(np.float64),
        twin_scores=scores,
        twin_spikes={
            layer.name: messages.astype(np.int64)
            for layer, messages in zip(layers, sent, strict=True)
            if layer.neuron.reset != "none"
        },
        twin_weights={layer.name: layer.weight << ALIGNMENT_SHIFT for layer in layers},
        twin_biases={layer.name: layer.neuron.bias for layer in layers},
        twin_gains={layer.name: np.array(layer.neuron.gain) for layer in layers if layer.neuron.gain is not None},
        twin_skip_weights={
            layer.name: joined([skip.weight << ALIGNMENT_SHIFT for skip in layer.skips])
            for layer in layers
            if layer.skips
        },
        twin_recurrent_weights={
            layer.name: layer.recurrent << ALIGNMENT_SHIFT for layer in layers if layer.recurrent is not None
        },
        twin_neurons={layer.name: layer.neurons() for layer in layers if layer.neuron.varies},
    )


def integer_report(network: IntegerNetwork, encoded: Integers) -> tuple[LayerReport, ...]:
    """What a manifest says of each layer: nothing is rounded; headroom is proven, or measured on [T, N, *shape]."""
    proven = [_worst_case(network, depth) for depth in range(len(network.layers))]
    measured = {} if all(ranges.fits for ranges in proven) else measure_ranges(network, encoded)
    return tuple(
        _entry(layer, ranges if ranges.fits else measured[layer.name], ranges.fits)
        for layer, ranges in zip(network.layers, proven, strict=True)
    )


def _worst_case(network: IntegerNetwork, depth: int) -> Ranges:
    own, *skips = (message_range(network, path.source) for path in network.paths[depth])
    return worst_case(network.layers[depth], network.horizon, *own, skips)


def _entry(layer: IntegerLayer, ranges: Ranges, proven: bool) -> LayerReport:
    return LayerReport(
        name=layer.name,
        scale=1.0,
        weight_bits=weight_bits(layer.weight),
        weight_error_max=0.0,
        weight_error_rms=0.0,
        threshold_error=0.0,
        bias_error_max=0.0,
        decay_error_u=0.0,
        decay_error_v=0.0,
        gain_error_max=0.0,
        bias_exponent=layer.neuron.bias_exponent,
        headroom_bits=ranges.bits,
        headroom="proven" if proven else "measured",
    )
