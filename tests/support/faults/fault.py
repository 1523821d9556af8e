"""What hits a command. Each fault is done at the command's moment, by seed, and says which exit codes may follow."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from left_behind import children

from faults.operation import Operation
from faults.places import Disk, fill_shared
from faults.process import Running

INTERRUPTED = 130
REFUSED = 2
AGAIN_S = 0.4
STOPPED_S = 0.6


@dataclass
class Scene:
    """A command that stands at its moment: what is hit. note: what was done to it, in words."""

    running: Running
    operation: Operation
    disk: Disk
    work: Path
    temporary: Path
    rng: random.Random
    again: Callable[[], Running]
    second: Running | None = None
    result_removed: bool = False
    note: str = ""


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _aimed(scene: Scene, aims: tuple[str, ...]) -> list[int]:
    """Whom a signal goes to: the command itself ("parent"), any one of its children, or all of them."""
    aim, below = scene.rng.choice(aims), children(scene.running.pid)
    if aim == "child" and below:
        scene.note = f"child {scene.rng.randrange(len(below))} of {len(below)}"
        return [below[int(scene.note.split()[1])]]
    scene.note = "parent" if aim != "all" else f"all {1 + len(below)}"
    return [scene.running.pid, *(below if aim == "all" else [])]


def _kill_parent(scene: Scene) -> None:
    _send(_aimed(scene, ("parent",)), signal.SIGKILL)


def _kill_child(scene: Scene) -> None:
    if children(scene.running.pid):
        _send(_aimed(scene, ("child",)), signal.SIGKILL)


def _terminate(scene: Scene) -> None:
    _send(_aimed(scene, ("parent", "child", "all")), signal.SIGTERM)


def _interrupt(scene: Scene) -> None:
    _send(_aimed(scene, ("parent", "all")), signal.SIGINT)


def _interrupt_twice(scene: Scene) -> None:
    aimed = _aimed(scene, ("parent", "all"))
    _send(aimed, signal.SIGINT)
    scene.running.let_go()
    time.sleep(scene.rng.random() * AGAIN_S)
    _send(aimed, signal.SIGINT)


def _stop(scene: Scene) -> None:
    aimed = _aimed(scene, ("parent", "child", "all"))
    _send(aimed, signal.SIGSTOP)
    scene.running.let_go()
    time.sleep(scene.rng.random() * STOPPED_S)
    _send(aimed, signal.SIGCONT)


def _fill_disk(scene: Scene) -> None:
    scene.disk.fill(scene.running.processes)


def _fill_shared(scene: Scene) -> None:
    fill_shared(scene.disk.mounted, scene.running.processes)


def _remove_folder(scene: Scene) -> None:
    """While all stands still, so that it is known what was there."""
    pids = scene.running.processes
    _send(pids, signal.SIGSTOP)
    results = scene.work / "results"
    found = [results, scene.temporary, scene.work / "bundle", *results.glob("*.partial"), *results.glob(".*.part")]
    folder = scene.rng.choice([path for path in found if path.is_dir()])
    scene.note = folder.name
    scene.result_removed = folder == results and (scene.work / scene.operation.out).exists()
    shutil.rmtree(folder, ignore_errors=True)
    _send(pids, signal.SIGCONT)


def _write_too(scene: Scene) -> None:
    scene.second = scene.again()
    scene.second.end()


@dataclass(frozen=True)
class Fault:
    """name: in the table. codes: exit codes that may follow. strikes: does it. kinds: of operations, all if empty."""

    name: str
    codes: tuple[int, ...]
    strikes: Callable[[Scene], None]
    kinds: tuple[str, ...] = ()


FAULTS = (
    Fault("SIGKILL, the command", (-signal.SIGKILL, 0), _kill_parent),
    Fault("SIGKILL, any child", (REFUSED, 0), _kill_child, ("run",)),
    Fault("SIGTERM", (INTERRUPTED, 0), _terminate),
    Fault("SIGINT", (INTERRUPTED, 0), _interrupt),
    Fault("SIGINT, twice", (INTERRUPTED, 0), _interrupt_twice),
    Fault("SIGSTOP, then SIGCONT", (0,), _stop),
    Fault("disk full", (REFUSED, 0), _fill_disk),
    Fault("/dev/shm full", (REFUSED, 0), _fill_shared, ("run",)),
    Fault("folder removed", (REFUSED, 0), _remove_folder),
    Fault("second writer", (REFUSED, 0), _write_too),
)
