"""Lava's runtime with memory that has no name and processes that end with this one.

Lava's own keeps its channels in named shared memory, and Python its semaphores for a moment, so that whatever kills its
processes leaves the memory behind; and it waits for answers of processes that may have died. Here the system takes the
memory back with the last process that has it; every process ends when its parent is gone; and a signal does not fall
into a fork.

Importing this module imports Lava: `lava_blocks.require_lava` comes first.
"""

import ctypes
import mmap
import multiprocessing
import os
import platform
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from lava.magma.compiler.builders.py_builder import PyProcessBuilder
from lava.magma.compiler.channels import pypychannel
from lava.magma.core.process.message_interface_enum import ActorType
from lava.magma.core.run_conditions import RunSteps
from lava.magma.runtime.message_infrastructure.multiprocessing import MultiProcessing, SystemProcess
from lava.magma.runtime.mgmt_token_enums import MGMT_COMMAND, MGMT_RESPONSE, enum_equal
from lava.magma.runtime.runtime import Runtime

from spikecut.signals import ENDING, deferred

# A pause on the last step of RunSteps(N) poisons Lava's runtime: N is far beyond any sample.
ENDLESS = 2**30
ORPHAN_POLL_S = 0.5
GRACE_S = 5.0
CAUSE_S = 60.0
POLL_S = 0.01
SEMAPHORE_BYTES = 64
"""At least those of a sem_t."""
SemLock: Any = import_module("_multiprocessing").SemLock
COUNTING = 1  # multiprocessing's kind of a semaphore, and not of a lock
# One thread at a time: of two that fork, filelock refuses one, and multiprocessing looks after all children at each
# fork, those that another thread is about to clear away among them. In one thread again: a graph that nobody holds may
# be cleared away meanwhile.
_CHILDREN = threading.RLock()


class Channels:
    """Memory of Lava's channels, shared with the processes that are forked later. Lava asks for a manager of it."""

    def __init__(self) -> None:
        self.bytes = 0

    def create_shared_memory(self, size: int) -> "Memory":
        """A new piece of `size` bytes; OSError if the system has none."""
        self.bytes += size
        return Memory(size)


class Memory:
    """Anonymous shared memory: gone with the last process that has it. Lava's ports read and write `buf`."""

    def __init__(self, size: int) -> None:
        self.buf = memoryview(mmap.mmap(-1, size))


class Semaphore:
    """A semaphore in anonymous shared memory, which forked processes share: multiprocessing's own, without a name.

    It waits and counts as fast as that, which functions of the C library called from Python do not.
    """

    def __init__(self, value: int = 1) -> None:
        self._memory = (ctypes.c_char * SEMAPHORE_BYTES).from_buffer(mmap.mmap(-1, SEMAPHORE_BYTES))
        place, library = ctypes.addressof(self._memory), ctypes.CDLL(None, use_errno=True)
        if library.sem_init(ctypes.c_void_p(place), 1, value) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._counted = SemLock._rebuild(place, COUNTING, SemLock.SEM_VALUE_MAX, None)  # as it unpickles one
        self.acquire, self.release = self._counted.acquire, self._counted.release


if platform.libc_ver()[0] == "glibc":  # whose sem_close refuses what has no name, as it should; others' do whatever
    pypychannel.Semaphore = Semaphore


class Processes(MultiProcessing):
    """Lava's processes, and the memory of their channels."""

    def start(self) -> None:
        """Take what the processes need."""
        self._smm = Channels()

    def build_actor(self, target_fn: Any, builder: Any, exception_q: Any = None) -> Any:
        """Fork a process that builds a ProcessModel or a runtime service, and runs it; it hands over what it raises."""
        actor = SystemProcess(target=_work, args=(builder, os.getpid()), daemon=True)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # in the new process, until it is ready for them
        try:
            with _CHILDREN:
                actor.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._actors.append(actor)
        return actor

    def stop(self) -> None:
        """Kill the processes, as many as were started; to stop them Lava would wait for some that may have died."""
        living = [actor for actor in self._actors if lives(actor)]
        for actor in living:
            actor.kill()
        with _CHILDREN:
            for actor in self._actors:
                if not actor._closed:
                    multiprocessing.Process.join(actor, GRACE_S)  # Lava's own join takes no timeout
                    if not actor.is_alive():
                        actor.join()


def _work(builder: Any, parent: int) -> None:
    """What a process of the simulator does."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    warnings.simplefilter("ignore")
    builder.build().start()


def _end_with(parent: int) -> None:
    """End this process once its parent is gone, however that ended.

    Linux can signal this (PR_SET_PDEATHSIG), but does so when the thread that forked ends, and a user's thread may end
    long before the simulator is done.
    """
    while os.getppid() == parent:
        time.sleep(ORPHAN_POLL_S)
    os.kill(os.getpid(), signal.SIGKILL)


def lives(actor: Any) -> bool:
    """Whether a process runs; Lava closes those that it has found dead itself."""
    return not actor._closed and actor.is_alive()


class LavaRuntime(Runtime):
    """Lava's runtime, which `stop` ends from whatever state it is in, and which waits only as its caller allows."""

    def __init__(self, executable: Any) -> None:
        super().__init__(executable, ActorType.MultiProcessing)
        self._owner = os.getpid()
        self._messaging_infrastructure: Processes | None = None
        self.runtime_to_service: list[Any] = []
        self.service_to_runtime: list[Any] = []
        executable.assign_runtime_to_all_processes(self)

    def __del__(self) -> None:
        self.stop()

    @property
    def actors(self) -> list[Any]:
        """The processes that were started."""
        return [] if self._messaging_infrastructure is None else list(self._messaging_infrastructure.actors)

    def initialize(self, node_cfg_idx: int = 0) -> None:
        """Start the processes."""
        with deferred():
            self._build_watchdog_manager()
            self._build_message_infrastructure()
            self._build_channels()
            self._build_sync_channels()
            self._build_processes()
            self._build_runtime_services()
            self._start_ports()
        self._is_initialized = True

    def _build_processes(self) -> None:
        """Without Lava's queues for what goes wrong while building: they would be waited for, even if one died."""
        processes: Any = self._messaging_infrastructure
        for process, builder in self._builders("proc_builders"):
            if isinstance(builder, PyProcessBuilder):
                process._runtime = self
                self._create_external_channels(process, builder)
                processes.build_actor(None, builder)

    def _build_runtime_services(self) -> None:
        processes: Any = self._messaging_infrastructure
        for _, builder in self._builders("runtime_service_builders"):
            processes.build_actor(None, builder)

    def _builders(self, name: str) -> Iterable[tuple[Any, Any]]:
        return (getattr(self._executable, name) or {}).items()

    def _build_message_infrastructure(self) -> None:
        processes = Processes()
        processes.start()
        self._messaging_infrastructure = processes

    def run_until_pause(self, await_answers: Callable[[], None]) -> None:
        """Run until a Process asks for a pause, and grant it. `await_answers` returns when `answered`, or raises.

        RuntimeError: a Process has failed.
        """
        self.start(RunSteps(num_steps=ENDLESS, blocking=False))
        await_answers()
        self._take(MGMT_RESPONSE.REQ_PAUSE)
        for port in self.runtime_to_service:
            port.send(MGMT_COMMAND.PAUSE)
        await_answers()
        self._take(MGMT_RESPONSE.PAUSED)
        self._is_running = False

    def answered(self) -> bool:
        """Whether every runtime service has said something."""
        return all(port.probe() for port in self.service_to_runtime)

    def _take(self, expected: Any) -> None:
        for port in self.service_to_runtime:
            answer = port.recv()
            if enum_equal(answer, MGMT_RESPONSE.ERROR):
                self._await_cause()
            if not enum_equal(answer, expected):
                raise RuntimeError(f"a runtime service answers {answer[0]:.0f}, not {expected[0]:.0f}")

    def _await_cause(self) -> None:
        """Wait for the exception that a runtime service has heard of; it comes when the process that raised it ends."""
        since = time.monotonic()
        while not any(actor.exception for actor in self.actors) and any(map(lives, self.actors)):
            if time.monotonic() - since > CAUSE_S:
                return
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End the processes, and the threads at this side of their channels; twice does no harm."""
        if self._messaging_infrastructure is None or os.getpid() != self._owner:  # a copy in a forked process
            return
        with deferred():
            self._messaging_infrastructure.stop()
            self._messaging_infrastructure = None
            self.join()
            self._is_running = self._is_started = False
            self.runtime_to_service, self.service_to_runtime = [], []
            self._executable = None  # its channels' memory
