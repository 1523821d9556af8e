"""A whole chain of layers in one Process: the hardware steps of a graph of blocks without its messages.

In hardware step h the layer at depth l integrates what its synapses held and fires; then the synapses take the
messages of this step and hold their sums for the next. The wave of resets and the record are those of the blocks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from spikecut.deploy.backends.lava_order import lava_columns, lava_kernels, lava_shape
from spikecut.deploy.processes.wave import Wave, WaveParameters
from spikecut.export.graph import IntegerLayer


@dataclass(frozen=True)
class LayerParameters:
    """A layer of the chain, its wave, and the type of its sums, see kernels.step.exact_type."""

    layer: IntegerLayer
    wave: WaveParameters
    dtype: Any


class FusedChain(AbstractProcess):
    """A chain of layers in one Process; ports as the first layer's input and the last one's output.

    Parameters
    ----------
    layers: LayerParameters of each layer, in the chain's order.
    """

    def __init__(self, *, layers: tuple[LayerParameters, ...]) -> None:
        super().__init__(layers=layers)
        self.inp = InPort(shape=lava_shape(layers[0].layer.input_shape))
        self.out = OutPort(shape=lava_shape(layers[-1].layer.output_shape))


class _Stage:
    """One layer: its neurons, and what its synapses hold for this step."""

    def __init__(self, parameters: LayerParameters) -> None:
        from spikecut.deploy.kernels.step import DelayedSums, DenseSums, Neurons

        layer = parameters.layer
        self.wave = Wave(parameters.wave)
        self.synapses = _synapses(parameters)
        self.delayed = isinstance(self.synapses, DelayedSums)
        self.recurrent = None if layer.recurrent is None else DenseSums(layer.recurrent)
        shape = lava_shape(layer.output_shape)
        u, v = np.zeros(shape, dtype=np.int32), np.full(shape, self.wave.v_init, dtype=np.int32)
        self.neurons = Neurons.of(layer.neuron, u, v, wraps=layer.kind == "conv")
        self.held: npt.NDArray[Any] = np.zeros(u.size, dtype=parameters.dtype)
        self.held_recurrent = np.zeros(u.size, dtype=np.int32)

    def fire(self, step: int) -> npt.NDArray[np.int32]:
        """Integrate what is held; this step's messages, int32 [elements]."""
        if self.wave.arrives(step):
            self.neurons.rest(self.wave.v_init)
            self.held_recurrent[:] = 0
        held = self.held if self.recurrent is None else self.held + self.held_recurrent
        messages = self.neurons(held)
        self.wave.note(step, messages)
        if self.recurrent is not None:
            self.held_recurrent = self.recurrent(messages)
        return messages

    def take(self, messages: npt.NDArray[np.int32], step: int) -> None:
        """Hold the sums of this step's messages of the layer before."""
        # The new sample's first message arrives one step before it reaches the neurons.
        if self.delayed and self.wave.arrives(step + 1):
            self.synapses.forget()
        self.held = self.synapses(messages)


def _synapses(parameters: LayerParameters) -> Any:
    from spikecut.deploy.kernels.step import ConvolutionSums, DelayedSums, DenseSums

    layer = parameters.layer
    if layer.kind == "conv":
        return ConvolutionSums(
            lava_kernels(layer.weight),
            lava_shape(layer.input_shape),
            layer.stride[::-1],
            layer.padding[::-1],
            layer.dilation[::-1],
            layer.groups,
            parameters.dtype,
        )
    weight = lava_columns(layer.weight, layer.input_shape)
    if layer.delay is None:
        return DenseSums(weight)
    return DelayedSums(weight, lava_columns(layer.delay, layer.input_shape))


@implements(proc=FusedChain, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyFusedChainModel(PyLoihiProcessModel):
    """One hardware step of all layers: all fire, then all take what was sent."""

    inp: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        from spikecut.deploy.kernels.step import bound_threads

        bound_threads()
        self.stages = [_Stage(parameters) for parameters in proc_params["layers"]]
        self.shape = lava_shape(proc_params["layers"][-1].layer.output_shape)

    def run_spk(self) -> None:
        """Send the output layer's messages, receive the source's."""
        sent = [stage.fire(self.time_step) for stage in self.stages]
        self.out.send(sent[-1].reshape(self.shape))
        arriving = [self.inp.recv().reshape(-1), *sent[:-1]]
        for stage, messages in zip(self.stages, arriving, strict=True):
            stage.take(messages, self.time_step)
