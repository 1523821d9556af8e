"""One layer for the samples in work: what workers share (the plan) and each worker's state, slot by slot."""

import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.kernels.after_spike import new_memory
from spikecut.deploy.backends.kernels.arithmetic import Arithmetic, Precision
from spikecut.deploy.backends.kernels.joined import JoinedSums
from spikecut.deploy.backends.kernels.neuron import NO_GAIN, NeuronKernel
from spikecut.deploy.backends.kernels.product import (
    FloatProduct,
    Floats,
    channels_last,
    make_product,
)
from spikecut.deploy.backends.kernels.sigma_delta import SigmaDeltaKernel, start_of
from spikecut.errors import InputError
from spikecut.export.network.arrays import IntArray, size
from spikecut.export.network.connectivity import fan_out, recurrent_fan_out
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.graph import message_range
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.parameters import Parameter, per_neuron
from spikecut.export.quantise.headroom import largest_sum, worst_case
from spikecut.fixed_point import ALIGNMENT_SHIFT, FLOAT32_EXACT, STATE_LIMIT

BLOCK_BYTES = 2**21


class LayerPlan:
    """Weights, product and neurons of a layer, ready to run; read only, shared by all workers.

    Parameters
    ----------
    layer: the layer. minimum, maximum: range of the messages it receives. horizon: T, for the proof of its ranges.
    arithmetic: of the sums. skip_ranges: of the messages of its skips.

    Raises BackendError where that precision is not exact.
    """

    def __init__(
        self,
        layer: IntegerLayer,
        minimum: int,
        maximum: int,
        horizon: int,
        arithmetic: Arithmetic,
        skip_ranges: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.layer = layer
        self.elements = size(layer.output_shape)
        self.temporal: TemporalSums | None = None
        # What comes back to maps is one more convolution, of what the layer sent last.
        self.looped = layer.kind == "conv" and layer.recurrent is not None
        if layer.delay is None and (layer.recurrent is None or self.looped):
            self.product = make_product(layer, minimum, maximum, arithmetic)
            self.input_dtype = self.product.dtype
            halved = self.product.halved
        else:
            self.temporal = TemporalSums(layer, minimum, maximum, arithmetic.torch)
            self.input_dtype, halved = self.temporal.dtype, False
        ranges = worst_case(layer, horizon, minimum, maximum, skip_ranges)
        self.joined: JoinedSums | None = None
        others: list[tuple[Synapse, tuple[int, int]]] = list(zip(layer.skips, skip_ranges, strict=True))
        if self.looped and layer.loop is not None:
            others.append((layer.loop, (0, 1)))
        if others:
            wraps = ranges.current >> ALIGNMENT_SHIFT >= STATE_LIMIT
            bound = sums_bound(layer, minimum, maximum)
            self.joined = JoinedSums(layer, others, bound, halved, arithmetic, wraps)
            halved = self.joined.halved
        self.neurons: NeuronKernel | SigmaDeltaKernel
        if layer.neuron.sigma_delta is None:
            self.neurons = NeuronKernel(layer, ranges, halved)
        else:
            self.neurons = SigmaDeltaKernel.of(layer, layer.kind == "conv" and not others, halved)
        self.output_dtype: npt.DTypeLike = np.int32

    @property
    def input_dtypes(self) -> tuple[npt.DTypeLike, ...]:
        """Types of the messages that its own synapse and its skips take without a copy."""
        others = () if self.joined is None else tuple(product.dtype for product in self.joined.products)
        return (self.input_dtype, *others[: len(self.layer.skips)])

    @property
    def remembers(self) -> bool:
        """Whether its sums are of more than this step's messages."""
        return self.looped or self.temporal is not None

    @cached_property
    def fan_outs(self) -> tuple[IntArray, ...]:
        """Synapses that each message reaches, of its own synapse and of each skip, int64 [inputs], channels last."""
        synapses: tuple[Synapse, ...] = (self.layer, *self.layer.skips)
        return tuple(channels_last(fan_out(each).reshape(each.input_shape), each.input_shape) for each in synapses)

    @cached_property
    def recurrent_fan_out(self) -> IntArray:
        """Recurrent synapses that each neuron reaches, int64 [neurons], channels last."""
        shape = self.layer.output_shape
        return channels_last(recurrent_fan_out(self.layer).reshape(shape), shape)


def sums_bound(layer: IntegerLayer, minimum: int, maximum: int) -> int:
    """Largest magnitude of a layer's own sums, skips apart, for messages within [minimum, maximum]."""
    bound = largest_sum(layer, max(abs(minimum), abs(maximum)))
    dense = layer.kind == "dense" and layer.loop is not None  # of maps it is one of JoinedSums
    return bound + largest_sum(layer.loop, 1) if dense and layer.loop is not None else bound


class TemporalSums:
    """Sums that reach over time: synaptic delays, and recurrent synapses from the step before; float, exact."""

    def __init__(self, layer: IntegerLayer, minimum: int, maximum: int, torch: Any) -> None:
        recurrent = layer.recurrent
        self.dtype = np.float32 if sums_bound(layer, minimum, maximum) < FLOAT32_EXACT else np.float64
        delay = np.zeros_like(layer.weight) if layer.delay is None else layer.delay
        self.parts = [
            (int(d), FloatProduct(layer, self.dtype, torch, np.where(delay == d, layer.weight, 0)))
            for d in np.unique(delay)
        ]
        self.loop: Floats | None = None
        if recurrent is not None:
            self.loop = np.ascontiguousarray(recurrent.T.astype(self.dtype))
        self.shape = (int(delay.max()) + 1, layer.output_shape[0])

    def __call__(self, messages: Floats, previous: npt.NDArray[np.generic], ring: Floats, position: int) -> Floats:
        """What arrives now, [slots, outputs], from this step's messages, the layer's last ones and what is under way.

        ring: [slots, longest delay + 1, outputs]; row `position` is due now and becomes free.
        """
        length = ring.shape[1]
        for delay, product in self.parts:
            ring[:, (position + delay) % length] += product(messages)
        current: Floats = ring[:, position].copy()
        ring[:, position] = 0
        if self.loop is not None:
            current += previous.astype(self.dtype) @ self.loop
        return current


def _start(parameter: Parameter | None, layer: IntegerLayer) -> npt.NDArray[np.int32]:
    """The u or v at which the neurons of a layer start, int32 [elements], channels last."""
    each = per_neuron(0 if parameter is None else parameter, layer.output_shape)
    return channels_last(each, layer.output_shape).astype(np.int32)


class LayerSlots:
    """A layer's state for a number of slots; every array is [slots, elements], channels last."""

    def __init__(self, plan: LayerPlan, slots: int) -> None:
        self.plan = plan
        elements, neuron = plan.elements, plan.layer.neuron
        self.u_init, self.v_init = (_start(each, plan.layer) for each in (neuron.u_init, neuron.v_init))
        self.u = np.tile(self.u_init, (slots if plan.neurons.needs_u else 0, 1))
        self.v = np.tile(self.v_init, (slots, 1))
        self.out: npt.NDArray[np.generic] = np.zeros((slots, elements), dtype=plan.output_dtype)
        self.memory_start: npt.NDArray[np.int32] | int = 0
        self.memory = new_memory((slots, elements), neuron)
        if neuron.sigma_delta is not None:
            self.v_init, self.memory_start = start_of(plan.layer)
            self.v = np.tile(self.v_init, (slots, 1))
            self.memory = np.tile(self.memory_start, (slots, 1, 1))
        self.position = 0
        # Of a layer with a gain per timestep: the steps that each slot's sample has done.
        self.steps = np.zeros(0 if plan.neurons.gain is None else slots, dtype=np.int64)
        if plan.temporal is not None:
            self.ring: Floats = np.zeros((slots, *plan.temporal.shape), dtype=plan.temporal.dtype)

    @property
    def input_dtype(self) -> npt.DTypeLike:
        """Type of the messages that `sums` takes without a copy."""
        return self.plan.input_dtype

    def reset(self, slots: IntArray) -> None:
        """Bring slots to rest, for new samples."""
        if len(self.u):
            self.u[slots] = self.u_init
        self.v[slots] = self.v_init
        if len(self.steps):
            self.steps[slots] = 0
        if len(self.memory):
            self.memory[slots] = self.memory_start
        if self.plan.temporal is not None:
            self.ring[slots] = 0
        if self.plan.remembers:
            self.out[slots] = 0

    def keep(self, slots: IntArray) -> None:
        """Drop all slots but these."""
        if len(self.u):
            self.u = self.u[slots]
        if len(self.steps):
            self.steps = self.steps[slots]
        if len(self.memory):
            self.memory = self.memory[slots]
        self.v, self.out = self.v[slots], self.out[slots]
        if self.plan.temporal is not None:
            self.ring = self.ring[slots]

    def step(self, messages: Floats, skipped: Sequence[npt.NDArray[np.generic]] = ()) -> npt.NDArray[np.generic]:
        """One step from the messages received to those sent, valid until the next step.

        In blocks of slots: a block's sums stay in cache, and their memory is given and taken back without new pages.
        skipped: what each of the layer's skips takes, [slots, elements], channels last.
        """
        rows = max(1, BLOCK_BYTES // (4 * self.plan.elements))
        if self.plan.temporal is not None or len(messages) <= rows:
            return self.fire(self.sums(messages, skipped))
        gain = self._gain()
        messages = messages.astype(self.input_dtype, copy=False)
        for first in range(0, len(messages), rows):
            block = slice(first, first + rows)
            sums = self._joined(self.plan.product(messages[block]), [each[block] for each in skipped], block)
            own = gain if gain is NO_GAIN else gain[block]
            self.plan.neurons(sums, self.u[block], self.v[block], self.out[block], own, self.memory[block])
        return self.out

    def sums(self, messages: Floats, skipped: Sequence[npt.NDArray[np.generic]] = ()) -> Floats:
        """Σ W s, and Σ W' s' of each skip, for all slots (or half of that, see Product.halved)."""
        temporal = self.plan.temporal
        messages = messages.astype(self.input_dtype, copy=False)
        if temporal is None:
            return self._joined(self.plan.product(messages), skipped)
        current = temporal(messages, self.out, self.ring, self.position)
        self.position = (self.position + 1) % self.ring.shape[1]
        return self._joined(current, skipped)

    def _joined(self, sums: Floats, skipped: Sequence[npt.NDArray[np.generic]], block: slice = slice(None)) -> Floats:
        layer = self.plan.layer
        if len(skipped) != len(layer.skips):
            raise InputError(f"layer {layer.name}: messages of {len(skipped)} sources for {len(layer.skips)} skips")
        back = (self.out[block],) if self.plan.looped else ()
        return sums if self.plan.joined is None else self.plan.joined(sums, [*skipped, *back])

    def fire(self, sums: Floats) -> npt.NDArray[np.generic]:
        """One step of the neurons; the messages they send, valid until the next step."""
        self.plan.neurons(sums, self.u, self.v, self.out, self._gain(), self.memory)
        return self.out

    def _gain(self) -> npt.NDArray[np.int32]:
        """The gain of this step, int32 [slots]; counts the step."""
        gain = self.plan.neurons.gain
        if gain is None:
            return NO_GAIN
        now: npt.NDArray[np.int32] = gain[np.minimum(self.steps, len(gain) - 1)]
        self.steps += 1
        return now


_kept: dict[tuple[int, int, Precision, bool], list[LayerPlan]] = {}


def plan_network(network: IntegerNetwork, horizon: int, arithmetic: Arithmetic) -> list[LayerPlan]:
    """The plans of a network that runs for `horizon` steps; kept as long as the network itself. See LayerPlan.

    Each layer sends in the type that the first synapse takes which takes from it, skips after the layers' own.
    """
    key = (id(network), horizon, arithmetic.precision, arithmetic.torch is None)
    if key not in _kept:
        plans = []
        for layer, paths in zip(network.layers, network.paths, strict=True):
            own, *skips = (message_range(network, path.source) for path in paths)
            plans.append(LayerPlan(layer, *own, horizon, arithmetic, skips))
        taken = [
            (path, dtype)
            for plan, paths in zip(plans, network.paths, strict=True)
            for path, dtype in zip(paths, plan.input_dtypes, strict=True)
        ]
        taken.sort(key=lambda each: (isinstance(each[0].synapse, IntegerLayer), -each[0].target))
        for path, dtype in taken:  # the last one counts
            if path.source:
                graded = plans[path.source - 1].layer.neuron.sigma_delta is not None
                plans[path.source - 1].output_dtype = np.float64 if graded else dtype
        _kept[key] = plans
        weakref.finalize(network, _kept.pop, key, None)
    return _kept[key]
