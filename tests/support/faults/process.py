"""A command in a forked process: held at a moment until it has been hit, and watched until nothing of it is left.

The process that forks has everything imported, and a single thread. It adopts whatever a command leaves behind.
"""

import atexit
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kills import STEPS
from left_behind import alive, children, session

from spikecut.signals import ENDING

LIMIT_S = 180.0
"""A command that takes longer hangs."""
GONE_S = 20.0
"""After which a process that a command has started, and that still lives, is an orphan."""
POLL_S = 0.002
SUBREAPER = 36


@dataclass(frozen=True)
class Moment:
    """When a command is hit: before so many steps in the file system, so many samples, or after so many seconds."""

    kind: str
    number: float


def adopt() -> None:
    """Become the parent of processes whose own parent is gone."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


class Running:
    """A command under way.

    code: its exit code, -signal if one ended it, None while it runs or if it hangs. taken_s: of time, after `end`.
    """

    def __init__(self, words: tuple[str, ...], work: Path, temporary: Path, said: Path, moment: Moment | None) -> None:
        self.said_in, self.code, self.taken_s, self.since = said, None, 0.0, time.monotonic()
        reached, tells = os.pipe()
        waits, go = os.pipe()
        self.reached, self.go = reached, go
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # in the new process, until the command heeds them
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reached)
            os.close(go)
            _child(words, (work, temporary, said), partial(_hold, moment, tells, waits))
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(tells)
        self.waits = waits
        os.set_blocking(reached, False)
        self.moment = moment

    def reach(self) -> bool:
        """Wait for its moment; False if it has ended before."""
        while alive(self.pid):
            if self.moment is not None and self.moment.kind == "time":
                if time.monotonic() - self.since >= self.moment.number:
                    return True
            elif self._told():
                return True
            if time.monotonic() - self.since > LIMIT_S:
                return False
            time.sleep(POLL_S)
        return False

    def _told(self) -> bool:
        try:
            return bool(os.read(self.reached, 1))
        except BlockingIOError:
            return False

    def let_go(self) -> None:
        """What was held at its moment goes on."""
        if self.go >= 0:
            os.write(self.go, b"x")
            os.close(self.go)
            self.go = -1

    @property
    def processes(self) -> list[int]:
        """All of them, the command's own first."""
        return [self.pid, *children(self.pid)]

    def end(self) -> int | None:
        """Wait until the command has ended; its exit code, or None if it hangs."""
        self.let_go()
        while alive(self.pid) and time.monotonic() - self.since < LIMIT_S:
            time.sleep(POLL_S)
        self.taken_s = time.monotonic() - self.since
        if not alive(self.pid):
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def left(self) -> list[int]:
        """Processes that it leaves behind, once they had the time to go; they are killed."""
        since = time.monotonic()
        while (found := self._others()) and time.monotonic() - since < GONE_S:
            time.sleep(POLL_S)
        while others := self._others():
            for pid in others:
                os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_S)
        if self.code is None:
            os.waitpid(self.pid, 0)
        self.let_go()
        os.close(self.waits)
        os.close(self.reached)
        return found

    def _others(self) -> list[int]:
        """Those of its session, and what this process has adopted; what only waits to be reaped is."""
        _reap(self.pid)
        return sorted({*session(self.pid), *(pid for pid in children(os.getpid()) if alive(pid))})

    @property
    def said(self) -> tuple[str, str]:
        """Standard output and standard error."""
        texts = [path.read_text("utf-8", "replace") if path.exists() else "" for path in _streams(self.said_in)]
        return texts[0], texts[1]


def _reap(own: int) -> None:
    """Take note of the ends of adopted processes."""
    for pid in children(os.getpid()):
        if pid != own and not alive(pid):
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue


def _streams(said: Path) -> tuple[Path, Path]:
    return said.with_suffix(".out"), said.with_suffix(".err")


def _child(words: tuple[str, ...], places: tuple[Path, Path, Path], hold: Callable[[], None]) -> None:
    """What the forked process does; it does not return."""
    code = 99
    try:
        os.setsid()
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        work, temporary, said = places
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in zip((1, 2), _streams(said), strict=True):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.chdir(work)
        os.environ["TMPDIR"] = os.environ["HOME"] = str(temporary)
        import tempfile

        tempfile.tempdir = None
        code = _command(words, hold)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            threading._shutdown()  # type: ignore[attr-defined]  # as at the end of a Python
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            traceback.print_exc()
        os._exit(code)


def _command(words: tuple[str, ...], hold: Callable[[], None]) -> int:
    from spikecut.__main__ import main
    from spikecut.deploy.cli import main as cli

    command = cli.main

    def heeding() -> None:
        """The command, whose handlers are in place by now."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        hold()
        command()

    cli.main = heeding
    sys.argv = ["spikecut", *words]
    try:
        main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def _hold(moment: Moment | None, tells: int, waits: int) -> None:
    """Have this command stand still at its moment, until it is let go; without one, count its steps."""
    if moment is None or moment.kind == "step":
        _hold_before_step(None if moment is None else int(moment.number), tells, waits)
    elif moment.kind == "sample":
        _hold_before_sample(int(moment.number), tells, waits)


def _stand_still(tells: int, waits: int) -> None:
    os.write(tells, b"x")
    os.read(waits, 1)


def _hold_before_step(number: int | None, tells: int, waits: int) -> None:
    own, done = os.getpid(), 0

    def step(event: str, _: Any) -> None:
        nonlocal done
        if event in STEPS and os.getpid() == own:
            done += 1
            if done == number:
                _stand_still(tells, waits)

    sys.addaudithook(step)
    if number is None:
        atexit.register(lambda: os.getpid() == own and os.write(tells, f"{done}\n".encode()))


def _hold_before_sample(number: int, tells: int, waits: int) -> None:
    """In the monitor's process, which asks the policy for a state as each sample begins."""
    from spikecut.deploy.cutoff.topk import TopK

    init, begun = TopK.init, 0

    def held(self: Any, *arguments: Any) -> Any:
        nonlocal begun
        if begun == number:
            _stand_still(tells, waits)
        begun += 1
        return init(self, *arguments)

    TopK.init = held  # type: ignore[method-assign]


def steps_of(running: Running) -> int:
    """How many steps a command took that was not held, after its end."""
    return int(os.read(running.reached, 100).split()[0])
