"""A compiled Lava graph at work: running until a Process asks for a pause, watching its processes, ending them."""

import contextlib
import multiprocessing
import shutil
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from spikecut.deploy.backends.base import LavaModels
from spikecut.deploy.backends.lava_blocks import quiet
from spikecut.errors import BackendError
from spikecut.export.graph import IntegerNetwork, size
from spikecut.export.skip import skip_paths

# A pause on the last step of RunSteps(N) poisons Lava's runtime: N is far beyond any sample.
ENDLESS = 2**30
POLL_S = 0.0002
LIVENESS_S = 0.5
PATIENCE_S = 60.0
GRACE_S = 5.0
SHARED_MEMORY = Path("/dev/shm")
# Lava gives every connection a ring of 64 messages of 4 bytes an element, and every Process two rings of 64 words of
# 8 bytes to the runtime, which has two itself.
MESSAGE_BYTES = 64 * 4
SYNCHRONISATION_BYTES = 64 * 8


def channel_bytes(network: IntegerNetwork, models: LavaModels) -> int:
    """Bytes of shared memory that Lava's channels take."""
    if models == "fused":
        processes, elements = 3, size(network.input_shape) + size(network.layers[-1].output_shape)
    else:
        recurrent = [layer for layer in network.layers if layer.recurrent is not None]
        processes = 2 + 2 * len(network.layers) + len(recurrent)
        elements = size(network.input_shape)
        elements += 2 * sum(size(layer.output_shape) for layer in (*network.layers, *recurrent))
        skips = [path.skip for path in skip_paths(network).values()]
        processes += 2 * len(skips)
        elements += sum(2 * size(skip.input_shape) + size(skip.output_shape) for skip in skips)
    return MESSAGE_BYTES * elements + SYNCHRONISATION_BYTES * (2 * processes + 2)


def check_shared_memory(own: int, network: IntegerNetwork, models: LavaModels) -> None:
    """BackendError unless the machine's shared memory holds `own` bytes and Lava's channels.

    Beyond it the system would kill the process (SIGBUS) at the first touch, without a word.
    """
    if not SHARED_MEMORY.is_dir():
        return
    need, free = own + channel_bytes(network, models), shutil.disk_usage(SHARED_MEMORY).free
    if need > free:
        raise BackendError(
            f"this run needs {need / 2**20:,.0f} MiB of shared memory, {SHARED_MEMORY} has {free / 2**20:,.0f} MiB: "
            "take fewer samples at once (--mode isolated), or enlarge it (docker run --shm-size)"
        )


class Simulation(ABC):
    """What every graph does, whatever it plays. A context manager: on an error its processes are killed.

    A subclass builds the graph and sets `_anchor`, any of its Processes, and `_config`, Lava's run configuration.
    """

    _anchor: Any
    _config: Any
    _started = False

    @abstractmethod
    def _progress(self) -> int:
        """A number that changes while the simulator gets on."""

    @property
    @abstractmethod
    def _patience_s(self) -> float:
        """Seconds without progress after which the simulator is given up."""

    def _run_until_pause(self) -> None:
        """Run until a Process asks for a pause; BackendError if a process died, raised or fell silent."""
        from lava.magma.core.run_conditions import RunSteps

        condition = RunSteps(num_steps=ENDLESS, blocking=False)
        try:
            if self._started:
                self._anchor.run(condition=condition)
            else:
                with quiet():
                    self._anchor.run(condition=condition, run_cfg=self._config)
                self._started = True
            self._await_response()
            self._anchor.wait()
        except (RuntimeError, OSError, EOFError) as error:
            cause = self._raised() if self._started else ""
            raise BackendError(f"Lava's simulator failed: {cause or error}; --debug shows its traceback") from error

    def _await_response(self) -> None:
        """Wait for the runtime's answer while watching that its child processes live; Lava itself would hang."""
        ports = self._anchor.runtime.service_to_runtime
        checked = silent_since = time.monotonic()
        last = -1
        while not all(port.probe() for port in ports):
            time.sleep(POLL_S)
            now = time.monotonic()
            if now - checked < LIVENESS_S:
                continue
            checked = now
            dead = [actor for actor in self._actors() if not _lives(actor)]
            if dead:
                cause = self._raised() or f"exit code {dead[0].exitcode}"
                raise BackendError(f"{len(dead)} process(es) of the simulator died ({cause})")
            if self._progress() != last:
                last, silent_since = self._progress(), now
            elif now - silent_since > self._patience_s:
                raise BackendError("Lava's simulator fell silent; run again, or use --backend batched")

    def _actors(self) -> list[Any]:
        return list(self._anchor.runtime._messaging_infrastructure.actors)

    def _raised(self) -> str:
        """The first exception that a process of the simulator raised, in words; empty if there was none."""
        raised = [actor.exception[0] for actor in self._actors() if actor.exception]
        return f"{type(raised[0]).__name__}: {raised[0]}" if raised else ""

    def close(self) -> None:
        """Stop the simulator and its processes."""
        if self._started:
            self._started = False
            with contextlib.suppress(RuntimeError, OSError, EOFError):
                self._anchor.stop()

    def __enter__(self) -> Self:
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
        runtime = self._anchor.runtime
        actors = [actor for actor in self._actors() if _lives(actor)]
        for actor in actors:
            actor.kill()
        for actor in actors:
            multiprocessing.Process.join(actor, GRACE_S)  # Lava's own join takes no timeout
        with contextlib.suppress(OSError, EOFError):
            runtime._messaging_infrastructure.smm.shutdown()
        runtime._is_running = runtime._is_started = False


def _lives(actor: Any) -> bool:
    """Whether a process runs; Lava closes those that it has found dead itself."""
    return not actor._closed and actor.is_alive()
