"""What spikecut wrote before format 2 is still read: tests/golden/format_1, made by scripts/golden/format.py.

The files are those of an older spikecut. They are never written anew by this one; a test that fails here means that
somebody's bundle, checkpoint or run folder can no longer be used.
"""

import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from spikecut.deploy.bundle import open_bundle
from spikecut.models.checkpoint import load_checkpoint

BUNDLES = {"lif": "bundle", "qcfs": "bundle_qcfs"}


@pytest.fixture
def golden(repository, tmp_path, monkeypatch):
    """A copy of the golden files, in which the test's commands run."""
    shutil.copytree(repository / "tests" / "golden" / "format_1", tmp_path / "golden")
    monkeypatch.chdir(tmp_path / "golden")
    return tmp_path / "golden"


def rows(run):
    return pq.read_table(run / "samples.parquet").drop(["wall_time_s"]).to_pylist()


@pytest.mark.parametrize("bundle", BUNDLES.values())
def test_a_bundle_opens_and_verifies(golden, command, bundle):
    code, out, err = command("verify", bundle, "--backend", "batched")
    assert code == 0 and err == f"next: spikecut run {bundle} --dataset DATASET --out run-2\n"
    assert "every integer is equal" in " ".join(out.split())


@pytest.mark.lava
def test_a_bundle_verifies_on_lava(golden, command):
    assert command("verify", "bundle", "--samples", 4)[0] == 0


@pytest.mark.parametrize(("method", "bundle"), BUNDLES.items())
def test_a_checkpoint_still_gives_the_integers_of_its_bundle(golden, command, method, bundle):
    network, recipe = load_checkpoint(golden / f"{method}.safetensors")
    assert recipe["method"] == {"lif": "tet", "qcfs": "qcfs"}[method]
    assert network.input_shape == (1, 4, 4)
    assert command("export", f"{method}.safetensors", "--out", "again")[0] == 0
    old, new = open_bundle(golden / bundle).network, open_bundle(golden / "again").network
    assert (old.input, old.readout, old.horizon) == (new.input, new.readout, new.horizon)
    for before, now in zip(old.layers, new.layers, strict=True):
        assert np.array_equal(before.weight, now.weight)
        assert np.array_equal(before.neuron.bias, now.neuron.bias)
        for key in ("threshold", "decay_u", "decay_v", "v_init", "reset", "gain"):
            assert getattr(before.neuron, key) == getattr(now.neuron, key)


@pytest.mark.parametrize("bundle", BUNDLES.values())
def test_a_calibration_is_found_again(golden, command, bundle):
    old = json.loads((golden / bundle / "cutoff.json").read_text())
    policy = open_bundle(golden / bundle).cutoff()
    assert policy.to_dict() == old["policy"]
    given = ["--epsilon", old["epsilon"], "--minimum-count", old["minimum_count"]]
    if old["guarantee"]:
        given += ["--guarantee", "--delta", old["guarantee"]["delta"]]
    assert command("calibrate", bundle, "--dataset", "samples.npz", *given)[0] == 0
    assert open_bundle(golden / bundle).cutoff() == policy


def test_a_run_is_known_for_one_and_comes_out_the_same(golden, command):
    before = rows(golden / "run")
    again = ["run", "bundle", "--dataset", "samples.npz", "--backend", "batched", "--also-full", "--out", "run"]
    code, _, err = command(*again)
    assert code == 2 and "--overwrite" in err
    (golden / "run" / "figures").mkdir()
    for name in ("exits", "accuracy", "raster", "mesh_loihi2"):
        (golden / "run" / "figures" / f"{name}.png").write_bytes(b"")
    assert command(*again, "--overwrite")[0] == 0

    # The costs too, but those of hardware files that were corrected since: Loihi 2, and the bands of Loihi 1.
    def kept(found):
        corrected = re.compile("loihi2_|loihi1_.*_(low|high)$")
        return [{name: cell for name, cell in row.items() if not corrected.match(name)} for row in found]

    assert kept(rows(golden / "run")) == kept(before)
    assert {"loihi1_latency_s", "loihi1_energy_j", "loihi1_davies2018_latency_s"} <= set(kept(before)[0])
    assert {row["timesteps"] for row in before} > {4}


def test_a_sweep_is_known_for_one(golden, command):
    again = ["sweep", "bundle", "--dataset", "samples.npz", "--out", "sweep", "--epsilon", 0.1, "--policy", "topk"]
    code, _, err = command(*again)
    assert code == 2 and "--overwrite" in err
    assert command(*again, "--overwrite")[0] == 0
    assert json.loads((golden / "sweep" / "summary.json").read_text())["samples"] == 24
