"""The verb of the version."""

from dataclasses import dataclass

import typer

from spikecut.deploy.cli.options import verb


@dataclass(frozen=True)
class VersionOptions:
    """`spikecut version` has no options."""


@verb
def version(options: VersionOptions) -> None:
    """Print the version."""
    import spikecut

    typer.echo(spikecut.__version__)
