"""The monitor that reads the output layer and halts a sample's run once the answer is safe."""

import time
from dataclasses import dataclass
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

from spikecut.deploy.backends.lava.processes.source import SAMPLES
from spikecut.deploy.backends.lava.processes.wave import announce, as_int64, starts

# Columns of the shared results, one row a sample.
TIMESTEPS, VERDICT_STEP, CUT, CLOCK_NS = 0, 1, 2, 3
RESULT_COLUMNS = 4


@dataclass(frozen=True)
class MonitorMemory:
    """What the monitor shares with the host, each int64.

    Attributes
    ----------
    control: [CONTROL_WORDS], see SampleSource. scores: [capacity, T, classes], what each step added.
    results: [capacity, RESULT_COLUMNS]. verdicts: [1], how many samples have ended since the host set it to 0.
    """

    control: Any
    scores: Any
    results: Any
    verdicts: Any


class CutoffMonitor(AbstractProcess):
    """Accumulates the scores of the running sample and ends it at the step of the verdict.

    While samples are left it starts the next one at the following step, unless that one starts by itself because the
    running sample has played all its frames; after the last verdict it pauses the run, in that very step.

    Parameters
    ----------
    shape: shape of the output layer in Lava's order.
    ring: the ring of start steps.
    depth: pipeline depth P; the sample that starts at s is read from hardware step s + P on.
    horizon: T.
    policy: a CutoffPolicy, or None to run every sample to the horizon.
    membrane: whether messages are membranes (running sums already) instead of spikes.
    memory: what it shares with the host.
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
        memory: MonitorMemory,
    ) -> None:
        super().__init__(
            shape=shape,
            ring=ring,
            depth=depth,
            horizon=horizon,
            policy=policy,
            membrane=membrane,
            control=memory.control,
            scores=memory.scores,
            results=memory.results,
            verdicts=memory.verdicts,
        )
        self.s_in = InPort(shape=shape)


@implements(proc=CutoffMonitor, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyCutoffMonitorModel(PyLoihiProcessModel):
    """Runs the policy on the scores so far, and asks for a pause in the very step of the last verdict."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.ring = as_int64(proc_params["ring"])
        self.control = as_int64(proc_params["control"])
        self.depth: int = proc_params["depth"]
        self.horizon: int = proc_params["horizon"]
        self.policy = proc_params["policy"]
        self.membrane: bool = proc_params["membrane"]
        self.results = as_int64(proc_params["results"]).reshape(-1, RESULT_COLUMNS)
        self.scores = as_int64(proc_params["scores"]).reshape(self.results.shape[0], self.horizon, -1)
        self.verdicts = as_int64(proc_params["verdicts"])
        self.totals = np.zeros((1, self.scores.shape[2]), dtype=np.int64)
        self.state: Any = None
        self.timestep = self.horizon

    def run_spk(self) -> None:
        """Read one step of the output layer."""
        # Maps come as (W, H, C), the transpose of torch's order.
        messages = self.s_in.recv().T.reshape(-1).astype(np.int64)
        if starts(self.ring, self.time_step - self.depth):
            self.timestep = 0
            self.totals[:] = 0
            self.state = None if self.policy is None else self.policy.init(1, self.totals.shape[1])
        if self.timestep >= self.horizon:
            return
        sample = int(self.verdicts[0])
        added = messages - self.totals[0] if self.membrane else messages
        self.scores[sample, self.timestep] = added
        self.totals[0] += added
        self.timestep += 1
        cut = False
        if self.policy is not None and self.timestep < self.horizon:
            exits, self.state = self.policy.step(self.totals, self.timestep, self.state)
            cut = bool(exits[0])
        if cut or self.timestep == self.horizon:
            self._end(sample, cut)

    def _end(self, sample: int, cut: bool) -> None:
        """Write the verdict, and start the next sample or pause."""
        self.results[sample] = self.timestep, self.time_step, cut, time.perf_counter_ns()
        self.verdicts[0] = sample + 1
        # The sample started at source step s; once it has played T frames the source goes on by itself.
        start = self.time_step - self.depth - self.timestep + 1
        self.timestep = self.horizon
        if sample + 1 == self.control[SAMPLES]:
            self._req_pause = True
        elif self.time_step + 1 < start + self.horizon:
            announce(self.ring, self.time_step + 1)
