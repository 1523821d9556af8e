"""Files written whole and read back."""

import json

import pytest

from spikecut.files import read_json, write_json


def test_json_comes_back_as_it_was_whatever_a_file_is_called(tmp_path):
    value = {"b": ["ε ≤ 0.01", "\udcff.npz", 'C:\\data "x"'], "a": 1.5e-300, "n": None}
    path = tmp_path / "value.json"
    write_json(path, value)
    assert read_json(path) == value
    assert "ε ≤ 0.01" in path.read_text(encoding="utf-8") and list(json.loads(path.read_bytes())) == ["a", "b", "n"]
    write_json(path, value, sort_keys=False)
    assert list(read_json(path)) == ["b", "a", "n"]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_does_not_know_is_not_written(tmp_path, number):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "value.json", {"a": number})
    assert list(tmp_path.iterdir()) == []
