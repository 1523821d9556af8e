import numpy as np
import pytest
import torch
from torch import nn

from spikecut.errors import ExportError, InputError, UnsupportedError
from spikecut.export.importers.torch_network import trace
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.quantise.fold import fold
from spikecut.models.architectures import build
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm
from spikecut.models.network import ResidualStage
from spikecut.models.twin import StagePlan, quantised_twin


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


def test_the_scales_become_gains_and_the_largest_goes_into_the_weights():
    network = build("digits-lif", norm="tebn", timesteps=4, readout="membrane").eval()
    spec = InputSpec((1, 8, 8), "direct", bits=5)
    with pytest.raises(ExportError, match="layer conv1: a gain for each of 4 timesteps, but T = 5"):
        trace(network, spec, 5)
    plain = fold(trace(network, spec, 4))
    assert [layer.neuron.gain for layer in plain.layers] == [None] * 3  # scales of 1 throughout are none
    first = next(network.chain())
    with torch.no_grad():
        first.norm.scale.copy_(torch.tensor([0.5, -2.0, 0.0, 1.0]))
    folded = fold(trace(network, spec, 4)).layers[0]
    assert folded.neuron.gain == (0.25, -1.0, 0.0, 0.5)
    np.testing.assert_array_equal(folded.weight, 2 * plain.layers[0].weight)
    np.testing.assert_array_equal(folded.bias, 2 * plain.layers[0].bias)
    with torch.no_grad():
        first.norm.scale.zero_()
    with pytest.raises(UnsupportedError, match=r"layer conv1: its scales per timestep .* 0 throughout"):
        fold(trace(network, spec, 4))


def test_the_scales_of_a_block_multiply_both_of_its_paths():
    torch.manual_seed(1)
    scale = torch.tensor([0.5, -2.0, 0.0, 1.0])
    residual = build("residual-lif", norm="tebn", timesteps=4, readout="membrane").eval()
    block = next(stage for stage in residual.chain() if isinstance(stage, ResidualStage) and stage.shortcut is not None)
    inputs, middle = torch.rand(4, 2, 16, 8, 8), torch.rand(4, 2, 32, 4, 4)
    block.neuron = nn.Identity()
    plain = block.join(inputs, middle)
    with torch.no_grad():
        block.norm.scale.copy_(scale)
    assert torch.equal(block.join(inputs, middle), plain * scale.view(4, 1, 1, 1, 1))


def test_a_shortcut_with_scales_of_its_own_is_refused():
    residual = build("residual-lif", norm="tebn", timesteps=4, readout="membrane").eval()
    block = next(stage for stage in residual.chain() if isinstance(stage, ResidualStage) and stage.shortcut is not None)
    block.shortcut.norm = TemporalEffectiveBatchNorm(32, 4)
    with pytest.raises(UnsupportedError, match=r"layer block2\.1: TEBN scales each timestep of its shortcut alone"):
        trace(residual, InputSpec((1, 8, 8), "direct", bits=5), 4)
    plans = [StagePlan(1.0, 0, 1.0)] * len(list(residual.layers()))
    with pytest.raises(UnsupportedError, match=r"block2\.1\.shortcut: a shortcut with scales per timestep of its own"):
        quantised_twin(residual, plans)
