"""The module itself as the witness: its recorded spikes, neuron by neuron and step by step, against the float network.

Each layer of the float network, in float64, gets the spikes that the module's own layers sent, and its neurons are
reset where the module's fired: so every decision is compared with the module's from the same past, and none follows
from an earlier one. Both compute v; the module in float32, whose rounding is bounded as the sums go along (`Bound`).
Where a decision differs and v lies within that bound of the threshold, float32 cannot tell: a tie, which is counted.
Where it lies outside, the float network is not the module, and is refused, with the first such decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikecut.errors import ExportError
from spikecut.export.importers.linear import Synapse
from spikecut.export.importers.neurons import StepNeuron
from spikecut.export.network.parameters import FloatParameter
from spikecut.export.torch_module.assembly import Layer
from spikecut.export.torch_module.fold import Folded
from spikecut.export.torch_module.forward import Taken, at_rest
from spikecut.export.torch_module.graph import Graph, place
from spikecut.export.torch_module.recording.recorder import tensors
from spikecut.export.torch_module.recording.values import Extent, N, T, Value
from spikecut.export.torch_module.rise import Rise
from spikecut.export.torch_module.tally import Tally

SCALAR_ROUNDINGS = 16
"""Roundings of a neuron's own arithmetic in a timestep, none of a number larger than those that the bound adds up."""
SLACK = 1e-12
"""What float64 itself rounds."""


@dataclass(frozen=True)
class Compared:
    """What the comparison found.

    Attributes
    ----------
    samples, timesteps: that were run. decisions: of neurons, to fire or not, that were compared; spikes: that fired.
    ties: of the decisions, those that differ where the module's numbers cannot tell v from the threshold. bound: the
        widest of them. precision: of the module's numbers.
    """

    samples: int
    timesteps: int
    decisions: int
    spikes: int
    ties: int
    bound: float
    precision: str = "float32"

    def __str__(self) -> str:
        """One line for the report."""
        said = (
            f"{self.decisions:,} decisions of neurons ({self.spikes:,} spikes) on {self.samples} samples and "
            f"{self.timesteps} timesteps: the float network fires where the module does"
        )
        if not self.ties:
            return said
        return (
            f"{said}, but for {self.ties} ties, where v is within {self.bound:.2g} of the threshold, "
            f"{self.precision}'s rounding"
        )


class ModuleWitness(nn.Module):
    """The user's module over time, as the golden witness takes it.

    Frames [T, N, *input_shape] → scores per step [T, N, classes]: what its last neurons send, or their currents.
    """

    def __init__(self, module: nn.Module, taken: Taken, graph: Graph, layers: tuple[Layer, ...]) -> None:
        super().__init__()
        self.held = [module]  # in a list, so that its parameters are not this module's
        self.taken, self.graph, self.layers = taken, graph, layers
        self.dtype = next((each.dtype for each in module.parameters()), torch.float32)
        used = {each.dtype for each in module.parameters() if each.is_floating_point()} or {torch.float32}
        self.coarsest = max(used, key=lambda dtype: torch.finfo(dtype).eps)

    def forward(self, frames: Tensor) -> Tensor:
        """See above; float64."""
        sent, given = self.record(frames)
        last = self.layers[-1]
        if last.neuron is None:
            return (self.said(given, frames) if self.graph.how == "steps" else _currents(last, sent)).flatten(2)
        scores = sent[last.path].flatten(2)
        if last.neuron.threshold is None:
            scores = torch.diff(scores, dim=0, prepend=torch.zeros_like(scores[:1]))
        return scores

    def record(self, frames: Tensor) -> tuple[dict[str, Tensor], list[Any]]:
        """What each layer's neurons sent, by path, float64 [T, N, *shape]; and what the forward gave.

        "" is the input. Layers that are a max pooling of spikes are computed from those.
        """
        (module,) = self.held
        frames = frames.to(self.dtype)
        paths = [layer.path for layer in self.layers if layer.path and layer.pool is None]
        ready = at_rest(module, paths)
        found: dict[str, list[Tensor]] = {path: [] for path in paths}
        hooks = []
        for path in paths:
            part = self.graph.part if path == self.layers[-1].path else 0

            def keep(_: nn.Module, __: Any, sent: Any, path: str = path, part: int = part) -> None:
                found[path].append(list(tensors(sent))[part].detach().clone())  # before anything changes it in place

            hooks.append(ready.get_submodule(path).register_forward_hook(keep))
        with torch.no_grad():
            given = self.taken.run(ready, frames, lambda *_: None)
        for hook in hooks:
            hook.remove()
        extent = Extent(len(frames), frames.shape[1])
        sent: dict[str, Tensor] = {"": frames.double()}
        for layer in self.layers:
            if layer.pool is not None:
                sent[layer.path] = _pooled(layer, sent[layer.sources[0]])
            elif layer.path:
                whole = time_first(found[layer.path], self.graph.axes[layer.path], extent)
                sent[layer.path] = whole.double().reshape(*frames.shape[:2], *layer.shape)
        return sent, given

    def said(self, given: list[Any], frames: Tensor) -> Tensor:
        """The module's output for these frames, float64: [T, N, classes] where each timestep has one, else [N, …]."""
        value = self.graph.output
        calls = [_first(each, value).detach().double() for each in given]
        steps = self.graph.how == "steps"
        return time_first(calls, value, Extent(len(frames), frames.shape[1])) if steps else calls[0]


def _first(given: Any, value: Value) -> Tensor:
    """The tensor of an output that counts: see recorder.output_of, whose Value this is."""
    if isinstance(given, Tensor):
        return given
    dims = len(value.axes) + len(value.features)
    listed = isinstance(given, list) and all(isinstance(each, Tensor) for each in given)
    if listed and value.axes[:1] == ((T,),) and given[0].ndim == dims - 1:
        return torch.stack(given)
    return _first(given[0], value)


def time_first(calls: list[Tensor], value: Value, extent: Extent) -> Tensor:
    """What a module's calls gave as one tensor [T, N, …]."""
    if not value.timed:
        calls = [torch.stack(calls)]
    axes = value.axes if value.timed else ((T,), *value.axes)
    (tensor,) = calls
    atoms = [atom for axis in axes for atom in axis]
    rest = tuple(tensor.shape[len(axes) :])
    apart = tensor.reshape(*(extent.size((atom,)) for atom in atoms), *rest)
    return apart if atoms == [T, N] else apart.transpose(0, 1)


def compare(witness: ModuleWitness, frames: Tensor, batch: int) -> Compared:
    """Compare the float network's layers with what the module does for frames [T, N, *input_shape].

    batch: samples at a time.

    ExportError for the first decision that differs by more than the rounding of the module's numbers, with layer,
    neuron and timestep; and for a layer with more ties, or wider ones, than can be vouched for.
    """
    unit = float(torch.finfo(witness.coarsest).eps) / 2
    precision = str(witness.coarsest).removeprefix("torch.")
    tallies = {layer.path: Tally() for layer in witness.layers}
    for first in range(0, frames.shape[1], batch):
        some = frames[:, first : first + batch]
        sent, given = witness.record(some)
        for layer in witness.layers:
            if layer.neuron is None or layer.pool is not None:
                continue
            theirs, tally = sent[layer.path], tallies[layer.path]
            run = _Forced(layer, layer.neuron, unit, sent)
            for step in range(len(some)):
                tally.add(*run.step(step, theirs))
            if layer.neuron.threshold is not None:
                tally.decisions, tally.spikes = tally.decisions + theirs.numel(), tally.spikes + int(theirs.sum())
                tally.check(place(layer.path), float(np.min(layer.neuron.threshold)), precision)
        _check_output(witness, sent, witness.said(given, some), unit)
    for layer in witness.layers:
        tallies[layer.path].check_count(place(layer.path), precision)
    found = tallies.values()
    return Compared(
        frames.shape[1],
        len(frames),
        sum(each.decisions for each in found),
        sum(each.spikes for each in found),
        sum(each.ties for each in found),
        max(each.bound for each in found),
        precision,
    )


class _Forced:
    """One layer over time, reset where the module's neurons fired.

    u, v: float64 [N, *shape]. doubt_u, doubt_v: how far float32's may lie from them: at each timestep the roundings of
    the sums, `operations` of them of at most `unit` times the sum of magnitudes, and of the neuron's own arithmetic;
    what was in doubt before decays as u and v do, and is gone with a hard reset.
    """

    def __init__(self, layer: Layer, neuron: StepNeuron, unit: float, sent: Mapping[str, Tensor]) -> None:
        self.layer, self.neuron, self.unit = layer, neuron, unit
        self.remedy = layer.remedy or "say what it does: spikecut.neuron(module, threshold=…, decay=…, reset=…)"
        self.currents = _currents(layer, sent)
        self.magnitudes = _currents(layer, sent, magnitudes=True)
        self.count = _operations(layer)
        self.u = self.doubt_u = self.doubt_v = torch.zeros_like(self.currents[0])
        self.late = self.waits = torch.zeros_like(self.u)
        self.v = self.u + self._beside(neuron.v_init)
        self.keep_u, self.keep_v = 1 - self._beside(neuron.decay_u), 1 - self._beside(neuron.decay_v)
        self.threshold = self.level = self._beside(0.0 if neuron.threshold is None else neuron.threshold)
        self.rise = Rise(neuron.adaptation, self.u, unit) if neuron.adaptation is not None else None

    def _beside(self, parameter: FloatParameter) -> Tensor:
        """A parameter as it broadcasts to the neurons."""
        numbers = torch.tensor(parameter, dtype=torch.float64)
        axes = len(self.layer.shape) - numbers.ndim
        return numbers.reshape(*numbers.shape, *[1] * axes) if numbers.ndim else numbers

    def step(self, step: int, theirs: Tensor) -> tuple[int, float]:
        """One timestep; the ties in it, and the widest bound among them. ExportError for a difference."""
        neuron, unit = self.neuron, self.unit
        incoming, size = self.currents[step], self.magnitudes[step]
        if self.layer.recurrent is not None and step:
            sent = theirs[step - 1]
            incoming = incoming + _applied(self.layer.recurrent.synapse, sent)
            size = size + _applied(self.layer.recurrent.magnitudes, sent.abs())
        if self.rise is not None:
            self.level = self.rise.level(self.threshold)
        keep_u, keep_v, level = self.keep_u, self.keep_v, self.level
        self.doubt_u = keep_u * self.doubt_u + unit * (
            self.count * size + SCALAR_ROUNDINGS * (size + keep_u * self.u.abs())
        )
        self.u = keep_u * self.u + incoming
        before = self.v
        self.v = keep_v * self.v + self.u - self.late
        if neuron.drive is not None:
            self.v = self.v + self._beside(neuron.drive)
        doubt_v = (
            keep_v * self.doubt_v
            + self.doubt_u
            + unit * SCALAR_ROUNDINGS * (self.v.abs() + before.abs() + self.u.abs() + level)
        )
        rests = self.waits > 0
        self.v, self.doubt_v = torch.where(rests, before, self.v), torch.where(rests, self.doubt_v, doubt_v)
        said = theirs[step]
        if neuron.threshold is None:
            self._check(step, said, (said - self.v).abs() > self.doubt_v)
            return 0, 0.0
        ours = (self.v >= level if neuron.at_equality else self.v > level) & ~rests
        differ = ours != (said != 0)
        doubt = self.doubt_v if self.rise is None else self.doubt_v + self.rise.doubt
        near = ((self.v - level).abs() <= doubt) & ~rests
        self._check(step, said, (differ & ~near) | ((said != 0) & (said != 1)))
        tied = differ & near
        ties = int(tied.sum()), float(doubt[tied].max()) if bool(tied.any()) else 0.0
        fired = said != 0
        self.waits = torch.where(fired, float(neuron.refractory), (self.waits - 1).clamp(min=0))
        if self.rise is not None:
            self.rise.add(said, self.threshold)
        elif neuron.delayed_reset:
            self.late = level * said
        elif neuron.reset == "subtract":
            self.v = self.v - level * said
        else:
            self.v = torch.where(fired, torch.zeros_like(self.v), self.v)
            self.doubt_v = torch.where(fired, unit * level * torch.ones_like(self.v), self.doubt_v)
        return ties

    def _check(self, step: int, said: Tensor, wrong: Tensor) -> None:
        if not bool(wrong.any()):
            return
        sample, *neuron = (int(place) for place in wrong.nonzero()[0])
        at = (sample, *neuron)
        v, theirs = float(self.v[at]), float(said[at])
        where = place(self.layer.path)
        index = neuron[0] if len(neuron) == 1 else tuple(neuron)
        shown = f"sends {theirs:g}" if self.neuron.threshold is not None else f"has v = {theirs:.7g}"
        threshold = float(self.level.expand(self.v.shape)[at])
        level = "" if self.neuron.threshold is None else f", the threshold {threshold:.7g}"
        raise ExportError(
            f"{where}: does not do what was read of it: neuron {index}, timestep {step}, sample {sample}: v = {v:.7g}"
            f"{level}, but the module {shown} ({int(wrong.sum())} of {wrong.numel()} differ at this timestep); "
            f"{self.remedy}"
        )


def _currents(layer: Layer, sent: Mapping[str, Tensor], magnitudes: bool = False) -> Tensor:
    """What arrives at a layer's neurons, [T, N, *shape], float64; or the sum of its magnitudes."""
    total: Tensor | float = 0.0
    for source, folded in zip(layer.sources, _synapses(layer), strict=True):
        synapse = folded.magnitudes if magnitudes else folded.synapse
        given = sent[source].abs() if magnitudes else sent[source]
        flat = _applied(synapse, given.reshape(prod(given.shape[:2]), *synapse.input_shape))
        total = total + flat.reshape(*given.shape[:2], *flat.shape[1:])
    return torch.as_tensor(total)


def _operations(layer: Layer) -> int:
    back = 0 if layer.recurrent is None else layer.recurrent.operations
    return back + sum(each.operations for each in _synapses(layer))


def _synapses(layer: Layer) -> list[Folded]:
    return [layer.synapse, *layer.skips]


def _applied(synapse: Synapse, given: Tensor) -> Tensor:
    weight, bias = torch.tensor(synapse.weight), torch.tensor(synapse.bias)
    if synapse.kind == "dense":
        return functional.linear(given.flatten(1), weight, bias)
    return functional.conv2d(given, weight, bias, synapse.stride, synapse.padding, synapse.dilation, synapse.groups)


def _pooled(layer: Layer, spikes: Tensor) -> Tensor:
    """What a layer that is a max pooling of spikes sends."""
    numbers: Any = () if layer.pool is None else layer.pool.numbers
    pooled = functional.max_pool2d(spikes.flatten(0, 1), *numbers)
    whole: Tensor = pooled.reshape(*spikes.shape[:2], *pooled.shape[1:])
    return whole


def _check_output(witness: ModuleWitness, sent: Mapping[str, Tensor], said: Tensor, unit: float) -> None:
    """ExportError where the module's output is not what its last layer sent, as the graph says."""
    last, how = witness.layers[-1], witness.graph.how
    if last.neuron is None:
        scores, sizes = _currents(last, sent), _currents(last, sent, magnitudes=True)
        doubt = unit * (_operations(last) + SCALAR_ROUNDINGS) * sizes
    else:
        scores = sent[last.path]
        sizes, doubt = scores.abs(), torch.zeros_like(scores)
    if how in ("sum", "mean"):
        steps = len(scores)
        exact = how == "sum" and last.neuron is not None  # a number of spikes
        doubt = doubt.sum(0) + (0.0 if exact else unit * (steps + SCALAR_ROUNDINGS)) * sizes.sum(0)
        scores = scores.sum(0)
        if how == "mean":
            scores, doubt = scores / steps, doubt / steps
    elif how == "last":
        scores, doubt = scores[-1], doubt[-1]
    features = 2 if how == "steps" else 1
    said, scores, doubt = said.flatten(features), scores.flatten(features), doubt.flatten(features)
    if said.shape == scores.shape:
        alike = (said - scores).abs() <= doubt
        if bool(alike.all()) or (how in ("sum", "mean") and _proportional(said, scores, doubt)):
            return
        if how == "steps":
            at = step, sample, output = tuple(int(each) for each in (~alike).nonzero()[0])
            raise ExportError(
                f"{place(last.path)}: the module's output is not what its last layer sends: output {output}, timestep "
                f"{step}, sample {sample}: {float(scores[at]):.7g}, but the module gives {float(said[at]):.7g}; return "
                "what the last layer sends as it is"
            )
    what = "what its last layer sends" if how == "steps" else f"the {how} of what its last layer sends"
    raise ExportError(f"{place(last.path)}: the module's output is not {what}; return the scores of each timestep")


def _proportional(said: Tensor, expected: Tensor, doubt: Tensor) -> bool:
    """Whether one positive factor of what lies within the doubt gives what was said: it changes no prediction."""
    least, most = 0.0, float("inf")
    for bound, sign in ((expected - doubt, 1.0), (expected + doubt, -1.0)):  # sign · (said - factor · bound) ≥ 0
        ratio = said / bound
        above, below = ratio[sign * bound < 0], ratio[sign * bound > 0]
        least = max(least, *above.tolist()) if above.numel() else least
        most = min(most, *below.tolist()) if below.numel() else most
        if bool((sign * said[bound == 0] < 0).any()):
            return False
    return bool(said.isfinite().all()) and most > 0 and least <= most * (1 + SLACK)
