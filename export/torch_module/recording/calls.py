"""One call of a torch function in a forward, as its readers get it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from spikecut.export.torch_module.recording.values import Extent, Opaque, Value

Read: TypeAlias = Value | Opaque
NEURON = (
    "put the neuron into a module of its own and declare it: spikecut.neuron(module, threshold=…, decay=…, reset=…)"
)


@dataclass(frozen=True)
class Call:
    """One call of a torch function.

    where: path of the module that made it. result: what came out. value: of a tensor; None where it is a constant.
    """

    name: str
    where: str
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    result: Tensor
    value: Callable[[object], Read | None]
    extent: Extent

    def argument(self, position: int, name: str, default: object = None) -> object:
        """An argument, by place or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def refused(self, reason: str) -> Opaque:
        """What cannot be read, and why."""
        return Opaque(self.where, reason)
