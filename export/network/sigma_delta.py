"""Sigma-delta neurons: graded messages of how much an activation has changed, as lava-dl's sdnn blocks and Lava send.

A neuron decodes what comes in (sigma), applies an activation, and sends its change (delta) once that is large enough.
It holds σ, the activation a, the residue r that was not sent, and an error e, all in units of 1 / 2^k of a message of
1, where k = spike_exponent + state_exponent; with θ = threshold · 2^k and b = bias · 2^k, per timestep t,

    σ[t] = σ[t-1] + Σ W s[t]                 an encoder of the input takes x · 2^k in the place of σ[t] + b
    a[t] = max(σ[t] + b, 0)                  activation "relu"; σ[t] + b of "unit"
    δ[t] = a[t] - a[t-1] + r[t-1]
    m[t] = δ[t] if |δ[t]| ≥ θ, else 0        with a cumulative error: if |e[t-1] + δ[t]| ≥ θ
    e[t] = e[t-1] + δ[t], or 0 where m[t] is not 0
    r[t] = δ[t] - m[t]
    s[t] = m[t] >> state_exponent            what is sent: an integer of up to 32 - state_exponent bits

(lava.proc.sdn: Delta, SigmaDelta, Sigma.) What the shift of m cuts off is lost. A readout sends σ itself in every
timestep. Σ W s is not aligned by 6 bits, as in other neurons it is. Everything is int32, as in Lava, and wraps there;
the sums of a convolution wrap at 24 bits.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from spikecut.errors import ExportError, UnsupportedError
from spikecut.export.network.arrays import IntArray, Shape, frozen_int, whole
from spikecut.export.network.parameters import Parameter
from spikecut.export.network.ranges import SMALLER, check_values
from spikecut.fixed_point import STATE_LIMIT
from spikecut.text import brief

Activation = Literal["relu", "unit"]
STATES = 4
"""σ, a, r and e of a neuron."""
NETX_EXPONENT = 6
"""Both exponents of what netx loads."""
EXPONENT_MAXIMUM = 7
MESSAGE_LIMIT = 2**31


@dataclass(frozen=True)
class SigmaDelta:
    """What makes a neuron one of sigma-delta; its threshold and bias are integers in units of a message of 1.

    Attributes
    ----------
    decodes: whether it adds up what comes in. An encoder of the input does not, and has neither bias nor activation.
    activation: "relu" or "unit". spike_exponent, state_exponent: 0..7. cumulative_error: whether errors add up.
    start: σ, a, r and e before a sample's first timestep, int64 [4, *output_shape]; None for 0.
    """

    decodes: bool = True
    activation: Activation = "relu"
    spike_exponent: int = NETX_EXPONENT
    state_exponent: int = NETX_EXPONENT
    cumulative_error: bool = False
    start: IntArray | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        for key in ("spike_exponent", "state_exponent"):
            object.__setattr__(self, key, whole(getattr(self, key), key))
        if self.start is not None:
            start = frozen_int(self.start, "start")
            object.__setattr__(self, "start", start if start.any() or not start.size else None)

    def __str__(self) -> str:
        words = f"delta, {self.activation}" if self.decodes else "delta of the input"
        return f"{words}{', errors add up' * self.cumulative_error}"

    @property
    def shift(self) -> int:
        """k, by which bias and threshold are shifted left."""
        return self.spike_exponent + self.state_exponent

    @property
    def largest(self) -> int:
        """Largest magnitude of a message."""
        return MESSAGE_LIMIT >> self.state_exponent

    def starts(self, shape: Shape) -> IntArray:
        """σ, a, r and e before a sample's first timestep, int64 [4, *shape]."""
        return np.zeros((STATES, *shape), dtype=np.int64) if self.start is None else np.array(self.start)


def advance(
    given: SigmaDelta, threshold: Parameter, bias: IntArray, state: IntArray, arriving: IntArray, readout: bool
) -> tuple[IntArray, IntArray]:
    """One timestep: the state [4, ..., *shape] after it and the messages, int64 [..., *shape].

    threshold: as IntegerNeuron's. bias: shifted already. arriving: Σ W s, wrapped where it is a convolution's.
    """
    sigma, before, residue, error = state
    if given.decodes:
        sigma = wrap32(sigma + arriving)
        if readout:
            return np.stack([sigma, before, residue, error]), sigma
        act = wrap32(sigma + bias)
        act = np.maximum(act, 0) if given.activation == "relu" else act
    else:
        act = wrap32(arriving << given.shift)
    delta = wrap32(wrap32(act - before) + residue)
    level = np.asarray(threshold) << given.shift
    error = wrap32(error + delta) if given.cumulative_error else error
    sent = np.where(_magnitude(error if given.cumulative_error else delta) >= level, delta, 0)
    if given.cumulative_error:
        error = np.where(sent != 0, 0, error)
    return np.stack([sigma, act, wrap32(delta - sent), error]), sent >> given.state_exponent


def wrap32(values: IntArray) -> IntArray:
    """Integers as int32 holds them."""
    return (values + MESSAGE_LIMIT) % (2 * MESSAGE_LIMIT) - MESSAGE_LIMIT


def _magnitude(values: IntArray) -> IntArray:
    """Of int32: that of -2^31 is -2^31."""
    return wrap32(np.abs(values))


def check_sigma_delta(given: SigmaDelta, threshold: Parameter, bias: IntArray, shape: Shape, where: str) -> None:
    """Raise ExportError or RangeError for what no such neuron can be; bias: its mantissas. where: whose."""
    if given.activation not in get_args(Activation):
        raise ExportError(f"{where}: activation {given.activation!r}, expected relu or unit")
    for key in ("spike_exponent", "state_exponent"):
        value = np.asarray(getattr(given, key))
        check_values(value, 0, EXPONENT_MAXIMUM, f"{where}: {key}", "3 bits, as in Lava")
    if not isinstance(threshold, int):
        raise UnsupportedError(f"{where}: thresholds that differ between sigma-delta neurons, of which Lava has one")
    top = (STATE_LIMIT - 1) >> given.shift
    why = f"24 bits, shifted left by {given.shift}; {SMALLER}"
    check_values(np.asarray(threshold), 0, top, f"{where}: threshold", why)
    check_values(bias, -top, top, f"{where}: bias_mantissa", why)
    if not given.decodes and bias.any():
        raise ExportError(f"{where}: an encoder of the input has no bias")
    if given.start is None:
        return
    if given.start.shape != (STATES, *shape):
        raise ExportError(f"{where}: start of shape {given.start.shape}, expected {(STATES, *shape)}")
    check_values(given.start, -MESSAGE_LIMIT, MESSAGE_LIMIT - 1, f"{where}: start", "32 bits")
