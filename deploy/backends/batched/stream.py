"""Streams on the host: scores that are at hand, or a network that is reset at every verdict, many streams at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.batched.slots import LayerSlots, plan_network
from spikecut.deploy.backends.inputs import check_frames
from spikecut.deploy.backends.kernels.arithmetic import Arithmetic, import_torch
from spikecut.deploy.backends.kernels.product import channels_last, torch_order
from spikecut.deploy.cutoff.stream import StreamCutoff, StreamDecisions, StreamRun, StreamSettings, check_stream
from spikecut.errors import DataError
from spikecut.export.network.arrays import IntArray, Integers
from spikecut.export.network.layers import IntegerNetwork


def run_scores(scores: npt.ArrayLike, settings: StreamSettings) -> StreamRun:
    """Judge streams of scores, int64 [F, N, classes], whatever made them: nothing is reset but the sums."""
    steps = np.asarray(scores)
    if steps.ndim != 3 or steps.dtype.kind not in "iu" or min(steps.shape) < 1:
        raise DataError(f"stream scores of shape {steps.shape}, type {steps.dtype}: expected integers [F, N, classes]")
    judge = StreamCutoff(settings, steps.shape[2], steps.shape[1])
    return StreamRun.of([judge.step(step) for step in steps.astype(np.int64)])


def run_network(network: IntegerNetwork, frames: Integers, settings: StreamSettings) -> StreamRun:
    """Feed streams of encoded frames [F, N, *shape] to a network that every verdict resets, as the reset wave does.

    In the pipeline the P frames that follow a segment's last one are under way when the verdict falls, and the next
    segment begins with the frame after them. The gap is the network's depth, whatever the settings say; every segment
    starts from rest, each layer with its first real input.

    Raises DataError if the frames do not fit the network, InputError if a segment may outlast its gains per timestep.
    """
    check_frames(network, frames)
    return StreamRun.of(list(stream_network(network, [frames], settings)))


def stream_network(
    network: IntegerNetwork, pieces: Iterable[Integers], settings: StreamSettings
) -> Iterator[StreamDecisions]:
    """What `run_network` says of each frame, as it says it; pieces: encoded frames [F, N, *shape], the same N in each.

    Raises what `run_network` raises, for a piece when it comes.
    """
    check_stream(network, settings)
    settings = replace(settings, gap=network.depth)
    # In a gap the layers run on, until the reset that ends it.
    longest = settings.longest + network.depth
    judge: StreamCutoff | None = None
    for piece in pieces:
        check_frames(network, piece)
        if judge is None:
            streams = piece.shape[1]
            judge = StreamCutoff(settings, network.classes, streams)
            plans = plan_network(network, longest, Arithmetic(torch=import_torch()))
            layers = [LayerSlots(plan, streams) for plan in plans]
            before = np.zeros((streams, network.classes), dtype=np.int64)
        for frame in piece:
            begins = np.flatnonzero(judge.begins)
            before[begins] = 0
            output = _fired(network, layers, frame, begins)
            yield judge.step(output - before if network.readout == "membrane" else output)
            before = output


def _fired(network: IntegerNetwork, layers: Sequence[LayerSlots], frame: Integers, begins: IntArray) -> IntArray:
    """The output of one frame [N, *shape], int64 [N, classes], after the layers of some streams were reset."""
    points = [channels_last(frame, network.input_shape).astype(layers[0].input_dtype)]
    for layer, paths in zip(layers, network.paths, strict=True):
        layer.reset(begins)
        messages, *skipped = (points[path.source] for path in paths)
        points.append(layer.fire(layer.sums(messages, skipped)))
    return torch_order(points[-1], network.layers[-1].output_shape).astype(np.int64)
