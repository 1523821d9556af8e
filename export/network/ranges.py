"""The range of every integer and name of a network, checked as its parts are made, by whatever door they come in.

The ranges are the chip's (Davies et al. 2018) and those in which Lava's fixed-point models hold the very same numbers
(lava.proc.lif.models.PyLifModelBitAcc, lava.proc.dense, lava.proc.conv): nothing is clipped, truncated or wrapped.
"""

import operator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spikecut.errors import ExportError, InputError, RangeError, UnsupportedError
from spikecut.export.network.gain import check_gain
from spikecut.export.network.geometry import MAXIMUM_ELEMENTS, elements
from spikecut.fixed_point import (
    BIAS_EXPONENT_MAXIMUM,
    BIAS_MAXIMUM,
    BIAS_MINIMUM,
    DECAY_UNITY,
    DELAY_MAXIMUM,
    STATE_LIMIT,
    THRESHOLD_MAXIMUM,
    WEIGHT_MAXIMUM,
    WEIGHT_MINIMUM,
    WEIGHT_STEP,
)

if TYPE_CHECKING:
    from spikecut.export.network.layers import IntegerLayer, IntegerNetwork, IntegerNeuron

MAXIMUM_HORIZON = 2**20
MAXIMUM_NAME = 256
SMALLER = "scale the layer's weights, biases and threshold down together"

NEURON = {
    "threshold": (0, THRESHOLD_MAXIMUM, f"17 bits; {SMALLER}"),
    "decay_u": (0, DECAY_UNITY, "4096ths of the current that a step takes away"),
    "decay_v": (0, DECAY_UNITY, "4096ths of the membrane that a step takes away"),
    "bias_exponent": (0, BIAS_EXPONENT_MAXIMUM, f"3 bits; {SMALLER}"),
    "v_init": (1 - STATE_LIMIT, STATE_LIMIT - 1, f"the membrane's 24 bits; {SMALLER}"),
}
"""Smallest and largest value of each number of a neuron, and why."""


def whole(value: object, what: str) -> int:
    """A Python integer of any integer type; ExportError for other numbers and texts."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ExportError(f"{what} {value!r}: expected an integer") from None


def frozen_int(values: npt.ArrayLike, what: str) -> npt.NDArray[np.int64]:
    """A read-only int64 copy; ExportError if a value is not integral, or needs more than 64 bits."""
    given = np.array(values)
    if given.dtype.kind == "f":
        fits = np.isfinite(given).all() and (np.abs(given) < 2.0**63).all() and (given == np.trunc(given)).all()
    else:
        fits = given.dtype.kind in "iub" and (given.dtype != np.uint64 or (given < np.uint64(2**63)).all())
    if not fits:
        raise ExportError(f"{what}: a value is not an integer of 64 bits: quantise the network first")
    array = given.astype(np.int64)
    array.setflags(write=False)
    return array


def check_name(name: object, what: str) -> None:
    """ExportError unless this is a short text without control characters, which would reach the terminal."""
    if not isinstance(name, str) or not 1 <= len(name) <= MAXIMUM_NAME or not name.isprintable():
        shown = repr(name)
        shown = shown if len(shown) <= MAXIMUM_NAME else f"{shown[:MAXIMUM_NAME]}…"
        raise ExportError(f"{what} {shown}: expected 1 to {MAXIMUM_NAME} printable characters; rename it")


def check_texts(data: object) -> None:
    """InputError for a text in JSON, key or value, with a character that is not printable, line feeds apart."""
    waiting = [data]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, str) and not each.replace("\n", "").isprintable():
            raise InputError(f"the text {ascii(each)[:MAXIMUM_NAME]} holds a control character")


def check_layer(layer: "IntegerLayer") -> None:
    """Raise RangeError, or UnsupportedError, that names layer, field and value, for what chip and Lava cannot hold."""
    where = f"layer {layer.name}"
    if not passes_input(layer):
        check_weight(layer.weight, f"{where}: weight", layer.kind)
    if layer.recurrent is not None:
        check_weight(layer.recurrent, f"{where}: recurrent weight", layer.kind)
    if layer.skip is not None:
        check_weight(layer.skip.weight, f"{where}: weight of its skip", layer.kind)
    if layer.delay is not None:
        _check_values(layer.delay, 0, DELAY_MAXIMUM, f"{where}: delay", "what Loihi 2 can hold")
    _check_neuron(layer.neuron, where)


def check_weight(weight: npt.NDArray[np.int64], what: str, kind: str) -> None:
    """Weights are even, and a matrix of Lava's Dense without a positive weight holds no -256."""
    _check_values(weight, WEIGHT_MINIMUM, WEIGHT_MAXIMUM, what, "8 bits, times 2; quantise the network first")
    odd = weight[weight % WEIGHT_STEP != 0]
    if odd.size:
        raise RangeError(f"{what} {odd[0]} is odd, and the chip's are even; quantise the network first")
    if kind == "dense" and weight.min() == WEIGHT_MINIMUM and weight.max() <= 0:
        raise RangeError(
            f"{what} {WEIGHT_MINIMUM} in a matrix without a positive one, of which Lava's Dense would make -255; keep "
            "one weight of the other sign, or use -254"
        )


def _check_values(values: npt.NDArray[np.int64], low: int, high: int, what: str, why: str) -> None:
    outside = values[(values < low) | (values > high)]
    if outside.size:
        raise RangeError(f"{what} {outside[0]} lies outside {low}..{high}: {why}")


def _check_neuron(neuron: "IntegerNeuron", where: str) -> None:
    for key, (low, high, why) in NEURON.items():
        value = getattr(neuron, key)
        if not low <= value <= high:
            raise RangeError(f"{where}: {key} {value} lies outside {low}..{high}: {why}")
    _check_values(neuron.bias_mantissa, BIAS_MINIMUM, BIAS_MAXIMUM, f"{where}: bias_mantissa", f"13 bits; {SMALLER}")
    if neuron.reset not in ("zero", "subtract", "none"):
        raise ExportError(f"{where}: reset {neuron.reset!r}, expected zero, subtract or none")
    if neuron.reset_order != "after_leak":
        raise UnsupportedError(f"{where}: reset_order {neuron.reset_order!r}: no Process resets before the leak")
    if neuron.gain is not None:
        check_gain(neuron.gain, neuron.decay_u, where)


def passes_input(layer: "IntegerLayer") -> bool:
    """Whether a layer's weights are the identity: netx's input neurons, which get the input as their bias."""
    weight = layer.weight
    if layer.recurrent is not None or layer.delay is not None or layer.skip is not None:
        return False
    if weight.max() != 1 or weight.min() < 0:
        return False
    if layer.kind == "dense":
        return len(weight) == weight.shape[1] and np.array_equal(weight, np.eye(len(weight)))
    own = layer.groups == layer.input_shape[0] and weight.shape[1:] == (1, 1, 1)
    own = own and layer.padding == (0, 0) and layer.input_shape == layer.output_shape
    return bool(own and weight.min() == 1)


def check_network(network: "IntegerNetwork") -> None:
    """Raise InputError or ExportError for what the layers alone do not show: name, horizon, input neurons, size."""
    check_name(network.name, "network name")
    if network.readout not in ("count", "membrane"):
        raise ExportError(f"readout {network.readout!r}: expected count or membrane")
    if not 1 <= network.horizon <= MAXIMUM_HORIZON:
        raise InputError(f"horizon T = {network.horizon}: expected 1 to {MAXIMUM_HORIZON} timesteps")
    for layer in network.layers[1:]:
        if passes_input(layer):
            raise RangeError(f"layer {layer.name}: weight 1 is odd, and only input neurons, the first layer, take it")
    if passes_input(network.layers[0]) and network.input.maximum > BIAS_MAXIMUM:
        raise UnsupportedError(
            f"layer {network.layers[0].name}: input neurons take messages of 12 bits, as their bias, the input has "
            f"{network.input.bits}"
        )
    total = sum(elements(layer) + (0 if layer.skip is None else elements(layer.skip)) for layer in network.layers)
    if total > MAXIMUM_ELEMENTS:
        raise ExportError(f"a network that needs {total} numbers for one sample; at most {MAXIMUM_ELEMENTS} are held")
