"""Modules of every framework as they are: the float network fires where they do, the integers where the twin does."""

from dataclasses import replace

import numpy as np
import pytest
import snntorch
import torch
from torch_networks import CASES, FRAME, NETWORKS, TIMESTEPS, Adaptive, firing, network
from torch_neurons import HandWritten, Step

import spikecut
from spikecut.export.torch_module.importer import Sampled, import_module

SAMPLES = 32


def frames_for(sample):
    """Frames [T, N, 1, 8, 8] in [0, 1): others at every timestep where the module takes them."""
    frames = np.random.default_rng(1).random((TIMESTEPS, SAMPLES, 1, 8, 8)).astype(np.float32)
    return frames if len(sample.shape) == 5 else np.broadcast_to(frames[:1], frames.shape)


@pytest.mark.parametrize(("framework", "name"), CASES)
def test_the_float_network_gives_the_modules_spikes_and_its_output(framework, name):
    module, sample = network(framework, name)
    frames = frames_for(sample)
    imported = import_module(module, Sampled.of(frames, sample))
    theirs, given = imported.witness.record(torch.tensor(frames))
    sent = torch.tensor(frames).double()
    for stage, layer in zip(imported.network.layers(), imported.witness.layers, strict=True):
        sent = stage(sent)
        if layer.neuron is None or layer.neuron.threshold is None:
            continue
        assert torch.equal(sent, theirs[layer.path])
        assert 0.01 < float(sent.mean()) < 0.9
    scores = {"steps": sent, "sum": sent.sum(0), "mean": sent.mean(0), "last": sent.sum(0)}
    said = (
        given[0] if len(given) == 1 else torch.stack([each[0] if isinstance(each, tuple) else each for each in given])
    )
    said = said[0] if isinstance(said, tuple) else said
    expected = scores[imported.witness.graph.how]
    if layer.neuron is not None and layer.neuron.threshold is None and imported.witness.graph.how == "steps":
        expected = sent.cumsum(0)
    torch.testing.assert_close(said.double(), expected, atol=1e-4, rtol=1e-4)


class StatefulLayer(torch.nn.Module):
    """A stand-in for Sinabs', which is not installed: its LIF by the equations and the names of 3.1.3, time first."""

    __module__ = "sinabs.layers.stateful_layer"

    def __init__(self, kept, threshold):
        super().__init__()
        self.alpha_mem_calculated, self.spike_threshold, self.norm_input = kept, threshold, True
        self.min_v_mem = self.alpha_syn_calculated = None
        self.spike_fn, self.reset_fn = type("SingleSpike", (), {}), type("MembraneSubtract", (), {})()

    def forward(self, x):
        v, sent = torch.zeros_like(x[0]), []
        for frame in x:
            v = self.alpha_mem_calculated * v + (1 - self.alpha_mem_calculated) * frame
            sent.append(Step.apply(v - self.spike_threshold + 1e-9))
            v = v - sent[-1] * self.spike_threshold
        return torch.stack(sent)


def test_sinabs_numbers_may_differ_between_neurons():
    torch.manual_seed(0)
    lif = type("LIF", (StatefulLayer,), {"__module__": "sinabs.layers.lif"})
    module = torch.nn.Sequential(
        torch.nn.Flatten(2),
        torch.nn.Linear(64, 24),
        lif(torch.linspace(0.2, 0.8, 24), torch.linspace(0.1, 0.9, 24)),
        torch.nn.Linear(24, 10),
        lif(torch.tensor(0.5), torch.linspace(0.1, 0.4, 10)),
    )
    sample = torch.zeros(TIMESTEPS, 2, 1, 8, 8)
    found = import_module(firing(module), Sampled.of(frames_for(sample), sample))
    first, last = (layer.neuron for layer in found.witness.layers)
    assert first.decay_v.shape == first.gain.shape == (24,) and last.threshold.shape == (10,)
    assert found.refusal is None and found.recipe.details["compared"]["spikes"] > 1000


@pytest.mark.parametrize(
    ("beta", "threshold", "current"),
    [(0.9, 1.0, False), (0.5, 0.7, False), (0.05, 1.0, False), (1.3, 1.0, False), (0.8, 1.0, True)],
)
def test_snntorchs_default_is_a_soft_reset_at_once_by_the_threshold_over_beta(beta, threshold, current):
    options = {"beta": beta, "threshold": threshold, "learn_beta": beta > 1}
    neuron = snntorch.Synaptic(alpha=0.6, **options) if current else snntorch.Leaky(**options)
    x = (
        torch.randn(600, 40, generator=torch.Generator().manual_seed(1)).double().clamp(-1) / (2 if current else 1)
        + 0.2
    )
    kept, u, v, state, theirs, ours = min(beta, 1.0), 0.0, 0.0, neuron.double().reset_mem(), [], []
    for each in x:
        spike, *state = neuron(each, *(state if isinstance(state, list | tuple) else [state]))
        theirs.append(spike)
        u = (0.6 * u if current else 0.0) + each
        v = kept * v + u
        ours.append((v > threshold).double())
        v = v - threshold / kept * ours[-1]
    sent = torch.stack(ours)
    assert torch.equal(torch.stack(theirs), sent) and sent.numel() == 24_000
    assert 0.05 < float(sent.mean()) < 0.95 and bool((sent[1:] * sent[:-1]).any())  # several in a row, too


@pytest.mark.parametrize(("framework", "name"), [("snntorch", "stepwise"), ("snntorch", "recurrent")])
def test_a_module_that_is_called_for_each_timestep_takes_other_frames_at_each(framework, name):
    module, sample = network(framework, name)
    frames = (np.random.default_rng(1).random((TIMESTEPS, 8, 1, 8, 8)) < 0.4).astype(np.float32)
    imported = import_module(module, Sampled.of(frames, sample))
    assert imported.refusal is None and imported.witness.taken.form == "step"
    theirs, _ = imported.witness.record(torch.tensor(frames))
    sent = torch.tensor(frames).double()
    for stage, layer in zip(imported.network.layers(), imported.witness.layers, strict=True):
        sent = stage(sent)
        assert torch.equal(sent, theirs[layer.path])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A data set of the user's own: labels by brightness."""
    generator = np.random.default_rng(2)
    x = generator.random((96, 1, 8, 8)).astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "own.npz"
    y = (x.mean(axis=(1, 2, 3)) > 0.5).astype(np.int64)
    y[:10] = range(10)
    np.savez(
        path, **{f"{half}_{split}": a for split in ("train", "calibration", "test") for half, a in (("x", x), ("y", y))}
    )
    return str(path)


def exported(framework, name, images, out):
    module, sample = network(framework, name)
    return spikecut.export(module, out, sample=sample, timesteps=TIMESTEPS, dataset=images)


@pytest.mark.parametrize(("framework", "name"), CASES)
def test_the_integers_are_those_of_the_twin(framework, name, images, tmp_path):
    bundle = exported(framework, name, images, tmp_path / "bundle")
    found = spikecut.verify(bundle, backend="batched")
    assert found.passed
    recipe = bundle.manifest.recipe["module"]
    assert recipe["compared"]["ties"] == 0 and recipe["compared"]["samples"] == 64
    assert bundle.manifest.agreement.same_prediction >= 40


def test_a_recurrent_weight_that_has_changed_is_found_whether_samples_feel_it_or_not(images, tmp_path):
    bundle = exported("snntorch", "recurrent", images, tmp_path / "bundle")
    layers = list(bundle.network.layers)
    depth = next(index for index, layer in enumerate(layers) if layer.recurrent is not None)
    changed = layers[depth].recurrent.copy()
    changed[0, 0] += 2 if changed[0, 0] < 0 else -2
    layers[depth] = replace(layers[depth], recurrent=changed)
    network = replace(bundle.network, layers=tuple(layers))
    found = spikecut.verify(replace(bundle, network=network), backend="batched")
    assert not found.passed and found.difference.layer == f"{layers[depth].name} recurrent weights"


def test_one_neuron_that_has_changed_is_found_whether_samples_feel_it_or_not(images, tmp_path):
    bundle = exported("snntorch", "each its own", images, tmp_path / "bundle")
    first, *others = bundle.network.layers
    threshold = first.neuron.threshold.copy()
    assert threshold.shape == first.output_shape == (8, 4, 4) and first.neuron.decay_v.shape == (8,)
    threshold[3, 2, 1] += 1
    changed = replace(first, neuron=replace(first.neuron, threshold=threshold))
    network = replace(bundle.network, layers=(changed, *others))
    found = spikecut.verify(replace(bundle, network=network), backend="batched")
    assert not found.passed and found.difference.layer == f"{first.name} neurons"


@pytest.mark.lava
@pytest.mark.parametrize("framework", NETWORKS)
def test_lava_gives_the_same_integers(framework, images, tmp_path):
    for name in NETWORKS[framework]:
        bundle = exported(framework, name, images, tmp_path / name.replace(" ", "_"))
        assert spikecut.verify(bundle, samples=2, backend="lava").passed


def test_the_users_module_is_left_as_it_was():
    module, sample = network("snntorch", "stepwise")
    module.train()
    module(torch.rand(FRAME))  # a state with a history, which torch does not copy
    before = module[3].mem.clone()
    import_module(module, Sampled.of(frames_for(sample), sample))
    assert module.training and torch.equal(module[3].mem, before) and module[3].mem.grad_fn is not None


def test_a_threshold_that_adapts_is_declared_whole_and_compared():
    told = {"threshold_step": 0.25, "threshold_decay": 0.125, "refractory_decay": 0.5}
    for wrong, reason in (
        ({"reset": "zero", **told}, "are of reset adapt"),
        ({"reset": "adapt", "fires": ">=", "threshold_step": 0.25}, "reset adapt needs threshold, threshold_step"),
        ({"reset": "adapt", **told}, "fire at v ≥ threshold"),
        ({"reset": "adapt", "fires": ">=", "refractory": 1, **told}, "a refractory period beside reset adapt"),
    ):
        with pytest.raises(spikecut.InputError, match=reason):
            spikecut.neuron(HandWritten(), threshold=1.0, **wrong)
    _, sample = network("torch", "adaptive")
    frames = frames_for(sample)
    right = {"threshold": 0.5, "decay": 0.25, "reset": "adapt", "fires": ">=", **told}
    for wrong, error, reason in (
        ({"threshold_step": 0.5}, spikecut.ExportError, r"net\.first: does not do what was read of it: neuron"),
        ({"refractory_decay": 1.5}, spikecut.InputError, "a step of 0 or more, and fractions"),
        ({"threshold_decay": torch.tensor([0.1, 0.2])}, spikecut.ExportError, "of which a layer on the chip has one"),
    ):
        torch.manual_seed(0)
        module = Adaptive()
        spikecut.neuron(module.first, decay_u=0.5, **{**right, **wrong})
        with pytest.raises(error, match=reason):
            import_module(firing(module), Sampled.of(frames, sample))
