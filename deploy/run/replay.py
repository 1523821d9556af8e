"""The messages of a run that kept only their counts: its samples run again on the batched engine, a few at a time.

All messages of 10,000 samples are gigabytes, while whatever is made of them needs but a few samples at once. That the
engine sends what Lava sent is tested, and checked here once more: its counts must be those of the run.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.memory import samples_at_once
from spikecut.deploy.cost.halted import halted
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.run_trace import LayerEvents, RunTrace, lengthened, sliced
from spikecut.errors import BackendError
from spikecut.export.network.arrays import IntArray, Integers
from spikecut.export.network.layers import IntegerNetwork


class Part(NamedTuple):
    """Some samples of a run, and of its full run if it has one, with their messages; first: position of the first."""

    first: int
    trace: RunTrace
    full: RunTrace | None


def replayed(inputs: Integers, policy: CutoffPolicy | None, trace: RunTrace, full: RunTrace | None) -> Iterator[Part]:
    """All samples of a run, in their order, with their messages.

    Parameters
    ----------
    inputs: encoded samples [T, N, *shape], those of the run. policy: that of the run.
    trace, full: the run and the full run of the same samples, with their counts.

    Raises BackendError where the engine counts other messages than the run.
    """
    network = trace.network
    for first in range(0, trace.samples, samples_at_once(network)):
        part = slice(first, min(first + samples_at_once(network), trace.samples))
        again = run_batched(network, inputs[:, part], policy if full is None else None, record="all")
        whole = None if full is None else _with_messages(full, part, again)
        if full is not None:
            again = halted(again, trace.timesteps[part])
        yield Part(first, _with_messages(trace, part, again), whole)


def _with_messages(run: RunTrace, part: slice, again: RunTrace) -> RunTrace:
    """These samples of the run, with the messages that the engine sent."""
    if not np.array_equal(again.hardware_steps, run.hardware_steps[part]):
        raise _differs(run, "hardware steps")
    longest = run.events[0].spikes.shape[1]
    sent_again = lengthened(again, longest)
    if run.mode == "streaming":
        sent_again = _until_next(sent_again, run.interval[part])
    events = []
    for counted, sent in zip(run.events, sent_again.events, strict=True):
        raster = sent.raster
        layer = LayerEvents(counted.name, counted.shape, counted.spikes[part], counted.synops[part], raster)
        if raster is None or not np.array_equal(np.count_nonzero(raster, axis=2), layer.spikes):
            raise _differs(run, f"spikes of {layer.name}")
        if run.mode == "isolated" and not np.array_equal(sent.synops, layer.synops):
            raise _differs(run, f"synaptic operations of {layer.name}")
        events.append(layer)
    return replace(sliced(run, part), events=tuple(events))


def _differs(run: RunTrace, what: str) -> BackendError:
    return BackendError(
        f"{what}: the batched engine differs from this run on {run.backend}: spikecut verify shows where they differ"
    )


def sample_with_messages(network: IntegerNetwork, inputs: Integers, halt: int, interval: int | None = None) -> RunTrace:
    """One sample as a run of its own, with its messages.

    Parameters
    ----------
    inputs: the encoded sample [T, 1, *shape]. halt: the timestep of its exit.
    interval: of a run in a stream, hardware steps until the next sample started; None where none did.
    """
    shown = halted(run_batched(network, inputs, record="all"), np.array([halt]))
    return shown if interval is None else _until_next(shown, np.array([interval]))


def _until_next(run: RunTrace, interval: IntArray) -> RunTrace:
    """The next sample begins: what a layer sends from then on is not this one's."""
    step = np.arange(run.events[0].spikes.shape[1])
    return replace(
        run,
        events=tuple(
            replace(layer, raster=layer.raster * (step < depth + interval[:, None])[..., None])
            for depth, layer in zip(run.network.depths, run.events, strict=True)
            if layer.raster is not None
        ),
    )
