"""Trials of what is installed: what they find, also where they die."""

import os
import signal

import numpy as np
import pytest

from spikecut import lava_repairs
from spikecut.deploy.backends.run import run
from spikecut.deploy.pipeline.installation import trials
from spikecut.errors import BackendError


def test_the_tiny_network_hands_its_input_on():
    scores = run(trials.tiny_network(), trials.tiny_inputs()).scores
    assert np.array_equal(scores, trials.tiny_inputs().reshape(trials.HORIZON, 4, 4))


@pytest.mark.parametrize("name", ["batched", "nir"])
def test_what_is_installed_works(name):
    assert trials.attempt(name).state == "works"


def test_other_integers_are_a_fault(monkeypatch):
    monkeypatch.setattr(trials, "tiny_inputs", lambda: np.zeros((trials.HORIZON, 4, 1, 2, 2), dtype=np.int64))
    assert trials.attempt("batched") == trials.Finding(
        "fails", "batched computes other integers than it should, for a network of two layers"
    )


def test_int8_products_may_be_missing(monkeypatch):
    def refuse(layer, *_):
        raise BackendError("no exact product")

    monkeypatch.setattr("spikecut.deploy.backends.kernels.product.make_product", refuse)
    found = trials.attempt("int8")
    assert found == trials.Finding("not available", "no exact product; the engine takes float32 products")


def test_a_changed_file_of_lava_is_a_fault(monkeypatch, tmp_path):
    monkeypatch.setattr(lava_repairs, "unrepairable", lambda: (tmp_path / "ports.py",))
    found = trials.attempt("lava")
    assert found.state == "fails" and "ports.py was changed since it was released: spikecut install-lava" in found.said


def test_whatever_is_raised_is_found(monkeypatch):
    def broken():
        raise AttributeError("module 'numpy' has no attribute\n'float'")

    monkeypatch.setitem(trials.TRIALS, "nir", broken)
    assert trials.attempt("nir") == trials.Finding("fails", "AttributeError: module 'numpy' has no attribute 'float'")


@pytest.mark.slow
def test_a_trial_has_a_process_of_its_own():
    found = trials.attempt_all(["batched", "nobody"])
    assert found["batched"].state == "works"
    assert found["nobody"] == trials.Finding("fails", "KeyError: 'nobody'")


@pytest.mark.slow
def test_a_trial_that_is_killed_or_hangs_is_found(monkeypatch, tmp_path):
    process = trials._Process("batched", tmp_path)
    os.kill(process.process.pid, signal.SIGSEGV)
    assert process.finding() == trials.Finding("fails", "its trial died of SIGSEGV")
    monkeypatch.setattr(trials, "LIMIT_S", 0)
    hanging = trials._Process("batched", tmp_path)
    assert hanging.finding() == trials.Finding("fails", "its trial did not end within 0 s")
    hanging.end()
    assert hanging.process.returncode == -signal.SIGKILL
