"""What an option or an argument may be: shown by --help, completed by the shell, listed by `spikecut list`.

The command's own step judges what is given, and names the choices where it is wrong.
"""

from collections.abc import Callable, Sequence
from typing import Any

from typer.core import TyperCommand

MOST_SHOWN = 6
"""Names that --help shows in the place of a kind."""


def _backends() -> Sequence[str]:
    from spikecut.deploy.backends.base import BACKENDS

    return BACKENDS.names()


def _policies() -> Sequence[str]:
    from spikecut.deploy.cutoff.base import policy_names

    return policy_names()


def _datasets() -> Sequence[str]:
    from spikecut.models.data import EMBEDDED, EMULATED, RECORDED, VISION

    return (*EMBEDDED, *VISION, *RECORDED, *EMULATED)


def _presets() -> Sequence[str]:
    from spikecut.models.training.presets import PRESETS

    return sorted(PRESETS)


def _architectures() -> Sequence[str]:
    from spikecut.models.bodies import ARCHITECTURES

    return ARCHITECTURES


def _importers() -> Sequence[str]:
    from spikecut.export.importers.base import IMPORTERS

    return IMPORTERS.names()


def _layouts() -> Sequence[str]:
    from spikecut.models.layouts.spec import layout_names

    return layout_names()


def _hardware() -> Sequence[str]:
    from spikecut.deploy.placement.hardware import hardware_names

    return hardware_names()


def _networks() -> Sequence[str]:
    from spikecut.models.pretrained import ready_names

    return [f"zoo:{name}" for name in ready_names()]


KINDS: dict[str, Callable[[], Sequence[str]]] = {
    "backends": _backends,
    "policies": _policies,
    "hardware": _hardware,
    "networks": _networks,
    "datasets": _datasets,
    "presets": _presets,
    "architectures": _architectures,
    "importers": _importers,
    "layouts": _layouts,
}
"""What is chosen by name, and what gives the names; each imports what it needs when it is called."""


def one_of(*names: str) -> dict[str, Any]:
    """Arguments of typer.Option for a few names that are always the same."""
    return {"metavar": "|".join(names), "autocompletion": _completes(lambda: names)}


def named(kind: str, metavar: str) -> dict[str, Any]:
    """Arguments of typer.Option, or typer.Argument, for one of KINDS; paths are completed by the shell as well."""
    _SHOWN[metavar] = kind
    return {"metavar": metavar, "autocompletion": _completes(KINDS[kind])}


_SHOWN: dict[str, str] = {}
"""Metavar → its kind of KINDS."""


def _completes(names: Callable[[], Sequence[str]]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


class ChoosingCommand(TyperCommand):
    """A command whose help shows the names themselves, where there are few."""

    def get_help(self, ctx: Any) -> str:
        """The help; what gives the names is imported for it alone."""
        for parameter in self.params:
            kind = _SHOWN.get(str(parameter.metavar))
            if kind in ("backends", "policies"):
                names = KINDS[kind]()
                if len(names) <= MOST_SHOWN:
                    parameter.metavar = "|".join(names)
        return super().get_help(ctx)
