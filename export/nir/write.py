"""IntegerNetwork ↔ NIR: a graph that other tools read, and metadata for what NIR cannot say.

A timestep is 1 and v is in the chip's units, so every integer stands in the file as it is: weights, thresholds
(threshold · 64), and per timestep τ = 4096 / decay, r = 64 τ (or 64 without leak), for a current is shifted left by 6.
A bias is that of the synapse, / 64; where the current decays it is v_leak instead. NIR has no soft reset, v(0), delay
per synapse, or decay that cuts off towards zero: the root's metadata holds these (text "spikecut", JSON), a synapse's
metadata its delays ("spikecut_delay"). "No decay" beside one that decays is τ = 2^40.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spikecut.errors import BundleError, ExportError, InputError, UnsupportedError
from spikecut.export.network.arrays import Array, Shape, size
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.names import check_texts
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.network.parameters import lowest, per_neuron
from spikecut.export.network.skip import INPUT, Skip
from spikecut.export.nir.file import NirNode
from spikecut.export.nir.sandbox import read_graph
from spikecut.files import reason, write_bytes
from spikecut.fixed_point import DECAY_UNITY, WEIGHT_UNIT

FORMAT = 1
FORMAT_2 = 2
"""With the amount of a soft reset, or u(0), which readers of format 1 do not know."""
FORMAT_3 = 3
"""Of layers that take from more or others than the one before."""
FORMAT_4 = 4
"""Of layers of maps that feed themselves."""
FOREVER = 2.0**40
KEPT = ("decay_u", "decay_v", "threshold", "bias_exponent", "v_init", "reset", "reset_order")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Maps = list[list[list[int]]]
_Array = list[int] | _Maps
_Parameter = int | _Array
"""One number, or one per channel, or per neuron, (C, H, W)."""


class _Layer(_Strict):
    name: str
    decay_u: _Parameter
    decay_v: _Parameter
    threshold: _Parameter
    bias_mantissa: _Array
    bias_exponent: int
    v_init: _Parameter
    reset: Literal["zero", "subtract", "none"]
    reset_order: Literal["before_leak", "after_leak"]
    reset_amount: _Parameter | None = None
    u_init: _Array | None = None
    refractory: int = 0
    source: str | None = None
    skips: list[str] = []


class _Network(_Strict):
    format: Literal[1, 2, 3, 4]
    name: str
    input: dict[str, Any]
    readout: Literal["count", "membrane"]
    horizon: int
    layers: list[_Layer] = Field(min_length=1, max_length=1024)


def write_nir(network: IntegerNetwork, path: Path) -> None:
    """Write a network as NIR, with the package nir, whole or not at all.

    `nir.read` (1.0.8) needs type_check=False for kernels that are not square and for groups: its check takes the
    kernel's height for its width, and the channels of one group for all.

    Raises
    ------
    InputError: the package nir is not installed.
    UnsupportedError: a layer has a gain per timestep, an adaptive threshold or sigma-delta neurons, for which NIR has
        no primitive.
    ExportError: the file cannot be written.
    """
    try:
        import nir
    except ImportError as error:
        raise InputError("writing NIR needs the package nir: pip install 'spikecut[nir]'") from error
    for layer in network.layers:
        if layer.neuron.sigma_delta is not None:
            raise UnsupportedError(f"layer {layer.name}: NIR has no sigma-delta neuron; pass the bundle on")
        if layer.neuron.adaptation is not None:
            raise UnsupportedError(
                f"layer {layer.name}: NIR has no neuron whose threshold adapts; pass the bundle on, or train without"
            )
        if layer.neuron.gain is not None:
            raise UnsupportedError(
                f"layer {layer.name}: NIR has no neuron with a gain per timestep; pass the bundle on, or train with "
                "batch norm"
            )
    content = BytesIO()  # the HDF5 library crashes on a disk that is full
    nir.write(content, _as_package(graph_of(network), nir))
    try:
        write_bytes(path, content.getvalue())
    except OSError as error:
        raise ExportError(f"cannot write {path}: {reason(error)}; choose another --out") from error


def read_integers(path: Path) -> IntegerNetwork:
    """The integer network in a NIR file that spikecut wrote.

    Raises
    ------
    BundleError: missing, foreign, damaged, or changed since: its neurons are not those of its metadata. (Weights are
        read from the graph.)
    InputError: a NIR file of another tool.
    """
    graph = read_graph(path)
    if "spikecut" not in graph.own:
        raise InputError(
            f"{path}: floating-point numbers of another tool: make a bundle first, `spikecut export {path} --out "
            "BUNDLE --dataset … --horizon …`"
        )
    try:
        data = json.loads(graph.own["spikecut"])
        check_texts(data)
        described = _Network.model_validate(data)
        network = _network(described, {node.name: node for node in graph.nodes})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: metadata of spikecut: {key}: {first['msg']}; export again") from error
    except (ExportError, InputError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: metadata of spikecut do not fit the graph ({error}); export again") from error
    if not _same(graph, graph_of(network)):
        raise BundleError(
            f"{path}: changed since spikecut wrote it: its graph is not that of its metadata; export again"
        )
    return network


def holds_integers(path: Path) -> bool:
    """Whether spikecut wrote this NIR file; BundleError for a file that is none."""
    return "spikecut" in read_graph(path).own


def graph_of(network: IntegerNetwork) -> NirNode:
    """The network as nodes and edges of NIR."""
    nodes = [_node("input", "Input", shape=np.array(network.input.shape))]
    edges: list[tuple[str, str]] = []
    senders = ["input", *(_name(index, layer.name) for index, layer in enumerate(network.layers))]
    for layer, name, paths in zip(network.layers, senders[1:], network.paths, strict=True):
        for number, path in enumerate(paths):
            chain = _synapse(layer, name) if not number else _skip(path.synapse, f"{name}.skip{number}")
            way = [senders[path.source], *(node.name for node in chain), name]
            edges += pairwise(way)
            nodes += chain
        if layer.loop is not None:
            nodes += _weights(layer.loop, f"{name}.recurrent", "", np.zeros(layer.output_shape[0]), {})
            edges += [(name, nodes[-1].name), (nodes[-1].name, name)]
        nodes.append(_neuron(layer, name))
    output = _node("output", "Output", shape=np.array(network.layers[-1].output_shape))
    edges.append((nodes[-1].name, "output"))
    return NirNode(
        "", "NIRGraph", nodes=(*nodes, output), edges=tuple(edges), own={"spikecut": json.dumps(_described(network))}
    )


def _described(network: IntegerNetwork) -> dict[str, Any]:
    layers = [
        {
            "name": layer.name,
            "bias_mantissa": layer.neuron.bias_mantissa.tolist(),
            **{key: _plain(getattr(layer.neuron, key)) for key in KEPT},
            **_since_format_2(layer.neuron),
            **({} if layer.source is None else {"source": layer.source}),
            **({"skips": [skip.source for skip in layer.skips]} if layer.skips else {}),
        }
        for layer in network.layers
    ]
    return {
        "format": _format(network),
        "name": network.name,
        "input": asdict(network.input),
        "readout": network.readout,
        "horizon": network.horizon,
        "layers": layers,
    }


def _format(network: IntegerNetwork) -> int:
    if any(layer.kind == "conv" and layer.recurrent is not None for layer in network.layers):
        return FORMAT_4
    if any(layer.skips or layer.source is not None for layer in network.layers):
        return FORMAT_3
    return FORMAT_2 if any(_since_format_2(layer.neuron) for layer in network.layers) else FORMAT


def _since_format_2(neuron: IntegerNeuron) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if neuron.reset_amount is not None:
        found["reset_amount"] = _plain(neuron.reset_amount)
    if neuron.u_init is not None:
        found["u_init"] = neuron.u_init.tolist()
    if neuron.refractory:
        found["refractory"] = neuron.refractory
    return found


def _plain(parameter: Any) -> Any:
    """An array as lists."""
    return parameter.tolist() if isinstance(parameter, np.ndarray) else parameter


def _parameter(plain: Any) -> Any:
    """Lists as an array."""
    return np.array(plain) if isinstance(plain, list) else plain


def _name(index: int, layer: str) -> str:
    return f"{index}_{layer.replace('/', '.')}"


def _node(name: str, kind: str, **numbers: Any) -> NirNode:
    return NirNode(name, kind, {key: np.asarray(values) for key, values in numbers.items()})


def _synapse(layer: IntegerLayer, name: str) -> list[NirNode]:
    own = {} if layer.delay is None else {"delay": layer.delay}
    bias = np.zeros(layer.output_shape[0]) if _leaks_bias(layer.neuron) else layer.neuron.bias / WEIGHT_UNIT
    return _weights(layer, f"{name}.synapse", f"{name}.flatten", bias, own)


def _skip(skip: Skip, name: str) -> list[NirNode]:
    return _weights(skip, name, f"{name}.flatten", np.zeros(skip.output_shape[0]), {})


def _weights(layer: Synapse, name: str, flatten: str, bias: Array, own: dict[str, Any]) -> list[NirNode]:
    """The nodes of a synapse, the last of which has this name."""
    weight = layer.weight.astype(np.float64)
    if layer.kind == "conv":
        geometry = {key: np.array(getattr(layer, key)) for key in ("stride", "padding", "dilation", "groups")}
        shape = np.array(layer.input_shape[1:])
        return [_node(name, "Conv2d", weight=weight, bias=bias, input_shape=shape, **geometry)]
    kind, numbers = ("Affine", {"weight": weight, "bias": bias}) if bias.any() else ("Linear", {"weight": weight})
    synapse = NirNode(name, kind, numbers, own=own)
    if len(layer.input_shape) == 1:
        return [synapse]
    shape = np.array(layer.input_shape)
    return [_node(flatten, "Flatten", input_type=shape, start_dim=0, end_dim=-1), synapse]


def _leaks_bias(neuron: IntegerNeuron) -> bool:
    """Whether a bias is a v_leak: where the current has a memory, or where it differs inside a channel."""
    return lowest(neuron.decay_u) < DECAY_UNITY or neuron.bias.ndim > 1


def _neuron(layer: IntegerLayer, name: str) -> NirNode:
    neuron, shape = layer.neuron, layer.output_shape
    decays = (per_neuron(decay, shape) for decay in (neuron.decay_u, neuron.decay_v))
    tau_u, tau_v = (np.where(decay == 0, FOREVER, DECAY_UNITY / np.maximum(decay, 1)) for decay in decays)
    numbers: dict[str, Any] = {"r": WEIGHT_UNIT}
    leak = np.zeros(shape)
    if _leaks_bias(neuron):
        leak = per_neuron(neuron.bias, shape) * tau_v + leak
    if lowest(neuron.decay_u) < DECAY_UNITY:
        kind = "CubaLI"
        numbers = {"tau_syn": tau_u, "tau_mem": tau_v, "r": WEIGHT_UNIT * tau_v, "w_in": tau_u}
    elif np.any(neuron.decay_v) or leak.any():
        kind = "LI"
        numbers = {"tau": tau_v, "r": WEIGHT_UNIT * tau_v}
    else:
        kind = "I"
    if neuron.reset != "none":
        kind += "F"
        numbers |= {"v_threshold": per_neuron(neuron.threshold, shape) * WEIGHT_UNIT, "v_reset": 0.0}
    arrays = {key: np.array(np.broadcast_to(value, shape), dtype=np.float64) for key, value in numbers.items()}
    return _node(name, kind, **arrays, **({} if kind in ("I", "IF") else {"v_leak": leak}))


def _network(described: _Network, nodes: Mapping[str, NirNode]) -> IntegerNetwork:
    spec = InputSpec.of(described.input)
    shapes: dict[str, Shape] = {INPUT: spec.shape}
    before = INPUT
    layers = []
    for index, entry in enumerate(described.layers):
        name = _name(index, entry.name)
        synapse, neuron = nodes[f"{name}.synapse"], nodes[name]
        output = neuron.numbers["r"].shape
        geometry = _geometry(synapse)
        if synapse.kind != "Conv2d":
            output = (size(output),)
            geometry["delay"] = synapse.own.get("delay")
        if f"{name}.recurrent" in nodes:
            geometry["recurrent"] = nodes[f"{name}.recurrent"].numbers["weight"]
        layer = IntegerLayer(
            name=entry.name,
            kind="conv" if synapse.kind == "Conv2d" else "dense",
            weight=synapse.numbers["weight"],
            source=entry.source,
            skips=tuple(
                _read_skip(nodes[f"{name}.skip{number}"], source, shapes[source], output)
                for number, source in enumerate(entry.skips, start=1)
            ),
            neuron=IntegerNeuron(
                bias_mantissa=np.array(entry.bias_mantissa),
                **{key: _parameter(getattr(entry, key)) for key in KEPT},
                reset_amount=None if entry.reset_amount is None else _parameter(entry.reset_amount),
                u_init=None if entry.u_init is None else np.array(entry.u_init),
                refractory=entry.refractory,
            ),
            input_shape=shapes[before if entry.source is None else entry.source],
            output_shape=output,
            **geometry,
        )
        layers.append(layer)
        before, shapes[entry.name] = entry.name, output
    return IntegerNetwork(tuple(layers), spec, described.readout, described.horizon, described.name)


def _geometry(synapse: NirNode) -> dict[str, Any]:
    if synapse.kind != "Conv2d":
        return {}
    pairs = {key: synapse.numbers[key].tolist() for key in ("stride", "padding", "dilation")}
    return {key: (pair[0], pair[1]) for key, pair in pairs.items()} | {"groups": int(synapse.numbers["groups"])}


def _read_skip(node: NirNode, source: str, shape: Shape, output: Shape) -> Skip:
    kind: Literal["conv", "dense"] = "conv" if node.kind == "Conv2d" else "dense"
    return Skip(source, kind, node.numbers["weight"], shape, output, **_geometry(node))


def _same(one: NirNode, other: NirNode) -> bool:
    """Whether two graphs hold the same nodes, numbers, edges and delays, in any order."""
    pairs = [({node.name: node for node in graph.nodes}, set(graph.edges)) for graph in (one, other)]
    (nodes, edges), (others, other_edges) = pairs
    if edges != other_edges or nodes.keys() != others.keys():
        return False
    for name, node in nodes.items():
        twin = others[name]
        fields = [({**each.numbers, **each.own}) for each in (node, twin)]
        if node.kind != twin.kind or node.texts != twin.texts or fields[0].keys() != fields[1].keys():
            return False
        if not all(np.array_equal(fields[0][key], fields[1][key]) for key in fields[0]):
            return False
    return True


def _as_package(graph: NirNode, nir: Any) -> Any:
    """The graph in the package's own classes; see write_nir for why they do not check its shapes."""
    nodes = {}
    for node in graph.nodes:
        numbers: dict[str, Any] = dict(node.numbers)
        if "delay" in node.own:
            numbers["metadata"] = {"spikecut_delay": node.own["delay"]}
        if node.kind in ("Input", "Output"):
            nodes[node.name] = getattr(nir, node.kind)(numbers["shape"])
            continue
        for key in ("groups", "start_dim", "end_dim"):
            if key in numbers:
                numbers[key] = int(numbers[key])
        for key in ("stride", "padding", "dilation", "input_shape"):
            if key in numbers:
                numbers[key] = tuple(numbers[key].tolist())
        if node.kind == "Flatten":
            numbers["input_type"] = {"input": numbers["input_type"]}
        nodes[node.name] = getattr(nir, node.kind)(**numbers)
    return nir.NIRGraph(nodes, list(graph.edges), metadata=dict(graph.own), type_check=False)
