"""The checkpoints that come with spikecut: each loads, exports, verifies and runs; zoo:NAME stands for a bundle."""

import json
import shutil

import numpy as np
import pytest
import ready_rows
import torch
from safetensors import safe_open

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import open_bundle
from spikecut.errors import CheckpointError
from spikecut.export.encode import encode
from spikecut.files import sha256
from spikecut.models.checkpoint import load_checkpoint, round_weights, save_checkpoint
from spikecut.models.pretrained import FOLDER, HASHES, ready_card, ready_checkpoint, ready_names

SAMPLES = 40


def some_samples(folder, recipe):
    """Random samples in the range of the recipe's input, as a file."""
    x, y = ready_rows.drawn(recipe, 3 * SAMPLES)
    parts = dict(zip(("train", "calibration", "test"), np.split(x, 3), strict=True))
    np.savez(
        folder / "some.npz",
        **{f"x_{name}": part for name, part in parts.items()},
        **{f"y_{name}": y[:SAMPLES] for name in parts},
    )
    return folder / "some.npz"


def test_every_kind_is_there():
    expected = {f"digits-{method}{rcs}" for method in ("qcfs", "tebn", "tet") for rcs in ("", "-rcs")}
    assert expected <= set(ready_names())


@pytest.fixture(scope="module")
def golden_rows(repository):
    """What Lava says of every network, written by scripts/golden/pretrained_rows.py: not one of them is missing."""
    rows = json.loads((repository / "tests" / "golden" / "pretrained.json").read_text())
    assert sorted(rows) == ready_names() and all(len(each["rows"]) == ready_rows.SAMPLES for each in rows.values())
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("name", ready_names())
def test_a_checkpoint_is_small_exports_verifies_and_runs_as_ever(command, tmp_path, golden_rows, name):
    path = ready_checkpoint(name)
    assert path.stat().st_size <= 2 * 2**20
    _, recipe = load_checkpoint(path)
    assert f"seed {recipe['seed']}" in ready_card(name) and "What it is not" in ready_card(name)
    samples = some_samples(tmp_path, recipe)
    code, _, err = command("export", f"zoo:{name}", "--dataset", samples, "--out", tmp_path / "bundle")
    assert code == 0, err
    code, out, err = command("verify", tmp_path / "bundle", "--backend", "batched", "--samples", "16")
    assert code == 0 and "every integer is equal" in out, err
    network, (x, y) = open_bundle(tmp_path / "bundle").network, ready_rows.chosen(recipe)
    said = ready_rows.table(run_batched(network, encode(x, network)).scores, y, golden_rows[name]["margin"])
    assert said == golden_rows[name]  # Lava's own models said so, on another machine
    few = ("--samples", "8", "--no-cutoff")
    code, _, err = command("run", tmp_path / "bundle", "--dataset", samples, "--backend", "batched", *few)
    assert code == 0, err


def test_the_weights_are_stored_as_float16_and_read_back_exactly():
    path = ready_checkpoint("digits-qcfs")
    network, _ = load_checkpoint(path)
    with safe_open(path, framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    assert {str(stored[name].dtype) for name in stored if name.endswith("synapse.weight")} == {"torch.float16"}
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, stored[name].to(tensor.dtype))


def test_a_weight_that_float16_would_change_is_never_stored_so(tmp_path):
    network, recipe = load_checkpoint(ready_checkpoint("digits-qcfs"))
    with torch.no_grad():
        next(network.chain()).synapse.weight += 1e-6
    with pytest.raises(CheckpointError, match="not exact in float16"):
        save_checkpoint(tmp_path / "changed.safetensors", network, recipe, half=True)
    round_weights(network)
    save_checkpoint(tmp_path / "changed.safetensors", network, recipe, half=True)


@pytest.mark.slow
def test_zoo_names_stand_for_bundles_that_are_made_once(command, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run = ("run", "zoo:digits-qcfs", "--dataset", "digits", "--backend", "batched", "--samples", "40", "--json")
    code, out, err = command(*run)
    assert code == 0 and "exported and calibrated" in err and '"accuracy_cutoff"' in out
    (kept,) = (tmp_path / "spikecut" / "zoo").iterdir()
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    again = command(*run)
    assert again[0] == 0 and "exported" not in again[2] and again[1] == out
    code, out, err = command("verify", "zoo:digits-qcfs", "--samples", "16")
    assert code == 0 and "every integer is equal" in out, err
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == before


def test_names_and_cards_are_shown(command):
    code, out, _ = command("zoo")
    assert code == 0 and out.split() == [f"zoo:{name}" for name in ready_names()]
    code, out, _ = command("zoo", "digits-qcfs")
    assert code == 0 and out.strip() == (FOLDER / "digits-qcfs.md").read_text().strip()
    for arguments in (("zoo", "nothing"), ("run", "zoo:nothing", "--dataset", "digits")):
        code, _, err = command(*arguments)
        assert code == 2 and "zoo:nothing is unknown" in err and err.count("\n") == 1


def test_a_file_that_is_not_the_published_one_is_refused(command, tmp_path, monkeypatch):
    published = json.loads((FOLDER / HASHES).read_text())
    files = {path.name: sha256(path) for kind in ("md", "safetensors") for path in FOLDER.glob(f"*.{kind}")}
    assert published == files
    for changed in ("digits-qcfs.md", "digits-qcfs.safetensors"):
        copy = shutil.copytree(FOLDER, tmp_path / changed)
        with (copy / changed).open("ab") as file:
            file.write(b"\x80")
        monkeypatch.setattr("spikecut.models.pretrained.FOLDER", copy)
        code, out, err = command("zoo", "digits-qcfs")
        assert code == 2 and out == "" and "install spikecut again" in err and err.count("\n") == 1
