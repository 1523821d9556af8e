import csv
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from spikecut.errors import CheckpointError, InputError, Interrupted
from spikecut.models.data import Dataset, Split, load_dataset
from spikecut.models.training import trainer as loop
from spikecut.models.training.presets import PRESETS
from spikecut.models.training.train import train
from spikecut.models.training.trainer import Session


@pytest.fixture(scope="module")
def few():
    """A few digits."""
    digits = load_dataset("digits")
    return replace(digits, train=digits.train.take(np.arange(96)), test=digits.test.take(np.arange(20)))


def breaks_off(monkeypatch, epoch, error):
    """Training raises at the first step of this epoch."""
    original = loop._Training.training_step

    def step(self, batch, batch_index):
        if self.current_epoch == epoch:
            raise error
        return original(self, batch, batch_index)

    monkeypatch.setattr(loop._Training, "training_step", step)


@pytest.mark.parametrize(("method", "augment"), [("tet", False), ("qcfs", True)])
def test_a_training_that_broke_off_goes_on_as_if_it_had_not(few, tmp_path, monkeypatch, method, augment):
    preset = replace(PRESETS[f"digits-{method}"], epochs=4, augment=augment)
    whole = train(method, few, preset=preset)
    state = tmp_path / "state"
    with monkeypatch.context() as patched:
        breaks_off(patched, 2, OSError("power cut"))
        with pytest.raises(OSError, match="power cut"):
            train(method, few, preset=preset, session=Session(state=state))
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    resumed = train(method, few, preset=preset, session=Session(state=state, resume=True))
    assert resumed.accuracy == whole.accuracy and not list(tmp_path.iterdir())
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name])


def test_ctrl_c_keeps_the_finished_epochs_and_says_how_to_go_on(few, tmp_path, monkeypatch):
    preset, state = replace(PRESETS["digits-ce"], epochs=3), tmp_path / "state"
    handler = signal.getsignal(signal.SIGINT)
    breaks_off(monkeypatch, 1, KeyboardInterrupt())
    with pytest.raises(Interrupted, match="finished epochs are kept: the same command with --resume"):
        train("ce", few, preset=preset, session=Session(state=state))
    assert state.is_file() and signal.getsignal(signal.SIGINT) is handler
    breaks_off(monkeypatch, 0, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train("ce", few, preset=preset)


class Exploit:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_a_state_with_code_or_of_another_training_is_refused_and_never_executed(few, tmp_path, monkeypatch):
    state, target = tmp_path / "state", tmp_path / "executed"
    preset = replace(PRESETS["digits-ce"], epochs=2)
    going_on = {"preset": preset}
    torch.save({"state_dict": {}, "random": Exploit(target)}, state)
    with pytest.raises(CheckpointError, match="not the state of this training"):
        train("ce", few, **going_on, session=Session(state=state, resume=True))
    assert not target.exists()
    for content in (b"", b"nonsense", state.read_bytes()[:100]):
        state.write_bytes(content)
        with pytest.raises(CheckpointError, match="not the state of this training"):
            train("ce", few, **going_on, session=Session(state=state, resume=True))
    with monkeypatch.context() as patched:
        breaks_off(patched, 1, OSError("power cut"))
        with pytest.raises(OSError):
            train("ce", few, **going_on, session=Session(state=state))
    for change in ({"learning_rate": 1e-4}, {"epochs": 3}, {"arch": "mlp-lif"}, {"reset": "subtract"}):
        with pytest.raises(CheckpointError, match="not the state of this training"):
            train("ce", few, preset=replace(preset, **change), session=Session(state=state, resume=True))
    with pytest.raises(InputError, match="no state to resume from"):
        Session(state=tmp_path / "absent", resume=True)
    with pytest.raises(InputError, match="name the file"):
        train("ce", few, **going_on, session=Session(resume=True))


def test_csv_logs_hold_each_epoch(few, tmp_path):
    preset = replace(PRESETS["digits-ce"], epochs=3, rcs_alpha=0.1)
    train("ce", few, preset=preset, session=Session(logs=("csv",), log_folder=tmp_path))
    (path,) = tmp_path.rglob("metrics.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) and float(rows[0]["rcs"]) >= 1
    assert 0 <= float(rows[-1]["accuracy"]) <= 1


def test_patience_ends_a_training_that_no_longer_improves(few, tmp_path):
    preset = replace(PRESETS["digits-ce"], epochs=50, learning_rate=1e-12)
    train("ce", few, preset=preset, session=Session(logs=("csv",), log_folder=tmp_path, patience=2))
    (path,) = tmp_path.rglob("metrics.csv")
    assert len(path.read_text().splitlines()) < 30


def test_lower_precision_learns_too(few):
    preset = replace(PRESETS["digits-tebn"], epochs=8)
    assert train("tebn", few, preset=preset, session=Session(precision="bf16-mixed")).accuracy[-1] > 0.6


def test_what_cannot_be_done_is_refused_in_one_line(few, tmp_path):
    preset = replace(PRESETS["digits-ce"], epochs=1)
    for session in (
        Session(accelerator="abacus"),
        Session(precision="7"),
        *([] if torch.cuda.is_available() else [Session(accelerator="gpu")]),
    ):
        with pytest.raises(InputError, match="is not available on this machine"):
            train("ce", few, preset=preset, session=session)
    for make in (lambda: Session(logs=("wandb",)), lambda: Session(patience=0), lambda: Session(threads=0)):
        with pytest.raises(InputError, match=r"unknown|at least 1"):
            make()
    x = np.random.default_rng(0).random((30, 5)).astype(np.float32)
    part = Split(x, np.arange(30) % 2, np.arange(30))
    vectors = Dataset("vectors", part, part, part, labels=("a", "b"))
    with pytest.raises(InputError, match="can be shifted and mirrored"):
        train("ce", vectors, preset=replace(preset, augment=True, arch="mlp-lif"))


def test_under_sgd_only_synaptic_weights_decay(few, monkeypatch):
    """Where no gradient comes, weight decay alone moves what it acts on."""
    kept = {}

    def step(self, batch, batch_index):
        kept["before"] = kept.get("before") or {n: p.detach().clone() for n, p in self.network.named_parameters()}
        kept["after"] = dict(self.network.named_parameters())
        return sum(parameter.sum() for parameter in self.network.parameters()) * 0

    monkeypatch.setattr(loop._Training, "training_step", step)
    preset = replace(PRESETS["digits-qcfs"], epochs=1, weight_decay=0.5, norm="batch", optimiser="sgd")
    train("qcfs", few, preset=preset)
    moved = {name: not torch.equal(kept["before"][name], kept["after"][name]) for name in kept["before"]}
    assert moved == {name: name.endswith("synapse.weight") for name in moved} and sum(moved.values()) == 3
