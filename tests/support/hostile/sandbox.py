"""The command in a forked process: what it may take, what it did, and what it left behind.

The process that forks has everything imported, and a single thread. The forked one is the leader of a session, with
limits on its address space and its processor time; it notes whatever it does outside of the mutant's folder.
"""

import contextlib
import os
import resource
import select
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hostile import commands

ADDRESSES = 6 * 2**30
"""Address space beyond what the server has."""
CPU_S = 30
"""Of the processor, for one mutant: thirty times what a sound file takes."""
WALL_S = 240
WORK, TEMPORARY, SAID, FAILED, STRAYED = "work", "tmp", "stdout", "stderr", "strayed"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod"}
FOLLOWING = {"os.truncate", "os.chmod"}
"""Changes of what a link leads to; the others change an entry of its folder."""
NEVER = {"os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.bind", "subprocess.Popen"}
"""What no reader does. NIR's reader starts a process, in whose place here a fork does the same (`probing`)."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    code: exit code, -signal if one ended it, None after WALL_S. kib: largest resident memory. cpu_s: of the processor.
    said, failed: standard output and standard error. strayed: what it did outside of its folder. left: entries of its
    folders afterwards, but those that it was given.
    """

    code: int | None
    said: str
    failed: str
    kib: int
    cpu_s: float
    strayed: tuple[str, ...]
    left: tuple[str, ...]


def prepare(box: Path, source: Path, needs: tuple[str, ...]) -> Path:
    """An empty folder for a mutant, with copies of the sound files; the place of the copies."""
    work = box / WORK
    work.mkdir(parents=True)
    (box / TEMPORARY).mkdir()
    for entry in source.iterdir():
        if not needs or entry.name in needs:
            if entry.is_dir():
                shutil.copytree(entry, work / entry.name)
            else:
                shutil.copy(entry, work / entry.name)
    return work


def entries(folder: Path) -> set[str]:
    """Everything below a folder."""
    found = set()
    for place, folders, files in os.walk(folder):
        found |= {os.path.relpath(os.path.join(place, name), folder) for name in (*folders, *files)}
    return found


def run(box: Path, command: tuple[str, ...]) -> Outcome:
    """Run the command in the folder of a mutant."""
    before = entries(box / WORK)
    pid = os.fork()
    if pid == 0:
        _child(box, command)
    handle, since = os.pidfd_open(pid), time.monotonic()
    waiting = select.poll()
    waiting.register(handle, select.POLLIN)
    late = True
    while late and time.monotonic() - since < WALL_S:
        late = not waiting.poll(1000)
    _kill(pid)  # also what it started
    _, status, used = os.wait4(pid, 0)
    os.close(handle)
    code = os.waitstatus_to_exitcode(status)
    after = entries(box / WORK)
    left = sorted(after - before) + sorted(f"{TEMPORARY}/{name}" for name in entries(box / TEMPORARY))
    left += sorted(set(os.listdir(box)) - {WORK, TEMPORARY, SAID, FAILED, STRAYED})
    return Outcome(
        code=None if late else code,
        said=_text(box / SAID).replace(str(box), "BOX"),
        failed=_text(box / FAILED),
        kib=used.ru_maxrss,
        cpu_s=used.ru_utime + used.ru_stime,
        strayed=tuple(_text(box / STRAYED).splitlines()),
        left=tuple(left),
    )


def _text(path: Path) -> str:
    return path.read_bytes()[: 2**24].decode("utf-8", "replace") if path.exists() else ""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _child(box: Path, command: tuple[str, ...]) -> None:
    code = 99
    try:
        os.setsid()
        os.chdir(box / WORK)
        os.environ["TMPDIR"] = os.environ["HOME"] = str(box / TEMPORARY)
        import tempfile

        tempfile.tempdir = None
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, SAID), (2, FAILED)):
            os.dup2(os.open(box / name, os.O_WRONLY | os.O_CREAT, 0o600), number)
        _limit()
        watch(box)
        try:
            commands.main(command)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**31, 2**31))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))


def watch(box: Path) -> None:
    """Note what this process does outside of `box`."""
    notes = os.open(box / STRAYED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    inside = str(box.resolve()) + "/"

    def outside(path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        name = os.path.realpath(os.fsdecode(path))
        return not name.startswith((inside, "/dev/")) and "/__pycache__" not in name

    def look(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(flags, int) and bool(flags & WRITING)) or (bool(mode) and set("wax+") & set(str(mode)))
            strays = bool(writes) and outside(path)
        elif event in CHANGES:  # those of a folder that is open are told by its number: shutil.rmtree
            paths = [each for each in arguments if isinstance(each, str | bytes | os.PathLike)]
            relative = any(isinstance(each, int) and each > 2 for each in arguments[-2:])
            if event not in FOLLOWING:
                paths = [os.path.dirname(os.fsdecode(each)) or "." for each in paths]
            strays = not relative and any(outside(each) for each in paths)
        elif event == "ctypes.dlopen":  # lightning looks for the driver of a GPU
            strays = "/" in str(arguments[0]) and os.path.realpath(str(arguments[0])).startswith(inside)
        else:
            strays = event in NEVER
        if strays:
            os.write(notes, f"{event} {arguments!r}"[:300].replace("\n", " ").encode() + b"\n")

    sys.addaudithook(look)


def probing() -> None:
    """Let NIR's reader fork where it would start a Python: the same code, limits and answers, a second earlier."""
    import subprocess
    import types

    from spikecut.export.nir import sandbox

    def probe(command, **_options):
        out = os.memfd_create("probe")
        pid = os.fork()
        if pid == 0:
            os.dup2(out, 1)
            code = 1
            try:
                code = sandbox._probe(Path(command[-2]), int(command[-1]))
                sys.stdout.flush()
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        said = os.pread(out, 2**16, 0).decode("utf-8", "replace")
        os.close(out)
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), said, "")

    sandbox.subprocess = types.SimpleNamespace(run=probe, TimeoutExpired=subprocess.TimeoutExpired)
