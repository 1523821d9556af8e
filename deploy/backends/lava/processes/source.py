"""A source that plays one sample after the other by the sample's own time."""

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from spikecut.deploy.backends.lava.processes.wave import announce, as_int32, as_int64, starts

# Words of the shared block between host, source and monitor.
SAMPLES, STARTED = 0, 1
CONTROL_WORDS = 2


class SampleSource(AbstractProcess):
    """Plays samples one after the other, each by its own time: frame t at t - 1 steps after its start.

    The first sample starts where the host has announced it. The next one starts at the step that the monitor has
    announced, or when the running sample has played T frames, which the source announces itself; whichever comes first.
    After the last sample it is silent.

    Parameters
    ----------
    shape: shape of a frame in Lava's order (W, H, C) or (F,).
    frames: shared int32 [capacity, frames per sample, elements] in Lava's order; one frame per sample is repeated.
    frames_per_sample: 1 or T.
    horizon: T.
    ring: the ring of start steps.
    control: shared int64 [CONTROL_WORDS]; SAMPLES is how many are to be played, STARTED how many have begun.
    start_steps: shared int64 [capacity], the step at which each sample started.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        frames: Any,
        frames_per_sample: int,
        horizon: int,
        ring: Any,
        control: Any,
        start_steps: Any,
    ) -> None:
        super().__init__(
            shape=shape,
            frames=frames,
            frames_per_sample=frames_per_sample,
            horizon=horizon,
            ring=ring,
            control=control,
            start_steps=start_steps,
        )
        self.s_out = OutPort(shape=shape)


@implements(proc=SampleSource, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySampleSourceModel(PyLoihiProcessModel):
    """Plays frames from shared memory."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.ring = as_int64(proc_params["ring"])
        self.control = as_int64(proc_params["control"])
        self.start_steps = as_int64(proc_params["start_steps"])
        self.horizon: int = proc_params["horizon"]
        shape = proc_params["shape"]
        self.per_sample: int = proc_params["frames_per_sample"]
        self.frames = as_int32(proc_params["frames"]).reshape(-1, self.per_sample, *shape)
        self.silence = np.zeros(shape, dtype=np.int32)
        self.played = self.horizon

    def run_spk(self) -> None:
        """Send the frame that is due."""
        if starts(self.ring, self.time_step):
            self.start_steps[self.control[STARTED]] = self.time_step
            self.control[STARTED] += 1
            self.played = 0
        if self.played == self.horizon:
            self.s_out.send(self.silence)
            return
        frames = self.frames[self.control[STARTED] - 1]
        self.s_out.send(frames[self.played % self.per_sample])
        self.played += 1
        # A step early: the first synapse may have to forget the old sample in the very step of the start.
        if self.played == self.horizon and self.control[STARTED] < self.control[SAMPLES]:
            announce(self.ring, self.time_step + 1)
