"""Fast models of the Processes of a graph of blocks: Lava's ports, Vars and steps under other arithmetic.

Each sends the same messages in the same hardware step as the stock model that it stands in for. It prepares itself in
its first step, when its Vars are there, and imports the kernels only then: Lava executes every file of this folder.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights

from spikecut.deploy.backends.lava.processes.neurons import (
    PyAdaptiveLifModel,
    PyGainLifModel,
    PyMembraneReadoutModel,
    PyRefractoryLifModel,
    PySoftResetLifModel,
    ResettingLifModel,
)
from spikecut.deploy.backends.lava.processes.synapses import WideConvModel
from spikecut.deploy.backends.lava.processes.wave import Wave
from spikecut.export.network.adaptation import Adaptation
from spikecut.export.network.neurons import Reset

# Parameter of a Conv: the float type in which its sums are exact.
FLOAT_KEY = "spikecut_float"


class FastConvModel(WideConvModel):
    """Lava's Conv as one matrix product instead of one scipy convolution per pair of channels."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.a_buf: Any = None
        self.sums: Any = None

    def _prepare(self) -> None:
        from spikecut.deploy.backends.kernels.step import ConvolutionSums, bound_threads, wrapped

        bound_threads()
        self.wrapped = wrapped
        self.sums = ConvolutionSums(
            self.weight,
            self.proc_params["input_shape"],
            stride=_pair(self.stride),
            padding=_pair(self.padding),
            dilation=_pair(self.dilation),
            groups=_scalar(self.groups),
            dtype=self.proc_params[FLOAT_KEY],
        )

    def run_spk(self) -> None:
        """Send the sums of the step before, take the messages of this one."""
        if self.sums is None:
            self._prepare()
        self.a_out.send(self.a_buf)
        messages = self.s_in.recv()
        if not self.num_message_bits.item():
            messages = messages.astype(np.bool_)
        self.a_buf = self.wrapped(self.sums(messages)).reshape(self.a_buf.shape)


class FastRecurrentConvModel(FastConvModel):
    """The same for RecurrentConvolution, which first forgets the old sample's last spikes."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.wave = Wave(proc_params[Wave.KEY])

    def run_spk(self) -> None:
        """One step of FastConvModel, after the reset."""
        if self.wave.arrives(self.time_step):
            self.a_buf[:] = 0
        super().run_spk()


class _FastSynapses:
    """What the dense synapses share: their weights as Lava applies them, and the messages that arrive."""

    proc_params: Any
    s_in: Any
    num_message_bits: Any
    weights: npt.NDArray[np.int32]
    sums: Any

    def _applied_weights(self) -> npt.NDArray[np.int32]:
        sign_mode = self.proc_params.get("sign_mode") or determine_sign_mode(self.weights)
        clipped = clip_weights(self.weights, sign_mode, num_bits=8)
        return np.asarray(truncate_weights(clipped, sign_mode, self.proc_params.get("num_weight_bits", 8)))

    def _exponent(self) -> int:
        return int(self.proc_params.get("weight_exp", 0))

    def _received(self) -> npt.NDArray[np.int32]:
        messages = self.s_in.recv()
        if not self.num_message_bits.item():
            messages = messages.astype(np.bool_)
        return np.asarray(messages, dtype=np.int32)


class FastDenseModel(_FastSynapses, PyDenseModelBitAcc):
    """Lava's Dense by the messages that are not 0."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.a_buff: Any = None
        self.sums = None

    def run_spk(self) -> None:
        """Send the sums of the step before, take the messages of this one."""
        if self.sums is None:
            from spikecut.deploy.backends.kernels.step import DenseSums

            self.sums = DenseSums(self._applied_weights(), self._exponent())
        self.a_out.send(self.a_buff)
        self.a_buff = self.sums(self._received())


class FastRecurrentModel(FastDenseModel):
    """The same for RecurrentSynapse, which first forgets the old sample's last spikes."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.wave = Wave(proc_params[Wave.KEY])

    def run_spk(self) -> None:
        """One step of FastDenseModel, after the reset."""
        if self.wave.arrives(self.time_step):
            self.a_buff[:] = 0
        super().run_spk()


class FastDelayDenseModel(_FastSynapses, PyDelayDenseModelBitAcc):
    """Lava's DelayDense with a ring of what is due, reset as ResettingDelayDenseModel resets."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.wave = Wave(proc_params[Wave.KEY])
        self.sums = None

    def run_spk(self) -> None:
        """Send what is due, forget an old sample, take the messages of this step."""
        if self.sums is None:
            from spikecut.deploy.backends.kernels.step import DelayedSums

            self.sums = DelayedSums(self._applied_weights(), self.delays, self._exponent())
            self.due = self.a_buff[:, 0]
        self.a_out.send(self.due)
        if self.wave.arrives(self.time_step):
            self.sums.forget()
        self.due = self.sums(self._received())


class _FastNeurons:
    """One step of any of the neuron Processes, between the reset and the record."""

    reset: Reset
    gains: tuple[int, ...] | None = None
    period: int = 0
    adapts: Adaptation | None = None
    neurons: Any = None
    wave: Wave
    time_step: int
    a_in: Any
    s_out: Any
    u: npt.NDArray[np.int32]
    v: npt.NDArray[np.int32]
    du: Any
    dv: Any
    ds_offset: int
    dm_offset: int
    vth: Any
    effective_bias: Any
    scale_bias: Any

    def _prepare(self) -> None:
        from spikecut.deploy.backends.kernels.step import NeuronConstants, Neurons

        self.scale_bias()
        constants = NeuronConstants(
            decay_u=_parameter(self.du) + self.ds_offset,
            decay_v=_parameter(self.dv) + self.dm_offset,
            bias=self.effective_bias,
            threshold=_parameter(self.vth),
            amount=_parameter(getattr(self, "amount", 0)),  # a Var of Processes with a soft reset alone
            reset=self.reset,
            gain=self.gains,
            refractory=self.period,
            adaptation=self.adapts,
        )
        self.neurons = Neurons(self.u, self.v, constants, wraps=False)

    def run_spk(self) -> None:
        """Reset if a sample arrives, step, send, record."""
        if self.neurons is None:
            self._prepare()
        if self.wave.arrives(self.time_step):
            self.neurons.rest(self.wave.u_init, self.wave.v_init)
        messages = self.neurons(self.a_in.recv())
        self.s_out.send(messages.reshape(self.v.shape))
        self.wave.note(self.time_step, messages)


class FastLifModel(_FastNeurons, ResettingLifModel):
    """LIF in one pass."""

    reset: Reset = "zero"


class FastSoftResetLifModel(_FastNeurons, PySoftResetLifModel):
    """SoftResetLIF in one pass."""

    reset: Reset = "subtract"


class FastRefractoryLifModel(_FastNeurons, PyRefractoryLifModel):
    """RefractoryLIF in one pass, and one over what rests."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.reset = self.after_spike

    def _prepare(self) -> None:
        self.period = _scalar(self.refractory)
        super()._prepare()


class FastAdaptiveLifModel(_FastNeurons, PyAdaptiveLifModel):
    """AdaptiveLIF in one pass, and one over its thresholds."""

    reset: Reset = "adapt"

    def _prepare(self) -> None:
        self.adapts = Adaptation(*self.adaptation.tolist())
        super()._prepare()


class FastMembraneReadoutModel(_FastNeurons, PyMembraneReadoutModel):
    """MembraneReadout in one pass."""

    reset: Reset = "none"


class FastGainLifModel(_FastNeurons, PyGainLifModel):
    """GainLIF in one pass."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.reset = self.after_spike

    def _prepare(self) -> None:
        self.gains = tuple(self.gain.tolist())
        super()._prepare()


def _pair(values: npt.NDArray[Any]) -> tuple[int, int]:
    return int(values[0]), int(values[1])


def _parameter(value: Any) -> Any:
    """A Var of neurons: a number for all, or an array that broadcasts to them."""
    return _scalar(value) if np.size(value) == 1 else np.asarray(value, dtype=np.int64)


def _scalar(value: Any) -> int:
    return int(np.asarray(value).item())
