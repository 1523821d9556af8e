"""A relay: messages pass a number of hardware steps late, so that those of a short path meet those of a longer one.

The synapse that follows holds its sums for one step more, like every other. So from depth d to depth l it takes a relay
of l - 1 - d steps, and what arrives at its layer is aligned with the sample's own steps: the wave of resets has nothing
to clear.
"""

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


class Relay(AbstractProcess):
    """Sends in step h what it received in step h - steps; silence before that.

    Parameters
    ----------
    shape: shape of the messages in Lava's order. steps: at least 1.
    """

    def __init__(self, *, shape: tuple[int, ...], steps: int) -> None:
        super().__init__(shape=shape, steps=steps)
        self.s_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)


@implements(proc=Relay, protocol=LoihiProtocol)
@requires(CPU)
@tag("bit_accurate_loihi", "fixed_pt")
class PyRelayModel(PyLoihiProcessModel):
    """A ring of the last messages."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.under_way = np.zeros((proc_params["steps"], *proc_params["shape"]), dtype=np.int32)

    def run_spk(self) -> None:
        """Send the oldest messages, and take those of this step in their place."""
        slot = self.time_step % len(self.under_way)
        self.s_out.send(self.under_way[slot])
        self.under_way[slot] = self.s_in.recv()
