"""Networks of published repositories: their layers by name, their tensors from a file → the network that spikes.

The layers are a torch module of spikecut's own, and go through export.torch_module like anyone's: the module's spikes
are compared with those of what was read of it before anything is quantised.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spikecut.errors import InputError
from spikecut.export.importers.base import ImportedNetwork, PartReport, Recipe
from spikecut.export.importers.samples import matching_data, sample_frames
from spikecut.export.quantise.measure import integrate_fire_ranges
from spikecut.export.torch_module.importer import Sampled, import_module
from spikecut.models.data import Dataset
from spikecut.models.layouts.balance import balanced
from spikecut.models.layouts.network import Balance, LayoutNetwork, SpikingLayout
from spikecut.models.layouts.spec import Layout, layout
from spikecut.models.torch_files import read_tensors

SAMPLES = 64
"""Calibration samples of which accuracies of the ReLU network are taken, at least."""


@dataclass(frozen=True)
class LayoutOptions:
    """How a network is read.

    Attributes
    ----------
    dataset: its name. timesteps: T. percentile: of thresholds of ReLU. encoding: of the input; None: direct.
    """

    dataset: str
    timesteps: int
    percentile: float
    encoding: str | None = None


def read_layout(weights: Path, name: str) -> LayoutNetwork:
    """The layers of a layout with a file's tensors; see LayoutNetwork and read_tensors for what is raised."""
    return LayoutNetwork(layout(name), read_tensors(weights), weights)


def import_layout(
    network: LayoutNetwork, data: Dataset, how: LayoutOptions, details: Mapping[str, Any]
) -> ImportedNetwork:
    """The spiking network, compared with the layers themselves on the first golden samples.

    ReLU: balanced on the calibration samples. details: about the file.

    Raises DataError for samples that do not fit, and what import_module raises.
    """
    kind = network.layout.neurons.kind
    matching_data(data, how.dataset, network.layout.input_shape, network.classes)
    if kind != "lif" and data.frames is not None:
        raise InputError(f"{how.dataset} holds events: {network.layout.name} takes stills; choose images")
    images = torch.from_numpy(np.array(data.calibration.x[:512])) if kind == "relu" else torch.empty(0)
    balance = balanced(network, images, how.percentile, how.timesteps) if kind == "relu" else {}
    frames = sample_frames(data, how.dataset, how.encoding, how.timesteps)
    read = import_module(SpikingLayout(network, balance), Sampled.of(frames, frames))
    integrates = kind != "lif"
    conversion = _accuracies(network, balance, data, how.percentile) if kind == "relu" else {}
    recipe = Recipe(
        "layout",
        "direct",
        {**details, **_about(network.layout), **conversion, "parts": (read.recipe.details if read.recipe else {})},
        approximate=True,
        wide=integrates,
        measure=integrate_fire_ranges if integrates and how.encoding in (None, "direct") else None,
        encoding_known=kind == "relu",
    )
    assumed = (f"layers and names of {network.layout.source}", f"samples: {network.layout.samples}", *read.assumed)
    report = tuple(_told(part, network, balance) for part in read.report)
    return replace(read, report=report, recipe=recipe, assumed=assumed, conversion=conversion)


def _about(layout: Layout) -> dict[str, Any]:
    return {"layout": layout.name, "source": layout.source}


def _told(part: PartReport, network: LayoutNetwork, balance: Mapping[str, Balance]) -> PartReport:
    """A line on a layer, with its thresholds."""
    name = part.name.removeprefix("network.")
    found = balance.get(name)
    level = found.threshold if found is not None else None
    if level is None and name in network.thresholds:
        level = torch.tensor([network.thresholds[name]])
    return replace(part, name=name, thresholds=() if level is None else tuple(level.flatten().tolist()))


def _accuracies(
    network: LayoutNetwork, balance: Mapping[str, Balance], data: Dataset, percentile: float
) -> dict[str, float]:
    """Shares of right predictions on the calibration split, of the ReLU network and with activations cut at λ."""
    clip = {name: each.threshold for name, each in balance.items() if each.threshold is not None}
    images, labels = torch.from_numpy(np.array(data.calibration.x)), data.calibration.y

    def right(clip: Mapping[str, torch.Tensor] | None) -> float:
        return float(np.mean(network.scores(images, clip).argmax(1).numpy() == labels))

    return {"percentile": percentile, "relu_accuracy": right(None), "clipped_accuracy": right(clip)}
