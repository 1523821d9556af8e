"""Lava's own synapse models where they fall short: what they hold of a sample is cleared, wide geometries fit."""

from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv
from lava.proc.dense.models import AbstractPyDenseModelBitAcc, PyDelayDenseModelBitAcc
from lava.proc.dense.process import Dense

from spikecut.deploy.backends.lava.processes.wave import Wave


class WideConvModel(PyConvModelFixed):
    """Lava's Conv with its geometry in 32 bits; Lava's 8 make -128 of 128 groups, and nothing is computed."""

    kernel_size: npt.NDArray[Any] = LavaPyType(np.ndarray, np.int32, precision=8)
    stride: npt.NDArray[Any] = LavaPyType(np.ndarray, np.int32, precision=8)
    padding: npt.NDArray[Any] = LavaPyType(np.ndarray, np.int32, precision=8)
    dilation: npt.NDArray[Any] = LavaPyType(np.ndarray, np.int32, precision=8)
    groups: npt.NDArray[Any] = LavaPyType(np.ndarray, np.int32, precision=8)


class RecurrentSynapse(Dense):
    """Dense from a layer's spikes back to itself: what it holds when a new sample arrives must not be delivered."""


class RecurrentConvolution(Conv):
    """Conv from a layer's maps of spikes back to themselves, as RecurrentSynapse."""


@implements(proc=RecurrentSynapse, protocol=LoihiProtocol)
@requires(CPU)
@tag("bit_accurate_loihi", "fixed_pt")
class PyRecurrentSynapseModel(AbstractPyDenseModelBitAcc):
    """Lava's Dense, which first forgets the old sample's last spikes when a new sample reaches the layer."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.wave = Wave(proc_params[Wave.KEY])

    def run_spk(self) -> None:
        """One step of Lava's Dense, after the reset."""
        if self.wave.arrives(self.time_step):
            self.a_buff[:] = 0
        super().run_spk()


class RecurrentConvModel(WideConvModel):
    """Lava's Conv, which first forgets the old sample's last spikes when a new sample reaches the layer."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.wave = Wave(proc_params[Wave.KEY])

    def run_spk(self) -> None:
        """One step of Lava's Conv, after the reset."""
        if self.wave.arrives(self.time_step):
            self.a_buf[:] = 0
        super().run_spk()


class ResettingDelayDenseModel(PyDelayDenseModelBitAcc):
    """Lava's DelayDense, which forgets what is still under way for the old sample.

    Its wave has the depth of the layer before: the first message of the new sample arrives in this step, while the
    first column, which this step delivers, still belongs to the old sample's last step of the next layer.
    """

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.wave = Wave(proc_params[Wave.KEY])

    def run_spk(self) -> None:
        """One step of Lava's DelayDense, after the reset."""
        if self.wave.arrives(self.time_step):
            self.a_buff[:, 1:] = 0
        super().run_spk()
