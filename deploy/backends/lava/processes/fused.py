"""A whole graph of layers in one Process: the hardware steps of a graph of blocks without its messages.

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

from spikecut.deploy.backends.lava.axes import lava_columns, lava_kernels, lava_shape
from spikecut.deploy.backends.lava.processes.wave import Wave, WaveParameters
from spikecut.export.network.arrays import size
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.graph import Path
from spikecut.export.network.layers import IntegerLayer


@dataclass(frozen=True)
class PathParameters:
    """What a layer takes by one of its synapses, and the type of its sums, see kernels.step.exact_type."""

    path: Path
    dtype: Any


@dataclass(frozen=True)
class LayerParameters:
    """A layer of the graph, its wave, and its paths, that of its own synapse first."""

    layer: IntegerLayer
    wave: WaveParameters
    paths: tuple[PathParameters, ...]


class FusedChain(AbstractProcess):
    """The layers of a network in one Process; ports as the first layer's input and the last one's output.

    Parameters
    ----------
    layers: LayerParameters of each layer, in their order.
    """

    def __init__(self, *, layers: tuple[LayerParameters, ...]) -> None:
        super().__init__(layers=layers)
        self.inp = InPort(shape=lava_shape(layers[0].layer.input_shape))
        self.out = OutPort(shape=lava_shape(layers[-1].layer.output_shape))


class _Stage:
    """One layer: its neurons, and what its synapses hold for this step."""

    def __init__(self, parameters: LayerParameters) -> None:
        from spikecut.deploy.backends.kernels.sigma_delta import SigmaDeltaNeurons
        from spikecut.deploy.backends.kernels.step import DelayedSums, Neurons, exact_type

        layer = parameters.layer
        self.wave = Wave(parameters.wave)
        self.own, *self.skips = (_Taken(each) for each in parameters.paths)
        self.delayed = isinstance(self.own.synapses, DelayedSums)
        self.recurrent = None if layer.loop is None else _synapses(layer.loop, exact_type(layer.loop, 1))
        shape = lava_shape(layer.output_shape)
        u, v = np.zeros((2, *shape), dtype=np.int32)
        v[:] = self.wave.v_init
        alone = not self.skips and self.recurrent is None
        wraps = layer.kind == "conv" and alone
        self.neurons: Neurons | SigmaDeltaNeurons
        if layer.neuron.sigma_delta is None:
            self.neurons = Neurons.of(layer.neuron, u, v, wraps)
        else:
            self.neurons = SigmaDeltaNeurons(layer.neuron, layer.output_shape, wraps)
        self.held: npt.NDArray[Any] = np.zeros(u.size, dtype=parameters.paths[0].dtype if alone else np.int32)
        self.held_recurrent = np.zeros(u.size, dtype=np.int32)

    def fire(self, step: int) -> npt.NDArray[np.int32]:
        """Integrate what is held; this step's messages, int32 [elements]."""
        if self.wave.arrives(step):
            self.neurons.rest(self.wave.u_init, self.wave.v_init)
            self.held_recurrent[:] = 0
        held = self.held if self.recurrent is None else whole_sums(self.held) + self.held_recurrent
        messages = self.neurons(held)
        self.wave.note(step, messages)
        if self.recurrent is not None:
            self.held_recurrent = whole_sums(self.recurrent(messages))
        return messages

    def take(self, points: list[npt.NDArray[np.int32]], step: int) -> None:
        """Hold the sums of this step's messages, and of those that relays give on.

        points: what the source and every layer sent in this step.
        """
        # The new sample's first message arrives one step before it reaches the neurons.
        if self.delayed and self.wave.arrives(step + 1):
            self.own.synapses.forget()
        self.held = self.own.sums(points, step)
        for skip in self.skips:
            self.held = whole_sums(self.held) + whole_sums(skip.sums(points, step))


class _Taken:
    """What a layer takes by one of its synapses, after its relay if it has one."""

    def __init__(self, parameters: PathParameters) -> None:
        self.path = parameters.path
        self.synapses = _synapses(self.path.synapse, parameters.dtype)
        self.under_way = np.zeros((self.path.steps, size(self.path.synapse.input_shape)), dtype=np.int32)

    def sums(self, points: list[npt.NDArray[np.int32]], step: int) -> npt.NDArray[Any]:
        """Sums of what its source sent as many steps ago as the relay has; the relay takes what it sent now."""
        messages = points[self.path.source]
        if not self.path.steps:
            return np.asarray(self.synapses(messages))
        slot = step % self.path.steps
        sums = np.asarray(self.synapses(self.under_way[slot]))
        self.under_way[slot] = messages
        return sums


def whole_sums(sums: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Sums as int32: those of a convolution, which are float, wrapped at 24 bits."""
    from spikecut.deploy.backends.kernels.step import wrapped

    return sums if sums.dtype == np.int32 else wrapped(sums)


def _synapses(layer: Synapse, dtype: Any) -> Any:
    from spikecut.deploy.backends.kernels.step import ConvolutionSums, DelayedSums, DenseSums

    if layer.kind == "conv":
        return ConvolutionSums(
            lava_kernels(layer.weight),
            lava_shape(layer.input_shape),
            layer.stride[::-1],
            layer.padding[::-1],
            layer.dilation[::-1],
            layer.groups,
            dtype,
        )
    weight = lava_columns(layer.weight, layer.input_shape)
    if isinstance(layer, IntegerLayer) and layer.delay is not None:
        return DelayedSums(weight, lava_columns(layer.delay, layer.input_shape))
    return DenseSums(weight)


@implements(proc=FusedChain, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyFusedChainModel(PyLoihiProcessModel):
    """One hardware step of all layers: all fire, then all take what was sent."""

    inp: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        from spikecut.deploy.backends.kernels.step import bound_threads

        bound_threads()
        self.stages = [_Stage(parameters) for parameters in proc_params["layers"]]
        self.shape = lava_shape(proc_params["layers"][-1].layer.output_shape)

    def run_spk(self) -> None:
        """Send the output layer's messages, receive the source's."""
        sent = [stage.fire(self.time_step) for stage in self.stages]
        self.out.send(sent[-1].reshape(self.shape))
        points = [self.inp.recv().reshape(-1), *sent]
        for stage in self.stages:
            stage.take(points, self.time_step)
