"""Which neurons sit on which core: the cores of a chip, of a layer and of a network."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from spikecut.export.network.arrays import IntArray
from spikecut.text import brief


@dataclass(frozen=True)
class Core:
    """One core: its chip, its tile and the tile's column x and row y; chips stand side by side along x."""

    index: int
    chip: int
    tile: int
    x: int
    y: int


@dataclass(frozen=True)
class LayerPlacement:
    """The cores of one layer.

    Attributes
    ----------
    name: the layer's name.
    groups: per core the indices of its neurons in torch's flat order, int64, read-only; every neuron once.
    cores: the cores, in the order of `groups`.
    taken: by limit, what the fullest core takes of it; what has no known limit is left out.
    """

    name: str
    groups: tuple[IntArray, ...]
    cores: tuple[Core, ...]
    taken: tuple[tuple[str, int], ...] = ()

    __repr__ = brief

    @property
    def core_of_neuron(self) -> IntArray:
        """Position in `cores` of each neuron's core, int64 [neurons]."""
        result = np.empty(sum(group.size for group in self.groups), dtype=np.int64)
        for position, group in enumerate(self.groups):
            result[group] = position
        return result

    @property
    def neurons(self) -> IntArray:
        """Neurons per core, int64 [cores]."""
        return np.array([group.size for group in self.groups], dtype=np.int64)


@dataclass(frozen=True)
class Placement:
    """A network on cores.

    Attributes
    ----------
    hardware: name of the hardware file.
    layers: one entry per layer of the network, in its order.
    chips: number of chips in use.
    tiles: number of tiles in use on the fullest chip.
    unchecked: limits that the hardware file does not know, which were therefore not checked.
    """

    hardware: str
    layers: tuple[LayerPlacement, ...]
    chips: int
    tiles: int
    unchecked: tuple[str, ...]

    __repr__ = brief

    @property
    def cores(self) -> int:
        """Number of cores in use."""
        return sum(len(layer.cores) for layer in self.layers)


def placement_summary(placement: Placement) -> dict[str, Any]:
    """A placement as JSON data."""
    return {
        "cores": placement.cores,
        "tiles": placement.tiles,
        "chips": placement.chips,
        "layers": {layer.name: [int(count) for count in layer.neurons] for layer in placement.layers},
        "unchecked_limits": list(placement.unchecked),
    }
