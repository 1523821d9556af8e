"""The forward of a module, run once on a few samples and recorded: what each neuron takes, and what comes out.

torch.fx would call the forward with placeholders, which no loop over x.size(0), no array that is filled step by step
and no state of a framework takes. Here the forward runs on real samples; every torch function that it calls is seen by
a TorchFunctionMode, and tells its result's Value. The modules of neurons are not looked into.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spikecut.errors import SpikecutError
from spikecut.export.torch_module.recording.calls import Call, Read
from spikecut.export.torch_module.recording.functions import read
from spikecut.export.torch_module.recording.time_axis import filled, parts_of
from spikecut.export.torch_module.recording.values import Extent, Node, Opaque, Source, Value


@dataclass(frozen=True)
class NeuronCall:
    """One call of a neuron's module. taken: its input; None: it does not depend on the network's input."""

    taken: Read | None
    step: int


@dataclass
class Recording:
    """What a forward did.

    calls: of each neuron, by path, in their order. output: what the forward gave. beside: what further outputs hold.
    """

    calls: dict[str, list[NeuronCall]] = field(default_factory=dict)
    output: list[Read | None] = field(default_factory=list)
    beside: list[Node] = field(default_factory=list)


class Recorder(TorchFunctionMode):
    """Records calls of a module's forward; use it in a `with`.

    module: the root. neurons: paths of the modules that hold neurons. extent: of the samples that it is run on.
    """

    def __init__(self, module: nn.Module, neurons: frozenset[str], extent: Extent) -> None:
        begin: Callable[[], None] = super().__init__  # which some versions of torch give no types
        begin()
        self.module, self.neurons, self.extent = module, neurons, extent
        self.recording = Recording()
        self.held: dict[int, tuple[Tensor, Read]] = {}
        self.path = [""]
        self.inside = 0
        self.told = False
        self.stack = ExitStack()

    def __enter__(self) -> "Recorder":
        for path, module in self.module.named_modules():
            if any(path.startswith(f"{neuron}.") for neuron in self.neurons):
                continue
            before, after = self._hooks(path)
            self.stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            self.stack.callback(module.register_forward_hook(after).remove)
        self._see_indexing()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self.stack.close()

    def _see_indexing(self) -> None:
        """x[0] and x[0] = y, which torch 2.3 runs without telling any mode."""
        names = ("__getitem__", "__setitem__")
        plain = {name: getattr(Tensor, name) for name in names}

        def seen(name: str) -> Callable[..., Any]:
            def index(*args: Any) -> Any:
                self.told = False
                result = plain[name](*args)
                if not self.told and not self.inside:
                    self._record(name.strip("_"), args, {}, result)
                self.told = True
                return result

            index.__name__ = name
            return index

        for name in names:
            if name in vars(Tensor):
                self.stack.callback(setattr, Tensor, name, plain[name])
            else:  # inherited
                self.stack.callback(delattr, Tensor, name)
            setattr(Tensor, name, seen(name))

    def _hooks(self, path: str) -> tuple[Callable[..., None], Callable[..., None]]:
        neuron = path in self.neurons

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.path.append(path)
            if neuron:
                self.inside += 1
                calls = self.recording.calls.setdefault(path, [])
                given = next(iter((*args, *kwargs.values())), None)
                calls.append(NeuronCall(self.value(given), len(calls)))

        def after(_: nn.Module, __: tuple[Any, ...], sent: Any) -> None:
            self.path.pop()
            if neuron:
                self.inside -= 1
                self._sent(path, sent)

        return before, after

    def _sent(self, path: str, sent: Any) -> None:
        """Give the outputs of a neuron's call their Values."""
        call = self.recording.calls[path][-1]
        taken = call.taken
        seen: set[int] = set()
        for part, tensor in enumerate(tensors(sent)):
            if id(tensor) in seen:  # Norse's LI gives v, and a state that holds v
                continue
            seen.add(id(tensor))
            if not isinstance(taken, Value):
                self.keep(tensor, taken or Opaque(path, "takes nothing that depends on the network's input"))
                continue
            step = None if taken.timed else call.step
            alike = tuple(tensor.shape[: len(taken.axes)]) == tuple(map(self.extent.size, taken.axes))
            if part and not alike:
                self.keep(tensor, Opaque(path, f"its output {part}, a state, is used; only what it sends is read"))
                continue
            features = tuple(tensor.shape[len(taken.axes) :])
            self.keep(tensor, Value(Source(path, part), taken.axes, features, step))

    def value(self, thing: object) -> Read | None:
        """The Value of a tensor; None for a constant."""
        found = self.held.get(id(thing)) if isinstance(thing, Tensor) else None
        return None if found is None else found[1]

    def keep(self, tensor: object, value: Read | None) -> None:
        """Remember what a tensor holds, and the tensor, so that no other one gets its identity."""
        if isinstance(tensor, Tensor):
            if value is None:
                self.held.pop(id(tensor), None)
            else:
                self.held[id(tensor)] = tensor, value

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a torch function, and record what it does."""
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "").strip("_")
        if self.inside:
            return function(*args, **kwargs)
        if name == "get":  # a property, such as x.data
            name = getattr(getattr(function, "__self__", None), "__name__", "")
        if name == "iter" and isinstance(args[0], Tensor):
            return iter(args[0].unbind(0))
        self.told = False
        result = function(*args, **kwargs)
        if not (self.told and name in ("getitem", "setitem")):  # told where torch calls what stands in their place
            self._record(name, args, kwargs, result)
        self.told = True
        return result

    def _record(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Give what a function made its Value."""
        try:
            self._read(name, args, kwargs, result)
        except SpikecutError:
            raise
        except Exception as error:  # arguments that its reader does not expect
            reason = f"{name} is called in a way that is not read ({type(error).__name__}: {error})"
            for tensor in (args[0],) if name == "setitem" else tensors(result):
                self.keep(tensor, Opaque(self.path[-1], " ".join(reason.split())[:200]))

    def _read(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if name == "setitem":
            call = self._call(name, args, kwargs, args[0])
            self.keep(args[0], filled(call, self.value(args[0]), args[1], args[2]))
        elif name in ("unbind", "chunk", "split") and isinstance(self.value(args[0]), Value):
            self._split(name, args, kwargs, result)
        elif isinstance(result, Tensor):
            self.keep(result, read(self._call(name, args, kwargs, result)))
        elif isinstance(result, tuple | list):
            for part in tensors(result):
                self.keep(part, read(self._call(name, args, kwargs, part)))

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> Call:
        return Call(name, self.path[-1], args, kwargs, result, self.value, self.extent)

    def _split(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        value = self.value(args[0])
        axis = args[1] if name == "unbind" and len(args) > 1 else kwargs.get("dim", 0)
        call = self._call(name, args, kwargs, args[0])
        known = isinstance(value, Value) and name == "unbind"
        parts = parts_of(call, value, axis, len(result)) if known and isinstance(value, Value) else []
        refused = call.refused(f"{name} is not read; index the timesteps, x[t]")
        for place, tensor in enumerate(result):
            self.keep(tensor, parts[place] if parts else refused)


def tensors(sent: Any) -> Iterator[Tensor]:
    """The tensors in what a module gave, from the first to the last."""
    if isinstance(sent, Tensor):
        yield sent
    elif isinstance(sent, tuple | list):
        for part in sent:
            yield from tensors(part)


def beside_output(recorder: Recorder, given: Any) -> list[Node]:
    """What the tensors of a forward's output hold besides the first."""
    values = [recorder.value(tensor) for tensor in tensors(given)]
    return [value.node for value in values[1:] if isinstance(value, Value)]


def output_of(recorder: Recorder, given: Any) -> Read | None:
    """The Value of a forward's output: of a tuple that of the first, of a list of timesteps all of them."""
    if isinstance(given, Tensor):
        return recorder.value(given)
    if (
        isinstance(given, list)
        and len(given) == recorder.extent.timesteps
        and all(isinstance(t, Tensor) for t in given)
    ):
        values = [recorder.value(tensor) for tensor in given]
        first = values[0]
        steps = [value.step if isinstance(value, Value) else None for value in values]
        if isinstance(first, Value) and steps == [*range(len(values))]:
            return replace(first, axes=(("T",), *first.axes), step=None)
    if isinstance(given, tuple | list) and given:
        return output_of(recorder, given[0])
    return Opaque("", f"gives {type(given).__name__}; return a tensor of scores")
