"""One layer's state for the samples in work: sums, neurons, delays and recurrence, slot by slot."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from spikecut.deploy.kernels.neuron import NeuronKernel
from spikecut.deploy.kernels.product import (
    FLOAT32_EXACT,
    FloatProduct,
    Floats,
    Precision,
    channels_last,
    make_product,
)
from spikecut.export.connectivity import fan_out, recurrent_fan_out
from spikecut.export.graph import IntArray, IntegerLayer, size
from spikecut.export.headroom import worst_case


class LayerSlots:
    """A layer for a number of slots; every array is [slots, elements], channels last.

    Parameters
    ----------
    layer: the layer. minimum, maximum: range of the messages it receives. horizon: T, for the proof of its ranges.
    slots: samples in work. precision: of the sums.
    """

    def __init__(
        self, layer: IntegerLayer, minimum: int, maximum: int, horizon: int, slots: int, precision: Precision
    ) -> None:
        self.layer = layer
        self.elements = size(layer.output_shape)
        ranges = worst_case(layer, horizon, minimum, maximum)
        self.product = make_product(layer, minimum, maximum, precision)
        self.temporal = _Temporal(layer, minimum, maximum, slots) if _is_temporal(layer) else None
        halved = self.product.halved and self.temporal is None
        self.neurons = NeuronKernel(layer, ranges, halved)
        self.u = np.zeros((slots if self.neurons.needs_u else 0, self.elements), dtype=np.int32)
        self.v = np.full((slots, self.elements), layer.neuron.v_init, dtype=np.int32)
        self.out: npt.NDArray[np.generic] = np.zeros((slots, self.elements), dtype=np.int32)
        self.fan_out = channels_last(fan_out(layer).reshape(layer.input_shape), layer.input_shape)
        self.recurrent_fan_out = recurrent_fan_out(layer)

    @property
    def input_dtype(self) -> npt.DTypeLike:
        """Type of the messages that `sums` takes."""
        return self.temporal.dtype if self.temporal is not None else self.product.dtype

    def send_as(self, dtype: npt.DTypeLike) -> None:
        """Let the neurons write their messages in the type that the next layer takes."""
        self.out = self.out.astype(dtype)

    def reset(self, slots: IntArray) -> None:
        """Bring slots to rest, for new samples."""
        if len(self.u):
            self.u[slots] = 0
        self.v[slots] = self.layer.neuron.v_init
        if self.temporal is not None:
            self.temporal.reset(slots)
            self.out[slots] = 0

    def keep(self, slots: IntArray) -> None:
        """Drop all slots but these."""
        if len(self.u):
            self.u = self.u[slots]
        self.v, self.out = self.v[slots], self.out[slots]
        if self.temporal is not None:
            self.temporal.keep(slots)

    def sums(self, messages: Floats) -> Floats:
        """Σ W s for all slots (or Σ W s / 2, see Product.halved)."""
        if self.temporal is not None:
            return self.temporal.sums(messages, self.out)
        return self.product(messages)

    def fire(self, sums: Floats) -> npt.NDArray[np.generic]:
        """One step of the neurons; the messages they send, valid until the next step."""
        self.neurons(sums, self.u, self.v, self.out)
        return self.out


def _is_temporal(layer: IntegerLayer) -> bool:
    return layer.delay is not None or layer.recurrent is not None


class _Temporal:
    """Sums that reach over time: synaptic delays, and recurrent synapses from the step before."""

    def __init__(self, layer: IntegerLayer, minimum: int, maximum: int, slots: int) -> None:
        bound = int(np.abs(layer.weight).sum(axis=1).max()) * max(abs(minimum), abs(maximum))
        recurrent = layer.recurrent
        if recurrent is not None:
            bound += int(np.abs(recurrent).sum(axis=1).max())
        self.dtype = np.float32 if bound < FLOAT32_EXACT else np.float64
        delay = np.zeros_like(layer.weight) if layer.delay is None else layer.delay
        self.parts = [
            (int(d), FloatProduct(layer, self.dtype, np.where(delay == d, layer.weight, 0))) for d in np.unique(delay)
        ]
        self.loop: Floats | None = None
        if recurrent is not None:
            self.loop = np.ascontiguousarray(recurrent.T.astype(self.dtype))
        self.ring: Floats = np.zeros((slots, int(delay.max()) + 1, layer.output_shape[0]), dtype=self.dtype)
        self.position = 0

    def sums(self, messages: Floats, previous: npt.NDArray[np.generic]) -> Floats:
        length = self.ring.shape[1]
        for delay, product in self.parts:
            self.ring[:, (self.position + delay) % length] += product(messages)
        current: Floats = self.ring[:, self.position].copy()
        self.ring[:, self.position] = 0
        self.position = (self.position + 1) % length
        if self.loop is not None:
            current += previous.astype(self.dtype) @ self.loop
        return current

    def reset(self, slots: IntArray) -> None:
        self.ring[slots] = 0

    def keep(self, slots: IntArray) -> None:
        self.ring = self.ring[slots]


def layer_slots(
    layers: tuple[IntegerLayer, ...], minimum: int, maximum: int, horizon: int, slots: int, precision: Precision
) -> list[LayerSlots]:
    """All layers of a network, each sending in the type that the next one takes."""
    result: list[LayerSlots] = []
    for layer in layers:
        result.append(LayerSlots(layer, minimum, maximum, horizon, slots, precision))
        minimum, maximum = 0, 1
    for one, following in pairwise(result):
        one.send_as(following.input_dtype)
    return result
