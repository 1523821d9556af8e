"""Thresholds and shifts of a layout of ReLU, converted for a horizon of T timesteps; see models.relu.calibration."""

from collections.abc import Mapping

import torch
from torch import Tensor

from spikecut.models.layouts.network import Balance, LayoutNetwork
from spikecut.models.relu.calibration import BATCH, FEWEST, LARGEST, MOST, ROUNDS, channel_means, lowered
from spikecut.models.relu.network import balanced_thresholds, integrate_and_fire


def balanced(network: LayoutNetwork, images: Tensor, percentile: float, timesteps: int) -> dict[str, Balance]:
    """λ and shift of each layer of ReLU, and the shift of the scores under "".

    images: [N, *input_shape]. InputError for a ReLU that is never active, or another percentile.
    """
    chosen = images[:MOST]
    thresholds = balanced_thresholds(network, chosen, percentile)
    thresholds = lowered(network, thresholds, chosen, timesteps)
    return corrected(network, thresholds, images, timesteps)


def corrected(
    network: LayoutNetwork, thresholds: Mapping[str, Tensor], images: Tensor, timesteps: int
) -> dict[str, Balance]:
    """Shifts for which each channel's spikes send, on average, what its activations are; see relu.calibration."""
    largest = max(torch.Size(shape).numel() for shape in network.shapes.values())
    chosen = images[: max(FEWEST, min(MOST, LARGEST // (timesteps * largest)))].float()
    parts = torch.split(chosen, BATCH)
    wanted = _means_of(network, parts)
    found: dict[str, Balance] = {}

    def fire(name: str, currents: Tensor) -> Tensor:
        level = thresholds[name].float()
        currents = currents.reshape(timesteps, -1, *currents.shape[1:])
        shift = best = torch.zeros_like(wanted[name])
        least = torch.full_like(best, torch.inf)
        for _ in range(ROUNDS + 1):
            sent = integrate_and_fire(currents + _beside(shift, currents), level)
            error = wanted[name] - channel_means(sent.flatten(0, 1))
            best, least = torch.where(error.abs() < least, shift, best), torch.minimum(error.abs(), least)
            shift = shift + error
        found[name] = Balance(thresholds[name].float(), _beside(best, currents))
        return integrate_and_fire(currents + _beside(best, currents), level).flatten(0, 1)

    with torch.no_grad():
        scores = chosen
        repeated = chosen.expand(timesteps, *chosen.shape).flatten(0, 1)
        for _, sent in network.walk(repeated, fire):
            scores = sent
        found[""] = Balance(None, (wanted[""] - channel_means(scores)).float())
    return found


def _beside(shift: Tensor, currents: Tensor) -> Tensor:
    """[C] as it broadcasts to currents [T, N, C, *]."""
    return shift.reshape(-1, *[1] * (currents.ndim - 3)).to(currents.dtype)


def _means_of(network: LayoutNetwork, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Mean activation of each channel of each ReLU, and mean scores under "", [C] in float64."""
    sums: dict[str, Tensor] = {}
    with torch.no_grad():
        for part in parts:
            for name, sent in network.activations(part):
                sums[name] = sums.get(name, torch.zeros(1)) + len(part) * channel_means(sent)
    return {name: total / sum(map(len, parts)) for name, total in sums.items()}
