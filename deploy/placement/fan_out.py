"""What a placed layer's neurons reach and receive: synapses onto each core, and the time that its mean load takes."""

from collections.abc import Iterator

import numpy as np

from spikecut.deploy.placement.cores import LayerPlacement
from spikecut.deploy.placement.partition import FloatArray, Load, channels_of, nonzero_per_tap, units_of
from spikecut.export.network.arrays import IntArray, size
from spikecut.export.network.connectivity import gather_index
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.layers import IntegerLayer, passes_input


def fan_out_per_core(layer: Synapse, placed: LayerPlacement) -> IntArray:
    """Synapses with a non-zero weight from each input neuron onto each core, int64 [input neurons, cores].

    layer: a layer, without its skips, or a skip of the layer that is placed.
    """
    cores = len(placed.cores)
    if layer.kind == "dense":
        return _matrix_per_core(layer.weight, placed)
    index, units = gather_index(layer), units_of(layer)
    result = np.zeros((size(layer.input_shape[1:]) + 1, cores, layer.input_shape[0]), dtype=np.int64)
    for channels, members in _by_channels(units, placed):
        per_tap = nonzero_per_tap(layer, channels)
        held = [np.unique(placed.groups[core] % units) for core in members]
        here = np.concatenate(held)
        there = np.repeat(members, [part.size for part in held])
        for tap in range(index.shape[1]):
            np.add.at(result, (index[here, tap], there), per_tap[:, tap])
    return np.ascontiguousarray(result[:-1].transpose(2, 0, 1)).reshape(-1, cores)


def _by_channels(units: int, placed: LayerPlacement) -> Iterator[tuple[IntArray, list[int]]]:
    """Channels that cores of a convolution hold, and the positions of these cores."""
    found: dict[tuple[int, int], list[int]] = {}
    for core, group in enumerate(placed.groups):
        found.setdefault((int(group.min()) // units, int(group.max()) // units + 1), []).append(core)
    for (first, end), members in found.items():
        yield np.arange(first, end), members


def recurrent_fan_out_per_core(layer: IntegerLayer, placed: LayerPlacement) -> IntArray:
    """Recurrent synapses with a non-zero weight from each neuron of a layer onto its cores, int64 [neurons, cores]."""
    if layer.loop is None:
        return np.zeros((size(layer.output_shape), len(placed.cores)), dtype=np.int64)
    return fan_out_per_core(layer.loop, placed)


def _matrix_per_core(weight: IntArray, placed: LayerPlacement) -> IntArray:
    columns = [np.count_nonzero(weight[group], axis=0) for group in placed.groups]
    dense: IntArray = np.stack(columns, axis=1).astype(np.int64)
    return dense


def core_times_ns(layer: IntegerLayer, load: Load, placed: LayerPlacement) -> FloatArray:
    """Mean time of a step of each core of a layer, the slower of sending and receiving, float64 [cores], ns."""
    units, cores = units_of(layer), len(placed.groups)
    held = [np.unique(group % units) for group in placed.groups]
    sizes = np.array([part.size for part in held])
    unit, core = np.concatenate(held), np.repeat(np.arange(cores), sizes)
    share = np.repeat(placed.neurons / (sizes * channels_of(layer)), sizes)
    receiving: FloatArray = np.bincount(core, load.synapses[unit] * share, cores).astype(np.float64)
    if layer.kind == "dense":
        receiving = receiving + (
            np.bincount(core, load.axons[unit], cores) if passes_input(layer) else load.axons.sum()
        )
    else:
        parts: list[Synapse] = [layer, *([] if layer.loop is None else [layer.loop]), *layer.skips]
        receiving = receiving + load.axons @ np.concatenate([_reached(part, core, unit, cores) for part in parts])
    sending = np.bincount(core, (load.neurons + load.sent * load.message_ns)[unit] * share, cores)
    busiest: FloatArray = np.maximum(sending, receiving)
    return busiest


def _reached(synapse: Synapse, core: IntArray, unit: IntArray, cores: int) -> IntArray:
    """Whether a core listens to a pixel by geometry, 0 or 1, [pixels, cores]."""
    reached = np.zeros((size(synapse.input_shape[1:]) + 1, cores), dtype=np.int64)
    reached[gather_index(synapse)[unit], core[:, None]] = 1
    return reached[:-1]
