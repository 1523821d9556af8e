"""What quantisation did to one layer, in numbers: rounding errors and headroom."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from spikecut.export.network.arrays import IntArray
from spikecut.export.network.layers import FloatLayer, IntegerLayer
from spikecut.export.network.neurons import FloatNeuron
from spikecut.export.network.parameters import FloatParameter, beside
from spikecut.export.quantise.headroom import Ranges
from spikecut.fixed_point import DECAY_UNITY, GAIN_UNITY, WEIGHT_STEP, WEIGHT_UNIT
from spikecut.models.twin import StagePlan

Evidence = Literal["proven", "measured", "clipped"]
"""What a layer's headroom rests on."""


@dataclass(frozen=True)
class LayerReport:
    """What quantisation did to one layer. Errors are in float units of the folded network.

    Attributes
    ----------
    scale: integer weight units per float unit.
    weight_bits: bits of the weight's mantissa, sign included; weights are mantissa · 2.
    weight_error_max, weight_error_rms: rounding error of the weights, those of the layer's own spikes among them.
    threshold_error, bias_error_max: largest rounding error of thresholds and biases.
    decay_error_u, decay_error_v: rounding error of the decays, fractions per timestep.
    gain_error_max: rounding error of the gains per timestep, in parts of the largest, which is in the weights. Besides,
        the product is cut off towards zero, by less than one unit of v, 1 / (64 · scale).
    headroom_bits: doublings left before u wraps or v clips; `headroom` says whether proven or measured; "clipped":
        measured of u alone, for v reaches the end of its 24 bits and is clipped there, as the chip clips it.
    skip_weight_error_max: rounding error of its skips' weights; None without a skip.
    """

    name: str
    scale: float
    weight_bits: int
    weight_error_max: float
    weight_error_rms: float
    threshold_error: float
    bias_error_max: float
    decay_error_u: float
    decay_error_v: float
    gain_error_max: float
    bias_exponent: int
    headroom_bits: float
    headroom: Evidence
    skip_weight_error_max: float | None = None


def weight_bits(weight: IntArray) -> int:
    """Bits of the largest mantissa, sign included; weights are mantissa · 2."""
    return int(np.ceil(np.log2(np.abs(weight).max() / WEIGHT_STEP + 1))) + 1


def layer_report(
    before: FloatLayer, neuron: FloatNeuron, after: IntegerLayer, plan: StagePlan, ranges: Ranges, evidence: Evidence
) -> LayerReport:
    """What became of a layer. before: folded. neuron: the unfolded layer's. ranges, evidence: of its headroom."""
    error = (after.weight / plan.scale - before.weight).reshape(-1)
    bits = weight_bits(after.weight)
    if before.recurrent is not None and after.recurrent is not None:
        error = np.append(error, after.recurrent / plan.scale - before.recurrent)
        bits = max(bits, weight_bits(after.recurrent))
    spiking = after.neuron.reset != "none"
    bias = after.neuron.bias / plan.scale / WEIGHT_UNIT
    if after.neuron.u_init is not None:  # of a bias that enters the current, see export/network/neurons.py
        bias, decay_u = beside(bias, after.neuron.decay_u)
        bias = bias * decay_u / DECAY_UNITY
    given, drive = beside(before.bias, before.neuron.drive)
    gains = np.array(before.neuron.gain or ()), np.array(after.neuron.gain or ()) / GAIN_UNITY
    return LayerReport(
        name=after.name,
        scale=plan.scale,
        weight_bits=bits,
        weight_error_max=float(np.abs(error).max()),
        weight_error_rms=float(np.sqrt(np.mean(error**2))),
        threshold_error=_largest(after.neuron.threshold / plan.scale, before.neuron.threshold) if spiking else 0.0,
        bias_error_max=_largest(bias, given if drive is None else given + drive),
        decay_error_u=_largest(after.neuron.decay_u / DECAY_UNITY, neuron.decay_u),
        decay_error_v=_largest(after.neuron.decay_v / DECAY_UNITY, neuron.decay_v),
        gain_error_max=float(np.abs(gains[1] - gains[0]).max(initial=0.0)),
        bias_exponent=plan.bias_exponent,
        headroom_bits=ranges.current_bits if evidence == "clipped" else ranges.bits,
        headroom=evidence,
        skip_weight_error_max=_skip_error(before, after, plan.scale),
    )


def _largest(after: FloatParameter, before: FloatParameter) -> float:
    """The largest magnitude of a difference."""
    one, other = beside(after, before)
    return float(np.max(np.abs(one - other)))


def _skip_error(before: FloatLayer, after: IntegerLayer, scale: float) -> float | None:
    skips = zip(before.skips, after.skips, strict=True)
    return max((float(np.abs(new.weight / scale - old.weight).max()) for old, new in skips), default=None)
