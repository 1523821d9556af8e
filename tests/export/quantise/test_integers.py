"""Fold and quantise: the integer network is the torch twin, integer by integer; what cannot be exact is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikecut.deploy.backends.kernels.reference import measure_ranges, propagate, scores_of
from spikecut.errors import RangeError, UnsupportedError
from spikecut.export.importers.torch_network import spiking_form, trace
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.netx.limits import beyond_netx
from spikecut.export.quantise.fold import fold
from spikecut.export.quantise.headroom import Ranges
from spikecut.export.quantise.integers import quantise
from spikecut.export.quantise.neurons import decay_12bit
from spikecut.fixed_point import STATE_LIMIT
from spikecut.models.architectures import build
from spikecut.models.twin import quantised_twin

SPECS = {
    "digits-lif": InputSpec((2, 6, 5), "bernoulli"),
    "digits-qcfs": InputSpec((2, 6, 5), "direct", bits=5, scale=0.25),
    "mlp-lif": InputSpec((9,), "bernoulli"),
    "mlp-qcfs": InputSpec((9,), "direct", bits=3, signed=True),
}


def random_torch(arch, seed):
    """A network with random weights, and batch norms as if they had been trained."""
    torch.manual_seed(seed)
    network = build(arch, input_shape=SPECS[arch].shape, classes=4)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.05, 0.4)
            module.weight.data.uniform_(0.3, 1.5)
            module.bias.data.normal_(0, 0.4)
    return spiking_form(network)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(SPECS)), st.integers(0, 10**6), st.integers(1, 12))
def test_the_integer_network_is_the_torch_twin(arch, seed, horizon):
    spec = SPECS[arch]
    network = random_torch(arch, seed)
    quantised = quantise(trace(network, spec, horizon))
    generator = np.random.default_rng(seed)
    inputs = generator.integers(spec.minimum, spec.maximum + 1, (horizon, 3, *spec.shape))
    twin = quantised_twin(network, quantised.plans).record(torch.tensor(inputs, dtype=torch.float64))
    messages = propagate(quantised.network, inputs)
    for layer, found in zip(quantised.network.layers[:-1], messages[1:], strict=False):
        np.testing.assert_array_equal(found, twin[layer.name].numpy(), layer.name)
    np.testing.assert_array_equal(scores_of(quantised.network, messages[-1]), twin["output"].numpy())


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(SPECS)), st.integers(0, 10**6))
def test_folding_does_not_change_the_float_function(arch, seed):
    spec = SPECS[arch]
    network = random_torch(arch, seed).double()
    traced = trace(network, spec, 4)
    integers = np.random.default_rng(seed).integers(spec.minimum, spec.maximum + 1, (5, *spec.shape))
    first = fold(traced).layers[0]
    stage = next(network.chain())
    scaled = torch.tensor(integers * (spec.scale if spec.encoding == "direct" else 1.0))
    with torch.no_grad():
        expected = stage.norm(stage.synapse(scaled))
        bias = torch.tensor(np.array(first.bias))
        weight = torch.tensor(np.array(first.weight))
        values = torch.tensor(integers, dtype=torch.float64)
        if first.kind == "conv":
            found = torch.nn.functional.conv2d(values, weight, bias, first.stride, first.padding)
        else:
            found = torch.nn.functional.linear(values, weight, bias)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-10, atol=1e-10)  # float64 rounding


@pytest.mark.parametrize("arch", sorted(SPECS))
def test_report_and_loader(arch):
    quantised = quantise(trace(random_torch(arch, 1), SPECS[arch], 6))
    assert bool(beyond_netx(quantised.network)) == arch.endswith("qcfs")
    for entry, layer in zip(quantised.report, quantised.network.layers, strict=True):
        assert entry.headroom == "proven" and entry.headroom_bits > 0
        assert 5 <= entry.weight_bits <= 8
        assert 0 < entry.weight_error_max <= 1 / entry.scale
        assert entry.bias_error_max <= 2**layer.neuron.bias_exponent / 128 / entry.scale + 1e-12
        assert np.abs(layer.weight).max() <= 254


def wide(horizon):
    """A horizon of many steps, at which no width can be proven."""
    network = trace(random_torch("mlp-qcfs", 3), SPECS["mlp-qcfs"], horizon)
    last = network.layers[-1]
    return replace(network, layers=(*network.layers[:-1], replace(last, weight=np.ones_like(last.weight))))


def test_what_cannot_be_proven_is_measured_or_refused():
    network = wide(40)
    with pytest.raises(RangeError, match="no weight width"):
        quantise(network)

    def measure(integer):
        inputs = np.zeros((integer.horizon, 2, *integer.input_shape), dtype=np.int32)
        return measure_ranges(integer, inputs)

    found = quantise(network, measure=measure)
    assert found.report[-1].headroom == "measured" and found.report[-1].headroom_bits >= 1

    def too_close(integer):
        return {name: replace(ranges, membrane=STATE_LIMIT - 1) for name, ranges in measure(integer).items()}

    with pytest.raises(RangeError, match=r"samples come within 0.00 bits"):
        quantise(network, measure=too_close)

    def close(integer):
        return {
            layer.name: Ranges(0, int(0.7 * STATE_LIMIT * np.abs(layer.weight).max() / 254)) for layer in integer.layers
        }

    narrower = quantise(network, measure=close).report[-1]
    assert (narrower.weight_bits, narrower.headroom) == (7, "measured") and 1 <= narrower.headroom_bits < 2
    assert found.report[-1].weight_bits == 8


def test_refusals():
    network = trace(random_torch("mlp-lif", 1), SPECS["mlp-lif"], 4)
    first, last = network.layers

    def with_neuron(**changes):
        return replace(network, layers=(replace(first, neuron=replace(first.neuron, **changes)), last))

    with pytest.raises(UnsupportedError, match="multiple of 1/4096"):
        quantise(with_neuron(decay_v=0.3))
    with pytest.raises(UnsupportedError, match="after the leak, of a v that is set to 0"):
        quantise(with_neuron(reset_order="before_leak"))
    with pytest.raises(RangeError, match=r"v\(0\) becomes"):
        quantise(with_neuron(v_init=1e9))
    with pytest.raises(UnsupportedError, match=rf"layer {first.name}: scales per timestep .* decays slowly"):
        quantise(with_neuron(gain=(1.0, 0.5, 0.5, 0.5), decay_u=0.5))
    with pytest.raises(UnsupportedError, match="equality"):
        quantise(with_neuron(fires=">="))
    with pytest.raises(RangeError, match="all weights are zero"):
        quantise(replace(network, layers=(replace(first, weight=np.zeros_like(first.weight), batch_norm=None), last)))
    with pytest.raises(RangeError, match="bias"):
        quantise(replace(network, layers=(replace(first, bias=first.bias + 1e6), last)))
    back = np.eye(len(first.weight))
    first = replace(first, batch_norm=None)
    for share, lost in ((1e-4, "the recurrent weights"), (1e4, "its own weights")):
        unequal = replace(first, weight=first.weight / np.abs(first.weight).max(), recurrent=share * back)
        with pytest.raises(RangeError, match=f"layer {first.name}: {lost} are too small beside"):
            quantise(replace(network, layers=(unequal, last)))
    exact = replace(first, weight=np.ones_like(first.weight), recurrent=0.01 * back)  # 254, and 2.54 that becomes 2
    assert quantise(replace(network, layers=(exact, last))).report[0].weight_error_max == pytest.approx(0.54 / 254)
    assert decay_12bit(0.5, "x") == 2048 and decay_12bit(1.0, "x") == 4096


def test_thresholds_keep_their_relation_and_a_start_is_rounded_or_half_a_threshold():
    network = trace(random_torch("mlp-lif", 1), SPECS["mlp-lif"], 4)
    first, last = network.layers
    count = first.output_shape[0]
    levels, starts = np.linspace(0.4, 1.9, count), np.linspace(-1, 0.3, count)
    starts[3] = levels[3] / 2
    neuron = replace(first.neuron, threshold=levels, v_init=starts, decay_v=np.arange(count) % 5 / 4)
    found = quantise(replace(network, layers=(replace(first, neuron=neuron), last)))
    integer, scale = found.network.layers[0].neuron, found.plans[0].scale
    np.testing.assert_array_equal(integer.threshold, np.rint(levels * scale))
    expected = np.rint(64 * starts * scale)
    expected[3] = 32 * integer.threshold[3]
    np.testing.assert_array_equal(integer.v_init, expected)
    np.testing.assert_array_equal(integer.decay_v, 1024 * (np.arange(count) % 5))
    assert found.report[0].threshold_error == pytest.approx(np.abs(integer.threshold / scale - levels).max())


def test_a_zero_point_under_padding_is_refused():
    network = trace(random_torch("digits-qcfs", 1), replace(SPECS["digits-qcfs"], zero=-1.0), 4)
    with pytest.raises(UnsupportedError, match="zero point"):
        quantise(network)
