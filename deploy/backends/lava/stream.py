"""Streams without end on Lava: the monitor cuts, emits, resets and continues, inside the simulator."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from spikecut.deploy.backends.base import LavaModels
from spikecut.deploy.backends.inputs import check_frames
from spikecut.deploy.backends.lava.axes import lava_shape, to_lava
from spikecut.deploy.backends.lava.blocks import build_chain, require_lava, starts_of
from spikecut.deploy.backends.lava.simulation import Simulation, check_graph_memory
from spikecut.deploy.cutoff.stream import (
    NOTHING,
    StreamCutoff,
    StreamDecisions,
    StreamRun,
    StreamSettings,
    check_stream,
)
from spikecut.errors import DataError
from spikecut.export.network.arrays import IntArray, Integers, size
from spikecut.export.network.layers import IntegerNetwork

CHUNK = 1024
PATIENCE_S = 60.0  # a step, at the very most


class LavaStream(Simulation):
    """One compiled graph that plays a stream, fed piece by piece. A context manager.

    The verdict on a frame is known P hardware steps after the frame was played, so P silent frames end a stream: see
    `run_lava_stream`. Between two pieces the simulator is paused and keeps its state.

    Parameters
    ----------
    network: the integer network.
    settings: how the stream is judged; its gap is the network's depth P, whatever the settings say.
    capacity: most frames that `feed` takes at once.
    models: "stock", "fast" or "fused", see blocks.py.
    net_file: the network's netx file; written to a temporary place when None and needed.

    Raises BackendError if Lava is missing or the memory too small, InputError if a segment may outlast the
    network's gains per timestep.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        settings: StreamSettings,
        capacity: int = CHUNK,
        models: LavaModels = "fast",
        net_file: Path | None = None,
    ) -> None:
        check_stream(network, settings)
        require_lava()
        from spikecut.deploy.backends.lava.processes import stream, wave

        self.network, self.capacity, self.step = network, capacity, 0
        elements = capacity * size(network.input_shape)
        check_graph_memory(4 * elements + 8 * capacity * stream.VERDICT_COLUMNS, network, models)
        self._frames = wave.shared_int32(elements)
        self._verdicts = wave.shared_int64(capacity * stream.VERDICT_COLUMNS)
        self._control = wave.shared_int64(stream.CONTROL_WORDS)
        self._ring = wave.new_ring(network.depth)
        waves = [
            wave.WaveParameters(self._ring, depth, None, 1, **starts_of(layer.neuron))
            for layer, depth in zip(network.layers, network.depths[1:], strict=True)
        ]
        built = build_chain(network, waves, models, net_file)
        source = stream.FrameSource(shape=lava_shape(network.input_shape), frames=self._frames, control=self._control)
        monitor = stream.StreamMonitor(
            shape=built.out.shape,
            ring=self._ring,
            depth=network.depth,
            judge=StreamCutoff(replace(settings, gap=network.depth), network.classes),
            membrane=network.readout == "membrane",
            control=self._control,
            verdicts=self._verdicts,
        )
        built.connect(source.s_out)
        built.out.connect(monitor.s_in)
        self._anchor, self._config = monitor, built.config

    def feed(self, frames: Integers) -> IntArray:
        """Play encoded frames [F, *shape]; what the monitor said at each hardware step, int64 [F, VERDICT_COLUMNS].

        Raises
        ------
        DataError: frames that do not fit the network, or more of them than the capacity.
        BackendError: a process of the simulator died, raised or fell silent.
        """
        from spikecut.deploy.backends.lava.processes import stream, wave

        check_frames(self.network, frames[:, None])
        count = len(frames)
        if count > self.capacity:
            raise DataError(f"{count} frames at once, this stream takes {self.capacity}: feed it in pieces")
        wave.as_int32(self._frames).reshape(self.capacity, -1)[:count] = to_lava(frames).reshape(count, -1)
        control = wave.as_int64(self._control)
        control[stream.FIRST], control[stream.COUNT] = self.step + 1, count
        if self.step == 0:
            wave.announce(wave.as_int64(self._ring), 1)
        self._run_until_pause()
        self.step += count
        return wave.as_int64(self._verdicts).reshape(self.capacity, -1)[:count].copy()

    def _progress(self) -> int:
        from spikecut.deploy.backends.lava.processes import stream, wave

        return int(wave.as_int64(self._control)[stream.PLAYED])

    @property
    def _patience_s(self) -> float:
        return PATIENCE_S


def run_lava_stream(
    network: IntegerNetwork, frames: Integers, settings: StreamSettings, models: LavaModels = "fast", chunk: int = CHUNK
) -> StreamRun:
    """Play one stream of encoded frames [F, *shape] on Lava to its end; verdicts stand at the frames they rest on.

    Equals `batched.stream.run_network` on the same frames.

    Raises
    ------
    DataError: frames that do not fit the network. BackendError: Lava is missing or failed.
    """
    check_frames(network, frames[:, None])
    pieces = (frames[start : start + chunk] for start in range(0, len(frames), chunk))
    return StreamRun.of(list(stream_on_lava(network, pieces, settings, models, min(chunk, len(frames)))))


def stream_on_lava(
    network: IntegerNetwork,
    pieces: Iterable[Integers],
    settings: StreamSettings,
    models: LavaModels = "fast",
    capacity: int = CHUNK,
) -> Iterator[StreamDecisions]:
    """What the monitor says of each frame, piece by piece; pieces: encoded frames [F, *shape], at most `capacity` each.

    The verdict on a frame comes P hardware steps after it was played: those on the last P frames of a piece come with
    the next one, and after the last piece P silent frames are played.

    Raises what `run_lava_stream` raises.
    """
    with LavaStream(network, settings, max(capacity, network.depth), models) as graph:
        early = network.depth
        silence = np.zeros((network.depth, *network.input_shape), dtype=np.int32)
        for frames in chain(pieces, [silence]):
            for row in graph.feed(frames):
                if early:
                    early -= 1
                    continue
                yield _decision(row)


def _decision(row: IntArray) -> StreamDecisions:
    """A row of the shared verdicts, of one stream."""
    from spikecut.deploy.backends.lava.processes import stream

    emitted = row[[stream.EMITTED]].astype(np.bool_)
    return StreamDecisions(
        emitted=emitted,
        safe=row[[stream.SAFE]].astype(np.bool_),
        predictions=np.where(emitted, row[[stream.PREDICTION]], NOTHING),
        timesteps=row[[stream.TIMESTEPS]],
        announced=row[[stream.ANNOUNCED]],
        margins=row[[stream.MARGIN]],
    )
