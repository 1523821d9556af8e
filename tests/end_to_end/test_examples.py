"""The notebooks of examples/ run from the first cell to the last."""

import json

import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = ("a_stream_of_events", "choose_a_cutoff", "energy_on_your_own_chip", "your_own_network")


def test_every_notebook_is_run(repository):
    assert sorted(path.stem for path in (repository / "examples").glob("*.ipynb")) == sorted(NOTEBOOKS)


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs(repository, tmp_path, monkeypatch, name):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((repository / "examples" / f"{name}.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names = {}
    try:
        for number, cell in enumerate(cells):
            exec(compile(cell, f"{name}.ipynb, code cell {number}", "exec"), names)
    finally:
        plt.close("all")
