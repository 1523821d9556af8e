"""Neuron Processes: Lava's LIF under a model that resets with the sample, soft reset, rest, membrane readout, gains.

All share the arithmetic of Lava's AbstractPyLifModelFixed (24-bit u wraps, v clips, 12-bit decays of the magnitude).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import AbstractPyLifModelFixed, PyLifModelBitAcc
from lava.proc.lif.process import LIF

from spikecut.deploy.backends.lava.processes.wave import Wave
from spikecut.export.network.gain import gain_at
from spikecut.export.network.neurons import Reset
from spikecut.fixed_point import keep, multiplied


class SoftResetLIF(LIF):
    """LIF whose membrane loses an amount per spike, instead of all of it: v ← v - amount.

    Parameters
    ----------
    amount: in v's units, 24 bits; vth << 6 where it is the threshold. One for all, or int32 that broadcasts to the
        neurons, as vth, du and dv.
    The others as LIF's.
    """

    def __init__(self, *, amount: int | npt.NDArray[np.int32], **parameters: Any) -> None:
        super().__init__(**parameters)
        self.amount = Var(shape=np.shape(amount) or (1,), init=amount)


class RefractoryLIF(LIF):
    """LIF that rests after a spike: v stays as the reset left it, and nothing fires; u goes on. As LIFRefractory does.

    Parameters
    ----------
    refractory: the steps of rest after a spike, 1 to 63.
    after_spike: "zero" or "subtract". amount: see SoftResetLIF; unused by "zero".
    The others as LIF's.
    """

    def __init__(
        self, *, refractory: int, after_spike: Reset, amount: int | npt.NDArray[np.int32], **parameters: Any
    ) -> None:
        super().__init__(after_spike=after_spike, **parameters)
        self.refractory = Var(shape=(1,), init=refractory)
        self.amount = Var(shape=np.shape(amount) or (1,), init=amount)
        self.waits = Var(shape=self.v.shape, init=0)


class AdaptiveLIF(LIF):
    """LIF that no spike resets: each raises its threshold, and a state that keeps it from firing again. lava-dl's ALIF.

    Parameters
    ----------
    adaptation: decay of the threshold, its step in the units of vth, decay of the other state; see
        export/network/adaptation.py.
    The others as LIF's.
    """

    def __init__(self, *, adaptation: tuple[int, int, int], **parameters: Any) -> None:
        super().__init__(**parameters)
        self.adaptation = Var(shape=(3,), init=np.array(adaptation, dtype=np.int32))
        self.raised = Var(shape=self.v.shape, init=0)
        self.refractory = Var(shape=self.v.shape, init=0)


class MembraneReadout(LIF):
    """Integrates like LIF without ever firing; sends v as a graded int32 message every step."""


class GainLIF(LIF):
    """LIF whose current and bias are multiplied by the gain of the sample's step on their way into v: a program.

    Parameters
    ----------
    gain: integers in 4096ths, one per timestep since the last reset; the last one holds. See export/network/gain.py.
    after_spike: the `reset` of an IntegerNeuron: "zero", "subtract", or "none", which sends v instead of firing.
    amount: see SoftResetLIF; unused by other resets.
    The others as LIF's; du must be 4095, which loses all of the current.
    """

    def __init__(
        self,
        *,
        gain: npt.NDArray[np.int32],
        after_spike: Reset,
        amount: int | npt.NDArray[np.int32],
        **parameters: Any,
    ) -> None:
        super().__init__(after_spike=after_spike, **parameters)
        self.gain = Var(shape=gain.shape, init=gain)
        self.amount = Var(shape=np.shape(amount) or (1,), init=amount)


class ResettingLifModel(PyLifModelBitAcc):
    """Lava's own bit-accurate LIF, which first resets itself when a new sample arrives at its depth."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.wave = Wave(proc_params[Wave.KEY])

    def run_spk(self) -> None:
        """One step of Lava's own LIF, between the reset and the record."""
        if self.wave.arrives(self.time_step):
            self.u[:] = self.wave.u_init
            self.v[:] = self.wave.v_init
        super().run_spk()
        self.wave.note(self.time_step, self.s_out_buff)


class _OwnModel(AbstractPyLifModelFixed):
    """What the models below share: the wave, and the threshold's alignment as in Lava's LIF."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    vth: int = LavaPyType(int, np.int32, precision=17)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.wave = Wave(proc_params[Wave.KEY])
        self.effective_vth: Any = 0

    def scale_threshold(self) -> None:
        """Align the threshold with v, as Lava's LIF does."""
        self.effective_vth = np.left_shift(self.vth, self.vth_shift)
        self.isthrscaled = True

    def rest(self) -> None:
        """The state before a sample's first step."""
        self.u[:] = self.wave.u_init
        self.v[:] = self.wave.v_init

    def run_spk(self) -> None:
        """One step, between the reset and the record."""
        if self.wave.arrives(self.time_step):
            self.rest()
        super().run_spk()
        self.wave.note(self.time_step, self.s_out_buff)


@implements(proc=SoftResetLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("bit_accurate_loihi", "fixed_pt")
class PySoftResetLifModel(_OwnModel):
    """Fires at v > vth, then subtracts the amount."""

    amount: int = LavaPyType(int, np.int32, precision=24)

    def spiking_activation(self) -> npt.NDArray[np.bool_]:
        """Spikes of this step."""
        return np.asarray(self.v > self.effective_vth)

    def reset_voltage(self, spike_vector: npt.NDArray[np.bool_]) -> None:
        """Soft reset."""
        self.v[:] -= np.where(spike_vector, self.amount, 0).astype(self.v.dtype)


@implements(proc=RefractoryLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("bit_accurate_loihi", "fixed_pt")
class PyRefractoryLifModel(_OwnModel):
    """Counts down the steps of rest, in which v is what it was."""

    refractory: int = LavaPyType(int, np.int32, precision=6)
    amount: int = LavaPyType(int, np.int32, precision=24)
    waits: npt.NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=6)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.after_spike: Reset = proc_params["after_spike"]

    def rest(self) -> None:
        """The state before a sample's first step, in which nothing rests."""
        super().rest()
        self.waits[:] = 0

    def subthr_dynamics(self, activation_in: npt.NDArray[np.int32]) -> None:
        """Lava's current and membrane; the membranes that rest stay."""
        before = self.v.copy()
        super().subthr_dynamics(activation_in)
        self.v[:] = np.where(self.waits > 0, before, self.v)

    def spiking_activation(self) -> npt.NDArray[np.bool_]:
        """Spikes of this step."""
        return np.asarray((self.v > self.effective_vth) & (self.waits == 0))

    def reset_voltage(self, spike_vector: npt.NDArray[np.bool_]) -> None:
        """Hard or soft reset; the rest begins, or is a step shorter."""
        if self.after_spike == "zero":
            self.v[spike_vector] = 0
        else:
            self.v[:] -= np.where(spike_vector, self.amount, 0).astype(self.v.dtype)
        self.waits[:] = np.where(spike_vector, self.refractory, np.maximum(self.waits - 1, 0))


@implements(proc=AdaptiveLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("bit_accurate_loihi", "fixed_pt")
class PyAdaptiveLifModel(_OwnModel):
    """Fires at v ≥ vth + what earlier spikes have left of both states."""

    adaptation: npt.NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=17)
    raised: npt.NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)
    refractory: npt.NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)

    def rest(self) -> None:
        """The state before a sample's first step, without a spike behind it."""
        super().rest()
        self.raised[:], self.refractory[:] = 0, 0

    def spiking_activation(self) -> npt.NDArray[np.bool_]:
        """Spikes of this step, after both states have decayed."""
        threshold_decay, _, refractory_decay = self.adaptation.tolist()
        self.raised[:] = keep(self.raised.astype(np.int64), threshold_decay)
        self.refractory[:] = keep(self.refractory.astype(np.int64), refractory_decay)
        return np.asarray(self.v >= self.effective_vth + self.raised + self.refractory)

    def reset_voltage(self, spike_vector: npt.NDArray[np.bool_]) -> None:
        """The membrane stays; the states rise."""
        step = np.left_shift(self.adaptation[1], self.vth_shift)
        self.refractory[:] += (2 * (self.effective_vth + self.raised) * spike_vector).astype(np.int32)
        self.raised[:] += (step * spike_vector).astype(np.int32)


@implements(proc=MembraneReadout, protocol=LoihiProtocol)
@requires(CPU)
@tag("bit_accurate_loihi", "fixed_pt")
class PyMembraneReadoutModel(_OwnModel):
    """Sends the membrane; nothing fires and nothing resets."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=32)

    def spiking_activation(self) -> npt.NDArray[np.int32]:
        """The message of this step: the membrane itself."""
        return np.array(self.v, dtype=np.int32)

    def reset_voltage(self, spike_vector: npt.NDArray[np.int32]) -> None:
        """A readout keeps its membrane."""


@implements(proc=GainLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("bit_accurate_loihi", "fixed_pt")
class PyGainLifModel(_OwnModel):
    """Multiplies what enters v by the gain of the step; counts steps from the reset."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=32)
    gain: npt.NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=13)
    amount: int = LavaPyType(int, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.after_spike: Reset = proc_params["after_spike"]
        self.steps = 0

    def rest(self) -> None:
        """The state before a sample's first step, whose gain comes next."""
        super().rest()
        self.steps = 0

    def subthr_dynamics(self, activation_in: npt.NDArray[np.int32]) -> None:
        """Lava's current; its membrane, but for the gain."""
        product = self.v.astype(np.int64) * (self.decay_unity - (self.dv + self.dm_offset))
        kept = np.sign(product) * np.right_shift(np.abs(product), self.decay_shift)
        super().subthr_dynamics(activation_in)
        driven = multiplied(self.u + self.effective_bias, gain_at(tuple(self.gain), self.steps))
        self.v[:] = np.clip(kept + driven, 1 - self.max_uv_val, self.max_uv_val - 1)
        self.steps += 1

    def spiking_activation(self) -> npt.NDArray[Any]:
        """Spikes of this step, or the membrane."""
        return np.array(self.v) if self.after_spike == "none" else np.asarray(self.v > self.effective_vth)

    def reset_voltage(self, spike_vector: npt.NDArray[Any]) -> None:
        """Hard or soft reset; a readout keeps its membrane."""
        if self.after_spike == "zero":
            self.v[spike_vector] = 0
        elif self.after_spike == "subtract":
            self.v[:] -= np.where(spike_vector, self.amount, 0).astype(self.v.dtype)
