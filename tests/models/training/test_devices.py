"""Training shared by two processes: the same gradients, the same again, and no process left behind."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from left_behind import children

from spikecut.errors import CheckpointError, InputError
from spikecut.models.data import load_dataset
from spikecut.models.torch_files import read_torch
from spikecut.models.training.presets import PRESETS
from spikecut.models.training.train import train
from spikecut.models.training.trainer import Session


@pytest.fixture(scope="module")
def few():
    digits = load_dataset("digits")
    return replace(digits, train=digits.train.take(np.arange(96)), test=digits.test.take(np.arange(50)))


@pytest.fixture
def preset():
    """Whole batches, nothing drawn, no normalisation: two half batches are one batch. SGD does not magnify rounding."""
    return replace(PRESETS["digits-qcfs"], epochs=12, batch_size=96, optimiser="sgd", learning_rate=0.1)


class Copies(threading.Thread):
    """Keeps a copy of the newest state while it is being replaced; the state itself is gone at the end."""

    def __init__(self, state, copy):
        super().__init__(daemon=True)
        self.state, self.copy, self.finished = state, copy, threading.Event()

    def run(self):
        while not self.finished.wait(0.002):  # far shorter than an epoch
            if not self.copy.exists() and self.state.exists():
                shutil.copyfile(self.state, self.copy)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.finished.set()
        self.join()


def test_two_processes_do_what_one_does_and_resume_as_if_never_interrupted(few, preset, tmp_path):
    alone = train("qcfs", few, preset=preset)
    with Copies(tmp_path / "state", tmp_path / "copy"):
        shared = train("qcfs", few, preset=preset, session=Session(devices=2, state=tmp_path / "state"))
    assert shared.recipe["devices"] == 2 and [path.name for path in tmp_path.iterdir()] == ["copy"]
    for name, tensor in alone.network.state_dict().items():
        assert torch.allclose(tensor, shared.network.state_dict()[name], atol=1e-3), name
    assert alone.accuracy[-1] > 0.7
    assert read_torch(tmp_path / "copy")["epoch"] < preset.epochs - 1
    with pytest.raises(CheckpointError, match="not the state of this training"):  # of another number of devices
        train("qcfs", few, preset=preset, session=Session(state=tmp_path / "copy", resume=True))
    resumed = train("qcfs", few, preset=preset, session=Session(devices=2, state=tmp_path / "copy", resume=True))
    for name, tensor in shared.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name


def test_what_devices_cannot_do_is_refused(few, preset):
    with pytest.raises(InputError, match="5 devices cannot share batches of 96"):
        train("qcfs", few, preset=preset, session=Session(devices=5))
    with pytest.raises(InputError, match="rounded weights cannot be sent"):
        train("qcfs", few, preset=replace(preset, weight_bits=6), session=Session(devices=2))


def test_sigterm_ends_every_process_and_keeps_the_finished_epochs(tmp_path):
    out = tmp_path / "net.safetensors"
    arguments = ["train", "--preset", "digits-ce", "--epochs", "500", "--devices", "2", "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-m", "spikecut", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        state = out.with_name("net.safetensors.training")
        while not state.exists() and process.poll() is None:
            time.sleep(0.05)
        begun = [Path(f"/proc/{child}") for child in children(process.pid)]
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[0]
    assert process.returncode == 130 and "the same command with --resume" in said, said
    assert len(begun) >= 2
    while any(child.exists() for child in begun):
        time.sleep(0.05)  # until init has reaped them
    assert [path.name for path in tmp_path.iterdir()] == [state.name]
