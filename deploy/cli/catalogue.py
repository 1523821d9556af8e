"""The verb of the hardware files, and what `spikecut inspect` shows of placement and cost."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikecut.deploy.cli.options import Json, verb
from spikecut.deploy.cli.output import Result, report

if TYPE_CHECKING:  # imported when the command runs
    from spikecut.deploy.bundle import Bundle
    from spikecut.export.network.layers import IntegerNetwork


@dataclass(frozen=True, kw_only=True)
class HardwareOptions:
    """Arguments and options of `spikecut hardware`."""

    name: Annotated[str | None, typer.Argument(help="A hardware file by name or path; default: all names.")] = None
    as_json: Json = False


@verb
def hardware(options: HardwareOptions) -> None:
    """List the hardware files, or explain one: every number with its source."""
    report(describe_hardware(options.name), options.as_json)


def describe_hardware(name: str | None = None) -> Result:
    """All hardware files side by side, or every parameter of one with its unit, band, provenance and source."""
    from spikecut.deploy.placement.hardware import hardware_names, load_hardware
    from spikecut.deploy.placement.overview import HardwareOverview
    from spikecut.deploy.report.hardware_tables import hardware_list, hardware_table

    if name is not None:
        loaded = load_hardware(name)
        return Result([hardware_table(loaded)], loaded.model_dump(mode="json"))
    overviews = {each: HardwareOverview.of(load_hardware(each)) for each in hardware_names()}
    return Result([hardware_list(overviews)], {each: asdict(item) for each, item in overviews.items()})


def inspect_cost(
    network: "IntegerNetwork",
    bundle: "Bundle | None" = None,
    names: Sequence[str] | None = None,
    hypothetical: bool = False,
) -> Result:
    """Placement on every hardware file; of a bundle also latency and energy of its golden samples."""
    from spikecut.deploy.cost.summary import chosen_hardware
    from spikecut.deploy.pipeline.costs import golden_costs
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
