"""What a stream of samples costs, put together from their full runs: samples back to back, the pipeline never empty.

In a stream the layer at depth l begins with a sample l steps after the source, and works on it for as many steps as
pass until the next sample starts; until then it does exactly what it does in the sample's full run. So the steps of a
stream are laid side by side from full runs, each layer in its own time, and priced with all that happens at once.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cost.band import NANO, PICO, Figure
from spikecut.deploy.cost.pricing import EDGES, EVENTS, Pricer
from spikecut.deploy.cost.sample_costs import static_energy_pj
from spikecut.deploy.cost.sums import ExactSum
from spikecut.deploy.cost.traffic import Counts
from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Chip
from spikecut.deploy.placement.quantities import Edge
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import InputError
from spikecut.export.network.arrays import IntArray

FloatArray = npt.NDArray[np.float64]
RECEIVED = np.array([name in ("axon_in", "synapse") for name in EVENTS])


@dataclass(frozen=True)
class StreamEstimate:
    """Mean over the samples of a stream, without the steps that empty the pipeline after the last one. Estimated.

    Attributes
    ----------
    time_s: seconds from the start of a sample to the start of the next; NaN where no time is known.
    energy_j: joules per sample, static power included where it is known.
    samples_per_s: 1 / time.
    """

    time_s: Figure
    energy_j: Figure
    samples_per_s: Figure


def stream(full: RunTrace, chip: Chip, placement: Placement, intervals: IntArray) -> StreamEstimate:
    """The stream of these samples, in their order, sample n followed by the next after `intervals[n]` steps.

    InputError if a sample did not run to the horizon, or an interval lies outside 1..T.
    """
    longest = full.horizon + full.depth
    if (full.hardware_steps != longest).any() or intervals.shape != (full.samples,):
        raise InputError("a stream is put together from full runs: run without a policy, and give an interval a sample")
    if intervals.min() < 1 or intervals.max() > full.horizon:
        raise InputError(f"an interval lies outside 1..{full.horizon}: samples follow each other after at most T steps")
    gathered = Stream(Pricer.of(full.network, chip, placement), longest)
    gathered.follow(intervals)
    for part, counts in gathered.pricer.chunks(full):
        gathered.add(full, part, counts)
    return gathered.result()


class Stream:
    """A stream gathered chunk by chunk, in the order of the samples; see `stream`. longest: steps of a full run.

    Of the stream only those steps are held that the next sample can still reach.
    """

    def __init__(self, pricer: Pricer, longest: int) -> None:
        self.pricer, self.longest, self.reach = pricer, longest, len(pricer.routes)
        self.steps = self.samples = 0
        self.intervals: IntArray = np.zeros(0, dtype=np.int64)
        self.slowest = {edge: np.zeros(self.reach) for edge in EDGES}  # of the steps after self.steps
        self.met: dict[tuple[int, Edge, int], FloatArray] = {}  # the same of recurrent layers' bounds, by step and core
        self.loads = np.zeros((self.reach, 0 if pricer.links is None else len(pricer.links.links)))  # of each link
        self.sums = {edge: ExactSum() for edge in EDGES}
        self.counted = np.zeros((len(pricer.routes), len(EVENTS)))

    def follow(self, intervals: IntArray) -> None:
        """Of the samples that `add` takes next, after how many steps the following one starts, int64 [n]."""
        self.intervals = intervals

    def add(self, run: RunTrace, part: slice, counts: list[Counts]) -> None:
        """Lay these samples side by side in the stream; part: which of those that `follow` was told of."""
        lay = _Lay(self.intervals[part], self.longest)
        self._make_room(lay.steps)
        ran = np.ones((len(lay.intervals), self.longest), dtype=bool)
        for index, (route, count) in enumerate(zip(self.pricer.routes, counts, strict=True)):
            own, sending, receipt = count.own, route.depth, route.depth - 1
            incoming = (
                count if own is None else replace(count, axons=count.axons - own[0], synops=count.synops - own[1])
            )
            for edge in EDGES:
                generating, receiving = self.pricer.slowest_ns(edge, route, incoming)
                lay.raise_to(self.slowest[edge], generating, sending)
                if own is None:
                    lay.raise_to(self.slowest[edge], receiving, receipt)
                else:
                    # In a step of the stream meet what the layer before sends and what the layer itself sends.
                    added = replace(count, axons=own[0], synops=own[1])
                    for arriving, depth in ((incoming, receipt), (added, sending)):
                        for number, (receives, terms) in enumerate(self.pricer.bounds_ns(edge, route, arriving)):
                            if receives:
                                self._meet(lay, (index, edge, number), sum(terms.values(), np.zeros(1)), depth)
            if count.links is not None:
                lay.add_cores(self.loads, count.links, sending)
            events = self.pricer.events(incoming, route, ran)
            sent, received = lay.window(sending), lay.window(receipt)
            self.counted[index] += np.where(RECEIVED, events[received].sum(axis=0), events[sent].sum(axis=0))
            if own is not None:
                for name, caused in zip(("axon_in", "synapse"), own, strict=True):
                    self.counted[index, EVENTS.index(name)] += caused[sent].sum()
        self._settle(lay)

    def _meet(self, lay: "_Lay", key: tuple[int, Edge, int], times: FloatArray, depth: int) -> None:
        """Add to what a recurrent layer's cores receive in each step; key: layer, edge and which bound."""
        if key not in self.met:
            self.met[key] = np.zeros((lay.steps + self.reach, times.shape[-1]))
        lay.add_cores(self.met[key], times, depth)

    def _make_room(self, steps: int) -> None:
        """Begin so many further steps."""
        for edge, times in self.slowest.items():
            self.slowest[edge] = np.concatenate([times, np.zeros(steps)])
        for key, cores in self.met.items():
            self.met[key] = np.concatenate([cores, np.zeros((steps, cores.shape[1]))])
        self.loads = np.concatenate([self.loads, np.zeros((steps, self.loads.shape[1]))])

    def _settle(self, lay: "_Lay") -> None:
        """Sum up the steps that no later sample reaches."""
        done = lay.steps
        for edge, times in self.slowest.items():
            slowest = np.maximum(times[:done], self.pricer.busiest_link_ns(edge, self.loads[:done]))
            for (_, at, _), cores in self.met.items():
                if at == edge:
                    slowest = np.maximum(slowest, cores[:done].max(axis=1))
            self.sums[edge].add(self.pricer.step_ns(edge, slowest))
            self.slowest[edge] = times[done:]
        for key, cores in self.met.items():
            self.met[key] = cores[done:]
        self.loads = self.loads[done:]
        self.steps += done
        self.samples += len(lay.intervals)

    def result(self) -> StreamEstimate:
        """What the stream costs, once all samples have been added."""
        total_ns = {edge: float(each.value()) for edge, each in self.sums.items()}
        return _priced(self.pricer, total_ns, self.counted, self.steps, self.samples)


@dataclass(frozen=True)
class _Lay:
    """Lays steps of full runs side by side in the next steps of the stream.

    intervals: of some samples, int64 [n]. longest: steps of a full run.
    """

    intervals: IntArray
    longest: int

    @property
    def steps(self) -> int:
        """From the start of the first of these samples to the start of the one after the last."""
        return int(self.intervals.sum())

    def window(self, depth: int) -> npt.NDArray[np.bool_]:
        """The steps of each sample's own run in which a layer at this depth works on it, bool [n, longest]."""
        step = np.arange(self.longest)
        return (step >= depth) & (step < depth + self.intervals[:, None])

    def raise_to(self, slowest: FloatArray, side: FloatArray, depth: int) -> None:
        """Raise each step of the stream to what this layer needs in it; side broadcasts to [n, longest]."""
        flat = np.broadcast_to(side, (len(self.intervals), self.longest))[self.window(depth)]
        laid = slowest[depth : depth + flat.size]
        np.maximum(laid, flat, out=laid)

    def add_cores(self, met: FloatArray, times: FloatArray, depth: int) -> None:
        """Add each core's times, which broadcast to [n, longest, cores], to its steps of the stream, [steps, cores]."""
        whole = np.broadcast_to(times, (len(self.intervals), self.longest, times.shape[-1]))[self.window(depth)]
        met[depth : depth + len(whole)] += whole


def _priced(
    pricer: Pricer, total_ns: dict[Edge, float], counted: FloatArray, steps: int, samples: int
) -> StreamEstimate:
    time_ns: dict[Edge, FloatArray] = {edge: np.array([total_ns[edge] / samples]) for edge in EDGES}
    if pricer.terms().no_time:
        time_ns = {edge: np.array([np.nan]) for edge in EDGES}
    static = static_energy_pj(pricer.chip, pricer.placement, time_ns)
    energy_pj = {}
    for edge in EDGES:
        prices = np.stack([pricer.energy_pj(edge, route) for route in pricer.routes])
        shared = steps * pricer.step_pj(edge) / samples + pricer.chip.reset.energy_pJ_per_sample.at(edge)
        dynamic = shared + (counted * prices).sum() / samples
        energy_pj[edge] = dynamic + (0.0 if np.isnan(static["value"][0]) else float(static[edge][0]))
    seconds = Figure(*(float(time_ns[edge][0]) / NANO for edge in ("value", "low", "high")))
    joules = Figure(*(energy_pj[edge] / PICO for edge in ("value", "low", "high")))
    rate = Figure(*(1 / time if time else np.nan for time in (seconds.value, seconds.high, seconds.low)))
    return StreamEstimate(seconds, joules, rate)
