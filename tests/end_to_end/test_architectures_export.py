"""What the zoo can be made of, exported: the batched engine on the integers equals torch's rounded twin."""

import numpy as np
import pytest
import torch
from torch import nn

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.kernels.reference import measure_ranges
from spikecut.export.encode import encode
from spikecut.export.importers.torch_network import spiking_form, trace
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.quantise.integers import quantise
from spikecut.models.architectures import build
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm
from spikecut.models.network import SpikingNetwork, Stage
from spikecut.models.neurons.integrate_fire import MembraneReadout
from spikecut.models.neurons.leaky import LeakyIntegrateFire
from spikecut.models.twin import quantised_twin

CASES = {
    "soft reset, membrane readout": ("digits-lif", (1, 8, 8), {"reset": "subtract", "readout": "membrane"}),
    "soft reset, count readout": ("mlp-lif", (6,), {"reset": "subtract"}),
    "hard reset, membrane readout": ("small-lif", (1, 12, 12), {"readout": "membrane"}),
    "pooling before a convolution and the output": (None, (1, 8, 8), {}),
    "TEBN, firing output": ("digits-lif", (1, 8, 8), {"norm": "tebn", "timesteps": 4}),
    "TEBN, membrane readout": (
        "mlp-lif",
        (6,),
        {"norm": "tebn", "timesteps": 4, "readout": "membrane", "reset": "subtract"},
    ),
    "residual blocks, LIF": ("residual-lif", (1, 8, 8), {"readout": "membrane"}),
    "residual blocks, TEBN": ("residual-lif", (1, 8, 8), {"norm": "tebn", "timesteps": 4, "readout": "membrane"}),
    "batch norm before QCFS": ("conv-qcfs", (1, 12, 12), {"norm": "batch"}),
}


def pooled():
    """The layers of the zoo's vgg, fewer and narrower."""
    first = Stage("conv1", nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), LeakyIntegrateFire())
    second = Stage("conv2", nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), LeakyIntegrateFire(), pool=2)
    output = Stage("output", nn.Linear(32, 3), nn.Identity(), MembraneReadout(), pool=2)
    return SpikingNetwork([first, second, output], "membrane", (1, 8, 8))


@pytest.mark.parametrize("case", CASES)
def test_integers_equal_the_twin(case):
    arch, shape, options = CASES[case]
    torch.manual_seed(4)
    network = pooled() if arch is None else build(arch, input_shape=shape, classes=3, **options)
    for module in network.modules():
        if isinstance(module, TemporalEffectiveBatchNorm):
            module.scale.data = torch.tensor([0.9, 1.3, -0.4, 0.0])
    samples = torch.randint(0, 8, (6, *shape)).float()
    for _ in range(20):  # running statistics of the batch norms
        network(samples.expand(4, *samples.shape))
    spiking = spiking_form(network)
    spec = InputSpec(shape, "direct", bits=3, labels=("a", "b", "c"))

    def measure(integers):
        return measure_ranges(integers, encode(samples.numpy(), integers))

    quantised = quantise(trace(spiking, spec, 4), measure=measure)
    inputs = encode(samples.numpy(), quantised.network)
    twin = quantised_twin(spiking, quantised.plans).record(torch.from_numpy(inputs.copy()))
    run = run_batched(quantised.network, inputs, record="all")
    for name, sent in list(twin.items())[:-1]:
        assert np.array_equal(run.spikes[name], sent.numpy())
    assert 0 < np.mean([float(sent.mean()) for sent in list(twin.values())[:-1]]) < 1
    scores = twin["output"].numpy()
    assert np.array_equal(run.scores, scores) and scores.any()
