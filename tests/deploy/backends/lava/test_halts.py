"""A halted sample in a long run = the golden twin cut by the same policy = a fresh graph that runs it alone."""

import numpy as np
import pytest
from networks import random_inputs, random_network

from spikecut.deploy.backends.kernels.reference import measure_ranges, propagate, scores_of
from spikecut.deploy.backends.lava.cpu import run_lava
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.cutoff.topk import TopK, top_two_gap
from spikecut.export.encode import encode
from spikecut.export.golden import make_golden
from spikecut.export.importers.torch_network import input_spec, spiking_form, trace
from spikecut.export.quantise.integers import quantise
from spikecut.models.checkpoint import load_checkpoint
from spikecut.models.training.train import train

ALONE = 2  # per network; both have biases
TWIN_SAMPLES = 48


def policy_for(scores):
    """Thresholds between the gaps' quartiles, so that exits spread."""
    gaps = top_two_gap(scores.cumsum(axis=0))
    return TopK(tuple(int(np.quantile(gap, 0.6)) for gap in gaps))


def test_halted_samples_equal_the_golden_twin_and_a_fresh_graph(bundle):
    golden = bundle.golden()
    network = bundle.network
    policy = policy_for(golden.twin_scores)
    inputs = golden.inputs.astype(np.int32)
    ran = run_lava(network, inputs, policy, record="all", net_file=bundle.net_file)
    assert len(np.unique(ran.timesteps)) >= 3
    assert any(np.any(layer.neuron.bias_mantissa) for layer in network.layers)
    for n in range(inputs.shape[1]):
        totals, step = np.zeros(network.classes, dtype=np.int64), network.horizon
        for t in range(network.horizon):
            totals = totals + golden.twin_scores[t, n]
            first, second = sorted(totals.tolist(), reverse=True)[:2]
            if first - second > policy.thresholds[t]:
                step = t + 1
                break
        assert ran.timesteps[n] == step
        np.testing.assert_array_equal(ran.scores[:step, n], golden.twin_scores[:step, n])
    for name, spikes in golden.twin_spikes.items():
        np.testing.assert_array_equal(ran.spikes[name][ran.valid], spikes[ran.valid], name)
    for n in range(ALONE):
        alone = run_lava(network, inputs[:, n : n + 1], policy, record="all", net_file=bundle.net_file)
        assert alone.timesteps[0] == ran.timesteps[n]
        np.testing.assert_array_equal(alone.scores[:, 0], ran.scores[:, n])
        for name, spikes in alone.spikes.items():
            np.testing.assert_array_equal(spikes[:, 0], ran.spikes[name][:, n], name)


def test_untouched_netx_loads_the_lif_bundle(workshop):
    from lava.lib.dl.netx.hdf5 import Network

    loaded = Network(net_config=str(workshop / "lif" / "network.net"))
    loaded.net_config.f.close()
    assert [type(block).__name__ for block in loaded.layers] == ["Conv", "Conv", "Dense"]


TOPOLOGIES = {
    "MLP": {"dense_only": True},
    "convolutions that come back": {"recurrent_maps": True},
    "recurrent": {"dense_only": True, "recurrent": True},
    "delayed": {"dense_only": True, "delays": True, "soft": True},
}
HALTS = 32
MODELS = ("stock", "fast", "fused")


class DrawnExits(CutoffPolicy):
    """Ends sample after sample at timesteps drawn beforehand, whatever the scores."""

    def __init__(self, timesteps, horizon):
        self.remaining = iter(timesteps.tolist())
        self.last = horizon

    @property
    def horizon(self):
        return self.last

    def init(self, samples, classes):
        return np.array([[next(self.remaining)]])

    def step(self, totals, t, state):
        return state[:, 0] == t, state

    def to_dict(self):
        raise NotImplementedError

    @classmethod
    def from_dict(cls, data):
        raise NotImplementedError


def mlp(digits):
    """A dense network, as it is after one epoch."""
    trained = train("tet", digits, arch="mlp-lif", epochs=1)
    return trained.network, trained.recipe


@pytest.mark.parametrize("mode", ["isolated", "streaming"])
@pytest.mark.parametrize("name", ["mlp", "lif", "qcfs"])
def test_random_halts_equal_the_torch_quantised_network(name, mode, digits, workshop):
    """All layers' spikes against the fake-quantised torch module itself, which nothing of ours has built."""
    network, recipe = mlp(digits) if name == "mlp" else load_checkpoint(workshop / f"{name}.safetensors")
    spec, horizon = input_spec(recipe, network.input_shape), recipe["horizon"]
    split = digits.calibration
    spiking = spiking_form(network)

    def measure(integer):
        return measure_ranges(integer, encode(split.x, integer))

    quantised = quantise(trace(spiking, spec, horizon), name, measure)
    golden = make_golden(spiking, quantised.plans, spec, horizon, split.x[:TWIN_SAMPLES], split.y[:TWIN_SAMPLES])
    exits = np.random.default_rng(7).integers(1, horizon + 1, TWIN_SAMPLES)
    policy = DrawnExits(exits, horizon)
    ran = run_lava(quantised.network, golden.inputs, policy, record="all", mode=mode)
    np.testing.assert_array_equal(ran.timesteps, exits)
    np.testing.assert_array_equal(ran.scores[ran.valid], golden.twin_scores[ran.valid])
    assert golden.twin_spikes
    for layer, spikes in golden.twin_spikes.items():
        assert spikes[ran.valid].any()
        np.testing.assert_array_equal(ran.spikes[layer][ran.valid], spikes[ran.valid], layer)


@pytest.mark.parametrize("mode", ["isolated", "streaming"])
@pytest.mark.parametrize("models", MODELS)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_random_halts_in_one_graph_equal_the_reference(topology, models, mode):
    network = random_network(4, **TOPOLOGIES[topology])
    inputs = random_inputs(network, HALTS, seed=5)
    reference = propagate(network, inputs)[1:]
    exits = np.random.default_rng(6).integers(1, network.horizon + 1, HALTS)
    assert len(np.unique(exits)) == network.horizon
    policy = DrawnExits(exits, network.horizon)
    ran = run_lava(network, inputs, policy, record="all", mode=mode, models=models)
    np.testing.assert_array_equal(ran.timesteps, exits)
    np.testing.assert_array_equal(ran.hardware_steps, exits + network.depth)
    valid = ran.valid
    np.testing.assert_array_equal(valid, np.arange(network.horizon)[:, None] < exits)
    np.testing.assert_array_equal(ran.scores[valid], scores_of(network, reference[-1])[valid])
    for layer, expected in zip(network.layers, reference, strict=True):
        np.testing.assert_array_equal(ran.spikes[layer.name][valid], expected[valid], layer.name)
        assert expected[valid].any()
