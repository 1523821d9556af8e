"""A compiled Lava graph at work: running until a Process asks for a pause, watching its processes, ending them."""

import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from spikecut.deploy.backends.base import LavaModels
from spikecut.deploy.backends.lava.blocks import quiet
from spikecut.errors import BackendError
from spikecut.export.network.arrays import size
from spikecut.export.network.layers import IntegerNetwork
from spikecut.memory import check_memory
from spikecut.signals import ENDING

if TYPE_CHECKING:
    from spikecut.deploy.backends.lava.runtime import LavaRuntime

POLL_S = 0.0002
LIVENESS_S = 0.5
PATIENCE_S = 60.0
# Lava gives every connection a ring of 64 messages of 4 bytes an element, and every Process two rings of 64 words of
# 8 bytes to the runtime, which has two itself.
MESSAGE_BYTES = 64 * 4
SYNCHRONISATION_BYTES = 64 * 8


def channel_bytes(network: IntegerNetwork, models: LavaModels) -> int:
    """Bytes of memory that Lava's channels take."""
    if models == "fused":
        processes, elements = 3, size(network.input_shape) + size(network.layers[-1].output_shape)
    else:
        recurrent = [layer for layer in network.layers if layer.recurrent is not None]
        processes = 2 + 2 * len(network.layers) + len(recurrent)
        elements = size(network.input_shape)
        elements += 2 * sum(size(layer.output_shape) for layer in (*network.layers, *recurrent))
        for own, *skips in network.paths:
            processes += len(skips) + sum(path.steps > 0 for path in (own, *skips))
            elements += sum(2 * size(path.synapse.input_shape) for path in (own, *skips) if path.steps)
            elements += sum(size(path.synapse.input_shape) for path in skips if not path.steps)
            elements += sum(size(path.synapse.output_shape) for path in skips)
            elements += size(own.synapse.input_shape) if own.source != own.target - 1 and not own.steps else 0
    return MESSAGE_BYTES * elements + SYNCHRONISATION_BYTES * (2 * processes + 2)


def check_graph_memory(own: int, network: IntegerNetwork, models: LavaModels) -> None:
    """BackendError unless the machine has memory for `own` bytes and Lava's channels.

    Beyond it the system would kill the process at the first touch, without a word.
    """
    need, remedy = own + channel_bytes(network, models), "take fewer samples at once (--mode isolated)"
    check_memory(need, "Lava's processes for these samples", remedy, BackendError)


class Simulation(ABC):
    """What every graph does, whatever it plays. A context manager: its processes end with it.

    A subclass builds the graph and sets `_anchor`, any of its Processes, and `_config`, Lava's run configuration.
    """

    _anchor: Any
    _config: Any
    _runtime: "LavaRuntime | None" = None

    @abstractmethod
    def _progress(self) -> int:
        """A number that changes while the simulator gets on."""

    @property
    @abstractmethod
    def _patience_s(self) -> float:
        """Seconds without progress after which the simulator is given up."""

    def _run_until_pause(self) -> None:
        """Run until a Process asks for a pause.

        Raises
        ------
        BackendError: a process died, raised or fell silent. KeyboardInterrupt: a signal that means "end" killed one.
        """
        try:
            runtime = self._runtime or self._start()
            runtime.run_until_pause(lambda: self._await_answers(runtime))
        except (RuntimeError, OSError, EOFError) as error:
            cause = self._raised() or error
            raise BackendError(f"Lava's simulator failed: {cause}; --debug shows its traceback") from error

    def _start(self) -> "LavaRuntime":
        """Compile the graph and start its processes."""
        from spikecut.deploy.backends.lava.runtime import LavaRuntime

        with quiet():
            executable = self._anchor.compile(self._config)
        self._runtime = LavaRuntime(executable)  # known before it starts anything, so that `close` can end it
        self._runtime.initialize()
        return self._runtime

    def _await_answers(self, runtime: "LavaRuntime") -> None:
        """Wait for the runtime's answer while watching that its child processes live; Lava itself would hang."""
        from spikecut.deploy.backends.lava.runtime import lives

        checked = silent_since = time.monotonic()
        last = -1
        while not runtime.answered():
            time.sleep(POLL_S)
            now = time.monotonic()
            if now - checked < LIVENESS_S:
                continue
            checked = now
            dead = [actor for actor in runtime.actors if not lives(actor)]
            if dead:
                if -dead[0].exitcode in ENDING:  # sent to all of the group, or to this one alone: it means us all
                    raise KeyboardInterrupt
                cause = self._raised() or f"exit code {dead[0].exitcode}"
                raise BackendError(f"{len(dead)} process(es) of the simulator died ({cause})")
            if self._progress() != last:
                last, silent_since = self._progress(), now
            elif now - silent_since > self._patience_s:
                raise BackendError("Lava's simulator fell silent; run again, or use --backend batched")

    def _raised(self) -> str:
        """The first exception that a process of the simulator raised, in words; empty if there was none."""
        actors = [] if self._runtime is None else self._runtime.actors
        raised = [actor.exception[0] for actor in actors if actor.exception]
        return f"{type(raised[0]).__name__}: {raised[0]}" if raised else ""

    def close(self) -> None:
        """End the simulator's processes, in whatever state they are."""
        if self._runtime is not None:
            self._runtime.stop()
            self._runtime = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
