"""The verb of the pretrained checkpoints."""

from dataclasses import dataclass
from typing import Annotated

import typer

from spikecut.deploy.cli.options import verb


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
