"""Parameters of neurons that may differ: one number for a layer, or one per output channel, or one per neuron.

An array has the shape (C,), one per channel of a map or per neuron of a dense layer, or the layer's whole output shape
(C, H, W). Arrays are as small as they can be: what does not differ inside a channel is held per channel, and what does
not differ at all is a number.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.errors import ExportError
from spikecut.export.network.arrays import Array, IntArray, Shape, frozen_float, frozen_int, whole

Parameter = int | IntArray
"""One whole number, or int64 (C,) or (C, H, W)."""
FloatParameter = float | Array
"""One number, or float64 (C,) or (C, H, W)."""


def integer_parameter(values: Any, what: str) -> Parameter:
    """A whole number, or a read-only int64 array as small as it can be; ExportError for other numbers."""
    if np.ndim(values) == 0:
        return whole(values.item() if isinstance(values, np.ndarray) else values, what)
    array = _smallest(frozen_int(values, what))
    return int(array) if array.ndim == 0 else array


def float_parameter(values: Any) -> FloatParameter:
    """A number, or a read-only float64 array as small as it can be."""
    if np.ndim(values) == 0:
        return float(values)
    array = _smallest(frozen_float(values))
    return float(array) if array.ndim == 0 else array


def as_given(values: Any) -> FloatParameter:
    """A number of an array without axes; any other array as it is, of its whole shape."""
    return float(values) if np.ndim(values) == 0 else np.asarray(values, dtype=np.float64)


def per_channel(values: IntArray) -> IntArray:
    """One per channel where an array (C, ...) does not differ inside any; the array itself otherwise."""
    if values.ndim > 1 and values.size:
        first = values.reshape(len(values), -1)[:, :1]
        if (values.reshape(len(values), -1) == first).all():
            values = np.array(first[:, 0])
            values.setflags(write=False)
    return values


def _smallest(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.size and (values == values.flat[0]).all():
        return np.array(values.flat[0])
    return per_channel(values)


def differs(*parameters: Parameter | FloatParameter | None) -> bool:
    """Whether any of these is not one number for all neurons of a layer."""
    return any(isinstance(each, np.ndarray) for each in parameters)


def differs_inside_channels(*parameters: Parameter | FloatParameter | None) -> bool:
    """Whether any of these differs between the neurons of a channel of a map."""
    return any(isinstance(each, np.ndarray) and each.ndim > 1 for each in parameters)


def lowest(parameter: Parameter) -> int:
    """The smallest value."""
    return int(np.min(parameter))


def highest(parameter: Parameter) -> int:
    """The largest value."""
    return int(np.max(parameter))


def spread(parameter: Any, dimensions: int) -> Any:
    """A number as it is; an array with axes of length 1 behind it, to stand beside arrays of a layer's output shape.

    dimensions: of the output shape, 1 or 3.
    """
    if not isinstance(parameter, np.ndarray) or parameter.ndim == 0:
        return parameter
    return parameter.reshape(*parameter.shape, *([1] * (dimensions - parameter.ndim)))


def beside(one: Any, other: Any) -> tuple[Any, Any]:
    """Two parameters of a layer as they broadcast to each other."""
    dimensions = max(np.ndim(one), np.ndim(other))
    return spread(one, dimensions), spread(other, dimensions)


def per_neuron(parameter: Parameter, shape: Shape) -> IntArray:
    """One for each neuron of a layer with this output shape, int64, read only."""
    return np.broadcast_to(np.asarray(spread(parameter, len(shape)), dtype=np.int64), shape)


def equal(one: Parameter, other: Parameter) -> bool:
    """Whether two parameters of a layer are the same for all of its neurons."""
    first, second = beside(one, other)
    try:
        alike = np.asarray(first) == second
        return bool(alike.size and alike.all())
    except ValueError:  # shapes of two different layers
        return False


def check_shape(parameter: Parameter | FloatParameter | None, shape: Shape, what: str) -> None:
    """ExportError unless an array is one per channel or per neuron of this output shape; what: whose, and which."""
    if isinstance(parameter, np.ndarray) and parameter.shape not in (shape[:1], shape):
        raise ExportError(f"{what} of shape {parameter.shape}, expected one number, {shape[:1]} or {shape}")


def said(parameter: Parameter | FloatParameter, form: str) -> str:
    """A parameter in words: the number, or the smallest and the largest, "12 to 40"; form: of a number, as ",d"."""
    if isinstance(parameter, np.ndarray):
        low, high = (format(each.item(), form) for each in (parameter.min(), parameter.max()))
        return low if low == high else f"{low} to {high}"
    return format(parameter, form)
