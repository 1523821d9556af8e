"""The installation of Lava: which commands, from what is there, and what is said in the end."""

import sys

import pytest

from spikecut import lava_repairs
from spikecut.deploy.pipeline.installation import lava as installation
from spikecut.errors import InputError

PIP = (sys.executable, "-m", "pip", "install")


class Machine:
    """What is installed: versions by package, and tools; what Lava imports is there if its package is."""

    def __init__(self):
        self.versions = {**dict.fromkeys(installation.NEEDS, "1.0"), "numpy": "2.5.5", "torch": "2.15.0+cpu"}
        self.tools = {"pip"}

    def find_spec(self, module):
        packages = {module: name for name, module in installation.NEEDS.items()}
        known = self.tools & {"pip"} if module == "pip" else {packages.get(module)} & self.versions.keys()
        return module if known else None

    def which(self, tool):
        return f"/usr/bin/{tool}" if tool in self.tools else None


@pytest.fixture
def machine(monkeypatch):
    found = Machine()
    monkeypatch.setattr(installation, "installed_version", lambda name: found.versions.get(name))
    monkeypatch.setattr(installation, "find_spec", found.find_spec)
    monkeypatch.setattr(installation.shutil, "which", found.which)
    monkeypatch.setattr(lava_repairs, "unrepairable", lambda: ())
    return found


def test_only_what_is_missing_is_asked_for(machine, tmp_path):
    del machine.versions["asteval"]
    todo = installation.plan(tmp_path)
    assert todo.missing == ("asteval",) and todo.wheels == ("lava-nc", "lava-dl")
    first, second = todo.commands
    assert first == (*PIP, "--constraint", str(tmp_path / "constraints.txt"), "asteval")
    flags = ("--no-deps", "--ignore-requires-python", "--require-hashes", "--requirement")
    assert second == (*PIP, *flags, str(tmp_path / "requirements.txt"))


def test_what_is_there_keeps_its_version(machine, tmp_path):
    del machine.versions["torchvision"]
    held = installation.plan(tmp_path).files["constraints.txt"].splitlines()
    assert {"numpy==2.5.5", "torch==2.15.0+cpu", "networkx==1.0"} <= set(held)


def test_where_everything_is_there_nothing_is_done(machine, command):
    machine.versions.update(lava_repairs.RELEASES)
    done = command("install-lava")
    assert done == (0, "Lava and what it needs are installed already\n", "next: spikecut doctor\n")
    assert command("install-lava", "--dry-run") == done
    assert installation.install_lava().installed == ()


def test_another_release_is_replaced(machine, tmp_path):
    machine.versions.update({**lava_repairs.RELEASES, "lava-nc": "0.9.0"})
    todo = installation.plan(tmp_path)
    assert todo.wheels == ("lava-nc",) and len(todo.commands) == 1
    assert todo.files["requirements.txt"].startswith("lava-nc==0.10.0 --hash=sha256:")


def test_a_changed_file_is_installed_again(machine, monkeypatch, tmp_path):
    machine.versions.update(lava_repairs.RELEASES)
    monkeypatch.setattr(lava_repairs, "needed", lambda: lava_repairs.REPAIRS)
    changed = next(repair.file for repair in lava_repairs.REPAIRS if repair.distribution == "lava-dl")
    monkeypatch.setattr(lava_repairs, "unrepairable", lambda: (changed,))
    todo = installation.plan(tmp_path)
    assert todo.wheels == ("lava-dl",) and "--force-reinstall" in todo.commands[0]


def test_uv_takes_the_place_of_pip(machine, tmp_path):
    machine.tools = {"uv"}
    del machine.versions["asteval"]
    start = ("/usr/bin/uv", "pip", "install", "--python", sys.executable)
    assert all(command[:5] == start for command in installation.plan(tmp_path).commands)
    assert "--ignore-requires-python" not in installation.plan(tmp_path).commands[1]  # uv does not know it


def test_neither_pip_nor_uv_is_one_line(machine, command):
    machine.tools = set()
    code, out, error = command("install-lava")
    assert (code, out) == (2, "") and error.count("\n") == 1
    assert f"{sys.executable} -m ensurepip, then spikecut install-lava" in error


def test_a_failure_of_pip_is_one_line(machine, command, monkeypatch):
    monkeypatch.setattr(installation.sys, "executable", "false")
    code, out, error = command("install-lava")
    assert (code, out) == (2, "") and error.startswith("spikecut: pip could not install lava-nc, lava-dl (exit code 1,")


def test_the_end_names_what_was_installed_and_what_is_next(machine, command, monkeypatch):
    def pip(words, check):
        machine.versions.update(lava_repairs.RELEASES)
        return installation.subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(installation.subprocess, "run", pip)
    code, out, beside = command("install-lava")
    assert code == 0 and out == "installed: lava-nc 0.10.0, lava-dl 0.6.0\n" and beside == "next: spikecut doctor\n"


def test_the_commands_are_shown_first(machine, command):
    code, out, beside = command("install-lava", "--dry-run")
    assert code == 0 and out == f"{installation.install_lava(dry_run=True)}\n"
    assert beside == "next: spikecut install-lava\n"
    assert "lava-nc==0.10.0 --hash=sha256:" in out and "--no-deps --ignore-requires-python --require-hashes" in out


def test_a_plan_without_pip_and_uv_is_refused_only_if_something_is_to_be_done(machine, tmp_path):
    machine.tools = set()
    machine.versions.update(lava_repairs.RELEASES)
    assert installation.plan(tmp_path).commands == ()
    del machine.versions["asteval"]
    with pytest.raises(InputError, match="neither pip nor uv"):
        installation.plan(tmp_path)
