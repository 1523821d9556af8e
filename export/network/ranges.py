"""The range of every integer of a network, checked as its parts are made, by whatever way they come in.

The ranges are the chip's (Davies et al. 2018) and those in which Lava's fixed-point models hold the very same numbers
(lava.proc.lif.models.PyLifModelBitAcc, lava.proc.dense, lava.proc.conv): nothing is clipped, truncated or wrapped.
"""

import numpy as np
import numpy.typing as npt

from spikecut.errors import RangeError
from spikecut.fixed_point import (
    BIAS_EXPONENT_MAXIMUM,
    DECAY_UNITY,
    REFRACTORY_MAXIMUM,
    STATE_LIMIT,
    THRESHOLD_MAXIMUM,
    WEIGHT_MAXIMUM,
    WEIGHT_MINIMUM,
    WEIGHT_STEP,
)

SMALLER = "scale the layer's weights, biases and threshold down together"

NEURON = {
    "threshold": (0, THRESHOLD_MAXIMUM, f"17 bits; {SMALLER}"),
    "decay_u": (0, DECAY_UNITY, "4096ths of the current that a step takes away"),
    "decay_v": (0, DECAY_UNITY, "4096ths of the membrane that a step takes away"),
    "bias_exponent": (0, BIAS_EXPONENT_MAXIMUM, f"3 bits; {SMALLER}"),
    "refractory": (0, REFRACTORY_MAXIMUM, "timesteps that a neuron rests, 6 bits"),
    "v_init": (1 - STATE_LIMIT, STATE_LIMIT - 1, f"the membrane's 24 bits; {SMALLER}"),
}
"""Smallest and largest value of each number of a neuron, and why."""


def check_weight(weight: npt.NDArray[np.int64], what: str, kind: str) -> None:
    """Weights are even, and a matrix of Lava's Dense without a positive weight holds no -256."""
    check_values(weight, WEIGHT_MINIMUM, WEIGHT_MAXIMUM, what, "8 bits, times 2; quantise the network first")
    odd = weight[weight % WEIGHT_STEP != 0]
    if odd.size:
        raise RangeError(f"{what} {odd[0]} is odd, and the chip's are even; quantise the network first")
    if kind == "dense" and weight.min() == WEIGHT_MINIMUM and weight.max() <= 0:
        raise RangeError(
            f"{what} {WEIGHT_MINIMUM} in a matrix without a positive one, of which Lava's Dense would make -255; keep "
            "one weight of the other sign, or use -254"
        )


def check_values(values: npt.NDArray[np.int64], low: int, high: int, what: str, why: str) -> None:
    """RangeError unless every value lies within [low, high]; what: whose values. why: of the bounds."""
    outside = values[(values < low) | (values > high)]
    if outside.size:
        raise RangeError(f"{what} {outside[0]} lies outside {low}..{high}: {why}")
