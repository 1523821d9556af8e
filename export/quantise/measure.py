"""The largest |u| and |v| of integrate-and-fire layers on samples, in torch: long horizons on many samples, quickly."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spikecut.export.encode import encode_samples
from spikecut.export.network.arrays import Floats
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.graph import message_range
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.parameters import Parameter, spread
from spikecut.export.quantise.headroom import Ranges, largest_sum
from spikecut.fixed_point import ALIGNMENT_SHIFT, FLOAT32_EXACT, STATE_LIMIT, WEIGHT_UNIT

SAMPLE_STEPS = 2**15
BATCH = 32


def integrate_fire_ranges(network: IntegerNetwork, images: Floats) -> dict[str, Ranges]:
    """Ranges by layer, of neurons without leak and with soft reset (or none), and direct input.

    images: [N, *shape]; the first 32768 / T of them are run. Sums are exact, u does not wrap, and v goes on from where
    the chip clips it: as long as u fits its 24 bits, the ranges are those of the chip, v's before it is clipped.
    """
    peaks = {layer.name: [0, 0] for layer in network.layers}
    chosen = images[: max(1, SAMPLE_STEPS // network.horizon)]
    for start in range(0, len(chosen), BATCH):
        frame = torch.from_numpy(encode_samples(chosen[start : start + BATCH], network.input, 1)[0].copy())  # writable
        _run(network, frame, peaks)
    return {name: Ranges(current, membrane) for name, (current, membrane) in peaks.items()}


def _run(network: IntegerNetwork, frame: Tensor, peaks: dict[str, list[int]]) -> None:
    """One batch through all timesteps; the first layer's current is the same at each."""
    weights = [
        [_weight(path.synapse, max(map(abs, message_range(network, path.source)))) for path in paths]
        for paths in network.paths
    ]
    first = _current(network.layers[0], weights[0][0], frame)
    membranes = [_beside(layer, layer.neuron.v_init) for layer in network.layers]
    biases = [_beside(layer, layer.neuron.bias) for layer in network.layers]
    thresholds = [_beside(layer, layer.neuron.threshold << ALIGNMENT_SHIFT) for layer in network.layers]
    amounts = [_beside(layer, layer.neuron.subtracted) for layer in network.layers]
    for _ in range(network.horizon):
        points = [frame]
        for depth, layer in enumerate(network.layers):
            own, *skips = zip(network.paths[depth], weights[depth], strict=True)
            current = first if depth == 0 else _current(layer, own[1], points[own[0].source])
            for path, weight in skips:
                current = current + _current(path.synapse, weight, points[path.source])
            v = membranes[depth] + current + biases[depth]
            peak = peaks[layer.name]
            peak[0] = max(peak[0], int(current.abs().max()))
            peak[1] = max(peak[1], int(v.abs().max()))
            membranes[depth] = v.clamp_(1 - STATE_LIMIT, STATE_LIMIT - 1)
            if layer.neuron.reset == "subtract":
                points.append((v > thresholds[depth]).double())
                membranes[depth] = v.addcmul_(points[-1], amounts[depth], value=-1)


def _beside(layer: IntegerLayer, parameter: Parameter) -> Tensor:
    """A parameter of a layer's neurons, float64, as it stands beside their membranes."""
    return torch.tensor(np.asarray(spread(parameter, len(layer.output_shape))), dtype=torch.float64)


def _weight(layer: Synapse, largest: int) -> Tensor:
    """The weights in the type in which sums of messages up to `largest` are exact."""
    exact = largest_sum(layer, largest) < FLOAT32_EXACT
    return torch.tensor(layer.weight, dtype=torch.float32 if exact else torch.float64)


def _current(layer: Synapse, weight: Tensor, sent: Tensor) -> Tensor:
    """Σ W s in v's units, float64."""
    messages = sent.to(weight.dtype)
    if layer.kind == "dense":
        sums = functional.linear(messages.flatten(1), weight)
    else:
        sums = functional.conv2d(messages, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    return torch.mul(sums.double(), WEIGHT_UNIT)
