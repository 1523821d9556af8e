"""One guard for each defect of Lava that would hang, poison or falsify a run; each test fails without its guard."""

import ast
import subprocess
import sys
from pathlib import Path

import h5py
import numba
import numpy as np
import pytest
import torch
from networks import random_inputs, random_network

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.lava.cpu import run_lava
from spikecut.deploy.backends.lava.graph import LavaGraph
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.errors import BackendError
from spikecut.export.netx.write import write_netx

MODELS = ("stock", "fast", "fused")


def test_a_pause_on_the_last_step_of_a_run_poisons_lava(monkeypatch):
    """The guard is ENDLESS: the number of steps asked for lies far beyond any verdict."""
    network = random_network(1, dense_only=True)
    inputs, steps = random_inputs(network, 2), 2 + network.depth
    monkeypatch.setattr("spikecut.deploy.backends.lava.runtime.ENDLESS", steps)
    with pytest.raises(BackendError), LavaGraph(network, FixedTimestep(2)) as graph:
        graph.play(inputs[:, :1])
        graph.play(inputs[:, 1:])
    monkeypatch.undo()
    with LavaGraph(network, FixedTimestep(2)) as graph:
        for n in range(2):
            assert graph.play(inputs[:, n : n + 1]).verdicts[0] == (n + 1) * steps


def test_the_host_never_pauses_a_run(repository):
    """After a host-side pause() every later pause asked for by a Process hangs: only the monitor pauses."""
    calls = [
        f"{path}:{node.lineno}"
        for path in (repository / "deploy").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "pause"
    ]
    assert calls == []


@numba.njit(parallel=True)
def busy(values):
    for i in numba.prange(values.size):
        values[i] = np.sqrt(values[i] + i)


@pytest.mark.parametrize("models", MODELS)
def test_openmp_in_the_parent_does_not_hang_the_children(models):
    """A forked child hangs in the first OpenMP region if its parent has used OpenMP; ours use none, or one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        matrix = torch.ones(1500, 1500)
        assert float((matrix @ matrix)[0, 0]) == 1500
        busy(np.ones(100_000))
        network = random_network(2)
        inputs = random_inputs(network, 4)
        np.testing.assert_array_equal(
            run_lava(network, inputs, models=models).scores, run_batched(network, inputs).scores
        )
    finally:
        torch.set_num_threads(threads)


EXECUTE = """
import os, runpy, sys, threading
threads, files = threading.active_count(), sorted(os.listdir())
for path in sys.argv[1:]:
    runpy.run_path(path, run_name="a_name_that_lava_gave_it")
assert threading.active_count() == threads and sorted(os.listdir()) == files
heavy = {"torch", "numba", "matplotlib", "sklearn", "h5py", "lava.lib"} & set(sys.modules)
assert not heavy, heavy
"""


def test_the_processes_are_safe_to_execute(repository, tmp_path):
    """When it looks for ProcessModels, Lava executes every file beside a Process's module, imported or not."""
    files = sorted(map(str, (repository / "deploy" / "backends" / "lava" / "processes").glob("*.py")))
    command = [sys.executable, "-c", EXECUTE, *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert len(files) > 5 and (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.filterwarnings("ignore::ImportWarning", "ignore::DeprecationWarning")
def test_files_of_the_user_are_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("beside.py").write_text("open('executed', 'w').close()\n")
    network = random_network(1, dense_only=True)
    run_lava(network, random_inputs(network, 1))
    assert not Path("executed").exists()


def test_the_net_file_is_free_while_the_graph_lives(tmp_path):
    """netx leaves its HDF5 handle open, which blocks writing to the file."""
    network = random_network(1, bias=False)
    write_netx(network, tmp_path / "network.net")
    with LavaGraph(network, net_file=tmp_path / "network.net") as graph:
        graph.play(random_inputs(network, 1))
        with h5py.File(tmp_path / "network.net", "r+") as file:
            file.attrs["seen"] = 1
        write_netx(network, tmp_path / "network.net")


@pytest.mark.parametrize("models", MODELS)
def test_only_fixed_point_models_are_chosen(models):
    """Without select_tag Lava silently takes the float models."""
    with LavaGraph(random_network(2, delays=True, dense_only=True, recurrent=True), models=models) as graph:
        graph.play(random_inputs(graph.network, 1))
        builders = graph._anchor.runtime._executable.proc_builders
        chosen = {builder.proc_model for builder in builders.values()}
    assert len(chosen) >= 3
    for model in chosen:
        assert "fixed_pt" in model.tags or "fixed_pt" in getattr(model.__base__, "tags", ()), model
