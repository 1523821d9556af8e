"""Mutants by number: made, read, and judged.

A mutant is known by the campaign's seed and its own number: the number chooses the reader, both choose the mutation.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hostile import commands, sandbox, sound
from hostile.mutate import GROUPS, mutate
from hostile.reader import Reader

ALLOWED_KIB = 768 * 1024
PACKED = 1100
"""Memory beyond what the sound file takes: so much, and so many times the file's size, as zlib packs up to 1032 bytes
into one. See SECURITY.md."""
MOST_SEALED = 2**28
MOST_READ = 2**32
VERDICTS = ("refused", "same", "other", "failed")
TIMES = ("wall_time", "seconds", "created", "started", "duration", "versions", "machine", "elapsed")
EXITS = (0, 2)
CACHE = ("tmp/.cache", "tmp/.cache/spikecut", "tmp/.cache/spikecut/zoo")
"""Folders of the user's cache, which may be made for nothing."""


@dataclass(frozen=True)
class Judged:
    """A mutant: what it was, and what became of it; why: of one that failed."""

    number: int
    reader: str
    group: str
    mutation: str
    verdict: str
    why: str
    mib: int
    cpu_s: float
    said: str


def import_most(quick: bool = False) -> None:
    """Import what takes longest, for all processes that are forked; quick: neither Lava nor torch."""
    names = ["spikecut.deploy.cli.main", "spikecut.deploy.pipeline.run", "matplotlib.pyplot"]
    if not quick:
        importlib.import_module("spikecut.deploy.backends.lava.blocks").require_lava()  # before torch
        names.append("torchvision.datasets")
    sandbox.probing()
    for name in names:
        importlib.import_module(name)


def warm(readers: Iterable[Reader], boxes: Path) -> dict[str, sandbox.Outcome]:
    """Import all that the commands import, and run each on its sound file; what it did there, by reader."""
    readers = list(readers)
    for reader in {reader.command[0]: reader for reader in readers}.values():
        for name in _modules(reader, boxes / "warm"):
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    _here(next(reader for reader in readers if reader.name == "data: .npz"), boxes / "warm")
    found = {reader.name: _run(reader, boxes / "known") for reader in readers}
    gc.collect()
    gc.freeze()  # what is here is no garbage of the processes that are forked: none of them copies it to look
    broken = {name: outcome.failed for name, outcome in found.items() if outcome.code != 0}
    if broken:
        raise RuntimeError(f"sound files are refused: {broken}")
    return found


def _modules(reader: Reader, box: Path) -> list[str]:
    """What a command imports that is not imported here."""
    read, write = os.pipe()
    sandbox.prepare(box, reader.folder, reader.needs)
    pid = os.fork()
    if pid == 0:
        os.close(read)
        with open(write, "w") as told, contextlib.suppress(BaseException):
            os.chdir(box / sandbox.WORK)
            for number in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            before = set(commands.sys.modules)
            with contextlib.suppress(SystemExit):
                commands.main(reader.command)
            told.write("\n".join(name for name in commands.sys.modules if name not in before))
        os._exit(0)
    os.close(write)
    with open(read) as told:
        names = told.read().split()
    os.waitpid(pid, 0)
    shutil.rmtree(box)
    return names


def _here(reader: Reader, box: Path) -> None:
    """Run a command in this process: compiled kernels are loaded once."""
    sandbox.prepare(box, reader.folder, reader.needs)
    here = os.getcwd()
    os.chdir(box / sandbox.WORK)
    try:
        silence = io.StringIO()
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence), contextlib.suppress(SystemExit):
            commands.main(reader.command)
    finally:
        os.chdir(here)
        shutil.rmtree(box)


def _run(reader: Reader, box: Path) -> sandbox.Outcome:
    sandbox.prepare(box, reader.folder, reader.needs)
    outcome = sandbox.run(box, reader.command)
    _clear(box)
    return outcome


def _clear(box: Path) -> None:
    shutil.rmtree(box, ignore_errors=True)


def judge(
    reader: Reader, number: int, seed: int, known: Mapping[str, sandbox.Outcome], box: Path, keep: bool
) -> Judged:
    """Make a mutant, read it, and say what became of it; keep: its folder stays for a look."""
    rng = random.Random(f"{seed}:{number}")
    _clear(box)
    work = sandbox.prepare(box, reader.folder, reader.needs)
    group, mutation = mutate(work / reader.target, reader.kind, rng)
    target = work / reader.target
    if (
        reader.sealed is not None
        and target.is_file()
        and not target.is_symlink()
        and target.stat().st_size < MOST_SEALED
    ):
        with contextlib.suppress(Exception):  # of what is no file, or no JSON, there is no right hash
            reader.sealed(work)
    size = _kib(target) if target.is_file() else 0
    outcome = sandbox.run(box, reader.command)
    verdict, why = verdict_of(reader, outcome, known[reader.name], known[reader.name].kib + ALLOWED_KIB + size)
    if not keep and verdict != "failed":
        _clear(box)
    said = outcome.failed.strip().splitlines()[-1][:300] if outcome.failed.strip() else ""
    return Judged(
        number, reader.name, group, mutation, verdict, why, outcome.kib // 1024, round(outcome.cpu_s, 2), said
    )


def _kib(path: Path) -> int:
    """What a file may cost: PACKED times what is stored of it, or its length, if that is read at all."""
    found = path.stat()
    return max(PACKED * found.st_blocks // 2, found.st_size // 1024 if found.st_size <= MOST_READ else 0)


def verdict_of(reader: Reader, outcome: sandbox.Outcome, known: sandbox.Outcome, most_kib: int) -> tuple[str, str]:
    """One of VERDICTS; of a failure also why. known: of the sound file. most_kib: memory that it may take."""
    notes = set(known.failed.splitlines())  # remarks that come before the work
    lines = [line for line in outcome.failed.splitlines() if line not in notes]
    told = [line for line in lines if line.startswith("spikecut: ") or reader.tells]
    left = [name for name in outcome.left if name not in CACHE]
    faults = {
        f"hangs: {sandbox.WALL_S} s": outcome.code is None,
        "takes too much of the processor": outcome.code == -signal.SIGXCPU or outcome.cpu_s > sandbox.CPU_S,
        f"signal {-(outcome.code or 0)}": (outcome.code or 0) < 0,
        f"exit code {outcome.code}": outcome.code not in (*EXITS, *([1] if reader.command[0] == "verify" else [])),
        "traceback": "Traceback" in outcome.failed or "internal error" in outcome.failed,
        "warning": "Warning:" in outcome.failed,
        "memory": outcome.kib > most_kib or "out of memory" in outcome.failed,
        f"strays: {outcome.strayed[:2]}": bool(outcome.strayed),
        f"leaves {left[:4]}": outcome.code == 2 and bool(left),
        f"ran: {outcome.left[:4]}": any("strayed" in name for name in outcome.left),
        "not one line": outcome.code == 2
        and (len(told) < 1 or len(told) != len(lines) or len(lines) > 1 + 99 * reader.tells),
        "refused, and tells a result": outcome.code == 2 and bool(outcome.said) and not reader.tells,
        "shows control characters": any(
            ord(sign) < 32 and sign not in "\n\t\r" for sign in outcome.failed + outcome.said
        ),
    }
    for why, holds in faults.items():
        if holds:
            return "failed", why
    if outcome.code == 2:
        return "refused", ""
    if outcome.code == 0 and results(outcome.said) == results(known.said):
        return "same", ""
    return ("failed", "other results without a word") if reader.protected else ("other", "")


def results(said: str) -> Any:
    """What a command printed, without times and versions."""
    try:
        return _without(json.loads(said))
    except ValueError:
        return [_line(line) for line in said.splitlines()]


def _line(line: str) -> Any:
    try:
        return _without(json.loads(line))
    except ValueError:
        return line


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner) for key, inner in value.items() if not any(word in key for word in TIMES)}
    if isinstance(value, list):
        return [_without(inner) for inner in value]
    return value


def counts(judged: Iterable[Mapping[str, Any]], key: str) -> dict[str, Counter[str]]:
    """Verdicts by reader or group."""
    found: dict[str, Counter[str]] = {}
    for each in judged:
        found.setdefault(each[key], Counter())[each["verdict"]] += 1
    return found


def table(judged: list[Mapping[str, Any]]) -> str:
    """Two tables in Markdown: by reader, and by group of mutations."""
    rows = []
    for key, order in (("reader", [each.name for each in sound.readers(Path())]), ("group", GROUPS)):
        rows += [
            f"| {key} | mutants | refused | accepted, same results | accepted, other results | failed |",
            "|---|" + "---:|" * 5,
        ]
        found = counts(judged, key)
        for name in (*order, "all"):
            tally = sum(found.values(), Counter()) if name == "all" else found.get(name, Counter())
            cells = (tally.total(), *(tally[verdict] for verdict in VERDICTS))
            rows.append(f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |")
        rows.append("")
    return "\n".join(rows)


__all__ = ["Judged", "asdict", "judge", "table", "warm"]
