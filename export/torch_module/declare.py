"""`spikecut.neuron`: what a neuron written by hand does, in one line, for `spikecut.export` to read and to check."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

import numpy.typing as npt

from spikecut.errors import InputError

if TYPE_CHECKING:  # a module is only marked here
    from torch import nn

Setting: TypeAlias = float | str | npt.NDArray[Any] | Sequence[float] | Callable[[Any], Any]
Reset: TypeAlias = Literal["zero", "subtract", "subtract_next"]
MARK = "_spikecut_neuron"
Marked = TypeVar("Marked", "nn.Module", "type[nn.Module]")


@dataclass(frozen=True)
class Declaration:
    """What was said of a neuron; see `neuron`."""

    threshold: Setting | None
    decay: Setting = 0.0
    decay_u: Setting = 1.0
    reset: Reset = "zero"
    fires: Literal[">", ">="] = ">"
    gain: Setting = 1.0
    refractory: Setting = 0

    def value(self, name: str, module: "nn.Module", where: str) -> Any:
        """A setting, as the module has it; InputError for an attribute that it lacks."""
        setting: Setting = getattr(self, name)
        if callable(setting):
            try:
                return setting(module)
            except Exception as error:  # a user's function may raise anything
                reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
                raise InputError(
                    f"{where}: spikecut.neuron was told a function for {name}, which fails: {reason}"
                ) from error
        if isinstance(setting, str):
            try:
                return getattr(module, setting)
            except AttributeError as error:
                raise InputError(
                    f"{where}: spikecut.neuron was told {name}={setting!r}, but the module has no such attribute"
                ) from error
        return setting


def neuron(  # noqa: PLR0913 (each but the module by its name, as a user says it)
    module: "Marked",
    *,
    threshold: Setting | None,
    decay: Setting = 0.0,
    decay_u: Setting = 1.0,
    reset: Reset = "zero",
    fires: Literal[">", ">="] = ">",
    gain: Setting = 1.0,
    refractory: Setting = 0,
) -> "Marked":
    """Say what a neuron module, or a class of them, does at each timestep; `export` compares it with what it does.

        u[t] = (1 - decay_u) u[t-1] + gain x[t]
        v[t] = (1 - decay) v[t-1] + u[t]
        s[t] = v[t] > threshold              (fires ">=": v[t] ≥ threshold)
        v[t] ← 0, or v[t] - threshold        where s[t], by reset "zero" or "subtract"

    With reset "subtract_next" it is subtracted one timestep later, after the leak, as snnTorch does by default:
    v[t+1] = (1 - decay) v[t] + u[t+1] - threshold where s[t].

    With a refractory period of R timesteps v stays as the reset left it at t+1, …, t+R, and nothing fires; u goes on.
    A v that is set to 0 in the timestep after a spike, whatever comes in, is reset "zero" and refractory=1.

    The module's forward takes x, of one timestep or of all of them, time first; what else it takes or keeps is its
    own. It gives s, or a tuple that begins with s.

    Parameters
    ----------
    module: the module, or the class, which is marked and returned.
    threshold: None for a neuron that never fires, and gives v.
    decay: the fraction of v that is lost, 1 - β where v ← β v. decay_u: that of the current u; 1 for none.
    gain: what multiplies the input. Each number may be the name of an attribute of the module, or a function of it.
        Threshold, decays and gain may be arrays, which broadcast to the neurons as torch's do: (F,), (C, 1, 1) for one
        per channel of a map, (C, H, W) for one per neuron.
    refractory: 0 to 63, one number for a layer; not beside "subtract_next".

    InputError for a reset or `fires` of another name, and for a refractory period beside "subtract_next".
    """
    if reset not in get_args(Reset):
        raise InputError(f"spikecut.neuron: reset {reset!r}: expected zero, subtract or subtract_next")
    if fires not in (">", ">="):
        raise InputError(f"spikecut.neuron: fires {fires!r}: expected > or >=")
    if reset == "subtract_next" and not (isinstance(refractory, int | float) and refractory == 0):
        raise InputError("spikecut.neuron: a refractory period beside reset subtract_next, which no Process has")
    setattr(module, MARK, Declaration(threshold, decay, decay_u, reset, fires, gain, refractory))
    return module
