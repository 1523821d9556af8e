"""The verbs about the installation."""

import json

import pytest

from spikecut import lava_repairs
from spikecut.deploy.pipeline import doctor
from spikecut.errors import BackendError


def test_what_is_installed_works(command):
    code, out, error = command("doctor")
    assert (code, error) == (0, "") and "what is installed works" in out and "missing" not in out
    code, out, error = command("doctor", "--json")
    found = json.loads(out)
    assert {each["name"] for each in found["packages"]} == {*doctor.CORE, *doctor.TORCH, *doctor.LAVA}
    assert len(found["repairs"]) == len(lava_repairs.needed())


def test_what_is_missing_is_named_with_the_command(command, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name.startswith(("lava", "torch")) else "1.0")
    code, out, _ = command("doctor")
    assert code == 0
    assert "missing: pip install 'spikecut[train]'\nmissing: spikecut install-lava\n" in out


def test_what_does_not_work_is_an_error(command, monkeypatch):
    def broken():
        raise BackendError("lava-nc 0.9.0 is installed")

    monkeypatch.setattr("spikecut.deploy.backends.lava.blocks.require_lava", broken)
    code, out, _ = command("doctor")
    assert code == 1 and "does not work: lava-nc 0.9.0 is installed\n" in out


def test_the_installation_of_lava_is_shown_first(command):
    code, out, _ = command("install-lava", "--dry-run")
    assert code == 0
    assert "lava-nc==0.10.0 --hash=sha256:" in out and "--no-deps --ignore-requires-python --require-hashes" in out


def test_a_failure_of_pip_is_one_line(command, monkeypatch):
    monkeypatch.setattr(doctor.sys, "executable", "false")
    code, out, error = command("install-lava")
    assert (code, out) == (2, "") and error.startswith("spikecut: pip could not install Lava")


@pytest.mark.parametrize("name", doctor.WHEELS)
def test_the_wheels_are_those_of_the_lock(repository, name):
    lock = (repository / "requirements.lock").read_text()
    entry = lock[lock.index(name) :].split("# via", 1)[0]
    assert doctor.WHEELS[name] in entry
