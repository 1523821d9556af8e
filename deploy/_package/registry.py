"""Things of one kind, found by name among entry points, so that another package adds one by registering it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from spikecut.errors import InputError

Item = TypeVar("Item")


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
        return sorted({point.name for point in entry_points(group=self.group)})

    def get(self, name: object, asked: str = "") -> Item:
        """The thing of this name.

        asked: what the user was asked for it with, "--backend"; by default the kind.

        Raises InputError, naming the known ones, if there is none, or if it cannot be loaded.
        """
        points = tuple(entry_points(group=self.group, name=name)) if isinstance(name, str) else ()
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
