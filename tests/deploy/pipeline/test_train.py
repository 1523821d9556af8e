"""A training that cannot write its checkpoint says so in one line, and leaves nothing."""

import ctypes
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from full_disk import files_of_at_most

import spikecut.deploy.pipeline.train  # noqa: F401 (before another user may not read it)

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
