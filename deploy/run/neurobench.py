"""NeuroBench's metrics under their own keys, from a network and its run (Yik et al. 2025, algorithm track).

They are counted as the neurobench package counts them on a torch network, in algorithmic steps: every layer once for
each of T steps, padding excluded. They do not describe a chip, and no result of the system track is claimed.
"""

from dataclasses import dataclass

import numpy as np

from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import InputError
from spikecut.export.network.arrays import IntArray, size
from spikecut.export.network.connectivity import fan_out, gather_index, recurrent_fan_out, skip_paths
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork

WEIGHT_BYTES = 1
STATE_BYTES = 3


@dataclass(frozen=True)
class NeuroBenchMetrics:
    """The metrics of the samples of one run.

    Attributes
    ----------
    footprint: bytes of the integer network: 1 a weight, 2 a bias, 1 a delay, and 2 · 3 of state a neuron (u and v).
    connection_sparsity: share of weights that are zero, recurrent ones included, 0 to 1, not rounded.
    activation_sparsity: share of neurons × steps × samples without a message, all layers that fire; None where none.
    dense, effective_macs, effective_acs: synaptic operations per sample over all layers and steps that ran.
    """

    footprint: int
    connection_sparsity: float
    activation_sparsity: float | None
    dense: float
    effective_macs: float
    effective_acs: float

    def to_dict(self) -> dict[str, object]:
        """The metrics under the keys that neurobench gives them."""
        return {
            "Footprint": self.footprint,
            "ConnectionSparsity": self.connection_sparsity,
            "ActivationSparsity": self.activation_sparsity,
            "SynapticOperations": {
                "Effective_MACs": self.effective_macs,
                "Effective_ACs": self.effective_acs,
                "Dense": self.dense,
            },
        }


def neurobench_metrics(trace: RunTrace) -> NeuroBenchMetrics:
    """NeuroBench's metrics of a run recorded with record="all".

    A sample that was cut is counted for the τ steps that its verdict used; steps that only filled the pipeline are
    hardware, not algorithm, and are not counted. Messages of a graded input are multiply-accumulates, spikes
    accumulates.

    Raises InputError if the trace holds no messages.
    """
    counted = NeuroBenchCounts(trace.network)
    counted.add(trace)
    return counted.metrics()


class NeuroBenchCounts:
    """What the metrics are made of, gathered from parts of a run."""

    def __init__(self, network: IntegerNetwork) -> None:
        self.network = network
        self.samples = self.steps = self.spikes = self.macs = self.acs = 0

    def add(self, part: RunTrace) -> None:
        """Take some samples with their messages; InputError if the part holds none."""
        network = self.network
        sent = [_sent(part, depth, part.timesteps) for depth in range(network.depth + 1)]
        paths = skip_paths(network)
        for depth, layer in enumerate(network.layers):
            self._count(int(sent[depth] @ fan_out(layer)), depth == 0)
            if layer.recurrent is not None:  # a spike of the last step used would arrive after it
                self.acs += int(_sent(part, depth + 1, part.timesteps - 1) @ recurrent_fan_out(layer))
            if depth + 1 in paths:
                path = paths[depth + 1]
                self._count(int(sent[path.source] @ fan_out(path.skip)), path.source == 0)
        self.spikes += sum(int(each.sum()) for each, fires in zip(sent[1:], self._firing(), strict=True) if fires)
        self.steps += int(part.timesteps.sum())
        self.samples += part.samples

    def _count(self, effective: int, from_input: bool) -> None:
        if from_input and self.network.input.bits > 0:
            self.macs += effective
        else:
            self.acs += effective

    def _firing(self) -> list[bool]:
        return [layer.neuron.reset != "none" for layer in self.network.layers]

    def metrics(self) -> NeuroBenchMetrics:
        """The metrics, once all samples have been added."""
        network = self.network
        synapses: list[Synapse] = [*network.layers, *(path.skip for path in skip_paths(network).values())]
        neurons = sum(
            size(layer.output_shape) for layer, fires in zip(network.layers, self._firing(), strict=True) if fires
        )
        slots = self.steps * neurons
        return NeuroBenchMetrics(
            footprint=footprint(network),
            connection_sparsity=connection_sparsity(network),
            activation_sparsity=(slots - self.spikes) / slots if slots else None,
            dense=self.steps * sum(dense_operations(each) for each in synapses) / self.samples,
            effective_macs=self.macs / self.samples,
            effective_acs=self.acs / self.samples,
        )


def _sent(trace: RunTrace, depth: int, timesteps: IntArray) -> IntArray:
    """How often each neuron of a layer sent in its first algorithmic steps, over all samples, int64 [neurons]."""
    raster = trace.events[depth].raster if trace.events else None
    if raster is None:
        raise InputError("this trace holds no spikes: run again with record='all'")
    step = np.arange(raster.shape[1])
    used = (step >= depth) & (step < depth + timesteps[:, None])
    return np.asarray(np.count_nonzero(raster[used], axis=0), dtype=np.int64)


def dense_operations(layer: Synapse) -> int:
    """Synapses of a layer (its skip apart) or of a skip by geometry, zero weights and recurrent ones included, padding
    excluded.
    """
    if layer.kind == "dense":
        recurrent = layer.recurrent if isinstance(layer, IntegerLayer) else None
        return int(layer.weight.size) + (0 if recurrent is None else int(recurrent.size))
    inside = int((gather_index(layer) < size(layer.input_shape[1:])).sum())
    return int(inside * layer.weight.shape[1] * layer.output_shape[0])


def connection_sparsity(network: IntegerNetwork) -> float:
    """Share of zero weights, 0 to 1."""
    matrices = [matrix for layer in network.layers for matrix in (layer.weight, layer.recurrent) if matrix is not None]
    matrices += [path.skip.weight for path in skip_paths(network).values()]
    return 1 - sum(int(np.count_nonzero(matrix)) for matrix in matrices) / sum(matrix.size for matrix in matrices)


def footprint(network: IntegerNetwork) -> int:
    """Bytes of weights, biases, delays and state, as Loihi's integers need them."""
    total = 0
    for layer in network.layers:
        total += layer.weight.size * WEIGHT_BYTES + 2 * layer.neuron.bias_mantissa.size
        total += 0 if layer.recurrent is None else layer.recurrent.size * WEIGHT_BYTES
        total += 0 if layer.skip is None else layer.skip.weight.size * WEIGHT_BYTES
        total += 0 if layer.delay is None else layer.delay.size
        total += 2 * STATE_BYTES * size(layer.output_shape)
    return total
