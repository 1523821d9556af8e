"""Streams on the host: scores that are at hand, or a network that is reset at every verdict, many streams at once."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.batched.slots import layer_slots
from spikecut.deploy.backends.inputs import check_frames
from spikecut.deploy.backends.kernels.product import channels_last, torch_order
from spikecut.deploy.cutoff.stream import StreamCutoff, StreamDecisions, StreamRun, StreamSettings, check_stream
from spikecut.errors import DataError
from spikecut.export.network.arrays import Integers
from spikecut.export.network.connectivity import skip_paths
from spikecut.export.network.layers import IntegerNetwork


def run_scores(scores: npt.ArrayLike, settings: StreamSettings) -> StreamRun:
    """Judge streams of scores, int64 [F, N, classes], whatever made them: nothing is reset but the sums."""
    steps = np.asarray(scores)
    if steps.ndim != 3 or steps.dtype.kind not in "iu" or min(steps.shape) < 1:
        raise DataError(f"stream scores of shape {steps.shape}, type {steps.dtype}: expected integers [F, N, classes]")
    judge = StreamCutoff(settings, steps.shape[2], steps.shape[1])
    return _joined([judge.step(step) for step in steps.astype(np.int64)])


def run_network(network: IntegerNetwork, frames: Integers, settings: StreamSettings) -> StreamRun:
    """Feed streams of encoded frames [F, N, *shape] to a network that every verdict resets, as the reset wave does.

    In the pipeline the P frames that follow a segment's last one are under way when the verdict falls, and the next
    segment begins with the frame after them. The gap is the network's depth, whatever the settings say; every segment
    starts from rest, each layer with its first real input.

    Raises DataError if the frames do not fit the network, InputError if a segment may outlast its gains per timestep.
    """
    check_frames(network, frames)
    check_stream(network, settings)
    settings = replace(settings, gap=network.depth)
    streams = frames.shape[1]
    judge = StreamCutoff(settings, network.classes, streams)
    # In a gap the layers run on, until the reset that ends it.
    longest = settings.longest + network.depth
    layers = layer_slots(network.layers, network.input.minimum, network.input.maximum, longest, streams, "auto")
    paths = skip_paths(network)
    before = np.zeros((streams, network.classes), dtype=np.int64)
    decisions = []
    for frame in frames:
        begins = np.flatnonzero(judge.begins)
        before[begins] = 0
        messages = channels_last(frame, network.input_shape).astype(layers[0].input_dtype)
        points = [messages]
        for depth, layer in enumerate(layers, start=1):
            layer.reset(begins)
            skipped = points[paths[depth].source] if depth in paths else None
            messages = layer.fire(layer.sums(messages, skipped))
            points.append(messages)
        output = torch_order(messages, network.layers[-1].output_shape).astype(np.int64)
        decisions.append(judge.step(output - before if network.readout == "membrane" else output))
        before = output
    return _joined(decisions)


def _joined(decisions: list[StreamDecisions]) -> StreamRun:
    return StreamRun(
        emitted=np.stack([each.emitted for each in decisions]),
        safe=np.stack([each.safe for each in decisions]),
        predictions=np.stack([each.predictions for each in decisions]),
        timesteps=np.stack([each.timesteps for each in decisions]),
        announced=np.stack([each.announced for each in decisions]),
    )
