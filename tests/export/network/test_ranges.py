"""One check of every value of a network, whatever door it comes in by: what passes it, Lava computes alike."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lava_layers import LavaLayer
from networks import random_network
from oracle import run_network

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import load
from spikecut.errors import BundleError, ExportError, InputError, RangeError, SpikecutError, UnsupportedError
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.netx.read import read_netx
from spikecut.export.netx.write import write_netx
from spikecut.export.nir.write import write_nir

STEPS = 6
NEURON = {
    "threshold": (0, 2**17 - 1),
    "decay_u": (0, 4096),
    "decay_v": (0, 4096),
    "bias_mantissa": (-4096, 4095),
    "bias_exponent": (0, 7),
    "v_init": (-(2**23) + 1, 2**23 - 1),
    "refractory": (0, 63),
    "gain": (-4096, 4096),
}
SYNAPSE = {"weight": (-256, 254), "recurrent": (-256, 254), "delay": (0, 62)}
EDGES = [(field, edge) for field, edges in (NEURON | SYNAPSE).items() for edge in edges]


def network_with(field, value, reset="subtract", bits=8):
    """Three inputs, two neurons, and one field of the layer set to the value."""
    neuron = {"threshold": 900, "bias_mantissa": [11, -300], "decay_u": 1000, "decay_v": 300, "bias_exponent": 5}
    synapse = {"weight": np.array([[40, -30, 254], [10, 100, -2]], dtype=object)}
    neuron["reset"] = reset
    if field == "gain":
        neuron |= {"gain": (4096, value, *[300] * (STEPS - 2)), "decay_u": 4096}
    elif field == "bias_mantissa":
        neuron[field] = [value, 3]
    elif field in NEURON:
        neuron[field] = value
    elif field == "weight":
        synapse["weight"][0, 1] = value
    elif field == "recurrent":
        synapse[field] = [[value, 6], [254, -8]]
    else:
        synapse[field] = [[1, 0, value], [2, 0, 0]]
    if all(abs(each) < 2**63 for each in synapse["weight"].flat):
        synapse["weight"] = synapse["weight"].astype(np.int64)
    layer = IntegerLayer(
        "first", "dense", neuron=IntegerNeuron(**neuron), input_shape=(3,), output_shape=(2,), **synapse
    )
    return IntegerNetwork((layer,), InputSpec((3,), "events", bits=bits, signed=True), "count", STEPS)


def check_against_lava_and_the_oracle(network):
    rng = np.random.default_rng(0)
    shape = (STEPS, 2, *network.input_shape)
    inputs = rng.integers(network.input.minimum, network.input.maximum + 1, shape).astype(np.int32)
    trace = run_batched(network, inputs, record="all")
    (layer,) = network.layers
    np.testing.assert_array_equal(trace.spikes[layer.name], run_network(network, inputs)[0])
    lava = LavaLayer(layer, network.input.bits)
    for n in range(2):
        np.testing.assert_array_equal(trace.spikes[layer.name][:, n], lava.run(inputs[:, n]).messages)


@pytest.mark.parametrize(("field", "edge"), EDGES)
def test_the_last_value_is_lavas_and_the_next_is_refused(field, edge):
    check_against_lava_and_the_oracle(network_with(field, edge))
    step = 2 if field in ("weight", "recurrent") else 1
    beyond = edge + step if edge > 0 else edge - step
    with pytest.raises((RangeError, UnsupportedError), match=f"layer first: {field}.* {beyond} lies outside"):
        network_with(field, beyond)


WILD = st.one_of(
    st.integers(-300, 300),
    st.integers(-(2**18), 2**18),
    st.integers(-(2**25), 2**25),
    st.sampled_from([2**32, 2**32 + 4096, -(2**32) + 8, 2**33, 2**63, 2**64 + 2, -(2**31), 2**31]),
    st.sampled_from([0, 4095, 4096, 4097, 2**17 - 1, 2**17, 2**23 - 1, 2**23, -(2**23)]),
)


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(sorted(NEURON | SYNAPSE)), WILD, st.sampled_from(["zero", "subtract"]), st.sampled_from([0, 8, 20])
)
def test_any_value_of_any_field_is_refused_or_lavas(field, value, reset, bits):
    try:
        network = network_with(field, value, reset, bits)
    except (RangeError, UnsupportedError, ExportError) as error:
        assert "\n" not in str(error)
        assert field in str(error)
        return
    low, high = (NEURON | SYNAPSE)[field]
    assert low <= value <= high
    check_against_lava_and_the_oracle(network)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[3, 2]], "weight 3 is odd"),
        ([[-256, -2]], "weight -256 in a matrix without a positive one"),
        ([[2.5, 2]], "layer a: weight: a value is not an integer"),
        ([[np.nan, 2]], "layer a: weight: a value is not an integer"),
        (np.array([[2**64 - 2, 2]], dtype=np.uint64), "layer a: weight: a value is not an integer of 64 bits"),
        ([["two", "2"]], "layer a: weight: a value is not an integer"),
    ],
)
def test_weights_by_hand(values, message):
    with pytest.raises(ExportError, match=message):
        IntegerLayer("a", "dense", values, IntegerNeuron(1, [0]), (2,), (1,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 2.5}, "threshold 2.5: expected an integer"),
        ({"v_init": "0"}, "v_init '0': expected an integer"),
        ({"reset": "half"}, "reset 'half'"),
        ({"reset_order": "before_leak"}, "layer conv1: reset_order 'before_leak': no Process resets before the leak"),
        ({"bias_exponent": 64, "bias_mantissa": np.zeros(4)}, "bias_exponent 64"),
        ({"gain": ()}, "without a value"),
    ],
)
def test_neurons_by_hand(changes, message):
    layer = random_network(1).layers[0]
    with pytest.raises(ExportError, match=message):
        replace(layer, neuron=replace(layer.neuron, **changes))


def test_numbers_of_numpy_do_not_overflow():
    neuron = IntegerNeuron(np.int32(2**17 - 1), [0], np.uint16(4096), np.int16(0), np.int8(6), np.int32(5))
    assert {type(getattr(neuron, key)) for key in ("threshold", "decay_u", "decay_v", "bias_exponent", "v_init")} == {
        int
    }


def test_networks_by_hand():
    network = random_network(1)
    for changes, message in (
        ({"horizon": 0}, "horizon T = 0"),
        ({"horizon": 2**20 + 1}, "horizon T = 1048577"),
        ({"horizon": 2.0}, r"horizon T 2.0: expected an integer"),
        ({"readout": "argmax"}, "readout 'argmax'"),
        ({"name": ""}, "network name ''"),
    ):
        with pytest.raises((ExportError, InputError), match=message):
            replace(network, **changes)


def test_only_input_neurons_have_the_weight_one():
    ones = IntegerLayer("ones", "dense", np.eye(3), IntegerNeuron(9, [0] * 3), (3,), (3,))
    first = IntegerLayer("first", "dense", 2 * np.eye(3), IntegerNeuron(9, [0] * 3), (3,), (3,))
    IntegerNetwork((ones, first), InputSpec((3,), "direct", bits=12, signed=True), "count", 4)
    with pytest.raises(UnsupportedError, match="input neurons take messages of 12 bits"):
        IntegerNetwork((ones, first), InputSpec((3,), "direct", bits=13), "count", 4)
    with pytest.raises(RangeError, match="layer ones: weight 1 is odd"):
        IntegerNetwork((first, ones), InputSpec((3,), "events"), "count", 4)


def put(key, value):
    def change(file):
        del file[key]
        file[key] = value

    return change


IN_A_FILE = {
    "a weight of 400": (
        put("layer/1/weight", np.full((4, 2, 3, 3), 400.0)),
        r"conv1: weight 400 lies outside -256\.\.254",
    ),
    "an odd weight": (put("layer/1/weight", np.full((4, 2, 3, 3), 3)), "conv1: weight 3 is odd"),
    "a weight beyond int64": (put("layer/1/weight", np.full((4, 2, 3, 3), 2**64 - 2, dtype=np.uint64)), "64 bits"),
    "a negative threshold": (put("layer/1/neuron/vThMant", -1), "conv1: threshold -1 lies"),
    "a threshold of 2^25": (put("layer/1/neuron/vThMant", 2**25), "conv1: threshold 33554432"),
    "a threshold of 2^33": (put("layer/1/neuron/vThMant", 2**33), "conv1: threshold 8589934592"),
    "a negative decay": (put("layer/1/neuron/vDecay", -1), "conv1: decay_v -1"),
    "a decay that would wrap": (put("layer/1/neuron/iDecay", 2**32 + 4096), "conv1: decay_u 4294971392"),
    "v(0) of 2^31": (put("layer/1/neuron/vInit", 2**31), "conv1: v_init 2147483648"),
    "an exponent of 64": (put("layer/1/neuron/biasExponent", 64), "conv1: bias_exponent 64"),
    "a bias of 13 bits": (put("layer/1/bias", np.full(4, 4096)), "conv1: bias_mantissa 4096"),
    "graded spikes": (put("layer/1/neuron/gradedSpike", True), "conv1: gradedSpike 1, which netx would drop"),
    "a refractory delay": (put("layer/1/neuron/refDelay", 65), "conv1: refractory 64 lies outside"),
    "an absurd padding": (put("layer/1/padding", np.array([2**20, 2**20])), "conv1: a convolution that needs"),
    "a delay": (put("layer/2/padding", np.array([2**62, 2**62])), "conv2: a convolution that needs"),
}


@pytest.mark.parametrize("case", IN_A_FILE)
def test_values_in_a_net_file(tmp_path, case):
    change, message = IN_A_FILE[case]
    path = tmp_path / "network.net"
    write_netx(random_network(1, soft=True), path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(SpikecutError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"bias_exponent": 4', '"bias_exponent": 16'), "layer conv1: bias_exponent 16"),
        (('"threshold": 150', '"threshold": 131072'), "layer conv1: threshold 131072"),
        (('"decay_v": 0', '"decay_v": 4294971392'), "layer conv1: decay_v 4294971392"),
        (('"horizon": 6', '"horizon": 2147483648'), "horizon T"),
        (('"name": "network"', '"name": "\\u001b[31mred"'), "control character"),
        (('"readout"', '"\\u001b[31mred": 1, "readout"'), "control character"),
    ],
)
def test_values_in_a_nir_file(tmp_path, change, message):
    path = tmp_path / "network.nir"
    write_nir(random_network(1, soft=True), path)
    with h5py.File(path, "r+") as file:
        key = "node/metadata/spikecut"
        text = file[key][()].decode()
        assert change[0] in text
        put(key, text.replace(*change))(file)
    with pytest.raises(BundleError, match=message) as caught:
        load(path)
    assert str(caught.value).isprintable()


EXTRAS = {
    "a float for a side": (('"shape": [2, 7, 5]', '"shape": [2.0, 7, 5]'), "input shape 2.0: expected an integer"),
    "no name": (('"name": "network", ', ""), "name: Field required"),
    "a layer's name that steers the terminal": (('"conv1"', '"\\u001b]0;title\\u0007"'), "control character"),
    "a label that steers the terminal": (('"labels": []', '"labels": ["a\\u009b31m"]'), "control character"),
    "a layer without a name": (('"conv1"', '""'), "layer '': expected 1 to 256 printable characters"),
    "text for a number of bits": (('"bits": 0', '"bits": "0"'), "input bits '0'"),
    "an input of gigabytes": (('"shape": [2, 7, 5]', '"shape": [1048576, 1048576, 1048576]'), "input shape"),
    "true for T": (('"horizon": 6', '"horizon": true'), "horizon"),
    "deep JSON": (("{", "[" * 20_000), "damaged"),
}


@pytest.mark.parametrize("case", EXTRAS)
def test_what_a_net_file_says_of_itself(tmp_path, case):
    change, message = EXTRAS[case]
    path = tmp_path / "network.net"
    write_netx(random_network(1), path)
    with h5py.File(path, "r+") as file:
        text = file["spikecut"].attrs["network"]
        assert change[0] in text
        file["spikecut"].attrs["network"] = text.replace(*change, 1)
    with pytest.raises(SpikecutError, match=message) as caught:
        read_netx(path)
    assert str(caught.value).isprintable()


def test_names_by_hand():
    network = random_network(1)
    for name in ("\x1b[31m", "a\nb", "a\u202eb", "x" * 257, 7):
        with pytest.raises(ExportError, match="printable characters") as caught:
            replace(network.layers[0], name=name)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 400
        with pytest.raises(ExportError, match="label"):
            replace(network.input, labels=(name,))
