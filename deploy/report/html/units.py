"""Numbers as a page shows them: with a unit, few digits, and their band or interval."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan
from typing import Any

from spikecut.deploy.cost.band import Figure
from spikecut.deploy.report.tables import PREFIXES, UNKNOWN, quantity

LONGEST_NAME = 48
"""Characters of a name in a chart."""
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Categories of characters that a page would obey or hide: line and text direction controls above all."""


def visible(value: Any) -> Any:
    """A text with every character written out that has no shape of its own, as in \\u202e; what is no text as it is."""
    if type(value) is not str or value.isprintable():
        return value
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if character != "\n" and unicodedata.category(character) in UNSEEN
        else character
        for character in value
    )


@dataclass(frozen=True)
class Scale:
    """A unit with its prefix, in which all values of an axis are told."""

    factor: float
    unit: str

    def __call__(self, value: float | None) -> float | None:
        """A value in this unit."""
        return None if value is None or isnan(value) else value / self.factor

    def text(self, value: float) -> str:
        """A value with the unit."""
        return UNKNOWN if isnan(value) else f"{value / self.factor:.3g} {self.unit}"


def scale_of(values: Iterable[float], unit: str) -> Scale:
    """The prefix with which the largest of the values has one to three digits before the point."""
    largest = max((abs(value) for value in values if not isnan(value)), default=0.0)
    for factor, prefix in PREFIXES:
        if largest >= factor:
            return Scale(factor, f"{prefix}{unit}")
    return Scale(PREFIXES[-1][0], f"{PREFIXES[-1][1]}{unit}")


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage."""
    return f"{100 * share:.{digits}f}\u00a0%"


def short(name: str) -> str:
    """A name that fits into a chart: of a long one the beginning and the end."""
    half = LONGEST_NAME // 2 - 1
    return name if len(name) <= LONGEST_NAME else f"{name[:half]} … {name[-half:]}"


def counted(number: int, noun: str) -> str:
    """A number of things: 1 chip, 2 chips."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def share_text(share: Figure | None) -> str:
    """A share with its interval."""
    if share is None:
        return "not run"
    return f"{percent(share.value)} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def mean_text(mean: Figure) -> str:
    """A mean with its interval."""
    return f"{mean.value:.2f}" if isnan(mean.low) else f"{mean.value:.2f} ({mean.low:.2f} to {mean.high:.2f})"


def band_text(figure: Figure, unit: str, lower_bound: bool = False) -> str:
    """A quantity with its band; `lower_bound`: terms are missing from it."""
    if isnan(figure.value):
        return UNKNOWN
    text = ("≥ " if lower_bound else "") + quantity(figure.value, unit)
    if isnan(figure.low) or isnan(figure.high):
        return text
    return f"{text} ({quantity(figure.low, unit)} to {quantity(figure.high, unit)})"
