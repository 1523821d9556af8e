"""Work given by its counts alone, where a measurement was published with them but without network and spikes."""

from dataclasses import dataclass
from typing import Literal

from spikecut.deploy.cost.band import Figure
from spikecut.deploy.placement.hardware import Chip
from spikecut.deploy.placement.quantities import Edge

EDGES: tuple[Edge, ...] = ("value", "low", "high")


@dataclass(frozen=True)
class Work:
    """What happens in one step, on the whole chip or on its busiest core."""

    neurons: float = 0
    spikes: float = 0
    sent: float = 0
    received: float = 0
    synops: float = 0


@dataclass(frozen=True)
class Workload:
    """Mean counts of a step, and the formulas of docs/cost_model.md written out once more.

    Attributes
    ----------
    whole: counts of the whole chip. busiest: the greatest of each kind on a core, for `timing: maximum`.
    storage: the format of the synapses. tiles: in use.
    """

    whole: Work
    storage: Literal["dense", "sparse", "conv"]
    busiest: Work = Work()
    tiles: int = 1

    def energy_pj(self, chip: Chip) -> Figure:
        """Dynamic energy of a step. Hops are left out."""
        return Figure(*(self._energy(chip, edge) for edge in EDGES))

    def time_ns(self, chip: Chip) -> Figure:
        """Time of a step by mean counts, which is no more than the mean over steps led by different cores."""
        return Figure(*(self._time(chip, edge) for edge in EDGES))

    def _energy(self, chip: Chip, edge: Edge) -> float:
        cost = {name: event.energy_pJ.at(edge) for name, event in chip.costs}
        work = self.whole
        return (
            work.neurons * (cost["neuron_access"] + cost["neuron_update"])
            + work.spikes * cost["spike"]
            + work.sent * cost["axon_out"]
            + work.received * cost["axon_in"]
            + work.synops * cost[f"synop_{self.storage}"]
            + chip.barrier.energy_pJ_per_step.at(edge)
        )

    def _time(self, chip: Chip, edge: Edge) -> float:
        cost = {name: event.time_ns.at(edge) for name, event in chip.costs}
        knot = max(tiles for tiles in chip.barrier.time_ns_by_tiles if tiles <= self.tiles)
        work = self.busiest
        return max(
            chip.barrier.time_ns_by_tiles[knot].at(edge),
            work.neurons * (cost["neuron_access"] + cost["neuron_update"]) + work.spikes * cost["spike"],
            work.sent * cost["axon_out"],
            work.received * cost["axon_in"],
            work.synops * cost[f"synop_{self.storage}"],
        )


def scaled(figure: Figure, factor: float) -> Figure:
    """A figure in another unit."""
    return Figure(figure.value * factor, figure.low * factor, figure.high * factor)


def plus(first: Figure, second: Figure) -> Figure:
    """The sum of two figures, edge by edge."""
    return Figure(first.value + second.value, first.low + second.low, first.high + second.high)


def times(first: Figure, second: Figure) -> Figure:
    """The product of two figures, edge by edge."""
    return Figure(first.value * second.value, first.low * second.low, first.high * second.high)


def static_mw(chip: Chip) -> Figure:
    """Static power of a chip, mW."""
    return Figure(*(chip.static_mW_per_chip.at(edge) for edge in EDGES))
