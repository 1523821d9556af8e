"""The three networks of the engine benchmark, thresholds set so that a tenth of each layer's neurons fire."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from spikecut.deploy.backends.kernels.reference import NeuronState, propagate_layer
from spikecut.export.network.arrays import Integers, Shape, size
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

RATE = 0.1
NAMES = ("mlp", "convnet", "vgg")
MLP = ((1, 28, 28), (), (512, 10))
CONVNET = ((1, 28, 28), ((16, 5, 2), (32, 3, 2)), (128, 10))
VGG = ((3, 32, 32), ((64, 3, 1), (64, 3, 2), (128, 3, 1), (128, 3, 2), (256, 3, 1), (256, 3, 2)), (256, 10))
Architecture = tuple[Shape, tuple[tuple[int, int, int], ...], tuple[int, ...]]


def spikes(shape: tuple[int, ...], rate: float = RATE, seed: int = 1) -> Integers:
    """Random binary messages, int32."""
    return (np.random.default_rng(seed).random(shape, dtype=np.float32) < rate).astype(np.int32)


@lru_cache
def network(name: str, horizon: int = 16) -> IntegerNetwork:
    """784-512-10 ("mlp"), 16c5s2-32c3s2-128-10 ("convnet") or the VGG-like network of six 3×3 convolutions ("vgg")."""
    return build({"mlp": MLP, "convnet": CONVNET, "vgg": VGG}[name], horizon, name)


def build(architecture: Architecture, horizon: int, name: str = "network") -> IntegerNetwork:
    """A network from (input shape, (channels, kernel, stride) per convolution, features per dense layer).

    Padding is half the kernel. Each threshold is the one at which about a tenth of the layer's neurons fire on random
    input of which a tenth is spikes; Lava's stock models and netx express all of it.
    """
    shape, convolutions, dense = architecture
    if not convolutions:
        shape = (size(shape),)
    spec = InputSpec(shape, "events")
    random = np.random.default_rng(0)
    layers: list[IntegerLayer] = []
    frames = spikes((horizon, 4, *shape))
    for number, (channels, kernel, stride) in enumerate(convolutions, start=1):
        weight = 2 * random.integers(-100, 101, (channels, shape[0], kernel, kernel))
        pad = kernel // 2
        output = (channels, *((n + 2 * pad - kernel) // stride + 1 for n in shape[1:]))
        layer = IntegerLayer(
            f"conv{number}", "conv", weight, _neuron(channels), shape, output, (stride, stride), (pad, pad)
        )
        layers.append(_tuned(layer, frames))
        frames, shape = _fire(layers[-1], frames), output
    for number, features in enumerate(dense, start=1):
        weight = 2 * random.integers(-100, 101, (features, size(shape)))
        layers.append(
            _tuned(IntegerLayer(f"dense{number}", "dense", weight, _neuron(features), shape, (features,)), frames)
        )
        frames, shape = _fire(layers[-1], frames), (features,)
    return IntegerNetwork(tuple(layers), spec, "count", horizon, name)


def _neuron(channels: int, threshold: int = 1000) -> IntegerNeuron:
    return IntegerNeuron(threshold, np.zeros(channels, dtype=np.int64), decay_v=1024)


def _fire(layer: IntegerLayer, frames: Integers) -> Integers:
    return propagate_layer(layer, frames, NeuronState.at_rest(layer, frames.shape[1]))


def _tuned(layer: IntegerLayer, frames: Integers) -> IntegerLayer:
    """The layer with the threshold, found by bisection, at which RATE of its neurons fire."""
    low, high = 0, 2**17 - 1
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        layer = replace(layer, neuron=_neuron(layer.output_shape[0], middle))
        low, high = (middle, high) if _fire(layer, frames).mean() > RATE else (low, middle)
    return layer
