"""Runs samples on Lava's CPU simulator through one compiled graph, each alone or in a stream."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.base import MODES, LavaModels, Record, RunSettings
from spikecut.deploy.backends.events import layer_events, padded_scores
from spikecut.deploy.backends.inputs import check_inputs
from spikecut.deploy.backends.lava.graph import LavaGraph, Played
from spikecut.deploy.cutoff.base import CutoffPolicy, ExitReason
from spikecut.deploy.run_trace import Mode, RunTrace, joined
from spikecut.errors import BackendError, InputError
from spikecut.export.network.arrays import Integers, size
from spikecut.export.network.layers import IntegerNetwork

STREAM_CHUNK = 256
PART_SAMPLES = 64
PART_SECONDS = 5.0


def run_lava(
    network: IntegerNetwork,
    inputs: Integers,
    policy: CutoffPolicy | None = None,
    record: Record = "output",
    net_file: Path | None = None,
    mode: Mode = "isolated",
    models: LavaModels = "fast",
) -> RunTrace:
    """Run encoded samples [T, N, *shape] on Lava, halted by the monitor, through one compiled graph.

    Parameters
    ----------
    mode: "isolated": each sample alone, the run pauses at its verdict. "streaming": the monitor starts the next sample
        itself, at the verdict or after T frames. Same results; only hardware steps and wall time differ.
    models: "stock": Lava's own arithmetic. "fast": the same Processes with faster models. "fused": all layers in one
        Process. Same results and hardware steps; only wall time differs.

    Raises
    ------
    BackendError: Lava is missing or fails. DataError, InputError: inputs, policy, mode or models do not fit.
    UnsupportedError: no Process implements a feature of the network.
    """
    return joined(list(lava_parts(network, inputs, RunSettings(policy, record, mode, models, net_file))))


def lava_parts(network: IntegerNetwork, inputs: Integers, settings: RunSettings) -> Iterator[RunTrace]:
    """Like run_lava from sample `settings.first` on, in parts of a few samples; before a failure those finished.

    A stream is cut into chunks of STREAM_CHUNK samples; `first` must be the first sample of one, or N.
    """
    check_inputs(network, inputs)
    mode, record, first = settings.mode, settings.record, settings.first
    if mode not in MODES:
        raise InputError(f"mode {mode!r}: expected {' or '.join(MODES)}")
    samples = inputs.shape[1]
    chunk = 1 if mode == "isolated" else min(STREAM_CHUNK, samples)
    if not 0 <= first <= samples or (first % chunk and first != samples):
        raise InputError(f"sample {first} of {samples} does not begin a chunk of {chunk}")
    if first == samples:
        return
    played: list[Played] = []
    wall: list[npt.NDArray[np.float64]] = []
    since = time.monotonic()

    def part() -> RunTrace:
        """What has been played since the last part."""
        nonlocal first, since
        seconds = np.concatenate(wall)
        after = first + len(seconds)
        trace = _trace(network, inputs[:, first:after], played, seconds, record, mode)
        first, since = after, time.monotonic()
        played.clear()
        wall.clear()
        return trace

    recorded, models = record != "output", settings.models
    with LavaGraph(network, settings.policy, recorded, settings.net_file, capacity=chunk, models=models) as graph:
        try:
            for start in range(first, samples, chunk):
                began = time.perf_counter_ns()
                played.append(graph.play(inputs[:, start : start + chunk]))
                wall.append(np.diff(played[-1].clock_ns, prepend=began) / 1e9)
                if settings.progress is not None:
                    settings.progress(len(wall[-1]))
                if len(played) * chunk >= PART_SAMPLES or time.monotonic() - since > PART_SECONDS:
                    yield part()
        except (BackendError, KeyboardInterrupt):
            if played:
                yield part()
            raise
    if played:
        yield part()


def _trace(
    network: IntegerNetwork,
    inputs: Integers,
    played: list[Played],
    wall: npt.NDArray[np.float64],
    record: Record,
    mode: Mode,
) -> RunTrace:
    """The chunks of a run as one RunTrace."""
    timesteps = np.concatenate([part.timesteps for part in played])
    steps = np.concatenate([part.verdicts - part.starts + 1 for part in played])
    # A sample holds the source until the next one starts; the last one of a chunk until its verdict.
    interval = np.concatenate([np.diff(part.starts, append=part.verdicts[-1] + 1) for part in played])
    scores, valid = padded_scores(np.concatenate([part.scores for part in played]).swapaxes(0, 1), timesteps)
    rasters: list[npt.NDArray[np.int32]] = []
    if record != "output":
        longest = network.horizon + network.depth
        source = np.zeros((len(steps), longest, size(network.input_shape)), dtype=np.int32)
        source[:, : network.horizon] = inputs.reshape(network.horizon, len(steps), -1).swapaxes(0, 1)
        rasters = [source]
        for layer in range(len(network.layers)):
            rasters.append(np.concatenate([part.messages[layer] for part in played]))
    cuts = np.concatenate([part.cut for part in played])
    return RunTrace(
        scores=scores,
        valid=valid,
        timesteps=timesteps,
        hardware_steps=steps,
        reason=tuple(ExitReason.CUTOFF if cut else ExitReason.HORIZON for cut in cuts),
        network=network,
        backend="lava",
        events=layer_events(network, rasters, steps, record),
        wall_time_s=wall,
        mode=mode,
        interval=interval,
    )
