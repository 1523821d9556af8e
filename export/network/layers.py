"""The networks that travel through spikecut, as frozen data: FloatNetwork and IntegerNetwork, graphs of layers.

Layers are listed so that each comes after all that it takes from: by its own synapse from `source`, the layer listed
before it if none is named, and by its skips. All sums of a timestep add up: see export/network/graph.py.

Shapes are torch's: (channels, height, width) or (features,). Neurons follow, per timestep t,

    u[t] = (1 - decay_u) u[t-1] + Σ W s[t]              synaptic current
    v[t] = (1 - decay_v) v[t-1] + u[t] + b              membrane potential
    s[t] = v[t] > threshold                             spike (`fires` "≥": v[t] ≥ threshold)
    v[t] ← 0                  where s[t], reset "zero"      (hard reset)
    v[t] ← v[t] - threshold   where s[t], reset "subtract"  (soft reset, perhaps by another amount)

See export/network/neurons.py. A readout neuron (`reset` "none") never fires; its membrane is the output. Networks of
sigma-delta neurons send graded messages instead, see export/network/sigma_delta.py.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from spikecut.errors import ExportError, InputError, RangeError, UnsupportedError
from spikecut.export.network.arrays import (
    Array,
    BatchNorm,
    IntArray,
    Pair,
    Shape,
    frozen_float,
    frozen_int,
    size,
    whole,
)
from spikecut.export.network.geometry import MAXIMUM_ELEMENTS, Kind, around, check_geometry, elements
from spikecut.export.network.graph import Path, depths_of, paths_of, unheard
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.names import check_name
from spikecut.export.network.neurons import VARIABLE, FloatNeuron, IntegerNeuron, check_neuron, reset_of
from spikecut.export.network.parameters import check_shape, per_neuron, said
from spikecut.export.network.ranges import check_values, check_weight
from spikecut.export.network.skip import INPUT, FloatSkip, Skip
from spikecut.fixed_point import BIAS_MAXIMUM, DELAY_MAXIMUM, STATE_LIMIT
from spikecut.text import brief, columns, sides

Readout = Literal["count", "membrane"]
MAXIMUM_HORIZON = 2**20


@dataclass(frozen=True)
class FloatLayer:
    """One synapse and its neurons, in float: weight (O, I/groups, H, W) or (O, I), bias (O,), optional batch norm.

    source: name of the earlier layer, or "input", that it takes from; None for the layer listed before it.
    skips: more synapses, from earlier layers. recurrent: from its own spikes of the timestep before, see
    export/network/geometry.py. delay: as that of an IntegerLayer.
    """

    name: str
    kind: Kind
    weight: Array
    bias: Array
    neuron: FloatNeuron
    input_shape: Shape
    output_shape: Shape
    batch_norm: BatchNorm | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    skips: tuple[FloatSkip, ...] = ()
    recurrent: Array | None = None
    source: str | None = None
    delay: IntArray | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        check_name(self.name, "layer")
        object.__setattr__(self, "weight", frozen_float(self.weight))
        object.__setattr__(self, "bias", frozen_float(self.bias))
        check_geometry(self)
        for key in VARIABLE:
            check_shape(getattr(self.neuron, key), self.output_shape, f"layer {self.name}: {key}")
        if self.recurrent is not None:
            object.__setattr__(self, "recurrent", frozen_float(self.recurrent))
            around(self.recurrent, self.kind, self.output_shape, self.name)
        weights = [self.weight, self.bias] if self.recurrent is None else [self.weight, self.bias, self.recurrent]
        if not all(np.isfinite(each).all() for each in weights):
            raise ExportError(f"layer {self.name}: a weight or bias is not finite; train again")


@dataclass(frozen=True)
class FloatNetwork:
    """A graph of float layers, as traced from the user's module, before any folding."""

    layers: tuple[FloatLayer, ...]
    input: InputSpec
    readout: Readout
    horizon: int

    __repr__ = brief

    def __post_init__(self) -> None:
        check_graph(self.layers, self.input)
        _check_gains(self.layers, self.horizon)


@dataclass(frozen=True)
class IntegerLayer:
    """One synapse and its neurons in integers: weight int64 (O, I/groups, H, W) or (O, I), even, in [-256, 254].

    Every value is checked when the layer is made: RangeError, see export/network/ranges.py.
    The current is Σ W s, shifted left by 6 on its way into u (Loihi's alignment).
    A dense layer behind a (C, H, W) layer flattens it in torch's order. `skips` are more synapses, from earlier layers
    or the input, whose sums are added: see export/network/skip.py. `source` names the earlier layer, or "input", that
    the layer's own synapse takes from; None for the layer listed before it.

    recurrent: weights from the layer's spikes of step t - 1, same units and range as `weight`: (O, O), or those of a
    convolution (C, C/groups, H, W), see export/network/geometry.py; `loop` is the synapse that they make.
    delay: of dense layers, 0..62 per synapse, int64 (O, I): a message of step t arrives at step t + delay.
    """

    name: str
    kind: Kind
    weight: IntArray
    neuron: IntegerNeuron
    input_shape: Shape
    output_shape: Shape
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    delay: IntArray | None = None
    recurrent: IntArray | None = None
    skips: tuple[Skip, ...] = ()
    source: str | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        check_name(self.name, "layer")
        object.__setattr__(self, "weight", frozen_int(self.weight, f"layer {self.name}: weight"))
        for key in ("stride", "padding", "dilation"):
            rows, columns = getattr(self, key)
            object.__setattr__(self, key, (whole(rows, key), whole(columns, key)))
        object.__setattr__(self, "groups", whole(self.groups, "groups"))
        object.__setattr__(self, "skips", tuple(self.skips))
        check_geometry(self)
        self._check_delay_and_recurrence()
        shape = self.neuron.bias_mantissa.shape
        if shape not in (self.output_shape[:1], self.output_shape):
            raise ExportError(f"layer {self.name}: bias of shape {shape}, expected {self.output_shape[:1]}")
        _check_layer(self)

    def _check_delay_and_recurrence(self) -> None:
        for key in ("delay", "recurrent"):
            given = getattr(self, key)
            if given is not None:
                object.__setattr__(self, key, frozen_int(given, f"layer {self.name}: {key}"))
        if self.delay is not None and self.kind != "dense":
            raise ExportError(f"layer {self.name}: delay on a convolution has no Process; use a dense layer")
        if self.delay is not None and self.delay.shape != self.weight.shape:
            raise ExportError(f"layer {self.name}: delay of shape {self.delay.shape}, expected {self.weight.shape}")
        if self.recurrent is not None:
            around(self.recurrent, self.kind, self.output_shape, self.name)

    @cached_property
    def loop(self) -> Skip | None:
        """The recurrent synapse, as one from the layer to itself; None without."""
        if self.recurrent is None:
            return None
        kind, padding, groups = around(self.recurrent, self.kind, self.output_shape, self.name)
        shape = self.output_shape
        return Skip(self.name, kind, self.recurrent, shape, shape, padding=padding, groups=groups)

    def neurons(self) -> IntArray:
        """Threshold, decays of u and v, v(0), and what a soft reset subtracts, of every neuron: [5, *output_shape]."""
        neuron = self.neuron
        given = neuron.threshold, neuron.decay_u, neuron.decay_v, neuron.v_init, neuron.subtracted
        return np.stack([per_neuron(each, self.output_shape) for each in given])

    def with_weight(self, weight: npt.ArrayLike) -> "IntegerLayer":
        """The same layer with other weights."""
        return replace(self, weight=np.asarray(weight))


@dataclass(frozen=True)
class IntegerNetwork:
    """A graph of integer layers: what the netx file, the batched engine and the Lava graph all consume.

    Layers have numbers, in the order of the list, from 1; the input is 0. The last one is the output.
    """

    layers: tuple[IntegerLayer, ...]
    input: InputSpec
    readout: Readout
    horizon: int
    name: str = field(default="network")

    __repr__ = brief

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizon", whole(self.horizon, "horizon T"))
        check_graph(self.layers, self.input)
        names = [INPUT, *(layer.name for layer in self.layers[:-1])]
        object.__setattr__(self, "layers", tuple(map(_plain, self.layers, names)))
        _check_network(self)
        _check_graded(self)
        _check_gains(self.layers, self.horizon)
        last = self.layers[-1].neuron.reset
        if (self.readout == "membrane") != (last == "none"):
            raise ExportError(f"readout {self.readout!r} does not fit an output layer whose reset is {last!r}")
        if last == "none" and self.layers[-1].recurrent is not None:
            raise ExportError("an output layer that never fires cannot be recurrent")
        for layer in self.layers[:-1]:
            if layer.neuron.reset == "none":
                raise ExportError(f"layer {layer.name}: only the output layer may have neurons that never fire")

    def __str__(self) -> str:
        """A line for the network, and a table with a line per layer."""
        title = (
            f"{self.name}: {self.input}; {self.classes} classes, horizon T = {self.horizon}, pipeline depth "
            f"P = {self.depth}, readout {self.readout}"
        )
        rows = [("layer", "kind", "output", "weights", "threshold", "decay u, v", "reset")]
        for layer in self.layers:
            neuron = layer.neuron
            kind = layer.kind if layer.source is None else f"{layer.kind} from {layer.source}"
            kind = ", ".join([kind, *map(str, layer.skips)])
            decays = f"{said(neuron.decay_u, 'd')}, {said(neuron.decay_v, 'd')}" if neuron.sigma_delta is None else ""
            cells = (f"{layer.weight.size:,}", said(neuron.threshold, ",d"), decays, reset_of(neuron))
            rows.append((layer.name, kind, sides(layer.output_shape), *cells))
        return f"{title}\n{columns(rows, right=frozenset({3, 4, 5}))}"

    @property
    def depth(self) -> int:
        """Pipeline depth P in hardware steps: the output of step t appears at t + P. A chain has that of its length."""
        return self.depths[-1]

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Hardware steps from the input to each layer by number, on the longest path; of the input, the first, 0."""
        return depths_of(self.layers)

    @cached_property
    def paths(self) -> tuple[tuple[Path, ...], ...]:
        """What each layer takes: by its own synapse, which comes first, and by its skips. Of layer n: paths[n - 1]."""
        return paths_of(self.layers)

    @property
    def branches(self) -> bool:
        """Whether it is more than a chain whose layers have at most a skip each."""
        return any(
            len(skips) > 1 or own.source != own.target - 1 or any(skip.steps == 0 for skip in skips)
            for own, *skips in self.paths
        )

    @property
    def input_shape(self) -> Shape:
        """Shape of one input frame."""
        return self.input.shape

    @property
    def classes(self) -> int:
        """Number of output neurons."""
        return size(self.layers[-1].output_shape)


def _plain(layer: IntegerLayer, before: str) -> IntegerLayer:
    """The layer with no source named where it is the one listed before it."""
    return replace(layer, source=None) if layer.source == before else layer


def check_graph(layers: tuple[FloatLayer, ...] | tuple[IntegerLayer, ...], spec: InputSpec) -> None:
    """Raise ExportError unless each synapse takes what its source gives, and all that is sent reaches the output."""
    if not layers:
        raise ExportError("the network has no layers")
    points = [(INPUT, spec.shape)]
    names: set[str] = set()
    for layer in layers:
        if layer.name in names:
            raise ExportError(f"two layers are named {layer.name}")
        names.add(layer.name)
        _check_source(layer, points)
        for skip in layer.skips:
            _check_skip(layer.name, layer.output_shape, skip, points)
        points.append((layer.name, layer.output_shape))
    lost = unheard(layers)
    if lost:
        raise ExportError(
            f"layer {layers[lost[0] - 1].name}: no path leads from it to the output, layer {layers[-1].name}; leave it "
            "out"
        )


def _check_source(layer: FloatLayer | IntegerLayer, earlier: list[tuple[str, Shape]]) -> None:
    """earlier: names and shapes of the input and of the layers listed before this one."""
    before, shape = earlier[-1]
    if layer.source is None:
        before = "the one before it"
    elif layer.source != before:
        before, shape = layer.source, _shape_of(layer.name, "takes", layer.source, earlier)
    if layer.input_shape != shape:
        raise ExportError(f"layer {layer.name}: takes {layer.input_shape}, but {before} gives {shape}")


def _shape_of(name: str, what: str, source: str, earlier: list[tuple[str, Shape]]) -> Shape:
    shapes = [shape for point, shape in earlier if point == source]
    if len(shapes) != 1:
        known = ", ".join(point for point, _ in earlier)
        raise ExportError(
            f"layer {name}: {what} from {source}, which must be exactly one of what is listed before it: {known}"
        )
    return shapes[0]


def _check_skip(name: str, output: Shape, skip: FloatSkip | Skip, earlier: list[tuple[str, Shape]]) -> None:
    shape = _shape_of(name, "a skip", skip.source, earlier)
    if skip.input_shape != shape:
        raise ExportError(f"layer {name}: its skip takes {skip.input_shape}, but {skip.source} gives {shape}")
    if skip.output_shape != output:
        raise ExportError(f"layer {name}: its skip gives {skip.output_shape}, the layer's own synapse {output}")


def _check_gains(layers: tuple[FloatLayer, ...] | tuple[IntegerLayer, ...], horizon: int) -> None:
    for layer in layers:
        gain = layer.neuron.gain
        if gain is not None and len(gain) != horizon:
            raise ExportError(f"layer {layer.name}: a gain for each of {len(gain)} timesteps, but T = {horizon}")


def _check_layer(layer: IntegerLayer) -> None:
    """Raise RangeError, or UnsupportedError, that names layer, field and value, for what chip and Lava cannot hold."""
    where = f"layer {layer.name}"
    if not passes_input(layer):
        check_weight(layer.weight, f"{where}: weight", layer.kind)
    if layer.recurrent is not None:
        check_weight(layer.recurrent, f"{where}: recurrent weight", layer.kind)
    for skip in layer.skips:
        check_weight(skip.weight, f"{where}: weight of its skip", skip.kind)
    if layer.delay is not None:
        check_values(layer.delay, 0, DELAY_MAXIMUM, f"{where}: delay", "what Loihi 2 can hold")
    check_neuron(layer.neuron, layer.output_shape, where)


def passes_input(layer: IntegerLayer) -> bool:
    """Whether a layer's weights are the identity: netx's input neurons, which get the input as their bias."""
    weight = layer.weight
    if layer.recurrent is not None or layer.delay is not None or layer.skips:
        return False
    if weight.max() != 1 or weight.min() < 0:
        return False
    if layer.kind == "dense":
        return len(weight) == weight.shape[1] and np.array_equal(weight, np.eye(len(weight)))
    own = layer.groups == layer.input_shape[0] and weight.shape[1:] == (1, 1, 1)
    own = own and layer.padding == (0, 0) and layer.input_shape == layer.output_shape
    return bool(own and weight.min() == 1)


def _check_network(network: IntegerNetwork) -> None:
    """Raise InputError or ExportError for what the layers alone do not show: name, horizon, input neurons, size."""
    check_name(network.name, "network name")
    if network.readout not in ("count", "membrane"):
        raise ExportError(f"readout {network.readout!r}: expected count or membrane")
    if not 1 <= network.horizon <= MAXIMUM_HORIZON:
        raise InputError(f"horizon T = {network.horizon}: expected 1 to {MAXIMUM_HORIZON} timesteps")
    for layer in network.layers[1:]:
        if passes_input(layer):
            raise RangeError(f"layer {layer.name}: weight 1 is odd, and only input neurons, the first layer, take it")
    biased = network.layers[0].neuron.sigma_delta is None and passes_input(network.layers[0])
    if biased and network.input.maximum > BIAS_MAXIMUM:
        raise UnsupportedError(
            f"layer {network.layers[0].name}: input neurons take messages of 12 bits, as their bias, the input has "
            f"{network.input.bits}"
        )
    total = sum(elements(path.synapse) for paths in network.paths for path in paths)
    total += sum(elements(layer.loop) for layer in network.layers if layer.loop is not None)
    if total > MAXIMUM_ELEMENTS:
        raise ExportError(f"a network that needs {total} numbers for one sample; at most {MAXIMUM_ELEMENTS} are held")


def _check_graded(network: IntegerNetwork) -> None:
    """Raise UnsupportedError or RangeError for what sigma-delta neurons do not have around them."""
    if all(layer.neuron.sigma_delta is None for layer in network.layers):
        return
    for layer in network.layers:
        given, where = layer.neuron.sigma_delta, f"layer {layer.name}"
        if given is None:
            raise UnsupportedError(f"{where}: neurons that spike among sigma-delta ones; use one kind for all")
        if layer.delay is not None or layer.recurrent is not None:
            raise UnsupportedError(f"{where}: a delay or a recurrence of graded messages; only of spikes they are run")
        if not given.decodes:
            if layer is not network.layers[0] or not passes_input(layer):
                raise UnsupportedError(f"{where}: an encoder of the input must be the first layer, with weights of 1")
            if network.input.maximum << given.shift >= STATE_LIMIT:
                bits = (STATE_LIMIT >> given.shift).bit_length() - 1
                raise RangeError(f"{where}: an input of {network.input.bits} bits; an encoder takes at most {bits}")
