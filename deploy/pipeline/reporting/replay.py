"""What a run's folder does not hold, from running its samples again: scores over time, spikes, loads, rasters.

The batched engine gives the integers of every backend; here it is checked once more that its answers are those of the
run, sample by sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.memory import samples_at_once
from spikecut.deploy.backends.progress import Progress, silent
from spikecut.deploy.cost.attribution import attribute
from spikecut.deploy.cost.halted import halted
from spikecut.deploy.cutoff.topk import TopK
from spikecut.deploy.pipeline.reporting.sources import Source
from spikecut.deploy.placement.hardware import Chip, Hardware
from spikecut.deploy.placement.mesh import mesh_cells
from spikecut.deploy.report.html.contents import Mesh, Played
from spikecut.deploy.run.stored import StoredRun
from spikecut.deploy.run_trace import IntArray, RunTrace
from spikecut.errors import CapabilityError, InputError
from spikecut.export.encode import encode
from spikecut.text import brief

REPLAYED = 1000
"""Samples that are run again for accuracy over time, spikes and synaptic operations; fewer in a larger network."""
PRICED = 256
"""Samples whose messages are priced at every exit."""
PLAYED = 20
WRONG_PLAYED = 8
"""Wrong samples among those that are played, if there are as many."""


@dataclass(frozen=True)
class Replay:
    """A run's first samples again.

    Attributes
    ----------
    scores: to the horizon, int64 [T, N, classes]. labels: int64 [N].
    timesteps: of the run's exits, int64 [N]. accuracy is that of the whole run in its summary.
    spikes, synops: layer → mean per sample until the exit; the source is "input".
    priced: the first of these samples to the horizon, with their messages.
    """

    scores: IntArray
    labels: IntArray
    timesteps: IntArray
    spikes: Mapping[str, float]
    synops: Mapping[str, float]
    priced: RunTrace

    __repr__ = brief


def replay(run: StoredRun, source: Source, progress: Progress = silent) -> Replay:
    """Run the first samples of a run again.

    Raises InputError if an answer or an exit is not that of the run.
    """
    network, samples = source.bundle.network, min(REPLAYED, run.summary.samples)
    few = min(PRICED, samples, samples_at_once(network))
    inputs = encode(source.split.x[:samples], network)
    with progress(f"{network.name} again, for the report", samples) as advance:
        trace = run_batched(network, inputs, source.policy, record="events", progress=advance)
    for name, found in (("prediction", trace.predictions), ("timesteps", trace.timesteps)):
        stored = run.samples[name].to_numpy()[:samples]
        if not np.array_equal(stored, found):
            first = int(np.argmax(stored != found))
            raise InputError(
                f"run again, sample {first} has {name} {found[first]}, the run has {stored[first]}: was it changed?"
            )
    return Replay(
        scores=run_batched(network, inputs).scores,
        labels=np.asarray(source.split.y[:samples], dtype=np.int64),
        timesteps=trace.timesteps,
        spikes={layer.name: float(layer.spikes.sum() / samples) for layer in trace.events},
        synops={layer.name: float(layer.synops.sum() / samples) for layer in trace.events},
        priced=run_batched(network, inputs[:, :few], record="all"),
    )


def meshes(again: Replay, hardware: Mapping[str, Hardware]) -> tuple[Mesh, ...]:
    """The cores in use on every chip on which the network can run, with their mean load until the exits."""
    trace = halted(again.priced, again.timesteps[: again.priced.samples])
    found = []
    for name, chip in hardware.items():
        if not isinstance(chip, Chip):
            continue
        try:
            ran = attribute(trace, chip)
        except CapabilityError:
            continue
        limits = chip.limits
        columns, rows, per_tile = (
            int(limit.value or 1) for limit in (limits.mesh_columns, limits.mesh_rows, limits.cores_per_tile)
        )
        cells = tuple(mesh_cells(ran.placement, chip, ran.busy_ns))
        found.append(Mesh(name, columns, rows, per_tile, ran.placement.chips, ran.layers, cells))
    return tuple(found)


def played(run: StoredRun, source: Source, asked: Sequence[int] = ()) -> Played:
    """At most PLAYED samples of a run with their messages, until their exits.

    asked: their places in the data set; by default a choice of wrong ones and of all exits.

    Raises InputError if one of them is not of the run.
    """
    index = run.samples["index"].to_numpy()
    chosen = _positions(index, asked) if asked else chosen_samples(run)
    network, timesteps = source.bundle.network, run.samples["timesteps"].to_numpy()[chosen]
    order = np.argsort(chosen)  # a file is read in its order
    part = source.split.take(chosen[order])
    back = np.argsort(order)
    whole = run_batched(network, encode(part.x[: len(chosen)][back], network), record="all")
    policy = source.policy
    thresholds = tuple(policy.thresholds) if isinstance(policy, TopK) else ()
    labels = np.asarray(part.y[back], dtype=np.int64)
    return Played(halted(whole, timesteps), labels, index[chosen], thresholds)


def _positions(index: IntArray, asked: Sequence[int]) -> IntArray:
    if len(asked) > PLAYED:
        raise InputError(f"{len(asked)} samples to play: at most {PLAYED}")
    unknown = sorted(set(asked) - set(index.tolist()))
    if unknown:
        raise InputError(f"sample {unknown[0]} is not of this run: its samples are {index.min()} to {index.max()}")
    return np.array([int(np.argmax(index == each)) for each in dict.fromkeys(asked)], dtype=np.int64)


def chosen_samples(run: StoredRun) -> IntArray:
    """Positions of at most PLAYED samples: some wrong ones, and right ones from the earliest exit to the latest."""
    timesteps = run.samples["timesteps"].to_numpy()
    right = run.samples["prediction"].to_numpy() == run.samples["label"].to_numpy()
    wrong = _spread(np.flatnonzero(~right), timesteps, WRONG_PLAYED)
    return np.concatenate([_spread(np.flatnonzero(right), timesteps, PLAYED - len(wrong)), wrong])


def _spread(positions: IntArray, timesteps: IntArray, most: int) -> IntArray:
    """At most so many of these, spread evenly over the different exits, early ones first."""
    by_exit: dict[int, list[int]] = {}
    for position in positions.tolist():
        by_exit.setdefault(int(timesteps[position]), []).append(position)
    chosen: list[int] = []
    rank = 0
    while len(chosen) < min(most, len(positions)):
        chosen += [found[rank] for _, found in sorted(by_exit.items()) if rank < len(found)]
        rank += 1
    kept: npt.NDArray[np.int64] = np.array(chosen[:most], dtype=np.int64)
    return kept[np.argsort(timesteps[kept], kind="stable")]
