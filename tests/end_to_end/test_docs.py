"""The pages of the site that show a way to go: their commands and their Python run as printed."""

import re
import shlex

import numpy as np
import pyarrow.parquet as pq
import pytest

from spikecut.models.data import load_dataset

NOT_HERE = ("spikecut install-lava", "spikecut doctor")
"""Commands that change the installation, or that have tests of their own."""


@pytest.fixture
def page(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return lambda name: (repository / "docs" / name).read_text(encoding="utf-8")


def python(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_five_minutes(page, command, capsys):
    text = page("start.md")
    lines = [line.split("  #")[0].strip() for line in re.findall(r"^    spikecut .*", text, re.MULTILINE)]
    run = [line for line in lines if not line.startswith(NOT_HERE)]
    assert len(run) == 6 and len(lines) == 8
    for line in run:
        code, _, err = command(*shlex.split(line)[1:])
        assert code == 0, f"{line}: {err}"
    (block,) = python(text)
    exec(compile(block, "start.md", "exec"), {})
    accuracy, timesteps = map(float, capsys.readouterr().out.splitlines()[-1].split())
    assert accuracy > 0.9 and 1 <= timesteps < 4


def test_a_file_of_ones_own(page):
    (block,) = python(page("data.md"))
    exec(compile(block, "data.md", "exec"), {})
    dataset = load_dataset("mine.npz")
    assert [len(part) for part in (dataset.train, dataset.calibration, dataset.test)] == [180, 60, 60]


def test_shards_give_the_rows_of_one_run(page, command, workshop, tmp_path, capsys):
    """The guide's two machines, one after the other, against one run of all samples."""
    text = page("several_machines.md")
    cut, join = python(text)
    (tmp_path / "bundle").symlink_to(workshop / "qcfs")
    space = {}
    exec(compile(cut, "several_machines.md", "exec"), space)
    lines = re.findall(r"^    spikecut .*", text, re.MULTILINE)
    assert len(lines) == space["SHARDS"]
    for line in (*lines, "spikecut run bundle --dataset digits --backend batched --out whole"):
        code, _, err = command(*shlex.split(line)[1:])
        assert code == 0, f"{line}: {err}"
    capsys.readouterr()
    exec(compile(join, "several_machines.md", "exec"), space)
    own = ["index", "wall_time_s"]
    whole = pq.read_table("whole/samples.parquet").drop_columns(own)
    assert len(whole) > 300 and space["rows"].drop_columns(own).equals(whole)
    assert float(capsys.readouterr().out.split()[1]) == np.mean(whole["correct"])
