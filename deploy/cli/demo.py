"""The verb of the demo."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from spikecut.deploy.cli.options import Json, verb
from spikecut.deploy.cli.output import Result, progress_bar, report, stderr, stdout, typed
from spikecut.deploy.cli.parameters.choices import one_of


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Options of `spikecut demo`."""

    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/demo")
    seed: Annotated[int, typer.Option(help="Seed of training and spikes.")] = 0
    backend: Annotated[str, typer.Option(help="What runs the networks.", **one_of("lava", "batched"))] = "lava"
    as_json: Json = False


@verb
def demo(options: DemoOptions) -> None:
    """Train, export, verify, calibrate and run two networks on handwritten digits, on Lava's simulator."""
    from spikecut.deploy.pipeline.installation.doctor import check_demo

    check_demo(options.backend)  # before torch is imported
    from spikecut.deploy.pipeline.demo import demo
    from spikecut.deploy.report.tables import demo_table

    console = stderr() if options.as_json else stdout()

    def tell(line: str) -> None:
        console.print(line, markup=False, highlight=False)

    runs = demo(
        options.out,
        seed=options.seed,
        backend=options.backend,
        bars=console.is_terminal,
        tell=tell,
        progress=progress_bar,
    )
    summaries = [run.summary.data() for run in runs]
    where = (
        f"Everything is in {options.out}: per network the checkpoint, the bundle and the run with its figures, and "
        "both runs in report.html, for a browser."
    )
    after = typed("inspect", options.out / "lif" / "bundle")
    report(Result([demo_table(summaries), where], summaries, next=after), options.as_json)
