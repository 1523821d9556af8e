"""How a module takes its samples: one frame a call, one frame that it repeats, or all timesteps at once."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from spikecut.errors import InputError, SpikecutError, UnsupportedError
from spikecut.export.network.arrays import Shape
from spikecut.export.torch_module.recording.values import Axis, N, T

Form: TypeAlias = Literal["step", "frame", "time first", "batch first"]
FORMS: dict[Form, str] = {
    "step": "takes one frame a call, and is called once for each timestep",
    "frame": "takes one frame, and repeats it over the timesteps itself",
    "time first": "takes all timesteps at once, (T, N, …)",
    "batch first": "takes all timesteps at once, (N, T, …)",
}
RESETS = ("reset", "reset_state", "reset_states", "reset_mem", "reset_hidden", "init_state", "reset_neurons")


@dataclass(frozen=True)
class Taken:
    """How the samples go in. form: see FORMS. features: shape of a frame, as the module takes it."""

    form: Form
    features: Shape

    def axes(self) -> tuple[Axis, ...]:
        """Of the tensor that goes in."""
        first: dict[Form, tuple[Axis, ...]] = {"time first": ((T,), (N,)), "batch first": ((N,), (T,))}
        return first.get(self.form, ((N,),))

    def run(self, module: nn.Module, frames: Tensor, told: Callable[[Tensor, int | None], None]) -> list[Any]:
        """What the module's calls give for frames [T, N, *shape].

        told: is handed each tensor that goes in, and its timestep, before the call.
        """
        shaped = frames.reshape(*frames.shape[:2], *self.features)
        given: list[tuple[Tensor, int | None]]
        if self.form == "step":
            given = [(frame, step) for step, frame in enumerate(shaped.clone())]
        elif self.form == "frame":
            if not bool((shaped == shaped[:1]).all()):
                raise UnsupportedError(
                    "the module takes one frame and repeats it, so that it cannot take other ones at each timestep; "
                    "export it with encoding direct, or make it take (T, N, …)"
                )
            given = [(shaped[0].clone(), None)]
        elif self.form == "time first":
            given = [(shaped.clone(), None)]
        else:
            given = [(shaped.transpose(0, 1).contiguous(), None)]
        found = []
        for tensor, step in given:
            told(tensor, step)
            found.append(_called(module, tensor))
        return found


def _called(module: nn.Module, given: Tensor) -> Any:
    try:
        return module(given)
    except SpikecutError:
        raise
    except Exception as error:  # a user's forward may raise anything
        raise InputError(
            f"the module's forward fails for an input of shape {tuple(given.shape)} ({_reason(error)})"
            "; give `sample`, an input as the module takes it"
        ) from error


def form_of(sample: Shape | None, frame: Shape, timesteps: int) -> Taken:
    """How a module takes its samples, by the shape of one input of its own; None: as the data set has them.

    frame: shape of the data set's samples. InputError for a shape that does not fit.
    """
    if sample is None:
        return Taken("frame", frame)
    forms: list[tuple[Form, Shape]] = []
    if len(sample) > 2 and sample[0] == timesteps:
        forms.append(("time first", sample[2:]))
    if len(sample) > 2 and sample[1] == timesteps:
        forms.append(("batch first", sample[2:]))
    forms.append(("frame", sample[1:]))
    fitting = [(form, features) for form, features in forms if prod(features) == prod(frame)]
    exact = [(form, features) for form, features in fitting if features == frame] or fitting
    if not exact:
        raise InputError(
            f"sample of shape {sample}: it holds neither frames of the data's shape {frame}, nor {timesteps} of them; "
            "give an input as the module takes it"
        )
    return Taken(*exact[0])


def fresh(module: nn.Module) -> nn.Module:
    """A copy on the CPU in eval mode, which shares nothing with the user's module.

    States that a training left behind are taken without their history, which torch does not copy.
    """
    memo: dict[int, Any] = {}
    for each in module.modules():
        for holder in (vars(each), each._buffers, getattr(each, "_memories", {})):
            for tensor in _tensors_in(list(holder.values()), set()):
                if tensor.grad_fn is not None:
                    memo[id(tensor)] = tensor.detach().clone()
    try:
        return copy.deepcopy(module, memo).cpu().eval()
    except Exception as error:  # a user's attributes may be anything
        raise InputError(
            f"{_uncopied(module, memo)} cannot be copied ({_reason(error)}); delete it before the export"
        ) from error


def _tensors_in(value: object, seen: set[int]) -> Iterator[Tensor]:
    """The tensors in lists, tuples and dicts in one another."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | set | dict) and id(value) not in seen:
        seen.add(id(value))
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(part, seen)


def _uncopied(module: nn.Module, memo: Mapping[int, Any]) -> str:
    """The first attribute that cannot be copied, as errors name it."""
    for path, each in module.named_modules():
        own = {name: value for name, value in vars(each).items() if name != "_modules"}
        for name, value in (*own.items(), *each._parameters.items(), *each._buffers.items()):
            try:
                copy.deepcopy(value, dict(memo))
            except Exception:  # see fresh
                if name not in ("_parameters", "_buffers"):
                    return ".".join(("net", *filter(None, (path, name))))
    return "net"


def _reason(error: Exception) -> str:
    """Its name and first line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def in_float32(module: nn.Module) -> str:
    """Give a module's numbers of lower precision float32, which holds them exactly; the name of theirs, or ""."""
    found = ""
    for each in module.modules():
        for held in (*each._parameters.values(), *each._buffers.values()):
            if held is not None and held.is_floating_point() and held.element_size() < 4:
                found = str(held.dtype).removeprefix("torch.")
                held.data = held.data.float()
    return found


def at_rest(module: nn.Module, neurons: Iterable[str]) -> nn.Module:
    """A copy with the same weights, whose neurons, by path, are as if they had never run."""
    memo: dict[int, Any] = {id(parameter): parameter for parameter in module.parameters()}
    again = copy.deepcopy(module, memo)
    for path in neurons:
        _reset(again.get_submodule(path))
    return again


def _reset(module: nn.Module) -> None:
    """Call a module's own reset, if it has one that takes nothing."""
    for name in RESETS:
        method = getattr(module, name, None)
        if not callable(method):
            continue
        try:
            with torch.no_grad():
                method()
        except Exception:  # it needs arguments, or is for something else: the copy is at rest without it
            continue
        return
