"""Defaults of options from spikecut.toml or pyproject.toml: what they set, and the one line for what they may not."""

import json

import pytest

from spikecut.deploy.cli.parameters.defaults import MAXIMUM_FILE, find_defaults


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder, two below the one that holds .git."""
    (tmp_path / ".git").mkdir()
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def test_the_nearest_file_sets_defaults_and_the_command_line_wins(command, folder, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.spikecut.run]\nbackend = "mine"\nlava-models = "fast"\n')
    code, _, err = command("run", "nothing", "--dataset", "digits")
    said, refused = err.splitlines()
    assert code == 2 and said == f"spikecut: {tmp_path / 'pyproject.toml'}: backend = mine, lava-models = fast"
    assert refused.startswith("spikecut: --backend 'mine': expected one of batched, ")
    code, _, err = command("run", "nothing", "--dataset", "digits", "--backend", "batched", "--quiet")
    assert code == 2 and "no such bundle" in err and err.count("\n") == 1
    (tmp_path / "deep" / "spikecut.toml").write_text('[run]\nbackend = "yours"\n')
    assert "spikecut: --backend 'yours': " in command("run", "nothing", "--dataset", "digits")[2]
    (folder / "pyproject.toml").write_text("[tool.other]\n")  # says nothing to spikecut, and is passed over
    assert "--backend 'yours'" in command("run", "nothing", "--dataset", "digits")[2]


def test_a_run_records_what_came_from_the_file(command, folder, workshop):
    (folder / "spikecut.toml").write_text(
        '[run]\nbackend = "batched"\nsamples = 3\nhardware = ["loihi1"]\njson = true\n'
    )
    code, out, err = command("run", workshop / "qcfs", "--dataset", "digits")
    assert code == 0 and "backend = batched, hardware = ['loihi1'], samples = 3, json = true" in " ".join(err.split())
    summary = json.loads(out)
    assert (summary["backend"], summary["samples"], list(summary["hardware"])) == ("batched", 3, ["loihi1"])


WRONG = {
    "[run]\noverwrite = true": "[run] overwrite: only on the command line; remove it",
    '[run]\nout = "x"': "[run] out: only on the command line; remove it",
    '[export]\nweights = "evil.py:f"': "[export] weights: only on the command line; remove it",
    '[train]\nfrom = "x"': "[train] from: only on the command line; remove it",
    '[run]\nbundle = "x"': "[run] bundle: expected one of also-full, backend, ",
    "[run]\nbacked = 1": "[run] backed: expected one of also-full, backend, ",
    '[run]\nsamples = "3"': "[run] samples = '3': Input should be a valid integer; correct it",
    "[run]\nsamples = 0": "[run] samples = 0: Input should be greater than or equal to 1; correct it",
    "[runs]": "runs: no command with options: expected one of ",
    "[install-lava]": "install-lava: no command with options: expected one of ",
    "run = 3": "run: expected a table, [run], of its options",
    "[run": "no TOML (",
    "\0": "no TOML (",
    "#" * (MAXIMUM_FILE["spikecut.toml"] + 1): "spikecut.toml",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_a_file_may_not_say_is_one_line(command, folder, text):
    (folder / "spikecut.toml").write_text(text)
    code, out, err = command("run", "nothing", "--dataset", "digits")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"spikecut: {folder / 'spikecut.toml'}") and WRONG[text] in err


def test_help_and_the_version_do_not_need_the_file(command, folder):
    (folder / "spikecut.toml").write_text("[run")
    assert command("run", "-h")[0] == command("version")[0] == command("list", "backends")[0] == 0


def test_a_resumed_run_keeps_its_own_options(command, folder):
    (folder / "spikecut.toml").write_text('[run]\ndataset = "digits"\n')
    code, _, err = command("run", "--resume", "nothing")
    assert code == 2 and "neither a bundle" not in err


def test_nothing_above_the_repository_is_read(folder, tmp_path):
    assert find_defaults(folder) is None
    (tmp_path.parent / "spikecut.toml").write_text("[run]\n")
    try:
        assert find_defaults(folder) is None
    finally:
        (tmp_path.parent / "spikecut.toml").unlink()


def test_paths_are_relative_to_the_file(command, folder, tmp_path):
    (tmp_path / "spikecut.toml").write_text('[run]\ndataset = "mine.npz"\ndata = "sets"\nbackend = "batched"\n')
    _, _, err = command("run", "nothing")
    assert f"dataset = {tmp_path / 'mine.npz'}" in err and f"data = {tmp_path / 'sets'}" in err
