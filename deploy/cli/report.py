"""The verb of the report: runs as one page, or as figures for a paper."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from spikecut.deploy.cli.options import Data, Json, Overwrite, verb
from spikecut.deploy.cli.output import Result, progress_bar, typed
from spikecut.deploy.cli.output import report as show


@dataclass(frozen=True, kw_only=True)
class ReportCommandOptions:
    """Arguments and options of `spikecut report`."""

    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs; several are compared.")]
    out: Annotated[Path, typer.Option(help="The HTML file, or with --figures a folder.")] = Path("report.html")
    figures: Annotated[
        str | None, typer.Option(help="pdf or svg: the figures alone, for a paper, into the folder --out.")
    ] = None
    bundle: Annotated[
        list[Path] | None, typer.Option(help="A run's bundle, if not where the run says; may be repeated.")
    ] = None
    sample: Annotated[
        list[int] | None, typer.Option(help="A sample to play, by its place in the data set; up to 20 may be given.")
    ] = None
    backend: Annotated[str, typer.Option(help="What verify compares: batched, or lava too, which takes longer.")] = (
        "batched"
    )
    data: Data = None
    overwrite: Overwrite = False
    as_json: Json = False


@verb
def report(options: ReportCommandOptions) -> None:
    """Write one offline HTML page on a run, or on several side by side; needs pip install 'spikecut[report]'."""
    from spikecut.deploy.pipeline.reporting.gather import ReportOptions
    from spikecut.deploy.pipeline.reporting.write import write_report

    chosen = ReportOptions(tuple(options.bundle or ()), tuple(options.sample or ()), options.backend)
    done = write_report(options.runs, options.out, options.figures, chosen, options.overwrite, progress_bar)
    size = f", {done.path.stat().st_size / 1e6:.2f} MB; open it in a browser" if done.path.is_file() else ""
    lines = [f"{done}{size}", *(f"  {name}" for name in done.files)]
    after = ""
    if options.figures is None:
        after = typed("report", *options.runs, "--figures", "pdf", "--out", "figures")
    show(Result(lines, done.to_dict(), done.notes, after), options.as_json)
