"""The commands of runs: verify a bundle against its golden twin, run a data set on it, report on runs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import RenderableType

from spikecut.deploy.cli.options import (
    Bundle,
    Data,
    Hardware,
    Hypothetical,
    Json,
    Monitor,
    Overwrite,
    RunBundle,
    Samples,
    as_typed,
    typed_options,
    verb,
)
from spikecut.deploy.cli.output import Result, progress_bar, report, typed
from spikecut.deploy.cli.parameters.choices import named, one_of
from spikecut.errors import InputError

if TYPE_CHECKING:
    from spikecut.deploy.backends.base import LavaModels
    from spikecut.deploy.run.finished import Run
    from spikecut.deploy.run_trace import Mode
    from spikecut.deploy.verify.compare import Verification


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Arguments and options of `spikecut verify`."""

    bundle: Bundle
    data: Data = None
    samples: Samples = None
    against: Annotated[
        Path | None,
        typer.Option(help="Compare with somebody else's run instead: a recording in NIR's format, NIRGraphData."),
    ] = None
    backend: Annotated[
        str,
        typer.Option(help="lava: beside the batched engine; batched: without Lava.", **named("backends", "BACKEND")),
    ] = "lava"
    as_json: Json = False


@verb
def verify(options: VerifyOptions) -> None:
    """Compare the golden twin, the batched engine and Lava, integer by integer; exit 1 where they differ."""
    if options.against is not None:
        _verify_recording(options, options.against)
        return
    from spikecut.deploy.pipeline.public import verify as verify_bundle

    found = verify_bundle(options.bundle, samples=options.samples, backend=options.backend, progress=progress_bar)
    report(verification_shown(options.bundle, found), options.as_json)
    if not found.passed:
        raise typer.Exit(1)


def _verify_recording(options: VerifyOptions, recording: Path) -> None:
    """A recording, node by node; exit 1 where it differs."""
    from spikecut.deploy.bundle import open_bundle
    from spikecut.deploy.report.wide_table import WideTable
    from spikecut.deploy.verify.recording import compare_recording

    found = compare_recording(open_bundle(options.bundle), recording, options.samples)
    title = f"{as_typed(options.bundle)}: against {recording}"
    table = WideTable("layer", "values compared", "spikes there", "spikes here", "mismatches", title=title)
    for check in found.checks:
        table.add_row(
            check.layer, f"{check.compared:,}", f"{check.theirs:,}", f"{check.ours:,}", f"{check.mismatches:,}"
        )
    outcome = "every spike is equal" if found.passed else f"they differ first at {found.difference}"
    lines: list[RenderableType] = [table, f"{found.samples} samples, {found.timesteps} timesteps: {outcome}"]
    lines += [f"not compared: {', '.join(found.left_out)}"] if found.left_out else []
    lines += [f"not in the recording: {', '.join(found.unrecorded)}"] if found.unrecorded else []
    following = _after(options.bundle) if found.passed else ""
    report(Result(lines, {**asdict(found), "passed": found.passed}, next=following), options.as_json)
    if not found.passed:
        raise typer.Exit(1)


def verification_shown(path: Path, found: "Verification") -> Result:
    """The comparison as a table and two lines."""
    title = f"{as_typed(path)}: against the golden twin"
    from spikecut.deploy.report.wide_table import WideTable

    table = WideTable("engine", "layer", "values compared", "spikes", "mismatches", title=title)
    for check in found.checks:
        table.add_row(check.engine, check.layer, f"{check.compared:,}", f"{check.spikes:,}", str(check.mismatches))
    outcome = "every integer is equal" if found.passed else f"they differ first at {found.difference}"
    lines: list[RenderableType] = [
        table,
        f"{found.samples} samples: {outcome}",
        f"float and integers: same prediction on {found.same_predictions} of {found.samples} samples, largest "
        f"difference of a running score {found.largest_score_error:.3g}",
    ]
    return Result(lines, {**asdict(found), "passed": found.passed}, next=_after(path) if found.passed else "")


def _after(path: Path) -> str:
    """What follows a bundle that is right: its calibration, or its run once it has one."""
    from spikecut.export.manifest import CUTOFF

    if (path / CUTOFF).is_file():
        return typed("run", as_typed(path), "--dataset", "DATASET", "--out", "run")
    return typed("calibrate", as_typed(path), "--dataset", "DATASET")


@dataclass(frozen=True, kw_only=True)
class RunCommandOptions:
    """Arguments and options of `spikecut run`."""

    bundle: RunBundle = None
    dataset: Annotated[
        str | None,
        typer.Option(
            help="digits, another name, or a PATH.npz or PATH.h5 with x and y.", **named("datasets", "NAME|PATH")
        ),
    ] = None
    data: Data = None
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None
    backend: Annotated[
        str, typer.Option(help="loihi2 is refused, with the reason.", **named("backends", "BACKEND"))
    ] = "lava"
    mode: Annotated[
        str,
        typer.Option(help="On Lava: each sample alone, or one behind the other.", **one_of("isolated", "streaming")),
    ] = "isolated"
    lava_models: Annotated[
        str, typer.Option(help="On Lava; the same integers.", **one_of("stock", "fast", "fused"))
    ] = "fast"
    hardware: Hardware = None
    cutoff: Annotated[bool, typer.Option("--cutoff/--no-cutoff", help="Halt early, or run all T timesteps.")] = True
    also_full: Annotated[bool, typer.Option("--also-full", help="Run the full horizon too, and compare.")] = False
    monitor: Monitor = None
    hypothetical: Hypothetical = False
    samples: Samples = None
    detail: Annotated[bool, typer.Option("--detail", help="Show all tables, also of time and energy by layer.")] = False
    resume: Annotated[Path | None, typer.Option(help="Resume the interrupted run of this folder.")] = None
    overwrite: Overwrite = False
    as_json: Json = False


WITH_RESUME = ("resume", "data", "detail", "as_json")
"""Options of `spikecut run` that a run that is resumed does not keep itself."""


@verb
def run(options: RunCommandOptions) -> None:
    """Run the test split, halted by the cutoff; estimate latency and energy per sample."""
    report(run_shown(_run(options), options.bundle, options.detail), options.as_json)


def _run(given: RunCommandOptions) -> "Run":
    from spikecut.deploy.pipeline.run import RunOptions, RunTarget, resume_run, run_dataset

    if given.resume is not None:
        idle = [name for name in typed_options() if name not in WITH_RESUME]
        if idle:
            said = {"bundle": "BUNDLE", "cutoff": "--cutoff or --no-cutoff"}
            leave = ", ".join(said.get(name, f"--{name.replace('_', '-')}") for name in idle)
            raise InputError(f"--resume RUN keeps the options of that run: leave out {leave}")
        return resume_run(given.resume, progress=progress_bar)
    if given.bundle is None or given.dataset is None:
        raise InputError("run needs a BUNDLE and --dataset, or --resume RUN")
    options = RunOptions(
        given.backend,
        cast("Mode", given.mode),  # both are checked there
        cast("LavaModels", given.lava_models),
        None if given.hardware is None else tuple(given.hardware),
        given.also_full,
        given.hypothetical,
        given.monitor,
    )
    target = None if given.out is None else RunTarget(given.out, given.overwrite)
    return run_dataset(given.bundle, given.dataset, options, given.cutoff, given.samples, target, progress_bar)


def run_shown(done: "Run", bundle: Path | None, detail: bool = False) -> Result:
    """A run in a few lines; detail: also as tables, where it was placed, and its costs by layer and event."""
    from spikecut.deploy.placement.capabilities import Fit
    from spikecut.deploy.report.cost_tables import run_costs_shown
    from spikecut.deploy.report.monitor_lines import monitor_lines
    from spikecut.deploy.report.placement_tables import placements_shown
    from spikecut.deploy.report.run_ending import run_ending
    from spikecut.deploy.report.tables import demo_table

    data, network = done.summary.data(), done.network
    fits = {name: Fit.of(network, item) for name, item in done.hardware.items()}
    shown: list[RenderableType] = []
    if detail:
        shown += [demo_table([{**data, "hardware": {}}]), *placements_shown(network, done.hardware, fits)]
        shown += [*run_costs_shown(done.costs), *monitor_lines(data["savings"]), ""]
    shown.append(run_ending(data, fits, str(done.folder or "")))
    dataset = str(data["config"]["dataset"])
    after = typed("sweep", as_typed(bundle), "--dataset", dataset) if bundle is not None else ""
    if done.folder is not None:
        after = typed("report", done.folder, "--out", "report.html")
    return Result(shown, data, done.notes, after)


@dataclass(frozen=True, kw_only=True)
class ReportCommandOptions:
    """Arguments and options of `spikecut report`."""

    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs; several are compared.")]
    out: Annotated[Path, typer.Option(help="The HTML file, or with --figures a folder.")] = Path("report.html")
    figures: Annotated[
        str | None,
        typer.Option(help="The figures alone, for a paper, into the folder --out.", **one_of("pdf", "svg")),
    ] = None
    bundle: Annotated[
        list[Path] | None, typer.Option(help="A run's bundle, if not where the run says; may be repeated.")
    ] = None
    sample: Annotated[
        list[int] | None, typer.Option(help="A sample to play, by its place in the data set; up to 20 may be given.")
    ] = None
    backend: Annotated[
        str, typer.Option(help="What verify compares; lava takes longer.", **named("backends", "BACKEND"))
    ] = "batched"
    data: Data = None
    overwrite: Overwrite = False
    as_json: Json = False


@verb
def report_(options: ReportCommandOptions) -> None:
    """Write one offline HTML page on a run, or on several side by side; needs spikecut's extra, report."""
    from spikecut.deploy.pipeline.reporting.options import ReportOptions
    from spikecut.deploy.pipeline.reporting.write import write_report

    chosen = ReportOptions(tuple(options.bundle or ()), tuple(options.sample or ()), options.backend)
    done = write_report(options.runs, options.out, options.figures, chosen, options.overwrite, progress_bar)
    size = f", {done.path.stat().st_size / 1e6:.2f} MB; open it in a browser" if done.path.is_file() else ""
    lines = [f"{done}{size}", *(f"  {name}" for name in done.files)]
    other = ("--figures", "pdf", "--out", "figures") if options.figures is None else ("--out", "report.html")
    after = typed("report", *options.runs, *other)
    report(Result(lines, done.to_dict(), done.notes, after), options.as_json)
