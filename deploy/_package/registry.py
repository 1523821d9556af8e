"""Things of one kind, found by name among entry points, so that another package adds one by registering it."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from spikecut.errors import InputError

Item = TypeVar("Item")


def _points(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group, searched anew where a package has come or gone: that opens hundreds of files."""
    return _found(group, tuple((place, _changed(place)) for place in sys.path))


@lru_cache
def _found(group: str, _: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _changed(place: str) -> int:
    """When something came into a folder, or went; 0 where there is none."""
    try:
        return os.stat(place or ".").st_mtime_ns
    except OSError:
        return 0


@dataclass(frozen=True)
class Registry(Generic[Item]):
    """The entry points of one group.

    Attributes
    ----------
    group: of entry points, "spikecut.backends"; name = the thing's name, value = where it is. spikecut's own are in
        pyproject.toml.
    kind: one of them in words, "backend".
    accept: makes the thing of what an entry point loads; TypeError, in words, if that is none.
    """

    group: str
    kind: str
    accept: Callable[[object], Item]

    def names(self) -> list[str]:
        """All names, those of other packages included, sorted."""
        return sorted({point.name for point in _points(self.group)})

    def get(self, name: object, asked: str = "") -> Item:
        """The thing of this name.

        asked: what the user was asked for it with, "--backend"; by default the kind.

        Raises InputError, naming the known ones, if there is none, or if it cannot be loaded.
        """
        points = [point for point in _points(self.group) if point.name == name]
        if not points:
            raise InputError(f"{asked or self.kind} {name!r}: expected one of {', '.join(self.names())}")
        if len({point.value for point in points}) > 1:
            places = " and ".join(sorted({point.value for point in points}))
            raise InputError(f"{self.kind} {name!r} is offered twice, by {places}: uninstall one of them")
        return self._loaded(points[0])

    def _loaded(self, point: EntryPoint) -> Item:
        try:
            loaded = point.load()
        except Exception as error:
            raise InputError(f"{self.kind} {point.name!r}: {point.value} cannot be loaded ({error})") from error
        try:
            return self.accept(loaded)
        except TypeError as error:
            raise InputError(f"{self.kind} {point.name!r}: {point.value} is no {self.kind} ({error})") from error
