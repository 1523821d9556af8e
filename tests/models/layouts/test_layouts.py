"""Layouts name just the tensors that the repositories' own modules hold: tests/golden/layouts, written from these."""

import json
from pathlib import Path

import pytest
import torch

from spikecut.errors import InputError
from spikecut.models.layouts.network import LayoutNetwork, SpikingLayout
from spikecut.models.layouts.spec import layout, layout_names

FILE = Path("weights.pth")
GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "layouts" / "keys.json").read_text(encoding="utf-8"))


def state_dict(name):
    """Ones of the right names and shapes."""
    return {key: torch.ones(1).expand(shape) for key, shape in GOLDEN[name].items()}


def test_every_family_has_its_keys_from_the_repository():
    assert {name.split(" ")[0] for name in GOLDEN} <= set(layout_names())
    assert {name.split("-resnet")[0].split("-vgg")[0] for name in layout_names()} == {
        name.split("-resnet")[0].split("-vgg")[0].split(" ")[0] for name in GOLDEN
    }


@pytest.mark.parametrize("name", GOLDEN)
def test_each_tensor_of_a_repository_has_its_place_and_its_shape(name):
    state = state_dict(name)
    network = LayoutNetwork(layout(name.split(" ")[0]), state, FILE)
    assert network.classes == 10
    own = {key: tuple(value.shape) for key, value in network.state_dict().items() if "num_batches" not in key}
    of_lambda = {key for key in GOLDEN[name] if key.endswith(("thresh", "vthr"))}
    assert len(network.thresholds) == len(of_lambda)
    for key, shape in GOLDEN[name].items():  # every one is used: without it, or in another shape, it is refused
        if key in of_lambda or not key.endswith("0.weight"):
            continue
        with pytest.raises(InputError, match=r"weights.pth: .*\.weight is of shape .* the layout has"):
            LayoutNetwork(layout(name.split(" ")[0]), {**state, key: torch.ones(1).expand([*shape[:-1], 7])}, FILE)
        break
    assert set(own.values()) <= {tuple(shape) for shape in GOLDEN[name].values()}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("akamaster-resnet20", {"linear.bias": None}, "lacks 1 of its 97 tensors, linear.bias first"),
        ("akamaster-resnet20", {"extra": torch.ones(1)}, "holds 1 that are not its own, extra first"),
        ("qcfs-resnet20", {"conv1.2.thresh": -torch.ones(1)}, "expected one positive threshold"),
        ("qcfs-resnet20", {"fc.weight": torch.full((10, 64), float("nan"))}, "fc.weight is torch.float32, or holds"),
        ("tet-vggsnn", {"features.0.fwd.module.1.running_var": -torch.ones(64)}, "running_var is negative"),
    ],
)
def test_another_file_is_refused_by_the_first_name(name, change, message):
    state = {**state_dict(name), **change}
    with pytest.raises(InputError, match=message):
        LayoutNetwork(layout(name), {key: value for key, value in state.items() if value is not None}, FILE)


def test_names_of_data_parallel_of_older_files_and_of_one_tensor_twice():
    state = state_dict("akamaster-resnet20")
    LayoutNetwork(layout("akamaster-resnet20"), {f"module.{key}": value for key, value in state.items()}, FILE)
    older = {key.replace("act.thresh", "relu.up").replace("thresh", "up") for key in GOLDEN["qcfs-resnet20"]}
    shapes = dict(zip(sorted(older), [None] * len(older), strict=True))
    assert "conv2_x.0.relu.up" in shapes and "conv1.2.up" in shapes
    state = state_dict("qcfs-resnet20")
    renamed = {key.replace("act.thresh", "relu.up").replace("thresh", "up"): value for key, value in state.items()}
    assert len(LayoutNetwork(layout("qcfs-resnet20"), renamed, FILE).thresholds) == 19
    state = state_dict("tet-resnet19")
    with pytest.raises(InputError, match=r"conv1_s\.layer\.module\.weight holds other numbers than the same tensor"):
        LayoutNetwork(layout("tet-resnet19"), {**state, "conv1_s.layer.module.weight": torch.zeros(64, 3, 3, 3)}, FILE)


def test_an_unknown_layout_is_named():
    with pytest.raises(InputError, match="--layout 'resnet20': expected one of akamaster-resnet20"):
        layout("resnet20")


def test_the_shortcut_of_option_a_slices_and_pads():
    network = LayoutNetwork(layout("akamaster-resnet20"), state_dict("akamaster-resnet20"), FILE)
    maps = torch.randn(2, 16, 6, 6)
    expected = torch.nn.functional.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8))
    assert torch.equal(network.module("layer2.0.shortcut")(maps), expected)


def test_lif_neurons_are_those_of_tet():
    """mem ← mem/2 + x; a spike where mem > 1, which sets mem to 0: layers.py of temporal_efficient_training."""
    spiking = SpikingLayout(LayoutNetwork(layout("tet-vggsnn"), state_dict("tet-vggsnn"), FILE), {})
    currents = torch.randn(9, 2, 5, 3, 3) + 0.3
    membrane, expected = torch.zeros(2, 5, 3, 3), []
    for current in currents:
        membrane = membrane * 0.5 + current
        expected.append((membrane > 1).float())
        membrane = membrane * (1 - expected[-1])
    assert torch.equal(spiking.get_submodule("features.0.act")(currents), torch.stack(expected))
