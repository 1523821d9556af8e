"""Synapses beyond weights in netx's HDF5 file: delays, as netx takes them, and skips, which netx does not know.

A skip is a group in its layer's: `source` (0 the input, n the n-th layer of the chain), weight, and for a convolution
stride, padding, dilation and groups. Its layer's neuron is of spikecut's own type, at which netx stops.
"""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from spikecut.errors import BundleError, ExportError
from spikecut.export.hdf5 import read_whole, subgroup
from spikecut.export.network.arrays import IntArray, Pair, size
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer
from spikecut.export.network.skip import INPUT, Skip

SKIP = "skip"
PAIRS = ("stride", "padding", "dilation")


def delays(delay: IntArray, weight: IntArray, name: str, path: Path) -> IntArray:
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


def write_skip(group: h5py.Group, skip: Skip, source: int) -> None:
    """Write a skip whose source is the layer at this depth, 0 for the input."""
    group["source"] = source
    group["weight"] = skip.weight.astype(np.int32)
    if skip.kind == "conv":
        for key in PAIRS:
            group[key] = np.array(getattr(skip, key), dtype=np.int64)
        group["groups"] = skip.groups


def read_skip(
    group: h5py.Group, layer: IntegerLayer, earlier: Sequence[IntegerLayer], spec: InputSpec, path: Path
) -> Skip:
    """The skip in a layer's group. earlier: the layers before this one.

    BundleError if its source is unknown or does not lie before the layer that feeds this one, or if it does not fit.
    """
    found = subgroup(group, SKIP, path)
    source = _numbers(found, "source", 1, layer.name, path)[0]
    if not 0 <= source < len(earlier):
        raise BundleError(
            f"{path}: layer {layer.name}, number {len(earlier) + 1} of the chain: a skip from number {source}, which "
            "does not lie before the layer that feeds it (0 is the input); the file is damaged"
        )
    weight = read_whole(found, "weight", path)
    name, shape = (earlier[source - 1].name, earlier[source - 1].output_shape) if source else (INPUT, spec.shape)
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


def _pair(group: h5py.Group, key: str, layer: str, path: Path) -> Pair:
    rows, columns = _numbers(group, key, 2, layer, path)
    return rows, columns


def _numbers(group: h5py.Group, key: str, count: int, layer: str, path: Path) -> list[int]:
    values = read_whole(group, key, path).reshape(-1)
    if values.size != count:
        raise BundleError(f"{path}: layer {layer}: {key} of its skip has {values.size} values, expected {count}")
    return [int(value) for value in values]
