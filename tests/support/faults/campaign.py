"""Cases by number: a command is hit at a moment, finished again, and judged.

A case is known by the campaign's seed and its own number: the number chooses the command, both all the rest.
"""

import gc
import importlib
import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from faults import operation as operations
from faults.fault import FAULTS, Fault, Scene
from faults.operation import Operation
from faults.places import Disk, clear_shared, empty_shared, shared_entries
from faults.process import Moment, Running, adopt, steps_of

OTHERS = 6
"""One case in so many is no run on Lava."""
ENDINGS = ("finished", "resumed", "run again", "failed")
CACHE = ".cache"
REFUSALS = ("another spikecut process is writing there", "holds an earlier")


@dataclass(frozen=True)
class Undisturbed:
    """What a command does when nothing hits it. said: its remarks on standard error. left: its folders' entries."""

    result: Any
    earlier: Any
    steps: int
    taken_s: float
    said: str
    left: frozenset[str]


@dataclass(frozen=True)
class Judged:
    """A case: what was hit, how and when, and what became of it. rows: of the result in the end."""

    number: int
    command: str
    fault: str
    moment: str
    note: str
    overwrites: bool
    code: int | None
    kept: int
    ending: str
    why: str
    taken_s: float
    said: str


class Stage:
    """Where the cases play: the materials, one disk, and what each command does undisturbed."""

    def __init__(self, folder: Path, chosen: Sequence[Operation], mounted: bool) -> None:
        self.folder, self.chosen, self.mounted = folder, list(chosen), mounted
        self.materials = folder / "materials"
        self.disk = Disk(folder / "disk", mounted)
        self.work, self.temporary, self.said = self.disk.folder / "work", self.disk.folder / "tmp", folder / "said"
        os.environ.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))  # the cases have other homes
        adopt()
        self._warm()
        self.known = {each.name: self._undisturbed(each) for each in self.chosen}

    def _warm(self) -> None:
        """Import all that the commands import, make the materials, and have the kernels compiled."""
        kinds = {each.kind for each in self.chosen}
        importlib.import_module("spikecut.deploy.backends.lava.blocks").require_lava()  # before torch
        heavy = {"train": ("spikecut.models.training.train",), "export": ("spikecut.models.checkpoint",)}
        names = ["spikecut.deploy.pipeline.run", "matplotlib.pyplot", "spikecut.deploy.report.plots"]
        for name in (*names, *(name for kind in sorted(kinds) for name in heavy.get(kind, ()))):
            importlib.import_module(name)
        from networks import random_network

        from spikecut.deploy.backends.lava import cpu
        from spikecut.deploy.run import journal

        _leave_out()
        cpu.PART_SAMPLES, cpu.STREAM_CHUNK, journal.SAMPLES_PER_FILE = (
            operations.PART, operations.CHUNK, operations.PART)  # fmt: skip
        self.materials.mkdir(parents=True)
        forked(lambda: operations.make(self.materials, kinds))
        for models in sorted({each.models for each in self.chosen if each.models}):
            graph = cpu.LavaGraph(random_network(1), models=models)
            graph._anchor.compile(graph._config)  # imports what the first compilation does
        for each in {each.kind: each for each in self.chosen}.values():  # and what else they import, is imported
            self._prepare(each, False)
            found = forked(lambda each=each: _imports(each, self.work))
            for name in found:
                try:
                    importlib.import_module(name)
                except Exception:  # what only its own package may import
                    continue
        gc.collect()
        gc.freeze()

    def _prepare(self, each: Operation, overwrite: bool) -> None:
        self.disk.renew()
        if self.mounted:
            empty_shared()
        self.work.mkdir()
        self.temporary.mkdir()
        operations.prepare(self.materials, self.work, each, overwrite)

    def start(self, words: tuple[str, ...], moment: Moment | None, said: str = "said") -> Running:
        """A command in the folder of the case."""
        return Running(words, self.work, self.temporary, self.folder / said, moment)

    def _undisturbed(self, each: Operation) -> Undisturbed:
        self._prepare(each, True)
        earlier = self.result(each)
        self._prepare(each, False)
        running = self.start(each.words(False), None)
        code = running.end()
        steps, orphans = steps_of(running), running.left()
        if code != 0 or orphans:
            raise RuntimeError(f"{each.name}: exit code {code}, left {orphans}: {running.said[1]}")
        result, said, left = self.result(each), running.said[1], frozenset(self.entries())
        return Undisturbed(result, earlier, steps, running.taken_s, said, left)

    def result(self, each: Operation) -> Any:
        """What lies there, read in a process of its own; {"refused": why} for what its readers refuse."""
        return forked(lambda: each.read(self.work))

    def entries(self) -> set[str]:
        """Everything on the disk, and in /dev/shm, but what is cached."""
        found = set()
        for place, folders, files in os.walk(self.disk.folder):
            found |= {os.path.relpath(os.path.join(place, name), self.disk.folder) for name in (*folders, *files)}
        shared = {f"/dev/shm/{name}" for name in shared_entries()} if self.mounted else set()
        return {name for name in found if CACHE not in name.split("/")} | shared

    def play(self, number: int, seed: int, keep: Path | None, failed: Path) -> Judged:
        """One case. keep: a folder for what it leaves, if that is to stay; failed: for what it leaves if it fails."""
        rng = random.Random(f"{seed}:{number}")
        each = chosen_for(number, self.chosen)
        fault = rng.choice([fault for fault in FAULTS if not fault.kinds or each.kind in fault.kinds])
        known, overwrites = self.known[each.name], rng.random() < 0.25
        moment = _moment(each, known, rng)
        began = time.monotonic()
        self._prepare(each, overwrites)
        play = Play(self, each, fault, known, overwrites)
        why, ending = play.through(moment, rng)
        if why or keep is not None:
            shutil.copytree(self.disk.folder, (keep or failed) / str(number), dirs_exist_ok=True, symlinks=True)
        self.disk.remove()
        said = play.said.strip().splitlines()
        return Judged(
            number, each.name, fault.name, f"{moment.kind} {moment.number:g}", play.note, overwrites, play.code,
            play.kept, "failed" if why else ending, why, round(time.monotonic() - began, 2), said[-1] if said else "",
        )  # fmt: skip


def _leave_out() -> None:
    """What takes most of a command's time and most of its steps, and has nothing to do with faults."""
    from matplotlib.figure import Figure

    def picture(_: Figure, target: Any, **_options: Any) -> None:
        if hasattr(target, "write"):
            target.write(b"a picture")
        else:
            Path(target).write_bytes(b"a picture")

    Figure.savefig = picture  # type: ignore[method-assign,assignment]


def _imports(each: Operation, work: Path) -> list[str]:
    before = set(sys.modules)
    os.chdir(work)
    operations.command(each.words(False))
    return [name for name in sys.modules if name not in before]


def forked(work: Callable[[], Any]) -> Any:
    """The JSON data that a function gives in a process of its own; {"refused": …} where it raises spikecut's errors."""
    from spikecut.errors import SpikecutError

    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            try:
                given = work()
            except SpikecutError as error:
                given = {"refused": str(error)}
            except Exception as error:
                given = {"raised": repr(error)}
            with open(write, "w") as file:
                json.dump(given, file, default=str)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with open(read) as file:
        text = file.read()
    os.waitpid(pid, 0)
    found = json.loads(text or "null")
    if isinstance(found, dict) and "raised" in found:
        raise RuntimeError(found["raised"])
    return found


def chosen_for(number: int, chosen: Sequence[Operation]) -> Operation:
    """The command of a case: five of six run on Lava."""
    runs = [each for each in chosen if each.kind == "run"]
    others = [each for each in chosen if each.kind != "run"]
    if others and (number % OTHERS == OTHERS - 1 or not runs):
        return others[number // OTHERS % len(others)]
    return runs[(number - number // OTHERS * bool(others)) % len(runs)]


def _moment(each: Operation, known: Undisturbed, rng: random.Random) -> Moment:
    kind = rng.choice(("time", "step", "sample") if each.kind == "run" else ("time", "step"))
    fraction = rng.random()
    if kind == "time":
        return Moment(kind, round(fraction * known.taken_s, 3))
    return Moment(kind, 1 + int(fraction * known.steps) if kind == "step" else int(fraction * operations.SAMPLES))


class Play:
    """One case under way."""

    def __init__(self, stage: Stage, each: Operation, fault: Fault, known: Undisturbed, overwrites: bool) -> None:
        self.stage, self.each, self.fault, self.known, self.overwrites = stage, each, fault, known, overwrites
        self.code: int | None = None
        self.said, self.note, self.kept = "", "", 0
        self.result_removed = False

    def through(self, moment: Moment, rng: random.Random) -> tuple[str, str]:
        """Hit the command, look, finish it, look again: why it failed, and how it ended."""
        stage, each = self.stage, self.each
        words = each.words(self.overwrites)
        running = stage.start(words, moment)
        again = partial(stage.start, words, None, "second")
        scene = Scene(running, each, stage.disk, stage.work, stage.temporary, rng, again)
        if running.reach():
            self.fault.strikes(scene)
        else:
            self.note = "too late"
        self.code = running.end()
        stage.disk.clear()
        clear_shared()
        others = [] if scene.second is None else scene.second.left()
        orphans = running.left() + others
        self.note, self.said, self.result_removed = self.note or scene.note, running.said[1], scene.result_removed
        why = self._after(running, orphans, scene.second)
        if why:
            return why, ""
        operations.restore(stage.materials, stage.work)
        stage.temporary.mkdir(exist_ok=True)
        return self._finished()

    def _after(self, running: Running, orphans: list[int], second: Running | None) -> str:
        """What is wrong once the command has been hit and has ended; empty if nothing is."""
        if self.code is None:
            return "hangs"
        if orphans:
            return f"{len(orphans)} processes are left"
        if self.code not in self.fault.codes:
            return f"exit code {self.code}"
        if wrong := self._wrong_words(self.code, running.said[1]):
            return wrong
        result = self.stage.result(self.each)
        allowed = [self.known.result, *([self.known.earlier] if self.overwrites else [None])]
        if second is not None:
            return self._two(second, result)
        if self.code == 0 and result != self.known.result and not self.result_removed:
            return f"exit code 0, and {self._differs(result)}"
        if not self._is_allowed(result, allowed):
            return f"half written: {self._differs(result)}"
        return ""

    def _is_allowed(self, result: Any, allowed: list[Any]) -> bool:
        """Whether the new result, or the earlier one, or none, lies there, whole."""
        if result is None and (self.result_removed or "results" in self.note):
            return True
        if self.each.kind == "train" and isinstance(result, dict) and result.get("summary") is None:
            result = {**result, "summary": self.known.result["summary"]}  # it comes after the checkpoint
            if self.overwrites and result["tensors"] == self.known.earlier["tensors"]:
                return True
        return result in allowed

    def _two(self, second: Running, result: Any) -> str:
        """Of two writers one has written, or both one after the other, and the other was refused in one line."""
        codes = {self.code, second.code}
        self.note = f"exit codes {self.code} and {second.code}"
        if 0 not in codes or not codes <= {0, 2}:
            return f"exit codes {self.code} and {second.code} of two writers: {second.said[1]}"
        told = "".join(run.said[1] if run else self.said for run in (second, None))
        if 2 in codes and not any(refusal in told for refusal in REFUSALS):
            return f"refused otherwise: {told}"
        if wrong := self._wrong_words(second.code or 0, second.said[1]):
            return f"the second: {wrong}"
        return "" if result == self.known.result else f"two writers: {self._differs(result)}"

    def _wrong_words(self, code: int, said: str) -> str:
        """What is wrong with what was said on standard error."""
        remarks = set(self.known.said.splitlines())
        lines = [line for line in said.splitlines() if line not in remarks and not line.startswith("next: ")]
        if "Traceback" in said or "internal error" in said:
            return "traceback"
        if code in (2, 130) and (len(lines) != 1 or not lines[0].startswith("spikecut: ")):
            return f"{len(lines)} lines"
        if code == 0 and [line for line in lines if not line.startswith("spikecut: ")]:
            return "says more than undisturbed"
        return ""

    def _finished(self) -> tuple[str, str]:
        """Resume the command, or run it again, unless its result is there; why that fails, and which it was."""
        stage, each = self.stage, self.each
        resumed = each.resumed(stage.work)
        ending = "finished"
        if resumed is not None or stage.result(each) != self.known.result:
            again = resumed or each.words(self.overwrites)
            ending = "run again" if resumed is None else "resumed"
            self.kept = len(list((stage.work / f"{each.out}.partial").glob("cut-*")))
            running = stage.start(again, None)
            code, orphans = running.end(), running.left()
            if code != 0:
                return f"{' '.join(again[:3])}: exit code {code}: {running.said[1]}", ""
            if orphans:
                return f"{len(orphans)} processes are left of {again[:3]}", ""
            if wrong := self._wrong_words(0, running.said[1]):
                return f"{again[:3]}: {wrong}: {running.said[1]}", ""
        result = stage.result(each)
        if result != self.known.result:
            return f"{ending}: {self._differs(result)}", ""
        left = stage.entries() - self.known.left
        if left - ({f"work/{each.out}.summary.json"} if each.kind == "train" else set()):
            return f"leaves {sorted(left)[:4]}", ""
        return "", ending

    def _differs(self, result: Any) -> str:
        """How a result differs from the undisturbed one, in words."""
        if result is None:
            return "no result is there"
        if "refused" in result:
            return f"it is refused: {result['refused']}"
        names = [name for name in self.known.result if result.get(name) != self.known.result[name]]
        if "rows" in names:
            one, other = result["rows"], self.known.result["rows"]
            places = Counter(row["index"] for row in one)
            lost = sum(row["index"] not in places for row in other)
            return f"{lost} rows lost, {sum(count - 1 for count in places.values())} doubled, or different"
        return f"other {', '.join(names)}"


def table(judged: Sequence[Mapping[str, Any]]) -> str:
    """Two tables in Markdown: by fault, and by command."""
    rows = []
    orders = ([fault.name for fault in FAULTS], [each.name for each in operations.operations()])
    for key, order in zip(("fault", "command"), orders, strict=True):
        rows += [f"| {key} | cases | finished all the same | resumed | run again | failed |", "|---|" + "---:|" * 5]
        for name in (*order, "all"):
            tally = Counter(each["ending"] for each in judged if name in (each[key], "all"))
            cells = (tally.total(), *(tally[ending] for ending in ENDINGS))
            rows.append(f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |")
        rows.append("")
    return "\n".join(rows)


__all__ = ["Judged", "Stage", "asdict", "table"]
