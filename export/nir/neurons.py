"""One NIR neuron → one neuron in timesteps: its time constants, its reset, and what moves into weights and biases."""

from dataclasses import dataclass

import numpy as np

from spikecut.errors import BundleError, InputError, UnsupportedError
from spikecut.export.network.arrays import Shape, size
from spikecut.export.nir.discretisation import Discretisation
from spikecut.export.nir.file import NirNode
from spikecut.fixed_point import DECAY_UNITY
from spikecut.models.neurons.leaky import Reset

NEURONS = ("Threshold", "I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")


@dataclass(frozen=True)
class StepNeuron:
    """A neuron per timestep; see models/neurons/current_based.py for its equations.

    Attributes
    ----------
    gain: what multiplies the weights and biases before it. offset: what is then added to the biases.
    threshold: None for a neuron that never fires.
    decay_u, decay_v: multiples of 1/4096 where the file's precision cannot tell them from one.
    inexact: a line for everything that the integers do otherwise. refused: why no Process does this, and what to do.
    """

    gain: float
    offset: float
    threshold: float | None
    decay_u: float
    decay_v: float
    reset: Reset
    at_equality: bool
    delayed_reset: bool
    inexact: tuple[str, ...]
    refused: str | None = None


def step_neuron(node: NirNode, time: Discretisation, shape: Shape) -> StepNeuron:
    """The neuron of a node whose input is of this shape.

    Raises
    ------
    BundleError: parameters that do not fit the shape, or a time constant that is not positive.
    InputError: dt is not known, or longer than a time constant.
    UnsupportedError: what no Process does, with the reason and what to do.
    """
    return _Neuron(node, time, shape).step()


class _Neuron:
    def __init__(self, node: NirNode, time: Discretisation, shape: Shape) -> None:
        self.node, self.time, self.shape = node, time, shape
        self.inexact: list[str] = []

    def step(self) -> StepNeuron:
        node, time = self.node, self.time
        if node.kind == "Threshold":  # without memory: all of v is lost in every timestep
            return self._spiking(1.0, 0.0, 1.0, 1.0, self._only("threshold"))
        resistance = self._only("r")
        if node.kind in ("I", "IF"):
            gain = resistance * (time.step(node.name) if time.integrator_uses_dt else 1.0)
            decay_u, decay_v, offset = 1.0, 0.0, 0.0
        else:
            raw_v = self._lost("tau" if node.kind in ("LI", "LIF") else "tau_mem")
            decay_v = self._decay("v", raw_v, "tau" if node.kind in ("LI", "LIF") else "tau_mem")
            scaled = time.scales_input if node.kind.endswith("LIF") else time.scales_leaky_readout
            gain, decay_u = (decay_v if scaled else 1.0) * resistance, 1.0
            if node.kind.startswith("Cuba"):
                raw_u = self._lost("tau_syn")
                decay_u = self._decay("u", raw_u, "tau_syn")
                gain *= (1.0 if time.synapse_jumps else decay_u) * self._only("w_in", 1.0)
            offset = decay_v * self._leak_beyond_reset()
        if node.kind in ("I", "LI", "CubaLI"):
            return self._readout(gain, offset, decay_u, decay_v)
        return self._spiking(gain, offset, decay_u, decay_v, self._only("v_threshold") - self._shift())

    def _readout(self, gain: float, offset: float, decay_u: float, decay_v: float) -> StepNeuron:
        if self._start() != 0:
            raise UnsupportedError(
                f"node {self.node.name}: its membrane starts at v_leak = {self._start():g}; set v_leak to 0"
            )
        return StepNeuron(gain, offset, None, decay_u, decay_v, "zero", False, False, tuple(self.inexact))

    def _spiking(self, gain: float, offset: float, decay_u: float, decay_v: float, threshold: float) -> StepNeuron:
        node, time = self.node, self.time
        if threshold <= 0:
            raise UnsupportedError(
                f"node {node.name}: the threshold lies {-threshold:g} below what v is reset to, or at it: it would "
                "fire for ever; train with a positive threshold"
            )
        memory = node.kind != "Threshold"
        soft = time.reset == "subtract" and memory
        refused = None
        delayed = time.reset_order == "next_step" and memory
        if delayed and soft and decay_v > 0:
            refused = (
                f"node {node.name}: v leaks before the threshold is subtracted from it (snnTorch's reset_mechanism="
                '"subtract" with a leak), which no Process does; train with reset_mechanism="zero" and give --reset '
                f"zero, or accept with --reset-order same_step that each spike subtracts {decay_v:.4g} · threshold less"
            )
        if delayed and not soft and node.kind == "CubaLIF" and time.drops_input:
            raise UnsupportedError(
                f"node {node.name}: after a spike snnTorch's Synaptic loses the next timestep's input too, which no "
                "Process does; train with reset_delay=False and give --reset-order same_step"
            )
        if time.fires_at_equality and not (soft and decay_v == 0):
            self.inexact.append(
                "fires at v ≥ threshold, the chip at v > threshold: they differ only where v hits the threshold exactly"
            )
        return StepNeuron(
            gain=gain,
            offset=offset,
            threshold=threshold,
            decay_u=decay_u,
            decay_v=decay_v,
            reset="subtract" if soft else "zero",
            at_equality=time.fires_at_equality,
            delayed_reset=delayed and soft and decay_v > 0,
            inexact=tuple(self.inexact),
            refused=refused,
        )

    def _start(self) -> float:
        """v before the first timestep."""
        key = {"zero": None, "leak": "v_leak", "reset": "v_reset"}[self.time.starts_at]
        return self._only(key, 0.0) if key is not None else 0.0

    def _shift(self) -> float:
        """What is subtracted from v, v_leak and the threshold, so that v starts at 0 and is reset to 0."""
        if self.node.kind == "Threshold":
            return 0.0
        reset, start = self._only("v_reset", 0.0), self._start()
        if self.time.reset == "subtract":
            if reset or start:
                raise UnsupportedError(
                    f"node {self.node.name}: v_reset = {reset:g} and v(0) = {start:g} with a soft reset; a Process "
                    "subtracts the threshold from a v that starts at 0: train with both 0"
                )
            return 0.0
        if start != reset:
            raise UnsupportedError(
                f"node {self.node.name}: v starts at {start:g} but is reset to {reset:g}; only where both are the same "
                "can v be counted from there: train with v_reset = 0"
            )
        return reset

    def _leak_beyond_reset(self) -> float:
        return self._only("v_leak") - (self._shift() if self.node.kind.endswith("LIF") else 0.0)

    def _lost(self, key: str) -> float:
        tau = self._only(key)
        if tau <= 0:
            raise BundleError(f"node {self.node.name}: {key} = {tau:g}, expected a positive time constant")
        return self.time.lost(tau, self.node.name)

    def _decay(self, what: str, lost: float, key: str) -> float:
        """The multiple of 1/4096 that the file's precision cannot tell from `lost`; `lost` itself, noted, otherwise."""
        nearest = float(np.rint(lost * DECAY_UNITY)) / DECAY_UNITY
        dtype = self.node.numbers[key].dtype
        precision = float(np.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-52
        if abs(nearest - lost) <= 4 * precision * max(lost, 1 - lost):
            return nearest
        self.inexact.append(
            f"{what} loses {lost:.8g} per timestep ({key}), the chip {round(nearest * DECAY_UNITY)}/4096: an error of "
            f"{abs(nearest - lost):.2g}"
        )
        return lost

    def _only(self, key: str, default: float | None = None) -> float:
        """The one value of a parameter that all neurons share."""
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
        lowest, highest = float(values.min()), float(values.max())
        if lowest != highest:
            raise UnsupportedError(
                f"node {self.node.name}: {key} differs between neurons ({lowest:g} to {highest:g}); a layer's neurons "
                "share one value on the chip: train with one, or split the layer"
            )
        return lowest
