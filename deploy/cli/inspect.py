"""The command inspect."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from spikecut.deploy.cli.options import (
    MOST_TIMESTEPS,
    Data,
    Dt,
    Framework,
    Hardware,
    Hypothetical,
    Json,
    Layers,
    Layout,
    Reset,
    ResetOrder,
    Spikes,
    Target,
    as_typed,
    given,
    verb,
)
from spikecut.deploy.cli.output import Result, report, say, typed
from spikecut.deploy.cli.parameters.choices import named

if TYPE_CHECKING:  # imported when the command runs
    from spikecut.deploy.bundle import Bundle
    from spikecut.deploy.pipeline.inspect import Inspected
    from spikecut.export.importers.base import ImportedNetwork
    from spikecut.export.network.layers import IntegerNetwork

IMPORT = (
    "horizon",
    "dataset",
    "slayer",
    "spec",
    "layout",
    "layers",
    "dt",
    "framework",
    "reset",
    "reset_order",
    "spikes",
)
"""Options that are the importer's."""


@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """Arguments and options of `spikecut inspect`."""

    target: Target
    data: Data = None
    hardware: Hardware = None
    hypothetical: Hypothetical = False
    horizon: Annotated[
        int | None, typer.Option(min=1, max=MOST_TIMESTEPS, help="T of a .net file of lava-dl, or of a state dict.")
    ] = None
    dataset: Annotated[
        str | None,
        typer.Option(help="Samples to export a checkpoint or state dict with.", **named("datasets", "NAME|PATH")),
    ] = None
    slayer: Annotated[Path | None, typer.Option(help="The blocks of lava-dl that a state dict belongs to.")] = None
    spec: Annotated[Path | None, typer.Option(help="The ReLU layers that a state dict belongs to.")] = None
    layout: Layout = None
    layers: Layers = None
    dt: Dt = None
    framework: Framework = None
    reset: Reset = None
    reset_order: ResetOrder = None
    spikes: Spikes = None
    as_json: Json = False


@verb
def inspect(options: InspectOptions) -> None:
    """Show a network: layers, neurons, exactness, and where it can run; of a NIR file what becomes of every node.

    A checkpoint or a state dict is exported into a temporary folder for it: what export refuses is refused here.
    """
    from spikecut.deploy.pipeline.inspect import inspected
    from spikecut.export.importers.base import ImportedNetwork

    about_integers = tuple(given(options, ("hardware", "hypothetical")))
    with inspected(options.target, given(options, IMPORT), about_integers) as found:
        for note in found.notes:
            say(note)
        if isinstance(found.network, ImportedNetwork):
            result = replace(_parts(found.network), next=typed("export", options.target, "--out", "bundle"))
        else:
            cost = inspect_cost(found.network, found.bundle, options.hardware, options.hypothetical)
            network = _network(found, found.network)
            after = typed("verify", as_typed(options.target))
            if found.bundle is None:
                horizon = () if options.horizon is None else ("--horizon", options.horizon)
                after = typed("export", options.target, *horizon, "--dataset", "DATASET", "--out", "bundle")
            parts = Result([], {}) if found.parts is None else _parts(found.parts)
            data = {**network.data, **cost.data} | ({"nodes": parts.data["nodes"]} if found.parts is not None else {})
            result = Result([*parts.shown, *network.shown, *cost.shown], data, next=after)
        refused = isinstance(found.network, ImportedNetwork) and found.network.refusal is not None
        report(replace(result, next="") if refused else result, options.as_json)
        if isinstance(found.network, ImportedNetwork) and refused:
            found.network.checked()  # which ends in the refusal


def _parts(imported: "ImportedNetwork") -> Result:
    """What would become of every node, and what was assumed."""
    from spikecut.deploy.report.network_tables import parts_table

    nodes = [
        {
            "node": part.name,
            "kind": part.kind,
            "shape": part.shape,
            "layer": part.layer,
            "exactness": part.exactness,
            "detail": part.detail,
        }
        for part in imported.report
    ]
    data = {
        "nodes": nodes,
        "assumed": list(imported.assumed),
        "input_shape": list(imported.input_shape),
        "refused": None if imported.refusal is None else str(imported.refusal),
    }
    return Result(parts_table(imported), data)


def _network(found: "Inspected", network: "IntegerNetwork") -> Result:
    """A bundle's or a file's integers, layer by layer."""
    from spikecut.deploy.report.network_tables import layer_rows, layer_table, manifest_tables

    rows = layer_rows(network)
    title = f"{found.title}: {network.name}, T = {network.horizon}, readout {network.readout}"
    totals = {key: sum(row[key] for row in rows) for key in ("parameters", "synapses")}
    data: dict[str, Any] = {"name": network.name, "horizon": network.horizon, "depth": network.depth, "layers": rows}
    data |= {**totals, "input": asdict(network.input)}
    shown: list[RenderableType] = [
        layer_table(rows, title),
        f"{totals['parameters']:,} parameters, {totals['synapses']:,} synapses that are not 0; τ in timesteps",
    ]
    if found.bundle is not None:
        shown += manifest_tables(found.bundle.manifest)
        data["manifest"] = found.bundle.manifest.model_dump()
    return Result(shown, data)


def inspect_cost(
    network: "IntegerNetwork",
    bundle: "Bundle | None" = None,
    names: Sequence[str] | None = None,
    hypothetical: bool = False,
) -> Result:
    """Placement on every hardware file; of a bundle also latency and energy of its golden samples."""
    from spikecut.deploy.cost.summary import chosen_hardware
    from spikecut.deploy.pipeline.inspect import golden_costs
    from spikecut.deploy.placement.capabilities import Fit
    from spikecut.deploy.report.cost_tables import run_costs_shown
    from spikecut.deploy.report.placement_tables import placements_shown
    from spikecut.deploy.run.summary import jsonable

    chips = chosen_hardware(names)
    fits = {name: Fit.of(network, item) for name, item in chips.items()}
    shown = placements_shown(network, chips, fits)
    data: dict[str, Any] = {"placements": {name: fit.to_dict() for name, fit in fits.items()}}
    if bundle is not None:
        golden = golden_costs(bundle, chips, hypothetical)
        shown += [f"\n{golden.samples} golden samples, {golden.run}:", *run_costs_shown(golden.costs, detail=False)]
        data |= {"golden_samples": golden.samples, "golden_run": golden.run, **golden.costs.to_dict()}
    return Result(shown, jsonable(data))
