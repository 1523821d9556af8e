"""A torch module as it is → the network that it is, compared with what the module does before anything is quantised."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from spikecut.errors import InputError, UnsupportedError
from spikecut.export.importers.base import ImportedNetwork, Recipe
from spikecut.export.importers.neurons import NeuronModel, chip_decay
from spikecut.export.network.adaptation import FloatAdaptation
from spikecut.export.network.arrays import Shape, size
from spikecut.export.network.parameters import FloatParameter, said
from spikecut.export.torch_module.adapters.base import Neuron, adapted, number
from spikecut.export.torch_module.assembly import assembled
from spikecut.export.torch_module.declare import ADAPTS, MARK, Declaration
from spikecut.export.torch_module.fold import Entry
from spikecut.export.torch_module.forward import FORMS, Taken, at_rest, form_of, fresh, in_float32
from spikecut.export.torch_module.graph import layer_graph, place
from spikecut.export.torch_module.recording.recorder import Recorder, Recording, beside_output, output_of
from spikecut.export.torch_module.recording.values import Extent, Source, Value
from spikecut.export.torch_module.witness import ModuleWitness, compare
from spikecut.fixed_point import REFRACTORY_MAXIMUM

BATCH = 64
"""Samples that the module is compared on at a time, at most."""
NUMBERS = 2**24
"""Numbers that its largest layer may hold then, over all timesteps."""


@dataclass(frozen=True)
class Sampled:
    """A module's samples. frames: [T, N, *shape], as the encoding gives them. sample: shape of an input of the module's
    own, where the user gave one.
    """

    frames: Tensor
    sample: Shape | None = None

    @classmethod
    def of(cls, frames: npt.NDArray[np.generic], sample: object = None) -> "Sampled":
        """From arrays; InputError for a sample that is none."""
        if sample is not None and not hasattr(sample, "shape"):
            raise InputError(f"sample: {type(sample).__name__}, expected a tensor or an array, as the module takes it")
        shape = None if sample is None else tuple(int(side) for side in sample.shape)
        return cls(torch.from_numpy(np.array(frames, dtype=np.float64)), shape)

    @property
    def shape(self) -> Shape:
        """Of a frame."""
        return tuple(self.frames.shape[2:])


def import_module(module: nn.Module, sampled: Sampled) -> ImportedNetwork:
    """Read a trained module, and compare it with what was read on all samples.

    Raises
    ------
    UnsupportedError: what no layer of neurons is, with the module's path and the remedy. InputError: a forward that
    fails, a sample or a declaration that does not fit. ExportError: the module does something else than was read.
    """
    own = fresh(_compiled(module))
    raised = in_float32(own)
    neurons = find_neurons(own)
    timesteps = len(sampled.frames)
    taken, recording = _recorded(own, neurons, sampled)
    graph = layer_graph(recording, timesteps, taken.form == "step")
    kinds = {path: type(each).__name__ for path, each in own.named_modules()}
    entry = Entry(sampled.shape, flat=len(taken.features) == 1 and len(sampled.shape) == 3, free=True)
    made = assembled(graph, neurons, kinds, entry)
    shape = tuple(made.network.input_shape)
    if shape != sampled.shape:
        sides = f"({', '.join(['N', *map(str, shape)])})"
        raise InputError(
            f"the module gives its input the shape {shape}, the data set's samples are of shape {sampled.shape}: store "
            f"them as {sides}, x.reshape{sides.replace('N', '-1', 1)}"
        )
    witness = ModuleWitness(own, taken, graph, made.layers)
    assumed = [f"the module {FORMS[taken.form]}"]
    if raised:
        assumed.append(f"the module holds {raised}; it is read, and compared, with its numbers in float32")
    assumed += [line for path in graph.axes for line in neurons[path].assumed]
    details: dict[str, Any] = {"class": type(module).__qualname__, "forward": taken.form}
    if made.refusal is None:
        widest = max(size(shape) for shape in (sampled.shape, *(layer.shape for layer in made.layers)))
        batch = max(1, min(BATCH, NUMBERS // (timesteps * widest)))
        whole = compare(witness, sampled.frames, batch)
        assumed.append(str(whole))
        details["compared"] = asdict(whole)
    details["parts"] = [asdict(part) for part in made.report]
    return ImportedNetwork(
        Path(type(module).__qualname__),
        network=made.network,
        witness=witness,
        input_shape=tuple(made.network.input_shape),
        assumed=tuple(assumed),
        report=made.report,
        refusal=made.refusal,
        recipe=Recipe("module", "direct", details, approximate=True),
    )


def _compiled(given: object) -> nn.Module:
    """The module that was given, or the one that torch.compile was given; InputError for anything else."""
    if not isinstance(given, nn.Module):
        what = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
        raise InputError(f"export takes a torch module, or a file, not {what}; give the module with its weights in it")
    own: nn.Module = getattr(given, "_orig_mod", given)
    return own


def find_neurons(module: nn.Module) -> dict[str, Neuron]:
    """The neurons in a module, by path, as their framework or the user says; those inside of one are its own.

    UnsupportedError for one that no Process equals, InputError for a declaration that does not fit.
    """
    found: dict[str, Neuron] = {}
    for path, each in module.named_modules():
        if any(path.startswith(f"{outer}.") or outer == "" for outer in found):
            continue
        declared = getattr(each, MARK, None)
        neuron = _declared(declared, each, place(path)) if declared is not None else adapted(each, place(path))
        if neuron is not None:
            found[path] = neuron
    if not found:
        raise UnsupportedError(
            "net: holds no neurons that are known: put them into modules of their own, and declare them: "
            "spikecut.neuron(module, threshold=…, decay=…, reset=…); a network of ReLU goes through spikecut.convert"
        )
    if "" in found:
        raise UnsupportedError("net: is a neuron itself; give a network, nn.Sequential(weights, neuron)")
    return found


def _declared(declared: Declaration, module: nn.Module, where: str) -> Neuron:
    def value(name: str) -> FloatParameter:
        given = declared.value(name, module, where)
        try:
            found = number(given)
        except (TypeError, ValueError, RuntimeError):  # no number, an empty tensor
            found = math.nan
        if not np.isfinite(found).all():
            told = " ".join(repr(given).split())[:60]
            raise InputError(f"{where}: spikecut.neuron was told {name}, which is {told}; expected a number")
        return found

    precision = float(torch.finfo(torch.float32).eps)
    decay, inexact = chip_decay("v", value("decay"), "decay", precision)
    decay_u, inexact_u = chip_decay("u", value("decay_u"), "decay_u", precision)
    if not all(np.all((np.asarray(each) >= 0) & (np.asarray(each) <= 1)) for each in (decay, decay_u)):
        told = f"{said(decay_u, 'g')} and {said(decay, 'g')}"
        raise InputError(f"{where}: declared decays {told}: expected fractions between 0 and 1")
    period = value("refractory")
    if isinstance(period, np.ndarray) or period != round(period) or not 0 <= period <= REFRACTORY_MAXIMUM:
        raise InputError(
            f"{where}: declared refractory {said(period, 'g')}: expected a whole number, 0 to {REFRACTORY_MAXIMUM}, "
            "one for all neurons"
        )
    adaptation, inexact_a = _declared_adaptation(declared, where, value)
    model = NeuronModel(
        where=where,
        threshold=None if declared.threshold is None else value("threshold"),
        gain=value("gain"),
        decay_u=decay_u,
        decay_v=decay,
        reset="zero" if declared.reset == "zero" else "subtract",
        at_equality=declared.fires == ">=",
        next_step=declared.reset == "subtract_next",
        delayed="train with a decay below 1, or with a reset in the spike's own timestep",
        inexact=inexact_u + inexact + inexact_a,
        refractory=0 if declared.threshold is None else round(period),
        adaptation=adaptation,
    )
    return Neuron(model, ("membrane",) if declared.threshold is None else ("spikes",))


def _declared_adaptation(
    declared: Declaration, where: str, value: Callable[[str], FloatParameter]
) -> tuple[FloatAdaptation | None, tuple[str, ...]]:
    """What a declared threshold that adapts has beside itself, and what is inexact of it."""
    if declared.reset != "adapt":
        return None, ()
    step, *decays = (value(name) for name in ADAPTS)
    if isinstance(step, np.ndarray) or any(isinstance(each, np.ndarray) for each in decays):
        raise UnsupportedError(
            f"{where}: {', '.join(ADAPTS)} that differ between neurons, of which a layer on the chip has one each; "
            "train with one"
        )
    if step < 0 or not all(0 <= each <= 1 for each in decays):
        raise InputError(f"{where}: declared {', '.join(ADAPTS)}: expected a step of 0 or more, and fractions up to 1")
    precision = float(torch.finfo(torch.float32).eps)
    fade, inexact = chip_decay("a", decays[0], ADAPTS[1], precision)
    fade_held, more = chip_decay("r", decays[1], ADAPTS[2], precision)
    return FloatAdaptation(float(fade), float(step), float(fade_held)), inexact + more


def _recorded(module: nn.Module, neurons: Mapping[str, Neuron], sampled: Sampled) -> tuple[Taken, Recording]:
    """How the module takes its samples, and what its forward does."""
    timesteps = len(sampled.frames)
    taken = form_of(sampled.sample, sampled.shape, timesteps)
    still = replace(sampled, frames=sampled.frames[:1].expand_as(sampled.frames))  # one frame, until the form is known
    recording = _record(module, neurons, taken, still if taken.form == "frame" else sampled)
    calls = {len(each) for each in recording.calls.values()}
    idle = [path for path in neurons if path not in recording.calls]
    if idle:
        raise UnsupportedError(f"{place(idle[0])}: the forward does not call it; leave it out of the module")
    timed = any(
        isinstance(call.taken, Value) and call.taken.timed for each in recording.calls.values() for call in each
    )
    if taken.form == "frame" and timesteps > 1 and calls == {1} and not timed:
        taken = replace(taken, form="step")
        recording = _record(module, neurons, taken, sampled)
    return taken, recording


def _record(module: nn.Module, neurons: Mapping[str, Neuron], taken: Taken, sampled: Sampled) -> Recording:
    timesteps = len(sampled.frames)
    batch = next(count for count in (3, 2, 5) if count != timesteps)
    counts = [min(batch, sampled.frames.shape[1])]
    if sampled.sample is not None:
        counts.append(sampled.sample[{"time first": 1}.get(taken.form, 0)])
    try:
        return _on(module, neurons, taken, sampled.frames[:, : counts[0]])
    except InputError as error:
        own = counts[-1]
        if own in (counts[0], 0):
            raise
        try:
            again = torch.arange(own) % sampled.frames.shape[1]
            _on(module, neurons, taken, sampled.frames[:, again].contiguous())
        except InputError:
            raise error from None
        raise InputError(
            f"the module's forward takes {own} samples at a time, as `sample` has, and fails for {counts[0]}: write "
            "x.size(0) where it holds a number of samples"
        ) from error


def _on(module: nn.Module, neurons: Mapping[str, Neuron], taken: Taken, frames: Tensor) -> Recording:
    dtype = next((each.dtype for each in module.parameters()), torch.float32)
    ready = at_rest(module, neurons)
    with torch.no_grad(), Recorder(ready, frozenset(neurons), Extent(len(frames), frames.shape[1])) as recorder:

        def told(tensor: Tensor, step: int | None) -> None:
            recorder.keep(tensor, Value(Source(""), taken.axes(), taken.features, step))

        outputs = taken.run(ready, frames.to(dtype), told)
        recorder.recording.output = [output_of(recorder, each) for each in outputs]
        recorder.recording.beside = [node for each in outputs for node in beside_output(recorder, each)]
    return recorder.recording
