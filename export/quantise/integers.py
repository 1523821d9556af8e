"""FloatNetwork → IntegerNetwork: even 8-bit weights, thresholds and biases in Loihi's units, headroom proven."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from spikecut.errors import InputError, RangeError
from spikecut.export.network.arrays import Array, IntArray
from spikecut.export.network.graph import message_range, sources_of
from spikecut.export.network.layers import FloatLayer, FloatNetwork, IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import NETX_BIAS_EXPONENT
from spikecut.export.network.parameters import highest
from spikecut.export.network.skip import FloatSkip, Skip
from spikecut.export.quantise.fold import factors_of, fold
from spikecut.export.quantise.headroom import Ranges, worst_case
from spikecut.export.quantise.neurons import integer_neuron, membrane_bias, netx_neurons, rounded
from spikecut.export.quantise.report import Evidence, LayerReport, layer_report, weight_bits
from spikecut.fixed_point import (
    THRESHOLD_MAXIMUM,
    WEIGHT_BITS_MAXIMUM,
    WEIGHT_BITS_MINIMUM,
    bias_exponent,
    round_weight,
)
from spikecut.models.twin import StagePlan

MEASURED_MARGIN_BITS = 1.0
ROOM = 8
"""Thresholds between rest and where v is clipped, of neurons that may clip."""
LEAST_BITS = 3
"""Of weights, where narrower ones than WEIGHT_BITS_MINIMUM are taken rather than none."""

Range = tuple[int, int]
Measure = Callable[[IntegerNetwork], dict[str, Ranges]]


@dataclass(frozen=True)
class Quantised:
    """An integer network, how each layer was scaled, and what that cost."""

    network: IntegerNetwork
    plans: tuple[StagePlan, ...]
    report: tuple[LayerReport, ...]


def quantise(
    network: FloatNetwork,
    name: str = "network",
    measure: Measure | None = None,
    rounding: bool = False,
    wide: bool = False,
    bits: int = WEIGHT_BITS_MAXIMUM,
) -> Quantised:
    """Fold and quantise a float network to Loihi's integers.

    Each layer takes the widest weights (8 bits, down to 5) for which worst-case sums prove that neither u nor v leaves
    24 bits within the horizon. Where no width is proven, it is the widest for which `measure` (the largest |u| and |v|
    seen on samples, per layer) shows at least one bit of margin. A layer and its skips share one scale.

    rounding: neurons may be approximated, too: a decay becomes the nearest multiple of 1/4096, and v ≥ threshold, where
    no Process fires at equality, v > threshold. Others' networks are trained without thought of either.

    wide: the widest weights that the samples allow, proven or not, are preferred to narrower ones that are proven, down
    to 3 bits. v of a neuron that neither leaks nor resets to 0 may be clipped on samples, at 8 thresholds or more: it
    is in debt, or owes spikes, for long anyway, and the integers stay exact, for the chip, the engines and the twin
    clip alike. u never wraps on samples.

    bits: no weights are wider; rounded to as many in training they lose nothing unless fewer fit (see report).

    Raises
    ------
    UnsupportedError: a neuron's order of reset and leak, or its decays, have no Process.
    RangeError: a layer's threshold, bias or membrane cannot be kept inside the chip's range.
    InputError: bits outside 5 to 8.
    """
    if not WEIGHT_BITS_MINIMUM <= bits <= WEIGHT_BITS_MAXIMUM:
        raise InputError(f"weights of {bits} bits: expected {WEIGHT_BITS_MINIMUM} to {WEIGHT_BITS_MAXIMUM}")
    folded = rounded(fold(network)) if rounding else fold(network)
    search = _Search(netx_neurons(folded), wide, bits)
    layers, plans, unproven = _integer_layers(network, folded, search)
    result = IntegerNetwork(tuple(layers), network.input, network.readout, network.horizon, name)
    result, measured = _measured(result, folded, plans, unproven, measure, search)
    unfolded = [layer.neuron for layer in network.layers]
    report = tuple(
        layer_report(before, neuron, after, plan, _ranges(result, depth, measured), _evidence(measured, after, wide))
        for depth, (before, neuron, after, plan) in enumerate(
            zip(folded.layers, unfolded, result.layers, plans, strict=True)
        )
    )
    return Quantised(result, tuple(plans), report)


@dataclass(frozen=True)
class _Search:
    """What layers are looked for. netx: such as netx can express; wide, most: see quantise."""

    netx: bool
    wide: bool
    most: int

    @property
    def least(self) -> int:
        """Bits of the narrowest weights."""
        return LEAST_BITS if self.wide else WEIGHT_BITS_MINIMUM


def _integer_layers(
    network: FloatNetwork, folded: FloatNetwork, search: _Search
) -> tuple[list[IntegerLayer], list[StagePlan], list[int]]:
    """The layers in integers, how each was scaled, and the depths of those that are not proven to fit."""
    layers: list[IntegerLayer] = []
    plans: list[StagePlan] = []
    unproven: list[int] = []
    factors = factors_of(network)
    for depth, (layer, sources) in enumerate(zip(folded.layers, sources_of(folded.layers), strict=True)):
        messages = [message_range(network, source) for source in sources]
        integer, plan, proven = _widest(layer, folded.horizon, messages, factors[depth], search)
        layers.append(integer)
        plans.append(plan)
        if not proven:
            unproven.append(depth)
    return layers, plans, unproven


def _widest(
    layer: FloatLayer, horizon: int, messages: list[Range], factors: tuple[float, ...], search: _Search
) -> tuple[IntegerLayer, StagePlan, bool]:
    """The widest proven version of a layer; where there is none, or if `wide`, the widest of all, perhaps unproven.

    messages, factors: ranges and units of what its own synapse and its skips take.
    """
    widest: tuple[IntegerLayer, StagePlan] | None = None
    beyond: RangeError | None = None
    for bits in range(search.most, search.least - 1, -1):
        try:
            integer, plan = _with_bits(layer, bits, search.netx, factors)
        except RangeError as error:  # a threshold or bias too large at this scale; a narrower weight has a smaller one
            beyond = error
            continue
        if worst_case(integer, horizon, *messages[0], messages[1:]).fits:
            return integer, plan, True
        if search.wide and _may_clip(integer) and ROOM * highest(integer.neuron.threshold) > THRESHOLD_MAXIMUM:
            beyond = RangeError(f"its threshold leaves less than {ROOM} thresholds to where v is clipped")
            continue
        widest = widest or (integer, plan)
        if search.wide:
            break
    if widest is None:
        raise RangeError(f"layer {layer.name}: {beyond}") from beyond
    return (*widest, False)


def _may_clip(layer: IntegerLayer) -> bool:
    """Whether v may be clipped without harm: it is the sum of what came in, less a threshold a spike."""
    neuron = layer.neuron
    simple = neuron.gain is None and not neuron.refractory
    return neuron.reset == "subtract" and not np.any(neuron.decay_v) and simple


def _margin(layer: IntegerLayer, ranges: Ranges, wide: bool) -> float:
    """Bits of headroom that count for this layer."""
    return ranges.current_bits if wide and _may_clip(layer) else ranges.bits


def _evidence(measured: dict[str, Ranges], layer: IntegerLayer, wide: bool) -> Evidence:
    """What a layer's headroom rests on."""
    if layer.name not in measured:
        return "proven"
    return "clipped" if wide and _may_clip(layer) and not measured[layer.name].fits else "measured"


def _with_bits(layer: FloatLayer, bits: int, netx: bool, factors: tuple[float, ...]) -> tuple[IntegerLayer, StagePlan]:
    """The layer with weights of `bits` bits (sign included), doubled to Loihi's even weights."""
    largest = float(np.abs(layer.weight).max())
    if largest == 0:
        raise RangeError("all weights are zero; nothing would ever reach it")
    for skip in layer.skips:
        largest = max(largest, float(np.abs(skip.weight).max()))
    if layer.recurrent is not None:
        largest = max(largest, float(np.abs(layer.recurrent).max()))
    scale = 2.0 * (2 ** (bits - 1) - 1) / largest
    exponent = NETX_BIAS_EXPONENT if netx else bias_exponent(float(np.abs(membrane_bias(layer)).max()), scale)
    neuron = integer_neuron(layer, scale, exponent)
    integer = IntegerLayer(
        name=layer.name,
        kind=layer.kind,
        weight=_kept(layer.weight, scale, "its own weights", "the others"),
        neuron=neuron,
        input_shape=layer.input_shape,
        output_shape=layer.output_shape,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
        recurrent=None if layer.recurrent is None else _kept(layer.recurrent, scale, "the recurrent weights"),
        delay=layer.delay,
        skips=tuple(_integer_skip(skip, scale) for skip in layer.skips),
        source=layer.source,
    )
    return integer, StagePlan(scale, exponent, factors[0], factors[1:])


def _kept(weight: Array, scale: float, what: str, beside: str = "its own") -> IntArray:
    """Rounded weights; RangeError where those of a layer's other synapse, whose scale they share, leave nothing."""
    rounded = round_weight(weight, scale)
    if weight.any() and not rounded.any():
        raise RangeError(f"{what} are too small beside {beside}: all round to 0, and are lost")
    return rounded


def _integer_skip(skip: FloatSkip, scale: float) -> Skip:
    return Skip(
        skip.source,
        skip.kind,
        _kept(skip.weight, scale, f"the weights of its {skip.name}"),
        skip.input_shape,
        skip.output_shape,
        skip.stride,
        skip.padding,
        skip.dilation,
        skip.groups,
    )


def measured_ranges(
    network: IntegerNetwork, names: list[str], measure: Measure | None, reason: str
) -> dict[str, Ranges]:
    """Ranges on samples of the layers named, whose worst case does not fit; RangeError without one bit of margin."""
    if not names:
        return {}
    if measure is None:
        raise RangeError(
            f"layer {names[0]}: {reason}; shorten the horizon or the fan-in, or give samples to measure the range on"
        )
    measured = measure(network)
    for name in names:
        if measured[name].bits < MEASURED_MARGIN_BITS:
            raise too_close(name, measured[name].bits, " (1 bit is the least margin)")
    return {name: measured[name] for name in names}


def _measured(
    network: IntegerNetwork,
    folded: FloatNetwork,
    plans: list[StagePlan],
    unproven: list[int],
    measure: Measure | None,
    search: _Search,
) -> tuple[IntegerNetwork, dict[str, Ranges]]:
    """The network with its unproven layers made as narrow as the samples ask for, and the ranges that they gave.

    plans: those of the layers that become narrower are replaced.
    """
    if not unproven:
        return network, {}
    if measure is None:
        raise RangeError(
            f"layer {network.layers[unproven[0]].name}: no weight width from {WEIGHT_BITS_MAXIMUM} to "
            f"{WEIGHT_BITS_MINIMUM} bits is proven to keep u and v within 24 bits; shorten the horizon or the "
            "fan-in, or give samples to measure the range on"
        )
    layers = list(network.layers)
    while True:
        measured = measure(network)
        margins = {depth: _margin(layers[depth], measured[layers[depth].name], search.wide) for depth in unproven}
        close = [depth for depth, margin in margins.items() if margin < MEASURED_MARGIN_BITS]
        if not close:
            return network, {layers[depth].name: measured[layers[depth].name] for depth in unproven}
        for depth in close:
            layer = layers[depth]
            width = max(map(weight_bits, _weights(layer)))
            bits = width - int(np.ceil(MEASURED_MARGIN_BITS - margins[depth]))
            if bits < search.least:
                raise too_close(layer.name, margins[depth], f" (weights of {width} bits; 1 bit is the least margin)")
            factors = (plans[depth].input_factor, *plans[depth].skip_factors)
            layers[depth], plans[depth] = _with_bits(folded.layers[depth], bits, netx_neurons(folded), factors)
        network = replace(network, layers=tuple(layers))


def _weights(layer: IntegerLayer) -> list[IntArray]:
    """All weights of a layer, which share its scale."""
    more = [] if layer.recurrent is None else [layer.recurrent]
    return [layer.weight, *more, *(skip.weight for skip in layer.skips)]


def too_close(layer: str, bits: float, which: str) -> RangeError:
    """The refusal of a layer whose samples leave so many bits of the 24, fewer than 0 beyond them."""
    reached = f"come within {bits:.2f} bits of" if bits >= 0 else f"go {-bits:.2f} bits beyond"
    return RangeError(
        f"layer {layer}: samples {reached} the 24-bit range{which}; shorten the horizon, or train with smaller "
        "membranes"
    )


def _ranges(network: IntegerNetwork, depth: int, measured: dict[str, Ranges]) -> Ranges:
    layer = network.layers[depth]
    if layer.name in measured:
        return measured[layer.name]
    own, *skips = (message_range(network, path.source) for path in network.paths[depth])
    return worst_case(layer, network.horizon, *own, skips)
