"""One NIR neuron → one neuron in timesteps: its time constants and its reset, as the framework reads them."""

from dataclasses import replace

import numpy as np

from spikecut.errors import BundleError, InputError
from spikecut.export.importers.neurons import NeuronModel, StepNeuron, chip_decay
from spikecut.export.importers.neurons import step_neuron as step_neuron_of
from spikecut.export.network.arrays import Shape, size
from spikecut.export.network.parameters import FloatParameter, as_given
from spikecut.export.nir.discretisation import Discretisation
from spikecut.export.nir.file import NirNode

NEURONS = ("Threshold", "I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")


def step_neuron(node: NirNode, time: Discretisation, shape: Shape, fed: bool = False) -> StepNeuron:
    """The neuron of a node whose input is of this shape; fed: by its own messages, too.

    Raises
    ------
    BundleError: parameters that do not fit the shape, or a time constant that is not positive.
    InputError: dt is not known, or longer than a time constant.
    UnsupportedError: what no Process does, with the reason and what to do.
    """
    neuron = _Neuron(node, time, shape, fed)
    return replace(neuron.step(), notes=tuple(neuron.notes))


class _Neuron:
    def __init__(self, node: NirNode, time: Discretisation, shape: Shape, fed: bool) -> None:
        self.node, self.time, self.shape, self.fed = node, time, shape, fed
        self.inexact: list[str] = []
        self.notes: list[str] = []

    def step(self) -> StepNeuron:
        node, time = self.node, self.time
        if node.kind == "Threshold":  # without memory: all of v is lost in every timestep
            return self._spiking(1.0, 1.0, 1.0)
        resistance = self._only("r")
        if node.kind in ("I", "IF"):
            gain = resistance * (time.step(node.name) if time.integrator_uses_dt else 1.0)
            return self._spiking(gain, 1.0, 0.0)
        tau = "tau" if node.kind in ("LI", "LIF") else "tau_mem"
        decay_v, share = self._decay("v", self._lost(tau), tau)
        scaled = time.scales_input if node.kind.endswith("LIF") else time.scales_leaky_readout
        gain = (share if scaled else 1.0) * resistance
        decay_u: FloatParameter = 1.0
        if node.kind.startswith("Cuba"):
            decay_u, share = self._decay("u", self._lost("tau_syn"), "tau_syn")
            gain = gain * (1.0 if time.synapse_jumps else share) * self._only("w_in", 1.0)
        return self._spiking(gain, decay_u, decay_v)

    def _spiking(self, gain: FloatParameter, decay_u: FloatParameter, decay_v: FloatParameter) -> StepNeuron:
        node, time = self.node, self.time
        memory = node.kind != "Threshold"
        fires = node.kind not in ("I", "LI", "CubaLI")
        soft = time.reset == "subtract" and memory
        late = time.reset_order == "next_step" and memory
        # After a spike v of snnTorch's Synaptic, RSynaptic and RLeaky is 0 in the next timestep, whatever comes in.
        rests = late and fires and not soft and time.drops_input and (node.kind == "CubaLIF" or self.fed)
        if time.spikes == "multi" and fires:
            self.inexact.append(
                "sends one spike where v reaches a multiple of the threshold, the framework as many as fit into v"
            )
        return step_neuron_of(
            NeuronModel(
                where=f"node {node.name}",
                threshold=self._only("v_threshold" if memory else "threshold") if fires else None,
                gain=gain,
                decay_u=decay_u,
                decay_v=decay_v,
                reset="subtract" if soft else "zero",
                at_equality=time.fires_at_equality,
                next_step=late,
                v_rest=self._only("v_leak", 0.0) if node.kind not in ("I", "IF", "Threshold") else 0.0,
                v_reset=self._only("v_reset", 0.0) if fires and memory else 0.0,
                v_init=self._start() if memory else 0.0,
                delayed='train with beta > 0, or with reset_mechanism="zero" and give --reset zero',
                inexact=tuple(self.inexact),
                refractory=int(rests),
            ),
            self.shape,
        )

    def _start(self) -> FloatParameter:
        """v before the first timestep."""
        key = {"zero": None, "leak": "v_leak", "reset": "v_reset"}[self.time.starts_at]
        return self._only(key, 0.0) if key is not None else 0.0

    def _lost(self, key: str) -> FloatParameter:
        tau = np.asarray(self._only(key))
        wrong = tau[tau == 0 if self.time.clamps_beta else tau <= 0]
        if wrong.size:
            raise BundleError(f"node {self.node.name}: {key} = {wrong.flat[0]:g}, expected a positive time constant")
        return self.time.lost(as_given(tau), self.node.name)

    def _decay(self, what: str, lost: FloatParameter, key: str) -> tuple[FloatParameter, FloatParameter]:
        """What is lost, and what part of its input enters: both the same but where the framework clamps β at 1.

        The multiple of 1/4096 that the file's precision cannot tell from `lost`; `lost` itself, noted, otherwise.
        """
        gains = np.asarray(lost) < 0
        if gains.any():
            most = f"{-np.min(lost):.4g}" if np.ndim(lost) == 0 else f"up to {-np.min(lost):.4g}"
            self.notes.append(f"{what} would gain {most} per timestep ({key} < 0): β above 1 is clamped to 1")
        dtype = self.node.numbers[key].dtype
        precision = float(np.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-52
        decay, inexact = chip_decay(what, as_given(np.where(gains, 0.0, lost)), key, precision)
        self.inexact += inexact
        return decay, as_given(np.where(gains, lost, decay))

    def _only(self, key: str, default: float | None = None) -> FloatParameter:
        """A parameter: one value, or one for each neuron, of their shape."""
        values = self.node.numbers.get(key)
        if values is None:
            if default is None:
                raise InputError(f"node {self.node.name}: {key} is missing")
            return default
        if values.size == 0 or (values.size > 1 and values.size != size(self.shape)):
            raise BundleError(
                f"node {self.node.name}: {key} holds {values.size} values for the {size(self.shape)} neurons of shape "
                f"{self.shape}"
            )
        if values.min() == values.max():
            return float(values.min())
        return np.asarray(values, dtype=np.float64).reshape(self.shape)
