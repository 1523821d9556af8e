"""The verbs about the installation: its version, what there is, and Lava on Pythons that it was not made for."""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from spikecut.deploy.cli.options import Json, verb
from spikecut.deploy.cli.output import Result, progress_bar, report, say_next, typed


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Options of `spikecut doctor`."""

    as_json: Json = False


@verb
def doctor(options: DoctorOptions) -> None:
    """Say what is installed and try it, and how to get what is missing; exit 1 if something installed does not work."""
    from spikecut.deploy.pipeline.installation.doctor import doctor
    from spikecut.deploy.report.doctor_tables import doctor_tables

    found = asdict(doctor(progress=progress_bar))
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
    from spikecut.deploy.pipeline.installation.lava import install_lava

    done = install_lava(dry_run=options.dry_run)
    typer.echo(str(done))
    say_next(typed("install-lava" if options.dry_run and done.commands else "doctor"))


@dataclass(frozen=True)
class VersionOptions:
    """`spikecut version` has no options."""


@verb
def version(options: VersionOptions) -> None:
    """Print the version."""
    import spikecut

    typer.echo(spikecut.__version__)
