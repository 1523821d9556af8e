"""IntegerNetwork ↔ lava-dl's netx HDF5 file.

What netx can express is written so that `lava.lib.dl.netx.hdf5.Network` loads it unchanged. A neuron that it cannot
express carries the type SPIKECUT, at which netx stops instead of loading something else, and extra datasets for
spikecut's own builder. What the chain alone does not say (input, readout, horizon) lies in the group /spikecut.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from spikecut.errors import BundleError, ExportError, InputError, UnsupportedError
from spikecut.export.hdf5 import open_hdf5, packed, read_whole, subgroup
from spikecut.export.network.arrays import IntArray, Pair, Shape, size
from spikecut.export.network.connectivity import skip_paths
from spikecut.export.network.geometry import convolved_shape
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork, Readout, passes_input
from spikecut.export.network.names import check_texts
from spikecut.export.netx.neuron import read_neuron, read_text, write_neuron, write_text
from spikecut.export.netx.synapse import SKIP, delays, read_skip, write_skip
from spikecut.files import reason, write_bytes

FORMAT = 1
MAXIMUM_LAYERS = 4096
INPUT_NEURONS = "input_neurons"
MAXIMUM_INPUT_NEURONS = 2**13
"""In a row, where their weights are a matrix."""


class _Extras(BaseModel):
    """What the group /spikecut says."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    input: dict[str, Any]
    readout: Readout
    horizon: int
    layers: list[str]


def dense_weight_in_lava(weight: IntArray) -> IntArray:
    """The weights that netx and Lava's Dense really apply to a matrix stored in the file, times their exponent.

    netx scales a matrix up to 8 bits by `optimize_weight_bits`; Lava's Dense then clips and truncates it by the sign
    mode that it finds, and shifts the sum back.
    """
    largest, smallest = int(weight.max()), int(weight.min())
    if largest == 0 and smallest == 0:
        return weight
    if (largest > 254 and smallest < 0) or (smallest < -256 and largest > 0):
        weight = np.clip(weight, -256, 254)
        largest, smallest = int(weight.max()), int(weight.min())
    mixed = not (largest < 0 or smallest >= 0)
    if mixed:
        ratios = [127 / largest if largest else np.inf, -128 / smallest if smallest else np.inf]
        scale = min(ratios)
    else:
        scale = -256 / smallest if largest < 0 else 255 / largest
    shift = int(np.floor(np.log2(scale))) + int(mixed)
    zeros = 8
    while zeros > 0 and np.any(weight % 2**zeros):
        zeros -= 1
    bits = 8 - shift - (zeros - int(mixed))
    if shift < 0:
        return np.zeros_like(weight)
    return _clip_and_truncate(weight << shift, bits) >> shift


def _clip_and_truncate(weight: IntArray, bits: int) -> IntArray:
    """Lava's clip_weights and truncate_weights with the sign mode that it determines itself."""
    inhibitory = int(weight.max()) <= 0 and int(weight.min()) < 0
    mixed = int(weight.min()) < 0 and not inhibitory
    magnitude = -weight if inhibitory else weight
    magnitude = np.clip(magnitude, -256 if mixed else 0, 255)
    truncated = 8 - bits + int(mixed)
    if truncated < 0:  # numpy shifts by a negative count here: the whole matrix becomes zero
        return np.zeros_like(weight)
    magnitude = (magnitude >> truncated) << truncated
    return -magnitude if inhibitory else magnitude


def beyond_netx(network: IntegerNetwork) -> list[str]:
    """What netx cannot express of this network, in words; empty where its own Network loads it unchanged."""
    reasons: list[str] = []
    if network.readout == "membrane":
        reasons.append("membrane readout")
    for layer in network.layers:
        neuron = layer.neuron
        if neuron.reset == "subtract":
            reasons.append(f"{layer.name}: soft reset")
        if neuron.v_init:
            reasons.append(f"{layer.name}: v(0) = {neuron.v_init}")
        if neuron.bias_exponent != 6:
            reasons.append(f"{layer.name}: bias exponent {neuron.bias_exponent}")
        if neuron.gain is not None:
            reasons.append(f"{layer.name}: a gain per timestep, which needs programmable neurons: Loihi 2")
        if layer.skip is not None:
            reasons.append(f"{layer.name}: a {layer.skip.name}")
        if layer.recurrent is not None:
            reasons.append(f"{layer.name}: recurrent synapses, for which netx has no ProcessModel")
        if layer.kind == "dense" and not np.array_equal(dense_weight_in_lava(layer.weight), layer.weight):
            reasons.append(f"{layer.name}: a weight matrix that netx would change")
    return reasons


def check_exportable(network: IntegerNetwork) -> None:
    """Raise UnsupportedError for what only the batched engine runs: netx's input neurons."""
    if passes_input(network.layers[0]):
        raise UnsupportedError(
            f"layer {network.layers[0].name}: input neurons run on the batched engine alone: use --backend batched"
        )


def write_netx(network: IntegerNetwork, path: Path) -> None:
    """Write a network as netx HDF5, whole or not at all.

    Raises
    ------
    UnsupportedError: something that no loader could run exactly.
    ExportError: the file cannot be written.
    """
    content = netx_bytes(network)
    try:
        write_bytes(path, content)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {reason(error)}") from error


def netx_bytes(network: IntegerNetwork) -> bytes:
    """The content of a netx HDF5 file; UnsupportedError for something that no loader could run exactly."""
    check_exportable(network)
    return packed(lambda file: _write_network(file, network))


def _write_network(file: h5py.File, network: IntegerNetwork) -> None:
    own = bool(beyond_netx(network))
    layers = file.create_group("layer")
    index = _write_input(layers, network.input)
    paths = skip_paths(network)
    for depth, layer in enumerate(network.layers, start=1):
        if layer.kind == "dense" and len(layer.input_shape) == 3:
            group = layers.create_group(str(index))
            write_text(group, "type", "flatten")
            group["shape"] = np.array([size(layer.input_shape)], dtype=np.int64)
            index += 1
        source = paths[depth].source if depth in paths else 0
        _write_layer(layers.create_group(str(index)), layer, own, source)
        index += 1
    extras = file.create_group("spikecut")
    extras.attrs["format"] = FORMAT
    extras.attrs["network"] = json.dumps(
        {
            "name": network.name,
            "input": asdict(network.input),
            "readout": network.readout,
            "horizon": network.horizon,
            "layers": [layer.name for layer in network.layers],
        }
    )


def _write_input(layers: h5py.Group, spec: InputSpec) -> int:
    group = layers.create_group("0")
    write_text(group, "type", "input")
    group["shape"] = np.array(spec.shape, dtype=np.int64)
    return 1


def _write_layer(group: h5py.Group, layer: IntegerLayer, own: bool, source: int) -> None:
    write_text(group, "type", layer.kind if layer.recurrent is None else "dense_rec")
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
    if layer.skip is not None:
        write_skip(group.create_group(SKIP), layer.skip, source)
    write_neuron(group.create_group("neuron"), layer.neuron, own)


def read_netx(
    path: Path, spec: InputSpec | None = None, readout: Readout | None = None, horizon: int | None = None
) -> IntegerNetwork:
    """Read a netx HDF5 file as an IntegerNetwork.

    `spec`, `readout` and `horizon` are needed for files that spikecut did not write: "membrane" where the last layer
    has no neuron, as in lava-dl's mnist.net. Neurons of the input block become
    a first layer of their own, which takes integer messages as current: `spec` must give what netx sets as the bias of
    these neurons, weight · x + bias of the input block. Such a network runs on the batched engine; it is not written.

    Raises
    ------
    BundleError: missing, truncated or foreign files, wrong types, absurd shapes.
    UnsupportedError: a layer or neuron that spikecut does not know.
    RangeError, ExportError: a value that the chip cannot hold, by layer and field; layers that do not fit each other.
    """
    try:
        with open_hdf5(path) as file:
            extras = _read_extras(file, path)
            if extras is not None:
                spec = spec or InputSpec.of(extras.input)
                readout, horizon = readout or extras.readout, horizon or extras.horizon
            if spec is None or readout is None or horizon is None:
                raise InputError(f"{path}: not written by spikecut; its input, readout and horizon T must be given")
            layers = _read_layers(file, path, spec, readout, extras.layers if extras else None)
        return IntegerNetwork(tuple(layers), spec, readout, horizon, extras.name if extras else path.stem)
    except (InputError, ExportError) as error:
        if str(error).startswith(str(path)):
            raise
        raise type(error)(f"{path}: {error}") from error


def _read_extras(file: h5py.File, path: Path) -> _Extras | None:
    if "spikecut" not in file:
        return None
    attributes = subgroup(file, "spikecut", path).attrs
    if "format" not in attributes or not np.array_equal(attributes["format"], FORMAT):
        raise BundleError(f"{path}: not of format {FORMAT}, which this spikecut reads; export again")
    try:
        data = json.loads(attributes["network"])
        check_texts(data)
        return _Extras.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: the group /spikecut is damaged: {key}: {first['msg']}; export again") from error
    except (InputError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: the group /spikecut is damaged ({error}); export again") from error


def _read_layers(
    file: h5py.File, path: Path, spec: InputSpec, readout: Readout, names: list[str] | None
) -> list[IntegerLayer]:
    if "layer" not in file:
        raise BundleError(f"{path}: no group /layer; this is not a netx file")
    groups = subgroup(file, "layer", path)
    if len(groups) > MAXIMUM_LAYERS:
        raise BundleError(f"{path}: {len(groups)} layers, at most {MAXIMUM_LAYERS} are read")
    layers: list[IntegerLayer] = []
    shape: Shape = spec.shape
    for index in range(len(groups)):
        group = subgroup(groups, str(index), path)
        kind = read_text(group, "type", path)
        if kind == "input":
            if "neuron" in group:
                layers.append(_input_neurons(group, spec, path))
            continue
        if kind == "flatten":
            continue
        if kind not in ("conv", "dense", "dense_rec") or (kind == "conv" and "delay" in group):
            what = "a delay on a convolution" if kind == "conv" else f"type {kind!r}"
            raise UnsupportedError(f"{path}: layer {index}: {what} is not supported; netx would drop or refuse it")
        number = len(layers) + (not layers or layers[0].name != INPUT_NEURONS)
        name = names[len(layers)] if names and len(names) > len(layers) else f"{kind}{number}"
        integrates = readout == "membrane" and index == len(groups) - 1 and kind == "dense"
        layer = _read_layer(group, name, kind, shape, path, integrates)
        layers.append(replace(layer, skip=read_skip(group, layer, layers, spec, path)) if SKIP in group else layer)
        shape = layer.output_shape
    return layers


def _input_neurons(group: h5py.Group, spec: InputSpec, path: Path) -> IntegerLayer:
    """netx gives input neurons the input as bias, aligned by 6 bits like a current: the same as a weight of 1 each."""
    shape = tuple(int(n) for n in read_whole(group, "shape", path).reshape(-1))
    if shape != spec.shape:
        raise BundleError(f"{path}: the input block is of shape {shape}, the input given of shape {spec.shape}")
    if len(shape) == 1 and shape[0] > MAXIMUM_INPUT_NEURONS:
        raise UnsupportedError(f"{path}: {shape[0]} input neurons in a row, at most {MAXIMUM_INPUT_NEURONS} are read")
    neuron = read_neuron(group, "input", np.zeros(shape[0], dtype=np.int64), path)
    if len(shape) == 1:
        return IntegerLayer(INPUT_NEURONS, "dense", np.eye(shape[0], dtype=np.int64), neuron, shape, shape)
    weight = np.ones((shape[0], 1, 1, 1), dtype=np.int64)
    return IntegerLayer(INPUT_NEURONS, "conv", weight, neuron, shape, shape, groups=shape[0])


def _read_layer(group: h5py.Group, name: str, kind: str, shape: Shape, path: Path, integrates: bool) -> IntegerLayer:
    weight = read_whole(group, "weight", path)
    geometry: dict[str, Any] = {}
    if kind == "conv":
        if weight.ndim == 5 and weight.shape[4] == 1:  # lava-dl's synapses are convolutions in time, too
            weight = weight[..., 0]
        if weight.ndim != 4:
            raise BundleError(f"{path}: layer {name}: weight of shape {weight.shape}, expected 4 dimensions")
        for key in ("stride", "padding", "dilation"):
            geometry[key] = _pair(read_whole(group, key, path), key, path)
        geometry["groups"] = _pair(read_whole(group, "groups", path), "groups", path)[0]
    elif weight.ndim == 1:
        weight = weight.reshape(-1, size(shape)) if weight.size % size(shape) == 0 else weight
    if kind != "conv" and weight.ndim != 2:
        raise BundleError(f"{path}: layer {name}: weight of shape {weight.shape} does not fit an input of {shape}")
    if kind != "conv" and "delay" in group:
        geometry["delay"] = delays(read_whole(group, "delay", path), weight, name, path)
    if kind == "dense_rec":
        recurrent = read_whole(group, "weight_rec", path)
        geometry["recurrent"] = recurrent.reshape(weight.shape[0], -1) if recurrent.ndim == 1 else recurrent
    output: Shape = (weight.shape[0],)
    bias = read_whole(group, "bias", path) if "bias" in group else np.zeros(output, dtype=np.int64)
    layer_neuron = read_neuron(group, name, bias, path, integrates)
    if kind == "conv":
        if len(shape) != 3 or min(geometry["stride"]) < 1:
            raise BundleError(f"{path}: layer {name}: a convolution needs a (C, H, W) input and a positive stride")
        output = convolved_shape(weight.shape, shape, geometry["stride"], geometry["padding"], geometry["dilation"])
    return IntegerLayer(
        name=name,
        kind="conv" if kind == "conv" else "dense",
        weight=weight,
        neuron=layer_neuron,
        input_shape=shape,
        output_shape=output,
        **geometry,
    )


def _pair(values: IntArray, key: str, path: Path) -> Pair:
    flat = values.reshape(-1)
    if flat.size not in (1, 2):
        raise BundleError(f"{path}: {key} has {flat.size} values, expected 1 or 2")
    return int(flat[0]), int(flat[-1])
