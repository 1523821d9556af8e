"""Softmax of running sums in whole numbers: what confidence and entropy share.

Each class weighs w_c = round(2^20 exp(-(max Y - Y_c) / s)). The only floating-point value, the exponential of one class
of one sample, is rounded before anything is added, and integers may be added in any order: neither the number of
samples in a batch nor the machine's vector width changes a decision. On a chip it is a table and an adder.
"""

from collections.abc import Callable

import numpy as np

from spikecut.deploy.cutoff.base import IntArray, LabelledScores
from spikecut.errors import InputError

UNIT = 2**20
"""A weight, confidence or certainty of 1."""
FITTING_SAMPLES = 2000
GOLDEN_STEPS = 40
WIDEST = 64.0


def leads(totals: IntArray) -> IntArray:
    """max Y - Y_c ≥ 0 per class, int64 of the same shape [..., classes]."""
    return np.asarray(totals.max(axis=-1, keepdims=True) - totals)


def weights(lead: IntArray, scale: float) -> IntArray:
    """w_c from `leads`, int64 [..., classes] in 0..2^20; at least one class weighs 2^20."""
    return np.asarray(np.rint(np.exp(lead / -scale) * UNIT), dtype=np.int64)


def checked_scale(name: str, scale: object) -> float:
    """The scale as a float; InputError unless it is a positive finite number."""
    if isinstance(scale, bool) or not isinstance(scale, int | float | np.integer | np.floating):
        raise InputError(f"cutoff policy {name}: scale {scale!r}, expected a positive number")
    if not (np.isfinite(scale) and scale > 0):
        raise InputError(f"cutoff policy {name}: scale {scale!r}, expected a positive number")
    return float(scale)


def fit_scale(data: LabelledScores, divisor: Callable[[int], int]) -> float:
    """The s with the smallest mean -log softmax(Y_t / (s · divisor(t))) of the right class, over all t and samples.

    Temperature scaling (Guo et al. 2017, "On calibration of modern neural networks", arXiv 1706.04599), in units of the
    scores; rounded to three digits. At most 2000 samples, evenly spaced, are used. s stays within a factor of 64 of
    the mean lead of the best class over the others, since perfectly separated samples have no smallest loss.
    """
    chosen = np.unique(np.linspace(0, data.samples - 1, min(data.samples, FITTING_SAMPLES)).astype(np.int64))
    part = data.part(chosen)
    steps = np.array([divisor(t) for t in range(1, data.horizon + 1)], dtype=np.int64)
    lead = leads(part.totals) / steps[:, None, None]
    of_label = np.take_along_axis(lead, part.labels[None, :, None], axis=2)[..., 0]
    typical = float(lead.mean())
    if typical == 0.0:
        return 1.0

    def loss(logarithm: float) -> float:
        scale = float(np.exp(logarithm))
        return float((np.log(np.exp(lead / -scale).sum(axis=2)) + of_label / scale).mean())

    best = golden_section(loss, np.log(typical / WIDEST), np.log(typical * WIDEST))
    return float(f"{np.exp(best):.3g}")


def golden_section(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is smallest between two points."""
    # Not scipy.optimize.minimize_scalar: it stops elsewhere in the tolerance. Of 400 fits to made-up scores five had
    # another scale, and with it other thresholds.
    ratio = (5**0.5 - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(GOLDEN_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
        if high - low < 1e-4:
            break
    return (low + high) / 2
