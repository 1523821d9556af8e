"""`spikecut.neuron`: what a neuron written by hand does, in one line, for `spikecut.export` to read and to check."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

import numpy.typing as npt

from spikecut.errors import InputError

if TYPE_CHECKING:  # a module is only marked here
    from torch import nn

Setting: TypeAlias = float | str | npt.NDArray[Any] | Sequence[float] | Callable[[Any], Any]
Reset: TypeAlias = Literal["zero", "subtract", "subtract_next", "adapt"]
ADAPTS = ("threshold_step", "threshold_decay", "refractory_decay")
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
    threshold_step: Setting = 0.0
    threshold_decay: Setting = 0.0
    refractory_decay: Setting = 0.0

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


# Over 50 lines, nearly all of them docstring: every number of the public call is told.
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
    threshold_step: Setting | None = None,
    threshold_decay: Setting | None = None,
    refractory_decay: Setting | None = None,
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

    With reset "adapt" v is never reset; spikes raise the threshold, by a, and hold v off, by r, as in lava-dl's ALIF:

        a[t] = (1 - threshold_decay) a[t-1],  r[t] = (1 - refractory_decay) r[t-1]
        s[t] = v[t] ≥ threshold + a[t] + r[t]
        r[t] ← r[t] + 2 (threshold + a[t]),  a[t] ← a[t] + threshold_step      where s[t]

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
    refractory: 0 to 63, one number for a layer; not beside "subtract_next" and "adapt".
    threshold_step, threshold_decay, refractory_decay: of reset "adapt" alone, which needs all three, and fires ">=".

    InputError for a reset or `fires` of another name, and for numbers that do not go with the reset.
    """
    if reset not in get_args(Reset):
        raise InputError(f"spikecut.neuron: reset {reset!r}: expected zero, subtract, subtract_next or adapt")
    if fires not in (">", ">="):
        raise InputError(f"spikecut.neuron: fires {fires!r}: expected > or >=")
    if reset in ("subtract_next", "adapt") and not (isinstance(refractory, int | float) and refractory == 0):
        raise InputError(f"spikecut.neuron: a refractory period beside reset {reset}, which no Process has")
    given = (threshold_step, threshold_decay, refractory_decay)
    _check_adaptation(reset, fires, threshold, given)
    step, fade, fade_held = (0.0 if each is None else each for each in given)
    told = Declaration(threshold, decay, decay_u, reset, fires, gain, refractory, step, fade, fade_held)
    setattr(module, MARK, told)
    return module


def _check_adaptation(reset: str, fires: str, threshold: Setting | None, given: tuple[Setting | None, ...]) -> None:
    named = ", ".join(ADAPTS)
    if reset != "adapt":
        if any(each is not None for each in given):
            raise InputError(f"spikecut.neuron: {named} are of reset adapt; give it, or leave them out")
        return
    if threshold is None or any(each is None for each in given):
        raise InputError(f"spikecut.neuron: reset adapt needs threshold, {named}")
    if fires != ">=":
        raise InputError(
            "spikecut.neuron: the chip's thresholds that adapt fire at v ≥ threshold: train with that, and say "
            'fires=">="'
        )
