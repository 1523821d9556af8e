"""Sweep every cutoff policy over ε: fitted on the calibration split, measured on the test split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spikecut.deploy.backends.progress import Progress, silent
from spikecut.deploy.bundle import Bundle, open_bundle
from spikecut.deploy.cost.monitoring import check_monitor
from spikecut.deploy.cost.summary import chosen_hardware
from spikecut.deploy.cutoff.base import LabelledScores, exit_timesteps, policy_class
from spikecut.deploy.pipeline.calibrate import scores_of_split
from spikecut.deploy.pipeline.samples import check_labels, first_samples, split_notes
from spikecut.deploy.placement.hardware import Hardware
from spikecut.deploy.run.summary import installed_versions, jsonable
from spikecut.deploy.sweep.conclusions import conclusions
from spikecut.deploy.sweep.costs import measure, stream_ratios
from spikecut.deploy.sweep.sweep import EPSILONS, FORMAT, POLICIES, Sweep, check_choice, sweep
from spikecut.export.encode import encode
from spikecut.files import write_json
from spikecut.folders import FolderKind, check_folder, replacing_folder
from spikecut.locks import only_writer
from spikecut.models.data import Split, load_dataset

SUMMARY = "summary.json"
FIGURES = ("accuracy-timesteps", "savings", "energy-accuracy-*")
SWEEP = FolderKind(
    "sweep",
    SUMMARY,
    lambda data: isinstance(data, dict) and str(data.get("format", "")).startswith("spikecut sweep "),
    (SUMMARY, "figures", *(f"figures/{name}.png" for name in FIGURES)),
)


@dataclass(frozen=True)
class SweepOptions:
    """What is swept over.

    Attributes
    ----------
    policies: names; by default all that come with spikecut. epsilons: by default 50 values.
    hardware: hardware files by name or path; None takes all that come with spikecut.
    hypothetical: estimate even for hardware that lacks a feature of the network.
    samples: take only so many of the test split; None takes all.
    monitor: where the monitor runs that is charged, "on_chip", "embedded" or "host"; None: what a file charges itself.
    """

    policies: Sequence[str] = POLICIES
    epsilons: Sequence[float] = EPSILONS
    hardware: Sequence[str] | None = None
    hypothetical: bool = False
    samples: int | None = None
    monitor: str | None = None


@dataclass(frozen=True)
class SweptBundle:
    """The sweep of a bundle.

    Attributes
    ----------
    sweep: its points. summary: the same as JSON data, with what was swept.
    notes: remarks on the data, for the user.
    """

    sweep: Sweep
    summary: dict[str, Any]
    notes: tuple[str, ...] = ()


def sweep_bundle(
    path: Path,
    dataset: str,
    options: SweepOptions = SweepOptions(),
    out: Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> SweptBundle:
    """Sweep over the splits of a data set, and write summary and figures into the folder `out`, if it is given.

    Raises
    ------
    BundleError: no sound bundle. DataError: no such data. InputError: labels that do not fit the network, a policy or
        an ε that there is not, or a folder that may not be replaced or cannot be written.
    """
    bundle = open_bundle(path)
    check_choice(options.policies, options.epsilons)
    if out is None:
        return _swept(bundle, dataset, options, progress)
    check_folder(out, SWEEP, overwrite)
    with only_writer(out, SWEEP.name):
        check_folder(out, SWEEP, overwrite)  # again: another may just have written it
        done = _swept(bundle, dataset, options, progress)
        _write(out, done.sweep, done.summary, overwrite)
    return done


def _swept(bundle: Bundle, dataset: str, options: SweepOptions, progress: Progress) -> SweptBundle:
    hardware = chosen_hardware(options.hardware, options.monitor)
    check_monitor(options.monitor, (policy_class(name) for name in options.policies))
    data = load_dataset(dataset, frames=bundle.network.horizon)
    test = first_samples(data.test, options.samples)
    result = run_sweep(bundle, data.calibration, test, options, hardware, progress)
    summary = jsonable(
        {
            "format": FORMAT,
            **result.to_dict(),
            "conclusions": conclusions(result),
            "network": bundle.network.name,
            "dataset": dataset,
            **({} if options.monitor is None else {"monitor": options.monitor}),
            "hashes": {"network": bundle.network_hash},
            "versions": installed_versions(),
        }
    )
    return SweptBundle(result, summary, split_notes(data))


def run_sweep(
    bundle: Bundle,
    calibration: Split,
    test: Split,
    options: SweepOptions = SweepOptions(),
    hardware: Mapping[str, Hardware] | None = None,
    progress: Progress = silent,
) -> Sweep:
    """Run both splits to the horizon, and sweep over their scores; hardware: what to estimate costs on, by name."""
    check_choice(options.policies, options.epsilons)
    network, chips = bundle.network, hardware or {}
    scores = scores_of_split(bundle, calibration, "scores of the calibration split", progress)
    fitted = LabelledScores.of(scores, calibration.y)
    check_labels(network, test)
    inputs = encode(test.x, network)
    with progress("the test split, with costs", len(test.y)) as advance:
        measured = measure(network, inputs, chips, options.hypothetical, advance)
    tested = LabelledScores.of(measured.scores, test.y)
    result = sweep(fitted, tested, network.depth, options.policies, options.epsilons, costs=measured.costs)
    best = {
        name: exit_timesteps(point.cutoff, tested.totals) for name in options.policies if (point := result.best(name))
    }
    known = {name: chip for name, chip in chips.items() if name in result.full_costs}
    with progress("streams of the best policies", len(test.y)) as advance:
        return replace(result, streamed=stream_ratios(network, inputs, known, best, advance))


def _write(out: Path, result: Sweep, summary: dict[str, Any], overwrite: bool) -> None:
    """Write summary.json and the figures, all of it or nothing."""
    from spikecut.deploy.report.plots import save  # matplotlib: only where figures are drawn
    from spikecut.deploy.report.sweep_plots import sweep_figures

    with replacing_folder(out, SWEEP, overwrite) as folder:
        write_json(folder / SUMMARY, summary)
        (folder / "figures").mkdir()
        for name, figure in sweep_figures(result).items():
            save(figure, folder / "figures" / f"{name}.png")
