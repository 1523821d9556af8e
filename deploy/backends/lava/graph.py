"""A network as one compiled graph of Lava Processes, with its source and its cutoff monitor; imports Lava on demand."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.base import LavaModels
from spikecut.deploy.backends.inputs import check_policy
from spikecut.deploy.backends.lava.axes import from_lava, lava_shape, to_lava
from spikecut.deploy.backends.lava.blocks import build_chain, starts_of
from spikecut.deploy.backends.lava.blocks import require_lava as require_lava
from spikecut.deploy.backends.lava.simulation import Simulation, check_graph_memory
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.errors import BackendError
from spikecut.export.network.arrays import IntArray, Integers, size
from spikecut.export.network.layers import IntegerNetwork

PATIENCE_S = 60.0  # a step, at the very most


@dataclass(frozen=True)
class Played:
    """What a graph did with n samples, int64 [n] each unless said otherwise.

    Attributes
    ----------
    timesteps: algorithmic steps used. starts, verdicts: hardware steps of the start and of the verdict.
    cut: bool [n]. clock_ns: the monitor's clock at the verdict. scores: int64 [n, T, classes], stale beyond the exit.
    messages: per layer, int32 [n, T + depth, elements] from the sample's start on, in torch's order; each layer's own
        wave only, up to the verdict or the next sample. Empty when nothing was recorded.
    """

    timesteps: IntArray
    starts: IntArray
    verdicts: IntArray
    cut: npt.NDArray[np.bool_]
    clock_ns: IntArray
    scores: IntArray
    messages: tuple[npt.NDArray[np.int32], ...]


class LavaGraph(Simulation):
    """One compiled Lava graph: source, layers, cutoff monitor. A context manager.

    Parameters
    ----------
    network: the integer network.
    policy: the cutoff, or None to run every sample to the horizon.
    record: whether every layer's messages are kept.
    net_file: the network's netx file; written to a temporary place when None and needed.
    capacity: most samples that `play` takes at once. They are streamed: the next one starts at the verdict or after T
        frames, whichever comes first, and overlaps with the one before in the pipeline.
    models: "stock", "fast" or "fused", see blocks.py; the same messages in the same hardware steps.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        policy: CutoffPolicy | None = None,
        record: bool = False,
        net_file: Path | None = None,
        capacity: int = 1,
        models: LavaModels = "fast",
    ) -> None:
        require_lava()
        check_policy(network, policy)
        from spikecut.deploy.backends.lava.processes import cutoff_monitor, source, wave

        self.network = network
        self.step = 0
        self.capacity = capacity
        self._frames_each = 1 if network.input.encoding == "direct" else network.horizon
        self._rows = capacity * network.horizon + 2 * network.depth + 1
        recorded = self._rows * sum(size(layer.output_shape) for layer in network.layers) if record else 0
        frames = capacity * self._frames_each * size(network.input_shape)
        check_graph_memory(4 * (frames + recorded) + 8 * capacity * network.horizon * network.classes, network, models)
        self._ring = wave.new_ring(network.depth)
        self._control = wave.shared_int64(source.CONTROL_WORDS)
        self._frames = wave.shared_int32(frames)
        self._starts = wave.shared_int64(capacity)
        self._scores = wave.shared_int64(capacity * network.horizon * network.classes)
        self._results = wave.shared_int64(capacity * cutoff_monitor.RESULT_COLUMNS)
        self._verdicts = wave.shared_int64(1)
        self._records = [
            wave.shared_int32(self._rows * size(layer.output_shape)) if record else None for layer in network.layers
        ]
        self._connect(policy, models, net_file)

    def _connect(self, policy: CutoffPolicy | None, models: LavaModels, net_file: Path | None) -> None:
        """Make the Processes on the shared memory, and connect source, layers and monitor."""
        from spikecut.deploy.backends.lava.processes import cutoff_monitor, source, wave

        network = self.network
        waves = [
            wave.WaveParameters(self._ring, depth, record, self._rows, **starts_of(layer.neuron))
            for layer, depth, record in zip(network.layers, network.depths[1:], self._records, strict=True)
        ]
        self._chain = build_chain(network, waves, models, net_file)
        self._source = source.SampleSource(
            shape=lava_shape(network.input_shape),
            frames=self._frames,
            frames_per_sample=self._frames_each,
            horizon=network.horizon,
            ring=self._ring,
            control=self._control,
            start_steps=self._starts,
        )
        self._monitor = cutoff_monitor.CutoffMonitor(
            shape=self._chain.out.shape,
            ring=self._ring,
            depth=network.depth,
            horizon=network.horizon,
            policy=policy,
            membrane=network.readout == "membrane",
            memory=cutoff_monitor.MonitorMemory(self._control, self._scores, self._results, self._verdicts),
        )
        self._chain.connect(self._source.s_out)
        self._chain.out.connect(self._monitor.s_in)
        self._anchor, self._config = self._monitor, self._chain.config

    def play(self, inputs: Integers) -> Played:
        """Run encoded samples [T, n, *shape], n at most the capacity; the run pauses at the last verdict.

        Raises
        ------
        BackendError: a process of the simulator died, raised or fell silent.
        """
        from spikecut.deploy.backends.lava.processes import cutoff_monitor, source, wave

        count = inputs.shape[1]
        if not 1 <= count <= self.capacity:
            raise BackendError(f"{count} samples for a graph of capacity {self.capacity}")
        frames = wave.as_int32(self._frames).reshape(self.capacity, self._frames_each, -1)
        for n in range(count):
            frames[n] = to_lava(inputs[: self._frames_each, n]).reshape(self._frames_each, -1)
        control = wave.as_int64(self._control)
        control[source.SAMPLES], control[source.STARTED] = count, 0
        wave.as_int64(self._verdicts)[0] = 0
        wave.announce(wave.as_int64(self._ring), self.step + 1)
        self._run_until_pause()
        if int(wave.as_int64(self._verdicts)[0]) != count:
            raise BackendError("Lava stopped before the last verdict of the cutoff monitor; run with --debug")
        results = wave.as_int64(self._results).reshape(self.capacity, -1)[:count].copy()
        verdicts = results[:, cutoff_monitor.VERDICT_STEP]
        starts = wave.as_int64(self._starts)[:count].copy()
        self.step = int(verdicts[-1])
        return Played(
            timesteps=results[:, cutoff_monitor.TIMESTEPS],
            starts=starts,
            verdicts=verdicts,
            cut=results[:, cutoff_monitor.CUT].astype(np.bool_),
            clock_ns=results[:, cutoff_monitor.CLOCK_NS],
            scores=wave.as_int64(self._scores).reshape(self.capacity, self.network.horizon, -1)[:count].copy(),
            messages=tuple(self._messages(starts, verdicts)),
        )

    def _progress(self) -> int:
        from spikecut.deploy.backends.lava.processes import wave

        return int(wave.as_int64(self._verdicts)[0])

    @property
    def _patience_s(self) -> float:
        return PATIENCE_S * max(1, self.network.horizon)

    def _messages(self, starts: IntArray, verdicts: IntArray) -> Iterator[npt.NDArray[np.int32]]:
        from spikecut.deploy.backends.lava.processes import wave

        longest = self.network.horizon + self.network.depth
        following = np.append(starts[1:], verdicts[-1] + 1)
        for memory, layer, depth in zip(self._records, self.network.layers, self.network.depths[1:], strict=True):
            if memory is None:
                return
            rows = wave.as_int32(memory).reshape(self._rows, -1)
            result = np.zeros((len(starts), longest, rows.shape[1]), dtype=np.int32)
            for n, (start, verdict, after) in enumerate(zip(starts, verdicts, following, strict=True)):
                steps = np.arange(start + depth, min(verdict + 1, after + depth))
                wave_rows = from_lava(rows[steps % self._rows], layer.output_shape)
                result[n, depth : depth + len(steps)] = wave_rows.reshape(len(steps), -1)
            yield result
