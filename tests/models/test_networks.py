import pytest
import torch
from torch import nn

from spikecut.errors import InputError
from spikecut.models.network import SpikingNetwork, Stage
from spikecut.models.neurons.leaky import LeakyIntegrateFire
from spikecut.models.zoo import ARCHITECTURES, build


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 7, 5), (6,)])
def test_every_architecture_takes_its_shapes(arch, shape):
    if arch.startswith("digits") and len(shape) == 1:
        with pytest.raises(InputError, match="use an mlp"):
            build(arch, input_shape=shape)
        return
    network = build(arch, input_shape=shape, classes=4).eval()
    scores = network(torch.ones(3, 2, *shape))
    assert scores.shape == (3, 2, 4) and network.readout == ("count" if arch.endswith("lif") else "membrane")


def test_digits_fit_one_core_per_layer():
    for arch in ("digits-lif", "digits-qcfs"):
        sent = torch.zeros(1, 1, 1, 8, 8)
        for stage in build(arch).eval().chain():
            sent = stage(sent)
            assert sent[0, 0].numel() <= 1024


def test_timesteps_are_not_mixed_by_the_synapse():
    network = build("digits-qcfs").eval()
    frames = torch.rand(4, 3, 1, 8, 8)
    changed = frames.clone()
    changed[2] = 0
    difference = (network(frames) != network(changed)).flatten(1).any(1)
    assert difference.tolist() == [False, False, True, False]


def test_a_linear_stage_flattens_in_the_order_of_torch():
    stage = Stage("output", nn.Linear(12, 1, bias=False), nn.Identity(), nn.Identity())
    with torch.no_grad():
        stage.synapse.weight.copy_(torch.arange(12.0))
    frames = torch.zeros(1, 1, 3, 2, 2)
    frames[0, 0, 2, 0, 1] = 1
    assert stage(frames).item() == 9


@pytest.mark.parametrize(
    "make",
    [
        lambda: build("resnet"),
        lambda: build("digits-lif", classes=1),
        lambda: build("digits-lif", converted=True),
        lambda: build("mlp-lif", input_shape=(2, 2)),
        lambda: build("digits-lif")(torch.zeros(2, 1, 8, 8)),
        lambda: build("digits-lif")(torch.zeros(2, 3, 1, 8, 9)),
        lambda: SpikingNetwork([], "count", (3,)),
        lambda: SpikingNetwork([Stage("a", nn.Linear(3, 2), nn.Identity(), LeakyIntegrateFire())], "rate", (3,)),
        lambda: SpikingNetwork([Stage("a", nn.Linear(2, 2), nn.Identity(), LeakyIntegrateFire())] * 2, "count", (2,)),
    ],
)
def test_what_does_not_fit_is_refused(make):
    with pytest.raises(InputError):
        make()
