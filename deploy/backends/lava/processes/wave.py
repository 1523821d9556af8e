"""The reset that travels with the sample, and the record of what passed (shared memory, numpy only).

A ring of start steps: `ring[s % R] == s` says that a sample starts at source step s. The neurons at depth l honour it
at s + l, immediately before they integrate, so that every layer begins the sample with its first real input, bias
included: that is what the torch network computes. R must exceed the depth. Lava executes every file of this folder
when it looks for ProcessModels: keep them free of side effects.
"""

import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NEVER = -(2**62)
Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]


def shared_int64(count: int) -> Any:
    """Shared memory for `count` int64, to be handed to a ProcessModel and opened by `as_int64`.

    It has no name: the system takes it back with the last process that has it.
    """
    return mmap.mmap(-1, 8 * count)


def shared_int32(count: int) -> Any:
    """Shared memory for `count` int32."""
    return mmap.mmap(-1, 4 * count)


def as_int64(memory: Any) -> Int64:
    """A view of shared memory, int64 [count]."""
    return np.frombuffer(memory, dtype=np.int64)


def as_int32(memory: Any) -> Int32:
    """A view of shared memory, int32 [count]."""
    return np.frombuffer(memory, dtype=np.int32)


def new_ring(depth: int) -> Any:
    """An empty ring of start steps for a network of this depth."""
    ring = shared_int64(2 * depth + 8)
    as_int64(ring)[:] = NEVER
    return ring


def starts(ring: Int64, step: int) -> bool:
    """Whether a sample's source step is `step`."""
    return bool(ring[step % ring.size] == step)


def announce(ring: Int64, step: int) -> None:
    """Let a sample start at source step `step`."""
    ring[step % ring.size] = step


@dataclass(frozen=True)
class WaveParameters:
    """What a neuron ProcessModel needs to reset and record itself.

    Attributes
    ----------
    ring: shared ring of start steps.
    depth: the layer's distance from the source in hardware steps.
    record: shared int32 [rows, neurons] or None; row h % rows holds the messages of hardware step h, Lava's order.
    rows: number of rows.
    u_init, v_init: current and membrane at the start of a sample, in v's units: a number, or int32, one per channel,
        the last axis of Lava's shapes, or one per neuron.
    """

    ring: Any
    depth: int
    record: Any
    rows: int
    u_init: Any = 0
    v_init: Any = 0


class Wave:
    """The ProcessModel's side of WaveParameters; made inside the child process."""

    KEY = "spikecut_wave"

    def __init__(self, parameters: WaveParameters) -> None:
        self.ring = as_int64(parameters.ring)
        self.depth = parameters.depth
        self.u_init, self.v_init = parameters.u_init, parameters.v_init
        self.rows = parameters.rows
        self.record = None if parameters.record is None else as_int32(parameters.record).reshape(self.rows, -1)

    def arrives(self, step: int) -> bool:
        """Whether a new sample reaches this layer at hardware step `step`."""
        return starts(self.ring, step - self.depth)

    def note(self, step: int, messages: npt.NDArray[Any]) -> None:
        """Record the messages of hardware step `step`."""
        if self.record is not None:
            self.record[step % self.rows] = messages.reshape(-1)
