"""Runs a bundle's network on Lava's CPU simulator, sample after sample through one compiled graph.

A bundle that netx can express is built by lava-dl's own `netx.hdf5.Network`; the rest from netx's blocks and
spikecut's Processes. Lava is imported on demand.
"""

import contextlib
import io
import logging
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.base import Record, check_inputs, layer_events, padded_scores
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.trace import ExitReason, RunTrace
from spikecut.errors import BackendError
from spikecut.export.graph import IntegerLayer, IntegerNetwork, Integers, Shape, size
from spikecut.export.netx import beyond_netx, write_netx

Progress = Callable[[int], None]
# A pause on the last step of RunSteps(N) poisons Lava's runtime: N is far beyond any sample.
ENDLESS = 2**30
POLL_S = 0.0002
LIVENESS_S = 0.5
PATIENCE_S = 60.0
GRACE_S = 5.0


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the import-time chatter of archived libraries off the terminal; errors still surface as exceptions."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def require_lava() -> None:
    """Import Lava, or raise BackendError with the remedy."""
    try:
        with _quiet():
            import lava.lib.dl.netx.hdf5
            import lava.magma.core.run_configs  # noqa: F401
    except ImportError as error:
        raise BackendError(
            f"Lava is not installed ({error}); it needs Python 3.10: pip install 'spikecut[lava]', or use "
            "--backend batched"
        ) from error


class LavaGraph:
    """One compiled Lava graph: source, layers, cutoff monitor. A context manager; samples run one at a time.

    Parameters
    ----------
    network: the integer network.
    policy: the cutoff, or None to run every sample to the horizon.
    record: whether every layer's messages are kept.
    net_file: the network's netx file; written to a temporary place when None and needed.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        policy: CutoffPolicy | None = None,
        record: bool = False,
        net_file: Path | None = None,
    ) -> None:
        require_lava()
        if policy is not None:
            policy.check_horizon(network.horizon)
        from spikecut.deploy.processes import cutoff_monitor, source, wave

        self.network = network
        self.step = 0
        self._ring = wave.new_ring(network.depth)
        self._rows = network.horizon + network.depth + 1
        self._frames = wave.shared_int32(network.horizon * size(network.input_shape))
        self._scores = wave.shared_int64(network.horizon * network.classes)
        self._result = wave.shared_int64(cutoff_monitor.RESULT_WORDS)
        self._records = [
            wave.shared_int32(self._rows * size(layer.output_shape)) if record else None for layer in network.layers
        ]
        blocks = self._blocks(net_file)
        for depth, (block, layer) in enumerate(zip(blocks, network.layers, strict=True), start=1):
            block.neuron.proc_params[wave.Wave.KEY] = wave.WaveParameters(
                self._ring, depth, layer.neuron.v_init, self._records[depth - 1], self._rows
            )
        self._source = source.SampleSource(
            shape=lava_shape(network.input_shape), frames=self._frames, horizon=network.horizon, ring=self._ring
        )
        self._monitor = cutoff_monitor.CutoffMonitor(
            shape=blocks[-1].out.shape,
            ring=self._ring,
            depth=network.depth,
            horizon=network.horizon,
            policy=policy,
            membrane=network.readout == "membrane",
            scores=self._scores,
            result=self._result,
        )
        self._connect(blocks)
        self._config = _run_config()
        self._started = False

    def _blocks(self, net_file: Path | None) -> list[Any]:
        if beyond_netx(self.network):
            return [own_block(layer, self._message_bits(depth)) for depth, layer in enumerate(self.network.layers)]
        if net_file is not None:
            return self._netx_blocks(net_file)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.net"
            write_netx(self.network, path)
            return self._netx_blocks(path)

    def _netx_blocks(self, path: Path) -> list[Any]:
        from lava.lib.dl.netx.hdf5 import Network

        with _quiet():
            netx = Network(net_config=str(path), input_message_bits=self.network.input.bits)
        netx.net_config.f.close()  # netx leaves its handle open, which blocks writing to the file
        self._netx = netx
        return list(netx.layers)

    def _message_bits(self, depth: int) -> int:
        return self.network.input.bits if depth == 0 else 0

    def _connect(self, blocks: list[Any]) -> None:
        if beyond_netx(self.network):
            for depth, layer in enumerate(self.network.layers[1:], start=1):
                out = blocks[depth - 1].out
                if layer.kind == "dense" and len(layer.input_shape) == 3:
                    out = out.transpose([2, 1, 0]).flatten()
                out.connect(blocks[depth].inp)
        first = self.network.layers[0]
        out = self._source.s_out
        if first.kind == "dense" and len(first.input_shape) == 3:
            out = out.transpose([2, 1, 0]).flatten()
        out.connect(blocks[0].inp)
        blocks[-1].out.connect(self._monitor.s_in)

    def run_sample(self, frames: Integers) -> tuple[int, int, bool]:
        """Run one encoded sample [T, *shape]; returns (timesteps used, hardware steps executed, whether it was cut).

        Raises
        ------
        BackendError: a process of the simulator died, raised or fell silent.
        """
        from spikecut.deploy.processes import cutoff_monitor, wave

        start = self.step + 1
        wave.as_int32(self._frames)[:] = to_lava(frames).reshape(-1)
        wave.announce(wave.as_int64(self._ring), start)
        result = wave.as_int64(self._result)
        verdicts = int(result[cutoff_monitor.VERDICTS])
        self._run_until_pause()
        if int(result[cutoff_monitor.VERDICTS]) != verdicts + 1:
            raise BackendError("Lava stopped without a verdict of the cutoff monitor; run again with --debug")
        self.step = int(result[cutoff_monitor.VERDICT_STEP])
        self._start = start
        return int(result[cutoff_monitor.TIMESTEPS]), self.step - start + 1, bool(result[cutoff_monitor.CUT])

    def _run_until_pause(self) -> None:
        from lava.magma.core.run_conditions import RunSteps

        condition = RunSteps(num_steps=ENDLESS, blocking=False)
        try:
            if self._started:
                self._monitor.run(condition=condition)
            else:
                with _quiet():
                    self._monitor.run(condition=condition, run_cfg=self._config)
                self._started = True
            self._await_response()
            self._monitor.wait()
        except (RuntimeError, OSError, EOFError) as error:
            raise BackendError(f"Lava's simulator failed: {error}; run with --debug for its traceback") from error

    def _await_response(self) -> None:
        """Wait for the runtime's answer while watching that its child processes live; Lava itself would hang."""
        runtime = self._monitor.runtime
        ports = runtime.service_to_runtime
        actors = runtime._messaging_infrastructure.actors
        result, silent_since, last = self._result, time.monotonic(), -1
        checked = time.monotonic()
        while not all(port.probe() for port in ports):
            time.sleep(POLL_S)
            now = time.monotonic()
            if now - checked < LIVENESS_S:
                continue
            checked = now
            dead = [actor for actor in actors if not actor.is_alive()]
            if dead:
                raise BackendError(f"{len(dead)} process(es) of the simulator died (exit code {dead[0].exitcode})")
            if result[1] != last:
                last, silent_since = result[1], now
            elif now - silent_since > PATIENCE_S * max(1, self.network.horizon):
                raise BackendError("Lava's simulator fell silent; run again, or use --backend batched")

    def scores(self) -> npt.NDArray[np.int64]:
        """Per-step scores of the last sample, int64 [T, classes]; rows beyond its exit are stale."""
        from spikecut.deploy.processes import wave

        return wave.as_int64(self._scores).reshape(self.network.horizon, -1)

    def messages(self) -> list[npt.NDArray[np.int32]]:
        """Messages of every layer in the last run, [hardware steps, elements] in torch's order, own wave only."""
        from spikecut.deploy.processes import wave

        steps = self.step - self._start + 1
        rows = np.arange(self._start, self.step + 1) % self._rows
        result: list[npt.NDArray[np.int32]] = []
        for depth, (memory, layer) in enumerate(zip(self._records, self.network.layers, strict=True), start=1):
            if memory is None:
                raise BackendError("this graph was built without recording")
            raster = wave.as_int32(memory).reshape(self._rows, -1)[rows]
            raster = from_lava(raster, layer.output_shape).reshape(steps, -1)
            raster[:depth] = 0
            result.append(raster)
        return result

    def close(self) -> None:
        """Stop the simulator and its processes."""
        if self._started:
            self._started = False
            with contextlib.suppress(RuntimeError, OSError, EOFError):
                self._monitor.stop()

    def __enter__(self) -> "LavaGraph":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.kill()

    def kill(self) -> None:
        """End the simulator's processes after a failure, when Lava's own stop would hang."""
        if not self._started:
            return
        self._started = False
        runtime = self._monitor.runtime
        actors = [actor for actor in runtime._messaging_infrastructure.actors if actor.is_alive()]
        for actor in actors:
            actor.kill()
        for actor in actors:
            multiprocessing.Process.join(actor, GRACE_S)  # Lava's own join takes no timeout
        with contextlib.suppress(OSError, EOFError):
            runtime._messaging_infrastructure.smm.shutdown()
        runtime._is_running = runtime._is_started = False


def run_lava(
    network: IntegerNetwork,
    inputs: Integers,
    policy: CutoffPolicy | None = None,
    record: Record = "output",
    net_file: Path | None = None,
    progress: Progress | None = None,
) -> RunTrace:
    """Run encoded samples [T, N, *shape] on Lava, each alone, halted by the monitor.

    Raises
    ------
    BackendError: Lava is missing or fails. DataError, InputError: inputs or policy do not fit.
    """
    check_inputs(network, inputs)
    samples, horizon, depth = inputs.shape[1], network.horizon, network.depth
    timesteps, steps = np.zeros(samples, dtype=np.int64), np.zeros(samples, dtype=np.int64)
    scores = np.zeros((horizon, samples, network.classes), dtype=np.int64)
    wall = np.zeros(samples)
    cuts = np.zeros(samples, dtype=np.bool_)
    rasters: list[npt.NDArray[np.int32]] = []
    if record != "output":
        shapes = [network.input_shape, *(layer.output_shape for layer in network.layers)]
        rasters = [np.zeros((samples, horizon + depth, size(shape)), dtype=np.int32) for shape in shapes]
    with LavaGraph(network, policy, record=record != "output", net_file=net_file) as graph:
        for n in range(samples):
            began = time.perf_counter()
            timesteps[n], steps[n], cuts[n] = graph.run_sample(inputs[:, n])
            wall[n] = time.perf_counter() - began
            scores[:, n] = graph.scores()
            if rasters:
                played = min(int(steps[n]), horizon)
                rasters[0][n, :played] = inputs[:played, n].reshape(played, -1)
                for raster, messages in zip(rasters[1:], graph.messages(), strict=True):
                    raster[n, : steps[n]] = messages
            if progress is not None:
                progress(1)
    scores, valid = padded_scores(scores, timesteps)
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
    )


def lava_shape(shape: Shape) -> Shape:
    """Lava's (W, H, C) for torch's (C, H, W); (F,) stays."""
    return shape[::-1]


def to_lava(frames: Integers) -> npt.NDArray[np.int32]:
    """Frames [T, C, H, W] → [T, W, H, C]."""
    axes = (0, *range(frames.ndim - 1, 0, -1))
    return np.ascontiguousarray(frames.transpose(axes), dtype=np.int32)


def from_lava(rows: npt.NDArray[np.int32], shape: Shape) -> npt.NDArray[np.int32]:
    """Flat rows in Lava's order [T, elements] → [T, *shape] in torch's."""
    frames = rows.reshape(rows.shape[0], *lava_shape(shape))
    return np.ascontiguousarray(frames.transpose((0, *range(frames.ndim - 1, 0, -1))))


def own_block(layer: IntegerLayer, message_bits: int) -> Any:
    """A netx block with one of spikecut's neuron Processes, from an integer layer."""
    from lava.lib.dl.netx.blocks.process import Conv, Dense
    from lava.proc.lif.process import LIF

    from spikecut.deploy.processes.neurons import MembraneReadout, SoftResetLIF

    neuron = layer.neuron
    process = {"zero": LIF, "subtract": SoftResetLIF, "none": MembraneReadout}[neuron.reset]
    parameters: dict[str, Any] = {
        "neuron_proc": process,
        "bias_key": "bias_mant",
        "vth": neuron.threshold,
        "v": neuron.v_init,
        "du": neuron.decay_u - 1,
        "dv": neuron.decay_v,
        "bias_exp": neuron.bias_exponent,
        "num_message_bits": 24 if neuron.reset == "none" else 0,
    }
    bias = neuron.bias_mantissa.copy() if np.any(neuron.bias_mantissa) else None
    shared: dict[str, Any] = {"neuron_params": parameters, "bias": bias, "input_message_bits": message_bits}
    shape = lava_shape(layer.output_shape)
    if layer.kind == "dense":
        return Dense(shape=shape, weight=layer.weight.astype(np.int64), **shared)
    # Lava convolves where torch correlates: kernels are flipped, and axes are (O, W, H, I).
    weight = layer.weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1).astype(np.int64)
    return Conv(
        shape=shape,
        input_shape=lava_shape(layer.input_shape),
        weight=weight,
        stride=np.array(layer.stride[::-1]),
        padding=np.array(layer.padding[::-1]),
        dilation=np.array(layer.dilation[::-1]),
        groups=layer.groups,
        **shared,
    )


def _run_config() -> Any:
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.lif.process import LIF

    from spikecut.deploy.processes.neurons import ResettingLifModel

    # Without select_tag Lava silently takes the float models.
    return Loihi2SimCfg(
        select_tag="fixed_pt", exception_proc_model_map={LIF: ResettingLifModel}, loglevel=logging.ERROR
    )
