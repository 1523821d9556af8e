"""Sums that depend neither on the order of their terms nor on the parts in which these come."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cost.pricing import Pricer
from spikecut.export.network.arrays import IntArray

FloatArray = npt.NDArray[np.float64]

ROWS_AT_ONCE = 2**13
PLACES = 8  # exponents that share one integer sum
LOW_BITS = 27  # of the 53 bits of a mantissa: both halves, shifted by up to PLACES, leave room for 2**28 terms
SMALLEST = 1136  # 2**-SMALLEST divides every float64


def step_sums(values: FloatArray, steps: int) -> FloatArray:
    """Sums over the steps of each sample, [n, H, ...] → [n, ...], always added up as those of at least `steps` steps.

    How numpy rounds depends on how many terms there are: zeros make up for those that did not run.
    """
    whole = np.zeros((len(values), max(steps, values.shape[1]), *values.shape[2:]))
    whole[:, : values.shape[1]] = values
    found: FloatArray = whole.sum(axis=1)
    return found


class ExactSum:
    """Σ of float64 arrays of this shape, rounded once: the same in whatever order and parts they are added."""

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.shape = shape
        self.totals = [0] * int(np.prod(shape, dtype=np.int64))  # in units of 2**-SMALLEST
        self.known = np.ones(len(self.totals), dtype=bool)
        self.waiting: list[FloatArray] = []
        self.rows = 0

    def add(self, values: FloatArray) -> None:
        """Take [n, *shape]."""
        rows = values.reshape(len(values), len(self.totals))
        self.waiting.append(rows)
        self.rows += len(rows)
        if self.rows >= ROWS_AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        """Add what waits, as integers."""
        if not self.waiting:
            return
        values = np.concatenate(self.waiting)
        self.waiting, self.rows = [], 0
        finite = np.isfinite(values)
        self.known &= finite.all(axis=0)
        values = np.where(finite, values, 0.0)
        mantissa, exponent = np.frexp(values)
        whole, shift = np.ldexp(mantissa, 53).astype(np.int64), exponent.astype(np.int64) - 53
        group, places = np.floor_divide(shift, PLACES), np.mod(shift, PLACES)
        for each in np.unique(group[whole != 0]).tolist():
            here = np.where(group == each, whole, 0)
            for half, more in ((here >> LOW_BITS, LOW_BITS), (here & (2**LOW_BITS - 1), 0)):
                units = 1 << (PLACES * each + SMALLEST + more)
                for index, total in enumerate((half << places).sum(axis=0).tolist()):
                    self.totals[index] += total * units

    def value(self) -> FloatArray:
        """The sum, float64 of this shape; NaN if a term was not finite."""
        self._settle()
        found = np.array([total / (1 << SMALLEST) for total in self.totals])
        return np.where(self.known, found, np.nan).reshape(self.shape)


TOWARDS = {(1, 0): "east", (-1, 0): "west", (0, 1): "south", (0, -1): "north"}


@dataclass(frozen=True)
class Bound:
    """One of what goes on at once in a step, on one chip, at the best figures.

    Attributes
    ----------
    name: "busiest core", "busiest link", "barrier". steps: share of the steps that it alone bounded.
    where: the core or link that was the busiest in most steps, and in what share of them; "" for the barrier.
    mean_s: its mean time a step, in seconds; NaN where no time is known.
    """

    name: str
    steps: float
    where: str
    mean_s: float


@dataclass
class BoundSums:
    """What `bounds` needs, summed up over samples and steps.

    cores, links: how often each was the busiest, by (layer, core) and by position among the links.
    """

    pricer: Pricer
    longest: int
    core_ns: ExactSum = field(default_factory=ExactSum)
    link_ns: ExactSum = field(default_factory=ExactSum)
    cores: Counter[tuple[int, int]] = field(default_factory=Counter)
    links: Counter[int] = field(default_factory=Counter)

    def add(
        self, ran: npt.NDArray[np.bool_], busiest: tuple[FloatArray, IntArray, IntArray], loads: FloatArray | None
    ) -> None:
        """Take some steps: the slowest core's time, layer and position, [samples, steps], and messages on each link."""
        time, layer, core = busiest
        self.core_ns.add(step_sums(np.where(ran, time, 0.0), self.longest))
        found, counts = np.unique(np.stack([layer[ran], core[ran]], axis=1), axis=0, return_counts=True)
        for (one, position), count in zip(found.tolist(), counts.tolist(), strict=True):
            self.cores[one, position] += count
        if loads is None or not loads.shape[2]:
            return
        taken = loads * self.pricer.per_link_ns("value")
        self.link_ns.add(step_sums(np.where(ran, taken.max(axis=2), 0.0), self.longest))
        used = ran & (loads.max(axis=2) > 0)
        for position, count in zip(*np.unique(taken.argmax(axis=2)[used], return_counts=True), strict=True):
            self.links[int(position)] += int(count)

    def bounds(self, steps: int, by_core: int, by_link: int, by_barrier: int, barrier_s: float) -> tuple[Bound, ...]:
        """The bounds of so many steps; by_…: how many each of them bounded."""
        ran, known = max(steps, 1), not self.pricer.terms().no_time
        scale = 1e-9 / ran if known else float("nan")
        found = [Bound("busiest core", by_core / ran, self._core(ran), float(self.core_ns.value()) * scale)]
        if self.pricer.links is not None:
            found.append(Bound("busiest link", by_link / ran, self._link(ran), float(self.link_ns.value()) * scale))
            found.append(Bound("barrier", by_barrier / ran, "", barrier_s if known else float("nan")))
        return tuple(found)

    def _core(self, ran: int) -> str:
        if not self.cores:
            return ""
        (layer, position), count = min(self.cores.items(), key=lambda item: (-item[1], item[0]))
        placed = self.pricer.placement.layers[layer]
        seat = placed.cores[position]
        return (
            f"{placed.name}, core {position + 1} of {len(placed.cores)}, tile ({seat.x}, {seat.y}): {count / ran:.0%}"
        )

    def _link(self, ran: int) -> str:
        if not self.links or self.pricer.links is None:
            return "no message crosses a link"
        position, count = min(self.links.items(), key=lambda item: (-item[1], item[0]))
        link = self.pricer.links.links[position]
        return f"from tile ({link.x}, {link.y}) {TOWARDS[link.dx, link.dy]}: {count / ran:.0%}"
