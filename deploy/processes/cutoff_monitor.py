"""The monitor that reads the output layer and halts a sample's run once the answer is safe."""

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from spikecut.deploy.processes.wave import as_int64, starts

# Words of the shared result block, written before the run pauses.
TIMESTEPS, VERDICT_STEP, CUT, VERDICTS = 0, 1, 2, 3
RESULT_WORDS = 4


class CutoffMonitor(AbstractProcess):
    """Accumulates the scores of the running sample and pauses the run at the step of the verdict.

    Parameters
    ----------
    shape: shape of the output layer in Lava's order.
    ring: the ring of start steps.
    depth: pipeline depth P; the sample that starts at s is read from hardware step s + P on.
    horizon: T.
    policy: a CutoffPolicy, or None to run every sample to the horizon.
    membrane: whether messages are membranes (running sums already) instead of spikes.
    scores: shared int64 [T, classes]: what each step added.
    result: shared int64 [RESULT_WORDS].
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        ring: Any,
        depth: int,
        horizon: int,
        policy: Any,
        membrane: bool,
        scores: Any,
        result: Any,
    ) -> None:
        super().__init__(
            shape=shape,
            ring=ring,
            depth=depth,
            horizon=horizon,
            policy=policy,
            membrane=membrane,
            scores=scores,
            result=result,
        )
        self.s_in = InPort(shape=shape)


@implements(proc=CutoffMonitor, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyCutoffMonitorModel(PyLoihiProcessModel):
    """Runs the policy on the scores so far, and asks for a pause in the very step of the verdict."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.ring = as_int64(proc_params["ring"])
        self.depth: int = proc_params["depth"]
        self.horizon: int = proc_params["horizon"]
        self.policy = proc_params["policy"]
        self.membrane: bool = proc_params["membrane"]
        self.scores = as_int64(proc_params["scores"]).reshape(self.horizon, -1)
        self.result = as_int64(proc_params["result"])
        self.totals = np.zeros((1, self.scores.shape[1]), dtype=np.int64)
        self.state: Any = None
        self.timestep = self.horizon

    def run_spk(self) -> None:
        """Read one step of the output layer."""
        messages = self.s_in.recv().reshape(-1).astype(np.int64)
        if starts(self.ring, self.time_step - self.depth):
            self.timestep = 0
            self.totals[:] = 0
            self.state = None if self.policy is None else self.policy.init(1, self.totals.shape[1])
        if self.timestep >= self.horizon:
            return
        self.scores[self.timestep] = messages - self.totals[0] if self.membrane else messages
        self.totals[0] += self.scores[self.timestep]
        self.timestep += 1
        cut = False
        if self.policy is not None and self.timestep < self.horizon:
            exits, self.state = self.policy.step(self.totals, self.timestep, self.state)
            cut = bool(exits[0])
        if cut or self.timestep == self.horizon:
            self.result[TIMESTEPS], self.result[VERDICT_STEP], self.result[CUT] = self.timestep, self.time_step, cut
            self.result[VERDICTS] += 1
            self.timestep = self.horizon
            self._req_pause = True
