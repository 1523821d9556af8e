"""Exact binomial statistics: confidence intervals, p-values, and the sizes of samples that they need."""

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
LEVEL = 0.95
"""Confidence level of the intervals in reports."""
LARGEST = 10**9


def clopper_pearson(
    successes: npt.ArrayLike, trials: npt.ArrayLike, level: float = LEVEL
) -> tuple[FloatArray, FloatArray]:
    """Two-sided interval of a share, float64 of the arguments' shape each; (0, 1) where there were no trials.

    Clopper and Pearson, Biometrika 26 (1934): exact, so never shorter than its level promises.
    """
    # Not scipy.stats.binomtest: one share at a time, and its last digit differs from what reports hold (below 1e-12).
    from scipy.special import betaincinv

    hits, total = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    tail = (1 - level) / 2
    inside_low, inside_high = hits > 0, hits < total
    low = np.where(inside_low, betaincinv(np.maximum(hits, 1), total - hits + 1, tail), 0.0)
    high = np.where(inside_high, betaincinv(hits + 1, np.maximum(total - hits, 1), 1 - tail), 1.0)
    return low, high


def share_interval(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """`clopper_pearson` of one share."""
    low, high = clopper_pearson(successes, trials, level)
    return float(low), float(high)


def risk_p_value(losses: npt.ArrayLike, samples: int, epsilon: float) -> FloatArray:
    """P(Binomial(samples, ε) ≤ losses), float64: a valid p-value of "the risk exceeds ε" for a loss of 0 or 1.

    Exact, not a bound: Bates et al. 2021 and Angelopoulos et al. 2021 (arXiv 2110.01052) for binary losses.
    """
    # Not scipy.stats.binom.cdf: its last digits differ, and a p-value decides which threshold a guarantee takes.
    from scipy.special import bdtr

    return np.asarray(bdtr(np.asarray(losses, dtype=np.float64), samples, epsilon), dtype=np.float64)


def smallest_sample(epsilon: float, delta: float) -> int:
    """The smallest n that can certify anything: without a single loss, (1 - ε)^n ≤ δ."""
    return math.ceil(math.log(delta) / math.log1p(-epsilon))


def sufficient_sample(rate: float, epsilon: float, delta: float) -> int | None:
    """About the smallest n (within 5 %) at which losses at this rate have a p-value ≤ δ; None if rate ≥ ε."""
    if rate >= epsilon:
        return None
    samples = smallest_sample(epsilon, delta)
    while samples < LARGEST:
        if float(risk_p_value(math.ceil(rate * samples), samples, epsilon)) <= delta:
            return samples
        samples = math.ceil(samples * 1.05)
    return None
