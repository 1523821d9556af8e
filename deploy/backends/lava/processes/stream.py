"""A stream without end: a source that plays frame after frame, and a monitor that cuts, emits, resets and continues."""

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from spikecut.deploy.backends.lava.processes.wave import announce, as_int32, as_int64

# Words of the shared block between host, source and monitor: the hardware step of the first frame, how many there are,
# and how many steps the monitor has seen.
FIRST, COUNT, PLAYED = 0, 1, 2
CONTROL_WORDS = 3

# Columns of the shared verdicts, one row a hardware step.
EMITTED, SAFE, PREDICTION, TIMESTEPS, ANNOUNCED, MARGIN = 0, 1, 2, 3, 4, 5
VERDICT_COLUMNS = 6


class FrameSource(AbstractProcess):
    """Plays the frames that the host has laid down, one a step, whatever becomes of the ones before.

    Parameters
    ----------
    shape: shape of a frame in Lava's order (W, H, C) or (F,).
    frames: shared int32 [capacity, elements] in Lava's order.
    control: shared int64 [CONTROL_WORDS].
    """

    def __init__(self, *, shape: tuple[int, ...], frames: Any, control: Any) -> None:
        super().__init__(shape=shape, frames=frames, control=control)
        self.s_out = OutPort(shape=shape)


class StreamMonitor(AbstractProcess):
    """Judges the output layer step by step; every verdict starts the next segment at the following source step.

    Parameters
    ----------
    shape: shape of the output layer in Lava's order.
    ring: the ring of start steps.
    depth: pipeline depth P.
    judge: a StreamCutoff for one stream, whose gap is P.
    membrane: whether messages are membranes (running sums already) instead of spikes.
    control: shared int64 [CONTROL_WORDS]; the run pauses at the last of the frames.
    verdicts: shared int64 [capacity, VERDICT_COLUMNS], one row for each step in which a frame was played.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        ring: Any,
        depth: int,
        judge: Any,
        membrane: bool,
        control: Any,
        verdicts: Any,
    ) -> None:
        super().__init__(
            shape=shape, ring=ring, depth=depth, judge=judge, membrane=membrane, control=control, verdicts=verdicts
        )
        self.s_in = InPort(shape=shape)


@implements(proc=FrameSource, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyFrameSourceModel(PyLoihiProcessModel):
    """Plays frames from shared memory."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.control = as_int64(proc_params["control"])
        self.frames = as_int32(proc_params["frames"]).reshape(-1, *proc_params["shape"])

    def run_spk(self) -> None:
        """Send the frame of this step."""
        self.s_out.send(self.frames[self.time_step - self.control[FIRST]])


@implements(proc=StreamMonitor, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyStreamMonitorModel(PyLoihiProcessModel):
    """Runs the stream's judge on what the output layer sends."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.ring = as_int64(proc_params["ring"])
        self.control = as_int64(proc_params["control"])
        self.verdicts = as_int64(proc_params["verdicts"]).reshape(-1, VERDICT_COLUMNS)
        self.judge = proc_params["judge"]
        # Nothing of the first frame arrives before the step 1 + P.
        self.judge.elapsed[:] = -proc_params["depth"]
        self.membrane: bool = proc_params["membrane"]
        self.before = np.zeros_like(self.judge.totals)

    def run_spk(self) -> None:
        """Read one step of the output layer."""
        # Maps come as (W, H, C), the transpose of torch's order.
        messages = self.s_in.recv().T.reshape(1, -1).astype(np.int64)
        if self.judge.begins[0]:
            self.before[:] = 0
        said = self.judge.step(messages - self.before if self.membrane else messages)
        self.before = messages
        row = self.time_step - self.control[FIRST]
        self.verdicts[row] = (
            said.emitted[0],
            said.safe[0],
            said.predictions[0],
            said.timesteps[0],
            said.announced[0],
            said.margins[0],
        )
        if said.emitted[0]:
            announce(self.ring, self.time_step + 1)
        self.control[PLAYED] += 1
        if row + 1 == self.control[COUNT]:
            self._req_pause = True
