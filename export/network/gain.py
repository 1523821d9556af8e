"""The gain per timestep of a neuron's input, for programmable neurons: Loihi 2 has them, Loihi 1 does not.

At step t of a sample, counted from the step at which its layer resets, current and bias enter v as

    x[t] = sign(g[t]) · sign(u[t] + b) · (|g[t]| · |u[t] + b| >> 12)

where g is an integer in 4096ths, -4096 to 4096. That is Loihi's own rule for decays: the magnitude is shifted, with
the sign kept. So |x[t]| ≤ |u[t] + b|: no range grows, and what fits in 32 bits still does. After the last step of the
horizon, while a pipeline empties, the last gain holds. The product itself: spikecut.fixed_point.multiplied.
"""

from spikecut.errors import UnsupportedError
from spikecut.fixed_point import DECAY_UNITY, GAIN_UNITY


def check_gain(gain: tuple[int, ...], decay_u: int, where: str) -> None:
    """UnsupportedError unless neurons may have this gain: 4096ths within [-1, 1], no synaptic memory; where: whose."""
    if not gain:
        raise UnsupportedError(f"{where}: a gain per timestep without a value")
    outside = [value for value in gain if abs(value) > GAIN_UNITY]
    if outside:
        raise UnsupportedError(f"{where}: gain {outside[0]} lies outside {-GAIN_UNITY}..{GAIN_UNITY}")
    if decay_u != DECAY_UNITY:
        raise UnsupportedError(
            f"{where}: a gain per timestep with a current that decays by {decay_u}/4096: no Process has both; use 4096"
        )


def gain_at(gain: tuple[int, ...], step: int) -> int:
    """The gain of a sample's step, from 0; the last one after the horizon."""
    return gain[min(step, len(gain) - 1)]
