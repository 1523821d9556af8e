"""The verbs of what there is to choose from: hardware files and pretrained checkpoints."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.padding import Padding

from spikecut.deploy.cli.options import Json, verb
from spikecut.deploy.cli.output import Result, report, say_next, typed
from spikecut.deploy.cli.parameters.choices import KINDS, named, one_of
from spikecut.errors import HardwareConfigError, InputError

WHERE = {
    "backends": "--backend",
    "policies": "--policy",
    "hardware": "--hardware; `spikecut hardware NAME` has every number",
    "networks": "trained, as a BUNDLE; `spikecut zoo NAME` has the card",
    "datasets": "--dataset, or a file of your own",
    "presets": "train --preset",
    "architectures": "train --arch",
    "importers": "what export and inspect read",
    "layouts": "published networks, --layout of export, convert and inspect",
}
"""Of every kind, where it is given, and which command tells more."""
AFTER = {
    "backends": ("run", "BUNDLE", "--dataset", "DATASET", "--backend", "BACKEND"),
    "policies": ("calibrate", "BUNDLE", "--dataset", "DATASET", "--policy", "POLICY"),
    "hardware": ("hardware", "HARDWARE"),
    "networks": ("inspect", "zoo:NAME"),
    "datasets": ("train", "--dataset", "DATASET", "--out", "net.safetensors"),
    "presets": ("train", "--preset", "PRESET", "--out", "net.safetensors"),
    "architectures": ("train", "--arch", "ARCHITECTURE", "--out", "net.safetensors"),
    "importers": ("inspect", "FILE"),
    "layouts": ("export", "FILE", "--layout", "LAYOUT", "--horizon", "T", "--dataset", "DATA", "--out", "bundle"),
}
"""Of every kind, the command that takes a name of it."""


@dataclass(frozen=True, kw_only=True)
class HardwareOptions:
    """Arguments and options of `spikecut hardware`."""

    name: Annotated[
        str | None,
        typer.Argument(
            help="A hardware file by name or path; default: all names. Or `new NAME`, which writes NAME.yaml to be "
            "filled in, or `check FILE`, which says what it lacks.",
            **named("hardware", "[HARDWARE]"),
        ),
    ] = None
    target: Annotated[str | None, typer.Argument(help="NAME of `new`, FILE of `check`.", metavar="[NAME|FILE]")] = None
    as_json: Json = False


@verb
def hardware(options: HardwareOptions) -> None:
    """List the hardware files, or explain one: every number with its source. `new NAME`, `check FILE`: your own."""
    if options.name in ("new", "check"):
        if options.target is None:
            raise InputError(f"hardware {options.name}: say {'its name' if options.name == 'new' else 'which file'}")
        (_new_hardware if options.name == "new" else _check_hardware)(options.target, options.as_json)
        return
    if options.target is not None:
        raise InputError(f"hardware {options.name} {options.target}: one hardware file, or `new NAME`, or `check FILE`")
    report(describe_hardware(options.name), options.as_json)
    if not options.as_json:
        say_next(typed("inspect", "BUNDLE", *(("--hardware", options.name) if options.name else ())))


def _new_hardware(name: str, as_json: bool) -> None:
    """Write a hardware file to be filled in, in the working folder."""
    from spikecut.deploy.placement.hardware_template import hardware_template

    name = name.removesuffix(".yaml")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise InputError(f"hardware new {name!r}: expected a name of letters, digits, - and _")
    path = Path(f"{name}.yaml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(hardware_template(name))
    except FileExistsError as exc:
        raise InputError(f"{path} exists: choose another name, or remove it") from exc
    except OSError as exc:
        raise InputError(f"cannot write {path}: {exc.strerror}: choose another folder") from exc
    following = typed("hardware", "check", str(path))
    report(Result([f"written to {path}: every number in it is open"], {"file": str(path)}, next=following), as_json)


def _check_hardware(file: str, as_json: bool) -> None:
    """Say what a hardware file lacks; HardwareConfigError where it cannot be read."""
    from spikecut.deploy.placement.hardware_template import check_hardware

    found = check_hardware(file)
    if found.problems:
        *first, last = (f"{file}: {problem}" for problem in found.problems)
        for line in first:
            typer.echo(line, err=True)
        raise HardwareConfigError(last)
    shown = [f"{file} can be used"]
    shown += [f"unknown, never counted as 0: {', '.join(found.unknown)}"] if found.unknown else []
    shown += [f"still open, never counted as 0: {', '.join(found.still_open)}"] if found.still_open else []
    shown += [f"without a source of its own: {', '.join(found.unsourced)}"] if found.unsourced else []
    report(Result([*shown], asdict(found), next=typed("inspect", "BUNDLE", "--hardware", file)), as_json)


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
    """List what can be chosen by name: presets, data sets, policies, hardware, backends, importers, layouts, more."""
    if options.kind is not None and options.kind not in KINDS:
        raise InputError(f"list {options.kind!r}: expected one of {', '.join(KINDS)}")
    if options.kind is not None:
        names = list(KINDS[options.kind]())
        after = typed(*AFTER[options.kind])
        report(Result(["\n".join(names)], {options.kind: names}, next=after), options.as_json)
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
