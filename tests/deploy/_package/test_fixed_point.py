import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecut.errors import RangeError
from spikecut.fixed_point import bias_exponent, keep, multiplied, round_bias, round_decay, round_threshold, round_weight


def test_halves_round_to_even():
    assert round_weight([0.5, 1.5, 2.5, -0.5, -1.5], 2.0).tolist() == [0, 4, 4, 0, -4]
    assert [round_threshold(value, 1.0) for value in (0.5, 1.5, 2.5)] == [0, 2, 2]
    assert round_bias([0.5, 1.5, -2.5], 1.0, 6).tolist() == [0, 2, -2]
    assert round_bias([0.5, 1.5, -2.5], 1.0, 3).tolist() == [4, 12, -20]
    assert [round_decay(value) for value in (0.0, 0.5, 1.0)] == [0, 2048, 4096]


def test_the_ends_of_the_ranges_are_reached_and_not_passed():
    assert round_weight([-256.0, 254.0], 1.0).tolist() == [-256, 254]
    assert round_threshold(2**17 - 1, 1.0) == 2**17 - 1
    assert round_bias([-4096.0, 4095.0], 1.0, 6).tolist() == [-4096, 4095]
    for values in ([255.1], [-257.1], [np.nan], [np.inf], [1.0, np.nan]):
        with pytest.raises(RangeError, match="weight"):
            round_weight(values, 1.0)
    for threshold in (2**17, -1, np.nan):
        with pytest.raises(RangeError, match="threshold"):
            round_threshold(threshold, 1.0)
    for values in ([4096.0], [-4097.0], [np.nan]):
        with pytest.raises(RangeError, match="bias mantissa at exponent 6"):
            round_bias(values, 1.0, 6)
    with pytest.raises(RangeError, match="decay"):
        round_decay(1.1)


@given(st.lists(st.floats(-120, 120), min_size=1, max_size=30), st.floats(0.1, 2.0))
def test_weights_are_even_and_nearest(values, scale):
    rounded = round_weight(values, scale)
    assert not np.any(rounded % 2)
    assert np.all(np.abs(rounded - np.array(values) * scale) <= 1)


def test_the_finest_bias_exponent_that_fits_is_found():
    assert [bias_exponent(largest, 1.0) for largest in (0.0, 63.0, 64.0, 127.0, 128.0, 4095.0)] == [0, 0, 1, 1, 2, 6]
    with pytest.raises(RangeError, match="13 bits with any exponent up to 7"):
        bias_exponent(9000.0, 1.0)


@given(st.integers(-(2**30), 2**30), st.integers(0, 4096), st.integers(-4096, 4096))
def test_decay_and_gain_shift_the_magnitude(value, decay, gain):
    kept = abs(value) * (4096 - decay) // 4096
    assert keep(np.array([value]), decay).tolist() == [kept if value > 0 else -kept]
    product = abs(value * gain) // 4096
    assert multiplied(np.array([value]), gain).tolist() == [product if value * gain > 0 else -product]
