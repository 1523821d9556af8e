"""Neurons that rest after a spike: what a step did to their membranes is taken back."""

from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.kernels.compiled import compiled

NO_REST = np.zeros(0, dtype=np.int8)


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


def new_waits(shape: tuple[int, ...], refractory: int) -> npt.NDArray[np.int8]:
    """Nothing rests yet; an empty array for neurons that never do."""
    return np.zeros(shape, dtype=np.int8) if refractory else NO_REST
