"""Linear operations behind each other become one synapse: against torch, which computes them one after the other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spikecut.errors import BundleError, UnsupportedError
from spikecut.export.importers.linear import Convolution, Dense, Synapse, after


def operation(layer: nn.Module) -> Convolution | Dense:
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    if isinstance(layer, nn.Linear):
        return Dense("dense", "Linear", weight, bias)
    return Convolution("conv", "Conv2d", weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def applied(synapse: Synapse, x: torch.Tensor) -> torch.Tensor:
    weight, bias = torch.from_numpy(synapse.weight), torch.from_numpy(synapse.bias)
    if synapse.kind == "dense":
        return nn.functional.linear(x.flatten(1), weight, bias)
    geometry = (synapse.stride, synapse.padding, synapse.dilation, synapse.groups)
    return nn.functional.conv2d(x, weight, bias, *geometry)


def check(layers: list[nn.Module], x: torch.Tensor) -> None:
    synapse, shape, y = None, tuple(x.shape[1:]), x
    for layer in layers:
        if isinstance(layer, nn.Linear):
            y = y.flatten(1)
        synapse = after(synapse, operation(layer), shape, isinstance(layer, nn.Linear))
        y = layer(y)
        shape = tuple(y.shape[1:])
        assert synapse.output_shape == shape
    torch.testing.assert_close(applied(synapse, x), y, rtol=0, atol=1e-12)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_depthwise_convolution_beside_another_layer_is_one_synapse(data):
    torch.manual_seed(data.draw(st.integers(0, 2**16)))
    channels = data.draw(st.integers(1, 3))
    own = nn.Conv2d(
        channels,
        channels,
        data.draw(pairs),
        data.draw(pairs),
        data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
        data.draw(pairs),
        channels,
    )
    x = torch.rand(2, channels, 9, 8, dtype=torch.float64)
    other = data.draw(st.sampled_from(("dense behind", "conv behind", "conv in front")))
    dilation = data.draw(pairs)
    layers = [own, nn.Conv2d(channels, 2, (2, 1), dilation=dilation)]
    if other == "dense behind":
        layers[1] = nn.Linear(own(x.float()).flatten(1).shape[1], 3)  # 9 x 8 takes every kernel that is drawn
    elif other == "conv in front":
        layers = [nn.Conv2d(channels, channels, (1, 2), dilation=dilation), own]
    layers = [layer.double() for layer in layers]
    try:
        check(layers, x)
    except UnsupportedError:
        pass  # refused by name: no single synapse equals the two
    except BundleError as error:
        assert "does not fit into a map" in str(error)


@pytest.mark.parametrize("padding", [0, 2])
def test_dilated_depthwise_then_dense(padding):
    layers = [nn.Conv2d(4, 4, 3, groups=4, dilation=2, padding=padding).double()]
    x = torch.rand(2, 4, 8, 8, dtype=torch.float64)
    layers.append(nn.Linear(layers[0](x).flatten(1).shape[1], 5).double())
    check(layers, x)
