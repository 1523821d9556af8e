"""Calibration and sweep of really trained networks, from the bundle to the folder and to what is shown of them."""

import io
import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cutoff.calibration.record import read_record, sealed
from spikecut.deploy.pipeline.calibrate import CalibrationOptions, calibrate_bundle
from spikecut.deploy.pipeline.samples import data_hash
from spikecut.deploy.pipeline.sweep import SweepOptions, run_sweep, sweep_bundle
from spikecut.deploy.placement.hardware import default_hardware
from spikecut.deploy.report.calibration_tables import calibration_shown
from spikecut.deploy.report.sweep_tables import sweep_shown
from spikecut.errors import BundleError, InputError
from spikecut.export.encode import encode
from spikecut.files import sha256


def calibrate(path, **options):
    return calibrate_bundle(path, "digits", CalibrationOptions(**options)).calibration


def sweep(path, out=None, overwrite=False, **options):
    return sweep_bundle(path, "digits", SweepOptions(**options), out, overwrite)


def text(shown):
    console = Console(width=200, record=True, file=io.StringIO(), markup=False)
    for part in shown:
        console.print(part)
    return " ".join(console.export_text().split())


@pytest.mark.parametrize("policy", ["confidence", "entropy", "spikecp", "fixed"])
def test_every_policy_is_written_and_read_back(own_copy, digits, policy):
    path = own_copy("qcfs")
    result = calibrate(path, policy=policy, epsilon=0.03)
    written = json.loads((path / "cutoff.json").read_text())
    assert written == {
        **result.to_dict(),
        "dataset": "digits",
        "data": data_hash(digits.calibration),
        "network": sha256(path / "network.net"),
        "bundle": "qcfs",
        "format": 2,
        "sha256": written["sha256"],
    }
    assert written["policy"]["policy"] == policy
    assert written["samples"] == 450
    bundle = open_bundle(path)
    trace = run_batched(bundle.network, encode(digits.calibration.x, bundle.network), bundle.cutoff())
    assert trace.timesteps.mean() == written["mean_timesteps"]
    assert (trace.predictions == digits.calibration.y).mean() == written["accuracy_cutoff"]
    assert "450 calibration samples" in text(calibration_shown(result, policy))


def test_a_cutoff_of_another_network_or_horizon_is_refused(own_copy):
    path = own_copy("lif")
    calibrate(path, policy="confidence")
    written = json.loads((path / "cutoff.json").read_text())
    (path / "cutoff.json").write_text(json.dumps({**written, "network": "0" * 64}))
    with pytest.raises(BundleError, match="another network"):
        open_bundle(path).cutoff()
    shorter = {**written["policy"], "thresholds": written["policy"]["thresholds"][:-1]}
    (path / "cutoff.json").write_text(json.dumps({**written, "policy": shorter}))
    with pytest.raises(BundleError, match="T = 15"):
        open_bundle(path).cutoff()


def test_the_hash_of_a_cutoff_is_that_of_the_file_whatever_its_keys_are():
    calibration = {"policy": {"policy": "fixed", "timestep": 1}, "of its own": {2: 1, 10: 3}}
    data = json.loads(json.dumps(sealed(calibration, "0" * 64, "net")))
    assert read_record(data, Path("cutoff.json"), "0" * 64, 4).policy.to_dict() == calibration["policy"]


def test_a_circle_of_links_is_refused_in_one_line(command, tmp_path):
    (tmp_path / "x").symlink_to(tmp_path / "x")
    code, _, err = command("calibrate", tmp_path / "x", "--dataset", "digits")
    assert code == 2 and err.count("\n") == 1


@pytest.mark.parametrize("written_by", ["this", "format 1"])
@pytest.mark.parametrize("policy", ["topk", "confidence"])
def test_a_cutoff_that_was_changed_is_refused(own_copy, command, policy, written_by):
    path = own_copy("lif")
    calibrate(path, policy=policy)
    data = json.loads((path / "cutoff.json").read_text())
    if written_by == "format 1":
        for key in ("format", "sha256", "bundle"):
            del data[key]
        (path / "cutoff.json").write_text(json.dumps(data, indent=4))  # the spaces do not matter
        assert open_bundle(path).cutoff().to_dict() == data["policy"]
    data["policy"]["thresholds"] = [0] * 16
    (path / "cutoff.json").write_text(json.dumps(data))
    code, _, err = command("run", path, "--dataset", "digits", "--backend", "batched")
    assert code == 2 and "cutoff.json: changed since it was calibrated" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "change", [{"epsilon": 0.5}, {"format": 1}, {"format": 3}, {"sha256": None}, {"samples": 45000}]
)
def test_nothing_in_a_cutoff_changes_unseen(own_copy, change):
    path = own_copy("qcfs")
    data = json.loads((path / "cutoff.json").read_text())
    (path / "cutoff.json").write_text(json.dumps({**data, **change}))
    with pytest.raises(BundleError, match=r"changed since|format 3, this spikecut reads 1 and 2"):
        open_bundle(path).cutoff()


def test_the_cutoff_of_another_bundle_is_named(own_copy):
    path, other = own_copy("lif"), own_copy("qcfs")
    (path / "cutoff.json").write_bytes((other / "cutoff.json").read_bytes())
    with pytest.raises(BundleError, match="calibrated for another network, qcfs; calibrate again"):
        open_bundle(path).cutoff()


def test_a_shared_bundle_is_never_calibrated_anew(command, workshop, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = ("--dataset", "digits", "--epsilon", "0.3")
    code, _, err = command("calibrate", "zoo:digits-qcfs", *asked)
    assert code == 2 and "give --out BUNDLE for a copy" in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())  # refused before it was made
    shared = tmp_path / "cache" / "spikecut" / "zoo" / "qcfs"
    shutil.copytree(workshop / "qcfs", shared)
    before = (shared / "cutoff.json").read_bytes()
    assert command("calibrate", shared, *asked)[0] == 2
    mine = tmp_path / "mine"
    code, out, err = command("calibrate", shared, *asked, "--out", mine)
    assert code == 0 and "written to" in out, err
    assert (shared / "cutoff.json").read_bytes() == before
    assert {path.name for path in mine.iterdir()} == {path.name for path in shared.iterdir()}
    assert open_bundle(mine).calibrated().epsilon == 0.3 and open_bundle(shared).calibrated().epsilon == 0.02
    assert command("calibrate", shared, *asked, "--out", mine)[0] == 2
    assert command("calibrate", shared, *asked, "--out", mine, "--overwrite")[0] == 0


def test_a_run_says_which_policy_with_which_epsilon_from_where(command, own_copy):
    path = own_copy("qcfs")
    calibrate(path, epsilon=0.05, delta=0.1)
    asked = ("run", path, "--dataset", "digits", "--backend", "batched", "--samples", 5, "--hardware", "loihi2")
    code, out, err = command(*asked)
    assert code == 0, err
    said = " ".join(out.split())
    assert "cutoff topk, ε = 0.05, δ = 0.1; calibrated on 450 samples of digits" in said
    config = json.loads(command(*asked, "--json")[1])["config"]
    told = {"epsilon": 0.05, "delta": 0.1, "samples": 450, "dataset": "digits", "file": str(path / "cutoff.json")}
    assert config["cutoff"] == told
    code, out, _ = command(*asked, "--no-cutoff")
    assert "none: all T timesteps" in out and "ε" not in out and "with cutoff" not in out


def test_a_guarantee_is_said_and_recorded(own_copy):
    path = own_copy("qcfs")
    result = calibrate(path, epsilon=0.05, delta=0.1)
    said = text(calibration_shown(result, "topk"))
    assert "with probability ≥ 0.9 at most 5 % of new samples" in said
    recorded = json.loads((path / "cutoff.json").read_text())["guarantee"]
    assert (recorded["epsilon"], recorded["delta"]) == (0.05, 0.1)
    assert recorded["family_samples"] + recorded["test_samples"] == 450
    before = (path / "cutoff.json").read_bytes()
    with pytest.raises(InputError, match=r"too few .* give 797 or more"):
        calibrate(path, epsilon=0.005, delta=0.05)
    assert (path / "cutoff.json").read_bytes() == before
    assert "hold on these samples only" in text(calibration_shown(calibrate(path, epsilon=0.05), "topk"))


def test_a_policy_saves_at_least_1_7_times_the_steps_for_0_3_points(bundle, digits):
    """Thresholds from the calibration split, measured on the test split; the networks are trained by the tests."""
    result = run_sweep(bundle, digits.calibration, digits.test)
    best = [point for name in result.policies if (point := result.best(name, 0.003, on="test")) is not None]
    fewest = min(best, key=lambda point: point.mean_timesteps)
    assert result.accuracy_full - fewest.accuracy <= 0.003 + 1e-12
    assert result.horizon / fewest.mean_timesteps >= 1.7
    trace = run_batched(bundle.network, encode(digits.test.x, bundle.network), fewest.cutoff)
    assert trace.timesteps.mean() == fewest.mean_timesteps
    assert (trace.predictions == digits.test.y).mean() == fewest.accuracy


@pytest.mark.slow
def test_the_sweep_leaves_a_folder(workshop, tmp_path):
    out = tmp_path / "sweep"
    result = sweep(workshop / "lif", out, epsilons=[0.001, 0.02, 0.1], samples=60)
    assert sorted(path.name for path in out.iterdir()) == ["figures", "summary.json"]
    names = {path.name for path in (out / "figures").iterdir()}
    assert names >= {"accuracy-timesteps.png", "energy-accuracy-loihi1.png", "energy-accuracy-loihi2.png"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary == json.loads(json.dumps(result.summary, allow_nan=False))
    assert (summary["samples"], summary["calibration_samples"], len(summary["points"])) == (60, 450, 15)
    assert set(summary["full_costs"]) == set(default_hardware())
    for ratios in summary["streamed"].values():
        for hardware in ratios.values():
            assert 0 < hardware["energy_j"] <= 1 + 1e-12
            assert np.isfinite(hardware["latency_s"])
    said = text(sweep_shown(result.sweep, "lif"))
    for words in ("full horizon", "oracle (stable)", "Oracle: of stable correctness", "hardware steps"):
        assert words in said
    assert "chosen on the 450 calibration samples" in said and "on 60 test samples" in said
    assert "no lower bound: a policy may exit earlier" in said
    with pytest.raises(InputError, match="--overwrite"):
        sweep(workshop / "lif", out)
    sweep(workshop / "lif", out, True, policies=["topk"], epsilons=[0.02], hardware=[], samples=30)
    assert len(json.loads((out / "summary.json").read_text())["points"]) == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no spikecut sweep"):
        sweep(workshop / "lif", tmp_path / "other", overwrite=True)


def test_hardware_that_refuses_is_said(workshop):
    result = sweep(workshop / "qcfs", epsilons=[0.01], policies=["topk"], samples=20)
    assert "cannot run here" in result.summary["refusals"]["loihi1"]
    assert "loihi1: cannot run here" in text(sweep_shown(result.sweep, "qcfs"))


@pytest.mark.slow
def test_a_sweep_says_what_its_estimates_rest_on(workshop, tmp_path):
    mine = tmp_path / "my[b]chip.yaml"
    mine.write_text((files("spikecut.hardware_configs") / "loihi2.yaml").read_text())
    result = sweep(
        workshop / "qcfs",
        tmp_path / "sweep",
        policies=["topk"],
        epsilons=[0.02],
        hardware=["loihi1", str(mine)],
        hypothetical=True,
        samples=40,
    )
    said = text(sweep_shown(result.sweep, "qcfs"))
    assert "hypothetical, it lacks graded spikes" in said
    assert "my[b]chip.yaml, estimated (bound, fitted, inherited" in said
    assert "loihi1 energy, hypothetical" in said and "is at least the known part; unknown: barrier energy" in said
    estimated = result.summary["estimated"]
    assert estimated["loihi1"]["hypothetical"] and not estimated[str(mine)]["hypothetical"]
    assert "monitor time" in estimated[str(mine)]["unknown_time"] and estimated["loihi1"]["provenance_energy"]
    names = {path.name for path in (tmp_path / "sweep" / "figures").iterdir()}
    assert {"energy-accuracy-loihi1.png", "energy-accuracy-my[b]chip.png"} <= names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed -1"),
        ({"seed": 1.5}, "seed 1.5"),
        ({"epsilon": 1e-320}, "no test set is large enough"),
        ({"epsilon": 1e-300}, "no test set is large enough"),
    ],
)
def test_what_no_guarantee_can_be_given_for(own_copy, options, message):
    with pytest.raises(InputError, match=message):
        calibrate(own_copy("lif"), **{"epsilon": 0.05, "delta": 0.05, **options})


def test_delta_belongs_to_the_guarantee(command, own_copy):
    code, _, err = command("calibrate", own_copy("lif"), "--dataset", "digits", "--delta", 0.5)
    assert code == 2 and "belongs to --guarantee" in err
