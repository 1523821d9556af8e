"""The demo: two networks on scikit-learn's handwritten digits, from training to halted runs on Lava."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cli.cutoff import calibrate_split
from spikecut.deploy.cli.output import progress_bar, stderr, stdout
from spikecut.deploy.pipeline.run import RunOptions, RunTarget, RunTask, export_to_bundle, run_bundle, write_summary
from spikecut.deploy.pipeline.verify import verify_bundle
from spikecut.deploy.report.tables import demo_table
from spikecut.deploy.run.folder import RUN
from spikecut.deploy.run.journal import JOURNAL
from spikecut.deploy.verify.compare import REFERENCE
from spikecut.errors import InputError, SpikecutError
from spikecut.export.manifest import BUNDLE
from spikecut.folders import check_entries
from spikecut.models.checkpoint import load_checkpoint, save_checkpoint
from spikecut.models.data import Dataset, load_dataset
from spikecut.models.training.train import train

HARDWARE = ("loihi1", "loihi2")
MARK = "demo.json"
CHECKPOINT = "checkpoint.safetensors"
FOLDERS = {"bundle": BUNDLE.entries, "run": RUN.entries, "run.partial": JOURNAL}
ENTRIES = (CHECKPOINT, *FOLDERS, *(f"{folder}/{name}" for folder, names in FOLDERS.items() for name in names))
"""Everything that an earlier demo may have left in the folder of one network."""


@dataclass(frozen=True)
class Recipe:
    """One network of the demo."""

    name: str
    method: str
    epsilon: float


RECIPES = (Recipe("lif", "tet", 0.01), Recipe("qcfs", "qcfs", 0.01))


class VerificationError(SpikecutError):
    """An engine disagrees with torch: the demo stops."""

    exit_code = 1


def run_demo(out: Path, seed: int = 0, backend: str = "lava", quiet: bool = False) -> list[dict[str, Any]]:
    """Run both networks; leaves one folder each in `out` and prints one table. Returns the summaries.

    Raises
    ------
    InputError: `out` holds something else, or an unknown backend.
    VerificationError: the engines disagree.
    """
    options = RunOptions(backend, hardware=HARDWARE, also_full=True)
    _prepare(out)
    console = stderr() if quiet else stdout()
    data = load_dataset("digits")
    summaries = [_one(out / recipe.name, recipe, data, seed, options, console) for recipe in RECIPES]
    if not quiet:
        console.print(demo_table(summaries))
        console.print(f"Everything is in {out}: per network the checkpoint, the bundle and the run with its figures.")
    return summaries


def _prepare(out: Path) -> None:
    """Empty the folder of an earlier demo; refuse to touch anything else."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: choose another --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARK).is_file():
            raise InputError(f"{out} is not empty and holds no earlier demo: choose another --out")
        earlier = [out / recipe.name for recipe in RECIPES if (out / recipe.name).is_dir()]
        for folder in earlier:
            check_entries(folder, ENTRIES, "demo")
        for folder in earlier:
            shutil.rmtree(folder)
    write_summary(out / MARK, {"networks": [recipe.name for recipe in RECIPES]})


def _one(
    folder: Path, recipe: Recipe, data: Dataset, seed: int, options: RunOptions, console: Console
) -> dict[str, Any]:
    began = time.perf_counter()

    def say(text: str) -> None:
        console.print(f"[{time.perf_counter() - began:5.1f} s] {recipe.name}: {text}", markup=False, highlight=False)

    say(f"training ({recipe.method})")
    trained = train(recipe.method, data, seed=seed, progress=console.is_terminal)
    checkpoint = folder / CHECKPOINT
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(checkpoint, trained.network, trained.recipe)
    say(f"exporting; the float network is right on {100 * float(trained.accuracy[-1]):.1f} % of the test split")
    network, description = load_checkpoint(checkpoint)
    manifest = export_to_bundle(network, description, folder / "bundle", name=recipe.name)
    bundle = open_bundle(folder / "bundle")
    engines = ", ".join(("torch", *dict.fromkeys((REFERENCE, options.backend))))
    say(f"verifying {manifest.agreement.samples} golden samples: {engines}")
    found = verify_bundle(bundle.path, None, options.backend, progress_bar)
    if not found.passed:
        raise VerificationError(f"{bundle.path}: {found.samples} samples: they differ first at {found.difference}")
    say("every integer is equal; calibrating")
    calibration = calibrate_split(bundle, data.calibration, data.name, "topk", recipe.epsilon)
    say(f"running {len(data.test.y)} test samples on {options.backend}, halted and to the horizon")
    config = {"demo": recipe.name, "seed": seed, "epsilon": recipe.epsilon}
    task = RunTask(bundle, data.test, data.name, calibration.policy, options, config)
    done = run_bundle(task, RunTarget(folder / "run"), progress_bar)
    summary = done.summary
    if summary.accuracy_cutoff is not None:
        say(f"done, {100 * summary.accuracy_cutoff:.1f} % right in {summary.mean_timesteps:.2f} timesteps")
    return summary.data()
