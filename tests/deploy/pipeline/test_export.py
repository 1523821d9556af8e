"""The process that runs a user's program answers with one line, whatever fails in it."""

import io
import json

import pytest
from torch import nn

from spikecut.deploy.pipeline import export
from spikecut.export.torch_module.program import Program, error_named


def test_any_failure_of_the_programs_process_is_told_in_one_line(tmp_path, monkeypatch):
    def fails(*_):
        raise KeyError("left\nbehind")

    told = {"source": "mine.py:build", "weights": None, "out": str(tmp_path / "out"), "how": {}}
    monkeypatch.setattr(export, "export_module", fails)
    monkeypatch.setattr(Program, "built", lambda *_: (nn.Identity(), None))
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(told)))
    monkeypatch.setattr("sys.argv", ["", str(tmp_path / "answer.json")])
    export.run_program()
    name, text = json.loads((tmp_path / "answer.json").read_text())["error"]
    assert (name, text) == ("InputError", "mine.py:build: the export fails: KeyError: 'left\\nbehind'")
    with pytest.raises(export.InputError, match="the export fails"):
        raise error_named(name, text)
