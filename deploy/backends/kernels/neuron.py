"""Loihi's neuron in 32-bit integers, fused into one pass over a layer; compiled once and cached on disk.

The product of a 24-bit magnitude and a 12-bit factor does not fit 32 bits, but its upper part does:
(|x| k) >> 12 = (|x| >> 12) k + (((|x| & 4095) k) >> 12). Every operation is cast to int32: numba would widen it.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import overload

from spikecut.deploy.backends.kernels.after_spike import NOTHING, Memory, adapt, rest
from spikecut.deploy.backends.kernels.compiled import compiled
from spikecut.deploy.backends.kernels.product import channels_last
from spikecut.export.network.adaptation import Adaptation
from spikecut.export.network.arrays import size
from spikecut.export.network.layers import IntegerLayer
from spikecut.export.network.neurons import Reset
from spikecut.export.network.parameters import Parameter, differs, differs_inside_channels, per_neuron
from spikecut.export.quantise.headroom import Ranges
from spikecut.fixed_point import ALIGNMENT_SHIFT, DECAY_SHIFT, DECAY_UNITY, GAIN_UNITY, STATE_LIMIT

Kernel = Callable[..., None]
NONE, PARTIAL, ALL = 0, 1, 2
ZERO, SUBTRACT, READOUT = 0, 1, 2
NO_GAIN = np.full(1, GAIN_UNITY, dtype=np.int32)
RESETS = {"zero": ZERO, "subtract": SUBTRACT, "none": READOUT, "adapt": READOUT}
"""What the kernel does with v; the spikes of neurons that adapt come after it, see after_spike.adapt."""


@njit(inline="always")
def _keep(value: Any, factor: Any) -> Any:
    magnitude = np.int32(abs(value))
    high, low = np.int32(magnitude >> DECAY_SHIFT), np.int32(magnitude & (DECAY_UNITY - 1))
    kept = np.int32(np.int32(high * factor) + np.int32(np.int32(low * factor) >> DECAY_SHIFT))
    return np.int32(-kept) if value < 0 else kept


def _at(parameter: Any, column: Any) -> Any:
    """The parameter of one neuron: of an array its own, else the one number of all, which stays outside the loop."""
    return parameter[column] if isinstance(parameter, np.ndarray) else parameter


@overload(_at, inline="always", strict=False)  # annotations are no part of the match
def _at_compiled(parameter: Any, column: Any) -> Any:
    if isinstance(parameter, types.Array):
        return lambda parameter, column: parameter[column]
    return lambda parameter, column: parameter


# Over 50 lines: numba specialises the kernel by the values that it closes over.
@lru_cache(maxsize=256)
def make_kernel(decay_u: int, decay_v: int, reset: int, wrap_sum: bool, bounded: bool, gained: bool = False) -> Kernel:
    """A kernel specialised to a kind of neuron.

    Parameters
    ----------
    decay_u, decay_v: NONE, PARTIAL or ALL of u and v is lost each step.
    reset: ZERO, SUBTRACT or READOUT.
    wrap_sum: whether the synaptic sum can leave 24 bits and must wrap there, as Lava's Conv does.
    bounded: u and v are proven to stay within 24 bits: neither wraps nor clips.
    gained: current and bias are multiplied by a gain, see export.gain.

    Returns kernel(current, shift, bias, u, v, keep_u, keep_v, threshold, amount, gain, out): current float [rows, C]
    holding integers, shifted left by `shift` into u's units: 6, or 7 of halved weights; bias int32 [C]; u, v int32
    [rows, C], changed in place (u is not touched when all of it is lost); keep_u, keep_v 4096 - decay; threshold, and
    amount, which SUBTRACT subtracts, in v's units; these four are all numbers, or all int32 [C]; gain int32 [slots],
    one for as many rows each, read only where `gained`; out [rows, C] of any type.
    """

    # One long function: numba specialises its branches on what encloses it, and in pieces it is slower. It takes arrays
    # and scalars one by one, since a structure of them would have to be typed at each call.
    @compiled(fastmath=False, error_model="numpy")
    def kernel(
        current: Any,
        shift: Any,
        bias: Any,
        u: Any,
        v: Any,
        keep_u: Any,
        keep_v: Any,
        threshold: Any,
        amount: Any,
        gain: Any,
        out: Any,
    ) -> None:
        limit = np.int32(STATE_LIMIT)
        top = np.int32(STATE_LIMIT - 1)
        rows, columns = current.shape
        shift32 = np.int32(shift)
        # Of halved weights the half wraps where the whole would: 2 (h wrapped at 23 bits) = 2h wrapped at 24.
        edge = np.int64(STATE_LIMIT) >> (np.int64(shift) - ALIGNMENT_SHIFT)
        positions = rows // gain.size
        for r in range(rows):
            if gained:
                factor = np.int32(gain[r // positions])
                size = np.int32(abs(factor))
            for c in range(columns):
                if wrap_sum:
                    whole = np.int64(current[r, c])
                    total = np.int32(((whole + edge) & (2 * edge - 1)) - edge)
                elif bounded:
                    total = np.int32(current[r, c])
                else:
                    total = np.int32(np.int64(current[r, c]))
                synaptic = np.int32(total << shift32)
                if decay_u == 0:
                    synaptic = np.int32(u[r, c] + synaptic)
                elif decay_u == 1:
                    synaptic = np.int32(_keep(u[r, c], np.int32(_at(keep_u, c))) + synaptic)
                if not bounded:
                    if synaptic > limit:
                        synaptic = np.int32(np.int32(synaptic - limit) - limit)
                    elif synaptic <= -limit:
                        synaptic = np.int32(np.int32(synaptic + limit) + limit)
                if decay_u != 2:
                    u[r, c] = synaptic
                potential = np.int32(synaptic + bias[c])
                if gained:  # |factor| is at most 4096: the result is never larger than what it multiplies
                    potential = _keep(potential, size)
                    if factor < 0:
                        potential = np.int32(-potential)
                if decay_v == 0:
                    potential = np.int32(v[r, c] + potential)
                elif decay_v == 1:
                    potential = np.int32(_keep(v[r, c], np.int32(_at(keep_v, c))) + potential)
                if not bounded:
                    potential = np.int32(min(max(potential, np.int32(-top)), top))
                if reset == 2:
                    v[r, c] = potential
                    out[r, c] = potential
                else:
                    fires = potential > np.int32(_at(threshold, c))
                    after = np.int32(potential - np.int32(_at(amount, c))) if reset == 1 else np.int32(0)
                    v[r, c] = after if fires else potential
                    out[r, c] = fires

    specialised: Kernel = kernel
    return specialised


def choose_kernel(
    decay_u: Parameter, decay_v: Parameter, reset: Reset, *, wrap_sum: bool, bounded: bool, gained: bool
) -> Kernel:
    """The kernel for a neuron's decays, 0..4096, and reset; see make_kernel.

    With a gain there are six, for each takes about a second to compile: they take any decay of v, and always clip it.
    """
    if gained:
        return make_kernel(ALL, PARTIAL, RESETS[reset], wrap_sum, bounded=False, gained=True)
    return make_kernel(decay_kind(decay_u), decay_kind(decay_v), RESETS[reset], wrap_sum, bounded)


class NeuronKernel:
    """The neurons of a layer for a batch: picks the kernel and holds its constants.

    Parameters
    ----------
    layer: the layer. ranges: its worst-case ranges, see export.headroom. halved: whether products are of weights / 2.

    Attributes
    ----------
    bounded: u and v are proven to stay within 24 bits.
    needs_u: u is kept from one step to the next; otherwise all of it decays.
    gain: int32 [T], or None.
    refractory, adaptation: see IntegerNeuron.
    """

    def __init__(self, layer: IntegerLayer, ranges: Ranges, halved: bool) -> None:
        neuron = layer.neuron
        largest_sum = ranges.current >> ALIGNMENT_SHIFT
        alone = not layer.skips and layer.recurrent is None
        self.bounded = ranges.fits
        self.kernel = choose_kernel(
            neuron.decay_u,
            neuron.decay_v,
            neuron.reset,
            wrap_sum=alone and layer.kind == "conv" and largest_sum >= STATE_LIMIT,  # otherwise see JoinedSums
            bounded=self.bounded,
            gained=neuron.gain is not None,
        )
        self.gain = None if neuron.gain is None else np.array(neuron.gain, dtype=np.int32)
        self.refractory, self.adaptation = neuron.refractory, neuron.adaptation
        self.shift = ALIGNMENT_SHIFT + int(halved)
        given = neuron.decay_u, neuron.decay_v, neuron.threshold, neuron.subtracted
        # What differs inside a channel makes a column of every neuron of the layer.
        shape = layer.output_shape
        inside = differs_inside_channels(*given, neuron.bias)
        self.columns = size(shape) if inside else shape[0]

        def columns(parameter: Parameter) -> npt.NDArray[np.int32]:
            if inside:
                return np.array(channels_last(per_neuron(parameter, shape), shape).reshape(-1), dtype=np.int32)
            return np.array(np.broadcast_to(parameter, self.columns), dtype=np.int32)

        self.bias = columns(neuron.bias)
        self.constants = constants_of(*given, columns)
        self.level = columns(neuron.threshold << ALIGNMENT_SHIFT)
        self.needs_u = decay_kind(neuron.decay_u) != ALL

    def __call__(
        self,
        current: npt.NDArray[np.floating[Any]],
        u: npt.NDArray[np.int32],
        v: npt.NDArray[np.int32],
        out: npt.NDArray[Any],
        gain: npt.NDArray[np.int32] = NO_GAIN,
        memory: Memory = NOTHING,
    ) -> None:
        """One step; all arrays channels last and contiguous, of the same number of elements; gain: int32 [slots].

        memory: of neurons that remember their spikes, see after_spike.new_memory; changed in place.
        """
        rows = (-1, self.columns)
        before = v.copy() if self.refractory else v
        u_rows = u.reshape(rows) if self.needs_u else v.reshape(rows)
        self.kernel(
            current.reshape(rows),
            self.shift,
            self.bias,
            u_rows,
            v.reshape(rows),
            *self.constants,
            gain,
            out.reshape(rows),
        )
        if self.refractory:
            rest(before.reshape(-1), v.reshape(-1), out.reshape(-1), memory.reshape(-1), self.refractory)
        if self.adaptation is not None:
            state = memory.reshape(-1, self.columns, 2)
            adapt(v.reshape(rows), out.reshape(rows), state, self.level, *constants_of_adaptation(self.adaptation))


def constants_of_adaptation(adaptation: Adaptation) -> tuple[int, int, int]:
    """As after_spike.adapt takes them: the step in v's units."""
    return adaptation.threshold_decay, adaptation.step, adaptation.refractory_decay


def constants_of(
    decay_u: Parameter,
    decay_v: Parameter,
    threshold: Parameter,
    amount: Parameter,
    columns: Callable[[Parameter], npt.NDArray[np.int32]],
) -> tuple[Any, Any, Any, Any]:
    """keep_u, keep_v, threshold and amount as the kernels take them: numbers, or, where one differs, int32 [C] each.

    columns: a parameter → int32 [C], writable. The others: of an IntegerNeuron.
    """
    values = DECAY_UNITY - decay_u, DECAY_UNITY - decay_v, threshold << ALIGNMENT_SHIFT, amount
    if not differs(*values):
        return values
    keep_u, keep_v, level, taken = (columns(each) for each in values)
    return keep_u, keep_v, level, taken


def decay_kind(decay: Parameter) -> int:
    """NONE, PARTIAL or ALL of a state that loses decay / 4096; PARTIAL, which can be all, where neurons differ."""
    if isinstance(decay, np.ndarray):
        return PARTIAL
    return NONE if decay == 0 else ALL if decay == DECAY_UNITY else PARTIAL
