"""The batched engine against the independent oracle."""

import numpy as np
import pytest
from fuzz_boundaries import BOUNDARIES, weights_at_a_boundary
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from networks import networks_with_inputs, random_inputs, random_network
from oracle import longest_way, run_network

import spikecut
from spikecut.deploy.backends.batched.engine import Tuning, run_batched
from spikecut.deploy.backends.kernels.reference import measure_ranges, propagate, scores_of, synapse
from spikecut.deploy.cutoff.base import apply_policy
from spikecut.deploy.cutoff.topk import TopK
from spikecut.errors import BackendError, DataError, InputError
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.quantise.headroom import worst_case


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks_with_inputs())
def test_equals_the_oracle_layer_by_layer(case):
    network, inputs = case
    expected = run_network(network, inputs)
    found = propagate(network, inputs)
    for layer, want, got in zip(network.layers, expected, found[1:], strict=True):
        np.testing.assert_array_equal(got, want, err_msg=layer.name)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks_with_inputs(samples=7), st.sampled_from(["auto", "int8", "float32", "float64"]), st.data())
def test_the_engine_equals_plain_integers(case, precision, data):
    network, inputs = case
    policy = None
    if network.classes > 1:
        gaps = st.one_of(st.none(), st.integers(0, 3 if network.readout == "count" else 10**6))
        policy = TopK(tuple(data.draw(st.lists(gaps, min_size=network.horizon, max_size=network.horizon))))
    messages = propagate(network, inputs, tail=network.depth)
    exits = apply_policy(policy, scores_of(network, messages[-1][: network.horizon]))
    try:
        trace = run_batched(network, inputs, policy, "all", tuning=Tuning(precision, slots=3, threads=2))
    except BackendError:
        assume(False)
    np.testing.assert_array_equal(trace.timesteps, exits.timesteps)
    np.testing.assert_array_equal(trace.totals, exits.totals)
    counted = run_batched(network, inputs, policy, "events", tuning=Tuning(precision, slots=2, threads=1))
    for number, (layer, count) in enumerate(zip(trace.events, counted.events, strict=True)):
        depth = longest_way(network, layer.name) if number else 0
        np.testing.assert_array_equal(layer.spikes, count.spikes)
        np.testing.assert_array_equal(layer.synops, count.synops)
        for n, steps in enumerate(trace.hardware_steps):
            want = messages[number][: steps - depth, n].reshape(steps - depth, -1)
            np.testing.assert_array_equal(layer.raster[n, depth:steps], want)
            assert not layer.raster[n, steps:].any() and not layer.raster[n, :depth].any()


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks_with_inputs())
def test_worst_case_bounds_what_is_seen(case):
    network, inputs = case
    seen = measure_ranges(network, inputs)
    ranges = {"input": (network.input.minimum, network.input.maximum)}
    before = "input"
    for layer in network.layers:
        own, *around = (ranges.get(name, (0, 1)) for name in (layer.source or before, *(s.source for s in layer.skips)))
        bound = worst_case(layer, network.horizon, *own, around)
        if not bound.fits:
            break
        assert seen[layer.name].current <= bound.current
        assert seen[layer.name].membrane <= bound.membrane
        before = layer.name


def test_batch_size_does_not_change_anything():
    network = random_network(3, membrane=True, soft=True, graded=True)
    inputs = random_inputs(network, 7)
    whole = run_batched(network, inputs, record="all")
    pieces = run_batched(network, inputs, record="all", tuning=Tuning(slots=2, threads=1))
    np.testing.assert_array_equal(whole.scores, pieces.scores)
    for one, other in zip(whole.events, pieces.events, strict=True):
        np.testing.assert_array_equal(one.raster, other.raster)
        np.testing.assert_array_equal(one.synops, other.synops)


def test_cut_run_is_the_full_run_until_the_exit():
    network = random_network(4)
    inputs = random_inputs(network, 40)
    full = run_batched(network, inputs, record="all")
    policy = TopK((1, 1, 1, 1, 0, None))
    cut = run_batched(network, inputs, policy, record="all")
    assert len(np.unique(cut.timesteps)) > 1
    np.testing.assert_array_equal(cut.valid, np.arange(6)[:, None] < cut.timesteps)
    np.testing.assert_array_equal(cut.scores[cut.valid], full.scores[cut.valid])
    np.testing.assert_array_equal(cut.hardware_steps, cut.timesteps + network.depth)
    for name, spikes in cut.spikes.items():
        np.testing.assert_array_equal(spikes[cut.valid], full.spikes[name][cut.valid])
    for before, after in zip(full.events, cut.events, strict=True):
        for n, steps in enumerate(cut.hardware_steps):
            np.testing.assert_array_equal(after.spikes[n, :steps], before.spikes[n, :steps])
            np.testing.assert_array_equal(after.synops[n, :steps], before.synops[n, :steps])
            assert not after.spikes[n, steps:].any()


def test_synops_count_each_nonzero_synapse_reached():
    network = random_network(8)
    inputs = random_inputs(network, 3)
    trace = run_batched(network, inputs, record="all")
    silenced = [layer.weight != 0 for layer in network.layers]
    for depth, layer in enumerate(network.layers):
        before = trace.events[depth].raster != 0
        counting = layer.with_weight(silenced[depth].astype(np.int64) * 2)
        for n in range(3):
            frames = before[n].reshape(-1, *layer.input_shape).astype(np.int32)
            reached = synapse(counting, frames).reshape(len(frames), -1).sum(axis=1) // 2
            np.testing.assert_array_equal(trace.events[depth + 1].synops[n], reached)


def test_public_run_and_scores():
    network = random_network(9)
    inputs = random_inputs(network, 4)
    trace = spikecut.run(network, inputs)
    np.testing.assert_array_equal(trace.scores, scores_of(network, propagate(network, inputs)[-1]))
    assert trace.events == ()
    with pytest.raises(InputError, match="record='all'"):
        _ = spikecut.run(network, inputs, record="events").spikes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.astype(np.float64), "encode samples"),
        (lambda x: x[..., :-1], "encode samples"),
        (lambda x: x[:-1], "horizon"),
        (lambda x: x[:, :0], "no samples"),
        (lambda x: x + 1, "outside"),
    ],
)
def test_inputs_that_do_not_fit(change, message):
    network = random_network(1)
    with pytest.raises(DataError, match=message):
        spikecut.run(network, change(random_inputs(network, 2, rate=1.0)))


def test_policy_for_another_horizon_is_refused():
    network = random_network(1)
    with pytest.raises(InputError, match="T = 2"):
        spikecut.run(network, random_inputs(network, 2), policy=TopK((0, 0)))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["auto", "int8", "float32", "float64"])
@pytest.mark.parametrize(("channels", "weight"), [(129, 254), (130, 254), (200, 254), (512, 64), (515, 64), (600, -64)])
def test_a_convolution_wraps_its_whole_sum_at_24_bits_in_every_precision(channels, weight, precision):
    """int8 products are of half the weights: what is wrapped must be the sum of all of them.

    Without VNNI large weights are refused for int8, and the small ones show it.
    """
    reach = 255 * weight * channels
    weight = np.full((1, channels, 1, 1), weight)
    neuron = IntegerNeuron(threshold=100, bias_mantissa=np.zeros(1, dtype=np.int64), decay_u=4096, decay_v=4096)
    layer = IntegerLayer("conv", "conv", weight, neuron, (channels, 1, 1), (1, 1, 1))
    network = IntegerNetwork((layer,), InputSpec((channels, 1, 1), "events", bits=8), "count", 2)
    inputs = np.full((2, 1, channels, 1, 1), 255, dtype=np.int32)
    (expected,) = run_network(network, inputs)
    assert bool(expected.all()) == (0 < reach < 2**23 or reach < -(2**23))  # a sum that wraps changes its sign
    try:
        found = run_batched(network, inputs, record="all", tuning=Tuning(precision))
    except BackendError:
        assert precision == "int8" and abs(reach) > 2**15 * channels
        return
    np.testing.assert_array_equal(found.spikes["conv"], expected)


def test_the_fuzz_campaign_draws_sums_at_every_boundary():
    """Each power of two at which the arithmetic changes: sums just below it and from it on."""
    rng = np.random.default_rng(0)
    for boundary in {*BOUNDARIES}:
        seen = []
        for largest in (255, 65535):
            for _ in range(20):
                weight = weights_at_a_boundary(rng, (4, 300), largest, [boundary])
                seen.extend(np.abs(weight).sum(axis=1) * largest / boundary)
                assert not (weight % 2).any() and np.abs(weight).max() <= 254
        near = np.array([each for each in seen if 0.99 < each < 1.01])
        assert near.min() < 1 <= near.max()
