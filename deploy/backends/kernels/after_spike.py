"""What neurons do after a step that remembers their spikes: those that rest, and those whose threshold has risen.

Each is a second pass over a layer, behind the kernel that integrated its currents; other layers do not pay for it. The
memory of a layer is one array [slots, elements, numbers of a neuron].
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.kernels.compiled import compiled
from spikecut.export.network.adaptation import Adaptation
from spikecut.fixed_point import DECAY_SHIFT, DECAY_UNITY

Memory = npt.NDArray[np.integer[Any]]
NOTHING: Memory = np.zeros(0, dtype=np.int8)


@compiled()
def rest(before: Any, v: Any, out: Any, waits: Any, period: Any) -> None:
    """Give the neurons that rest the v that they had, and take their spikes back; those that fire rest from then on.

    before: v before the step. v, out: after it. waits: int8, the steps for which each still rests. All flat, changed in
    place. period: the steps after a spike.
    """
    for i in range(v.size):
        if waits[i] > 0:
            v[i] = before[i]
            out[i] = 0
            waits[i] -= 1
        elif out[i] != 0:
            waits[i] = period


@compiled()
def adapt(v: Any, out: Any, memory: Any, level: Any, decay: Any, step: Any, refractory_decay: Any) -> None:
    """Fire where v reaches the threshold, which each spike raises; see export/network/adaptation.py.

    v: int32 [rows, C]; out: [rows, C]; memory: int32 [rows, C, 2], a and r; level: int32 [C], the thresholds in v's
    units. decay, step, refractory_decay: of Adaptation, the step in v's units.
    """
    keep_raised, keep_refractory = np.int64(DECAY_UNITY - decay), np.int64(DECAY_UNITY - refractory_decay)
    for r in range(v.shape[0]):
        for c in range(v.shape[1]):
            raised = (np.int64(memory[r, c, 0]) * keep_raised) >> DECAY_SHIFT  # neither is ever negative
            refractory = (np.int64(memory[r, c, 1]) * keep_refractory) >> DECAY_SHIFT
            threshold = level[c] + raised
            fires = v[r, c] >= threshold + refractory
            out[r, c] = fires
            memory[r, c, 0] = raised + (step if fires else 0)
            memory[r, c, 1] = refractory + (2 * threshold if fires else 0)


class Remembers(Protocol):
    """What tells whether neurons remember their spikes: an IntegerNeuron, or the constants of one."""

    @property
    def refractory(self) -> int: ...  # noqa: D102 (see IntegerNeuron)

    @property
    def adaptation(self) -> Adaptation | None: ...  # noqa: D102


def new_memory(shape: tuple[int, ...], neuron: Remembers) -> Memory:
    """Neurons without a spike behind them; an empty array for those that remember none."""
    if neuron.adaptation is not None:
        return np.zeros((*shape, 2), dtype=np.int32)
    return np.zeros(shape, dtype=np.int8) if neuron.refractory else NOTHING
