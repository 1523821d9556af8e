"""What is hit: commands with tiny networks, how each is resumed, and what it leaves, as data that can be compared."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from spikecut.deploy.backends.base import MODELS, MODES, LavaModels

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden" / "format_1"
SAMPLES = 40
PART, CHUNK = 8, 16
"""Samples after which a run on Lava keeps what it has, and of a stream's piece; 64 and 256 in earnest."""
TIMES = ("wall_time", "created", "duration", "elapsed")
OUT = "results/out"


@dataclass(frozen=True)
class Operation:
    """A command.

    name: in the table. kind: "run", "train", "export" or "sweep". command: its words; OUT is where it writes.
    models: Lava's, of a run.
    """

    name: str
    kind: str
    command: tuple[str, ...]
    models: LavaModels | None = None

    @property
    def out(self) -> str:
        """What it writes, relative to the folder that it works in."""
        return OUT + (".safetensors" if self.kind == "train" else "")

    @property
    def earlier(self) -> str:
        """An earlier result of its kind among the materials."""
        return f"earlier-{self.kind}"

    def words(self, overwrite: bool) -> tuple[str, ...]:
        """The command line; a training replaces what it finds unasked."""
        return (*self.command, *(["--overwrite"] if overwrite and self.kind != "train" else []))

    def resumed(self, work: Path) -> tuple[str, ...] | None:
        """The command that resumes it, as its error says; None where nothing was kept, and it is run again."""
        if self.kind == "run" and (work / f"{self.out}.partial" / "request.json").exists():
            return ("run", "--resume", self.out)
        if self.kind == "train" and (work / f"{self.out}.training").exists():
            return (*self.command, "--resume")
        return None

    def read(self, work: Path) -> Any:
        """Its result as JSON data without times, as a later command reads it; None if there is none."""
        path = work / self.out
        if not os.path.lexists(path):
            return None
        return without_times(READERS[self.kind](path))


def operations() -> list[Operation]:
    """All of them; those on Lava first."""
    run = ("run", "bundle", "--dataset", "samples.npz", "--hardware", "loihi1", "--out", OUT)
    found = [
        Operation(f"run, {mode}, {models}", "run", (*run, "--mode", mode, "--lava-models", models), models)
        for mode, models in product(MODES, MODELS)
    ]
    train = ("train", "--dataset", "samples.npz", "--timesteps", "2", "--epochs", "4", "--method", "tet", "--arch",
             "mlp-lif", "--train-samples", "20", "--out", f"{OUT}.safetensors")  # fmt: skip
    sweep = ("sweep", "bundle", "--dataset", "samples.npz", "--policy", "topk", "--policy", "fixed", "--epsilon", "0.1",
             "--epsilon", "0.2", "--hardware", "loihi1", "--out", OUT)  # fmt: skip
    found.append(Operation("train", "train", train))
    found.append(Operation("export", "export", ("export", "lif.safetensors", "--out", OUT)))
    found.append(Operation("sweep", "sweep", sweep))
    return found


def command(arguments: tuple[str, ...]) -> int:
    """Do a command in this process; its exit code."""
    from spikecut.deploy.cli import main as cli

    sys.argv = ["spikecut", *arguments]
    try:
        cli.main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def make(folder: Path, kinds: set[str]) -> None:
    """Write what the commands of these kinds need, and an earlier result of each, into an empty folder."""
    here = os.getcwd()
    os.chdir(folder)
    try:
        rng = np.random.default_rng(1)
        with np.load(GOLDEN / "samples.npz") as arrays:
            found = {name: array for name, array in arrays.items() if not name.endswith("test")}
            shape = arrays["x_test"].shape[1:]
        x, y = rng.random((SAMPLES, *shape), dtype=np.float32), rng.integers(0, 3, SAMPLES)
        np.savez("samples.npz", x_test=x, y_test=y, **found)
        shutil.copy(GOLDEN / "lif.safetensors", "lif.safetensors")
        shutil.copytree(GOLDEN / "bundle", "bundle")
        made: list[tuple[str, ...]] = []
        short = ("bundle", "--dataset", "samples.npz", "--hardware", "loihi1", "--samples", "5")
        if "run" in kinds:
            made.append(("run", *short, "--backend", "batched", "--out", "earlier-run"))
        if "sweep" in kinds:
            made.append(("sweep", *short, "--policy", "fixed", "--epsilon", "0.1", "--out", "earlier-sweep"))
        if "export" in kinds:
            made.append(("export", str(GOLDEN / "qcfs.safetensors"), "--out", "earlier-export"))
        for words in made:
            if command(words) != 0:
                raise RuntimeError(f"{' '.join(words)} fails")
        if "train" in kinds:
            shutil.copy("lif.safetensors", "earlier-train")
            shutil.copy(GOLDEN / "lif.safetensors.summary.json", "earlier-train.summary.json")
    finally:
        os.chdir(here)


def prepare(materials: Path, work: Path, operation: Operation, overwrite: bool) -> None:
    """Copy what an operation needs into its folder, and an earlier result where it is to replace one."""
    for name in ("bundle", "samples.npz", "lif.safetensors"):
        _copy(materials / name, work / name)
    if overwrite:
        (work / "results").mkdir()
        for path in materials.glob(f"{operation.earlier}*"):
            _copy(path, work / path.name.replace(operation.earlier, operation.out))


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        return
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def restore(materials: Path, work: Path) -> None:
    """Put back what was removed of a command's own inputs."""
    for name in ("bundle", "samples.npz", "lif.safetensors"):
        _copy(materials / name, work / name)


def _run(path: Path) -> Any:
    from spikecut.deploy.run.stored import read_run

    found = read_run(path)
    pictures = sorted(picture.name for picture in (path / "figures").iterdir())
    return {"rows": found.samples.to_pylist(), "summary": found.summary.data(), "figures": pictures}


def _train(path: Path) -> Any:
    from spikecut.models.checkpoint import load_checkpoint

    network, recipe = load_checkpoint(path)
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    summary = path.with_name(path.name + ".summary.json")
    told = json.loads(summary.read_text())["recipe"] if summary.exists() else None
    return {"tensors": digest.hexdigest(), "recipe": recipe, "summary": told}


def _export(path: Path) -> Any:
    from spikecut.deploy.bundle import open_bundle

    bundle = open_bundle(path)
    return {"manifest": json.loads((path / "manifest.json").read_text()), "network": bundle.network_hash}


def _sweep(path: Path) -> Any:
    pictures = sorted(picture.name for picture in (path / "figures").iterdir())
    return {"summary": json.loads((path / "summary.json").read_text()), "figures": pictures}


READERS: dict[str, Callable[[Path], Any]] = {"run": _run, "train": _train, "export": _export, "sweep": _sweep}


def without_times(value: Any) -> Any:
    """JSON data without what differs from one run to the next: the columns and fields of measured time."""
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if not any(word in key for word in TIMES)}
    if isinstance(value, list):
        return [without_times(inner) for inner in value]
    return value
