"""A figure per sample with the edges of its band."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikecut.deploy.placement.quantities import Edge
from spikecut.text import brief

FloatArray = npt.NDArray[np.float64]
PICO = 1e12
NANO = 1e9
BAND: tuple[Edge, Edge, Edge] = ("value", "low", "high")
"""The edges of a band in the order of its fields."""
PERCENTILES = (5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class Figure:
    """One number with the edges of its band; NaN where unknown."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """One line."""
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


def in_words(figure: Figure, unit: str, lower_bound: bool = False) -> str:
    """A figure in millionths of its unit; `lower_bound`: terms are missing from it."""
    if np.isnan(figure.value):
        return "unknown"
    edges = "no band" if np.isnan(figure.low) else f"{1e6 * figure.low:.3g} to {1e6 * figure.high:.3g}"
    return f"{'≥ ' * lower_bound}{1e6 * figure.value:.3g} µ{unit} ({edges})"


@dataclass(frozen=True)
class Band:
    """A figure per sample with the edges of its band, float64 [N]; NaN where unknown."""

    value: FloatArray
    low: FloatArray
    high: FloatArray

    __repr__ = brief

    def __str__(self) -> str:
        """One line: the mean and its band."""
        return f"{self.mean} on average of {self.value.size} samples"

    @classmethod
    def of(cls, edges: Mapping[Edge, FloatArray], divisor: float) -> "Band":
        """From values and edges in a smaller unit, of which `divisor` make one."""
        return cls(edges["value"] / divisor, edges["low"] / divisor, edges["high"] / divisor)

    @property
    def mean(self) -> Figure:
        """Mean over the samples, and the means of the edges."""
        return Figure(*(float(edge.mean()) for edge in (self.value, self.low, self.high)))

    def percentiles(self, chosen: tuple[int, ...] = PERCENTILES) -> dict[int, Figure]:
        """Percentiles over the samples, 0 to 100, of the values and of each edge."""
        found = [np.percentile(edge, chosen) for edge in (self.value, self.low, self.high)]
        return {percent: Figure(*(float(edge[i]) for edge in found)) for i, percent in enumerate(chosen)}

    def in_words(self, unit: str, lower_bound: bool = False) -> str:
        """The mean in millionths of a unit; `lower_bound`: terms are missing from it."""
        return in_words(self.mean, unit, lower_bound)


class StoredBand(Band):
    """A band whose edges are read, or computed from what is read, each time that they are asked for.

    read: an edge → float64 [N].
    """

    def __init__(self, read: Callable[[Edge], FloatArray]) -> None:
        object.__setattr__(self, "read", read)

    @property
    def value(self) -> FloatArray:
        """The best figures."""
        return self._edge("value")

    @property
    def low(self) -> FloatArray:
        """The low edge."""
        return self._edge("low")

    @property
    def high(self) -> FloatArray:
        """The high edge."""
        return self._edge("high")

    def _edge(self, edge: Edge) -> FloatArray:
        read: Callable[[Edge], FloatArray] = self.__dict__["read"]
        return read(edge)


def joined_band(low: Band, value: Band, high: Band) -> Band:
    """A band that has each edge from another one; what is not in memory stays where it is."""
    if isinstance(value, StoredBand):
        return StoredBand(lambda edge: getattr({"low": low, "value": value, "high": high}[edge], edge))
    return Band(value.value, low.low, high.high)
