"""The demo: two networks on scikit-learn's handwritten digits, from training to early exits on Lava."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spikecut.deploy.backends.base import backend_named
from spikecut.deploy.backends.progress import Progress, silent
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.pipeline.calibrate import CalibrationOptions, calibrate_split
from spikecut.deploy.pipeline.export import export_to_bundle
from spikecut.deploy.pipeline.public import verify
from spikecut.deploy.pipeline.reporting.write import check_report_target, write_report
from spikecut.deploy.pipeline.run import RunOptions, RunTarget, RunTask, run_bundle
from spikecut.deploy.run.finished import Run
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


def demo(
    out: str | Path,
    *,
    seed: int = 0,
    backend: str = "lava",
    bars: bool = False,
    tell: Tell = lambda line: None,
    progress: Progress = silent,
) -> tuple[Run, ...]:
    """Train, export, verify, calibrate and run two networks on handwritten digits, as `spikecut demo` does.

    Leaves in `out` a folder for each network, with checkpoint, bundle and run, and a report on both runs.

    Parameters
    ----------
    out: the folder; an earlier demo there is replaced. seed: of training and spikes. backend: what runs the networks.
    bars: show Lightning's own bar while training. tell: takes a line on each step, as soon as there is one.
    progress: opens a bar of each step; by default nothing is shown.

    Raises
    ------
    InputError: `out` holds something else, or there is no such backend. BackendError: it cannot run here.
        SpikecutError with exit code 1: the engines disagree.
    """
    folder = Path(out)
    how = RunOptions(backend, hardware=HARDWARE, also_full=True)
    backend_named(backend).require()
    with only_writer(folder, "demo"):
        prepare(folder)
        steps = _Steps(load_dataset("digits"), how, tell, progress, seed, bars)
        done = tuple(steps.run(recipe, folder / recipe.name) for recipe in RECIPES)
        _report(folder, tell)
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
    """The way of each network."""

    data: Dataset
    how: RunOptions
    tell: Tell
    progress: Progress
    seed: int
    bars: bool

    def run(self, recipe: Recipe, folder: Path) -> Run:
        """Take all steps."""
        data, backend, began = self.data, self.how.backend, time.perf_counter()

        def say(text: str) -> None:
            self.tell(f"[{time.perf_counter() - began:5.1f} s] {recipe.name}: {text}")

        say(f"training ({recipe.method})")
        session = Session(progress=self.bars)
        trained = train(recipe.method, data, seed=self.seed, session=session)
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
        config = {"demo": recipe.name, "seed": self.seed, "epsilon": recipe.epsilon, "cutoff": cutoff}
        task = RunTask(bundle, data.test, data.name, calibration.policy, self.how, config)
        done = run_bundle(task, RunTarget(folder / "run"), self.progress)
        summary = done.summary
        if summary.accuracy_cutoff is not None:
            say(f"done, {100 * summary.accuracy_cutoff:.1f} % right in {summary.mean_timesteps:.2f} timesteps")
        return done
