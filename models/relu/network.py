"""Plain ReLU networks: their layers as a chain that can spike, thresholds balanced on samples, and the spiking witness.

    Diehl, Neil, Binas, Cook, Liu, Pfeiffer, "Fast-classifying, high-accuracy spiking deep networks through weight and
    threshold balancing", IJCNN 2015; Rueckauer, Lungu, Hu, Pfeiffer, Liu, "Conversion of continuous-valued deep
    networks to efficient event-driven networks for image classification", Frontiers in Neuroscience 11 (2017).

A ReLU becomes integrate-and-fire neurons with threshold λ, v(0) = λ/2, soft reset and spikes of value λ. Their rate
tends to clip(z, 0, λ); how fast, for every layer, is in docs/conversion.md. Maps have a λ for each channel (Kim, Park,
Na, Yoon, "Spiking-YOLO", AAAI 2020), vectors have one for all.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from spikecut.errors import InputError, UnsupportedError
from spikecut.models.relu.graph import NamedModule, named_modules, refusal

Shape = tuple[int, ...]
Role = Literal["weights", "norm", "relu", "pool", "flatten", "nothing"]

BATCH = 250
LEAST_PERCENTILE = 90.0
MAXIMUM_MAP = 2**26  # numbers in one layer's output
LARGEST_SPREAD = 4.0  # between the λ of two channels: it costs the weights at most two bits
SAME_SCORES = 1e-3  # of the largest score: float32 sums in another order differ by less

ROLES: dict[type[nn.Module], Role] = {
    nn.Conv2d: "weights",
    nn.Linear: "weights",
    nn.BatchNorm2d: "norm",
    nn.BatchNorm1d: "norm",
    nn.ReLU: "relu",
    nn.ReLU6: "relu",
    nn.AvgPool2d: "pool",
    nn.AdaptiveAvgPool2d: "pool",
    nn.Flatten: "flatten",
    nn.Dropout: "nothing",
    nn.Dropout2d: "nothing",
    nn.Identity: "nothing",
}


@dataclass(frozen=True)
class ReluLayer:
    """One module of the chain, and the shapes it takes and gives, (C, H, W) or (F,)."""

    name: str
    role: Role
    module: nn.Module
    input_shape: Shape
    output_shape: Shape


class Activating(Protocol):
    """A network of ReLU, of a chain or not."""

    def activations(self, images: Tensor, clip: Mapping[str, Tensor] | None = None) -> Iterator[tuple[str, Tensor]]:
        """What each ReLU sends, by name, [N, *shape], and at last the scores as ""; clip: see ReluNetwork."""


class ReluNetwork(nn.Module):
    """The layers of a trained network in a chain, float64, in eval mode: nothing is folded here.

    Raises
    ------
    UnsupportedError: a layer that no spiking chain equals, with its name and what to do instead.
    InputError: shapes that do not fit each other, or numbers that are not finite.
    """

    def __init__(self, modules: Sequence[NamedModule], input_shape: Shape) -> None:
        super().__init__()
        if len(input_shape) not in (1, 3) or min(input_shape) < 1 or math.prod(input_shape) > MAXIMUM_MAP:
            raise InputError(f"input shape {input_shape}: expected (features,) or (channels, height, width)")
        self.input_shape = tuple(input_shape)
        self.layers = tuple(_shaped(modules, self.input_shape))
        self.held = nn.ModuleList(layer.module for layer in self.layers)
        _check_order(self.layers)

    @classmethod
    def of(cls, module: nn.Module, input_shape: Shape) -> "ReluNetwork":
        """A copy of a module whose forward is a chain of layers: nn.Sequential, or whatever torch.fx reads as one.

        Raises UnsupportedError and InputError, see above and `relu_graph`.
        """
        if next(module.parameters(), None) is None:
            raise InputError("the module has no weights: nothing can be converted")
        return cls(named_modules(copy.deepcopy(module).cpu().eval()), input_shape)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return self.layers[-1].output_shape[0]

    def forward(self, images: Tensor) -> Tensor:
        """Samples [N, *input_shape] → scores [N, classes]."""
        for layer in self.layers:
            images = layer.module(images)
        return images

    def activations(self, images: Tensor, clip: Mapping[str, Tensor] | None = None) -> Iterator[tuple[str, Tensor]]:
        """What each ReLU sends, by name, [N, *shape], and at last the scores as "".

        clip: thresholds λ; where given, activations are cut at them, as those of the spiking network are for T → ∞.
        """
        for layer in self.layers:
            images = layer.module(images)
            if layer.role == "relu":
                if clip is not None:
                    images = images.clamp(max=clip[layer.name])
                yield layer.name, images
        yield "", images

    def scores(self, images: Tensor, clip: Mapping[str, Tensor] | None = None) -> Tensor:
        """Scores [N, classes] of samples [N, *input_shape] in batches; clip: see `activations`."""
        parts = []
        with torch.no_grad():
            for part in _batches(images):
                *_, (_, sent) = self.activations(part, clip)
                parts.append(sent)
        return torch.cat(parts)

    def check_same(self, module: nn.Module, images: Tensor) -> None:
        """InputError unless the module itself gives the chain's scores on these samples."""
        parameter = next(module.parameters())
        own = copy.deepcopy(module).eval()
        with torch.no_grad():
            said = own(images.to(parameter.device, parameter.dtype)).double().cpu()
        chain = self.scores(images)
        if said.shape != chain.shape or float((said - chain).abs().max()) > SAME_SCORES * float(chain.abs().max()):
            raise InputError("the module does not compute what its layers do (hooks?): give an nn.Sequential of them")


def balanced_thresholds(network: Activating, images: Tensor, percentile: float) -> dict[str, Tensor]:
    """λ of every ReLU, [C, 1, 1] or [1]: a share 1 - percentile/100 of its positive activations is larger.

    images: [N, *input_shape], the calibration samples. percentile: 90 to 100; 100 is the maximum (Diehl et al.),
    a little less is robust against outliers (Rueckauer et al.). No λ is below a quarter of its layer's largest,
    which is also that of a channel that is never active.

    Raises InputError for another percentile, or a ReLU that is never active.
    """
    if not LEAST_PERCENTILE <= percentile <= 100:
        raise InputError(f"percentile {percentile:g}: expected {LEAST_PERCENTILE:g} to 100")
    share = 1 - percentile / 100
    tails: dict[str, Tensor] = {}
    positive: dict[str, Tensor] = {}
    with torch.no_grad():
        for part in _batches(images):
            for name, sent in network.activations(part):
                if not name:
                    continue
                rows = sent.transpose(0, 1).flatten(1) if sent.ndim == 4 else sent.reshape(1, -1)
                positive[name] = positive.get(name, torch.zeros(1)) + (rows > 0).sum(1)
                kept = int(share * len(images) * rows.shape[1] / len(part)) + 1
                tail = torch.cat([tails.get(name, rows[:, :0]), rows], dim=1)
                tails[name] = tail.topk(min(kept, tail.shape[1]), dim=1).values
    return {name: _balanced(name, tails[name], positive[name], share) for name in tails}


def _batches(images: Tensor) -> Iterator[Tensor]:
    return (images[start : start + BATCH].double() for start in range(0, len(images), BATCH))


def _balanced(name: str, tails: Tensor, positive: Tensor, share: float) -> Tensor:
    """λ from the largest activations of each channel, [C, kept], and how many were positive, [C]."""
    rank = (share * positive).long().clamp(max=tails.shape[1] - 1)
    thresholds = tails.gather(1, rank[:, None])[:, 0]
    largest = float(thresholds.max())
    if largest <= 0:
        raise InputError(f"layer {name}: never active on the calibration samples: leave it out, or train again")
    bounded = torch.where(positive > 0, thresholds, largest).clamp(min=largest / LARGEST_SPREAD)
    return bounded if len(bounded) == 1 else bounded[:, None, None]


class SpikingWitness(nn.Module):
    """The chain's own modules over time, each ReLU integrate-and-fire neurons: the golden witness of a conversion.

    Frames [T, N, *input_shape] → what each step adds to the scores, [T, N, classes], float64. Nothing is folded.
    """

    def __init__(self, network: ReluNetwork, thresholds: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.network = network
        self.thresholds = dict(thresholds)

    def forward(self, frames: Tensor) -> Tensor:
        """See above."""
        return self.record(frames)[""]

    def record(self, frames: Tensor) -> dict[str, Tensor]:
        """What every ReLU's neurons send, λ or 0, name → [T, N, *shape]; the scores' increments under ""."""
        sent = frames.double()
        recorded = {}
        for layer in self.network.layers:
            if layer.role == "relu":
                sent = integrate_and_fire(sent, self.thresholds[layer.name])
                recorded[layer.name] = sent
            else:
                sent = cast(Tensor, layer.module(sent.flatten(0, 1))).reshape(*sent.shape[:2], *layer.output_shape)
        return recorded | {"": sent}


def integrate_and_fire(currents: Tensor, threshold: Tensor) -> Tensor:
    """v[t] = v[t-1] + x[t], v(0) = λ/2; λ is sent and subtracted where v[t] ≥ λ. Currents and result [T, N, *shape]."""
    membrane_potential = torch.zeros_like(currents[0]) + threshold / 2
    sent = torch.empty_like(currents)
    for step, current in enumerate(currents):
        membrane_potential = membrane_potential + current
        sent[step] = torch.where(membrane_potential >= threshold, threshold, 0.0)
        membrane_potential = membrane_potential - sent[step]
    return sent


def _shaped(modules: Sequence[NamedModule], shape: Shape) -> Iterator[ReluLayer]:
    """The layers with their shapes, which torch infers without computing anything."""
    for name, module in modules:
        if type(module) not in ROLES:
            raise refusal(name, type(module).__name__)
        module = module.double().eval().requires_grad_(False)
        _check_numbers(name, module)
        module = _checked(name, module, shape)
        try:
            with torch.no_grad():
                given = copy.deepcopy(module).to("meta")(torch.empty(1, *shape, device="meta", dtype=torch.float64))
        except (RuntimeError, ValueError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"layer {name}: does not fit what comes in, of shape {shape}: {reason}") from error
        output = tuple(given.shape[1:])
        if math.prod(output) > MAXIMUM_MAP or min(output) < 1:
            raise InputError(f"layer {name}: an output of shape {output}: expected 1 to {MAXIMUM_MAP} numbers")
        yield ReluLayer(name, ROLES[type(module)], module, shape, output)
        shape = output


def _check_numbers(name: str, module: nn.Module) -> None:
    for key, tensor in module.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"layer {name}: {key} holds a NaN or an infinity; train again")
        if key == "running_var" and float(tensor.min()) < 0:
            raise InputError(f"layer {name}: a negative variance; train again")


def _checked(name: str, module: nn.Module, shape: Shape) -> nn.Module:
    """The module, or an equal one that is simpler; UnsupportedError for a setting that no spiking chain equals."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise UnsupportedError(f"layer {name}: it has hooks, whose effect cannot be read; remove them")
    if isinstance(module, nn.AdaptiveAvgPool2d):
        module = _fixed_pool(name, module, shape)
    if isinstance(module, nn.AvgPool2d):
        kernel, stride = _pair(module.kernel_size), _pair(module.stride)
        if kernel != stride or _pair(module.padding) != (0, 0) or module.ceil_mode:
            raise UnsupportedError(
                f"layer {name}: a pooling that overlaps, leaves gaps, pads or has ceil_mode; "
                "use AvgPool2d with a stride equal to its kernel and no padding"
            )
        if len(shape) != 3:
            raise UnsupportedError(f"layer {name}: pools {shape}, which is no map of channels")
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        raise UnsupportedError(f"layer {name}: padding {module.padding_mode!r}; the chip has zero padding only")
    if isinstance(module, nn.Linear) and len(shape) != 1:
        raise UnsupportedError(f"layer {name}: a Linear on a map {shape} works row by row; put nn.Flatten() before it")
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is None:
        raise UnsupportedError(f"layer {name}: a batch norm without running statistics cannot be folded")
    if isinstance(module, nn.Flatten):
        rank = len(shape)
        if module.start_dim not in (1, -rank) or module.end_dim not in (-1, rank):
            raise UnsupportedError(f"layer {name}: flattens some dimensions only; use nn.Flatten()")
    return module


def _fixed_pool(name: str, module: nn.AdaptiveAvgPool2d, shape: Shape) -> nn.Module:
    wanted = [module.output_size] * 2 if isinstance(module.output_size, int) else list(module.output_size or ())
    if len(shape) != 3 or len(wanted) != 2:
        raise UnsupportedError(f"layer {name}: adaptive pooling of {shape} to {wanted}; pool a map of channels")
    sides = [n if out is None else out for n, out in zip(shape[1:], wanted, strict=True)]
    if min(sides) < 1 or any(n % out for n, out in zip(shape[1:], sides, strict=True)):
        raise UnsupportedError(
            f"layer {name}: adaptive pooling from {shape[1:]} to {tuple(sides)} does not divide; use a global one "
            "(output 1), or AvgPool2d"
        )
    return nn.AvgPool2d((shape[1] // sides[0], shape[2] // sides[1]))


def _check_order(layers: Sequence[ReluLayer]) -> None:
    names: set[str] = set()
    weights: str | None = None
    relu: str | None = None
    for layer in layers:
        if layer.name in names:
            raise UnsupportedError(f"layer {layer.name}: used twice; give each use a layer of its own")
        names.add(layer.name)
        if layer.role == "weights":
            if weights is not None:
                raise UnsupportedError(
                    f"layer {layer.name}: no ReLU between it and the weights of {weights}; put one there, or multiply "
                    "the two into one layer"
                )
            weights = layer.name
        elif layer.role == "relu":
            if weights is None:
                after = f"behind {relu}" if relu is not None else "in front of all weights"
                raise UnsupportedError(
                    f"layer {layer.name}: a ReLU {after}, without weights between; leave it out, or add weights"
                )
            weights, relu = None, layer.name
    if weights is None:
        raise UnsupportedError(
            f"layer {layers[-1].name if layers else 'none'}: the network must end in weights (Linear or Conv2d), whose "
            "sums are the scores; leave out what stands behind them"
        )
    if len(layers[-1].output_shape) != 1:
        raise UnsupportedError(
            f"layer {layers[-1].name}: the output is a map {layers[-1].output_shape}; end in Linear, or in global "
            "average pooling and Flatten"
        )
    if relu is None:
        raise UnsupportedError("the network has no ReLU: there is nothing that could spike")


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
