"""What a report gathers is what the runs say; what is gone, or has changed, is said and not shown."""

import json
import shutil
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from seals import seal_run

import spikecut
from spikecut.deploy.pipeline.reporting.gather import ReportOptions, gather
from spikecut.deploy.run.stored import read_run
from spikecut.errors import InputError

REPLAYED = {"accuracy over time", "spikes", "mesh", "player"}


@pytest.fixture
def own_run(run_folders, tmp_path):
    """A run's folder that a test may damage; edit: changes its summary."""

    def make(edit=lambda summary: None):
        folder = tmp_path / "run"
        shutil.copytree(run_folders["lif"], folder)
        summary = json.loads((folder / "summary.json").read_text())
        edit(summary)
        (folder / "summary.json").write_text(json.dumps(summary))
        seal_run(folder)
        return folder

    return make


def elsewhere(summary):
    """The run says that its bundle was in a folder that is gone."""
    summary["config"]["cutoff"]["file"] = "/gone/cutoff.json"
    summary["config"].pop("bundle", None)


def test_figures_are_those_of_the_run(report, run_folders):
    for run, folder in zip(report.runs, run_folders.values(), strict=True):
        stored = read_run(folder)
        summary, timesteps = stored.summary, stored.samples["timesteps"].to_numpy()
        assert run.missing == {} and report.notes == ()
        assert run.accuracy_cutoff.value == pytest.approx(summary.accuracy_cutoff, abs=1e-12)
        assert run.accuracy_cutoff.low < summary.accuracy_cutoff < run.accuracy_cutoff.high
        assert run.timesteps.value == summary.mean_timesteps == timesteps.mean()
        counts = [right + wrong for right, wrong in zip(run.exits.right, run.exits.wrong, strict=True)]
        assert counts == list(summary.timesteps_histogram.values())
        loihi2 = next(cost for cost in run.costs if cost.name == "loihi2")
        assert loihi2.energy_j.value == summary.hardware["loihi2"]["energy_j"]["mean"]
        assert loihi2.energy_j.low < loihi2.energy_j.value < loihi2.energy_j.high
        assert run.verification.passed and run.played.trace.samples == 20
        assert [layer.name for layer in run.layers] == [layer.name for layer in run.played.trace.network.layers]


def test_layers_add_up_to_the_whole(report):
    for run in report.runs:
        for cost in run.chips:
            parts = [*(layer.time_s[cost.name] for layer in run.layers), *cost.shared_time_s.values()]
            assert sum(part.value for part in parts) == pytest.approx(cost.latency_s.value, rel=1e-9)


def test_ways_to_stop_end_where_the_runs_did(report, run_folders):
    for run, folder in zip(report.runs, run_folders.values(), strict=True):
        stops = [point for point in run.points if point.kind == "stop"]
        assert [point.timesteps.value for point in stops] == list(range(1, run.horizon + 1))
        assert stops[-1].accuracy.value == pytest.approx(read_run(folder).summary.accuracy_full, abs=1e-12)
        energies = [point.energy_j["loihi2"].value for point in stops]
        assert energies == sorted(energies) and len(set(energies)) == len(energies)
        (own,) = (point for point in run.points if point.kind == "run")
        assert own.timesteps == run.timesteps and own.energy_j["loihi2"].low < own.energy_j["loihi2"].value
        assert any(point.kind == "policy" for point in run.points)


def test_wrong_samples_and_all_exits_are_among_those_played(report, run_folders):
    run, stored = report.runs[0], read_run(run_folders["lif"])
    exits = set(stored.samples["timesteps"].to_pylist())
    assert set(run.played.trace.timesteps.tolist()) == exits
    assert {each.index for each in run.wrong} <= set(run.played.index.tolist())
    asked = stored.samples["index"].to_pylist()[:3]
    again = gather([run_folders["lif"]], ReportOptions(samples=(asked[2], asked[0])))
    assert again.runs[0].played.index.tolist() == [asked[2], asked[0]]


def test_a_bundle_that_is_gone_is_said_and_can_be_named(own_run, workshop):
    folder = own_run(elsewhere)
    run = gather([folder]).runs[0]
    assert set(run.missing) == {"layers", "verification", *REPLAYED}
    assert "was not found: /gone: no such bundle" in run.missing["layers"] and "--bundle" in run.missing["layers"]
    assert run.played is None and run.verification is None and run.layers[0].weight_bits is None
    assert run.layers[1].time_s["loihi2"].value > 0 and run.wrong and run.chips
    again = gather([folder], ReportOptions(bundles=(workshop / "lif",))).runs[0]
    assert again.missing == {} and again.played is not None
    with pytest.raises(InputError, match="is the bundle of none of these runs"):
        gather([folder], ReportOptions(bundles=(workshop / "qcfs",)))


def test_another_network_in_the_bundles_place_is_not_shown(own_run, workshop, tmp_path):
    folder = own_run(elsewhere)
    shutil.copytree(workshop / "qcfs", tmp_path / "bundle")  # beside the run, where a demo has it
    run = gather([folder]).runs[0]
    assert "another network than that of the run" in run.missing["player"]


def test_other_samples_are_not_replayed(own_run):
    folder = own_run(lambda summary: summary["hashes"].update(data="0" * 64))
    run = gather([folder]).runs[0]
    assert set(run.missing) == REPLAYED and "other samples than those of the run" in run.missing["player"]
    assert run.verification.passed and run.layers[0].weight_bits == 8 and run.layers[0].spikes is None


def test_a_run_whose_answers_are_not_those_of_its_network_is_not_explained(own_run):
    folder = own_run()
    table = pq.read_table(folder / "samples.parquet")
    changed = np.where(np.arange(table.num_rows) == 7, 9 - table["prediction"].to_numpy(), table["prediction"])
    place = table.column_names.index("prediction")
    pq.write_table(table.set_column(place, "prediction", pa.array(changed, pa.int64())), folder / "samples.parquet")
    seal_run(folder)
    run = gather([folder]).runs[0]
    assert set(run.missing) == REPLAYED and "sample 7 has prediction" in run.missing["player"]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda summary: summary.update(format="spikecut sweep 3"), "is not of a run"),
        (lambda summary: summary.update(horizon="many"), r"summary\.json: horizon: "),
        (lambda summary: summary.update(samples=61), "holds 60 samples, the summary says 61"),
        (lambda summary: summary["hardware"].update(x={"latency_s": 3}), r"hardware\.x\.latency_s: "),
        (lambda summary: summary["savings"].update(monitors={"x": {"host": 3}}), r"savings\.monitors\.x\.host: "),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(own_run, edit, said):
    folder = own_run(edit)
    with pytest.raises(InputError, match=said):
        gather([folder])


def test_data_of_a_relative_path_are_found_from_another_folder(repository, tmp_path, monkeypatch):
    golden = repository / "tests" / "golden" / "format_1"
    monkeypatch.chdir(golden)
    how = {"backend": "batched", "hardware": ("loihi1",)}
    run = spikecut.run_dataset("bundle", "samples.npz", tmp_path / "run", **how)
    monkeypatch.chdir(tmp_path)
    assert gather([run.folder]).notes == () and run.summary.config["dataset"] == "samples.npz"
    shutil.copytree(golden / "bundle", tmp_path / "bundle")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    for kept in (None, str(tmp_path / "gone.npz")):  # a run of an earlier version, and data that have moved
        summary["config"]["data_file"] = kept
        (tmp_path / "run" / "summary.json").write_text(json.dumps(summary))
        seal_run(tmp_path / "run")
        assert "samples.npz: no such file" in " ".join(gather([run.folder]).notes)
        shutil.copy(golden / "samples.npz", tmp_path)
        assert gather([run.folder]).notes == ()
        (tmp_path / "samples.npz").unlink()


def test_a_folder_that_is_none_or_holds_no_run(tmp_path):
    for folder, said in ((tmp_path / "none", "no such folder of a run"), (tmp_path, "holds no summary.json")):
        with pytest.raises(InputError, match=said):
            read_run(folder)


def test_the_command_and_the_function_write_the_same_page(command, run_folders, tmp_path):
    out = tmp_path / "report.html"
    code, said, beside = command("report", run_folders["qcfs"], "--out", out)
    in_one = "".join(said.split())  # however long the path is at which lines are wrapped
    assert code == 0 and f"reportofqcfs:{out}" in in_one and "MB;openit" in in_one
    assert beside.splitlines()[-1].endswith("--figures pdf --out figures")
    done = spikecut.report(run_folders["qcfs"], tmp_path / "again.html")
    assert done.path.read_bytes() == out.read_bytes() and done.notes == ()
    code, _, beside = command("report", run_folders["qcfs"], "--out", out)
    assert (code, beside) == (2, f"spikecut: {out} exists: choose another file, or --overwrite\n")
    (tmp_path / "mine.html").write_text("<!DOCTYPE html>")
    with pytest.raises(InputError, match="is no report that spikecut wrote"):
        spikecut.report(run_folders["qcfs"], tmp_path / "mine.html", overwrite=True)


def test_figures_go_into_a_folder_of_their_own(command, own_run, tmp_path):
    out, folder = tmp_path / "figures", own_run(elsewhere)
    code, said, beside = command("report", folder, "--figures", "svg", "--out", out, "--json")
    files = json.loads(said)["files"]
    assert code == 0 and {"accuracy.svg", "exits.svg"} < set(files)
    assert {path.name for path in out.iterdir()} == {*files, "summary.json"}
    assert "tet: no layers, verification, accuracy over time, spikes, mesh, player: the run's bundle" in beside
    assert command("report", folder, "--figures", "svg", "--out", out, "--overwrite")[0] == 0
    assert command("report", folder, "--figures", "gif", "--out", out)[0] == 2


def test_without_its_packages_a_report_names_the_command(command, run_folders, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    code, said, beside = command("report", run_folders["lif"], "--out", tmp_path / "report.html")
    wanted = "spikecut: a report needs vl_convert, which is not installed: pip install 'spikecut[report]'\n"
    assert (code, said, beside) == (2, "", wanted)


def test_runs_of_one_network_have_names_of_their_own(run_folders):
    report = gather([run_folders["lif"], run_folders["lif"]])
    names = [run.name for run in report.runs]
    assert len(set(names)) == 2 and all(name.startswith("tet (") for name in names)


def test_costs_of_another_hardware_file_are_not_mixed_with_those_of_the_run(own_run):
    folder = own_run()
    table = pq.read_table(folder / "samples.parquet")
    place = table.column_names.index("loihi2_energy_j")
    other = pa.array(2 * table["loihi2_energy_j"].to_numpy(), pa.float64())
    pq.write_table(table.set_column(place, "loihi2_energy_j", other), folder / "samples.parquet")
    seal_run(folder)
    run = gather([folder]).runs[0]
    assert list(run.missing) == ["costs of other ways to stop on loihi2"] and "run again" in str(run.missing)
    stops = [point for point in run.points if point.kind == "stop"]
    assert all("loihi1" in point.energy_j and "loihi2" not in point.energy_j for point in stops)
