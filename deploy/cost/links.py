"""Messages on the links of the mesh: along x, then y, one link a hop. The source of the input has no place there."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cost.traffic import Messages, Route, Spread
from spikecut.deploy.placement.cores import Core

FloatArray = npt.NDArray[np.float64]


class Link(NamedTuple):
    """A directed link between neighbouring tiles: the place where it begins, and its step along x or y."""

    x: int
    y: int
    dx: int
    dy: int


@dataclass(frozen=True)
class MeshLinks:
    """The links in use, and how the messages of each layer spread over them.

    Attributes
    ----------
    links: in the order of the columns of all loads.
    spreads: per layer, what one of its messages puts on each link.
    """

    links: tuple[Link, ...]
    spreads: tuple[Spread, ...]

    @classmethod
    def of(cls, routes: list[Route]) -> "MeshLinks":
        """The links that these layers use on their cores."""
        number: dict[Link, int] = {}
        for route in routes:
            for _, target in route.targets:
                for begin in route.placed.cores:
                    for end in target.cores:
                        for link in path(begin, end):
                            number.setdefault(link, len(number))
        return cls(tuple(number), tuple(Spread(_matrix(route, number)) for route in routes))

    @property
    def along_x(self) -> npt.NDArray[np.bool_]:
        """Which of the links lie east-west."""
        return np.array([link.dx != 0 for link in self.links], dtype=bool)

    def loads(self, layer: int, messages: Messages) -> FloatArray:
        """Messages on each link that this layer's messages cause, float64 [samples, steps, links]."""
        if not self.links:
            return np.zeros((*messages.spikes.shape[:2], 0))
        return self.spreads[layer](messages)


def path(begin: Core, end: Core) -> list[Link]:
    """The links from one core's tile to another's, first along x."""
    found, x, y = [], begin.x, begin.y
    while (x, y) != (end.x, end.y):
        dx = (end.x > x) - (end.x < x)
        dy = 0 if dx else (end.y > y) - (end.y < y)
        found.append(Link(x, y, dx, dy))
        x, y = x + dx, y + dy
    return found


def _matrix(route: Route, number: dict[Link, int]) -> npt.NDArray[np.int64]:
    """What a message of each neuron puts on each link, int64 [neurons, links]."""
    matrix = np.zeros((route.placed.core_of_neuron.size, len(number)), dtype=np.int64)
    for synapses, target in route.targets:
        for group, begin in zip(route.placed.groups, route.placed.cores, strict=True):
            way = np.zeros((len(target.cores), len(number)), dtype=np.int64)
            for index, end in enumerate(target.cores):
                way[index, [number[link] for link in path(begin, end)]] = 1
            matrix[group] += (synapses[group] > 0).astype(np.int64) @ way
    return matrix
