"""The verbs of the cutoff: calibrate a bundle with any policy, guaranteed or not, and sweep all of them over ε."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikecut.deploy.cli.options import (
    Bundle,
    Data,
    Dataset,
    Hardware,
    Hypothetical,
    Json,
    Monitor,
    Overwrite,
    Samples,
    as_typed,
    named_bundle,
    verb,
)
from spikecut.deploy.cli.output import Result, progress_bar, report, typed
from spikecut.deploy.cli.parameters.choices import named
from spikecut.errors import InputError

if TYPE_CHECKING:  # imported when the command runs
    from spikecut.deploy.sweep.sweep import SweepPoint

DELTA = 0.05


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """Arguments and options of `spikecut calibrate`."""

    bundle: Annotated[Path, typer.Argument(help="A bundle, or zoo:NAME with --out.")]
    dataset: Dataset
    data: Data = None
    out: Annotated[
        Path | None, typer.Option(help="Folder for a copy of the bundle with the calibration; default: the bundle.")
    ] = None
    policy: Annotated[
        str, typer.Option(help="One that comes with spikecut, or your own.", **named("policies", "POLICY"))
    ] = "topk"
    epsilon: Annotated[float, typer.Option(help="Tolerated share in [0, 1); each policy says of what.")] = 0.01
    guarantee: Annotated[bool, typer.Option("--guarantee", help="Bound what the cutoff loses on new samples.")] = False
    delta: Annotated[
        float | None, typer.Option(help=f"With --guarantee: probability that the bound fails; default: {DELTA:g}.")
    ] = None
    minimum_count: Annotated[int, typer.Option(min=1, help="Samples that a threshold must rest on.")] = 20
    seed: Annotated[int, typer.Option(help="With --guarantee: divides the calibration split.")] = 0
    overwrite: Overwrite = False
    as_json: Json = False


@verb
def calibrate(options: CalibrateOptions) -> None:
    """Find the cutoff's thresholds on the calibration split, and write cutoff.json into the bundle, or into a copy."""
    if options.delta is not None and not options.guarantee:
        raise InputError(f"--delta {options.delta:g} belongs to --guarantee: ask for it, or leave δ out")
    delta = DELTA if options.delta is None else options.delta

    from spikecut.deploy.pipeline.calibrate import CalibrationOptions, CopyTarget, calibrate_bundle, check_calibrates
    from spikecut.deploy.report.calibration_tables import calibration_shown

    chosen = CalibrationOptions(
        policy=options.policy,
        epsilon=options.epsilon,
        delta=delta if options.guarantee else None,
        minimum_count=options.minimum_count,
        seed=options.seed,
    )
    target = None if options.out is None else CopyTarget(options.out, options.overwrite)
    check_calibrates(options.bundle, target)  # before zoo:NAME is made
    bundle = named_bundle(options.bundle) or options.bundle
    done = calibrate_bundle(bundle, options.dataset, chosen, target, progress_bar)
    shown = calibration_shown(done.calibration, f"{options.bundle}: {options.policy}")
    shown.append(f"written to {done.bundle.path / 'cutoff.json'}")
    after = typed("run", done.bundle.path, "--dataset", options.dataset, "--out", "run")
    report(Result(shown, done.calibration.to_dict(), done.notes, after), options.as_json)


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Arguments and options of `spikecut sweep`."""

    bundle: Bundle
    dataset: Dataset
    data: Data = None
    out: Annotated[Path | None, typer.Option(help="Folder of tables and figures.")] = None
    policy: Annotated[
        list[str] | None,
        typer.Option(help="May be repeated; default: all that come with spikecut.", **named("policies", "POLICY")),
    ] = None
    epsilon: Annotated[list[float] | None, typer.Option(help="An ε; may be repeated; default: 50 values.")] = None
    hardware: Hardware = None
    monitor: Monitor = None
    hypothetical: Hypothetical = False
    samples: Samples = None
    overwrite: Overwrite = False
    as_json: Json = False


@verb
def sweep(options: SweepOptions) -> None:
    """Every cutoff policy over ε: fitted on the calibration split, measured on the test split."""
    from spikecut.deploy.pipeline import sweep as pipeline
    from spikecut.deploy.report.sweep_tables import sweep_shown
    from spikecut.deploy.sweep.conclusions import best_of
    from spikecut.deploy.sweep.sweep import EPSILONS, POLICIES

    chosen = pipeline.SweepOptions(
        policies=options.policy or POLICIES,
        epsilons=options.epsilon or EPSILONS,
        hardware=options.hardware,
        hypothetical=options.hypothetical,
        samples=options.samples,
        monitor=options.monitor,
    )
    done = pipeline.sweep_bundle(
        options.bundle, options.dataset, chosen, options.out, options.overwrite, progress=progress_bar
    )
    shown = sweep_shown(done.sweep, str(as_typed(options.bundle)))
    written = [] if options.out is None else [f"written to {options.out}"]
    after = _calibration(options.bundle, options.dataset, best_of(done.sweep))
    report(Result([*shown, *written], done.summary, done.notes, after), options.as_json)


def _calibration(bundle: Path, dataset: str, best: "SweepPoint | None") -> str:
    """The command that calibrates a bundle as a sweep's best policy was; a full run where none keeps the accuracy."""
    if best is None:
        return typed("run", as_typed(bundle), "--dataset", dataset, "--no-cutoff")
    from spikecut.deploy.pipeline.targets import is_shared

    copy = ("--out", "calibrated") if is_shared(bundle) else ()
    chosen = ("--policy", best.policy, "--epsilon", f"{best.epsilon:g}")
    return typed("calibrate", as_typed(bundle), "--dataset", dataset, *chosen, *copy)
