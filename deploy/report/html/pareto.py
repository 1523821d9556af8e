"""The Pareto front: what no other choice beats."""

from collections.abc import Sequence


def on_front(objectives: Sequence[tuple[float, ...]]) -> list[bool]:
    """For every point whether none is at most as large in all objectives and smaller in one; equal points all are."""
    return [not any(_beats(other, point) for other in objectives) for point in objectives]


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
