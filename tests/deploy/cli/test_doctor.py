"""The verbs about the installation: what the doctor says, in words and as JSON."""

import json
from dataclasses import asdict
from io import StringIO

import pytest
from rich.console import Console

from spikecut import lava_repairs
from spikecut.deploy.pipeline.installation import doctor
from spikecut.deploy.pipeline.installation.trials import Finding
from spikecut.deploy.report.doctor_tables import doctor_tables

WORKS = Finding("works", "it works")


@pytest.fixture
def tried(monkeypatch):
    """Let the trials find what the test says; a name that it leaves out works."""
    found = {}
    monkeypatch.setattr(doctor, "attempt_all", lambda names, progress: {name: found.get(name, WORKS) for name in names})
    return found


@pytest.fixture
def versions(monkeypatch):
    """Versions of packages; None for one that is missing, 1.0 for what the test does not name."""
    found = {}
    monkeypatch.setattr(doctor, "installed_version", lambda name: found.get(name, "1.0"))
    return found


@pytest.mark.lava
@pytest.mark.slow
def test_what_is_installed_works(command):
    code, out, error = command("doctor")
    assert (code, error) == (0, "next: spikecut demo\n"), out
    assert "what is installed works" in out and "missing" not in out and "fails" not in out


def test_json_holds_packages_checks_repairs_and_faults(command, tried, versions):
    versions.update({"lava-nc": "0.10.0", "lava-dl": "0.6.0", "nir": None})
    tried["int8"] = Finding("not available", "no oneDNN")
    code, out, _ = command("doctor", "--json")
    found = json.loads(out)
    assert code == 0 and found.keys() == {"python", "system", "packages", "checks", "repairs", "faults"}
    assert {each["name"]: each["version"] for each in found["packages"]}["lava-nc"] == "0.10.0"
    assert {frozenset(each) for each in found["packages"]} == {frozenset({"name", "version", "purpose", "remedy"})}
    states = [(each["name"], each["state"], each["said"], each["remedy"]) for each in found["checks"]]
    assert states == [
        ("the batched engine", "works", "it works", ""),
        ("its int8 products", "not available", "no oneDNN", ""),
        ("training, export", "works", "it works", ""),
        ("Lava", "works", "it works", ""),
        ("writing NIR files", "missing", "needs nir", "pip install 'spikecut[nir]'"),
    ]
    assert len(found["repairs"]) == len(lava_repairs.needed()) and found["faults"] == []


def test_what_is_missing_is_named_with_the_command(command, tried, versions):
    versions.update(dict.fromkeys(("torch", "torchvision", "lava-nc", "lava-dl")))
    code, out, _ = command("doctor")
    assert code == 0
    assert "missing: its int8 products, training, export: pip install 'spikecut[train]'\n" in out
    assert "missing: Lava: spikecut install-lava\nwhat is installed works\n" in out
    assert "repaired" not in out


def test_what_does_not_work_is_an_error(command, tried, versions):
    tried["lava"] = Finding("fails", "lava-nc 0.9.0 is installed")
    code, out, _ = command("doctor")
    assert code == 1 and "does not work: Lava: lava-nc 0.9.0 is installed\n" in out and "works\n" not in out


@pytest.mark.parametrize(
    ("lacks", "backend", "said"),
    [
        ((), "lava", "Lava, which is not installed: spikecut install-lava, or take --backend batched"),
        (("torch",), "batched", "torch, which is not installed: pip install 'spikecut[train]'"),
        (("torch",), "lava", "train]'; and Lava, which is not installed: spikecut install-lava, or take --backend"),
    ],
)
def test_the_demo_says_at_once_what_it_lacks(command, monkeypatch, versions, tmp_path, lacks, backend, said):
    versions.update(dict.fromkeys(("lava-nc", "lava-dl")))
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in lacks else name)
    code, out, error = command("demo", "--backend", backend, "--out", tmp_path / "demo")
    assert (code, out) == (2, "") and error.startswith("spikecut: this needs ") and said in error
    assert error.count("\n") == 1 and not (tmp_path / "demo").exists()


def test_everything_fits_into_eighty_columns(monkeypatch, tried, versions):
    monkeypatch.setattr(lava_repairs, "needed", lambda: lava_repairs.REPAIRS)
    versions["nir"] = None
    tried["batched"] = Finding("works", "compiled kernels are kept in /home/somebody" + 20 * "/folder")
    found = doctor.doctor()
    shown = StringIO()
    console = Console(file=shown, width=80)
    for part in doctor_tables(asdict(found)):
        console.print(part)
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in shown.getvalue()
    for repair in lava_repairs.REPAIRS:
        assert any(repair.module in line and f" {repair.line} " in line for line in lines), shown.getvalue()
