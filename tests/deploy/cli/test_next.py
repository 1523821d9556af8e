"""Every command ends with the one that may follow, on stderr; --quiet and --json leave it out."""

import pytest

from spikecut.deploy.cli.output import typed


def test_a_command_is_written_as_a_shell_takes_it():
    assert typed("run", "my bundle", "--dataset", "…", "$x") == "spikecut run 'my bundle' --dataset … '$x'"


def test_what_is_there_already_is_not_named_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = "spikecut report run --out"
    assert typed("report", "run", "--out", "report.html") == f"{said} report.html"
    (tmp_path / "report.html").touch()
    assert typed("report", "run", "--out", "report.html") == f"{said} report-2.html"
    (tmp_path / "report-2.html").mkdir()
    assert typed("report", "run", "--out", "report.html") == f"{said} report-3.html"


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        (("list",), "list presets"),
        (("hardware",), "inspect BUNDLE"),
        (("hardware", "horowitz45nm"), "inspect BUNDLE --hardware horowitz45nm"),
        (("zoo", "digits-qcfs"), "inspect zoo:digits-qcfs"),
    ],
)
def test_what_there_is_leads_on(command, asked, after):
    assert command(*asked)[2] == f"next: spikecut {after}\n"
    assert command(*asked, "--quiet")[2] == ""


def test_a_bundle_leads_from_inspect_to_a_sweep(command, own_copy):
    path = own_copy("qcfs")
    batched = ("--backend", "batched")
    assert command("inspect", path)[2] == f"next: spikecut verify {path}\n"
    run = f"next: spikecut run {path} --dataset DATASET --out run\n"
    assert command("verify", path, "--samples", 2, *batched)[2] == run
    code, out, err = command("run", path, "--dataset", "digits", "--samples", 5, *batched)
    assert (code, err) == (0, f"next: spikecut sweep {path} --dataset digits\n")
    assert len((out + err).splitlines()) <= 12
    assert command("run", path, "--dataset", "digits", "--samples", 5, *batched, "--json")[2] == ""
    (path / "cutoff.json").unlink()
    assert "calibrate" in command("verify", path, "--samples", 2, *batched)[2]
