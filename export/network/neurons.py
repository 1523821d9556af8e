"""Neurons, in the user's floats and in Loihi's integers.

Per timestep t,

    u[t] = (1 - decay_u) u[t-1] + Σ W s[t]              synaptic current
    v[t] = (1 - decay_v) v[t-1] + u[t] + b              membrane potential
    s[t] = v[t] > threshold                             spike (`fires` "≥": v[t] ≥ threshold)
    v[t] ← 0                  where s[t], reset "zero"      (hard reset)
    v[t] ← v[t] - threshold   where s[t], reset "subtract"  (soft reset; of integers by `subtracted`)

With a gain per timestep, gain[t] (u[t] + b) enters v in the place of u[t] + b, see export/network/gain.py.
A readout neuron (`reset` "none") never fires; its membrane is the output. `reset_order` "after_leak" is this one; with
"before_leak" the reset waits for the next step, v[t+1] = (1 - decay_v) v[t] - threshold + ..., as in snnTorch. In
floats that is a soft reset in the spike's own step by threshold / (1 - decay_v), since this much leaks to the
threshold; integers have that amount, rounded once, and no order.

A bias b that enters the current (`bias_enters`) instead of the membrane, u[t] = (1 - decay_u) u[t-1] + Σ W s[t] + b,
makes u rise to b / decay_u: in floats the same as a bias b / decay_u of the membrane and u[0] = -b / decay_u, `u_init`.
"""

from dataclasses import dataclass
from typing import Literal

from spikecut.errors import ExportError, RangeError, UnsupportedError
from spikecut.export.network.arrays import IntArray, frozen_int, whole
from spikecut.export.network.gain import check_gain
from spikecut.export.network.ranges import NEURON, SMALLER, check_values
from spikecut.fixed_point import ALIGNMENT_SHIFT, BIAS_MAXIMUM, BIAS_MINIMUM, DECAY_UNITY, STATE_LIMIT
from spikecut.text import brief

Reset = Literal["zero", "subtract", "none"]
ResetOrder = Literal["before_leak", "after_leak"]
Fires = Literal[">", ">="]
NETX_BIAS_EXPONENT = ALIGNMENT_SHIFT
"""The exponent of a bias in weight units, which netx knows alone."""


@dataclass(frozen=True)
class FloatNeuron:
    """A neuron in the user's units. Decays are fractions in [0, 1]; `amplitude` is the value of one spike.

    gain: one per timestep of the horizon, which multiplies current and bias; None for 1.
    bias_enters: the membrane, or the current, in which it decays as all that came in does.
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
    bias_enters: Literal["membrane", "current"] = "membrane"

    __repr__ = brief


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
    u_init: u before the first step of a sample, in v's units, |u| < 2^23, int64, one per output channel or neuron; for
        a decay_u below 4096. None for 0.
    reset_amount: what a soft reset subtracts, in v's units, 0 to 2^23 - 1; None for the threshold, threshold << 6.
    """

    threshold: int
    bias_mantissa: IntArray
    decay_u: int = DECAY_UNITY
    decay_v: int = 0
    bias_exponent: int = NETX_BIAS_EXPONENT
    v_init: int = 0
    reset: Reset = "zero"
    reset_order: ResetOrder = "after_leak"
    gain: tuple[int, ...] | None = None
    reset_amount: int | None = None
    u_init: IntArray | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias_mantissa", frozen_int(self.bias_mantissa, "bias_mantissa"))
        for key in NEURON:
            object.__setattr__(self, key, whole(getattr(self, key), key))
        if self.gain is not None:
            object.__setattr__(self, "gain", tuple(whole(value, "gain") for value in self.gain))
        if self.u_init is not None:
            u_init = frozen_int(self.u_init, "u_init")
            object.__setattr__(self, "u_init", u_init if u_init.any() else None)
        if self.reset_amount is not None:
            amount = whole(self.reset_amount, "reset_amount")
            object.__setattr__(self, "reset_amount", None if amount == self.threshold << ALIGNMENT_SHIFT else amount)
        lowest, highest, _ = NEURON["bias_exponent"]
        if lowest <= self.bias_exponent <= highest and not self.bias_mantissa.any():
            object.__setattr__(self, "bias_exponent", NETX_BIAS_EXPONENT)

    @property
    def bias(self) -> IntArray:
        """Effective bias in v's units, int64, one per channel or neuron."""
        return self.bias_mantissa << self.bias_exponent

    @property
    def subtracted(self) -> int:
        """What a soft reset subtracts from v, in v's units."""
        return self.threshold << ALIGNMENT_SHIFT if self.reset_amount is None else self.reset_amount


def check_neuron(neuron: IntegerNeuron, where: str) -> None:
    """Raise RangeError, ExportError or UnsupportedError for what no neuron of chip and Lava can be; where: whose."""
    for key, (low, high, why) in NEURON.items():
        value = getattr(neuron, key)
        if not low <= value <= high:
            raise RangeError(f"{where}: {key} {value} lies outside {low}..{high}: {why}")
    check_values(neuron.bias_mantissa, BIAS_MINIMUM, BIAS_MAXIMUM, f"{where}: bias_mantissa", f"13 bits; {SMALLER}")
    if neuron.reset not in ("zero", "subtract", "none"):
        raise ExportError(f"{where}: reset {neuron.reset!r}, expected zero, subtract or none")
    if neuron.reset_order != "after_leak":
        raise UnsupportedError(
            f"{where}: reset_order {neuron.reset_order!r}: no Process resets before the leak; a soft reset does by "
            "reset_amount, threshold / (1 - decay_v)"
        )
    if neuron.u_init is not None:
        if neuron.decay_u == DECAY_UNITY:
            raise ExportError(f"{where}: u_init of a current of which nothing is left in the next step; leave it out")
        if neuron.u_init.shape != neuron.bias_mantissa.shape:
            raise ExportError(f"{where}: u_init of shape {neuron.u_init.shape}, expected {neuron.bias_mantissa.shape}")
        check_values(neuron.u_init, 1 - STATE_LIMIT, STATE_LIMIT - 1, f"{where}: u_init", f"24 bits; {SMALLER}")
    if neuron.reset_amount is not None:
        if neuron.reset != "subtract":
            raise ExportError(f"{where}: reset_amount {neuron.reset_amount} with reset {neuron.reset!r}, not subtract")
        if not 0 <= neuron.reset_amount < STATE_LIMIT:
            raise RangeError(
                f"{where}: reset_amount {neuron.reset_amount} lies outside 0..{STATE_LIMIT - 1}: the membrane's 24 "
                f"bits; {SMALLER}"
            )
    if neuron.gain is not None:
        check_gain(neuron.gain, neuron.decay_u, where)
