"""The verbs about the installation: what there is, and Lava on Pythons that it was not made for."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table

from spikecut.deploy.cli.options import Json, verb
from spikecut.deploy.cli.output import Result, report


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Options of `spikecut doctor`."""

    as_json: Json = False


@verb
def doctor(options: DoctorOptions) -> None:
    """Say what is installed, what is missing and how to get it; exit 1 if something installed does not work."""
    from spikecut.deploy.pipeline.doctor import diagnose

    found = diagnose()
    table = Table("package", "version", "for", title=f"Python {found.python} on {found.system}")
    for package in found.packages:
        table.add_row(package.name, package.version or "missing", package.purpose)
    shown: list[RenderableType] = [table]
    remedies = dict.fromkeys(package.remedy for package in found.packages if package.version is None)
    shown += [f"missing: {remedy}" for remedy in remedies]
    shown += [
        f"Lava, repaired at import: {repair.module}, line {repair.line} ({repair.package} {repair.since[0]}."
        f"{repair.since[1]} on: {repair.fails})"
        for repair in found.repairs
    ]
    shown += [f"does not work: {fault}" for fault in found.faults] or ["what is installed works"]
    report(Result(shown, asdict(found)), options.as_json)
    if found.faults:
        raise typer.Exit(1)


@dataclass(frozen=True, kw_only=True)
class InstallLavaOptions:
    """Options of `spikecut install-lava`."""

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the commands and do nothing.")] = False


@verb
def install_lava(options: InstallLavaOptions) -> None:
    """Install Lava's last releases for this Python, and what they need, by pip."""
    from spikecut.deploy.pipeline.doctor import install_lava, lava_commands, requirements_text

    if options.dry_run:
        typer.echo(f"# requirements.txt\n{requirements_text()}")
        for command in lava_commands(Path("requirements.txt")):
            typer.echo(" ".join(command))
        return
    install_lava()
