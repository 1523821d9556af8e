"""NeuroBench's metrics under their own keys, from a network and its run (Yik et al. 2025, algorithm track).

They are counted as the neurobench package counts them on a torch network, in algorithmic steps: every layer once for
each of T steps, padding excluded. They do not describe a chip, and no result of the system track is claimed.
"""

from dataclasses import dataclass

import numpy as np

from spikecut.deploy.backends.kernels.reference import NeuronState, propagate_layer
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import InputError
from spikecut.export.network.arrays import IntArray, Integers, size
from spikecut.export.network.connectivity import fan_out, gather_index, recurrent_fan_out
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.graph import Path, is_graded
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.fixed_point import DECAY_UNITY

NO_SPIKES = "this trace holds no spikes: run again with record='all'"
WEIGHT_BYTES = 1
STATE_BYTES = 3
SIGMA_DELTA_STATES = 4
RESET_OPERATIONS = {
    ("Leaky", "subtract"): 4,
    ("Leaky", "zero"): 4,
    ("Synaptic", "subtract"): 6,
    ("Synaptic", "zero"): 8,
    ("Leaky", "adapt"): 10,
    ("Synaptic", "adapt"): 12,
    ("Leaky", "delta"): 7,
}
"""Operations of a membrane's update in neurobench 2.3.0, by kind of neuron, without and with a current, and reset.

Of thresholds that adapt, which neurobench does not know: a soft reset's, and 6 for two states that decay and are added.
Of sigma-delta neurons, too: input and bias are added, the activation and the threshold compared, the change is taken,
and what was left is added and taken off again.
"""
MOST_OPERATIONS = 2 * 10**9
"""Synapses by geometry × steps × samples up to which a run also counts membrane updates: seconds in plain numpy."""


@dataclass(frozen=True)
class NeuroBenchMetrics:
    """The metrics of the samples of one run.

    Attributes
    ----------
    footprint: bytes of the integer network: 1 a weight, 2 a bias, 1 a delay, and 2 · 3 of state a neuron (u and v).
    connection_sparsity: share of weights that are zero, recurrent ones included, 0 to 1, not rounded.
    activation_sparsity: share of neurons × steps × samples without a message, all layers that fire; None where none.
    dense, effective_macs, effective_acs: synaptic operations per sample over all layers and steps that ran.
    parameters: weights, biases and delays, the numbers that `footprint` stores apart from the state.
    sparsity_by_layer: activation sparsity of each layer that fires; None where no step ran.
    neuron_dense: operations of all neurons that fire in all steps, per sample, by RESET_OPERATIONS.
    membrane_updates: how often the membrane of such a neuron differed from that after the step before, per sample; in
        its first step always. neuron_effective: the operations of these. None where they were not counted.
    """

    footprint: int
    connection_sparsity: float
    activation_sparsity: float | None
    dense: float
    effective_macs: float
    effective_acs: float
    parameters: int
    sparsity_by_layer: dict[str, float | None]
    neuron_dense: float
    membrane_updates: float | None
    neuron_effective: float | None

    def to_dict(self) -> dict[str, object]:
        """The metrics under the keys that neurobench gives them."""
        return {
            "Footprint": self.footprint,
            "ParameterCount": self.parameters,
            "ConnectionSparsity": self.connection_sparsity,
            "ActivationSparsity": self.activation_sparsity,
            "ActivationSparsityByLayer": self.sparsity_by_layer,
            "SynapticOperations": {
                "Effective_MACs": self.effective_macs,
                "Effective_ACs": self.effective_acs,
                "Dense": self.dense,
            },
            "MembraneUpdates": self.membrane_updates,
            "NeuronOperations": {
                "Effective Neuron Ops": self.neuron_effective,
                "Neuron Dense Ops": self.neuron_dense,
            },
        }


def neurobench_metrics(trace: RunTrace) -> NeuroBenchMetrics:
    """NeuroBench's metrics of a run recorded with record="all".

    A sample that was cut is counted for the τ steps that its verdict used; steps that only filled the pipeline are
    hardware, not algorithm, and are not counted. Graded messages, of the input or of sigma-delta neurons, are
    multiply-accumulates, spikes accumulates.

    Raises InputError if the trace holds no messages.
    """
    counted = NeuroBenchCounts(trace.network)
    counted.add(trace)
    return counted.metrics()


class NeuroBenchCounts:
    """What the metrics are made of, gathered from parts of a run.

    most: operations up to which membrane updates are counted, see MOST_OPERATIONS; None for any number.
    """

    def __init__(self, network: IntegerNetwork, most: int | None = None) -> None:
        self.network, self.most = network, most
        self.samples = self.steps = self.macs = self.acs = 0
        self.spikes = [0] * len(network.layers)
        self.updates: list[int] | None = [0] * len(network.layers)

    def add(self, part: RunTrace) -> None:
        """Take some samples with their messages; InputError if the part holds none."""
        network = self.network
        sent = [_sent(part, number, part.timesteps) for number in range(len(network.layers) + 1)]
        for number, (layer, paths) in enumerate(zip(network.layers, network.paths, strict=True), start=1):
            for path in paths:
                self._count(int(sent[path.source] @ fan_out(path.synapse)), path.source)
            if layer.recurrent is not None:  # a spike of the last step used would arrive after it
                self.acs += int(_sent(part, number, part.timesteps - 1) @ recurrent_fan_out(layer))
        self.spikes = [total + int(each.sum()) for total, each in zip(self.spikes, sent[1:], strict=True)]
        self.steps += int(part.timesteps.sum())
        self.samples += part.samples
        self._count_updates(part)

    def _count(self, effective: int, source: int) -> None:
        if is_graded(self.network) if source else self.network.input.bits > 0:
            self.macs += effective
        else:
            self.acs += effective

    def _count_updates(self, part: RunTrace) -> None:
        """Membrane updates, unless they would take too long."""
        network = self.network
        if self.most is not None and self.steps * sum(map(dense_operations, _synapses(network))) > self.most:
            self.updates = None
        if self.updates is None:
            return
        for number, (layer, paths) in enumerate(zip(network.layers, network.paths, strict=True)):
            if layer.neuron.reset != "none":
                counter = _Updates(layer, part)
                frames, *skipped = (_frames(part, path) for path in paths)
                propagate_layer(layer, frames, counter.state, skipped, counter.seen)
                self.updates[number] += counter.found

    def _firing(self) -> list[int]:
        """Positions of the layers that fire."""
        return [number for number, layer in enumerate(self.network.layers) if layer.neuron.reset != "none"]

    def metrics(self) -> NeuroBenchMetrics:
        """The metrics, once all samples have been added."""
        network, firing = self.network, self._firing()
        slots = {number: self.steps * size(network.layers[number].output_shape) for number in firing}
        prices = {number: _operations(network.layers[number]) for number in firing}
        every, spikes = sum(slots.values()), sum(self.spikes[number] for number in firing)
        updates = None if self.updates is None else [self.updates[number] for number in firing]
        effective = None if updates is None else sum(n * prices[i] for n, i in zip(updates, firing, strict=True))
        return NeuroBenchMetrics(
            footprint=footprint(network),
            connection_sparsity=connection_sparsity(network),
            activation_sparsity=(every - spikes) / every if every else None,
            dense=self.steps * sum(map(dense_operations, _synapses(network))) / self.samples,
            effective_macs=self.macs / self.samples,
            effective_acs=self.acs / self.samples,
            parameters=parameter_count(network),
            sparsity_by_layer={
                network.layers[i].name: (slots[i] - self.spikes[i]) / slots[i] if slots[i] else None for i in firing
            },
            neuron_dense=sum(slots[i] * prices[i] for i in firing) / self.samples,
            membrane_updates=None if updates is None else sum(updates) / self.samples,
            neuron_effective=None if effective is None else effective / self.samples,
        )


class _Updates:
    """Counts the membrane updates of a layer while it is played again.

    state: of its neurons. found: updates in the steps that each sample's decision used.
    """

    def __init__(self, layer: IntegerLayer, part: RunTrace) -> None:
        self.timesteps, self.found = part.timesteps, 0
        self.state = NeuronState.at_rest(layer, part.samples)
        self.before = self.state.v

    def seen(self, state: NeuronState) -> None:
        """Take the state after a step."""
        changed = np.ones(state.v.shape, dtype=np.bool_) if state.steps == 1 else state.v != self.before
        self.found += int(np.count_nonzero(changed[self.timesteps >= state.steps]))
        self.before = state.v


def _frames(trace: RunTrace, path: Path) -> Integers:
    """What a path's source sends in algorithmic time, int [steps, N, *shape]."""
    raster = trace.events[path.source].raster
    if raster is None:
        raise InputError(NO_SPIKES)
    depth = trace.network.depths[path.source]
    steps = raster[:, depth : depth + int(trace.timesteps.max())]
    return steps.swapaxes(0, 1).reshape(steps.shape[1], trace.samples, *path.synapse.input_shape)


def _operations(layer: IntegerLayer) -> int:
    """Operations of a membrane's update, as neurobench counts them."""
    neuron = layer.neuron
    return RESET_OPERATIONS["Leaky" if neuron.decay_u == DECAY_UNITY else "Synaptic", neuron.reset]


def _synapses(network: IntegerNetwork) -> list[Synapse]:
    return [path.synapse for paths in network.paths for path in paths]


def _sent(trace: RunTrace, number: int, timesteps: IntArray) -> IntArray:
    """How often each neuron of a layer sent in its first algorithmic steps, over all samples, int64 [neurons]."""
    raster = trace.events[number].raster if trace.events else None
    if raster is None:
        raise InputError(NO_SPIKES)
    step, depth = np.arange(raster.shape[1]), trace.network.depths[number]
    used = (step >= depth) & (step < depth + timesteps[:, None])
    return np.asarray(np.count_nonzero(raster[used], axis=0), dtype=np.int64)


def dense_operations(layer: Synapse) -> int:
    """Synapses of a layer (its skips apart) or of a skip by geometry, zero weights and recurrent ones included, padding
    excluded.
    """
    loop = layer.loop if isinstance(layer, IntegerLayer) else None
    back = 0 if loop is None else dense_operations(loop)
    if layer.kind == "dense":
        return int(layer.weight.size) + back
    inside = int((gather_index(layer) < size(layer.input_shape[1:])).sum())
    return int(inside * layer.weight.shape[1] * layer.output_shape[0]) + back


def connection_sparsity(network: IntegerNetwork) -> float:
    """Share of zero weights, 0 to 1."""
    matrices = [matrix for layer in network.layers for matrix in (layer.weight, layer.recurrent) if matrix is not None]
    matrices += [skip.weight for layer in network.layers for skip in layer.skips]
    return 1 - sum(int(np.count_nonzero(matrix)) for matrix in matrices) / sum(matrix.size for matrix in matrices)


def parameter_count(network: IntegerNetwork) -> int:
    """Weights, biases and delays, each once."""
    state = sum(map(_state_bytes, network.layers))
    biases = sum(layer.neuron.bias_mantissa.size for layer in network.layers)  # of 2 bytes each, all others of 1
    return footprint(network) - state - biases


def footprint(network: IntegerNetwork) -> int:
    """Bytes of weights, biases, delays and state, as Loihi's integers need them."""
    total = 0
    for layer in network.layers:
        total += layer.weight.size * WEIGHT_BYTES + 2 * layer.neuron.bias_mantissa.size
        total += 0 if layer.recurrent is None else layer.recurrent.size * WEIGHT_BYTES
        total += sum(skip.weight.size * WEIGHT_BYTES for skip in layer.skips)
        total += 0 if layer.delay is None else layer.delay.size
        total += _state_bytes(layer)
    return total


def _state_bytes(layer: IntegerLayer) -> int:
    """Of u and v; of sigma-delta neurons σ, the activation, the residue and the error."""
    states = 2 if layer.neuron.sigma_delta is None else SIGMA_DELTA_STATES
    return states * STATE_BYTES * size(layer.output_shape)
