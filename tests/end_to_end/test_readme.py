"""The README's Python runs as printed."""

import re
import shutil

import pytest


def test_the_python_example_runs(repository, workshop, tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    shutil.copytree(workshop / "lif", tmp_path / "runs" / "demo" / "lif" / "bundle")
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks[0], "README.md", "exec"), {})
    accuracy, _, energy, low, high = map(float, capsys.readouterr().out.split())
    assert 0.5 < accuracy <= 1 and low < energy < high


@pytest.mark.parametrize("picture", ["raster", "accuracy"])
def test_the_pictures_are_there(repository, picture):
    assert f"docs/images/{picture}.png" in (repository / "README.md").read_text(encoding="utf-8")
    assert (repository / "docs" / "images" / f"{picture}.png").is_file()
