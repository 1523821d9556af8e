"""Neurons whose threshold rises with each spike: lava-dl's ALIF.

Beside u and v, which no spike resets, a neuron holds a, by which its threshold is raised, and r, which keeps it from
firing again, both in v's units and 0 before a sample's first step. Per timestep, v as ever, and

    a[t] = (1 - threshold_decay) a[t-1]
    r[t] = (1 - refractory_decay) r[t-1]
    s[t] = v[t] ≥ threshold + a[t] + r[t]
    r[t] ← r[t] + 2 (threshold + a[t])      where s[t]
    a[t] ← a[t] + threshold_step            where s[t]

(Shrestha's slayer.neuron.alif; what decays is cut off towards zero, as u and v are.) A neuron fires while v < 2^23, so
r stays at most at 2 v, and a within a step of v: the proof of ranges counts them, too.
"""

from dataclasses import astuple, dataclass

from spikecut.export.network.arrays import whole
from spikecut.fixed_point import ALIGNMENT_SHIFT

FIELDS = ("threshold_decay", "threshold_step", "refractory_decay")


@dataclass(frozen=True)
class FloatAdaptation:
    """The same in the user's units: fractions lost per timestep, and a step in the threshold's units."""

    threshold_decay: float
    threshold_step: float
    refractory_decay: float

    @property
    def numbers(self) -> tuple[float, float, float]:
        """Decay of the threshold, its step, decay of the refractory state."""
        decay, step, refractory_decay = astuple(self)
        return decay, step, refractory_decay


@dataclass(frozen=True)
class Adaptation:
    """What a neuron of reset "adapt" has: 12-bit decays, 0..4096, and a step in the threshold's units, 17 bits."""

    threshold_decay: int
    threshold_step: int
    refractory_decay: int

    def __post_init__(self) -> None:
        for key in FIELDS:
            object.__setattr__(self, key, whole(getattr(self, key), key))

    @property
    def step(self) -> int:
        """The threshold's step in v's units."""
        return self.threshold_step << ALIGNMENT_SHIFT

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Decay of the threshold, its step, decay of the refractory state."""
        return self.threshold_decay, self.threshold_step, self.refractory_decay
