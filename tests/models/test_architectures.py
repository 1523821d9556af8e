import pytest
import torch
from torch import nn

from spikecut.errors import InputError
from spikecut.models.architectures import build
from spikecut.models.bodies import ARCHITECTURES
from spikecut.models.conversion import fold_pooling, qcfs_to_spiking
from spikecut.models.layers.qcfs import QCFS
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm
from spikecut.models.network import ResidualStage, SpikingNetwork, Stage
from spikecut.models.neurons.integrate_fire import MembraneReadout
from spikecut.models.neurons.leaky import LeakyIntegrateFire


@pytest.mark.parametrize("arch", ["digits-lif", "digits-qcfs", "mlp-lif", "mlp-qcfs"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 7, 5), (6,)])
def test_every_architecture_takes_its_shapes(arch, shape):
    if arch.startswith("digits") and len(shape) == 1:
        with pytest.raises(InputError, match="use an mlp"):
            build(arch, input_shape=shape)
        return
    network = build(arch, input_shape=shape, classes=4).eval()
    scores = network(torch.ones(3, 2, *shape))
    assert scores.shape == (3, 2, 4) and network.readout == ("count" if arch.endswith("lif") else "membrane")


SHAPES = {"small": (1, 28, 28), "conv": (1, 28, 28), "vgg": (3, 32, 32), "vggsnn": (2, 32, 32), "resnet18": (3, 16, 16)}
SHAPES |= {
    "strided": (1, 28, 28),
    "vgg6": (3, 32, 32),
    "digits": (1, 8, 8),
    "residual": (1, 8, 8),
    "mlp": (6,),
    "resnet20": (1, 8, 8),
}


@pytest.mark.parametrize(
    "arch", [pytest.param(arch, marks=pytest.mark.lava) if arch.endswith("-cuba") else arch for arch in ARCHITECTURES]
)
def test_every_architecture_passes_gradients_to_all_its_parameters(arch):
    torch.manual_seed(1)
    body, neuron = arch.split("-")
    style = {} if neuron == "cuba" else {"norm": "batch", "readout": "membrane"}
    network = build(arch, input_shape=SHAPES[body], classes=3, **style)
    scores = network(torch.rand(1 if neuron == "qcfs" else 2, 2, *SHAPES[body]))
    assert scores.shape[1:] == (2, 3)
    scores.square().sum().backward()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert trained and all(parameter.grad is not None for parameter in trained)


def test_the_small_network_stays_small():
    for arch in ("small-lif", "small-qcfs"):
        network = build(arch, input_shape=(1, 28, 28), norm="batch")
        assert 10_000 < sum(parameter.numel() for parameter in network.parameters()) <= 50_000


def test_tebn_stands_where_batch_norm_stood():
    network = build("digits-lif", norm="tebn", timesteps=4, readout="membrane")
    norms = [type(stage.norm) for stage in network.chain()]
    assert norms == [TemporalEffectiveBatchNorm, TemporalEffectiveBatchNorm, nn.Identity]
    assert isinstance(list(network.chain())[-1].neuron, MembraneReadout) and network.readout == "membrane"
    frames = torch.rand(4, 3, 1, 8, 8)
    plain = build("digits-lif", norm="batch", readout="membrane")
    state = {name.replace("norm.norm", "norm"): value for name, value in network.state_dict().items()}
    plain.load_state_dict({name: value for name, value in state.items() if "scale" not in name})
    assert torch.equal(network(frames), plain(frames))


def test_responses_are_those_of_the_hidden_layers():
    responses = []
    frames = torch.rand(2, 3, 3, 16, 16)
    network = build("resnet18-lif", input_shape=(3, 16, 16))
    assert torch.equal(network.eval()(frames, responses), network(frames))
    assert len(responses) == 17 and all(response.shape[:2] == (2, 3) for response in responses)
    assert len(list(network.every_stage())) == 17 + 3 + 1  # three shortcuts have weights, and there is the output
    responses = []
    network = build("digits-qcfs")
    network(torch.rand(1, 2, 1, 8, 8), responses)
    assert len(responses) == 2 and bool((responses[0] >= 0).all())


def test_residual_currents_are_added_before_the_neuron():
    first = Stage("first", nn.Linear(3, 3), nn.Identity(), LeakyIntegrateFire(threshold=0.1))
    block = ResidualStage("block", first, nn.Linear(3, 3), nn.Identity(), MembraneReadout())
    frames = torch.rand(2, 4, 3)
    assert torch.allclose(block(frames), block.synapse(first(frames)) + frames)
    converted = qcfs_to_spiking(build("resnet18-qcfs", input_shape=(3, 8, 8)))
    assert not any(isinstance(module, QCFS) for module in converted.modules())


@pytest.mark.parametrize("arch", ["vgg-qcfs", "vgg-lif"])
def test_folded_pooling_computes_the_same(arch):
    torch.manual_seed(2)
    network = build(arch, input_shape=(1, 16, 16), classes=3, norm="batch", readout="membrane").double()
    network(torch.rand(2, 4, 1, 16, 16).double())
    network.eval()
    folded = fold_pooling(network)
    pools = [[stage.pool for stage in each.chain()] for each in (network, folded)]
    assert pools == [[1, 1, 2, 1, 2, 1, 4], [1] * 7]
    frames = torch.rand(3, 2, 1, 16, 16).double()
    assert torch.allclose(folded(frames), network(frames), rtol=1e-9)
    with pytest.raises(InputError, match="not divisible by its pooling"):
        network.stages[2](torch.zeros(1, 1, 64, 5, 5).double())


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
        lambda: build("vgg-lif", input_shape=(3, 30, 30)),
        lambda: build("resnet18-lif", input_shape=(3, 16, 8)),
        lambda: build("resnet18-lif", input_shape=(3,)),
        lambda: build("digits-lif", norm="tebn"),
        lambda: build("digits-lif", norm="group"),
        lambda: build("digits-qcfs", norm="tebn", timesteps=4),
        lambda: build("digits-qcfs", readout="count"),
        lambda: build("digits-lif", reset="half"),
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
