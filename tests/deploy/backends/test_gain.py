"""A gain per timestep, as TEBN trains it: the whole way to Lava and back, and who refuses it."""

from dataclasses import replace

import numpy as np
import pytest
from lava_steps import run_steps
from networks import random_inputs, random_network
from oracle import run_network as run_oracle

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.batched.stream import run_network
from spikecut.deploy.backends.lava import loihi2
from spikecut.deploy.backends.lava.stream import LavaStream, run_lava_stream
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cutoff.calibration.calibrate import calibrate
from spikecut.deploy.cutoff.stream import StreamSettings
from spikecut.deploy.cutoff.topk import TopK
from spikecut.deploy.pipeline.export import export_to_bundle
from spikecut.deploy.placement.capabilities import check_capabilities
from spikecut.deploy.placement.hardware import load_hardware
from spikecut.deploy.verify.compare import verify
from spikecut.errors import CapabilityError, InputError
from spikecut.export.encode import encode
from spikecut.models.data import load_dataset
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm
from spikecut.models.training.presets import PRESETS
from spikecut.models.training.train import train


@pytest.fixture(scope="module")
def tebn(tmp_path_factory):
    """A TEBN network on digits, trained shortly, and its bundle."""
    preset = replace(PRESETS["digits-tebn"], epochs=2)
    trained = train("tebn", load_dataset("digits"), preset=preset)
    folder = tmp_path_factory.mktemp("tebn") / "bundle"
    export_to_bundle(trained.network, trained.recipe, folder)
    return trained, open_bundle(folder)


def test_a_trained_network_goes_all_the_way(tebn, digits):
    trained, bundle = tebn
    network = bundle.network
    scales = [
        stage.norm.scale for stage in trained.network.chain() if isinstance(stage.norm, TemporalEffectiveBatchNorm)
    ]
    for scale, layer, entry in zip(scales, network.layers[:-1], bundle.manifest.layers, strict=False):
        wanted = scale.detach().double() / scale.detach().double().abs().max()
        np.testing.assert_allclose(np.array(layer.neuron.gain) / 4096, wanted, atol=0.5 / 4096)
        assert 0 < entry.gain_error_max <= 0.5 / 4096
    assert "conv1: a gain per timestep, which needs programmable neurons: Loihi 2" in bundle.manifest.beyond_netx
    found = verify(bundle, samples=16)
    assert found.passed and {check.engine for check in found.checks} == {"encode", "export", "batched", "lava"}
    assert [check.mismatches for check in found.checks if check.layer == "conv1 gains"] == [0]
    inputs = encode(digits.calibration.x, network)
    scores = run_batched(network, inputs).scores
    policy = calibrate(scores, digits.calibration.y, "topk", 0.02).policy
    halted = run_batched(network, encode(digits.test.x, network), policy)
    assert halted.timesteps.mean() < network.horizon
    assert abs((halted.predictions == digits.test.y).mean() - trained.accuracy[-1]) < 0.03


def test_verify_finds_a_changed_gain(tebn):
    _, bundle = tebn
    first, *rest = bundle.network.layers
    gain = first.neuron.gain
    nearby = (*gain[:-1], gain[-1] - 1)
    changed = replace(first, neuron=replace(first.neuron, gain=nearby))
    found = verify(
        replace(bundle, network=replace(bundle.network, layers=(changed, *rest))), samples=2, backend="batched"
    )
    assert str(found.difference).startswith(
        f"layer conv1 gains: the golden twin has {gain[-1]}, the bundle {nearby[-1]}"
    )


def test_a_sample_counts_its_steps_from_its_own_reset():
    network = random_network(6, gain=True)
    inputs, gaps = random_inputs(network, 4), [2, 9, 1, 6]
    expected = run_oracle(network, inputs)
    for models in ("stock", "fast", "fused"):
        starts, sent = run_steps(network, inputs, gaps, models)
        for depth, (found, want) in enumerate(zip(sent, expected, strict=True), start=1):
            assert want.any() and len(np.unique(want)) > 1
            for n, (start, gap) in enumerate(zip(starts, gaps, strict=True)):
                used = min(gap, network.horizon)
                np.testing.assert_array_equal(found[start - 1 + depth :][:used], want[:used, n])


def test_who_has_no_such_neuron_says_so():
    network = random_network(1, gain=True, bias=False)
    for name in ("loihi1", "loihi1_davies2018"):
        missing = [refusal.feature for refusal in check_capabilities(network, load_hardware(name))]
        assert missing == ["programmable neurons (a gain per timestep, as TEBN has)"]
    assert check_capabilities(network, load_hardware("loihi2")) == ()
    with pytest.raises(CapabilityError, match=r"layer conv1: a gain per timestep, .* --backend lava"):
        loihi2.plan(network)


def test_a_stream_restarts_the_gains_and_may_not_outlast_them():
    network = random_network(8, gain=True)
    frames = random_inputs(network, 10).swapaxes(0, 1).reshape(-1, *network.input_shape)
    settings = StreamSettings(TopK((2, 2, 1, 1, 0, 0)))
    host, lava = run_network(network, frames[:, None], settings), run_lava_stream(network, frames, settings)
    np.testing.assert_array_equal(lava.timesteps, host.timesteps)
    np.testing.assert_array_equal(lava.predictions, host.predictions)
    assert len(np.unique(host.timesteps[host.emitted])) > 1
    longer = StreamSettings(TopK((2,) * 9))
    for play in (lambda: run_network(network, frames[:, None], longer), lambda: LavaStream(network, longer)):
        with pytest.raises(
            InputError, match=r"layer conv1 has a gain for each of T = 6 timesteps, .* take 9: .* most 6"
        ):
            play()
    run_network(network, frames[:, None], StreamSettings(TopK((2,) * 9), window=6))
