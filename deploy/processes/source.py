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

from spikecut.deploy.processes.wave import as_int32, as_int64, starts


class SampleSource(AbstractProcess):
    """Sends frame t of the current sample t - 1 steps after its start, and silence after the last frame.

    Parameters
    ----------
    shape: shape of a frame in Lava's order (W, H, C) or (F,).
    frames: shared int32 [T, elements], the current sample in Lava's order; the host fills it before the start.
    horizon: T.
    ring: the ring of start steps.
    """

    def __init__(self, *, shape: tuple[int, ...], frames: Any, horizon: int, ring: Any) -> None:
        super().__init__(shape=shape, frames=frames, horizon=horizon, ring=ring)
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
        self.horizon: int = proc_params["horizon"]
        shape = proc_params["shape"]
        self.frames = as_int32(proc_params["frames"]).reshape(self.horizon, *shape)
        self.silence = np.zeros(shape, dtype=np.int32)
        self.played = self.horizon

    def run_spk(self) -> None:
        """Send the frame that is due."""
        if starts(self.ring, self.time_step):
            self.played = 0
        if self.played < self.horizon:
            self.s_out.send(self.frames[self.played])
            self.played += 1
        else:
            self.s_out.send(self.silence)
