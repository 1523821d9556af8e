"""The command convert."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from spikecut.deploy.cli.options import MOST_TIMESTEPS, Data, Dataset, Json, Layout, Overwrite, verb
from spikecut.deploy.cli.output import Result, progress_bar, report, typed


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Arguments and options of `spikecut convert`."""

    weights: Annotated[
        Path,
        typer.Argument(help="State dict of a ReLU network: .safetensors, .pt, .pth or .th; or a Keras model, .h5."),
    ]
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")]
    dataset: Dataset
    data: Data = None
    spec: Annotated[Path | None, typer.Option(help="Its layers, a JSON file; see docs/conversion.md.")] = None
    layout: Layout = None
    timesteps: Annotated[int, typer.Option(min=1, max=MOST_TIMESTEPS, help="Horizon T.")] = 16
    percentile: Annotated[
        float, typer.Option(help="Of positive activations, which thresholds are at most; 90 to 100.")
    ] = 99.0
    overwrite: Overwrite = False
    as_json: Json = False


@verb
def convert(options: ConvertOptions) -> None:
    """Turn a plain ReLU network into a spiking one by threshold balancing, and write its bundle."""
    from spikecut.deploy.pipeline.convert import ConversionOptions, convert_files
    from spikecut.deploy.report.network_tables import conversion_tables, manifest_tables

    how = ConversionOptions(options.dataset, options.timesteps, options.percentile, options.layout)
    done = convert_files(options.weights, options.spec, options.out, how, options.overwrite, progress_bar)
    shown = [
        *conversion_tables(done.layers, how.percentile, str(done.loss), done.loss.integers),
        f"{options.out}: bundle written",
        *done.dropped,
        *manifest_tables(done.bundle.manifest),
    ]
    report(Result(shown, done.data(), done.notes, typed("verify", options.out)), options.as_json)
