"""The verbs of what there is to choose from: hardware files and pretrained checkpoints."""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from spikecut.deploy.cli.options import Json, verb
from spikecut.deploy.cli.output import Result, report


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


@dataclass(frozen=True, kw_only=True)
class ZooOptions:
    """Arguments of `spikecut zoo`."""

    name: Annotated[str | None, typer.Argument(help="One of the names; default: all.")] = None


@verb
def zoo(options: ZooOptions) -> None:
    """List the pretrained checkpoints, or show the card of one."""
    from spikecut.models.pretrained import ready_card, ready_names

    name = options.name
    typer.echo(
        "\n".join(f"zoo:{each}" for each in ready_names()) if name is None else ready_card(name.removeprefix("zoo:"))
    )
