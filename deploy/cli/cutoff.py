"""The commands of the cutoff: calibrate a bundle with any policy, guaranteed or not, and sweep all of them over ε."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from spikecut.deploy.bundle import Bundle, open_bundle
from spikecut.deploy.cli.output import Result, progress_bar, say_split
from spikecut.deploy.cost.summary import chosen_hardware
from spikecut.deploy.cutoff.base import LabelledScores, exit_timesteps
from spikecut.deploy.cutoff.calibration.calibrate import Calibration, calibrate
from spikecut.deploy.placement.hardware import Hardware
from spikecut.deploy.run.summary import installed_versions, jsonable
from spikecut.deploy.sweep.sweep import EPSILONS, FORMAT, POLICIES, Sweep, SweepPoint, sweep, verdicts
from spikecut.errors import InputError
from spikecut.folders import FolderKind, check_folder, replacing_folder
from spikecut.models.data import Split

SUMMARY = "summary.json"
FIGURES = ("accuracy-timesteps", "savings", "energy-accuracy-*")
SWEEP = FolderKind(
    "sweep",
    SUMMARY,
    lambda data: isinstance(data, dict) and data.get("format") == FORMAT,
    (SUMMARY, "figures", *(f"figures/{name}.png" for name in FIGURES)),
)


def calibrate_policy(
    path: Path,
    dataset: str,
    policy: str = "topk",
    epsilon: float = 0.01,
    guarantee: bool = False,
    delta: float | None = None,
    minimum_count: int = 20,
    seed: int = 0,
) -> Result:
    """Calibrate a bundle's cutoff on the calibration split and write cutoff.json.

    guarantee: bound the share lost on new samples by ε with probability ≥ 1 - δ.
    delta: δ, 0.05 if not given; InputError without a guarantee.
    """
    from spikecut.models.data import load_dataset

    if delta is not None and not guarantee:
        raise InputError(f"--delta {delta:g} belongs to --guarantee: ask for it, or leave δ out")
    delta = 0.05 if delta is None else delta

    bundle = open_bundle(path)
    data = load_dataset(dataset, frames=bundle.network.horizon)
    split = data.calibration
    result = calibrate_split(bundle, split, dataset, policy, epsilon, delta if guarantee else None, minimum_count, seed)
    say_split(data)
    return Result([_calibration_table(path, policy, result), *_calibration_lines(result)], result.to_dict())


def calibrate_split(
    bundle: Bundle,
    split: Split,
    dataset: str,
    policy: str = "topk",
    epsilon: float = 0.01,
    delta: float | None = None,
    minimum_count: int = 20,
    seed: int = 0,
) -> Calibration:
    """Calibrate on a held-out split with the batched engine, and write cutoff.json into the bundle."""
    from spikecut.deploy.pipeline.samples import data_hash

    scores = scores_of_split(bundle, split, "scores of the calibration split")
    result = calibrate(scores, split.y, policy, epsilon, minimum_count, delta, seed)
    bundle.write_cutoff({**result.to_dict(), "dataset": dataset, "data": data_hash(split)})
    return result


def scores_of_split(bundle: Bundle, split: Split, what: str) -> Any:
    """Full-horizon scores int64 [T, N, classes] of a split."""
    from spikecut.deploy.backends.batched.engine import run_batched
    from spikecut.deploy.pipeline.samples import check_labels
    from spikecut.export.encode import encode

    check_labels(bundle.network, split)
    with progress_bar(what, len(split.y)) as advance:
        return run_batched(bundle.network, encode(split.x, bundle.network), progress=advance).scores


def _calibration_table(path: Path, policy: str, result: Calibration) -> Table:
    title = f"{path}: {policy}, ε = {result.epsilon:g}"
    table = Table("t", "threshold", "would cut", "right to the end", "95 % interval", "exits", title=title)
    with_thresholds = hasattr(result.policy, "thresholds")
    for step in result.steps:
        none = "never cut" if with_thresholds else "none"
        threshold = none if step.threshold is None else f"{step.threshold:,}"
        precision = "" if step.precision is None else f"{step.right} ({100 * step.precision:.2f} %)"
        low, high = step.precision_interval
        interval = f"{100 * low:.2f} to {100 * high:.2f} %" if step.considered else ""
        table.add_row(str(step.timestep), threshold, str(step.considered), precision, interval, str(step.exits))
    return table


def _calibration_lines(result: Calibration) -> list[str]:
    low, high = result.interval(result.accuracy_cutoff)
    lines = [
        f"{result.samples} calibration samples: accuracy {100 * result.accuracy_full:.2f} % at T, "
        f"{100 * result.accuracy_cutoff:.2f} % ({100 * low:.2f} to {100 * high:.2f}) at the exit, "
        f"{result.mean_timesteps:.2f} timesteps on average; only the full horizon is right on {100 * result.lost:.2f} %"
    ]
    distance = result.distance
    if distance.mean is not None:
        lines.append(
            f"distance from the optimal cutoff: {distance.mean:+.2f} timesteps on average, "
            f"{100 * distance.early:.1f} % of "
            f"the samples leave too early, {100 * distance.never_right:.1f} % are never right"
        )
    certified = result.guarantee
    if certified is None:
        lines.append("the thresholds hold on these samples only; --guarantee bounds what is lost on new ones")
        return lines
    lines.append(
        f"guarantee: with probability ≥ {1 - certified.delta:g} at most {100 * certified.epsilon:g} % of new samples "
        "are right "
        f"at T and wrong at the exit ({certified.losses} of {certified.test_samples} test samples, p = "
        f"{certified.p_value:.3g}; {certified.family_samples} others fixed the family)"
    )
    return [*lines, certified.note] if certified.note else lines


def sweep_bundle(
    path: Path,
    dataset: str,
    out: Path | None = None,
    policies: Sequence[str] | None = None,
    epsilons: Sequence[float] | None = None,
    hardware: Sequence[str] | None = None,
    hypothetical: bool = False,
    samples: int | None = None,
    overwrite: bool = False,
) -> Result:
    """Every policy over ε: fitted to the calibration split, measured on the test split; with figures in `out`.

    policies, epsilons, hardware: None for all policies and hardware files that come with spikecut, and 50 values of ε.
    """
    from spikecut.deploy.pipeline.samples import first_samples
    from spikecut.models.data import load_dataset

    bundle = open_bundle(path)
    if out is not None:
        check_folder(out, SWEEP, overwrite)
    data = load_dataset(dataset, frames=bundle.network.horizon)
    result = run_sweep(
        bundle,
        data.calibration,
        first_samples(data.test, samples),
        policies or POLICIES,
        epsilons or EPSILONS,
        chosen_hardware(hardware),
        hypothetical,
    )
    summary = jsonable(
        {
            **result.to_dict(),
            "network": bundle.network.name,
            "dataset": dataset,
            "hashes": {"network": bundle.network_hash},
            "versions": installed_versions(),
        }
    )
    shown: list[RenderableType] = [sweep_table(result, str(path)), *verdicts(result)]
    if out is not None:
        _write_sweep(out, result, summary, overwrite)
        shown.append(f"written to {out}")
    say_split(data)
    return Result(shown, summary)


def run_sweep(
    bundle: Bundle,
    calibration: Split,
    test: Split,
    policies: Sequence[str] = POLICIES,
    epsilons: Sequence[float] = EPSILONS,
    hardware: Mapping[str, Hardware] | None = None,
    hypothetical: bool = False,
) -> Sweep:
    """Run both splits to the horizon, and sweep over their scores."""
    from spikecut.deploy.pipeline.samples import check_labels
    from spikecut.deploy.sweep.costs import measure, stream_ratios
    from spikecut.export.encode import encode

    network = bundle.network
    chips = hardware or {}
    fitted = LabelledScores.of(scores_of_split(bundle, calibration, "scores of the calibration split"), calibration.y)
    check_labels(network, test)
    inputs = encode(test.x, network)
    with progress_bar("the test split, with costs", len(test.y)) as advance:
        measured = measure(network, inputs, chips, hypothetical, advance)
    scores = LabelledScores.of(measured.scores, test.y)
    result = sweep(fitted, scores, network.depth, policies, epsilons, costs=measured.costs)
    best = {name: exit_timesteps(point.cutoff, scores.totals) for name in policies if (point := result.best(name))}
    known = {name: chip for name, chip in chips.items() if name in result.full_costs}
    with progress_bar("streams of the best policies", len(test.y)) as advance:
        return replace(result, streamed=stream_ratios(network, inputs, known, best, advance))


def sweep_table(result: Sweep, title: str) -> Table:
    """Each policy at its best ε, between the full horizon and the optimal cutoff."""
    table = Table(
        "policy",
        "ε",
        "accuracy",
        "95 % interval",
        "timesteps",
        "÷",
        "isolated",
        "streaming",
        "from OCT",
        *(f"{name} energy{', hypothetical' if _lacks(result, name) else ''}" for name in result.full_costs),
        title=f"{title}: fewest timesteps at ≤ 0.3 points lost; ratios to the full run, energy estimated",
    )
    empty = [""] * len(result.full_costs)
    full = [
        "full horizon",
        "",
        f"{100 * result.accuracy_full:.2f} %",
        "",
        f"{result.horizon:.2f}",
        "1.00",
        "1.00",
        "1.00",
    ]
    table.add_row(*full, "", *("1.00" for _ in empty))
    for policy in result.policies:
        point = result.best(policy)
        if point is None:
            table.add_row(policy, "no ε keeps the accuracy", *[""] * 7, *empty)
        else:
            table.add_row(policy, *_cells(point, result))
    optimal = result.optimal.mean_timesteps
    row = ["optimal (oracle)", "", f"{100 * result.accuracy_full:.2f} %", "", f"{optimal:.2f}"]
    table.add_row(*row, f"{result.horizon / optimal:.2f}", "", "", "0.00", *empty)
    return table


def _lacks(result: Sweep, name: str) -> bool:
    return bool(result.provenance.get(name, {}).get("hypothetical"))


def _cells(point: SweepPoint, result: Sweep) -> list[str]:
    low, high = point.interval
    energies = []
    for name, full in result.full_costs.items():
        over, under = point.costs[name]["energy_j"][0], full["energy_j"][0]
        energies.append(f"{over / under:.2f}" if under > 0 else "unknown")
    distance = point.distance.mean
    return [
        f"{point.epsilon:g}",
        f"{100 * point.accuracy:.2f} %",
        f"{100 * low:.2f} to {100 * high:.2f}",
        f"{point.mean_timesteps:.2f}",
        f"{1 / point.naive:.2f}",
        f"{point.isolated:.2f}",
        f"{point.streaming:.2f}",
        "" if distance is None else f"{distance:+.2f}",
        *energies,
    ]


def _write_sweep(out: Path, result: Sweep, summary: dict[str, Any], overwrite: bool) -> None:
    """Write summary.json and the figures, all of it or nothing."""
    from spikecut.deploy.report.plots import save
    from spikecut.deploy.report.sweep_plots import sweep_figures

    with replacing_folder(out, SWEEP, overwrite) as folder:
        text = json.dumps(summary, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        (folder / SUMMARY).write_text(text + "\n", encoding="utf-8")
        (folder / "figures").mkdir()
        for name, figure in sweep_figures(result).items():
            save(figure, folder / "figures" / f"{name}.png")
