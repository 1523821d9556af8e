"""Sums that depend neither on the order of their terms nor on the parts in which these come."""

import numpy as np
import numpy.typing as npt

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
