"""Lava's own sigma-delta Processes under models that start anew with each sample, and Lava's Conv for their messages.

What they compute is lava.proc.sdn's fixed-point arithmetic, see export/network/sigma_delta.py.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.model.py.type import LavaPyType
from lava.proc.sdn.models import PyDeltaModelFixed, PySigmaDeltaModelFixed, PySigmaModelFixed

from spikecut.deploy.backends.lava.processes.synapses import WideConvModel
from spikecut.deploy.backends.lava.processes.wave import Wave

START_KEY = "spikecut_start"
"""Parameter of such a Process: σ, a, r and e before a sample's first step, int32 [4, *shape] in Lava's order."""


class _Starting:
    """What the models share: the wave, and the state that it brings."""

    wave: Wave
    first: npt.NDArray[np.int32]
    time_step: int
    s_out: Any
    held: tuple[str, ...] = ("sigma", "act", "residue", "error")

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)  # type: ignore[call-arg]  # Lava's models come next in line
        self.wave = Wave(proc_params[Wave.KEY])
        self.first = proc_params[START_KEY]

    def begin(self) -> None:
        """Take the state in which a sample begins, if one arrives in this step."""
        if self.wave.arrives(self.time_step):
            for key, values in zip(("sigma", "act", "residue", "error"), self.first, strict=True):
                if key in self.held:
                    getattr(self, key)[:] = values

    def give(self, messages: Any) -> None:
        """Send and record."""
        self.s_out.send(messages)
        self.wave.note(self.time_step, messages)


class StartingSigmaDeltaModel(_Starting, PySigmaDeltaModelFixed):
    """Lava's SigmaDelta, which first takes its start when a new sample arrives at its depth."""

    def run_spk(self) -> None:
        """One step of Lava's own dynamics, between the start and the record."""
        self.begin()
        self.give(np.right_shift(self.dynamics(self.a_in.recv()), self.state_exp))


class StartingDeltaModel(_Starting, PyDeltaModelFixed):
    """Lava's Delta, which first takes its start when a new sample arrives at its depth."""

    def run_spk(self) -> None:
        """One step of Lava's own dynamics, between the start and the record."""
        self.begin()
        given = np.left_shift(self.a_in.recv(), self.spike_exp + self.state_exp)
        sent = np.right_shift(self.delta_dynamics(given), self.state_exp)
        self.act = given
        self.give(sent)


class StartingSigmaModel(_Starting, PySigmaModelFixed):
    """Lava's Sigma, which first takes its start when a new sample arrives at its depth."""

    held = ("sigma",)

    def run_spk(self) -> None:
        """One step of Lava's own dynamics, between the start and the record."""
        self.begin()
        self.sigma = self.sigma_dynamics(self.a_in.recv())
        self.give(self.sigma)


class GradedConvModel(WideConvModel):
    """Lava's Conv whose sums are cast to 64 bits before they wrap at 24: those of wide messages may not fit its 32."""

    weight: npt.NDArray[Any] = LavaPyType(np.ndarray, np.int64, precision=8)
