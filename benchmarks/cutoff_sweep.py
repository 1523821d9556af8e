"""How fast the sweep is, and the table of docs/cutoff.md.

    python benchmarks/cutoff_sweep.py speed
    python benchmarks/cutoff_sweep.py table runs/demo/lif/bundle runs/demo/qcfs/bundle

`speed` sweeps over invented scores of 10,000 samples, 10 classes and 16 timesteps: 5 policies, 50 values of ε.
`table` measures bundles on a data set and replaces what stands between the two marks in docs/cutoff.md.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cutoff.base import LabelledScores, exit_timesteps
from spikecut.deploy.cutoff.calibration.calibrate import calibrate
from spikecut.deploy.pipeline.calibrate import scores_of_split
from spikecut.deploy.pipeline.sweep import run_sweep
from spikecut.deploy.sweep.sweep import EPSILONS, POLICIES, ExitCosts, Sweep, sweep
from spikecut.models.data import load_dataset

DOCUMENT = Path(__file__).parent.parent / "docs" / "cutoff.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
COLUMNS = ("network", "policy", "ε", "accuracy", "at T", "timesteps", "fewer by", "isolated", "streaming")


def invented(samples: int, seed: int, horizon: int = 16, classes: int = 10) -> LabelledScores:
    """Scores whose easy samples are right early."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    ease = 1 - rng.beta(1.2, 2.5, samples)[:, None]
    evidence = 1.2 * ease * np.eye(classes)[labels] + rng.normal(0, 0.5, (horizon, samples, classes))
    return LabelledScores.of(np.rint(4000 * evidence).astype(np.int64), labels)


def speed(samples: int) -> None:
    """Print the time of a sweep over stored scores."""
    calibration, test = invented(samples, 0), invented(samples, 1)
    costs = {name: ExitCosts(*np.random.default_rng(2).random((2, 3, 16, samples))) for name in ("one", "other")}
    began = time.perf_counter()
    result = sweep(calibration, test, depth=3, costs=costs)
    seconds = time.perf_counter() - began
    print(
        f"{len(result.points)} points ({len(POLICIES)} policies, {len(EPSILONS)} values of ε), fitted to {samples:,} "
        f"and measured on {samples:,} samples, T = {result.horizon}: {seconds:.2f} s"
    )


def rows(path: Path, dataset: str) -> list[str]:
    """The table's rows of one bundle."""
    bundle, data = open_bundle(path), load_dataset(dataset)
    result = run_sweep(bundle, data.calibration, data.test)
    fitted, test = (scores_of_split(bundle, split, "scores") for split in (data.calibration, data.test))
    name = f"{bundle.network.name}, T = {result.horizon}, P = {result.depth}"
    lines = []
    for policy, epsilon, delta in (("topk", 0.01, None), ("topk", 0.02, 0.05)):
        cutoff = calibrate(fitted, data.calibration.y, policy, epsilon, delta=delta).policy
        exits = exit_timesteps(cutoff, LabelledScores.of(test, data.test.y).totals)
        accuracy = float(LabelledScores.of(test, data.test.y).right_at(exits).mean())
        label = f"{policy}, chosen beforehand" if delta is None else f"{policy}, guaranteed with δ = {delta:g}"
        stream = float(np.minimum(exits + result.depth, result.horizon).mean()) / result.horizon
        lines.append(_row(name, label, epsilon, accuracy, float(exits.mean()), stream, result))
    for policy in result.policies:
        point = result.best(policy, on="test")
        if point is None:
            lines.append(f"| {name} | {policy} | none keeps the accuracy | | | | | | |")
        else:
            label, mean = f"{policy}, best ≤ 0.3 points", point.mean_timesteps
            lines.append(_row(name, label, point.epsilon, point.accuracy, mean, point.streaming, result))
    optimal = result.optimal.mean_timesteps
    full = _percent(result.accuracy_full)
    fewer = f"{result.horizon / optimal:.2f} ×"
    return [*lines, f"| {name} | stably right (OCT), an oracle | | {full} | {full} | {optimal:.2f} | {fewer} | | |"]


def _row(name: str, label: str, epsilon: float, accuracy: float, mean: float, stream: float, result: Sweep) -> str:
    isolated = (mean + result.depth) / (result.horizon + result.depth)
    cells = [name, label, f"{epsilon:g}", _percent(accuracy), _percent(result.accuracy_full), f"{mean:.2f}"]
    return "| " + " | ".join([*cells, f"{result.horizon / mean:.2f} ×", f"{isolated:.2f}", f"{stream:.2f}"]) + " |"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def write_table(bundles: list[Path], dataset: str) -> None:
    """Measure, print, and put the table into the document."""
    test = load_dataset(dataset).test
    lines = [f"{dataset}, {len(test.y)} test samples; thresholds from the calibration split.", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for path in bundles:
        lines += rows(path, dataset)
    table = "\n".join(lines)
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
    print(table)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("speed").add_argument("--samples", type=int, default=10_000)
    table = commands.add_parser("table")
    table.add_argument("bundles", type=Path, nargs="+")
    table.add_argument("--dataset", default="digits")
    arguments = parser.parse_args()
    if arguments.command == "speed":
        speed(arguments.samples)
    else:
        write_table(arguments.bundles, arguments.dataset)


if __name__ == "__main__":
    main()
