"""Neurons, in the user's floats and in Loihi's integers.

Per timestep t,

    u[t] = (1 - decay_u) u[t-1] + Σ W s[t]              synaptic current
    v[t] = (1 - decay_v) v[t-1] + u[t] + b              membrane potential
    s[t] = v[t] > threshold                             spike (`fires` "≥": v[t] ≥ threshold)
    v[t] ← 0                  where s[t], reset "zero"      (hard reset)
    v[t] ← v[t] - threshold   where s[t], reset "subtract"  (soft reset; of integers by `subtracted`)

Reset "adapt" is that of lava-dl's ALIF: v is not reset, the threshold rises, see export/network/adaptation.py. Reset
"delta" is none: sigma-delta neurons send changes of an activation, see export/network/sigma_delta.py.
With a refractory period of R timesteps, `refractory`, v stays as the reset left it at t+1, …, t+R, and nothing fires;
the current u goes on. So does Lava's LIFRefractory; v is set to 0 in the timestep after a spike by R = 1.

With a gain per timestep, gain[t] (u[t] + b) enters v in the place of u[t] + b, see export/network/gain.py.
A readout neuron (`reset` "none") never fires; its membrane is the output. `reset_order` "after_leak" is this one; with
"before_leak" the reset waits for the next step, v[t+1] = (1 - decay_v) v[t] - threshold + ..., as in snnTorch. In
floats that is a soft reset in the spike's own step by threshold / (1 - decay_v), since this much leaks to the
threshold; integers have that amount, rounded once, and no order.

A bias b that enters the current (`bias_enters`) instead of the membrane, u[t] = (1 - decay_u) u[t-1] + Σ W s[t] + b,
makes u rise to b / decay_u: in floats the same as a bias b / decay_u of the membrane and u[0] = -b / decay_u, `u_init`.

Threshold, decays, v(0) and the amount of a soft reset are one number for a layer, or one per channel or per neuron, see
export/network/parameters.py.
"""

from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np

from spikecut.errors import ExportError, UnsupportedError
from spikecut.export.network.adaptation import FIELDS as ADAPTATION
from spikecut.export.network.adaptation import Adaptation, FloatAdaptation
from spikecut.export.network.arrays import Array, IntArray, Shape, frozen_int, whole
from spikecut.export.network.gain import check_gain
from spikecut.export.network.parameters import (
    FloatParameter,
    Parameter,
    beside,
    check_shape,
    differs,
    differs_inside_channels,
    equal,
    float_parameter,
    integer_parameter,
    lowest,
    per_channel,
    said,
)
from spikecut.export.network.ranges import NEURON, SMALLER, check_values
from spikecut.export.network.sigma_delta import SigmaDelta, check_sigma_delta
from spikecut.fixed_point import ALIGNMENT_SHIFT, BIAS_MAXIMUM, BIAS_MINIMUM, DECAY_UNITY, STATE_LIMIT, WEIGHT_UNIT
from spikecut.text import brief

Reset = Literal["zero", "subtract", "none", "adapt", "delta"]
ResetOrder = Literal["before_leak", "after_leak"]
Fires = Literal[">", ">="]
VARIABLE = ("threshold", "decay_u", "decay_v", "v_init")
"""What may be one number, or one per channel or neuron."""
NETX_BIAS_EXPONENT = ALIGNMENT_SHIFT
"""The exponent of a bias in weight units, which netx knows alone."""


@dataclass(frozen=True)
class FloatNeuron:
    """A neuron in the user's units. Decays are fractions in [0, 1]; `amplitude` is the value of one spike.

    gain: one per timestep of the horizon, which multiplies current and bias; None for 1.
    bias_enters: the membrane, or the current, in which it decays as all that came in does.
    refractory: timesteps after a spike in which v stays as it is and nothing fires.
    adaptation: of reset "adapt", and of no other. drive: what v gains in each timestep beside u and the bias of its
    channel, float64 (C, H, W).
    """

    threshold: FloatParameter
    decay_u: FloatParameter = 1.0
    decay_v: FloatParameter = 0.0
    v_init: FloatParameter = 0.0
    reset: Reset = "zero"
    reset_order: ResetOrder = "after_leak"
    fires: Fires = ">"
    amplitude: float = 1.0
    gain: tuple[float, ...] | None = None
    bias_enters: Literal["membrane", "current"] = "membrane"
    refractory: int = 0
    adaptation: FloatAdaptation | None = None
    drive: Array | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        for key in VARIABLE:
            object.__setattr__(self, key, float_parameter(getattr(self, key)))


@dataclass(frozen=True)
class IntegerNeuron:
    """A neuron in Loihi's integers; its layer checks their ranges and shapes, see export/network/ranges.py.

    decay_u, decay_v, threshold, v_init and reset_amount are one number, or int64, one per channel or per neuron.

    Attributes
    ----------
    decay_u, decay_v: 0..4096; u and v keep (4096 - decay)/4096 of their magnitude, rounded towards zero.
    threshold: 0..2^17-1; compared with v as `v > threshold << 6`.
    bias_mantissa: -4096..4095, one per output channel (C,), or per neuron of a map (C, H, W); the bias is mantissa ·
        2^bias_exponent in v's units, with an exponent of 0..7. Without any bias the exponent is 6, netx's own.
    v_init: v before the first step of a sample, in v's units, |v| < 2^23.
    gain: one per timestep of the horizon, in 4096ths, -4096..4096; needs decay_u 4096. None for 1. See gain.py.
    u_init: u before the first step of a sample, in v's units, |u| < 2^23, int64, one per output channel or neuron; for
        a decay_u that is not 4096 throughout. None for 0.
    reset_amount: what a soft reset subtracts, in v's units, 0 to 2^23 - 1; None for the threshold, threshold << 6.
    refractory: timesteps after a spike, 0..63, in which v stays as it is and nothing fires; one for a layer, and not
        beside a gain.
    adaptation: of reset "adapt", and of no other; neither a gain nor a refractory period is beside it.
    sigma_delta: of reset "delta", and of a readout, "none", of sums that such neurons send; threshold and bias are in
        its units, and all other fields as they are by default.
    """

    threshold: Parameter
    bias_mantissa: IntArray
    decay_u: Parameter = DECAY_UNITY
    decay_v: Parameter = 0
    bias_exponent: int = NETX_BIAS_EXPONENT
    v_init: Parameter = 0
    reset: Reset = "zero"
    reset_order: ResetOrder = "after_leak"
    gain: tuple[int, ...] | None = None
    reset_amount: Parameter | None = None
    u_init: IntArray | None = None
    refractory: int = 0
    adaptation: Adaptation | None = None
    sigma_delta: SigmaDelta | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias_mantissa", per_channel(frozen_int(self.bias_mantissa, "bias_mantissa")))
        for key in VARIABLE:
            object.__setattr__(self, key, integer_parameter(getattr(self, key), key))
        object.__setattr__(self, "bias_exponent", whole(self.bias_exponent, "bias_exponent"))
        object.__setattr__(self, "refractory", whole(self.refractory, "refractory"))
        if self.gain is not None:
            object.__setattr__(self, "gain", tuple(whole(value, "gain") for value in self.gain))
        if self.u_init is not None:
            u_init = per_channel(frozen_int(self.u_init, "u_init"))
            object.__setattr__(self, "u_init", u_init if u_init.any() or not u_init.size else None)
        if self.reset_amount is not None:
            amount = integer_parameter(self.reset_amount, "reset_amount")
            same = equal(amount, self.threshold << ALIGNMENT_SHIFT)
            object.__setattr__(self, "reset_amount", None if same else amount)
        lowest, highest, _ = NEURON["bias_exponent"]
        if lowest <= self.bias_exponent <= highest and not self.bias_mantissa.any():
            object.__setattr__(self, "bias_exponent", NETX_BIAS_EXPONENT)

    @property
    def bias(self) -> IntArray:
        """Effective bias in v's units, or those of σ, int64, one per channel, or per neuron of a map."""
        return self.bias_mantissa << (self.bias_exponent if self.sigma_delta is None else self.sigma_delta.shift)

    @property
    def subtracted(self) -> Parameter:
        """What a soft reset subtracts from v, in v's units."""
        return self.threshold << ALIGNMENT_SHIFT if self.reset_amount is None else self.reset_amount

    @property
    def subtracts_more(self) -> bool:
        """Whether a soft reset subtracts more than the threshold, of any neuron."""
        if self.reset_amount is None:
            return False
        amount, threshold = beside(self.reset_amount, self.threshold)
        return bool(np.any(amount > threshold << ALIGNMENT_SHIFT))

    @property
    def varies(self) -> bool:
        """Whether threshold, decays, v(0) or the amount of a soft reset differ between the neurons of a layer."""
        return differs(self.reset_amount, *(getattr(self, key) for key in VARIABLE))

    @property
    def varies_inside_channels(self) -> bool:
        """Whether any parameter differs between the neurons of a channel of a map."""
        arrays = self.bias_mantissa, self.u_init, self.reset_amount
        return differs_inside_channels(*arrays, *(getattr(self, key) for key in VARIABLE))


def reset_of(neuron: IntegerNeuron) -> str:
    """A neuron's reset in words, for tables: what it subtracts where that is not the threshold, how long it rests."""
    if neuron.sigma_delta is not None:
        return str(neuron.sigma_delta) if neuron.reset == "delta" else "none: sends sigma"
    amount = "" if neuron.reset_amount is None else f" {said(neuron.reset_amount / WEIGHT_UNIT, ',g')}"
    return f"{neuron.reset}{amount}{f', rests {neuron.refractory}' if neuron.refractory else ''}"


def check_neuron(neuron: IntegerNeuron, shape: Shape, where: str) -> None:
    """Raise RangeError, ExportError or UnsupportedError for what no neuron of chip and Lava can be; where: whose.

    shape: of what the layer sends.
    """
    for key, (low, high, why) in NEURON.items():
        value = getattr(neuron, key)
        check_shape(value, shape, f"{where}: {key}")
        check_values(np.asarray(value), low, high, f"{where}: {key}", why)
    check_values(neuron.bias_mantissa, BIAS_MINIMUM, BIAS_MAXIMUM, f"{where}: bias_mantissa", f"13 bits; {SMALLER}")
    if neuron.reset not in get_args(Reset):
        raise ExportError(f"{where}: reset {neuron.reset!r}, expected {', '.join(get_args(Reset))}")
    if neuron.reset_order != "after_leak":
        raise UnsupportedError(
            f"{where}: reset_order {neuron.reset_order!r}: no Process resets before the leak; a soft reset does by "
            "reset_amount, threshold / (1 - decay_v)"
        )
    if neuron.u_init is not None:
        if lowest(neuron.decay_u) == DECAY_UNITY:
            raise ExportError(f"{where}: u_init of a current of which nothing is left in the next step; leave it out")
        check_shape(neuron.u_init, shape, f"{where}: u_init")
        check_values(neuron.u_init, 1 - STATE_LIMIT, STATE_LIMIT - 1, f"{where}: u_init", f"24 bits; {SMALLER}")
    if neuron.reset_amount is not None:
        if neuron.reset != "subtract":
            raise ExportError(f"{where}: reset_amount {neuron.reset_amount} with reset {neuron.reset!r}, not subtract")
        check_shape(neuron.reset_amount, shape, f"{where}: reset_amount")
        why = f"the membrane's 24 bits; {SMALLER}"
        check_values(np.asarray(neuron.reset_amount), 0, STATE_LIMIT - 1, f"{where}: reset_amount", why)
    if neuron.gain is not None:
        check_gain(neuron.gain, lowest(neuron.decay_u), where)
    if neuron.refractory:
        _check_refractory(neuron, where)
    if neuron.adaptation is not None or neuron.reset == "adapt":
        _check_adaptation(neuron, where)
    if neuron.sigma_delta is not None or neuron.reset == "delta":
        _check_sigma_delta(neuron, shape, where)


def _check_adaptation(neuron: IntegerNeuron, where: str) -> None:
    if neuron.adaptation is None or neuron.reset != "adapt":
        raise ExportError(f'{where}: an adaptation is of neurons with reset "adapt", and they have one')
    if neuron.gain is not None or neuron.refractory:
        raise UnsupportedError(
            f"{where}: an adaptive threshold beside a gain or a refractory period, which no Process has"
        )
    for key, value in zip(ADAPTATION, neuron.adaptation.numbers, strict=True):
        low, high, why = NEURON["threshold" if key == "threshold_step" else "decay_v"]
        check_values(np.asarray(value), low, high, f"{where}: {key}", why)


def _check_sigma_delta(neuron: IntegerNeuron, shape: Shape, where: str) -> None:
    given = neuron.sigma_delta
    if given is None or neuron.reset not in ("delta", "none"):
        raise ExportError(f'{where}: sigma_delta is of neurons with reset "delta" or of a readout, and they have it')
    plain = IntegerNeuron(neuron.threshold, neuron.bias_mantissa, reset=neuron.reset, sigma_delta=given)
    others = [field.name for field in fields(neuron) if field.name not in ("threshold", "bias_mantissa", "sigma_delta")]
    differing = [key for key in others if not np.array_equal(getattr(neuron, key), getattr(plain, key))]
    if differing:
        raise UnsupportedError(f"{where}: {differing[0]} of a sigma-delta neuron, which has none; leave it out")
    check_sigma_delta(given, neuron.threshold, neuron.bias_mantissa, shape, where)
    if neuron.reset == "none" and (neuron.bias_mantissa.any() or not given.decodes):
        raise UnsupportedError(f"{where}: a readout of sigma with a bias or as an encoder, which Lava's Sigma is not")


def _check_refractory(neuron: IntegerNeuron, where: str) -> None:
    if neuron.reset == "none":
        raise ExportError(f"{where}: a refractory period of neurons that never fire; leave it out")
    if neuron.gain is not None:
        raise UnsupportedError(f"{where}: a refractory period beside a gain per timestep, which no Process has")
