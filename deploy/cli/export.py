"""The command export."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikecut.deploy.cli.options import (
    MOST_TIMESTEPS,
    Data,
    Dt,
    Framework,
    Json,
    Layers,
    Layout,
    Overwrite,
    Reset,
    ResetOrder,
    Samples,
    Spikes,
    given,
    verb,
)
from spikecut.deploy.cli.output import Result, progress_bar, report, say, typed
from spikecut.deploy.cli.parameters.choices import named, one_of
from spikecut.errors import InputError

if TYPE_CHECKING:  # imported when the command runs
    from spikecut.deploy.pipeline.export import Exported

IMPORT = (
    "dataset",
    "horizon",
    "dt",
    "framework",
    "reset",
    "reset_order",
    "spikes",
    "encoding",
    "strict",
    "slayer",
    "layout",
    "layers",
)
"""Options that are the importer's."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Arguments and options of `spikecut export`."""

    source: Annotated[
        Path,
        typer.Argument(
            help="A checkpoint of `spikecut train`, zoo:NAME, a .nir file, a state dict, a bundle; or FILE.py:FUNCTION "
            "that gives a torch module, or it and a sample: it runs your code, in a process of its own."
        ),
    ]
    weights: Annotated[
        Path | None, typer.Option(help="FILE.py:FUNCTION: the module's state dict, .safetensors or of torch.save.")
    ] = None
    out: Annotated[Path, typer.Option(help="Folder of the bundle; with --to nir a .nir file, with sanafe a folder.")]
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Samples of the golden witness; by default the recipe's. With --to sanafe the input.",
            **named("datasets", "NAME|PATH"),
        ),
    ] = None
    data: Data = None
    samples: Samples = None
    to: Annotated[
        str | None,
        typer.Option(help="Write a bundle as a NIR file, or for the simulator SANA-FE.", **one_of("nir", "sanafe")),
    ] = None
    hardware: Annotated[
        str | None,
        typer.Option(
            help="SANA-FE: whose cores and costs become its architecture; default: loihi1.",
            **named("hardware", "HARDWARE|PATH"),
        ),
    ] = None
    horizon: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_TIMESTEPS, help="NIR, .net, --slayer, --layout, FILE.py: timesteps per sample, T."
        ),
    ] = None
    dt: Dt = None
    framework: Framework = None
    reset: Reset = None
    reset_order: ResetOrder = None
    spikes: Spikes = None
    encoding: Annotated[
        str | None,
        typer.Option(help="NIR, .net, --slayer, FILE.py: of the input.", **one_of("direct", "bernoulli", "latency")),
    ] = None
    strict: Annotated[bool, typer.Option("--strict", help="NIR: refuse what would be approximated.")] = False
    slayer: Annotated[
        Path | None, typer.Option(help="The blocks of lava-dl that a state dict belongs to, as YAML; docs/slayer.md.")
    ] = None
    layout: Layout = None
    layers: Layers = None
    overwrite: Overwrite = False
    as_json: Json = False


@verb
def export(options: ExportOptions) -> None:
    """Fold and quantise a checkpoint, or another tool's NIR file, to Loihi's integers, and write the bundle."""
    chosen = given(options, IMPORT)
    if options.to not in (None, "nir", "sanafe"):
        raise InputError(f"--to {options.to!r}: expected nir or sanafe")
    if options.to == "sanafe":
        report(_for_sanafe(options, chosen), options.as_json)
        return
    idle = given(options, ("samples", "hardware"))
    if idle:
        from spikecut.export.importers.base import flags

        raise InputError(f"{flags(idle)}: of --to sanafe alone; leave out")
    report(_as_bundle(options, chosen) if options.to is None else _as_nir(options, chosen), options.as_json)


def _for_sanafe(options: ExportOptions, chosen: dict[str, Any]) -> Result:
    """A bundle, placed on a chip, and samples as files of SANA-FE."""
    from spikecut.deploy.pipeline.pretrained import bundle_of
    from spikecut.deploy.pipeline.sanafe import export_sanafe
    from spikecut.export.importers.base import flags

    dataset = chosen.pop("dataset", None)
    if chosen:
        raise InputError(f"{flags(chosen)}: --to sanafe writes a bundle as it is; leave out")
    if dataset is None:
        raise InputError("--to sanafe: the files hold the input's spikes: give --dataset")
    bundle = bundle_of(options.source, progress_bar)
    done = export_sanafe(
        bundle.path,
        dataset,
        options.out,
        hardware=options.hardware or "loihi1",
        samples=options.samples or 1,
        overwrite=options.overwrite,
    )
    for note in (*bundle.notes, *done.notes):
        say(note)
    first = done.totals[0]
    lines = [
        f"{done.folder}: written for SANA-FE, {len(done.totals)} samples of {done.steps} steps on {done.hardware}",
        f"sample 0 should give {first.spikes:,} spikes, {first.messages:,} messages, {first.hops:,} hops, "
        f"{first.synops:,} synaptic operations, {1e6 * first.time_s:.4g} µs and {1e6 * first.energy_j:.4g} µJ",
        *done.differs,
        f"run: {done.command}",
    ]
    data = {"folder": str(done.folder), "hardware": done.hardware, "steps": done.steps, "differs": list(done.differs)}
    return Result(lines, {**data, "totals": [asdict(total) for total in done.totals], "command": done.command})


def _as_nir(options: ExportOptions, chosen: dict[str, Any]) -> Result:
    """A bundle's integers as NIR."""
    from spikecut.deploy.pipeline.export import export_nir
    from spikecut.export.importers.base import flags

    if chosen:
        raise InputError(f"{flags(chosen)}: --to nir writes a bundle as it is; leave out")
    done = export_nir(options.source, options.out, options.overwrite)
    beyond = [str(refusal) for refusal in done.metadata_only]
    said = "; ".join([*beyond, "decays rounded towards zero"])
    line = f"{done.file}: written, one timestep = 1; what NIR cannot say lies in its metadata ({said})"
    return Result([line], {"nir": str(done.file), "metadata_only": beyond}, next=typed("inspect", done.file))


def _exported(options: ExportOptions, chosen: dict[str, Any]) -> "Exported":
    from spikecut.deploy.pipeline.export import Import, export_file, export_program, is_program
    from spikecut.deploy.pipeline.pretrained import checkpoint_of
    from spikecut.export.importers.base import flags

    if is_program(options.source):
        idle = sorted(set(chosen) - {"dataset", "horizon", "encoding", "strict"})
        if idle:
            raise InputError(f"{flags(idle)}: no use for a torch module; leave out {flags(idle)}")
        say(f"{options.source}: runs this code of yours, in a process of its own")
        return export_program(options.source, options.weights, options.out, Import(**chosen), options.overwrite)
    if options.weights is not None:
        raise InputError("--weights: of FILE.py:FUNCTION alone; leave it out")
    return export_file(checkpoint_of(options.source), options.out, chosen, options.overwrite)


def _as_bundle(options: ExportOptions, chosen: dict[str, Any]) -> Result:
    from spikecut.deploy.pipeline.inspect import chip_fits
    from spikecut.deploy.report.network_tables import manifest_tables, parts_table
    from spikecut.deploy.report.placement_tables import fits_in_short

    done = _exported(options, chosen)
    for note in done.notes:
        say(note)
    written = f"{options.out}: bundle written"
    shown: list[Any] = []
    if done.imported is not None and done.imported.report:
        shown += parts_table(done.imported, done.assumed)
    elif done.assumed:
        written += f"; assumed: {'; '.join(done.assumed)}"
    fits = chip_fits(options.out)
    shown += [written, *done.dropped, *manifest_tables(done.manifest), *fits_in_short(fits)]
    data = {"bundle": str(options.out), **done.manifest.model_dump(), "fits": {n: fit.note for n, fit in fits.items()}}
    return Result(shown, data, next=typed("verify", options.out))
