"""Parameters that differ between neurons: as small as they can be, of a shape that fits; other files are as before."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import differing, random_network

from spikecut.errors import ExportError, RangeError
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.network.parameters import equal, integer_parameter, per_neuron, said
from spikecut.export.netx.write import netx_bytes
from spikecut.export.nir.write import graph_of
from spikecut.export.quantise.headroom import worst_case

SHAPE = (3, 2, 4)
KEYS = ("threshold", "decay_u", "decay_v", "v_init")


@given(st.sampled_from([(), (3,), SHAPE]), st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_arrays_are_as_small_as_they_can_be(shape, seed, values):
    given = np.random.default_rng(seed).integers(0, values, shape)
    found = integer_parameter(given if shape else int(given), "threshold")
    np.testing.assert_array_equal(
        per_neuron(found, SHAPE), np.broadcast_to(np.reshape(given, (*shape, *[1] * (3 - len(shape)))), SHAPE)
    )
    if isinstance(found, np.ndarray):
        assert not found.flags.writeable and found.min() < found.max()
        assert found.ndim == 1 or not (found == found[:, :1, :1]).all()


def test_networks_of_single_numbers_keep_their_files():
    network = random_network(2, soft=True)
    wide = [
        replace(
            layer,
            neuron=replace(
                layer.neuron, **{key: np.full(layer.output_shape, getattr(layer.neuron, key)) for key in KEYS}
            ),
        )
        for layer in network.layers
    ]
    for layer, other in zip(network.layers, wide, strict=True):
        assert all(type(getattr(other.neuron, key)) is int for key in KEYS)
        assert other.neuron.reset_amount is None and repr(other) == repr(layer)
    assert netx_bytes(replace(network, layers=tuple(wide))) == netx_bytes(network)
    assert graph_of(replace(network, layers=tuple(wide))).own == graph_of(network).own


@pytest.mark.parametrize("key", [*KEYS, "reset_amount", "u_init"])
@pytest.mark.parametrize("shape", [(2,), (3, 2), (2, 4, 3), (0,), (4,)])
def test_an_array_that_does_not_fit_is_refused(key, shape):
    layer = random_network(2, soft=True).layers[0]
    neuron = replace(layer.neuron, decay_u=4000)
    shape = (*shape, 7) if shape == layer.output_shape[:1] else shape
    with pytest.raises(ExportError, match=f"layer conv1: {key} of shape"):
        replace(layer, neuron=replace(neuron, **{key: np.arange(np.prod(shape)).reshape(shape)}))


@pytest.mark.parametrize(
    ("key", "value"), [("threshold", 2**17), ("threshold", -1), ("decay_v", 4097), ("v_init", 2**23)]
)
def test_one_value_out_of_range_is_named(key, value):
    layer = random_network(2).layers[0]
    values = np.arange(len(layer.weight))
    values[2] = value
    with pytest.raises(RangeError, match=f"layer conv1: {key} {value} lies outside"):
        replace(layer, neuron=replace(layer.neuron, **{key: values}))


def test_an_amount_equal_to_every_threshold_is_none():
    neuron = IntegerNeuron(np.array([3, 4]), np.zeros(2), reset="subtract", reset_amount=[192, 256])
    assert neuron.reset_amount is None and not neuron.subtracts_more
    more = replace(neuron, reset_amount=[192, 257])
    assert more.subtracts_more and equal(more.subtracted, np.array([192, 257]))
    assert said(more.subtracted, ",d") == "192 to 257"


@pytest.mark.parametrize("by", ["channels", "neurons"])
def test_the_ranges_of_a_layer_are_those_of_its_widest_neuron(by):
    layer = differing(np.random.default_rng(4), random_network(2, soft=True, bias=False).layers[0], by)
    shape = layer.output_shape
    each = []
    for c, y, x in np.ndindex(*shape):
        one = {key: int(per_neuron(getattr(layer.neuron, key), shape)[c, y, x]) for key in (*KEYS, "reset_amount")}
        neuron = IntegerNeuron(bias_mantissa=np.zeros(1), reset="subtract", **one)
        alone = replace(layer, weight=layer.weight[c : c + 1], output_shape=(1, *shape[1:]), neuron=neuron)
        each.append(worst_case(alone, 5, 0, 1))
    found = worst_case(layer, 5, 0, 1)
    assert found.current == max(ranges.current for ranges in each)
    assert found.membrane == max(ranges.membrane for ranges in each)
