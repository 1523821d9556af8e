"""Synaptic sums of a layer for a batch, channels last: int8 through oneDNN, float32 or float64; exact, or not chosen.

A float product of integers is exact while every partial sum stays below 2^24 (float32) or 2^53 (float64), which
max Σ|W| · max message bounds. oneDNN's int8 operators accumulate in 32-bit integers: u8 messages times s8 weights
(W / 2, Loihi's weights being even). They are a private interface of torch: each product is tested when it is made.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.kernels.arithmetic import PRECISIONS, Arithmetic
from spikecut.deploy.backends.kernels.reference import synapse
from spikecut.errors import BackendError, InputError
from spikecut.export.network.arrays import IntArray, Shape, size
from spikecut.export.network.geometry import Synapse
from spikecut.export.quantise.headroom import largest_sum
from spikecut.fixed_point import FLOAT32_EXACT, FLOAT64_EXACT

log = logging.getLogger(__name__)
Floats = npt.NDArray[Any]
TEST_BATCH, TEST_REPEATS = 3, 16


class Product(ABC):
    """Sums of one layer: call with messages [B, elements], channels last, of `dtype`; gives float [B, outputs].

    Attributes
    ----------
    name: "int8", "float32" or "float64". dtype: of the messages it takes.
    halved: whether the sums are of W / 2.
    """

    name: str
    dtype: npt.DTypeLike
    halved = False

    def __init__(self, layer: Synapse) -> None:
        self.layer = layer
        self.input_shape = layer.input_shape

    @abstractmethod
    def __call__(self, messages: Floats) -> Floats:
        """The sums."""


def channels_last(array: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    """[..., C, H, W] or [..., F] in torch's order → [..., elements] with the channel last, contiguous."""
    lead = array.shape[: array.ndim - len(shape)]
    if len(shape) == 3:
        array = np.moveaxis(array, -3, -1)
    return np.ascontiguousarray(array).reshape(*lead, size(shape))


def torch_order(rows: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    """[..., elements] with the channel last → [..., elements] in torch's order."""
    if len(shape) == 1:
        return rows
    lead = rows.shape[:-1]
    planes = rows.reshape(*lead, shape[1], shape[2], shape[0])
    return np.ascontiguousarray(np.moveaxis(planes, -1, -3)).reshape(*lead, -1)


def dense_weight(weight: IntArray, input_shape: Shape) -> IntArray:
    """A dense weight (O, I) with its inputs reordered to channels last."""
    return channels_last(weight.reshape(weight.shape[0], *input_shape), input_shape)


class FloatProduct(Product):
    """A float product by torch, or by numpy where that is None."""

    def __init__(self, layer: Synapse, dtype: npt.DTypeLike, torch: Any, weight: IntArray | None = None) -> None:
        super().__init__(layer)
        self.dtype = dtype
        self.name = np.dtype(dtype).name
        weight = layer.weight if weight is None else weight
        self.torch = torch
        if layer.kind == "dense":
            self.matrix = np.ascontiguousarray(dense_weight(weight, layer.input_shape).T.astype(dtype))
            if self.torch is not None:
                self.kernel = self.torch.from_numpy(self.matrix)
        elif self.torch is not None:
            kernel = self.torch.from_numpy(np.ascontiguousarray(weight.astype(dtype)))
            self.kernel = kernel.contiguous(memory_format=self.torch.channels_last)
            self.planes = _Planes(self.torch, layer)

    def __call__(self, messages: Floats) -> Floats:
        """The sums, float [B, outputs]."""
        layer = self.layer
        if layer.kind == "dense":
            if self.torch is None:
                return np.asarray(messages @ self.matrix)
            return np.asarray((self.torch.from_numpy(messages) @ self.kernel).numpy())
        if self.torch is None:
            planes = torch_order(messages, layer.input_shape).reshape(-1, *layer.input_shape)
            return channels_last(synapse(layer, planes, wrap=False).astype(self.dtype), layer.output_shape)
        sums = self.torch.nn.functional.conv2d(
            self.planes(messages), self.kernel, None, layer.stride, self.planes.padding, layer.dilation, layer.groups
        )
        return _rows(self.torch, sums)


class Int8Product(Product):
    """oneDNN's u8 · s8 product of W / 2, accumulated in 32-bit integers, returned in float32."""

    name = "int8"
    dtype = np.uint8
    halved = True

    def __init__(self, layer: Synapse, torch: Any) -> None:
        super().__init__(layer)
        self.torch = torch
        self.ones = torch.ones(layer.weight.shape[0])
        self.zeros = torch.zeros(layer.weight.shape[0], dtype=torch.int64)
        operators = torch.ops.onednn
        if layer.kind == "dense":
            half = (dense_weight(layer.weight, layer.input_shape) // 2).astype(np.int8)
            self.packed = operators.qlinear_prepack(torch.from_numpy(half), None)
            self.multiply: Callable[[Any], Any] = self._linear
        else:
            half = np.ascontiguousarray((layer.weight // 2).astype(np.int8))
            self.planes = _Planes(torch, layer)
            self.geometry = [list(layer.stride), list(self.planes.padding), list(layer.dilation), layer.groups]
            self.packed = operators.qconv_prepack(torch.from_numpy(half), self.ones, 1.0, 0, *self.geometry, None)
            self.multiply = self._conv
        self.operators = operators

    def _linear(self, messages: Any) -> Any:
        return self.operators.qlinear_pointwise(
            messages, 1.0, 0, self.packed, self.ones, self.zeros, None, 1.0, 0, self.torch.float32, "none", [], ""
        )

    def _conv(self, messages: Any) -> Any:
        return self.operators.qconv2d_pointwise(
            messages,
            1.0,
            0,
            self.packed,
            self.ones,
            self.zeros,
            None,
            *self.geometry,
            1.0,
            0,
            self.torch.float32,
            "none",
            [],
            "",
        )

    def __call__(self, messages: Floats) -> Floats:
        """The sums of W / 2, float32 [B, outputs]."""
        if self.layer.kind == "dense":
            return np.asarray(self._linear(self.torch.from_numpy(messages)).numpy())
        return _rows(self.torch, self._conv(self.planes(messages)))


class _Planes:
    """[B, elements], channels last, as torch's [B, C, H, W] without a copy, and the padding that is left to torch.

    oneDNN reads memory that nobody wrote, and may crash, where at some position all of a kernel's taps lie in the
    padding: there the zeros are added here.
    """

    def __init__(self, torch: Any, layer: Synapse) -> None:
        self.torch, self.shape, self.padding = torch, layer.input_shape, layer.padding
        self.added: tuple[int, ...] = ()
        if any(_all_in_padding(layer, axis) for axis in (0, 1)):
            rows, columns = layer.padding
            self.added, self.padding = (columns, columns, rows, rows), (0, 0)

    def __call__(self, messages: Floats) -> Any:
        channels, height, width = self.shape
        planes = self.torch.from_numpy(messages).view(-1, height, width, channels).permute(0, 3, 1, 2)
        return self.torch.nn.functional.pad(planes, self.added) if self.added else planes


def _all_in_padding(layer: Synapse, axis: int) -> bool:
    """Whether at some position of the rows (0) or columns (1) no tap of the kernel lies on the image."""
    size, taps = layer.input_shape[1 + axis], np.arange(layer.weight.shape[2 + axis]) * layer.dilation[axis]
    first = np.arange(layer.output_shape[1 + axis]) * layer.stride[axis] - layer.padding[axis]
    at = first[:, None] + taps
    return not ((at >= 0) & (at < size)).any(axis=1).all()


def _rows(torch: Any, sums: Any) -> Floats:
    """torch's [B, C, H, W] as [B, elements], channels last; a copy only where torch chose another layout."""
    rows = sums.permute(0, 2, 3, 1).contiguous()
    return np.asarray(rows.view(rows.shape[0], -1).numpy())


def make_product(layer: Synapse, minimum: int, maximum: int, arithmetic: Arithmetic) -> Product:
    """The fastest product that is exact for messages within [minimum, maximum], tested before it is returned.

    Raises
    ------
    InputError: an unknown precision. BackendError: the precision asked for is not exact here.
    """
    precision = arithmetic.precision
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
    bound = largest_sum(layer, max(abs(minimum), abs(maximum)))
    tried: list[str] = []
    for name in ("int8", "float32", "float64") if precision == "auto" else (precision,):
        product, reason = _try(layer, name, (minimum, maximum), bound, arithmetic.torch)
        if product is not None:
            if tried:
                log.info("layer %s: %s product; %s", layer.name, name, "; ".join(tried))
            return product
        tried.append(f"{name}: {reason}")
    raise BackendError(f"layer {layer.name}: no exact product ({'; '.join(tried)}); use another precision")


def _try(layer: Synapse, name: str, messages: tuple[int, int], bound: int, torch: Any) -> tuple[Product | None, str]:
    """A tested product, or the reason why not."""
    minimum, maximum = messages
    if name == "float64":
        if bound >= FLOAT64_EXACT:
            return None, f"sums may reach {bound}, beyond 2^53"
        product: Product = FloatProduct(layer, np.float64, torch)
    elif bound >= FLOAT32_EXACT:
        return None, f"sums may reach {bound}, beyond 2^24"
    elif name == "float32":
        product = FloatProduct(layer, np.float32, torch)
    else:
        if torch is None:
            return None, "it needs torch"
        if minimum < 0 or maximum > 255:
            return None, f"messages in [{minimum}, {maximum}] are not u8"
        if layer.kind == "conv" and layer.stride[1] > 1 and 1 in (layer.weight.shape[1], layer.output_shape[2]):
            return (
                None,
                "oneDNN's int8 convolution errs where it steps over columns of a single channel, or to only one",
            )
        try:
            product = Int8Product(layer, torch)
        except (RuntimeError, AttributeError, NotImplementedError) as error:
            said = str(error).splitlines() or [type(error).__name__]
            return None, f"oneDNN refuses it ({said[0]})"
    return (product, "") if _passes(product, minimum, maximum) else (None, "its result is not exact on this machine")


def _passes(product: Product, minimum: int, maximum: int) -> bool:
    """Whether the product equals plain integer sums on random messages that include the extremes, in batches small
    and large, for which oneDNN may take different ways, and in memory that holds other numbers.
    """
    layer = product.layer
    generator = np.random.default_rng(0)
    frames = generator.integers(minimum, maximum + 1, (TEST_BATCH, *layer.input_shape))
    frames[0] = maximum
    expected = channels_last(plain_sums(layer, frames), layer.output_shape).astype(np.float64)
    messages = channels_last(frames.astype(product.dtype), layer.input_shape)
    for repeats in (1, TEST_REPEATS):
        _soil_memory()
        try:
            found = product(np.tile(messages, (repeats, 1))).astype(np.float64) * (2 if product.halved else 1)
        except RuntimeError:
            return False
        if not np.array_equal(found, np.tile(expected, (repeats, 1))):
            return False
    return True


def _soil_memory() -> None:
    """Leave numbers in memory that is free: a product that computes with what nobody wrote then shows it."""
    soiled = [np.full(2**bits, 171, dtype=np.uint8) for bits in range(6, 17)]
    del soiled


def plain_sums(layer: Synapse, frames: IntArray) -> IntArray:
    """Σ W s in float64 by numpy, without Conv's wrap."""
    return synapse(layer, frames, wrap=False)
