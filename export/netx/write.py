"""IntegerNetwork → lava-dl's netx HDF5 file.

What netx can express is written so that `lava.lib.dl.netx.hdf5.Network` loads it unchanged. A neuron that it cannot
express carries the type SPIKECUT, at which netx stops instead of loading something else, and extra datasets for
spikecut's own builder. What the layers alone do not say (input, readout, horizon) lies in the group /spikecut.
"""

import json
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from spikecut.errors import ExportError
from spikecut.export.hdf5 import packed
from spikecut.export.network.arrays import size
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.netx.limits import beyond_netx
from spikecut.export.netx.neuron import write_neuron, write_text
from spikecut.export.netx.synapse import SOURCE, group_of_skip, write_skip
from spikecut.files import reason, write_bytes

FORMAT = 1
FORMAT_2 = 2
"""Of networks with what format 1 did not know, so that its readers refuse them: the amount of a soft reset, u(0)."""
FORMAT_3 = 3
"""Of networks that are more than chains whose layers have a skip each, with or without what format 2 brought."""

FORMAT_4 = 4
"""Of networks with layers of maps that feed themselves, and perhaps with all of the above."""
FORMAT_5 = 5
"""Of networks of sigma-delta neurons."""


def write_netx(network: IntegerNetwork, path: Path) -> None:
    """Write a network as netx HDF5, whole or not at all.

    Raises
    ------
    ExportError: the file cannot be written.
    """
    content = netx_bytes(network)
    try:
        write_bytes(path, content)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {reason(error)}") from error


def netx_bytes(network: IntegerNetwork) -> bytes:
    """The content of a netx HDF5 file."""
    return packed(lambda file: _write_network(file, network))


def beyond_format_1(network: IntegerNetwork) -> bool:
    """Whether a network has what a reader of format 1 would overlook."""
    neurons = [layer.neuron for layer in network.layers]
    return any(neuron.reset_amount is not None or neuron.u_init is not None for neuron in neurons)


def _write_network(file: h5py.File, network: IntegerNetwork) -> None:
    own = bool(beyond_netx(network))
    layers = file.create_group("layer")
    index = _write_input(layers, network.input)
    for layer, paths in zip(network.layers, network.paths, strict=True):
        if layer.kind == "dense" and len(layer.input_shape) == 3:
            group = layers.create_group(str(index))
            write_text(group, "type", "flatten")
            group["shape"] = np.array([size(layer.input_shape)], dtype=np.int64)
            index += 1
        group = layers.create_group(str(index))
        _write_layer(group, layer, own)
        if layer.source is not None:
            group[SOURCE] = paths[0].source
        for number, path in enumerate(paths[1:], start=1):
            write_skip(group.create_group(group_of_skip(number)), path)
        index += 1
    extras = file.create_group("spikecut")
    extras.attrs["format"] = _format(network)
    extras.attrs["network"] = json.dumps(
        {
            "name": network.name,
            "input": asdict(network.input),
            "readout": network.readout,
            "horizon": network.horizon,
            "layers": [layer.name for layer in network.layers],
        }
    )


def _format(network: IntegerNetwork) -> int:
    if any(layer.neuron.sigma_delta is not None for layer in network.layers):
        return FORMAT_5
    if any(layer.kind == "conv" and layer.recurrent is not None for layer in network.layers):
        return FORMAT_4
    return FORMAT_3 if network.branches else FORMAT_2 if beyond_format_1(network) else FORMAT


def _write_input(layers: h5py.Group, spec: InputSpec) -> int:
    group = layers.create_group("0")
    write_text(group, "type", "input")
    group["shape"] = np.array(spec.shape, dtype=np.int64)
    return 1


def _write_layer(group: h5py.Group, layer: IntegerLayer, own: bool) -> None:
    write_text(group, "type", "dense_rec" if layer.kind == "dense" and layer.recurrent is not None else layer.kind)
    group["shape"] = np.array(layer.output_shape, dtype=np.int64)
    group["weight"] = layer.weight.astype(np.int32)
    if np.any(layer.neuron.bias_mantissa):
        group["bias"] = layer.neuron.bias_mantissa.astype(np.int32)
    if layer.kind == "conv":
        group["inChannels"], group["outChannels"] = layer.input_shape[0], layer.output_shape[0]
        group["kernelSize"] = np.array(layer.weight.shape[2:], dtype=np.int64)
        for key in ("stride", "padding", "dilation"):
            group[key] = np.array(getattr(layer, key), dtype=np.int64)
        group["groups"] = layer.groups
    else:
        group["inFeatures"], group["outFeatures"] = size(layer.input_shape), layer.output_shape[0]
        if layer.delay is not None:
            group["delay"] = layer.delay.astype(np.int32)
    if layer.recurrent is not None:
        group["weight_rec"] = layer.recurrent.astype(np.int32)
    write_neuron(group.create_group("neuron"), layer.neuron, own)
