"""What every sample of a run would take on a chip: latency, and dynamic, static and total energy, with their bands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cost.band import BAND, NANO, PICO, Band
from spikecut.deploy.cost.columns import Columns
from spikecut.deploy.cost.pricing import EDGES, Pricer
from spikecut.deploy.cost.sums import step_sums
from spikecut.deploy.cost.traffic import Counts, link_loads
from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Chip
from spikecut.deploy.placement.quantities import Edge
from spikecut.deploy.run_trace import RunTrace
from spikecut.export.network.layers import IntegerNetwork

FloatArray = npt.NDArray[np.float64]
Measure = Literal["latency", "dynamic", "static", "energy"]
Read = Callable[[Edge], FloatArray]


@dataclass(frozen=True)
class PartCosts:
    """Latency in seconds and energy in joules of some samples of a run."""

    latency_s: Band
    energy_j: Band


class SampleCosts:
    """The costs of every sample, gathered chunk by chunk in the order of the samples.

    Kept of each are its time and its dynamic energy, at every edge of the band: the rest follows from them.
    """

    def __init__(self, network: IntegerNetwork, pricer: Pricer, columns: Columns) -> None:
        self.pricer, self.longest = pricer, network.horizon + network.depth
        self.no_time = pricer.terms().no_time
        self.time_ns = {edge: columns.column() for edge in EDGES}
        self.dynamic_pj = {edge: columns.column() for edge in EDGES}
        self.part: list[tuple[dict[Edge, FloatArray], dict[Edge, FloatArray]]] = []

    def add(self, run: RunTrace, part: slice, counts: list[Counts]) -> None:
        """Take the samples of one chunk."""
        pricer, steps = self.pricer, run.hardware_steps[part]
        ran = np.arange(run.events[0].spikes.shape[1]) < steps[:, None]
        pairs = list(zip(pricer.routes, counts, strict=True))
        counted = np.stack([pricer.events(count, route, ran).sum(axis=1) for route, count in pairs], axis=1)
        time_ns, dynamic_pj, loads = {}, {}, link_loads(counts)
        for edge in EDGES:
            slowest = np.zeros(ran.shape)
            for route, count in pairs:
                for side in pricer.slowest_ns(edge, route, count):
                    np.maximum(slowest, side, out=slowest)
            if loads is not None:
                np.maximum(slowest, pricer.busiest_link_ns(edge, loads), out=slowest)
            time_ns[edge] = step_sums(np.where(ran, pricer.step_ns(edge, slowest), 0.0), self.longest)
            shared = pricer.chip.reset.energy_pJ_per_sample.at(edge) + steps * pricer.step_pj(edge)
            prices = np.stack([pricer.energy_pj(edge, route) for route in pricer.routes])
            dynamic_pj[edge] = shared + (counted * prices).sum(axis=(1, 2))
        self.part.append((time_ns, dynamic_pj))

    def end_part(self) -> PartCosts:
        """Keep the figures of the samples that came since the last call; they themselves."""
        if not self.part:
            return PartCosts(unknown_band(0), unknown_band(0))
        time_ns, dynamic_pj = (
            {edge: np.concatenate([each[index][edge] for each in self.part]) for edge in EDGES} for index in (0, 1)
        )
        self.part = []
        for edge in EDGES:
            self.time_ns[edge].append(time_ns[edge])
            self.dynamic_pj[edge].append(dynamic_pj[edge])

        def band(measure: Measure) -> Band:
            return Band(*(self._figure(measure, edge, time_ns.__getitem__, dynamic_pj.__getitem__) for edge in BAND))

        return PartCosts(band("latency"), band("energy"))

    def band(self, measure: Measure) -> Band:
        """One of the measures, once all samples have been added."""

        def time_ns(edge: Edge) -> FloatArray:
            return self.time_ns[edge].read()

        def dynamic_pj(edge: Edge) -> FloatArray:
            return self.dynamic_pj[edge].read()

        return self.time_ns["value"].band(lambda edge: self._figure(measure, edge, time_ns, dynamic_pj))

    def _figure(self, measure: Measure, edge: Edge, time_ns: Read, dynamic_pj: Read) -> FloatArray:
        """One edge of a measure in seconds or joules, from nanoseconds and picojoules."""
        chip = self.pricer.chip
        if measure == "dynamic" or (measure == "energy" and (self.no_time or chip.static_mW_per_chip.value is None)):
            return dynamic_pj(edge) / PICO
        time = np.full_like(time_ns(edge), np.nan) if self.no_time else time_ns(edge)
        if measure == "latency":
            return time / NANO
        static = static_energy_pj(chip, self.pricer.placement, dict.fromkeys(EDGES, time))[edge]
        return (static if measure == "static" else dynamic_pj(edge) + static) / PICO


def unknown_band(samples: int) -> Band:
    """A band of which nothing is known."""
    nothing = np.broadcast_to(np.nan, (samples,))
    return Band(nothing, nothing, nothing)


def static_energy_pj(chip: Chip, placement: Placement, time_ns: Mapping[Edge, FloatArray]) -> dict[Edge, FloatArray]:
    """Static power of the chips in use × time (mW · ns = pJ); NaN where the power is unknown."""
    if chip.static_mW_per_chip.value is None:
        return {edge: np.full_like(time_ns[edge], np.nan) for edge in EDGES}
    return {edge: placement.chips * chip.static_mW_per_chip.at(edge) * time_ns[edge] for edge in EDGES}
