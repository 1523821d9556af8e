"""Thresholds and biases of a converted network for a horizon of T timesteps, from calibration samples without labels.

Li, Deng, Dong, Gong, Gu, "A free lunch from ANN: towards efficient, accurate spiking neural networks calibration",
ICML 2021: thresholds that minimise the squared error of the rates, and bias correction.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from spikecut.models.relu.network import Activating, ReluLayer, ReluNetwork, integrate_and_fire

SHARES = tuple(step / 20 for step in range(20, 4, -1))
"""What λ may be lowered to, in parts of that of the percentile."""
ROUNDS = 3
BATCH = 32
LARGEST = 2**25
"""Spikes of one layer, samples and timesteps together, that are held at once."""
FEWEST, MOST = 64, 512
"""Samples that are run."""


def lowered(network: Activating, thresholds: Mapping[str, Tensor], images: Tensor, timesteps: int) -> dict[str, Tensor]:
    """The λ of each channel, at most that given, whose T + 1 levels lie nearest to the activations in the mean square.

    The level of an activation a is what spikes of value λ, half a λ in v(0), give of a constant current: λ/T times
    a T/λ rounded, within 0 and T. images: [N, *input_shape], of which the first are taken.
    """
    errors = {name: torch.zeros(len(SHARES), threshold.numel()) for name, threshold in thresholds.items()}
    with torch.no_grad():
        for part in torch.split(images[:MOST], BATCH):
            for name, sent in network.activations(part.double()):
                if not name:
                    continue
                rows = sent.transpose(0, 1).flatten(1) if thresholds[name].numel() > 1 else sent.reshape(1, -1)
                for number, share in enumerate(SHARES):
                    unit = share * thresholds[name].reshape(-1, 1) / timesteps
                    levels = unit * (rows / unit + 0.5).floor().clamp(0, timesteps)
                    errors[name][number] += (levels - rows).square().sum(1)
    shares = torch.tensor(SHARES, dtype=torch.float64)
    return {
        name: threshold * shares[errors[name].argmin(0)].reshape(threshold.shape)
        for name, threshold in thresholds.items()
    }


def corrected(network: ReluNetwork, thresholds: Mapping[str, Tensor], images: Tensor, timesteps: int) -> ReluNetwork:
    """A copy of the network with biases for which its spikes send, on average, what the activations of `network` are.

    A converted layer answers a constant current as its levels say, but below the first layer currents are not constant:
    a spike too many is never taken back, and activations beyond λ are cut. What that adds to a channel's mean, over
    samples, places and timesteps, is taken from its bias, layer after layer; at last from the scores'. A bias shifts
    the mean of spikes by less than itself, so each layer is corrected three times; as equal currents step to another
    number of spikes together, each channel keeps what came nearest.
    """
    largest = max(torch.Size(layer.output_shape).numel() for layer in network.layers)
    chosen = images[: max(FEWEST, min(MOST, LARGEST // (timesteps * largest)))].float()
    result, quick = copy.deepcopy(network), copy.deepcopy(network).float()  # float32 is enough to measure means
    wanted = _activations(quick, chosen)
    sent = [part.expand(timesteps, *part.shape) for part in torch.split(chosen, BATCH)]
    with torch.no_grad():
        for layers, originals in zip(_between(quick.layers), _between(result.layers), strict=True):
            (holder, factor), (original, _) = _holder(layers), _holder(originals)
            name = layers[-1].name if layers[-1].role == "relu" else ""
            threshold = thresholds[name].float() if name else None
            shift = best = torch.zeros_like(wanted[name])
            least = torch.full_like(best, torch.inf)
            for _ in range(ROUNDS + 1 if name else 2):
                means = [len(part[0]) * channel_means(_spikes(layers, part, threshold).flatten(0, 1)) for part in sent]
                error = wanted[name] - sum(means, torch.zeros(1)) / len(chosen)
                best, least = torch.where(error.abs() < least, shift, best), torch.minimum(error.abs(), least)
                _add_bias(holder, error / factor)
                shift = shift + error / factor
            _add_bias(holder, best - shift)
            _add_bias(original, best)
            sent = [_spikes(layers, part, threshold) for part in sent]
    return result


def _add_bias(holder: nn.Module, shift: Tensor) -> None:
    """Add to a bias, in its module's own dtype; where there is none, it begins at 0."""
    dtype = next(iter(holder.state_dict().values())).dtype
    bias = torch.zeros_like(shift) if holder.bias is None else cast(Tensor, holder.bias)
    holder.bias = nn.Parameter((bias + shift).to(dtype), requires_grad=False)


def _activations(network: ReluNetwork, images: Tensor) -> dict[str, Tensor]:
    """Mean activation of each channel of each ReLU, and mean scores under "", [C]."""
    sums: dict[str, Tensor] = {}
    with torch.no_grad():
        for part in torch.split(images, BATCH):
            for name, sent in network.activations(part):
                sums[name] = sums.get(name, torch.zeros(1)) + len(part) * channel_means(sent)
    return {name: total / len(images) for name, total in sums.items()}


def channel_means(values: Tensor) -> Tensor:
    """Mean over samples and places of [N, C, ...], [C] in float64."""
    return values.flatten(2).double().mean((0, 2)) if values.ndim > 2 else values.double().mean(0)


def _between(layers: Sequence[ReluLayer]) -> list[list[ReluLayer]]:
    """The layers up to each ReLU, and those behind the last one."""
    parts: list[list[ReluLayer]] = [[]]
    for layer in layers:
        parts[-1].append(layer)
        if layer.role == "relu":
            parts.append([])
    return parts


def _holder(layers: Sequence[ReluLayer]) -> tuple[nn.Module, float]:
    """The module whose bias is the last one before the ReLU, and what pooling behind it multiplies a bias with."""
    last = max(number for number, layer in enumerate(layers) if layer.role == "weights")
    factor = 1.0
    holder = layers[last].module
    for layer in layers[last + 1 :]:
        if layer.role == "norm":
            holder, factor = layer.module, 1.0
        elif layer.role == "pool":
            pool = cast(nn.AvgPool2d, layer.module)
            kernel = pool.kernel_size if isinstance(pool.kernel_size, tuple) else (pool.kernel_size, pool.kernel_size)
            taps = kernel[0] * kernel[1]
            factor *= taps / (pool.divisor_override or taps)
    return holder, factor


def _spikes(layers: Sequence[ReluLayer], sent: Tensor, threshold: Tensor | None) -> Tensor:
    """What these layers send of [T, N, *shape]: λ or 0; without λ their mean sums, [1, N, *shape]."""
    values = sent
    if threshold is None:
        values = values.mean(0, keepdim=True)
    steps = len(values)
    values = values.flatten(0, 1)
    for layer in layers:
        if layer.role != "relu":
            values = layer.module(values)
    values = values.reshape(steps, -1, *values.shape[1:])
    return values if threshold is None else integrate_and_fire(values, threshold)
