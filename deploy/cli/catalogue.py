"""The verbs of what there is to choose from: hardware files and pretrained checkpoints."""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.padding import Padding

from spikecut.deploy.cli.options import Json, verb
from spikecut.deploy.cli.output import Result, report, say_next, typed
from spikecut.deploy.cli.parameters.choices import KINDS, named, one_of
from spikecut.errors import InputError

WHERE = {
    "backends": "--backend",
    "policies": "--policy",
    "hardware": "--hardware; `spikecut hardware NAME` has every number",
    "networks": "trained, as a BUNDLE; `spikecut zoo NAME` has the card",
    "datasets": "--dataset, or a file of your own",
    "presets": "train --preset",
    "architectures": "train --arch",
    "importers": "what export and inspect read",
}
"""Of every kind, where it is given, and which command tells more."""


@dataclass(frozen=True, kw_only=True)
class HardwareOptions:
    """Arguments and options of `spikecut hardware`."""

    name: Annotated[
        str | None,
        typer.Argument(help="A hardware file by name or path; default: all names.", **named("hardware", "[HARDWARE]")),
    ] = None
    as_json: Json = False


@verb
def hardware(options: HardwareOptions) -> None:
    """List the hardware files, or explain one: every number with its source."""
    report(describe_hardware(options.name), options.as_json)
    if not options.as_json:
        say_next(typed("inspect", "BUNDLE", *(("--hardware", options.name) if options.name else ())))


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
class ListOptions:
    """Arguments and options of `spikecut list`."""

    kind: Annotated[str | None, typer.Argument(help="One of the kinds; default: all.", **one_of(*KINDS))] = None
    as_json: Json = False


@verb
def list_(options: ListOptions) -> None:
    """List what can be chosen by name: presets, architectures, data sets, policies, hardware, backends, importers."""
    if options.kind is not None and options.kind not in KINDS:
        raise InputError(f"list {options.kind!r}: expected one of {', '.join(KINDS)}")
    if options.kind is not None:
        names = list(KINDS[options.kind]())
        report(Result(["\n".join(names)], {options.kind: names}), options.as_json)
        return
    found = {kind: _names(kind) for kind in KINDS}
    shown: list[RenderableType] = []
    for kind, names in found.items():
        shown += [f"{kind}: {WHERE[kind]}", Padding(", ".join(names) or "needs spikecut[train]", (0, 0, 0, 2))]
    report(Result(shown, found, next=typed("list", "presets")), options.as_json)


def _names(kind: str) -> list[str]:
    """The names of a kind; none where only a training's packages know them, and they are missing."""
    try:
        return list(KINDS[kind]())
    except ImportError:
        return []


@dataclass(frozen=True, kw_only=True)
class ZooOptions:
    """Arguments of `spikecut zoo`."""

    name: Annotated[str | None, typer.Argument(help="One of the names; default: all.")] = None


@verb
def zoo(options: ZooOptions) -> None:
    """List the pretrained checkpoints, or show the card of one."""
    from spikecut.models.pretrained import ready_card, ready_names

    name = options.name
    shown = name or next(iter(ready_names()), "")
    typer.echo(
        "\n".join(f"zoo:{each}" for each in ready_names()) if name is None else ready_card(name.removeprefix("zoo:"))
    )
    say_next(typed("inspect", f"zoo:{shown.removeprefix('zoo:')}"))
