"""Spikes and totals, as spikecut expects them and as SANA-FE's traces tell them, side by side."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spikecut.deploy.run_trace import RunTrace
from spikecut.deploy.sanafe.network import MappedNetwork
from spikecut.errors import InputError
from spikecut.export.network.arrays import Integers
from spikecut.files import read_text
from spikecut.text import brief

SPIKES, PERFORMANCE, MESSAGES = "spikes.csv", "perf.csv", "messages.csv"
"""The names of SANA-FE's traces."""
LARGEST_TRACE = 2**30
HEADER = ["neuron", "timestep"]
COUNTS = {"fired": "spikes", "packets": "messages", "hops": "hops", "spikes": "synaptic operations"}
"""Columns of perf.csv that count, and what they count in our words; what it calls spikes are synapses reached."""


class Spike(NamedTuple):
    """A neuron, GROUP.NUMBER, that fired in a step, from 1."""

    step: int
    neuron: str


@dataclass(frozen=True)
class SanafeTotals:
    """Sums over the steps of one sample.

    Attributes
    ----------
    spikes: of input neurons and layers. messages: one per firing neuron and core that it reaches. hops: of all of them.
    synops: synaptic operations. time_s, energy_j: by SANA-FE's "simple" timing.
    """

    spikes: int
    messages: int
    hops: int
    synops: int
    time_s: float
    energy_j: float


@dataclass(frozen=True)
class SanafeComparison:
    """What SANA-FE said, held against what was expected.

    Attributes
    ----------
    spikes: how many SANA-FE saw. difference: the first spike that only one of the two saw, in words; None where all are
        equal. expected, found: the totals; found is None without perf.csv.
    """

    spikes: int
    difference: str | None
    expected: SanafeTotals
    found: SanafeTotals | None

    __repr__ = brief

    def __str__(self) -> str:
        """A line on the spikes, and one on the totals."""
        lines = [f"{self.spikes:,} spikes: {'all equal' if self.difference is None else self.difference}"]
        if self.found is not None:
            pairs = [(name, getattr(self.expected, name), getattr(self.found, name)) for name in vars(self.expected)]
            lines.append("; ".join(f"{name} {ours:.7g} expected, {theirs:.7g} found" for name, ours, theirs in pairs))
        return "\n".join(lines)

    @property
    def equal(self) -> bool:
        """Whether all spikes and counts are; time and energy, which SANA-FE's files round, are not judged."""
        names = ("spikes", "messages", "hops", "synops")
        found = self.found
        return self.difference is None and (
            found is None or all(getattr(found, name) == getattr(self.expected, name) for name in names)
        )


def expected_spikes(mapped: MappedNetwork, trace: RunTrace, sample: int = 0) -> list[Spike]:
    """The spikes of a run recorded with record="all" under the names of SANA-FE's groups, in the order of its trace."""
    steps = int(trace.hardware_steps[sample])
    groups = {name: mapped.input_spikes(name, sent(trace, 0)[sample, :steps]) for name in mapped.inputs}
    for depth, (name, layer) in enumerate(zip(mapped.groups, mapped.network.layers, strict=True), start=1):
        if layer.neuron.reset != "none":
            groups[name] = sent(trace, depth)[sample, :steps] != 0
    found = []
    for name, spikes in groups.items():
        found += [(int(step) + 1, name, int(neuron)) for step, neuron in np.argwhere(spikes)]
    return [Spike(step, f"{name}.{neuron}") for step, name, neuron in sorted(found)]


def sent(trace: RunTrace, depth: int) -> Integers:
    """The messages of the source (0) or of a layer (from 1), int [N, steps, neurons]; InputError if not recorded."""
    raster = trace.events[depth].raster if trace.events else None
    if raster is None:
        raise InputError("this trace holds no messages: run again with record='all'")
    return raster


def spikes_text(spikes: Iterable[Spike]) -> str:
    """Spikes as SANA-FE's spikes.csv."""
    return "".join([",".join(HEADER), "\n", *(f"{spike.neuron},{spike.step}\n" for spike in spikes)])


def read_spikes(path: Path) -> list[Spike]:
    """The spikes of SANA-FE's spikes.csv, in its order; InputError where it is none."""
    header, *rows = _rows(path)
    if header != HEADER:
        raise InputError(f"{path}: no trace of spikes of SANA-FE: expected the columns {', '.join(HEADER)}")
    try:
        return [Spike(int(step), neuron) for neuron, step in rows]
    except ValueError as error:
        raise InputError(f"{path}: a line that is no neuron and timestep ({error})") from error


def read_totals(path: Path) -> SanafeTotals:
    """The sums of SANA-FE's perf.csv; InputError where it is none."""
    header, *rows = _rows(path)
    try:
        column = {name: [row[header.index(name)] for row in rows] for name in (*COUNTS, "sim_time", "total_energy")}
        counts = {name: sum(map(int, column[name])) for name in COUNTS}
        time, energy = (sum(map(float, column[name])) for name in ("sim_time", "total_energy"))
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: no trace of performance of SANA-FE ({error})") from error
    return SanafeTotals(counts["fired"], counts["packets"], counts["hops"], counts["spikes"], time, energy)


def read_messages(path: Path) -> dict[tuple[str, str], int]:
    """Messages between cores, (TILE.CORE, TILE.CORE) → count, of SANA-FE's messages.csv; InputError if it is none."""
    header, *rows = _rows(path)
    found: dict[tuple[str, str], int] = {}
    try:
        number, source, target = (header.index(name) for name in ("mid", "src_hw", "dest_hw"))
        for row in rows:
            if int(row[number]) >= 0:  # the others hold the time of neurons that sent nothing
                found[row[source], row[target]] = found.get((row[source], row[target]), 0) + 1
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: no trace of messages of SANA-FE ({error})") from error
    return found


def compared(spikes: list[Spike], expected: SanafeTotals, answers: Path) -> SanafeComparison:
    """Hold the traces in a folder against what is expected: spikes.csv, and perf.csv where it is there.

    Raises InputError for a trace that is missing or damaged.
    """
    theirs = read_spikes(answers / SPIKES)
    performance = answers / PERFORMANCE
    found = read_totals(performance) if performance.exists() else None
    return SanafeComparison(len(theirs), first_difference(spikes, theirs), expected, found)


def first_difference(ours: Iterable[Spike], theirs: Iterable[Spike]) -> str | None:
    """The first spike that only one of two runs has, in words; None where there is none."""
    only = {True: sorted(set(ours) - set(theirs)), False: sorted(set(theirs) - set(ours))}
    first = min(((spikes[0], mine) for mine, spikes in only.items() if spikes), default=None)
    if first is None:
        return None
    (step, neuron), mine = first
    return f"differ first in step {step}: {neuron} fires {'in spikecut' if mine else 'in SANA-FE'} alone"


def totals_from(data: Mapping[str, int | float]) -> SanafeTotals:
    """Totals as they lie in a file."""
    return SanafeTotals(
        *(int(data[name]) for name in ("spikes", "messages", "hops", "synops")),
        *(float(data[name]) for name in ("time_s", "energy_j")),
    )


def _rows(path: Path) -> list[list[str]]:
    text = read_text(path, InputError, LARGEST_TRACE)
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if not rows:
        raise InputError(f"{path}: empty, expected a trace of SANA-FE")
    return rows
