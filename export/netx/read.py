"""lava-dl's netx HDF5 file → IntegerNetwork; how spikecut writes one: spikecut.export.netx.write."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from spikecut.errors import BundleError, ExportError, InputError, UnsupportedError
from spikecut.export.hdf5 import open_hdf5, read_whole, subgroup
from spikecut.export.network.arrays import IntArray, Pair, Shape, size
from spikecut.export.network.geometry import MAXIMUM_ELEMENTS, convolved_shape
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork, Readout
from spikecut.export.network.names import check_texts
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.netx.lead_in import with_lead_in
from spikecut.export.netx.neuron import read_neuron, read_text
from spikecut.export.netx.synapse import SOURCE, delays, read_links, read_source
from spikecut.export.netx.write import FORMAT, FORMAT_2, FORMAT_3, FORMAT_4, FORMAT_5
from spikecut.fixed_point import WEIGHT_STEP

FORMATS = (FORMAT, FORMAT_2, FORMAT_3, FORMAT_4, FORMAT_5)
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


@dataclass(frozen=True)
class Blocks:
    """Which blocks /layer/first … /layer/end - 1 of a file are read; end None: all from the first on."""

    first: int = 0
    end: int | None = None

    @classmethod
    def named(cls, text: str) -> "Blocks":
        """From "A:B", "A:" or ":B"; InputError for anything else."""
        found = re.fullmatch(r"(\d{0,4}):(\d{0,4})", text)
        if found is None or (found[2] and int(found[2]) <= int(found[1] or 0)):
            raise InputError(f"--layers {text}: expected A:B, the blocks /layer/A to /layer/B-1 of the file")
        return cls(int(found[1] or 0), int(found[2]) if found[2] else None)


ALL = Blocks()
GRADED_BITS = 16
"""Of the messages that sigma-delta neurons take from layers that are left out: netx's own width."""


def read_netx(
    path: Path,
    spec: InputSpec | None = None,
    readout: Readout | None = None,
    horizon: int | None = None,
    blocks: Blocks = ALL,
) -> IntegerNetwork:
    """Read a netx HDF5 file as an IntegerNetwork.

    `spec`, `readout` and `horizon` are needed for files that spikecut did not write: "membrane" where the last layer
    has no neuron, as in lava-dl's mnist.net, or is an average, whose sums become a layer. Neurons of the input block
    become a first layer of their own, which takes integer messages as current: `spec` must give what netx sets as the
    bias of these neurons, weight · x + bias of the input block. Such a network runs on the batched engine. Sigma-delta
    layers of lava-dl start in the state that netx's own graph brings them to, see lead_in.py.

    blocks: a part of the file as a network of its own. Cut before its end, its readout are the counts of the last
    layer's spikes; from a later block than the first layer's on, its input are spikes of that layer's input.

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
            read = _read_layers(file, path, spec, readout, extras.layers if extras else None, blocks)
            whole = len(subgroup(file, "layer", path)) if blocks.end is None else blocks.end
            cut = blocks.end is not None and blocks.end < len(subgroup(file, "layer", path))
        layers = tuple(layer for index, layer in read if index >= blocks.first)
        if not layers:
            raise InputError(f"--layers {blocks.first}:{whole}: no layer of neurons is among these blocks")
        if len(layers) < len(read):
            graded = layers[0].neuron.sigma_delta is not None
            spec = InputSpec(layers[0].input_shape, "events", bits=GRADED_BITS if graded else 0, signed=graded)
        name = extras.name if extras else path.stem
        network = IntegerNetwork(layers, spec, "count" if cut else readout, horizon, name)
        return network if extras else with_lead_in(network)
    except (InputError, ExportError) as error:
        if str(error).startswith(str(path)):
            raise
        raise type(error)(f"{path}: {error}") from error


def _read_extras(file: h5py.File, path: Path) -> _Extras | None:
    if "spikecut" not in file:
        return None
    attributes = subgroup(file, "spikecut", path).attrs
    if "format" not in attributes or not any(np.array_equal(attributes["format"], n) for n in FORMATS):
        raise BundleError(
            f"{path}: not of format {' or '.join(map(str, FORMATS))}, which this spikecut reads; export again"
        )
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
    file: h5py.File, path: Path, spec: InputSpec, readout: Readout, names: list[str] | None, blocks: Blocks
) -> list[tuple[int, IntegerLayer]]:
    """The layers, each with the number of its block."""
    if "layer" not in file:
        raise BundleError(f"{path}: no group /layer; this is not a netx file")
    groups = subgroup(file, "layer", path)
    if len(groups) > MAXIMUM_LAYERS:
        raise BundleError(f"{path}: {len(groups)} layers, at most {MAXIMUM_LAYERS} are read")
    layers: list[IntegerLayer] = []
    indices: list[int] = []
    shape: Shape = spec.shape
    for index in range(len(groups) if blocks.end is None else min(blocks.end, len(groups))):
        group = subgroup(groups, str(index), path)
        kind = read_text(group, "type", path)
        if kind == "input":
            if "neuron" in group:
                layers.append(_input_neurons(group, spec, path))
                indices.append(index)
            continue
        if kind == "flatten":
            continue
        if kind == "average" and index == len(groups) - 1 and layers:
            layers.append(_average(group, f"average{len(layers)}", shape, path))
            indices.append(index)
            continue
        if kind not in ("conv", "dense", "dense_rec") or (kind == "conv" and "delay" in group):
            what = "a delay on a convolution" if kind == "conv" else f"type {kind!r}"
            raise UnsupportedError(f"{path}: layer {index}: {what} is not supported; netx would drop or refuse it")
        number = len(layers) + (not layers or layers[0].name != INPUT_NEURONS)
        name = names[len(layers)] if names and len(names) > len(layers) else f"{kind}{number}"
        integrates = readout == "membrane" and index == len(groups) - 1 and kind == "dense"
        source = None
        if SOURCE in group:
            source, shape = read_source(group, name, layers, spec, path)
        layer = replace(_read_layer(group, name, kind, shape, path, integrates), source=source)
        layers.append(read_links(group, layer, layers, spec, path))
        indices.append(index)
        shape = layer.output_shape
    return list(zip(indices, layers, strict=True))


def _average(group: h5py.Group, name: str, shape: Shape, path: Path) -> IntegerLayer:
    """lava-dl's mean over groups of the last layer's neurons: a membrane that adds up each group's spikes, 128 each."""
    outputs, neurons = size(tuple(read_whole(group, "shape", path).reshape(-1).tolist())), size(shape)
    if not 1 <= outputs <= neurons or neurons % outputs:
        raise BundleError(f"{path}: layer {name}: {outputs} groups of {neurons} neurons, which they do not divide")
    if outputs * neurons > MAXIMUM_ELEMENTS:
        raise BundleError(f"{path}: layer {name}: {outputs} groups of {neurons} neurons are more than spikecut holds")
    weight = WEIGHT_STEP * np.repeat(np.eye(outputs, dtype=np.int64), neurons // outputs, axis=1)
    neuron = IntegerNeuron(threshold=0, bias_mantissa=np.zeros(outputs, dtype=np.int64), reset="none")
    return IntegerLayer(name, "dense", weight, neuron, shape, (outputs,))


def _input_neurons(group: h5py.Group, spec: InputSpec, path: Path) -> IntegerLayer:
    """netx gives input neurons the input as bias, aligned by 6 bits like a current: the same as a weight of 1 each."""
    shape = tuple(int(n) for n in read_whole(group, "shape", path).reshape(-1))
    if shape != spec.shape:
        raise BundleError(f"{path}: the input block is of shape {shape}, the input given of shape {spec.shape}")
    if len(shape) == 1 and shape[0] > MAXIMUM_INPUT_NEURONS:
        raise UnsupportedError(f"{path}: {shape[0]} input neurons in a row, at most {MAXIMUM_INPUT_NEURONS} are read")
    neuron = read_neuron(group, "input", np.zeros(shape[0], dtype=np.int64), path, encodes=True)
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
    if kind == "dense_rec" or (kind == "conv" and "weight_rec" in group):
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
