"""Files that spikecut cannot read: one line that says what they are, and what to do."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from networks import random_network

from spikecut import load
from spikecut.deploy.bundle import open_bundle
from spikecut.export.network.layers import IntegerLayer
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.netx.write import write_netx

LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 12345\n"


def refused(command, *arguments):
    code, out, error = command(*arguments)
    assert code == 2 and out == "" and error.count("\n") == 1
    return error


@pytest.mark.parametrize("suffix", ["net", "nir", "h5", "pt", "safetensors", "npz", "json"])
def test_a_pointer_of_git_lfs_is_called_what_it_is(command, tmp_path, suffix):
    path = tmp_path / f"network.{suffix}"
    path.write_text(LFS)
    arguments = {
        "pt": ("inspect", path, "--slayer", path),
        "npz": ("train", "--dataset", path, "--out", tmp_path / "a.safetensors"),
        "json": ("convert", path.with_suffix(".pt"), "--spec", path, "--dataset", "digits", "--out", tmp_path / "b"),
    }.get(suffix, ("inspect", path))
    error = refused(command, *arguments)
    assert "git lfs pull" in error and str(path) in error and "truncated" not in error


def test_a_missing_file_is_missing_whatever_is_said_of_it(command, tmp_path):
    path = tmp_path / "absent.pt"
    for arguments in (("inspect", path, "--slayer", path), ("export", path, "--slayer", path, "--out", tmp_path / "b")):
        assert f"{path}: no such file" in refused(command, *arguments)


def test_foreign_files_are_not_told_to_be_trained(command, tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pt")
    (tmp_path / "b.safetensors").write_bytes(b"nothing of the kind")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["model_weights/dense/kernel"] = np.ones((3, 3))
    found = {name: refused(command, "export", tmp_path / name, "--out", tmp_path / "b") for name in TELL}
    for name, message in TELL.items():
        assert message in found[name] and "train one" not in found[name]


TELL = {
    "a.pt": "with --spec SPEC.json (of convert and inspect)",
    "b.safetensors": "truncated or not a spikecut checkpoint",
    "c.h5": "HDF5 without /layer, so no netx file",
}


def test_a_file_in_the_place_of_a_bundle_is_told_what_can_be_done_with_it(command, tmp_path):
    (tmp_path / "a.net").write_bytes(b"")
    for arguments in (("verify", tmp_path / "a.net"), ("run", tmp_path / "a.net", "--dataset", "digits")):
        assert "a file, no bundle" in refused(command, *arguments)


def test_too_few_golden_samples_say_how_many_the_data_set_must_hold(command, tmp_path, repository):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "few.npz", x=rng.random((20, 1, 8, 8)), y=np.arange(20) % 4)
    wanted = ("--dataset", tmp_path / "few.npz", "--horizon", 4, "--framework", "norse", "--out", tmp_path / "bundle")
    error = refused(command, "export", repository / "tests" / "golden" / "nir" / "norse.nir", *wanted)
    assert "4 golden samples: at least 32 are needed" in error and "about 160 samples" in error


@pytest.fixture
def foreign(tmp_path):
    """A .net as lava-dl writes it, and images for it."""
    write_netx(random_network(2, dense_only=True), tmp_path / "theirs.net")
    with h5py.File(tmp_path / "theirs.net", "r+") as file:
        del file["spikecut"]
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", x=rng.integers(0, 17, (200, 12)) / 16, y=np.arange(200) % 5)
    return tmp_path / "theirs.net", ("--dataset", tmp_path / "own.npz")


def test_a_net_of_lava_dl_is_exported_verified_and_run(command, foreign, tmp_path):
    source, data = foreign
    bundle = tmp_path / "bundle"
    assert "does not tell its horizon" in refused(command, "export", source, "--out", bundle, *data)
    assert "names no data: give --dataset" in refused(command, "export", source, "--out", bundle, "--horizon", 6)
    code, out, _ = command("export", source, "--out", bundle, *data, "--horizon", 6)
    assert code == 0 and "input bernoulli" in out
    opened = open_bundle(bundle)
    recipe = opened.manifest.recipe
    assert recipe["netx"]["by"] == "lava-dl" and recipe["method"] == "netx" and opened.manifest.loader == "netx"
    for ours, theirs in zip(opened.network.layers, load(source, 6).layers, strict=True):
        assert np.array_equal(ours.weight, theirs.weight) and ours.neuron.threshold == theirs.neuron.threshold
    spikes = opened.golden().twin_spikes
    assert all(0 < sent.mean() < 1 for sent in spikes.values())
    code, out, _ = command("verify", bundle, "--backend", "batched")
    assert code == 0 and "every integer is equal" in out
    code, _, error = command(
        "run", bundle, *data, "--backend", "batched", "--no-cutoff", "--samples", 8, "--out", tmp_path / "run"
    )
    assert code == 0, error
    assert "tells its input itself" in refused(
        command, "export", bundle / "network.net", "--out", tmp_path / "again", *data, "--encoding", "latency"
    )


@pytest.mark.lava
def test_a_net_of_lava_dl_equals_lava(command, foreign, tmp_path):
    source, data = foreign
    command("export", source, "--out", tmp_path / "bundle", *data, "--horizon", 6)
    code, out, _ = command("verify", tmp_path / "bundle", "--samples", 2)
    assert code == 0 and "every integer is equal" in out


@pytest.mark.lava
def test_input_neurons_are_exported_for_the_batched_engine(command, tmp_path):
    network = random_network(2, dense_only=True)
    given = replace(network.input, encoding="direct", bits=8)
    first = IntegerLayer(
        "input_neurons", "dense", np.eye(12, dtype=int), IntegerNeuron(400, np.zeros(12, dtype=int)), (12,), (12,)
    )
    write_netx(replace(network, layers=(first, *network.layers), input=given), tmp_path / "theirs.net")
    np.savez(tmp_path / "own.npz", x=np.random.default_rng(0).integers(0, 200, (200, 12)), y=np.arange(200) % 5)
    data = ("--dataset", tmp_path / "own.npz")
    assert command("export", tmp_path / "theirs.net", "--out", tmp_path / "bundle", *data)[0] == 0
    assert command("verify", tmp_path / "bundle", "--backend", "batched")[0] == 0
    assert "use --backend batched" in refused(command, "verify", tmp_path / "bundle", "--samples", 1)
