"""What SANA-FE should count of a run: events, simple timing and energy, on the same placement."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from spikecut.deploy.cost.columns import IN_MEMORY
from spikecut.deploy.cost.estimate import LEFT_OUT, ChipCosts
from spikecut.deploy.cost.pricing import Pricer
from spikecut.deploy.cost.traffic import Counts
from spikecut.deploy.placement.hardware import Chip, SampleReset
from spikecut.deploy.placement.monitor import CHARGED
from spikecut.deploy.run_trace import RunTrace
from spikecut.deploy.sanafe.answers import SanafeTotals, sent
from spikecut.deploy.sanafe.network import MappedNetwork
from spikecut.export.network.arrays import IntArray


def expected_totals(mapped: MappedNetwork, trace: RunTrace) -> list[SanafeTotals]:
    """The totals of each sample of a full run recorded with record="all"."""
    chip, seen = _as_simulated(mapped.chip), _as_seen(trace)
    pricer = Pricer.of(mapped.network, chip, mapped.placement)
    if mapped.network.input.bits:
        pricer = _BitPricer(pricer.chip, pricer.placement, pricer.routes)
    costs = ChipCosts(mapped.network, pricer, (), IN_MEMORY)
    counted = _Counted()
    costs.gatherers.append(counted)
    costs.add(seen)
    estimate = costs.estimate(seen.hardware_steps)
    times, energies = estimate.latency_s.value.tolist(), estimate.dynamic_energy_j.value.tolist()
    found = zip(_spikes(mapped, seen).tolist(), counted.totals, times, energies, strict=True)
    return [
        SanafeTotals(spikes, round(messages), round(hops), round(synops), time, energy)
        for spikes, (messages, hops, synops), time, energy in found
    ]


def _as_simulated(chip: Chip) -> Chip:
    """The chip with nothing but what SANA-FE counts."""
    alone = dict.fromkeys(set(CHARGED) - {"delay_steps"}, LEFT_OUT)  # a run to the horizon has no delay
    return chip.model_copy(
        update={
            "timing": "sum",
            "barrier": chip.barrier.model_copy(update={"energy_pJ_per_step": LEFT_OUT}),
            "monitor": chip.monitor.model_copy(update=alone),
            "reset": SampleReset(energy_pJ_per_sample=LEFT_OUT),
        }
    )


def _as_seen(trace: RunTrace) -> RunTrace:
    """The run without the messages of a readout that never fires."""
    last = trace.events[-1]
    if trace.network.readout == "count":
        return trace
    silent = replace(last, spikes=last.spikes * 0, raster=None if last.raster is None else last.raster * 0)
    return replace(trace, events=(*trace.events[:-1], silent))


class _BitPricer(Pricer):
    """A pricer whose first layer takes a message for each bit of a graded input."""

    def chunks(self, trace: RunTrace) -> Iterator[tuple[slice, list[Counts]]]:
        """Samples, and per layer their events per core."""
        first = self.routes[0]
        more = _bits(np.abs(sent(trace, 0))) - (sent(trace, 0) != 0)
        for part, counts in super().chunks(trace):
            axons = counts[0].axons + more[part] @ (first.incoming > 0).astype(np.int64)
            synops = counts[0].synops + more[part] @ first.incoming
            yield part, [replace(counts[0], axons=axons, synops=synops), *counts[1:]]


def _bits(values: IntArray) -> IntArray:
    """How many bits of each are set, int64."""
    found, rest = np.zeros(values.shape, dtype=np.int64), values.astype(np.int64)
    while rest.any():
        found += rest & 1
        rest = rest >> 1
    return found


def _spikes(mapped: MappedNetwork, trace: RunTrace) -> IntArray:
    """Spikes of layers and of input neurons, which are there once for each tile, int64 [samples]."""
    bits = _bits(np.abs(sent(trace, 0)))
    found = [events.spikes.sum(axis=1) for events in trace.events[1:]]
    found += [bits[:, :, elements].sum(axis=(1, 2)) for elements in mapped.inputs.values()]
    return np.asarray(np.sum(found, axis=0), dtype=np.int64)


class _Counted:
    """Messages, hops and synaptic operations of each sample."""

    def __init__(self) -> None:
        self.totals: list[tuple[float, float, float]] = []

    def add(self, run: RunTrace, part: slice, counts: list[Counts]) -> None:
        """Take some samples, with their events per core for every layer."""
        ran = np.arange(run.events[0].spikes.shape[1]) < run.hardware_steps[part, None]
        sums = np.zeros((len(ran), 3))
        for count in counts:
            axes = count.axons.sum(axis=2), count.hops.sum(axis=2), count.synops.sum(axis=2)
            for column, each in enumerate(axes):
                sums[:, column] += np.where(ran, each, 0.0).sum(axis=1)
        self.totals += [(float(row[0]), float(row[1]), float(row[2])) for row in sums]
