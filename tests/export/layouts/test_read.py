"""Networks of published repositories become the networks that they are: narrow ones, of random weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spikecut.errors import DataError, InputError
from spikecut.export.layouts.read import LayoutOptions, import_layout
from spikecut.models.data import load_dataset
from spikecut.models.layouts.network import LayoutNetwork
from spikecut.models.layouts.spec import Convolution, Dense, Neurons, Norm, PaddedChannels, layout

TIMESTEPS = 3
SIDES = {"vgg": 32, "resnet": 16}
"""Of maps: five poolings halve those of VGG."""


def narrow(name):
    """The layout with a sixteenth of its channels, and random tensors for it."""
    found, generator = layout(name), torch.Generator().manual_seed(1)
    side = SIDES["vgg" if "vgg" in name else "resnet"]
    found = replace(found, input_shape=(found.input_shape[0], side, side))
    steps, tensors, channels = [], {}, {"": found.input_shape[0]}
    side = {"": found.input_shape[1]}
    for step in found.steps:
        layer, taken, here = step.layer, channels[step.sources[0]], side[step.sources[0]]

        def tensor(key, *shape, low=-1.0, high=1.0, at=step.name):
            tensors[f"{at}.{key}"] = low + (high - low) * torch.rand(shape, generator=generator)

        if isinstance(layer, Convolution | PaddedChannels | Dense) and layer.__dict__["out"] != "classes":
            layer = layer.model_copy(update={"out": max(4, layer.out // 16)})
        if isinstance(layer, Convolution):
            bound = (3 / (taken * layer.kernel**2)) ** 0.5
            tensor("weight", layer.out, taken, layer.kernel, layer.kernel, low=-bound, high=bound)
            if layer.bias:
                tensor("bias", layer.out)
        elif isinstance(layer, Dense):
            taken = taken * here**2
            layer = layer.model_copy(update={"out": 10 if layer.out == "classes" else layer.out})
            bound = (3 / taken) ** 0.5
            tensor("weight", layer.out, taken, low=-bound, high=bound)
            tensor("bias", layer.out)
        elif isinstance(layer, Norm):
            for key, low in (("weight", 0.5), ("bias", 0.1), ("running_mean", -0.2), ("running_var", 0.5)):
                tensor(key, taken, low=low, high=low + 0.5)
        elif isinstance(layer, Neurons) and found.neurons.kind == "qcfs":
            tensor(found.neurons.threshold, 1, low=1.0, high=2.0)
        kind = getattr(layer, "type", "")
        here = {"AvgPool2d": here // 2, "GlobalAvgPool2d": 1, "Linear": 1}.get(kind, here)
        if getattr(layer, "stride", 1) == 2:
            here = (here + 1) // 2
        channels[step.name], side[step.name] = getattr(layer, "out", channels[step.sources[0]]), here
        steps.append(replace(step, layer=layer))
    return LayoutNetwork(replace(found, steps=tuple(steps)), tensors, Path("weights.pth"))


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Stills of each shape, few: the network is compared on all of them."""
    folder, generator, found = tmp_path_factory.mktemp("data"), np.random.default_rng(0), {}
    for family, side in SIDES.items():
        x, y = generator.normal(size=(12, 3, side, side)).astype(np.float32), np.arange(12) % 10
        parts = {
            f"{what}_{part}": each for part in ("train", "calibration", "test") for what, each in (("x", x), ("y", y))
        }
        np.savez(folder / f"{family}.npz", **parts)
        found[family] = str(folder / f"{family}.npz")
    return found


@pytest.mark.parametrize(
    "name",
    ["akamaster-resnet20", "qcfs-resnet20", "qcfs-vgg16", "tet-resnet19", "snncutoff-tet-vgg16"],
)
def test_the_network_is_compared_with_its_layers_spike_by_spike(name, datasets):
    network, dataset = narrow(name), datasets["vgg" if "vgg" in name else "resnet"]
    data = load_dataset(dataset, frames=TIMESTEPS)
    imported = import_layout(network, data, LayoutOptions(dataset, TIMESTEPS, 99.0), {})
    assert imported.refusal is None and imported.input_shape == network.layout.input_shape
    neurons = [step.name for step in network.layout.steps if isinstance(step.layer, Neurons)]
    assert [stage.name for stage in imported.network.layers()][:-1] == neurons
    assert [len(part.thresholds) > 0 for part in imported.report if part.name in neurons] == [
        network.layout.neurons.kind != "lif"
    ] * len(neurons)
    compared = imported.recipe.details["parts"]["compared"]
    assert compared["timesteps"] == TIMESTEPS and compared["spikes"] > 0
    assert any("compared" in line or "decisions" in line for line in imported.assumed)
    assert ("relu_accuracy" in imported.conversion) == name.startswith("akamaster")


def test_another_percentile_and_samples_of_another_shape_are_refused(datasets):
    dataset = datasets["resnet"]
    data = load_dataset(dataset)
    with pytest.raises(InputError, match="percentile 5: expected 90 to 100"):
        import_layout(narrow("akamaster-resnet20"), data, LayoutOptions(dataset, TIMESTEPS, 5.0), {})
    with pytest.raises(DataError, match=r"samples of shape \(3, 16, 16\), but the network takes \(3, 32, 32\)"):
        import_layout(narrow("qcfs-vgg16"), data, LayoutOptions(dataset, TIMESTEPS, 99.0), {})
