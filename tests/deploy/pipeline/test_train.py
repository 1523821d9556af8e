"""A training that cannot write its checkpoint says so in one line, and leaves nothing."""

import ctypes
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from full_disk import files_of_at_most

import spikecut
import spikecut.deploy.pipeline.train  # before another user may not read it
from spikecut.errors import CheckpointError
from spikecut.models.checkpoint import load_checkpoint

TRAIN = ("train", "--method", "ce", "--epochs", 1, "--train-samples", 64, "--out")


@contextmanager
def read_only(folder):
    """A folder in which this thread may make no file, whoever runs the tests."""
    folder.mkdir()
    folder.chmod(0o555)
    setfsuid = ctypes.CDLL(None).setfsuid
    mine = os.getuid()
    if mine == 0:
        setfsuid(65534)  # root may write anywhere
    try:
        yield
    finally:
        setfsuid(mine)


def test_a_folder_that_is_read_only_is_refused_before_anything_is_trained(command):
    with tempfile.TemporaryDirectory() as above:  # where others may look, unlike tmp_path
        Path(above).chmod(0o755)
        folder = Path(above, "theirs")
        with read_only(folder):
            code, out, err = command(*TRAIN, folder / "net.safetensors")
        assert code == 2 and "cannot write the checkpoint" in err and "Permission denied" in err
        assert (out, err.count("\n")) == ("", 1)
        assert list(folder.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(command, tmp_path):
    with files_of_at_most(512):
        code, out, err = command(*TRAIN, tmp_path / "net.safetensors")
    assert code == 2 and "File too large" in err, err
    assert (out, err.count("\n")) == ("", 1), err
    assert list(tmp_path.iterdir()) == []


def no_room(path, *_):
    raise CheckpointError(f"{path}: cannot be written: No space left on device")


def test_the_function_trains_and_tells_every_epoch_and_loses_none_on_a_full_disk(tmp_path, command, monkeypatch):
    told = []

    @contextmanager
    def progress(what, total, before=""):
        told.append((what, total))
        yield told.append

    quick = {"method": "ce", "epochs": 2, "train_samples": 64, "timesteps": 2}
    done = spikecut.train(tmp_path / "net.safetensors", progress=progress, **quick)
    assert told == [("training (ce)", 2), 1, 1, 0] and (tmp_path / "net.safetensors.summary.json").is_file()
    assert str(done).startswith(f"checkpoint {tmp_path / 'net.safetensors'}: ce on digits, ")
    flags = [word for key, value in quick.items() for word in (f"--{key.replace('_', '-')}", value)]
    again = ("train", *flags, "--out", tmp_path / "same.safetensors")
    with monkeypatch.context() as full:
        full.setattr("spikecut.deploy.pipeline.train.save_checkpoint", no_room)
        code, _, err = command(*again)
    assert code == 2 and "the finished epochs are kept: the same command with --resume" in err
    assert [path.name for path in tmp_path.glob("same*")] == ["same.safetensors.training"]
    assert command(*again, "--resume")[0] == 0 and not (tmp_path / "same.safetensors.training").exists()
    first, second = (load_checkpoint(tmp_path / f"{name}.safetensors") for name in ("net", "same"))
    assert first[1] == second[1] == done.recipe
    assert all(torch.equal(a, b) for a, b in zip(first[0].parameters(), second[0].parameters(), strict=True))
    with pytest.raises(spikecut.InputError, match="colour: train takes folder, arch, epochs"):
        spikecut.train(tmp_path / "net.safetensors", colour=1)
    with pytest.raises(spikecut.InputError, match="no state to resume from"):
        spikecut.train(tmp_path / "net.safetensors", resume=True)
