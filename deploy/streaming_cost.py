"""What a stream of samples costs, put together from their full runs: samples back to back, the pipeline never empty.

In a stream the layer at depth l begins with a sample l steps after the source, and works on it for as many steps as
pass until the next sample starts; until then it does exactly what it does in the sample's full run. So the steps of a
stream are laid side by side from full runs, each layer in its own time, and priced with all that happens at once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cost import NANO, PICO, Figure, static_energy_pj
from spikecut.deploy.hardware import Chip, Edge
from spikecut.deploy.placement import Placement
from spikecut.deploy.pricing import EDGES, EVENTS, Pricer
from spikecut.deploy.trace import RunTrace
from spikecut.errors import InputError
from spikecut.export.graph import IntArray

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
    pricer = Pricer.of(full, chip, placement)
    steps = int(intervals.sum())
    slowest = {edge: np.zeros(steps) for edge in EDGES}
    counted = np.zeros((len(pricer.routes), len(EVENTS)))
    for part, counts in pricer.chunks(full):
        first = int(intervals[: part.start].sum())
        for index, (route, count) in enumerate(zip(pricer.routes, counts, strict=True)):
            for edge in EDGES:
                sides = pricer.slowest_ns(edge, route, count)
                for side, depth in zip(sides, (index + 1, index), strict=True):
                    _lay(
                        slowest[edge],
                        np.broadcast_to(side, (len(intervals[part]), longest)),
                        depth,
                        intervals[part],
                        first,
                    )
            events = pricer.events(count, route, np.ones((len(intervals[part]), longest), dtype=bool))
            sent, received = _window(intervals[part], longest, index + 1), _window(intervals[part], longest, index)
            counted[index] += np.where(RECEIVED, events[received].sum(axis=0), events[sent].sum(axis=0))
    return _priced(pricer, slowest, counted, steps, full.samples)


def _window(intervals: IntArray, longest: int, depth: int) -> npt.NDArray[np.bool_]:
    """The hardware steps of each sample's own run in which a layer at this depth works on it, bool [samples, steps]."""
    step = np.arange(longest)
    return (step >= depth) & (step < depth + intervals[:, None])


def _lay(slowest: FloatArray, side: FloatArray, depth: int, intervals: IntArray, first: int) -> None:
    """Raise each step of the stream to what this layer needs in it; the last steps fall off the end."""
    flat = side[_window(intervals, side.shape[1], depth)]
    begin = first + depth
    stop = min(begin + flat.size, slowest.size)
    if stop > begin:
        slowest[begin:stop] = np.maximum(slowest[begin:stop], flat[: stop - begin])


def _priced(
    pricer: Pricer, slowest: dict[Edge, FloatArray], counted: FloatArray, steps: int, samples: int
) -> StreamEstimate:
    time_ns: dict[Edge, FloatArray] = {
        edge: np.array([(slowest[edge].sum() + steps * pricer.fixed_ns(edge)) / samples]) for edge in EDGES
    }
    if all(quantity.value is None for quantity in pricer.terms()[0].values()):
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
