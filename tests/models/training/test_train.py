import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from spikecut.errors import InputError
from spikecut.models.architectures import build
from spikecut.models.checkpoint import load_checkpoint, save_checkpoint
from spikecut.models.data import Dataset, Split, load_dataset
from spikecut.models.layers.tebn import TemporalEffectiveBatchNorm
from spikecut.models.neurons.integrate_fire import IntegrateFire
from spikecut.models.training.encoding import InputEncoding, encoding_for, frames
from spikecut.models.training.presets import PRESETS, preset_for, preset_named
from spikecut.models.training.train import accuracy_per_timestep, train


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def blobs():
    """Three clouds of points with negative coordinates."""
    random = np.random.default_rng(0)
    y = np.arange(300, dtype=np.int64) % 3
    x = (random.normal(0, 0.3, (300, 24)) + np.tile(np.eye(3), 8)[y] * 3 - 1).astype(np.float32)
    parts = (Split(x[part], y[part], np.flatnonzero(part)) for part in (np.arange(300) // 100 == k for k in range(3)))
    return Dataset("blobs", *parts, labels=("a", "b", "c"))


@pytest.fixture(scope="module")
def leaky(digits):
    return train("tet", digits, epochs=7)


@pytest.fixture(scope="module")
def converted(digits):
    return train("qcfs", digits, epochs=12)


def test_leaky_network_learns_and_needs_time(leaky):
    assert len(leaky.accuracy) == 16
    assert leaky.accuracy[-1] >= 0.93
    assert leaky.accuracy[0] <= 0.90
    assert leaky.network.readout == "count" and not leaky.network.training


def test_qcfs_network_learns_and_is_converted(converted):
    assert len(converted.accuracy) == 8 and converted.accuracy[-1] >= 0.93
    neurons = [stage.neuron for stage in converted.network.chain()]
    assert [isinstance(neuron, IntegrateFire) for neuron in neurons] == [True, True, False]


@pytest.fixture(scope="module")
def direct(digits):
    """By method, trained with direct input and T = 4, with RCS."""
    trained = {}
    for method in ("tebn", "ce"):
        preset = replace(PRESETS[f"digits-{method}"], epochs=6, rcs_alpha=0.01)
        trained[method] = train(method, digits, preset=preset)
    return trained


@pytest.mark.parametrize("method", ["tebn", "ce"])
def test_direct_training_learns_and_ends_in_membranes(direct, method):
    trained = direct[method]
    assert len(trained.accuracy) == 4 and trained.accuracy[-1] >= 0.93
    assert trained.network.readout == "membrane" and trained.recipe["rcs_alpha"] == 0.01


def test_the_scales_of_tebn_have_learned(direct):
    norms = [stage.norm for stage in direct["tebn"].network.chain()][:-1]
    assert all(isinstance(norm, TemporalEffectiveBatchNorm) for norm in norms)
    assert all(bool((norm.scale != 1).all()) for norm in norms)


@pytest.mark.parametrize("method", ["tet", "qcfs"])
def test_rcs_changes_what_is_learned_and_leaves_it_accurate(digits, method, leaky, converted):
    preset = replace(PRESETS[f"digits-{method}"], epochs=7 if method == "tet" else 12, rcs_alpha=0.01)
    trained = train(method, digits, preset=preset)
    without = leaky if method == "tet" else converted
    assert trained.accuracy[-1] >= 0.93
    weights = [next(each.network.chain()).synapse.weight for each in (trained, without)]
    assert not torch.equal(*weights)


def test_emulated_events_are_learned():
    events = load_dataset("emulated-digits", frames=4)
    preset = replace(PRESETS["emulated-digits-tet"], epochs=8, timesteps=4)
    trained = train("tet", events, preset=preset)
    assert trained.accuracy[-1] >= 0.9 and trained.recipe["dataset"] == "emulated-digits"
    assert trained.recipe["input"]["encoding"] == "events" and "emulated" in trained.recipe["note"]
    with pytest.raises(InputError, match="has 4 frames, but T is 10"):
        train("tet", events)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["leaky", "converted"])
def test_recipe_rebuilds_the_network(request, digits, tmp_path, name):
    trained = request.getfixturevalue(name)
    assert json.loads(json.dumps(trained.recipe)) == trained.recipe
    save_checkpoint(tmp_path / "network.safetensors", trained.network, trained.recipe)
    network, recipe = load_checkpoint(tmp_path / "network.safetensors")
    encoding = InputEncoding(**recipe["input"])
    assert accuracy_per_timestep(network, digits.test, encoding, recipe["horizon"], recipe["seed"]) == trained.accuracy
    assert recipe["dataset"] == "digits" and recipe["labels"] == list("0123456789")


def test_recipe_says_how_digits_enter(leaky, converted):
    assert leaky.recipe["input"] == {
        "encoding": "bernoulli",
        "bits": 0,
        "signed": False,
        "scale": 16.0,
        "zero": 0.0,
        "seed": 0,
    }
    assert converted.recipe["input"] == {
        "encoding": "direct",
        "bits": 5,
        "signed": False,
        "scale": 1.0,
        "zero": 0.0,
        "seed": 0,
    }


@pytest.mark.parametrize("method", ["tet", "qcfs"])
def test_training_is_repeatable_and_leaves_global_state_alone(blobs, method):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first, second, other = (train(method, blobs, epochs=1, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads and not torch.are_deterministic_algorithms_enabled()
    weights = [next(trained.network.chain()).synapse.weight for trained in (first, second, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert first.accuracy == second.accuracy


@pytest.mark.parametrize(("method", "neuron"), [("tet", "lif"), ("qcfs", "qcfs")])
def test_training_on_the_users_own_vectors(blobs, method, neuron):
    trained = train(method, blobs, epochs=10, timesteps=4)
    assert trained.recipe["arch"] == f"mlp-{neuron}" and trained.recipe["horizon"] == 4
    assert len(trained.accuracy) == 4 and trained.accuracy[-1] > 0.9


def test_training_is_silent_and_leaves_no_files(blobs, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    train("qcfs", blobs, epochs=1)
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


def test_encodings_follow_the_range_of_the_training_samples(digits, blobs):
    signed = encoding_for("direct", blobs.train, 1)
    largest = float(np.abs(blobs.train.x).max())
    assert (signed.bits, signed.signed, signed.scale, signed.zero, signed.seed) == (6, True, largest / 31, 0.0, 1)
    spikes = encoding_for("bernoulli", blobs.train, 2)
    assert spikes.zero == blobs.train.x.min() and spikes.zero + spikes.scale == pytest.approx(blobs.train.x.max())
    with pytest.raises(InputError, match="all the same number"):
        encoding_for("bernoulli", Split(np.zeros((2, 3), np.float32), np.arange(2), np.arange(2)), 0)


def test_frames_spike_with_the_probability_of_the_value():
    encoding = InputEncoding("bernoulli", 0, False, 16.0, 0.0, 0)
    x = torch.tensor([[0.0, 4.0, 12.0, 16.0]])
    seen = frames(x, encoding, 4000, torch.Generator().manual_seed(1))
    assert seen.shape == (4000, 1, 4) and set(seen.unique().tolist()) == {0.0, 1.0}
    rate = seen.mean((0, 1))
    assert rate[0] == 0 and rate[3] == 1
    assert abs(rate[1] - 0.25) < 0.03 and abs(rate[2] - 0.75) < 0.03  # 4 standard deviations
    direct = frames(x, InputEncoding("direct", 5, False, 1.0, 0.0, 0), 3, torch.Generator())
    assert torch.equal(direct, x.expand(3, 1, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("magic",), "'magic' is unknown: choose one of ce, qcfs, slayer, tebn, tet"),
        (("tet", "digits-qcfs"), "does not fit the method tet"),
        (("tet", "transformer-lif"), "is unknown"),
        (("qcfs", "digits-qcfs"), "use an mlp"),
    ],
)
def test_what_does_not_fit_is_refused(blobs, arguments, message):
    method, *arch = arguments
    with pytest.raises(InputError, match=message):
        train(method, blobs, *arch, epochs=1)


@pytest.mark.parametrize("number", [{"epochs": 0}, {"timesteps": 0}])
def test_numbers_outside_their_range_are_refused(blobs, number):
    with pytest.raises(InputError, match="expected at least 1"):
        train("tet", blobs, **number)


def test_every_preset_names_its_data_set_and_builds():
    shapes = {"digits": (1, 8, 8), "emulated-digits": (2, 8, 8), "n-mnist": (2, 34, 34), "shd": (700,)}
    shapes |= dict.fromkeys(("cifar10", "cifar100"), (3, 32, 32))
    shapes |= dict.fromkeys(("mnist", "fashion-mnist"), (1, 28, 28))
    shapes |= {f"emulated-{name}": (2, *shapes[name][1:]) for name in ("mnist", "fashion-mnist", "cifar10", "cifar100")}
    shapes |= dict.fromkeys(("dvs128-gesture", "cifar10-dvs"), (2, 32, 32))
    for name in PRESETS:
        dataset, preset = preset_named(name)
        steps = preset.timesteps if preset.norm == "tebn" else None
        with torch.device("meta"):
            options = {"norm": preset.norm, "readout": preset.readout, "timesteps": steps}
            network = build(preset.arch, input_shape=shapes[dataset], **options)
        assert name.endswith(preset.method)
        if "-small-" in name:
            allowed = 900_000 if dataset.startswith("cifar") else 50_000
            assert sum(parameter.numel() for parameter in network.parameters()) <= allowed
    with pytest.raises(InputError, match="preset 'digits-stdp' is unknown"):
        preset_named("digits-stdp")


def test_qcfs_is_refused_for_events():
    with pytest.raises(InputError, match="cannot learn from events"):
        preset_for("qcfs", load_dataset("emulated-digits", frames=2))


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"rcs_alpha": -0.1},
        {"rcs_alpha": float("nan")},
        {"learning_rate": 0.0},
        {"train_samples": 0},
        {"optimiser": "lion"},
        {"label_smoothing": 1.0},
        {"label_smoothing": float("nan")},
        {"cutout": -1},
        {"cutout": 2},  # without augmentation
        {"timesteps": 2**14 + 1},
    ],
)
def test_presets_check_themselves(change):
    with pytest.raises(InputError, match=next(iter(change))):
        replace(PRESETS["digits-tet"], **change)


def test_a_subset_is_the_first_samples_of_the_split(digits):
    preset = replace(PRESETS["digits-ce"], epochs=1, train_samples=64)
    few = replace(digits, train=digits.train.take(np.arange(64)))
    first = train("ce", digits, preset=preset)
    again = train("ce", few, preset=replace(preset, train_samples=None))
    assert first.accuracy == again.accuracy and first.recipe["train_samples"] == 64
    with pytest.raises(InputError, match="900 training samples are wanted"):
        train("ce", digits, preset=replace(preset, train_samples=900))


def test_biases_are_corrected_after_the_conversion_and_nothing_else_is(digits):
    preset = replace(PRESETS["digits-qcfs"], epochs=3, timesteps=4, levels=4)
    plain = train("qcfs", digits, preset=preset)
    corrected = train("qcfs", digits, preset=replace(preset, bias_samples=200))
    assert corrected.recipe["bias_samples"] == 200 and plain.recipe["bias_samples"] == 0
    before = plain.network.state_dict()
    after = corrected.network.state_dict()
    moved = {name: float((tensor - before[name]).abs().max()) for name, tensor in after.items()}
    assert all(name.endswith("synapse.bias") for name, distance in moved.items() if distance)
    assert moved["stages.0.synapse.bias"] < 1e-5  # the first layer's currents are constant: nothing to correct
    assert min(moved["stages.1.synapse.bias"], moved["stages.2.synapse.bias"]) > 1e-3


def test_biases_that_cannot_be_corrected_are_refused_before_the_training(digits, monkeypatch):
    monkeypatch.setattr("spikecut.models.training.train.fit", lambda *_: pytest.fail("it was trained"))
    preset = replace(PRESETS["digits-qcfs"], bias_samples=900)
    with pytest.raises(InputError, match="900 training samples are wanted to correct biases, there are 847"):
        train("qcfs", digits, preset=preset)
    with pytest.raises(InputError, match="converts nothing"):
        replace(preset, method="tet")


def test_sgd_with_smoothed_labels_and_cutout_learns(digits):
    preset = replace(PRESETS["digits-qcfs"], epochs=12, optimiser="sgd", learning_rate=0.1, norm="batch")
    trained = train("qcfs", digits, preset=replace(preset, label_smoothing=0.1))
    assert trained.accuracy[-1] >= 0.93
    assert trained.recipe["optimiser"]["name"] == "SGD, Nesterov momentum 0.9"
    hidden = replace(preset, augment=True, cutout=3, epochs=1)
    assert train("qcfs", digits, preset=hidden).recipe["cutout"] == 3
    with pytest.raises(InputError, match=r"cutout 8: the images are \(8, 8\)"):
        train("qcfs", digits, preset=replace(hidden, cutout=8))
