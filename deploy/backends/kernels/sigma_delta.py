"""Sigma-delta neurons in 32-bit integers, fused into one pass over a layer; see export/network/sigma_delta.py.

σ takes the place of v; a, r and e are the neurons' memory, int32 [..., elements, 3].
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.kernels.after_spike import NOTHING, Memory
from spikecut.deploy.backends.kernels.compiled import compiled
from spikecut.deploy.backends.kernels.neuron import NO_GAIN
from spikecut.deploy.backends.kernels.product import channels_last
from spikecut.errors import BackendError
from spikecut.export.network.arrays import IntArray, size
from spikecut.export.network.layers import IntegerLayer
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.network.parameters import differs_inside_channels, per_neuron
from spikecut.fixed_point import ALIGNMENT_SHIFT, STATE_LIMIT

REMEMBERED = 3
Int32 = npt.NDArray[np.int32]


@compiled()
def decode(current: Any, halved: Any, wraps: Any, sigma: Any, out: Any) -> None:
    """σ ← σ + current, which is sent. current, out: [rows, C] of any type; sigma: int32 [rows, C].

    halved: whether the current is of W / 2. wraps: whether it wraps at 24 bits first, as Lava's Conv does.
    """
    limit = np.int64(STATE_LIMIT)
    for r in range(sigma.shape[0]):
        for c in range(sigma.shape[1]):
            whole = np.int64(current[r, c]) << np.int64(halved)
            if wraps:
                whole = ((whole + limit) & (2 * limit - 1)) - limit
            sigma[r, c] = np.int32(np.int64(sigma[r, c]) + whole)
            out[r, c] = sigma[r, c]


# It takes arrays and scalars one by one, since a structure of them would have to be typed at each call.
@compiled()
def encode(current: Any, kind: Any, constants: Any, bias: Any, sigma: Any, memory: Any, out: Any) -> None:
    """One step of neurons that send changes. current, out: [rows, C]; sigma: int32 [rows, C]; memory: [rows, C, 3].

    kind: int64 [5], each 0 or 1: halved, wraps, see decode; whether it decodes; whether the activation is "relu";
    whether errors add up.
    constants: int64 [3]: threshold, shifted; shift; exponent of the state. bias: int32 [C], shifted.
    """
    halved, wraps, decodes, rectifies, accumulates = kind
    level, shift, exponent = constants[0], constants[1], constants[2]
    limit = np.int64(STATE_LIMIT)
    for r in range(sigma.shape[0]):
        for c in range(sigma.shape[1]):
            whole = np.int64(current[r, c]) << np.int64(halved)
            if wraps:
                whole = ((whole + limit) & (2 * limit - 1)) - limit
            if decodes:
                sigma[r, c] = np.int32(np.int64(sigma[r, c]) + whole)
                act = np.int32(np.int64(sigma[r, c]) + bias[c])
                if rectifies and act < 0:
                    act = np.int32(0)
            else:
                act = np.int32(np.int64(np.int32(whole)) << shift)
            delta = np.int32(np.int64(act) - memory[r, c, 0] + memory[r, c, 1])
            judged = delta
            if accumulates:
                judged = np.int32(np.int64(memory[r, c, 2]) + delta)
                memory[r, c, 2] = judged
            magnitude = judged if judged >= 0 else np.int32(-np.int64(judged))  # -2^31 stays what it is
            sent = delta if magnitude >= level else np.int32(0)
            if accumulates and sent != 0:
                memory[r, c, 2] = 0
            memory[r, c, 0] = act
            memory[r, c, 1] = np.int32(np.int64(delta) - sent)
            out[r, c] = sent >> exponent


class SigmaDeltaKernel:
    """The neurons of a layer for a batch, called as a NeuronKernel is: σ in the place of v, no u.

    Parameters
    ----------
    neuron: one with a sigma_delta. bias: int32 [C] or [elements], shifted, in the order of the layer's elements.
    wraps: whether a current wraps at 24 bits on its way in. halved: whether it is of W / 2.
    """

    bounded, needs_u, gain = False, False, None

    def __init__(self, neuron: IntegerNeuron, bias: Int32, wraps: bool, halved: bool = False) -> None:
        given = neuron.sigma_delta
        if given is None:
            raise BackendError("neurons without a sigma; report this")
        self.bias, self.shift = bias, ALIGNMENT_SHIFT + int(halved)
        self.reads_out = neuron.reset == "none"
        switches = halved, wraps, given.decodes, given.activation == "relu", given.cumulative_error
        self.kind = np.array(switches, dtype=np.int64)
        level = int(neuron.threshold) << given.shift  # one number: see check_sigma_delta
        self.constants = np.array([level, given.shift, given.state_exponent], dtype=np.int64)

    @classmethod
    def of(cls, layer: IntegerLayer, wraps: bool, halved: bool) -> "SigmaDeltaKernel":
        """The kernel of a layer of the batched engine, channels last."""
        bias, shape = layer.neuron.bias, layer.output_shape
        if differs_inside_channels(bias):
            bias = channels_last(per_neuron(bias, shape), shape)
        return cls(layer.neuron, np.array(bias, dtype=np.int32).reshape(-1), wraps, halved)

    def __call__(
        self,
        current: npt.NDArray[Any],
        u: Int32,
        v: Int32,
        out: npt.NDArray[Any],
        gain: npt.NDArray[np.int32] = NO_GAIN,
        memory: Memory = NOTHING,
    ) -> None:
        """One step; all arrays contiguous, of the same number of elements, memory of three times as many."""
        rows = (-1, len(self.bias))
        if self.reads_out:
            halved, wraps = self.kind[:2].tolist()
            decode(current.reshape(rows), halved, wraps, v.reshape(rows), out.reshape(rows))
            return
        state = memory.reshape(*rows, REMEMBERED)
        encode(current.reshape(rows), self.kind, self.constants, self.bias, v.reshape(rows), state, out.reshape(rows))


class SigmaDeltaNeurons:
    """The neurons of a layer of one sample, called as kernels.step.Neurons are; in Lava's order of axes.

    Parameters
    ----------
    neuron: one with a sigma_delta, whose start is there in torch's order. shape: of the layer, in torch's order.
    wraps: whether a current wraps at 24 bits on its way in.
    """

    def __init__(self, neuron: IntegerNeuron, shape: tuple[int, ...], wraps: bool) -> None:
        if neuron.sigma_delta is None:
            raise BackendError("neurons without a sigma; report this")
        bias = per_neuron(neuron.bias, shape).T.reshape(-1)
        self.kernel = SigmaDeltaKernel(neuron, np.array(bias, dtype=np.int32), wraps)
        sigma, *others = (each.T.reshape(-1) for each in neuron.sigma_delta.starts(shape))
        self.start = np.array(sigma, dtype=np.int32), np.array(np.stack(others, axis=-1), dtype=np.int32)
        self.sigma, self.memory = (each.copy() for each in self.start)

    def __call__(self, sums: npt.NDArray[Any]) -> Int32:
        """One step; sums [elements] of any number type → messages int32 [elements], a new array."""
        messages = np.empty(sums.size, dtype=np.int32)
        self.kernel(sums, self.sigma, self.sigma, messages, memory=self.memory)
        return messages

    def rest(self, u_init: Any = 0, v_init: Any = 0) -> None:
        """The state before a sample's first step."""
        self.sigma[:], self.memory[:] = self.start


def start_of(layer: IntegerLayer) -> tuple[Int32, Int32]:
    """σ, int32 [elements], and the memory, [elements, 3], before a sample's first step, channels last."""
    shape = layer.output_shape
    given = layer.neuron.sigma_delta
    states: IntArray = np.zeros((REMEMBERED + 1, *shape), dtype=np.int64) if given is None else given.starts(shape)
    rows = channels_last(states, shape).reshape(-1, size(shape)).astype(np.int32)
    return rows[0].copy(), np.ascontiguousarray(rows[1:].T)
