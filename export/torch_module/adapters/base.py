"""What an adapter gives, and the one place that knows which adapter a module's framework has.

An adapter is a module with a function `describe(module, where)`: the Neuron that a module of its framework is, or None
for one that holds no neurons itself. It is found by the package that defines the module's class, and imports nothing
of the framework: what it needs are the module's attributes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from spikecut.errors import UnsupportedError
from spikecut.export.importers.neurons import NeuronModel, chip_decay
from spikecut.export.network.arrays import Array
from spikecut.export.network.parameters import FloatParameter, as_given

Sent: TypeAlias = Literal["spikes", "membrane", "state"]
ADAPTERS = {
    "lava": "spikecut.export.torch_module.adapters.lava",
    "norse": "spikecut.export.torch_module.adapters.norse",
    "sinabs": "spikecut.export.torch_module.adapters.sinabs",
    "snntorch": "spikecut.export.torch_module.adapters.snntorch",
    "spikecut": "spikecut.export.torch_module.adapters.spikecut",
    "spikingjelly": "spikecut.export.torch_module.adapters.spikingjelly",
}
"""The adapter's module for each package that defines neurons."""


@dataclass(frozen=True)
class Neuron:
    """What a module does at each timestep.

    Attributes
    ----------
    sends: what each of its outputs is. assumed: a line for each thing to be told. remedy: where the module does not do
        what was read of it. recurrent: weights (O, O), or those of a convolution, and biases (O,) from the spikes of a
        timestep to the input of the next, which the module holds itself.
    """

    model: NeuronModel
    sends: tuple[Sent, ...] = ("spikes",)
    assumed: tuple[str, ...] = ()
    remedy: str = ""
    recurrent: tuple[Array, Array] | None = None


def adapted(module: nn.Module, where: str) -> Neuron | None:
    """The neuron that a framework's module is; None for any other module.

    UnsupportedError for one that no Process equals, with the remedy.
    """
    for each in type(module).__mro__:
        adapter = ADAPTERS.get(each.__module__.split(".")[0])
        if adapter is not None:
            describe: Callable[[nn.Module, str], Neuron | None] = import_module(adapter).describe
            return describe(module, where)
    return None


def number(value: Any) -> FloatParameter:
    """A parameter: a number, or an array that broadcasts to the neurons as the module's own does.

    TypeError or ValueError for what is neither.
    """
    given = value.detach().cpu().double().numpy() if isinstance(value, Tensor) else value
    array = np.asarray(given, dtype=np.float64)
    if not array.size:
        raise ValueError("an empty tensor")
    return float(array.reshape(-1)[0]) if (array == array.flat[0]).all() else as_given(array)


def lost(
    what: str, kept: FloatParameter, source: str, dtype: torch.dtype = torch.float32
) -> tuple[FloatParameter, tuple[str, ...]]:
    """The fraction that is lost where `kept` of u or v is kept, and what is inexact about it; see chip_decay."""
    return chip_decay(what, 1 - kept, source, float(torch.finfo(dtype).eps))


def refusal(where: str, module: nn.Module, reason: str) -> UnsupportedError:
    """The error for a module, by the name of its class."""
    return UnsupportedError(f"{where} ({type(module).__name__}): {reason}")


def adapting(instead: str) -> str:
    """Why a threshold that adapts is refused where spikes reset v, too; instead: what to train with."""
    return (
        "its threshold adapts beside a v that each spike resets; the chip's neuron with such a threshold resets "
        f"nothing, but holds v off by twice the threshold; train with {instead}, or with lava-dl's alif"
    )
