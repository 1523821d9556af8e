"""Encoding: the one place where floats become integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import random_network

import spikecut
from spikecut.errors import DataError, InputError
from spikecut.export.encode import encode_samples
from spikecut.export.network.input_spec import InputSpec

DIRECT = InputSpec((4,), "direct", bits=5, scale=0.5, zero=-1.0)
BERNOULLI = InputSpec((6,), "bernoulli", scale=16.0, seed=3)


@given(st.lists(st.integers(0, 31), min_size=4, max_size=4), st.integers(1, 5))
def test_direct_is_the_inverse_of_scale_and_zero(integers, horizon):
    values = np.array([integers]) * 0.5 - 1.0
    encoded = encode_samples(values, DIRECT, horizon)
    assert encoded.shape == (horizon, 1, 4)
    assert (encoded == np.array(integers)).all()


def test_bernoulli_has_the_right_rate_and_depends_on_the_sample_only():
    values = np.linspace(0, 16, 12).reshape(2, 6)
    encoded = encode_samples(values, BERNOULLI, 4000)
    assert set(np.unique(encoded)) == {0, 1}
    np.testing.assert_allclose(encoded.mean(axis=0), values / 16, atol=0.04)  # 5 standard deviations of 4000 draws
    np.testing.assert_array_equal(encode_samples(values[::-1], BERNOULLI, 4000), encoded[:, ::-1])
    np.testing.assert_array_equal(encode_samples(values[1:], BERNOULLI, 4000), encoded[:, 1:])


def test_bernoulli_draws_differ_by_seed_and_by_timestep():
    values = np.full((1, 6), 8.0)
    encoded = encode_samples(values, BERNOULLI, 64)
    other = encode_samples(values, InputSpec((6,), "bernoulli", scale=16.0, seed=4), 64)
    assert (encoded != other).any()
    assert (encoded[:32] != encoded[32:]).any()


def test_latency_sends_one_spike_and_the_larger_value_sooner():
    encoded = encode_samples(np.array([[0.0, 0.1, 0.5, 1.0]]), InputSpec((4,), "latency"), 11)
    assert encoded.sum(axis=0).tolist() == [[0, 1, 1, 1]]
    assert encoded.argmax(axis=0).tolist() == [[0, 9, 5, 0]]


def test_events_pass_through_and_public_encode_takes_a_network():
    network = random_network(1)
    events = np.random.default_rng(1).integers(0, 2, (2, network.horizon, *network.input_shape))
    np.testing.assert_array_equal(spikecut.encode(events, network), np.moveaxis(events, 1, 0))


@pytest.mark.parametrize(
    ("values", "spec", "message"),
    [
        (np.zeros((2, 5)), DIRECT, "do not fit"),
        (np.zeros(4), DIRECT, "do not fit"),
        (np.full((1, 4), 15.0), DIRECT, r"outside the input range \[-1, 14.5\]"),
        (np.full((1, 4), np.nan), DIRECT, "NaN"),
        (np.array([["a"] * 4]), DIRECT, "expected numbers"),
        (np.full((1, 6), 16.5), BERNOULLI, r"\[0, 16\]"),
        (np.full((1, 6), -0.1), BERNOULLI, "outside"),
        (np.zeros((1, 3, 4)), InputSpec((4,), "events"), "2 frames"),
        (np.full((1, 2, 4), 0.5), InputSpec((4,), "events"), "whole numbers"),
        (np.full((1, 2, 4), 2), InputSpec((4,), "events"), "outside"),
    ],
)
def test_what_does_not_fit_is_refused_never_clipped(values, spec, message):
    with pytest.raises(DataError, match=message):
        encode_samples(values, spec, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"shape": (2, 2)},
        {"shape": (0,)},
        {"encoding": "rate"},
        {"bits": 25},
        {"scale": 0.0},
        {"scale": float("nan")},
        {"zero": float("inf")},
    ],
)
def test_an_input_spec_checks_itself(fields):
    with pytest.raises(InputError):
        InputSpec(**{"shape": (4,), "encoding": "direct", **fields})
