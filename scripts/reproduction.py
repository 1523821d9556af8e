"""The grid of trainings behind docs/reproduction.md: methods × RCS on and off × seeds × data sets, and the table of it.

    python scripts/reproduction.py run digits                  # one job after the other; what is finished is skipped
    python scripts/reproduction.py start small --data FOLDER   # the same in the background, with a log
    python scripts/reproduction.py table                       # docs/reproduction.md from the finished jobs

Each finished job is one JSON file in docs/reproduction. A job that is broken off keeps its finished epochs in
runs/reproduction and goes on from there when it is run again; there lie the checkpoints as well.
"""

import argparse
import fcntl
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cutoff.base import LabelledScores, exit_timesteps
from spikecut.deploy.cutoff.calibration.calibrate import calibrate
from spikecut.deploy.cutoff.calibration.oct import optimal_cutoff
from spikecut.errors import Interrupted, SpikecutError
from spikecut.models.checkpoint import save_checkpoint
from spikecut.models.data import load_dataset
from spikecut.models.training.encoding import InputEncoding
from spikecut.models.training.presets import preset_named
from spikecut.models.training.train import scores_per_timestep, train
from spikecut.models.training.trainer import Session

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "reproduction"
DOCUMENT = ROOT / "docs" / "reproduction.md"
STATES = ROOT / "runs" / "reproduction"

ALPHA = 0.002  # the default of the authors' configuration
EPSILONS = (0.0, 0.005, 0.01, 0.02, 0.05)
SHOWN_EPSILONS = (0.0, 0.01)
ALLOWED_LOSS = 0.003
FIXED_POINT = 2**16  # float scores in units of 1/65536: the cutoff's arithmetic is that of integers
METHODS = ("qcfs", "tet", "tebn")
Result = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One training: a preset, the weight of RCS, a seed."""

    preset: str
    rcs_alpha: float
    seed: int
    precision: str = "32-true"

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.preset}-rcs{self.rcs_alpha:g}-seed{self.seed}"


def _grid(presets: Iterable[str], seeds: Sequence[int], precision: str = "32-true") -> list[Job]:
    return [Job(preset, alpha, seed, precision) for preset in presets for alpha in (0.0, ALPHA) for seed in seeds]


GRIDS: dict[str, list[Job]] = {
    "digits": _grid([f"digits-{method}" for method in METHODS], (0, 1, 2)),
    "small": _grid([f"fashion-mnist-small-{method}" for method in METHODS], (0, 1, 2)),
    "full": _grid([*(f"fashion-mnist-{method}" for method in METHODS), "cifar10-small-qcfs"], (0,), "bf16-mixed"),
}
TITLES = {
    "digits": "scikit-learn's 8 × 8 digits, 847 training samples; tet: Bernoulli input, firing output, T = 16; qcfs: "
    "T = L = 8; tebn: direct input, membrane readout, T = 4",
    "small": "Fashion-MNIST, at most 50,000 parameters, 10,000 training samples, direct input, T = 4",
    "full": "Fashion-MNIST (54,000 training samples) and CIFAR-10, direct input, T = 4, one seed, bfloat16 products",
}


def measure(
    calibration: tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.int64]],
    test: tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.int64]],
) -> Result:
    """Figures of a network from its scores [T, N, classes] and labels [N] on both parts.

    Thresholds, and the ε of the last figure, are chosen on the calibration part; every figure is of the test part.
    """
    held = np.rint(calibration[0].astype(np.float64) * FIXED_POINT).astype(np.int64)
    data = LabelledScores.of(np.rint(test[0].astype(np.float64) * FIXED_POINT).astype(np.int64), test[1])
    full = float(data.right[-1].mean())
    cutoffs, allowed = {}, None
    for epsilon in EPSILONS:
        fitted = calibrate(held, calibration[1], "topk", epsilon)
        timesteps = exit_timesteps(fitted.policy, data.totals)
        accuracy = float(data.right_at(timesteps).mean())
        found = {"epsilon": epsilon, "mean_timesteps": float(timesteps.mean()), "accuracy": accuracy}
        cutoffs[f"{epsilon:g}"] = found
        lost = fitted.accuracy_full - fitted.accuracy_cutoff
        if lost <= ALLOWED_LOSS and (allowed is None or fitted.mean_timesteps < allowed[0]):
            allowed = (fitted.mean_timesteps, found)
    saved = None
    if allowed is not None:
        chosen = allowed[1]
        saved = {
            "epsilon": chosen["epsilon"],
            "times_fewer": data.horizon / chosen["mean_timesteps"],
            "lost": full - chosen["accuracy"],
        }
    return {
        "accuracy": [float(share) for share in data.right.mean(axis=1)],
        "oct": optimal_cutoff(data).mean_timesteps,
        "topk": cutoffs,
        "saved": saved,
    }


def run_job(job: Job, data: Path | None, results: Path, states: Path, threads: int = 1, **changes: Any) -> Path:
    """Train and measure, unless that is done; the result's file.

    threads: of torch. changes: of the preset, for a trial.
    """
    target = results / f"{job.name}.json"
    if target.is_file():
        return target
    dataset_name, preset = preset_named(job.preset)
    preset = replace(preset, rcs_alpha=job.rcs_alpha, **changes)
    dataset = load_dataset(dataset_name, folder=data)
    states.mkdir(parents=True, exist_ok=True)
    results.mkdir(parents=True, exist_ok=True)
    state = states / f"{job.name}.training"
    session = Session(state=state, resume=state.is_file(), precision=job.precision, threads=threads)
    trained = train(preset.method, dataset, seed=job.seed, preset=preset, session=session)
    save_checkpoint(states / f"{job.name}.safetensors", trained.network, trained.recipe)
    encoding = InputEncoding(**trained.recipe["input"])
    parts = [
        (scores_per_timestep(trained.network, split, encoding, preset.timesteps, job.seed), split.y)
        for split in (dataset.calibration, dataset.test)
    ]
    parameters = sum(tensor.numel() for tensor in trained.network.parameters())
    result = {"job": job.name, "parameters": parameters, **measure(*parts), "recipe": trained.recipe}
    partial = target.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, target)
    return target


def load_results(folder: Path) -> dict[str, Result]:
    """Name of the job → its result, of every finished job."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def document(results: dict[str, Result]) -> str:
    """docs/reproduction.md."""
    parts = [HEAD]
    for grid, jobs in GRIDS.items():
        parts.append(f"## {TITLES[grid]}\n")
        horizon = max([len(result["accuracy"]) for job in jobs if (result := results.get(job.name))], default=0)
        groups = [
            [each for each in jobs if each.preset == job.preset and each.rcs_alpha == job.rcs_alpha] for job in jobs
        ]
        rows = [group for position, group in enumerate(groups) if group not in groups[:position]]
        parts.append(_table(SUMMARY, rows, results))
        steps: list[Column] = [(f"t = {t}", _at(t)) for t in range(1, horizon + 1)]
        parts.append("Accuracy in % when the full run is read at t:\n")
        parts.append(_table(steps, rows, results) if steps else "not run\n")
    return "\n".join(parts)


Column = tuple[str, Callable[[Result], float | None]]


def _at(t: int) -> Callable[[Result], float | None]:
    return lambda result: 100 * result["accuracy"][t - 1] if t <= len(result["accuracy"]) else None


def _topk(epsilon: float, key: str, factor: float = 1.0) -> Callable[[Result], float | None]:
    return lambda result: factor * float(result["topk"][f"{epsilon:g}"][key])


def _saved(key: str, factor: float = 1.0) -> Callable[[Result], float | None]:
    return lambda result: None if result["saved"] is None else factor * float(result["saved"][key])


SUMMARY: list[Column] = [
    ("accuracy at T, %", lambda result: 100 * float(result["accuracy"][-1])),
    ("mean OCT (oracle)", lambda result: float(result["oct"])),
    *(
        column
        for epsilon in SHOWN_EPSILONS
        for column in (
            (f"Top-K ε = {epsilon:g}: mean timesteps", _topk(epsilon, "mean_timesteps")),
            (f"Top-K ε = {epsilon:g}: accuracy, %", _topk(epsilon, "accuracy", 100)),
        )
    ),
    ("times fewer timesteps, Top-K, at ≤ 0.3 points on calibration", _saved("times_fewer")),
    ("points that this loses on test", _saved("lost", 100)),
]


def _table(columns: list[Column], rows: list[list[Job]], results: dict[str, Result]) -> str:
    lines = ["| network | α | seeds | " + " | ".join(name for name, _ in columns) + " |"]
    lines.append("|---" * (3 + len(columns)) + "|")
    for jobs in rows:
        done = [results[job.name] for job in jobs if job.name in results]
        seeds = f"{len(done)} of {len(jobs)}"
        cells = [_spread([read(result) for result in done]) if done else "not run" for _, read in columns]
        lines.append(f"| {jobs[0].preset} | {jobs[0].rcs_alpha:g} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float | None]) -> str:
    """Mean, and the standard deviation over the seeds where there are more than one."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = f"{statistics.fmean(known):.2f}"
    return mean if len(known) == 1 else f"{mean} ± {statistics.stdev(known):.2f}"


HEAD = f"""# Reproduction of Wu et al. (2025)

Made by `scripts/reproduction.py table` from the files in docs/reproduction; not edited by hand. `run` and `start` of
the same script make those files. A row whose jobs are not finished reads "not run".

## The paper's figures

| figure | the paper | source |
|---|---|---|
| CIFAR-10, both ways of training | 1.76 to 2.76 times fewer timesteps, "near-zero accuracy loss" | abstract |
| CIFAR10-DVS, N-Caltech101, DVS128 Gesture | 1.64 to 1.95 times fewer timesteps, likewise | abstract |

Wu, Jin, Yu, Yi, Huang, Frontiers in Neuroscience 19 (2025), doi 10.3389/fnins.2025.1522788. The figures of its tables
were not at hand and are not repeated here.

## What differs from the paper

- Networks and data are smaller: chains of three to seven layers on digits, Fashion-MNIST and CIFAR-10, T = 4, 8 or 16;
  the authors' scripts train ResNet-18 and others, and their data sets go up to Tiny-ImageNet and recorded events.
- AdamW (CIFAR-10: SGD) under a one-cycle schedule for few epochs; the authors' scripts: SGD under cosine annealing for
  300. QCFS on CIFAR-10 has its biases corrected after the conversion (docs/decisions/0013).
- Top-K thresholds are fitted to calibration samples that were never trained on; the authors' code fits them to training
  samples, over 100 bins.
- CIFAR-10 is read from JPEG files, which are lossy.
- RCS: docs/decisions/0007. α = {ALPHA:g} is the default of the authors' configuration; nothing was searched.
- Figures are those of the float network in torch, its scores rounded to 1/{FIXED_POINT}, not of the exported integers.

In the tables: mean ± standard deviation over the seeds. OCT is what an oracle who knows the labels would need (a sample
that is never right counts T); Top-K is the policy. The times fewer are those of that ε among
{", ".join(f"{e:g}" for e in EPSILONS)} with the fewest timesteps whose loss on the calibration part is at most
0.3 points. "–": there is no such figure (t beyond T, or no ε that loses so little).
"""


def write_document() -> None:
    """Write docs/reproduction.md anew; it appears whole."""
    partial = DOCUMENT.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(document(load_results(RESULTS)), encoding="utf-8")
    os.replace(partial, DOCUMENT)


def run_jobs(jobs: list[Job], data: Path | None, threads: int = 1) -> None:
    """Run what is not finished. One run at a time; a job that cannot be run is named and left out."""
    STATES.mkdir(parents=True, exist_ok=True)
    with (STATES / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit("another run is at work")
        for number, job in enumerate(jobs, 1):
            print(f"{number} of {len(jobs)}: {job.name}", flush=True)
            try:
                run_job(job, data, RESULTS, STATES, threads)
            except (Interrupted, KeyboardInterrupt):
                sys.exit(f"{job.name}: interrupted; run it again to go on")
            except SpikecutError as error:
                print(f"{job.name}: {error}", flush=True)
            else:
                write_document()


def _start(arguments: list[str]) -> None:
    STATES.mkdir(parents=True, exist_ok=True)
    log = STATES / "log.txt"
    with log.open("a", encoding="utf-8") as file:
        started = subprocess.Popen(
            [sys.executable, __file__, "run", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    print(
        f"process {started.pid} has begun; it writes to {log}; kill {started.pid} breaks it off after an epoch's state"
    )


def main() -> None:
    """Run jobs, start them in the background, or write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("run", "start"):
        one = commands.add_parser(command)
        one.add_argument("grid", choices=[*GRIDS, "all"])
        one.add_argument("--data", type=Path, help="folder of the image data sets; else SPIKECUT_DATA")
        one.add_argument("--threads", type=int, default=1, help="of torch; other sums, so a slightly other network")
    commands.add_parser("table")
    given = parser.parse_args()
    if given.command == "start":
        _start(sys.argv[2:])
    elif given.command == "table":
        write_document()
    else:
        jobs = [job for grid, jobs in GRIDS.items() if given.grid in (grid, "all") for job in jobs]
        run_jobs(jobs, given.data, given.threads)


if __name__ == "__main__":
    main()
