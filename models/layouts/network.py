"""A layout as a torch module with a file's tensors in it: as it was trained, and as it spikes."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikecut.errors import InputError, UnsupportedError
from spikecut.models.layouts.spec import (
    CLASSES,
    AveragePool,
    Convolution,
    Dense,
    Layer,
    Layout,
    Neurons,
    Norm,
    PaddedChannels,
)
from spikecut.models.neurons.current_based import CurrentBased

Fire = Callable[[str, Tensor], Tensor]
"""What the neurons of this name send for their currents."""
BATCH = 50
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class ChannelPadding(nn.Module):
    """Every stride-th row and column, and zeros as channels before and behind: a convolution with fixed weights."""

    weight: Tensor

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        before = (out - channels) // 2
        weight = torch.zeros(out, channels, 1, 1, device="cpu")
        weight[before : before + channels, :, 0, 0] = torch.eye(channels, device="cpu")
        self.stride = stride
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [N, channels, H, W] → [N, out, H', W']."""
        return functional.conv2d(maps, self.weight, None, self.stride)


class LayoutNetwork(nn.Module):
    """The layers of a layout, float32, in eval mode, each at its own path; neurons hold no module here.

    Attributes
    ----------
    layout: what it is of. thresholds: λ of each layer of QCFS neurons. shapes: of what each step sends.
    """

    def __init__(self, layout: Layout, tensors: Mapping[str, Tensor], source: Path) -> None:
        """InputError unless the tensors are just those that the layout needs, all finite."""
        super().__init__()
        self.layout = layout
        self.neurons = tuple(step.name for step in layout.steps if isinstance(step.layer, Neurons))
        self.thresholds: dict[str, float] = {}
        self.shapes: dict[str, tuple[int, ...]] = {"": layout.input_shape}
        left = _named(layout, tensors, self._keys(), source)
        for step in layout.steps:
            shape = self.shapes[step.sources[0]]
            self.shapes[step.name] = shape
            if isinstance(step.layer, Neurons):
                if layout.neurons.kind == "qcfs":
                    self.thresholds[step.name] = _threshold(left, f"{step.name}.{layout.neurons.threshold}", source)
            elif step.layer is not None:
                module = _filled(step.layer, shape, left, source)
                _placed(self, step.name, module)
                with torch.no_grad():
                    sent = _moved(module)(torch.empty(1, *shape, device="meta"))
                self.shapes[step.name] = tuple(sent.shape[1:])
        self.eval().requires_grad_(False)

    def _keys(self) -> set[str]:
        """The tensors that the layout needs."""
        found = set()
        for step in self.layout.steps:
            layer = step.layer
            if isinstance(layer, Convolution | Dense):
                found |= {f"{layer.name}.weight"} | ({f"{layer.name}.bias"} if getattr(layer, "bias", True) else set())
            elif isinstance(layer, Norm):
                found |= {f"{layer.name}.{key}" for key in ("weight", "bias", "running_mean", "running_var")}
            elif isinstance(layer, Neurons) and self.layout.neurons.kind == "qcfs":
                found.add(f"{layer.name}.{self.layout.neurons.threshold}")
        return found

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return self.shapes[self.layout.steps[-1].name][0]

    def walk(self, inputs: Tensor, fire: Fire) -> Iterator[tuple[str, Tensor]]:
        """What each step sends, by name, [N, *shape]; what no later step takes is let go."""
        steps = self.layout.steps
        last = {source: number for number, step in enumerate(steps) for source in step.sources}
        sent = {"": inputs}
        for number, step in enumerate(steps):
            taken = [sent[source] for source in step.sources]
            for source in step.sources:
                if last[source] == number:
                    sent.pop(source, None)
            sent[step.name] = self._step(step.layer, taken, fire)
            yield step.name, sent[step.name]

    def _step(self, layer: Layer | None, taken: list[Tensor], fire: Fire) -> Tensor:
        if layer is None:
            return taken[0] + taken[1]
        return fire(layer.name, taken[0]) if isinstance(layer, Neurons) else self.module(layer.name)(taken[0])

    def module(self, name: str) -> nn.Module:
        """The module of a step."""
        return self.get_submodule(name)

    def activations(self, images: Tensor, clip: Mapping[str, Tensor] | None = None) -> Iterator[tuple[str, Tensor]]:
        """What each ReLU sends, by name, [N, *shape], and at last the scores as "".

        clip: λ, [C, 1, 1] or [1], at which activations are cut.
        """

        def relu(name: str, currents: Tensor) -> Tensor:
            return currents.clamp(min=0) if clip is None else currents.clamp(min=0).minimum(clip[name].to(currents))

        sent = images
        for name, sent in self.walk(images.float(), relu):
            if name in self.neurons:
                yield name, sent
        yield "", sent

    def scores(self, images: Tensor, clip: Mapping[str, Tensor] | None = None) -> Tensor:
        """Scores [N, classes] of samples [N, *input_shape]; clip: see `activations`."""
        parts = []
        with torch.no_grad():
            for part in torch.split(images, BATCH):
                *_, (_, sent) = self.activations(part, clip)
                parts.append(sent)
        return torch.cat(parts)


@dataclass(frozen=True)
class Balance:
    """What conversion adds to a layer of neurons.

    Attributes
    ----------
    threshold: λ, [C, 1, 1] or [1]; None of the scores. shift: of currents, or scores, [C, 1, 1] or [C].
    """

    threshold: Tensor | None
    shift: Tensor


class SpikingLayout(nn.Module):
    """The network with neurons that spike: frames [T, N, *input_shape] → what each step adds to the scores.

    balance: of each layer of ReLU, and of the scores under ""; empty for networks that have neurons of their own.
    """

    def __init__(self, network: LayoutNetwork, balance: Mapping[str, Balance]) -> None:
        super().__init__()
        self.network = network
        self.balance = dict(balance)
        self.amplitudes: dict[str, Tensor] = {}
        for name in network.neurons:
            neuron, amplitude = _neuron(network, name, self.balance.get(name))
            _placed(self, name, neuron)
            self.amplitudes[name] = amplitude

    def forward(self, frames: Tensor) -> Tensor:
        """See above."""
        steps, samples = frames.shape[:2]

        def fire(name: str, currents: Tensor) -> Tensor:
            balance = self.balance.get(name)
            if balance is not None:
                currents = currents + balance.shift
            if balance is not None and balance.threshold is not None:
                currents = currents / balance.threshold
            sent = self.get_submodule(name)(currents.reshape(steps, samples, *currents.shape[1:]))
            return cast(Tensor, sent.flatten(0, 1)) * self.amplitudes[name]

        scores = frames
        for _, sent in self.network.walk(frames.flatten(0, 1), fire):
            scores = sent
        if "" in self.balance:
            scores = scores + self.balance[""].shift
        return scores.reshape(steps, samples, *scores.shape[1:])


def _neuron(network: LayoutNetwork, name: str, balance: Balance | None) -> tuple[nn.Module, Tensor]:
    """The neurons of a layer, and what a spike of theirs is worth."""
    kind = network.layout.neurons
    if kind.kind == "lif":
        return CurrentBased(float(kind.threshold or 0), decay_v=kind.decay), torch.ones(1)
    if kind.kind == "qcfs":
        level = network.thresholds[name]
        return _integrate_fire(level), torch.full((1,), level)
    if balance is None or balance.threshold is None:
        raise UnsupportedError(f"layer {name}: a ReLU without a threshold; convert the network first")
    return _integrate_fire(1.0), balance.threshold


def _integrate_fire(level: float) -> CurrentBased:
    return CurrentBased(level, reset="subtract", at_equality=True, v_init=level / 2)


def _placed(root: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module at a dotted path, which is the prefix of its tensors."""
    *folders, last = name.split(".")
    for folder in folders:
        if folder not in root._modules:
            root.add_module(folder, nn.Module())
        root = cast(nn.Module, root._modules[folder])
    root.add_module(last, module)


def _moved(module: nn.Module) -> nn.Module:
    """A copy on the meta device, to infer shapes."""
    return copy.deepcopy(module).to("meta")


def _named(layout: Layout, tensors: Mapping[str, Tensor], wanted: set[str], source: Path) -> dict[str, Tensor]:
    """The tensors by their names in the layout; InputError where they are others, or one has two values."""
    keys = [key for key in tensors if not key.endswith("num_batches_tracked")]
    spellings = list(layout.spelt(keys))
    chosen = min(spellings, key=lambda names: len(wanted ^ set(names.values())))
    missing, foreign = wanted - set(chosen.values()), [key for key in keys if chosen[key] not in wanted]
    where = f"{source}: no state dict of {layout.name} ({layout.source})"
    if missing or foreign:
        said = [f"lacks {len(missing)} of its {len(wanted)} tensors, {min(missing)} first"] if missing else []
        said += [f"holds {len(foreign)} that are not its own, {min(foreign)} first"] if foreign else []
        raise InputError(f"{where}: {' and '.join(said)}; give the --layout that it was trained with")
    found: dict[str, Tensor] = {}
    for key in keys:
        name, tensor = chosen[key], tensors[key]
        if name in found and not torch.equal(found[name], tensor):
            raise InputError(f"{source}: {key} holds other numbers than the same tensor's other name; save it again")
        if tensor.dtype not in FLOATS or not bool(tensor.isfinite().all()):
            raise InputError(f"{source}: {key} is {tensor.dtype}, or holds a NaN or an infinity; train again")
        found[name] = tensor
    return {name: tensor.float() for name, tensor in found.items()}


def _threshold(tensors: Mapping[str, Tensor], key: str, source: Path) -> float:
    tensor = tensors[key]
    if tensor.numel() != 1 or float(tensor) <= 0:
        raise InputError(f"{source}: {key} of shape {tuple(tensor.shape)}: expected one positive threshold λ")
    return float(tensor)


def _filled(layer: Layer, shape: tuple[int, ...], tensors: Mapping[str, Tensor], source: Path) -> nn.Module:
    """The module of a layer with its tensors; InputError for shapes that do not fit."""
    own = {key: tensors[f"{layer.name}.{key}"] for key in _tensors_of(layer)}
    with torch.device("meta"):
        module = _module(layer, shape, own)
    for key, tensor in own.items():
        expected = cast(Tensor, module.state_dict()[key])
        if tensor.shape != expected.shape:
            raise InputError(
                f"{source}: {layer.name}.{key} is of shape {tuple(tensor.shape)}, the layout has "
                f"{tuple(expected.shape)}; give the --layout that it was trained with"
            )
    if isinstance(layer, Norm):
        if float(own["running_var"].min()) < 0:
            raise InputError(f"{source}: {layer.name}.running_var is negative; train again")
        own["num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    module.load_state_dict(own, assign=True)
    return module.eval()


def _tensors_of(layer: Layer) -> tuple[str, ...]:
    if isinstance(layer, Norm):
        return ("weight", "bias", "running_mean", "running_var")
    if isinstance(layer, Convolution):
        return ("weight", "bias") if layer.bias else ("weight",)
    return ("weight", "bias") if isinstance(layer, Dense) else ()


def _module(layer: Layer, shape: tuple[int, ...], own: Mapping[str, Tensor]) -> nn.Module:
    if isinstance(layer, Convolution):
        return nn.Conv2d(shape[0], layer.out, layer.kernel, layer.stride, layer.padding, bias=layer.bias)
    if isinstance(layer, Dense):
        return nn.Linear(shape[0], len(own["weight"]) if layer.out == CLASSES else int(layer.out))
    if isinstance(layer, Norm):
        return nn.BatchNorm2d(shape[0])
    if isinstance(layer, AveragePool):
        return nn.AvgPool2d(layer.kernel)
    if isinstance(layer, PaddedChannels):
        return ChannelPadding(shape[0], layer.out, layer.stride)
    whole: dict[str, Any] = {"GlobalAvgPool2d": nn.AvgPool2d(shape[-1]), "Flatten": nn.Flatten()}
    return cast(nn.Module, whole[layer.type])
