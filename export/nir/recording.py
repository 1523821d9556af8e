"""Recordings in NIR's own format, NIRGraphData of nir.write_data (1.0.8): what somebody's run sent, node by node.

Read as data, without the package: every type and size is checked before it is read.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from spikecut.errors import BundleError, InputError
from spikecut.export.hdf5 import open_hdf5, read_floats, subgroup
from spikecut.export.network.arrays import Array

SENT = ("spikes", "output", "input")
"""Observables that hold what a node sends, the first of them that is there."""
MAXIMUM_NESTING = 8
MAXIMUM_NODES = 1024
MAXIMUM_NUMBERS = 2**26
NEARLY = 1e-6
"""Of a timestep: events on its edge, which floats place before it, belong to it."""


@dataclass(frozen=True)
class Recorded:
    """What a node sent: float64 [T, N, neurons]; `left_out`: the observables beside it."""

    values: Array
    left_out: tuple[str, ...] = ()


def read_recording(path: Path, timesteps: int) -> dict[str, Recorded]:
    """What the nodes of a recording sent, by name; those of a graph in the graph behind its own, "block.lif".

    timesteps: T, into which lists of events are put.

    BundleError: missing, foreign, damaged or absurdly large. InputError: a recording of other timesteps.
    """
    with open_hdf5(path) as file:
        if file.attrs.get("__type__") != "NIRGraphData":
            raise InputError(f"{path}: no recording of NIR (NIRGraphData, written by nir.write_data)")
        found = dict(_nodes(file, path, "", timesteps, 0))
    if not found:
        raise InputError(f"{path}: its nodes hold none of {', '.join(SENT)}; record the spikes")
    return found


def _nodes(group: h5py.Group, path: Path, prefix: str, timesteps: int, depth: int) -> Iterator[tuple[str, Recorded]]:
    nodes = subgroup(group, "nodes", path)
    if depth > MAXIMUM_NESTING or len(nodes) > MAXIMUM_NODES:
        raise BundleError(f"{path}: more than {MAXIMUM_NODES} nodes, or nested more than {MAXIMUM_NESTING} deep")
    for name in nodes:
        node = subgroup(nodes, name, path)
        if node.attrs.get("__type__") == "NIRGraphData":
            yield from _nodes(node, path, f"{prefix}{name}.", timesteps, depth + 1)
            continue
        observables = subgroup(node, "observables", path)
        key = next((each for each in SENT if each in observables), None)
        if key is not None:
            values = _values(subgroup(observables, key, path), path, f"{prefix}{name}", timesteps)
            yield f"{prefix}{name}", Recorded(values, tuple(sorted(set(observables) - {key})))


def _values(group: h5py.Group, path: Path, name: str, timesteps: int) -> Array:
    kind = group.attrs.get("__type__")
    if kind == "TimeGriddedData":
        data = read_floats(group, "data", path)
        if data.ndim != 3 or not np.isfinite(data).all():
            raise BundleError(
                f"{path}: node {name}: data of shape {data.shape}: expected [samples, timesteps, neurons]"
            )
        return np.ascontiguousarray(data.swapaxes(0, 1))
    if kind not in ("EventData", "ValuedEventData"):
        raise BundleError(
            f"{path}: node {name}: a recording of type {str(kind)[:40]!r}, which nir 1.0.8 does not write"
        )
    index, time = read_floats(group, "idx", path), read_floats(group, "time", path)
    values = read_floats(group, "value", path) if kind == "ValuedEventData" else np.ones_like(index)
    neurons, length = (float(group.attrs.get(key, 0)) for key in ("n_neurons", "t_max"))
    if index.ndim != 2 or not index.shape == time.shape == values.shape:
        raise BundleError(f"{path}: node {name}: idx and time are no lists of events of each sample")
    if not (1 <= neurons <= MAXIMUM_NUMBERS and neurons.is_integer() and math.isfinite(length) and length > 0):
        raise BundleError(f"{path}: node {name}: {neurons:g} neurons, {length:g} long")
    if neurons * timesteps * len(index) > MAXIMUM_NUMBERS:
        raise BundleError(f"{path}: node {name}: more than {MAXIMUM_NUMBERS} numbers; record fewer samples")
    sample, place = np.nonzero(index != -1)
    step = np.floor(time[sample, place] * timesteps / length + NEARLY)
    neuron = index[sample, place]
    if not ((step >= 0) & (step < timesteps) & (neuron >= 0) & (neuron < neurons) & (neuron % 1 == 0)).all():
        raise BundleError(f"{path}: node {name}: an event outside the recording's time or neurons")
    found = np.zeros((timesteps, len(index), int(neurons)))
    np.add.at(found, (step.astype(np.int64), sample, neuron.astype(np.int64)), values[sample, place])
    return found
