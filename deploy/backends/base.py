"""What the backends share: checks on inputs, exits, events from rasters."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from spikecut.deploy.run_trace import LayerEvents
from spikecut.errors import DataError
from spikecut.export.network.connectivity import fan_out, recurrent_fan_out
from spikecut.export.network.layers import IntArray, IntegerNetwork, Integers, size
from spikecut.export.network.skip import skip_paths
from spikecut.memory import check_memory

Record = Literal["output", "events", "all"]
RECORDS = ("output", "events", "all")
LavaModels = Literal["stock", "fast", "fused"]


def check_inputs(network: IntegerNetwork, inputs: Integers) -> None:
    """Raise DataError unless inputs are integers [T, N, *shape] within the input's range."""
    want = network.input_shape
    if inputs.dtype.kind not in "iub" or inputs.ndim != len(want) + 2 or inputs.shape[2:] != want:
        raise DataError(f"inputs of shape {inputs.shape}, type {inputs.dtype}: encode samples of shape {want} first")
    if inputs.shape[0] != network.horizon:
        raise DataError(f"inputs of {inputs.shape[0]} timesteps, the network's horizon is {network.horizon}")
    if inputs.shape[1] == 0:
        raise DataError("no samples to run")
    if _outside(inputs, network.input.minimum, network.input.maximum):
        raise DataError(f"an input message lies outside [{network.input.minimum}, {network.input.maximum}]")


def check_frames(network: IntegerNetwork, frames: Integers) -> None:
    """Raise DataError unless streams of frames are integers [F, N, *shape] within the input's range."""
    shape = network.input_shape
    if frames.ndim != len(shape) + 2 or frames.shape[2:] != shape or frames.dtype.kind not in "iub":
        raise DataError(
            f"stream frames of shape {frames.shape}, type {frames.dtype}: encode frames of shape {shape} first"
        )
    if 0 in frames.shape[:2]:
        raise DataError("no frames to run")
    if frames.min() < network.input.minimum or frames.max() > network.input.maximum:
        raise DataError(f"a frame's message lies outside [{network.input.minimum}, {network.input.maximum}]")


def _outside(inputs: Integers, minimum: int, maximum: int) -> bool:
    """Whether a value leaves the range; types that cannot are not searched."""
    if inputs.dtype.kind == "b":
        return maximum < 1 and bool(inputs.any())
    limits = np.iinfo(inputs.dtype)
    return bool((limits.min < minimum and inputs.min() < minimum) or (limits.max > maximum and inputs.max() > maximum))


def raster_bytes(network: IntegerNetwork) -> int:
    """Bytes of all messages of one sample: int32, every element of every layer in every hardware step."""
    shapes = [network.input_shape, *(layer.output_shape for layer in network.layers)]
    return 4 * (network.horizon + network.depth) * sum(size(shape) for shape in shapes)


def check_run_memory(network: IntegerNetwork, samples: int, record: Record) -> None:
    """InputError unless the results of so many samples fit into the memory."""
    need = samples * network.horizon * (16 * network.classes + 1)
    if record != "output":
        need += samples * 32 * (network.depth + 1) * (network.horizon + network.depth)
    if record == "all":
        need += 2 * samples * raster_bytes(network)
    what = {"output": "the scores", "events": "scores and event counts", "all": "all messages"}[record]
    less = "" if record == "output" else ", or record='output'"
    check_memory(
        need,
        f"{network.name}: {what} of {samples:,} samples over {network.horizon:,} timesteps",
        f"take fewer samples (--samples){less}",
    )


def padded_scores(scores: IntArray, timesteps: IntArray) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Scores with everything after the exit blanked, and the mask [T, N] of what is known."""
    valid = np.arange(scores.shape[0])[:, None] < timesteps[None, :]
    return np.where(valid[..., None], scores, 0), valid


def layer_events(
    network: IntegerNetwork,
    rasters: list[npt.NDArray[np.int32]],
    steps: IntArray,
    record: Record,
    counts: Sequence[tuple[IntArray, IntArray]] = (),
) -> tuple[LayerEvents, ...]:
    """Events per layer from rasters [N, H, elements] in hardware steps of each sample's own run, source first.

    The rasters are kept, and blanked where a sample did not run.

    An engine that counted spikes and synaptic operations itself gives `counts` [N, H] instead. The operations of a skip
    belong to the step in which the relay gives the messages on.

    A layer at depth l begins at hardware step l + 1 with the sample's first real input. What it still does for the
    sample before is not counted here, so that a sample's events do not depend on its predecessor.
    """
    if record == "output":
        return ()
    longest = int(steps.max())
    ran = np.arange(longest)[None, :] < steps[:, None]
    names = ["input", *(layer.name for layer in network.layers)]
    shapes = [network.input_shape, *(layer.output_shape for layer in network.layers)]
    if counts:
        return tuple(
            LayerEvents(name, shape, np.where(ran, spikes[:, :longest], 0), np.where(ran, synops[:, :longest], 0))
            for name, shape, (spikes, synops) in zip(names, shapes, counts, strict=True)
        )
    events: list[LayerEvents] = []
    arriving = np.zeros(ran.shape, dtype=np.int64)
    relayed = {depth: np.zeros(ran.shape, dtype=np.int64) for depth in range(len(names))}
    for depth, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        raster = rasters[depth][:, :longest]
        raster[~ran] = 0
        sent = raster != 0
        for path in skip_paths(network).values():
            if path.source == depth and path.steps < longest:
                reached = sent[:, : longest - path.steps] @ fan_out(path.skip)
                relayed[path.target][:, path.steps :] = np.where(ran[:, path.steps :], reached, 0)
        events.append(
            LayerEvents(
                name=name,
                shape=shape,
                spikes=sent.sum(axis=2, dtype=np.int64),
                synops=arriving + _recurrent(network, depth, sent) + relayed[depth],
                raster=raster if record == "all" else None,
            )
        )
        if depth < network.depth:
            arriving = sent @ fan_out(network.layers[depth])
    return tuple(events)


def _recurrent(network: IntegerNetwork, depth: int, sent: npt.NDArray[np.bool_]) -> IntArray | int:
    """Synaptic operations that a layer's own spikes cause in it."""
    if depth == 0 or network.layers[depth - 1].recurrent is None:
        return 0
    operations: IntArray = sent @ recurrent_fan_out(network.layers[depth - 1])
    return operations
