"""What can go wrong in the middle of a run: found out within seconds, finished samples kept, nothing left behind."""

import os
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest
from full_disk import files_of_at_most
from left_behind import children
from networks import random_inputs, random_network

from spikecut.deploy.backends.base import RunSettings
from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.lava.cpu import lava_parts, run_lava
from spikecut.deploy.backends.lava.graph import LavaGraph
from spikecut.deploy.backends.lava.simulation import channel_bytes
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.pipeline.run import RunOptions, RunTarget, RunTask, run_bundle
from spikecut.deploy.pipeline.samples import first_samples
from spikecut.deploy.run.journal import partial_folder
from spikecut.deploy.run_trace import joined
from spikecut.errors import BackendError, InputError

SAMPLES = 280


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


def test_a_run_that_breaks_off_three_times_ends_with_the_same_rows(server, workshop, digits, tmp_path):
    out = tmp_path / "run"
    arguments = ("run", workshop / "lif", "--dataset", "digits", "--samples", SAMPLES, "--out", out)
    for fault, code in (("a killed child", 2), ("SIGTERM", 130), ("Ctrl-C, which reaches them all", 130)):
        with server.run(tmp_path / fault, arguments, hold=SAMPLES // 4) as run:
            run.reaches(lambda run=run: run.held)
            assert len(run.processes) > 3 and list(partial_folder(out).glob("*-*.h5"))
            if fault == "a killed child":
                os.kill(run.processes[-1], signal.SIGKILL)
            elif fault == "SIGTERM":
                os.kill(run.pid, signal.SIGTERM)
            else:
                os.killpg(run.pid, signal.SIGINT)
            assert run.end() == code, run.said
            assert f"spikecut run --resume {out}" in run.said and len(run.said.splitlines()) == 1
            assert not out.exists() and run.nothing_is_left()
        arguments = ("run", "--resume", out)
    with server.run(tmp_path / "done", arguments, hold=SAMPLES) as run:
        assert run.end() == 0, run.said
    assert not partial_folder(out).exists()
    whole = tmp_path / "whole"
    undisturbed = open_bundle(workshop / "lif")
    split = first_samples(digits.test, SAMPLES)
    task = RunTask(undisturbed, split, "digits", undisturbed.cutoff(), RunOptions("batched"))
    run_bundle(task, RunTarget(whole))
    one, other = (pq.read_table(folder / "samples.parquet").drop(["wall_time_s"]) for folder in (out, whole))
    assert one.num_rows == SAMPLES and one.equals(other)


def test_an_exception_in_a_process_model_is_named_and_finished_samples_come_first():
    before = set(children(os.getpid()))
    network = random_network(1, dense_only=True)
    inputs = random_inputs(network, 40)
    Raising.left = 40
    parts = []
    with pytest.raises(BackendError, match="ZeroDivisionError: a defect in the policy"):
        for part in lava_parts(network, inputs, RunSettings(Raising(3))):
            parts.append(part)
    kept = joined(parts)
    whole = run_batched(network, inputs, FixedTimestep(3))
    assert 5 < kept.samples < 40
    np.testing.assert_array_equal(kept.scores, whole.scores[:, : kept.samples])
    assert set(children(os.getpid())) == before


def test_a_disk_that_is_full_at_the_end_leaves_no_run(bundle, digits, tmp_path):
    task = RunTask(bundle, first_samples(digits.test, 5), "digits", None, RunOptions("batched", hardware=()))
    run_bundle(task)  # compiles and caches its kernels
    with files_of_at_most(1024), pytest.raises(InputError, match="cannot write the run"):
        run_bundle(task, RunTarget(tmp_path / "run"))
    assert not list(tmp_path.iterdir())


def test_memory_that_is_too_small_is_refused_before_anything_is_taken():
    before = set(children(os.getpid()))
    network = random_network(1, dense_only=True)
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    frame = 4 * network.horizon * network.input_shape[0]
    with pytest.raises(BackendError, match=r"of memory.*fewer samples at once"):
        LavaGraph(network, capacity=free // frame + 1)
    assert set(children(os.getpid())) == before


def test_nothing_is_left_after_a_policy_of_another_horizon():
    before = set(children(os.getpid()))
    network = random_network(1)
    with pytest.raises(InputError):
        run_lava(network, random_inputs(network, 2), FixedTimestep(network.horizon + 1))
    assert set(children(os.getpid())) == before


@pytest.mark.parametrize("models", ["stock", "fast", "fused"])
@pytest.mark.parametrize("options", [{}, {"dense_only": True, "recurrent": True, "delays": True}])
def test_the_need_of_memory_is_known_exactly(models, options):
    network = random_network(1, **options)
    with LavaGraph(network, models=models) as graph:
        graph.play(random_inputs(network, 1))
        taken = graph._runtime._messaging_infrastructure.smm.bytes
    assert taken == channel_bytes(network, models)
