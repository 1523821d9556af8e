"""The demo: two networks on scikit-learn's handwritten digits, from training to early exits on Lava."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikecut.deploy.backends.base import backend_named
from spikecut.deploy.backends.progress import Progress, silent
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.pipeline.calibrate import CalibrationOptions, calibrate_split
from spikecut.deploy.pipeline.export import export_to_bundle
from spikecut.deploy.pipeline.public import verify
from spikecut.deploy.pipeline.reporting.write import check_report_target, write_report
from spikecut.deploy.pipeline.run import RunOptions, RunTarget, RunTask, run_bundle
from spikecut.deploy.run.folder import RUN
from spikecut.deploy.run.journal import JOURNAL
from spikecut.deploy.run.summary import write_summary
from spikecut.deploy.verify.compare import REFERENCE
from spikecut.errors import InputError, SpikecutError
from spikecut.export.manifest import BUNDLE
from spikecut.folders import check_entries
from spikecut.locks import only_writer
from spikecut.models.checkpoint import load_checkpoint, save_checkpoint
from spikecut.models.data import Dataset, load_dataset
from spikecut.models.training.train import train
from spikecut.models.training.trainer import Session

HARDWARE = ("loihi1", "loihi2")
MARK = "demo.json"
REPORT = "report.html"
CHECKPOINT = "checkpoint.safetensors"
FOLDERS = {"bundle": BUNDLE.entries, "run": RUN.entries, "run.partial": JOURNAL}
ENTRIES = (CHECKPOINT, *FOLDERS, *(f"{folder}/{name}" for folder, names in FOLDERS.items() for name in names))
"""Everything that an earlier demo may have left in the folder of one network."""

Tell = Callable[[str], None]
"""Takes a line for the user, as soon as there is one."""


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


@dataclass(frozen=True)
class DemoOptions:
    """seed: of training and spikes. backend: its name. bars: draw torch's own bar while training."""

    seed: int = 0
    backend: str = "lava"
    bars: bool = False


def run_demo(
    out: Path, options: DemoOptions = DemoOptions(), tell: Tell = lambda line: None, progress: Progress = silent
) -> list[dict[str, Any]]:
    """Train, export, verify, calibrate and run both networks; leaves one folder each in `out`. Returns the summaries.

    Raises
    ------
    InputError: `out` holds something else, or there is no such backend. BackendError: it cannot run here.
        VerificationError: the engines disagree.
    """
    how = RunOptions(options.backend, hardware=HARDWARE, also_full=True)
    backend_named(options.backend).require()
    with only_writer(out, "demo"):
        prepare(out)
        data = load_dataset("digits")
        done = [_Steps(recipe, data, options, how, tell, progress).run(out / recipe.name) for recipe in RECIPES]
        _report(out, tell)
        return done


def _report(out: Path, tell: Tell) -> None:
    """Both runs on one page; a line that says why not, where its packages are not installed."""
    try:
        done = write_report([out / recipe.name / "run" for recipe in RECIPES], out / REPORT, overwrite=True)
    except InputError as error:
        tell(f"no report: {error}")
        return
    for line in (str(done), *done.notes):
        tell(line)


def prepare(out: Path) -> None:
    """Empty the folder of an earlier demo; InputError, with nothing touched, where it holds anything else."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: choose another --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARK).is_file():
            raise InputError(f"{out} is not empty and holds no earlier demo: choose another --out")
        check_report_target(out / REPORT, overwrite=True)
        earlier = [out / recipe.name for recipe in RECIPES if (out / recipe.name).is_dir()]
        for folder in earlier:
            check_entries(folder, ENTRIES, "demo")
        for folder in earlier:
            shutil.rmtree(folder)
        (out / REPORT).unlink(missing_ok=True)
    write_summary(out / MARK, {"networks": [recipe.name for recipe in RECIPES]})


@dataclass(frozen=True)
class _Steps:
    """The way of one network."""

    recipe: Recipe
    data: Dataset
    options: DemoOptions
    how: RunOptions
    tell: Tell
    progress: Progress

    def run(self, folder: Path) -> dict[str, Any]:
        """Take all steps, and return the run's summary."""
        recipe, data, backend, began = self.recipe, self.data, self.options.backend, time.perf_counter()

        def say(text: str) -> None:
            self.tell(f"[{time.perf_counter() - began:5.1f} s] {recipe.name}: {text}")

        say(f"training ({recipe.method})")
        session = Session(progress=self.options.bars)
        trained = train(recipe.method, data, seed=self.options.seed, session=session)
        folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder / CHECKPOINT, trained.network, trained.recipe)
        say(f"exporting; the float network is right on {100 * float(trained.accuracy[-1]):.1f} % of the test split")
        network, description = load_checkpoint(folder / CHECKPOINT)
        manifest = export_to_bundle(network, description, folder / "bundle", name=recipe.name).manifest
        bundle = open_bundle(folder / "bundle")
        engines = ", ".join(("torch", *dict.fromkeys((REFERENCE, backend))))
        say(f"verifying {manifest.agreement.samples} golden samples: {engines}")
        found = verify(bundle.path, backend=backend, progress=self.progress)
        if not found.passed:
            raise VerificationError(f"{bundle.path}: {found.samples} samples: they differ first at {found.difference}")
        say("every integer is equal; calibrating")
        chosen = CalibrationOptions(epsilon=recipe.epsilon)
        calibration = calibrate_split(bundle, data.calibration, data.name, chosen, self.progress)
        say(f"running {len(data.test.y)} test samples on {backend}, with the cutoff and to the horizon")
        cutoff = bundle.calibrated().to_dict()
        config = {"demo": recipe.name, "seed": self.options.seed, "epsilon": recipe.epsilon, "cutoff": cutoff}
        task = RunTask(bundle, data.test, data.name, calibration.policy, self.how, config)
        summary = run_bundle(task, RunTarget(folder / "run"), self.progress).summary
        if summary.accuracy_cutoff is not None:
            say(f"done, {100 * summary.accuracy_cutoff:.1f} % right in {summary.mean_timesteps:.2f} timesteps")
        return summary.data()
