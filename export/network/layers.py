"""The networks that travel through spikecut, as frozen data: FloatNetwork, IntegerNetwork, InputSpec.

Shapes are torch's: (channels, height, width) or (features,). Neurons follow, per timestep t,

    u[t] = (1 - decay_u) u[t-1] + Σ W s[t]              synaptic current
    v[t] = (1 - decay_v) v[t-1] + u[t] + b              membrane potential
    s[t] = v[t] > threshold                             spike (`fires` "≥": v[t] ≥ threshold)
    v[t] ← 0                  where s[t], reset "zero"      (hard reset)
    v[t] ← v[t] - threshold   where s[t], reset "subtract"  (soft reset)

With a gain per timestep, gain[t] (u[t] + b) enters v in the place of u[t] + b, see export/network/gain.py.
A readout neuron (`reset` "none") never fires; its membrane is the output. `reset_order` "after_leak" is this one; with
"before_leak" the reset waits for the next step, v[t+1] = (1 - decay_v) v[t] - threshold + ..., which no Process does.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from spikecut.errors import ExportError, InputError
from spikecut.export.network.geometry import MAXIMUM_ELEMENTS, check_geometry
from spikecut.export.network.ranges import NEURON, check_layer, check_name, check_network, frozen_int, whole

if TYPE_CHECKING:
    from spikecut.export.network.skip import FloatSkip, Skip

Encoding = Literal["direct", "bernoulli", "latency", "events"]
Readout = Literal["count", "membrane"]
Reset = Literal["zero", "subtract", "none"]
ResetOrder = Literal["before_leak", "after_leak"]
Fires = Literal[">", ">="]
Kind = Literal["conv", "dense"]
Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Integers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]
Shape = tuple[int, ...]
Pair = tuple[int, int]


def size(shape: Shape) -> int:
    """Number of elements of an array of this shape."""
    return math.prod(shape)


def frozen_float(values: npt.ArrayLike) -> Array:
    """A read-only float64 copy."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class InputSpec:
    """How a user's floats x become the integers that enter the network.

    direct:     q = round((x - zero) / scale), the same frame at every timestep (graded when bits > 0)
    bernoulli:  a spike with probability (x - zero) / scale, drawn independently per timestep from `seed`
    latency:    one spike per input; the larger the value the earlier (see deploy/encode.py)
    events:     x holds whole numbers [N, T, ...], one frame of them a step

    Attributes
    ----------
    shape: (C, H, W) or (F,) of one frame.
    bits: width of a graded message's magnitude in bits; 0 means binary spikes.
    signed: whether graded messages may be negative.
    labels: the classes' names, printable, in the order of the output neurons.
    """

    shape: Shape
    encoding: Encoding
    bits: int = 0
    signed: bool = False
    scale: float = 1.0
    zero: float = 0.0
    seed: int = 0
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "InputSpec":
        """From fields as a file holds them; InputError if one is unknown, missing or of another type."""
        try:
            return cls(**{**fields, "shape": tuple(fields["shape"]), "labels": tuple(fields["labels"])})
        except (ExportError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"the input's description is damaged ({error})") from error

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(whole(side, "input shape") for side in self.shape))
        for key in ("bits", "seed"):
            object.__setattr__(self, key, whole(getattr(self, key), f"input {key}"))
        for label in self.labels:
            check_name(label, "label")
        if len(self.shape) not in (1, 3) or min(self.shape) < 1 or size(self.shape) > MAXIMUM_ELEMENTS:
            raise InputError(f"input shape {self.shape}: expected (features,) or (channels, height, width)")
        if self.encoding not in ("direct", "bernoulli", "latency", "events"):
            raise InputError(f"input encoding {self.encoding!r}: expected direct, bernoulli, latency or events")
        if not 0 <= self.bits <= 24:
            raise InputError(f"input bits {self.bits}: expected 0 (binary spikes) to 24")
        if not (np.isfinite(self.scale) and self.scale > 0 and np.isfinite(self.zero)):
            raise InputError(f"input scale {self.scale}, zero {self.zero}: expected a positive and a finite number")

    @property
    def maximum(self) -> int:
        """Largest integer that a message may carry."""
        return 1 if self.bits == 0 else 2**self.bits - 1

    @property
    def minimum(self) -> int:
        """Smallest integer that a message may carry."""
        return -self.maximum if self.signed and self.bits else 0


@dataclass(frozen=True)
class BatchNorm:
    """Inference-time batch normalisation: y = gamma (x - mean) / sqrt(variance + epsilon) + beta, per channel."""

    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    epsilon: float

    def __post_init__(self) -> None:
        for name in ("gamma", "beta", "mean", "variance"):
            object.__setattr__(self, name, frozen_float(getattr(self, name)))


@dataclass(frozen=True)
class FloatNeuron:
    """A neuron in the user's units. Decays are fractions in [0, 1]; `amplitude` is the value of one spike.

    gain: one per timestep of the horizon, which multiplies current and bias; None for 1.
    """

    threshold: float
    decay_u: float = 1.0
    decay_v: float = 0.0
    v_init: float = 0.0
    reset: Reset = "zero"
    reset_order: ResetOrder = "after_leak"
    fires: Fires = ">"
    amplitude: float = 1.0
    gain: tuple[float, ...] | None = None


@dataclass(frozen=True)
class FloatLayer:
    """One synapse and its neurons, in float: weight (O, I/groups, H, W) or (O, I), bias (O,), optional batch norm.

    skip: a second synapse, from an earlier layer.
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
    skip: "FloatSkip | None" = None

    def __post_init__(self) -> None:
        check_name(self.name, "layer")
        object.__setattr__(self, "weight", frozen_float(self.weight))
        object.__setattr__(self, "bias", frozen_float(self.bias))
        check_geometry(self)
        if not (np.isfinite(self.weight).all() and np.isfinite(self.bias).all()):
            raise ExportError(f"layer {self.name}: a weight or bias is not finite; train again")


@dataclass(frozen=True)
class FloatNetwork:
    """A chain of float layers, as traced from the user's module, before any folding."""

    layers: tuple[FloatLayer, ...]
    input: InputSpec
    readout: Readout
    horizon: int

    def __post_init__(self) -> None:
        check_chain(self.layers, self.input)
        _check_gains(self.layers, self.horizon)


@dataclass(frozen=True)
class IntegerNeuron:
    """A neuron in Loihi's integers; its layer checks their ranges, see export/network/ranges.py.

    Attributes
    ----------
    decay_u, decay_v: 0..4096; u and v keep (4096 - decay)/4096 of their magnitude, rounded towards zero.
    threshold: 0..2^17-1; compared with v as `v > threshold << 6`.
    bias_mantissa: -4096..4095, one per output channel (conv) or neuron (dense); the bias is mantissa · 2^bias_exponent
        in v's units, with an exponent of 0..7. Without any bias the exponent is 6, netx's own.
    v_init: v before the first step of a sample, in v's units, |v| < 2^23.
    gain: one per timestep of the horizon, in 4096ths, -4096..4096; needs decay_u 4096. None for 1. See gain.py.
    """

    threshold: int
    bias_mantissa: IntArray
    decay_u: int = 4096
    decay_v: int = 0
    bias_exponent: int = 6
    v_init: int = 0
    reset: Reset = "zero"
    reset_order: ResetOrder = "after_leak"
    gain: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias_mantissa", frozen_int(self.bias_mantissa, "bias_mantissa"))
        for key in NEURON:
            object.__setattr__(self, key, whole(getattr(self, key), key))
        if self.gain is not None:
            object.__setattr__(self, "gain", tuple(whole(value, "gain") for value in self.gain))
        lowest, highest, _ = NEURON["bias_exponent"]
        if lowest <= self.bias_exponent <= highest and not self.bias_mantissa.any():
            object.__setattr__(self, "bias_exponent", 6)

    @property
    def bias(self) -> IntArray:
        """Effective bias in v's units, int64, one per channel or neuron."""
        return self.bias_mantissa << self.bias_exponent


@dataclass(frozen=True)
class IntegerLayer:
    """One synapse and its neurons in integers: weight int64 (O, I/groups, H, W) or (O, I), even, in [-256, 254].

    Every value is checked when the layer is made: RangeError, see export/network/ranges.py.
    The current is Σ W s, shifted left by 6 on its way into u (Loihi's alignment).
    A dense layer behind a (C, H, W) layer flattens it in torch's order. A `skip` is a second synapse, from an earlier
    layer, whose sums are added: see export/network/skip.py. Only dense layers may have

    delay: 0..62 per synapse, int64 (O, I): a message of step t arrives at step t + delay;
    recurrent: weights (O, O) from the layer's spikes of step t - 1, same units and range as `weight`.
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
    skip: "Skip | None" = None

    def __post_init__(self) -> None:
        check_name(self.name, "layer")
        object.__setattr__(self, "weight", frozen_int(self.weight, f"layer {self.name}: weight"))
        for key in ("stride", "padding", "dilation"):
            rows, columns = getattr(self, key)
            object.__setattr__(self, key, (whole(rows, key), whole(columns, key)))
        object.__setattr__(self, "groups", whole(self.groups, "groups"))
        check_geometry(self)
        self._check_delay_and_recurrence()
        if self.neuron.bias_mantissa.shape != (self.output_shape[0],):
            raise ExportError(
                f"layer {self.name}: bias of shape {self.neuron.bias_mantissa.shape}, expected {self.output_shape[:1]}"
            )
        check_layer(self)

    def _check_delay_and_recurrence(self) -> None:
        outputs = self.output_shape[0]
        for key, want in (("delay", self.weight.shape), ("recurrent", (outputs, outputs))):
            given = getattr(self, key)
            if given is None:
                continue
            object.__setattr__(self, key, frozen_int(given, f"layer {self.name}: {key}"))
            if self.kind != "dense":
                raise ExportError(f"layer {self.name}: {key} on a convolution has no Process; use a dense layer")
            if np.shape(given) != want:
                raise ExportError(f"layer {self.name}: {key} of shape {np.shape(given)}, expected {want}")

    def with_weight(self, weight: npt.ArrayLike) -> "IntegerLayer":
        """The same layer with other weights."""
        return replace(self, weight=np.asarray(weight))


@dataclass(frozen=True)
class IntegerNetwork:
    """A chain of integer layers: what the netx file, the batched engine and the Lava graph all consume."""

    layers: tuple[IntegerLayer, ...]
    input: InputSpec
    readout: Readout
    horizon: int
    name: str = field(default="network")

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizon", whole(self.horizon, "horizon T"))
        check_chain(self.layers, self.input)
        check_network(self)
        _check_gains(self.layers, self.horizon)
        last = self.layers[-1].neuron.reset
        if (self.readout == "membrane") != (last == "none"):
            raise ExportError(f"readout {self.readout!r} does not fit an output layer whose reset is {last!r}")
        if last == "none" and self.layers[-1].recurrent is not None:
            raise ExportError("an output layer that never fires cannot be recurrent")
        for layer in self.layers[:-1]:
            if layer.neuron.reset == "none":
                raise ExportError(f"layer {layer.name}: only the output layer may have neurons that never fire")

    @property
    def depth(self) -> int:
        """Pipeline depth P in hardware steps: the output of step t appears at t + P (DESIGN: a chain of L layers)."""
        return len(self.layers)

    @property
    def input_shape(self) -> Shape:
        """Shape of one input frame."""
        return self.input.shape

    @property
    def classes(self) -> int:
        """Number of output neurons."""
        return size(self.layers[-1].output_shape)


def check_chain(layers: tuple[FloatLayer, ...] | tuple[IntegerLayer, ...], spec: InputSpec) -> None:
    """Raise ExportError unless each layer takes what the one before it gives, and each skip what its source gives."""
    if not layers:
        raise ExportError("the network has no layers")
    shape = spec.shape
    points = [("input", shape)]
    names: set[str] = set()
    for layer in layers:
        if layer.name in names:
            raise ExportError(f"two layers are named {layer.name}")
        names.add(layer.name)
        if layer.input_shape != shape:
            raise ExportError(f"layer {layer.name}: takes {layer.input_shape}, but the one before it gives {shape}")
        if layer.skip is not None:
            _check_skip(layer.name, layer.output_shape, layer.skip, points[:-1])
        shape = layer.output_shape
        points.append((layer.name, shape))


def _check_skip(name: str, output: Shape, skip: "FloatSkip | Skip", earlier: list[tuple[str, Shape]]) -> None:
    """earlier: names and shapes of the input and of the layers before the one that feeds this layer."""
    shapes = [shape for point, shape in earlier if point == skip.source]
    if len(shapes) != 1:
        known = ", ".join(point for point, _ in earlier) or "nothing"
        raise ExportError(
            f"layer {name}: a skip from {skip.source}, which must be exactly one of what lies before the layer that "
            f"feeds it: {known}"
        )
    if skip.input_shape != shapes[0]:
        raise ExportError(f"layer {name}: its skip takes {skip.input_shape}, but {skip.source} gives {shapes[0]}")
    if skip.output_shape != output:
        raise ExportError(f"layer {name}: its skip gives {skip.output_shape}, the layer's own synapse {output}")


def _check_gains(layers: tuple[FloatLayer, ...] | tuple[IntegerLayer, ...], horizon: int) -> None:
    for layer in layers:
        gain = layer.neuron.gain
        if gain is not None and len(gain) != horizon:
            raise ExportError(f"layer {layer.name}: a gain for each of {len(gain)} timesteps, but T = {horizon}")
