"""The table of docs/cost_model.md is the one that the script makes."""

import importlib.util
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType

import pytest


def lava_dl() -> bool:
    try:
        distribution("lava-dl")
    except PackageNotFoundError:
        return False
    return True


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("cost_validation", repository / "scripts" / "cost_validation.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.skipif(not lava_dl(), reason="lava-dl, whose wheel holds the reference networks, is not installed")
def test_the_table_is_current(script: ModuleType, repository: Path) -> None:
    text = (repository / "docs" / "cost_model.md").read_text(encoding="utf-8")
    block = text.split(script.BEGIN)[1].split(script.END)[0]
    assert block.strip() == script.validation_table(), "run scripts/cost_validation.py"


def test_the_table_names_every_published_measurement(script: ModuleType, repository: Path) -> None:
    text = (repository / "docs" / "cost_model.md").read_text(encoding="utf-8")
    block = text.split(script.BEGIN)[1].split(script.END)[0]
    for figure in ("152.8 µs", "408.9", "1.661 mJ", "1.094 mJ", "17.6 µs", "52.9 ms", "576 µJ", "0.27 mJ", "296"):
        assert figure in block
    for figure in ("6.65 ms", "0.66 mJ", "340 ms", "102 mJ", "| 74 |", "| 6 |", "| 14 |", "| 861 |"):
        assert figure in block
    assert "measured" not in block
