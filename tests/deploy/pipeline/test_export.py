"""The process that runs a user's program answers with one line, whatever fails in it."""

import io
import json

import numpy as np
import pytest
from torch import nn

import spikecut
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


def test_what_the_command_says_is_on_the_bundle(repository, tmp_path, command):
    """Approximations as a warning as well, the split of x and y alone, and the bits of the input."""
    rng = np.random.default_rng(3)
    np.savez(tmp_path / "mine.npz", x=rng.random((200, 1, 8, 8), np.float32), y=np.arange(200) % 10)
    source, data = repository / "tests" / "golden" / "nir" / "snntorch.nir", str(tmp_path / "mine.npz")
    given = {"horizon": 4, "framework": "snntorch", "reset": "zero"}
    with pytest.warns(spikecut.ApproximationWarning, match="do otherwise: .* strict=True refuses") as warned:
        bundle = spikecut.export(source, tmp_path / "out", dataset=data, **given)
    assert len(warned) == 1 and warned[0].filename == __file__
    notes = "\n".join(bundle.notes)
    assert "approximated: " in notes and "split by class" in notes and "direct, 6 bits, unit" in notes
    assert "note: approximated" in str(bundle)
    flags = [word for key, value in given.items() for word in (f"--{key}", value)]
    code, out, err = command("export", source, "--dataset", data, *flags, "--out", tmp_path / "same")
    assert code == 0 and "approximate" in out and "6 bits" in out and "split by class" in err
    said = " ".join(out.split())
    assert "loihi2: fits: " in said and "loihi1, loihi1_davies2018: cannot run here: graded spikes (the input's" in said
    assert "it would with an input of spikes" in said
    with pytest.raises(spikecut.ExportError, match="takes nothing inexact"):
        spikecut.export(source, tmp_path / "strict", dataset=data, strict=True, **given)
    assert spikecut.open_bundle(tmp_path / "out").notes == ()
