"""One hardware step of one sample, in Lava's order (W, H, C): what the fast Lava models and the fused one compute with.

numpy and serial numba only: in a Lava process a parallel numba kernel is killed and torch may hang. A convolution is
one float product, exact while max Σ|W| · max message stays below 2^24 (float32) or 2^53 (float64). Dense sums are
int32 and visit only the messages that are not 0, as exact as Lava's own int32 product and usually far shorter.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided
from threadpoolctl import threadpool_limits

from spikecut.deploy.backends.kernels.after_spike import adapt, new_memory, rest
from spikecut.deploy.backends.kernels.compiled import compiled
from spikecut.deploy.backends.kernels.neuron import NO_GAIN, choose_kernel, constants_of, constants_of_adaptation
from spikecut.deploy.backends.kernels.sigma_delta import SigmaDeltaNeurons
from spikecut.errors import BackendError
from spikecut.export.network.adaptation import Adaptation
from spikecut.export.network.arrays import Pair, Shape
from spikecut.export.network.gain import gain_at
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.neurons import IntegerNeuron, Reset
from spikecut.export.network.parameters import Parameter
from spikecut.export.quantise.headroom import largest_sum
from spikecut.fixed_point import ALIGNMENT_SHIFT, FLOAT32_EXACT, FLOAT64_EXACT, STATE_LIMIT

log = logging.getLogger(__name__)
Int32 = npt.NDArray[np.int32]
Numbers = npt.NDArray[Any]


def exact_type(layer: Synapse, largest: int) -> type[np.number[Any]]:
    """The type in which a layer's sums are exact for messages of at most `largest`.

    Dense layers: int32. Convolutions: float32, or float64, which is logged, where sums may leave float32's integers.
    Raises BackendError if they may leave float64's.
    """
    if layer.kind == "dense":
        return np.int32
    bound = largest_sum(layer, largest)
    if bound < FLOAT32_EXACT:
        return np.float32
    if bound >= FLOAT64_EXACT:
        raise BackendError(f"layer {layer.name}: sums may reach {bound}, beyond 2^53; use fewer bits per message")
    log.warning("layer %s: sums may reach %d, beyond 2^24: float64 product instead of float32", layer.name, bound)
    return np.float64


def compile_for(neuron: IntegerNeuron, *, wraps: bool, dtype: type[np.number[Any]]) -> None:
    """Compile what a layer needs, so that the processes that are forked from this one find it ready."""
    if neuron.sigma_delta is not None:
        one = replace(
            neuron, bias_mantissa=np.zeros(1, dtype=np.int64), sigma_delta=replace(neuron.sigma_delta, start=None)
        )
        DenseSums(np.zeros((1, 1)))(SigmaDeltaNeurons(one, (1,), wraps)(np.zeros(1, dtype=dtype)))
        return
    u, v = np.zeros((2, 1), dtype=np.int32)
    first = (np.reshape(each, -1)[:1] if isinstance(each, np.ndarray) else each for each in _given(neuron))
    decay_u, decay_v, bias, threshold, amount = first
    more = neuron.reset, neuron.gain, neuron.refractory, neuron.adaptation
    constants = NeuronConstants(decay_u, decay_v, bias, threshold, amount, *more)
    messages = Neurons(u, v, constants, wraps=wraps)(np.zeros(1, dtype=dtype))
    DenseSums(np.zeros((1, 1)))(messages)


def _given(neuron: IntegerNeuron) -> tuple[Any, Any, Any, Any, Any]:
    """Decays, bias, threshold and amount: numbers, or arrays in Lava's order of axes."""
    given = neuron.decay_u, neuron.decay_v, neuron.bias, neuron.threshold, neuron.subtracted
    return tuple(each.T if isinstance(each, np.ndarray) else each for each in given)  # type: ignore[return-value]


def bound_threads() -> None:
    """One BLAS thread in this process: Lava runs a process per layer, and they would fight for the cores."""
    threadpool_limits(1, user_api="blas")


class ConvolutionSums:
    """Σ W s of a convolution: im2col and one exact float product.

    Parameters
    ----------
    weight: integers (O, W, H, I/groups) as Lava's Conv holds them: flipped, since it convolves where torch correlates.
    input_shape: (W, H, I). stride, padding, dilation: (W, H).
    dtype: float type in which the sums are exact.
    """

    def __init__(
        self,
        weight: Numbers,
        input_shape: Shape,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
        groups: int,
        dtype: type[np.number[Any]],
    ) -> None:
        outputs, *kernel, per_group = weight.shape
        width, height, channels = input_shape
        padded = np.zeros((width + 2 * padding[0], height + 2 * padding[1], channels), dtype=dtype)
        self.inside = padded[padding[0] : padding[0] + width, padding[1] : padding[1] + height]
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        columns, rows = ((padded.shape[n] - spans[n]) // stride[n] + 1 for n in (0, 1))
        step_x, step_y, step_c = padded.strides
        self.patches = as_strided(
            padded,
            (groups, columns, rows, *kernel, per_group),
            (
                per_group * step_c,
                stride[0] * step_x,
                stride[1] * step_y,
                dilation[0] * step_x,
                dilation[1] * step_y,
                step_c,
            ),
            writeable=False,
        )
        self.unfolded = np.empty(self.patches.shape, dtype=dtype)
        self.matrices = self.unfolded.reshape(groups, columns * rows, -1)
        flipped = weight[:, ::-1, ::-1].reshape(groups, outputs // groups, -1)
        self.weight = np.ascontiguousarray(flipped.transpose(0, 2, 1), dtype=dtype)
        self.sums = np.empty((groups, columns * rows, outputs // groups), dtype=dtype)

    def __call__(self, messages: Numbers) -> Numbers:
        """Sums of messages [W, H, I], float [W' · H' · O], not wrapped; valid until the next call."""
        self.inside[:] = messages.reshape(self.inside.shape)
        np.copyto(self.unfolded, self.patches)
        np.matmul(self.matrices, self.weight, out=self.sums)
        return self.sums.transpose(1, 0, 2).reshape(-1)


def wrapped(sums: Numbers) -> Int32:
    """Sums as int32, wrapped at 24 bits as Lava's Conv wraps them: into [-2^23, 2^23)."""
    whole = sums.astype(np.int64).astype(np.int32)
    whole += STATE_LIMIT
    whole &= 2 * STATE_LIMIT - 1
    whole -= STATE_LIMIT
    return whole


@compiled()
def _add_rows(messages: Any, weight: Any, sums: Any) -> None:
    for i in range(messages.size):
        message = messages[i]
        if message != 0:
            for o in range(sums.size):
                sums[o] = np.int32(sums[o] + np.int32(message * weight[i, o]))


class DenseSums:
    """Σ W s of a dense layer in int32.

    Parameters
    ----------
    weight: integers (O, I), inputs in Lava's order. exponent: the sums are shifted left by it, right if it is negative.
    """

    def __init__(self, weight: Numbers, exponent: int = 0) -> None:
        self.weight = np.ascontiguousarray(weight.T, dtype=np.int32)
        self.sums = np.zeros(weight.shape[0], dtype=np.int32)
        self.exponent = exponent

    def __call__(self, messages: Int32) -> Int32:
        """Sums of messages [I], int32 [O]; valid until the next call."""
        self.sums[:] = 0
        _add_rows(messages, self.weight, self.sums)
        if self.exponent:
            return np.asarray(self.sums << self.exponent if self.exponent > 0 else self.sums >> -self.exponent)
        return self.sums


class DelayedSums:
    """Σ W s[t - delay] of a dense layer: what is under way, by the step in which it is due.

    Parameters
    ----------
    weight, delay: integers (O, I), inputs in Lava's order; a message of this step is due `delay` steps after the next.
    exponent: see DenseSums.
    """

    def __init__(self, weight: Numbers, delay: Numbers, exponent: int = 0) -> None:
        self.delays = np.unique(delay)
        self.split = DenseSums(np.vstack([np.where(delay == each, weight, 0) for each in self.delays]), exponent)
        self.due = np.zeros((int(self.delays[-1]) + 1, weight.shape[0]), dtype=np.int32)
        self.step = 0

    def __call__(self, messages: Int32) -> Int32:
        """Take the messages of this step, int32 [I]; what is due in the next one, int32 [O], valid until then."""
        self.due[self.step] = 0
        self.step = (self.step + 1) % len(self.due)
        self.due[(self.step + self.delays) % len(self.due)] += self.split(messages).reshape(len(self.delays), -1)
        return np.asarray(self.due[self.step])

    def forget(self) -> None:
        """Drop all that is under way."""
        self.due[:] = 0


@dataclass(frozen=True)
class NeuronConstants:
    """What the neurons of a layer compute with.

    Attributes
    ----------
    decay_u, decay_v: 0..4096. bias: in v's units, broadcast to v's shape. threshold: compared as v > threshold · 64.
    amount: what a soft reset subtracts, in v's units. All of them are numbers, or arrays that v's shape broadcasts.
    gain: in 4096ths, one per timestep since the last `rest`, see export.gain; None for none. refractory,
    adaptation: see IntegerNeuron.
    """

    decay_u: Parameter
    decay_v: Parameter
    bias: Numbers
    threshold: Parameter
    amount: Parameter
    reset: Reset
    gain: tuple[int, ...] | None = None
    refractory: int = 0
    adaptation: Adaptation | None = None


class Neurons:
    """The neurons of a layer: AbstractPyLifModelFixed in int32, see deploy/backends/kernels/neuron.py.

    Parameters
    ----------
    u, v: int32 state of any shape, changed in place. wraps: whether the sums must wrap at 24 bits first, as Lava's Conv
        does.
    """

    def __init__(self, u: Int32, v: Int32, given: NeuronConstants, *, wraps: bool) -> None:
        self.state = u.reshape(1, -1), v.reshape(1, -1)
        self.kernel = choose_kernel(
            given.decay_u, given.decay_v, given.reset, wrap_sum=wraps, bounded=False, gained=given.gain is not None
        )
        self.gain, self.steps = given.gain, 0
        self.refractory, self.adaptation = given.refractory, given.adaptation
        self.memory = new_memory((1, v.size), given)

        def columns(values: Any) -> Int32:
            return np.array(np.broadcast_to(values, v.shape), dtype=np.int32).reshape(-1)

        self.bias = columns(given.bias)
        self.constants = constants_of(given.decay_u, given.decay_v, given.threshold, given.amount, columns)
        self.level = columns(given.threshold << ALIGNMENT_SHIFT)

    @classmethod
    def of(cls, neuron: IntegerNeuron, u: Int32, v: Int32, wraps: bool) -> "Neurons":
        """The neurons of an IntegerLayer, whose v has its shape in Lava's order of axes, (W, H, C) or (F,)."""
        decay_u, decay_v, bias, threshold, amount = _given(neuron)
        given = decay_u, decay_v, bias, threshold, amount
        more = neuron.reset, neuron.gain, neuron.refractory, neuron.adaptation
        constants = NeuronConstants(*given, *more)
        return cls(u, v, constants, wraps=wraps)

    def __call__(self, sums: Numbers) -> Int32:
        """One step; sums [elements] of any number type → messages int32 [elements], a new array."""
        messages = np.empty((1, sums.size), dtype=np.int32)
        gain = NO_GAIN if self.gain is None else np.array([gain_at(self.gain, self.steps)], dtype=np.int32)
        self.steps += 1
        v = self.state[1]
        before = v.copy() if self.refractory else v
        self.kernel(sums.reshape(1, -1), ALIGNMENT_SHIFT, self.bias, *self.state, *self.constants, gain, messages)
        if self.refractory:
            rest(before.reshape(-1), v.reshape(-1), messages.reshape(-1), self.memory.reshape(-1), self.refractory)
        if self.adaptation is not None:
            adapt(v, messages, self.memory, self.level, *constants_of_adaptation(self.adaptation))
        return messages.reshape(-1)

    def rest(self, u_init: Numbers | int, v_init: Numbers | int) -> None:
        """The state before a sample's first step; numbers, or arrays, one per channel or per neuron in Lava's order."""
        u, v = self.state
        for state, start in ((u, u_init), (v, v_init)):
            state.reshape(-1, np.size(start))[:] = np.reshape(start, -1)
        self.steps = 0
        self.memory[:] = 0
