"""The chip's fixed-point arithmetic: every integer constant and rounding rule, in one place.

The ranges are those of Loihi (Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE
Micro 38, 2018) as Lava's fixed-point models hold them (lava.proc.lif.models, lava.proc.dense, lava.proc.conv).

Units: a float current I becomes scale · I weight units, and the chip shifts those left by ALIGNMENT_SHIFT on the way
into v. So v, biases and thresholds · WEIGHT_UNIT are in units of 1 / (WEIGHT_UNIT · scale). Rounding is to the nearest,
halves to even, throughout. What stands witness for this arithmetic (the golden twin's neurons, the tests' oracle, the
compiled kernels) takes constants from here and computes by itself.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.errors import RangeError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

STATE_LIMIT = 2**23
"""u and v have 24 bits: u wraps beyond this magnitude, v is clipped below it."""
ALIGNMENT_SHIFT = 6
WEIGHT_UNIT = 1 << ALIGNMENT_SHIFT
"""A weight or threshold of 1 in units of v, which has 6 bits more."""
DECAY_SHIFT = 12
DECAY_UNITY = 1 << DECAY_SHIFT
"""A decay that loses everything; decays are in 4096ths."""
GAIN_SHIFT = 12
GAIN_UNITY = 1 << GAIN_SHIFT
"""A gain per timestep of 1; gains are in 4096ths, -4096 to 4096."""

WEIGHT_MINIMUM, WEIGHT_MAXIMUM, WEIGHT_STEP = -256, 254, 2
WEIGHT_BITS_MINIMUM, WEIGHT_BITS_MAXIMUM = 5, 8
"""Bits of a weight's mantissa, sign included, that export chooses from; a weight is mantissa · 2."""
THRESHOLD_MAXIMUM = 2**17 - 1
BIAS_MINIMUM, BIAS_MAXIMUM = -(2**12), 2**12 - 1
"""Of a bias mantissa, 13 bits; a bias in units of v is mantissa · 2^exponent."""
BIAS_EXPONENT_MAXIMUM = 7
DELAY_MAXIMUM = 62
"""Timesteps that a synapse can wait."""
REFRACTORY_MAXIMUM = 63
"""Timesteps that a neuron can rest after a spike: a counter of 6 bits."""

FLOAT32_EXACT, FLOAT64_EXACT = 2**24, 2**53
"""Below these every sum of integers is exact in float32 and float64, whatever the order."""


def keep(values: IntArray, decay: int | IntArray) -> IntArray:
    """Loihi's decay: the magnitude times (4096 - decay), shifted right by 12, with the sign kept.

    decay: one number, or an array that broadcasts to the values.
    """
    factor: IntArray = np.asarray(DECAY_UNITY - decay, dtype=np.int64)
    kept: IntArray = np.sign(values) * ((np.abs(values) * factor) >> DECAY_SHIFT)
    return kept


def multiplied(values: npt.NDArray[Any], gain: int) -> IntArray:
    """Current and bias in v's units, any integers of 32 bits, times the gain: int64 of the same shape."""
    product = values.astype(np.int64) * gain
    result: IntArray = np.sign(product) * (np.abs(product) >> GAIN_SHIFT)
    return result


def round_half_even(what: str, values: FloatArray, minimum: int, maximum: int, step: int = 1) -> IntArray:
    """step · round(values) as int64; RangeError, told with `what`, if one is not finite or leaves the range."""
    if not np.isfinite(values).all():
        raise RangeError(f"a {what} is not finite")
    rounded = step * np.rint(values)
    if rounded.size and (rounded.min() < minimum or rounded.max() > maximum):
        raise RangeError(
            f"a {what} becomes {rounded.flat[np.abs(rounded).argmax()]:.0f}, outside {minimum} to {maximum}:"
            " choose a smaller scale"
        )
    return rounded.astype(np.int64)


def round_weight(weight: npt.ArrayLike, scale: float) -> IntArray:
    """2 · round(weight · scale / 2): even int64 weights of the same shape; RangeError outside [-256, 254]."""
    values = np.asarray(weight, dtype=np.float64) * scale / WEIGHT_STEP
    return round_half_even("weight", values, WEIGHT_MINIMUM, WEIGHT_MAXIMUM, WEIGHT_STEP)


def _one_or_more(rounded: IntArray) -> int | IntArray:
    """A number for a number."""
    return int(rounded) if rounded.ndim == 0 else rounded


def round_threshold(threshold: float | FloatArray, scale: float) -> int | IntArray:
    """round(threshold · scale) in weight units, of one or an array; RangeError outside 0 to 2^17 - 1."""
    values = np.asarray(threshold, dtype=np.float64) * scale
    return _one_or_more(round_half_even("threshold", values, 0, THRESHOLD_MAXIMUM))


def round_reset(threshold: float | FloatArray, scale: float, decay_v: int | IntArray) -> int | IntArray:
    """What a soft reset subtracts so that the threshold is left of it after the leak, in v's units.

    round(threshold · scale · 64 · 4096 / (4096 - decay_v)), for a decay below 4096; RangeError outside 0 to 2^23 - 1.
    Of neurons that do not leak, the rounded threshold itself, times 64.
    """
    kept = DECAY_UNITY - np.asarray(decay_v)
    values = np.asarray(threshold, dtype=np.float64) * scale * WEIGHT_UNIT * DECAY_UNITY / kept
    amount = round_half_even("reset's amount", values, 0, STATE_LIMIT - 1)
    whole = np.asarray(round_threshold(threshold, scale)) * WEIGHT_UNIT
    return _one_or_more(np.where(kept == DECAY_UNITY, whole, amount))


def round_start(v_init: float | FloatArray, threshold: float | FloatArray, scale: float) -> int | IntArray:
    """round(v(0) · scale · 64), in v's units; of half a threshold, half of the rounded one.

    All of them numbers, or arrays that stand beside each other. RangeError outside ±(2^23 - 1).
    """
    start, level = np.asarray(v_init, dtype=np.float64), np.asarray(threshold, dtype=np.float64)
    rounded = round_half_even("v(0)", start * scale * WEIGHT_UNIT, 1 - STATE_LIMIT, STATE_LIMIT - 1)
    half = np.asarray(round_threshold(threshold, scale)) * WEIGHT_UNIT // 2
    return _one_or_more(np.where((start == level / 2) & (start != 0), half, rounded))


def round_bias(bias: npt.ArrayLike, scale: float, exponent: int) -> IntArray:
    """Mantissas round(bias · scale · 64 / 2^exponent), int64; RangeError outside 13 bit, [-4096, 4095].

    The effective bias, in units of v, is mantissa · 2^exponent.
    """
    values = np.asarray(bias, dtype=np.float64) * scale * WEIGHT_UNIT / 2.0**exponent
    return round_half_even(f"bias mantissa at exponent {exponent}", values, BIAS_MINIMUM, BIAS_MAXIMUM)


def bias_exponent(largest: float, scale: float) -> int:
    """The finest exponent at which a bias of this magnitude fits a mantissa of 13 bits; RangeError if none does."""
    units = largest * scale * WEIGHT_UNIT
    for exponent in range(BIAS_EXPONENT_MAXIMUM + 1):
        if np.rint(units / 2**exponent) <= BIAS_MAXIMUM:
            return exponent
    raise RangeError(f"a bias of {largest:g} exceeds 13 bits with any exponent up to {BIAS_EXPONENT_MAXIMUM}")


def round_decay(decay: float | FloatArray) -> int | IntArray:
    """12-bit decay round(decay · 4096), 0 to 4096, of a fraction lost per timestep, one or an array."""
    return _one_or_more(round_half_even("decay", np.asarray(decay, dtype=np.float64) * DECAY_UNITY, 0, DECAY_UNITY))


def round_gain(gain: npt.ArrayLike) -> IntArray:
    """round(gain · 4096) of gains per timestep between -1 and 1, int64 of the same shape."""
    values = np.asarray(gain, dtype=np.float64) * GAIN_UNITY
    return round_half_even("gain per timestep", values, -GAIN_UNITY, GAIN_UNITY)
