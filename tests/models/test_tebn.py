import pytest
import torch
from torch import nn

from spikecut.errors import InputError, UnsupportedError
from spikecut.export.graph import InputSpec
from spikecut.export.trace import trace
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm
from spikecut.models.zoo import build


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("kind", "shape"), [("2d", (4, 6, 3, 5, 2)), ("1d", (4, 6, 3))])
def test_with_scales_of_one_it_is_torchs_batch_norm_over_time_and_batch(training, kind, shape):
    torch.manual_seed(1)
    layer = TemporalEffectiveBatchNorm(3, 4, kind).double()
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 2)
        layer.norm.bias.normal_()
    plain = nn.BatchNorm2d(3).double() if kind == "2d" else nn.BatchNorm1d(3).double()
    plain.load_state_dict(layer.norm.state_dict())
    currents = torch.randn(shape, dtype=torch.float64)
    for module in (layer, plain):
        module.train(training)
    assert torch.equal(layer(currents).flatten(0, 1), plain(currents.flatten(0, 1)))
    assert torch.equal(layer.norm.running_var, plain.running_var)


def test_each_timestep_has_a_scale_of_its_own_that_learns():
    layer = TemporalEffectiveBatchNorm(2, 3, "1d")
    currents = torch.randn(3, 8, 2)
    before = layer(currents).detach()
    with torch.no_grad():
        layer.scale.copy_(torch.tensor([2.0, 0.5, -1.0]))
    after = layer(currents)
    assert torch.allclose(after, before * torch.tensor([2.0, 0.5, -1.0])[:, None, None])
    after.sum().backward()
    assert torch.allclose(layer.scale.grad, before.sum((1, 2)))


def test_another_number_of_timesteps_is_refused():
    with pytest.raises(InputError, match="2 timesteps: this TEBN layer was made for 3"):
        TemporalEffectiveBatchNorm(2, 3, "1d")(torch.zeros(2, 4, 2))
    with pytest.raises(InputError, match="at least 1"):
        TemporalEffectiveBatchNorm(2, 0)


def test_export_is_refused_with_the_layer_and_the_reason():
    network = build("digits-lif", norm="tebn", timesteps=4, readout="membrane").eval()
    with pytest.raises(UnsupportedError, match=r"layer conv1: TEBN scales each timestep.*no Process has a gain"):
        trace(network, InputSpec((1, 8, 8), "direct", bits=5), 4)
    residual = build("resnet18-lif", input_shape=(3, 8, 8)).eval()
    with pytest.raises(UnsupportedError, match=r"layer block1\.1: a residual connection"):
        trace(residual, InputSpec((3, 8, 8), "direct", bits=5), 4)
