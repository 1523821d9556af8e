"""Synapses beyond weights in netx's HDF5 file: delays, as netx takes them, and skips, which netx does not know.

A skip is a group in its layer's, "skip", and further ones "skip2", "skip3", …: `source` (0 the input, n the n-th
layer), weight, and for a convolution stride, padding, dilation and groups. A layer whose own synapse does not take from
the layer before it has a `source`, too. The neurons of both are of spikecut's own type, at which netx stops.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path as FilePath

import h5py
import numpy as np

from spikecut.errors import BundleError, ExportError
from spikecut.export.hdf5 import read_whole, subgroup
from spikecut.export.network.arrays import IntArray, Pair, Shape, size
from spikecut.export.network.graph import Path
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer
from spikecut.export.network.skip import INPUT, Skip

SKIP, SOURCE = "skip", "source"
PAIRS = ("stride", "padding", "dilation")
Sent = tuple[str, Shape]


def delays(delay: IntArray, weight: IntArray, name: str, path: FilePath) -> IntArray:
    """Delays per synapse from a scalar, one per output or one per input neuron, as netx takes them."""
    if weight.ndim != 2 or delay.ndim > 2:
        raise BundleError(f"{path}: layer {name}: delay of shape {delay.shape} does not fit the weights")
    if delay.ndim == 2:
        return delay
    if delay.size == 1:
        return np.full(weight.shape, int(delay.reshape(-1)[0]))
    if delay.size == weight.shape[0]:
        return np.broadcast_to(delay[:, None], weight.shape).copy()
    if delay.size == weight.shape[1]:
        return np.broadcast_to(delay[None], weight.shape).copy()
    raise BundleError(f"{path}: layer {name}: {delay.size} delays fit neither outputs nor inputs of {weight.shape}")


def group_of_skip(number: int) -> str:
    """Name of the group of a layer's n-th skip, from 1."""
    return SKIP if number == 1 else f"{SKIP}{number}"


def write_skip(group: h5py.Group, path: Path) -> None:
    """Write a skip, with the number of its source."""
    skip = path.synapse
    group[SOURCE] = path.source
    group["weight"] = skip.weight.astype(np.int32)
    if skip.kind == "conv":
        for key in PAIRS:
            group[key] = np.array(getattr(skip, key), dtype=np.int64)
        group["groups"] = skip.groups


def read_links(
    group: h5py.Group, layer: IntegerLayer, earlier: Sequence[IntegerLayer], spec: InputSpec, path: FilePath
) -> IntegerLayer:
    """The layer with its skips. earlier: the layers before this one.

    BundleError if the source of one is not listed before the layer, or if it does not fit.
    """
    skips: list[Skip] = []
    while group_of_skip(len(skips) + 1) in group:
        found = subgroup(group, group_of_skip(len(skips) + 1), path)
        skips.append(_read_skip(found, layer, earlier, spec, path))
    if len(skips) != sum(key.startswith(SKIP) for key in group):
        raise BundleError(f"{path}: layer {layer.name}: its skips are not numbered one by one; the file is damaged")
    return replace(layer, skips=tuple(skips)) if skips else layer


def read_source(group: h5py.Group, name: str, earlier: Sequence[IntegerLayer], spec: InputSpec, path: FilePath) -> Sent:
    """Name and shape of what a layer's own synapse, or its skip, takes from; BundleError if it is not listed before."""
    number = _numbers(group, SOURCE, 1, name, path)[0]
    if not 0 <= number <= len(earlier):
        raise BundleError(
            f"{path}: layer {name}, number {len(earlier) + 1}: takes from number {number}, which is not listed before "
            "it (0 is the input); the file is damaged"
        )
    return (earlier[number - 1].name, earlier[number - 1].output_shape) if number else (INPUT, spec.shape)


def _read_skip(
    found: h5py.Group, layer: IntegerLayer, earlier: Sequence[IntegerLayer], spec: InputSpec, path: FilePath
) -> Skip:
    name, shape = read_source(found, layer.name, earlier, spec, path)
    weight = read_whole(found, "weight", path)
    if weight.ndim != (4 if layer.kind == "conv" else 2):
        raise BundleError(f"{path}: layer {layer.name}: a skip with a weight of shape {weight.shape}; it does not fit")
    try:
        if layer.kind == "dense":
            return Skip(name, "dense", weight, shape, (size(layer.output_shape),))
        stride, padding, dilation = (_pair(found, key, layer.name, path) for key in PAIRS)
        groups = _numbers(found, "groups", 1, layer.name, path)[0]
        return Skip(name, "conv", weight, shape, layer.output_shape, stride, padding, dilation, groups)
    except ExportError as error:
        raise BundleError(f"{path}: layer {layer.name}: {error}") from error


def _pair(group: h5py.Group, key: str, layer: str, path: FilePath) -> Pair:
    rows, columns = _numbers(group, key, 2, layer, path)
    return rows, columns


def _numbers(group: h5py.Group, key: str, count: int, layer: str, path: FilePath) -> list[int]:
    values = read_whole(group, key, path).reshape(-1)
    if values.size != count:
        raise BundleError(f"{path}: layer {layer}: {key} has {values.size} values, expected {count}")
    return [int(value) for value in values]
