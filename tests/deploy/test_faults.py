"""What can go wrong in the middle of a run: found out within seconds, finished samples kept, nothing left behind."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from left_behind import FOLDER, children, entries, left_behind, used_by
from networks import random_inputs, random_network

from spikecut.deploy.backends.batched import run_batched
from spikecut.deploy.backends.lava_cpu import lava_parts, run_lava
from spikecut.deploy.backends.lava_graph import LavaGraph
from spikecut.deploy.backends.lava_simulation import channel_bytes
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.commands import first_samples
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.journal import Journal, partial_folder, read_request
from spikecut.deploy.trace import joined
from spikecut.deploy.workflow import RunOptions, keeping, run_bundle
from spikecut.errors import BackendError, InputError, Interrupted

SAMPLES = 260


class Raising(FixedTimestep):
    """A policy with a defect that shows late."""

    def step(self, totals, t, state):
        if totals.sum() >= 0 and Raising.countdown() < 0:
            raise ZeroDivisionError("a defect in the policy")
        return super().step(totals, t, state)

    left = 40

    @classmethod
    def countdown(cls):
        cls.left -= 1
        return cls.left


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids, seconds=5):
    """Whether all these processes end by themselves; Python's own resource tracker takes a moment."""
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, pids))


def command(*arguments):
    return [sys.executable, "-m", "spikecut", *map(str, arguments)]


@contextmanager
def run_under_way(arguments, journal):
    """A run on Lava in a process of its own, after more samples have come to disk: (process, its children)."""
    kept = len(list(journal.glob("*-*.h5")))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command(*arguments), text=True, start_new_session=True, **pipes)
    try:
        deadline = time.monotonic() + 90
        while len(list(journal.glob("*-*.h5"))) == kept:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process, children(process.pid)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_run_that_breaks_off_three_times_ends_with_the_same_rows(workshop, digits, tmp_path):
    before, out = entries(), tmp_path / "run"
    arguments = ("run", workshop / "lif", "--dataset", "digits", "--samples", SAMPLES, "--out", out)
    for fault, code in (("a killed child", 2), ("SIGTERM", 130), ("Ctrl-C, which reaches them all", 130)):
        with run_under_way(arguments, partial_folder(out)) as (process, processes):
            assert len(processes) > 3
            if fault == "a killed child":
                os.kill(processes[-1], signal.SIGKILL)
            elif fault == "SIGTERM":
                process.terminate()
            else:
                os.killpg(process.pid, signal.SIGINT)
            _, said = process.communicate(timeout=30)
        assert process.returncode == code, said
        assert f"spikecut run --resume {out}" in said and len(said.splitlines()) == 1
        assert not out.exists() and gone(processes)
        assert not left_behind(before)
        arguments = ("run", "--resume", out)
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert not partial_folder(out).exists()
    whole = tmp_path / "whole"
    undisturbed = open_bundle(workshop / "lif")
    split = first_samples(digits.test, SAMPLES)
    run_bundle(undisturbed, split, "digits", undisturbed.cutoff(), RunOptions("batched"), whole)
    one, other = (pq.read_table(folder / "samples.parquet").drop(["wall_time_s"]) for folder in (out, whole))
    assert one.num_rows == SAMPLES and one.equals(other)


def test_an_exception_in_a_process_model_is_named_and_finished_samples_come_first():
    before = entries()
    network = random_network(1, dense_only=True)
    inputs = random_inputs(network, 40)
    Raising.left = 40
    parts, began = [], time.monotonic()
    with pytest.raises(BackendError, match="ZeroDivisionError: a defect in the policy"):
        for part in lava_parts(network, inputs, Raising(3)):
            parts.append(part)
    assert time.monotonic() - began < 30
    kept = joined(parts)
    whole = run_batched(network, inputs, FixedTimestep(3))
    assert 5 < kept.samples < 40
    np.testing.assert_array_equal(kept.scores, whole.scores[:, : kept.samples])
    assert not left_behind(before)


@contextmanager
def files_of_at_most(size):
    """The operating system refuses to let any file grow beyond this, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_leaves_whole_files_only(tmp_path):
    network = random_network(1, dense_only=True)
    trace = run_batched(network, random_inputs(network, 30), FixedTimestep(2), record="all")
    journal = Journal.of(tmp_path / "run", network)
    journal.folder.mkdir()
    journal.keep("cut", [trace], [])
    with files_of_at_most(1024), pytest.raises(InputError, match=r"cannot write .*make room"):
        journal.keep("cut", [trace], journal.read("cut"))
    assert [path.name for path in journal.folder.iterdir()] == ["cut-00000000.h5"]
    (kept,) = journal.read("cut")
    assert kept.samples == 30 and kept.reason == trace.reason
    for one, other in zip(kept.events, trace.events, strict=True):
        np.testing.assert_array_equal(one.raster, other.raster)
        np.testing.assert_array_equal(one.synops, other.synops)


def test_a_resumed_run_that_breaks_off_at_once_loses_nothing(tmp_path):
    network = random_network(1, dense_only=True)
    journal = Journal.of(tmp_path / "run", network)
    journal.folder.mkdir()
    journal.keep("cut", [run_batched(network, random_inputs(network, 7), record="all")], [])
    again = Journal.of(tmp_path / "run", network)
    with pytest.raises(Interrupted, match="7 of 30 samples are kept"), keeping(again, tmp_path / "run", 30):
        raise KeyboardInterrupt
    assert again.samples("cut") == 7
    shutil.rmtree(journal.folder)
    journal.folder.mkdir()
    with pytest.raises(KeyboardInterrupt), keeping(again, tmp_path / "run", 30):
        raise KeyboardInterrupt
    assert not journal.folder.exists()


def test_a_disk_that_is_full_at_the_end_leaves_no_run(bundle, digits, tmp_path):
    options = RunOptions("batched", hardware=())
    run_bundle(bundle, first_samples(digits.test, 5), "digits", None, options)  # compiles and caches its kernels
    with files_of_at_most(1024), pytest.raises(InputError, match="cannot write the run"):
        run_bundle(bundle, first_samples(digits.test, 5), "digits", None, options, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_journal_is_checked(bundle, tmp_path, digits):
    with pytest.raises(InputError, match="no run that broke off"):
        read_request(tmp_path / "run")
    folder = partial_folder(tmp_path / "run")
    folder.mkdir()
    (folder / "request.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        read_request(tmp_path / "run")
    (folder / "cut-00000000.h5").write_bytes(b"half a file")
    with pytest.raises(InputError, match="is damaged"):
        Journal.of(tmp_path / "run", bundle.network).read("cut")
    with pytest.raises(InputError, match="--resume"):
        run_bundle(bundle, digits.test, "digits", None, RunOptions("lava"), tmp_path / "run")


def test_shared_memory_that_is_too_small_is_refused_before_anything_is_taken():
    network = random_network(1, dense_only=True)
    before, free = entries(), shutil.disk_usage(FOLDER).free
    frame = 4 * network.horizon * network.input_shape[0]
    with pytest.raises(BackendError, match=r"shared memory.*fewer samples at once"):
        LavaGraph(network, capacity=free // frame + 1)
    assert not left_behind(before)


def test_nothing_is_left_after_a_policy_of_another_horizon():
    before = entries()
    network = random_network(1)
    with pytest.raises(InputError):
        run_lava(network, random_inputs(network, 2), FixedTimestep(network.horizon + 1))
    assert not left_behind(before)


@pytest.mark.parametrize("models", ["stock", "fast", "fused"])
@pytest.mark.parametrize("options", [{}, {"dense_only": True, "recurrent": True, "delays": True}])
def test_the_need_of_shared_memory_is_known_exactly(models, options):
    network = random_network(1, **options)
    with LavaGraph(network, models=models) as graph:
        graph.play(random_inputs(network, 1))
        taken = sum(path.stat().st_size for path in used_by(children(os.getpid())))
    assert taken == channel_bytes(network, models)
