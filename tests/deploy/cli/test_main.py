"""The command line, each verb alone; and one clear line, exit code 2, for everything that can be wrong."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from seals import seal_manifest

import spikecut
from spikecut.deploy.cli import main as cli
from spikecut.deploy.placement.hardware import default_hardware


def test_from_training_to_a_halted_run_on_lava(command, tmp_path):
    checkpoint, bundle, run = tmp_path / "net.safetensors", tmp_path / "bundle", tmp_path / "run"
    assert command("train", "--method", "tet", "--epochs", 2, "--out", checkpoint)[0] == 0
    assert len(json.loads((tmp_path / "net.safetensors.summary.json").read_text())["accuracy_per_timestep"]) == 16
    assert command("export", checkpoint, "--out", bundle)[0] == 0
    code, out, _ = command("inspect", checkpoint, "--json")
    looked_at = json.loads(out)
    code, out, _ = command("inspect", bundle, "--json")
    assert code == 0 and json.loads(out)["layers"] == looked_at["layers"]
    code, out, _ = command("inspect", bundle)
    assert code == 0 and "conv1" in out and "loads it unchanged" in out
    code, out, _ = command("verify", bundle, "--samples", 6)
    assert code == 0 and "every integer is equal" in out
    assert command("calibrate", bundle, "--dataset", "digits", "--epsilon", 0.05)[0] == 0
    arguments = ("run", bundle, "--dataset", "digits", "--samples", 20, "--also-full", "--json")
    code, out, _ = command(*arguments, "--lava-models", "fused", "--out", run)
    summary = json.loads(out)
    assert code == 0 and summary["backend"] == "lava" and summary["samples"] == 20
    assert {"naive", "isolated", "streaming"} <= set(summary["savings"])
    assert tuple(summary["hardware"]) == tuple(sorted(default_hardware()))
    for name in default_hardware():
        energy = summary["hardware"][name]["energy_j"]
        assert energy["provenance"] and energy["percentiles"]["95"]["value"] > 0
    loihi2 = summary["hardware"]["loihi2"]
    assert loihi2["placement"]["cores"] > 0 and set(loihi2["attribution"]["energy_j"]["value"]) >= {"conv1"}
    assert summary["hardware"]["loihi1"]["cutoff"]["saved_shared_time_s"]["barrier"] > 0
    assert np.sum(loihi2["cutoff"]["saved_time_s"]) > 0  # its cores are slower than the barrier
    assert 0 < summary["neurobench"]["ActivationSparsity"] < 1
    assert summary["neurobench"]["ClassificationAccuracy"] == summary["accuracy_cutoff"]
    pictures = ["accuracy", "exits", "mesh_loihi1", "mesh_loihi1_davies2018", "mesh_loihi2", "raster"]
    assert sorted(path.stem for path in (run / "figures").iterdir()) == pictures
    on_lava = pq.read_table(run / "samples.parquet").to_pydict()
    code, _, _ = command(*arguments, "--backend", "batched", "--out", tmp_path / "again")
    assert code == 0
    batched = pq.read_table(tmp_path / "again" / "samples.parquet").to_pydict()
    for key in ("index", "label", "prediction", "timesteps", "hardware_steps", "reason", "scores", "loihi2_energy_j"):
        assert on_lava[key] == batched[key]


def test_short_help_version_and_quiet(command, workshop, tmp_path, digits):
    assert command("-h") == command("--help") and "calibrate" in command("-h")[1]
    assert command("run", "-h")[1] == command("run", "--help")[1]
    assert command("--version") == command("version") == (0, f"{spikecut.__version__}\n", "")
    np.savez(tmp_path / "mine.npz", x=digits.test.x[:60], y=digits.test.y[:60])
    asked = ("run", workshop / "qcfs", "--dataset", tmp_path / "mine.npz", "--backend", "batched", "--json")
    code, said, err = command(*asked)
    assert code == 0 and "holds x and y alone" in err
    assert command(*asked, "--quiet") == command("--quiet", *asked) == (0, said, "")
    assert "holds x and y alone" in command(*asked)[2]
    assert "no such bundle" in command("verify", tmp_path / "nothing", "--quiet")[2]


def test_inspect_a_net_file_and_hardware(command, workshop):
    code, out, _ = command("inspect", workshop / "qcfs" / "network.net")
    assert code == 0 and "subtract" in out and "cannot run here" in out
    code, out, _ = command("hardware")
    assert code == 0 and "loihi2" in out
    assert command("hardware", "loihi1")[0] == 0


def test_user_data(command, tmp_path, workshop, digits):
    path = tmp_path / "mine.npz"
    np.savez(path, x=digits.test.x[:40], y=digits.test.y[:40])
    code, out, _ = command("run", workshop / "qcfs", "--dataset", path, "--backend", "batched", "--json")
    assert code == 0 and json.loads(out)["samples"] > 0


def test_qcfs_is_refused_for_loihi1(command, workshop):
    arguments = ("run", workshop / "qcfs", "--dataset", "digits", "--samples", 5, "--backend", "batched", "--json")
    code, out, _ = command(*arguments)
    assert code == 0
    assert json.loads(out)["hardware"]["loihi1"]["refusal"].startswith("cannot run here")
    code, out, _ = command(*arguments, "--hypothetical")
    assert json.loads(out)["hardware"]["loihi1"]["latency_s"]["mean"] > 0


def test_a_difference_exits_with_1(command, own_copy):
    path = own_copy()
    with h5py.File(path / "golden.h5", "r+") as file:
        file["twin_scores"][3, 2, 1] += 1
    seal_manifest(path, "golden.h5")
    code, out, _ = command("verify", path, "--backend", "batched")
    assert code == 1 and "timestep 4, sample 2" in " ".join(out.split())


def wrong_shape(folder):
    np.savez(folder / "wide.npz", x=np.zeros((90, 1, 9, 9)), y=np.arange(90) % 10)
    return folder / "wide.npz"


def truncated(path, keep=200):
    path.write_bytes(path.read_bytes()[:keep])


def edited(path, old, new):
    path.write_text(path.read_text().replace(old, new, 1))


BAD = {
    "no bundle": (lambda b, t: ["verify", t / "nothing"], "no such bundle"),
    "a file as bundle": (lambda b, t: ["verify", b / "network.net"], "a file, no bundle"),
    "no net file": (lambda b, t: ["inspect", t / "x.net"], "no such file"),
    "foreign file": (lambda b, t: ["inspect", b / "manifest.json"], "expected a checkpoint of `spikecut train`"),
    "unknown dataset": (lambda b, t: ["run", b, "--dataset", "mnist1"], "unknown"),
    "missing dataset": (lambda b, t: ["run", b, "--dataset", t / "no.npz"], "no.npz"),
    "foreign dataset": (lambda b, t: ["run", b, "--dataset", b / "network.net.npz"], "npz"),
    "dataset of another shape": (lambda b, t: ["run", b, "--dataset", wrong_shape(t)], "do not fit"),
    "epsilon too large": (lambda b, t: ["calibrate", b, "--dataset", "digits", "--epsilon", 1.0], "psilon"),
    "epsilon negative": (lambda b, t: ["calibrate", b, "--dataset", "digits", "--epsilon", -0.1], "psilon"),
    "unknown policy": (lambda b, t: ["calibrate", b, "--dataset", "digits", "--policy", "magic"], "magic"),
    "T below 1": (lambda b, t: ["train", "--timesteps", 0, "--out", t / "a.safetensors"], "timesteps"),
    "unknown method": (lambda b, t: ["train", "--method", "stdp", "--out", t / "a.safetensors"], "stdp"),
    "lava models on the batched engine": (
        lambda b, t: ["run", b, "--dataset", "digits", "--backend", "batched", "--lava-models", "fused"],
        "batched engine has no choice",
    ),
    "unknown lava models": (lambda b, t: ["run", b, "--dataset", "digits", "--lava-models", "slow"], "fused"),
    "unknown mode": (lambda b, t: ["run", b, "--dataset", "digits", "--mode", "at once"], "streaming"),
    "a run without a bundle": (lambda b, t: ["run"], "BUNDLE"),
    "resuming what never ran": (lambda b, t: ["run", "--resume", t / "run"], "no interrupted run"),
    "resuming with a dataset": (
        lambda b, t: ["run", "--resume", t / "run", "--dataset", "digits"],
        "keeps the options",
    ),
    "Loihi 2": (lambda b, t: ["run", b, "--dataset", "digits", "--backend", "loihi2"], "no Loihi 2 model"),
    "a guarantee of nothing": (
        lambda b, t: ["calibrate", b, "--dataset", "digits", "--guarantee", "--delta", 2.0],
        "delta 2.0: a guarantee needs",
    ),
    "sweep of an unknown policy": (lambda b, t: ["sweep", b, "--dataset", "digits", "--policy", "magic"], "magic"),
    "sweep of an impossible epsilon": (lambda b, t: ["sweep", b, "--dataset", "digits", "--epsilon", 2], "psilon"),
    "events for a network of images": (lambda b, t: ["run", b, "--dataset", "emulated-digits"], "do not fit"),
    "unknown hardware": (lambda b, t: ["run", b, "--dataset", "digits", "--hardware", "loihi9"], "loihi9"),
    "unknown backend": (lambda b, t: ["run", b, "--dataset", "digits", "--backend", "gpu"], "gpu"),
    "missing checkpoint": (lambda b, t: ["export", t / "no.safetensors", "--out", t / "o"], "no.safetensors"),
    "foreign checkpoint": (lambda b, t: ["export", b / "network.net", "--out", t / "o"], "network.net"),
    "occupied folder": (lambda b, t: ["run", b, "--dataset", "digits", "--out", b], "not empty"),
    "missing option": (lambda b, t: ["calibrate", b], "--dataset"),
    "unknown verb": (lambda b, t: ["fly"], "fly"),
    "no samples": (lambda b, t: ["run", b, "--dataset", "digits", "--samples", 0], "samples"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_2(command, workshop, tmp_path, case):
    make, message = BAD[case]
    arguments = make(workshop / "lif", tmp_path)
    before = set(tmp_path.rglob("*"))
    code, out, err = command(*arguments)
    assert code == 2, err
    assert message in err and err.startswith("spikecut: ") and err.count("\n") == 1
    assert "Traceback" not in err + out
    assert set(tmp_path.rglob("*")) == before


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def linked(path, remove=False):
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))
    if remove:
        path.with_suffix(".moved").unlink()


DAMAGE = {
    "hash of the network": (lambda b: (b / "network.net").write_bytes(b"x"), "hash does not match"),
    "truncated golden file": (lambda b: truncated(b / "golden.h5"), "hash does not match"),
    "golden file of a terabyte": (lambda b: os.truncate(b / "golden.h5", 2**40), "1099511627776 bytes, at most"),
    "network missing": (lambda b: (b / "network.net").unlink(), "missing"),
    "manifest missing": (lambda b: (b / "manifest.json").unlink(), "not a bundle"),
    "manifest truncated": (lambda b: truncated(b / "manifest.json"), "not a JSON file"),
    "manifest of another format": (lambda b: edited(b / "manifest.json", '"format": 2', '"format": 9'), "format 9"),
    "manifest changed": (lambda b: edited(b / "manifest.json", '"dataset": "', '"dataset": "x'), "hash does not match"),
    "manifest of a format without a hash": (
        lambda b: edited(b / "manifest.json", '"format": 2', '"format": 1'),
        "hash does not match",
    ),
    "manifest with a foreign key": (lambda b: edited(b / "manifest.json", '"format"', '"x": 1, "format"'), "x"),
    "another horizon": (
        lambda b: edited(b / "manifest.json", '"horizon": 16,\n  "input"', '"horizon": 8,\n  "input"'),
        "contradicts",
    ),
    "cutoff missing": (lambda b: (b / "cutoff.json").unlink(), "not calibrated"),
    "cutoff of another network": (
        lambda b: edited(b / "cutoff.json", '"network": "', '"network": "0'),
        "another network",
    ),
    "cutoff truncated": (lambda b: truncated(b / "cutoff.json"), "not a JSON file"),
    "manifest a pipe": (lambda b: pipe(b / "manifest.json"), "a pipe or a device"),
    "cutoff a pipe": (lambda b: pipe(b / "cutoff.json"), "a pipe or a device"),
    "network a pipe": (lambda b: pipe(b / "network.net"), "a pipe or a device"),
    "golden file a link": (lambda b: linked(b / "golden.h5"), "a link; a bundle holds its own files"),
    "network a link": (lambda b: linked(b / "network.net"), "a link; a bundle holds its own files"),
    "manifest a link to nowhere": (lambda b: linked(b / "manifest.json", remove=True), "a link"),
    "manifest nested deep": (lambda b: (b / "manifest.json").write_text("[" * 100_000), "nested too deeply"),
    "cutoff nested deep": (lambda b: (b / "cutoff.json").write_text("[" * 100_000), "nested too deeply"),
    "manifest not UTF-8": (lambda b: (b / "manifest.json").write_bytes(b"\xff{}"), "UTF-8"),
    "manifest that steers the terminal": (
        lambda b: edited(b / "manifest.json", '"name": "', '"name": "\\u001b[2J'),
        "holds a control character",
    ),
    "cutoff that steers the terminal": (
        lambda b: edited(b / "cutoff.json", '"policy": {', '"policy": {"\\u001b[2J": 1,'),
        "holds a control character",
    ),
    "manifest with a shape of floats": (
        lambda b: edited(b / "manifest.json", '"shape": [\n      1,', '"shape": [\n      1.0,'),
        "input shape 1.0: expected an integer",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_bundle_is_one_line_and_exit_2(command, own_copy, case):
    change, message = DAMAGE[case]
    path = own_copy()
    change(path)
    code, _, err = command("run", path, "--dataset", "digits", "--backend", "batched")
    assert code == 2 and message in err and err.count("\n") == 1


def test_debug_shows_the_traceback(monkeypatch, tmp_path):
    from spikecut.errors import BundleError

    monkeypatch.setattr(sys, "argv", ["spikecut", "verify", str(tmp_path / "nothing"), "--debug"])
    with pytest.raises(BundleError):
        cli.main()


def test_an_interrupted_run_leaves_nothing(command, workshop, tmp_path, monkeypatch):
    from spikecut.deploy.run import folder as run_folder

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder.pq.ParquetWriter, "write_table", interrupt)
    arguments = ["run", workshop / "lif", "--dataset", "digits", "--samples", 5, "--backend", "batched"]
    code, _, err = command(*arguments, "--out", tmp_path / "run")
    assert code == 130 and "interrupted" in err
    assert list(tmp_path.iterdir()) == []


PROBE = """
import sys
sys.argv = ["spikecut", "--help"]
from spikecut.deploy.cli import main as cli
from spikecut.deploy.placement.hardware import default_hardware
try:
    cli.main()
except SystemExit:
    pass
heavy = {"torch", "lava", "numpy", "pyarrow", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "calibrate" in done.stdout
