"""The verbs about the installation: its version, what there is, and Lava on Pythons that it was not made for."""

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from spikecut.deploy.cli.options import Json, verb
from spikecut.deploy.cli.output import Result, progress_bar, report, typed


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Options of `spikecut doctor`."""

    as_json: Json = False


@verb
def doctor(options: DoctorOptions) -> None:
    """Say what is installed and try it, and how to get what is missing; exit 1 if something installed does not work."""
    from spikecut.deploy.pipeline.installation.doctor import diagnose
    from spikecut.deploy.report.doctor_tables import doctor_tables

    found = asdict(diagnose(progress_bar))
    after = "" if found["faults"] else typed("demo")
    report(Result(doctor_tables(found), found, next=after), options.as_json)
    if found["faults"]:
        raise typer.Exit(1)


@dataclass(frozen=True, kw_only=True)
class InstallLavaOptions:
    """Options of `spikecut install-lava`."""

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the commands and do nothing.")] = False


@verb
def install_lava(options: InstallLavaOptions) -> None:
    """Install Lava's last releases for this Python, and what they need, by pip or uv; what is there stays as it is."""
    from spikecut.deploy.pipeline.installation.lava import install_lava, plan

    if options.dry_run:
        todo = plan(Path())
        for name, text in todo.files.items():
            typer.echo(f"# {name}\n{text}")
        for command in todo.commands:
            typer.echo(shlex.join(command))
        if todo.commands:
            return
        installed: tuple[str, ...] = ()
    else:
        installed = install_lava()
    if installed:
        typer.echo(f"installed: {', '.join(installed)}; next, spikecut doctor tries it")
    else:
        typer.echo("Lava and what it needs are installed already; spikecut doctor tries them")


@dataclass(frozen=True)
class VersionOptions:
    """`spikecut version` has no options."""


@verb
def version(options: VersionOptions) -> None:
    """Print the version."""
    import spikecut

    typer.echo(spikecut.__version__)
