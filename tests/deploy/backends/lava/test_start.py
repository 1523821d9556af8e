"""Lava starts without what no run needs: its search for ProcessModels, torch, and lava-dl's training."""

import os
import subprocess
import sys
from pathlib import Path

RUNS = """
import sys
import threading

import numpy as np
from networks import random_inputs, random_network
from spikecut.deploy.backends.kernels.reference import propagate
from spikecut.deploy.backends.lava.blocks import require_lava
from spikecut.deploy.backends.lava.cpu import run_lava
from spikecut.deploy.backends.lava.stream import run_lava_stream
from spikecut.deploy.cutoff.stream import StreamSettings
from spikecut.deploy.cutoff.topk import TopK

def attempt():
    try:
        require_lava()
    except Exception as error:
        errors.append(error)

errors = []
threads = [threading.Thread(target=attempt) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not errors, errors
from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs

def searched(proc):
    raise AssertionError(f"Lava searches for models of {type(proc)}")

ProcGroupDiGraphs._find_proc_models = staticmethod(searched)
for features in (
    {},
    {"graph": True, "gain": True},
    {"soft": True, "graded": True, "membrane": True},
    {"dense_only": True, "delays": True, "recurrent": True},
):
    network = random_network(4, **features)
    inputs = random_inputs(network, 2)
    for models in ("stock", "fast", "fused"):
        run = run_lava(network, inputs, record="all", models=models)
        np.testing.assert_array_equal(run.spikes["output"], propagate(network, inputs)[-1])
settings = StreamSettings(TopK((0,) * network.horizon))
assert len(run_lava_stream(network, inputs[:, 0], settings).predictions) == network.horizon
print(*sorted({"lava.lib.dl.netx.hdf5", "lava.lib.dl.slayer", "torch", "torchvision"} & sys.modules.keys()))
"""


def test_no_search_for_models_and_no_torch():
    """Also where two threads ask for Lava at once."""
    support = Path(__file__).parents[3] / "support"
    surroundings = os.environ | {"PYTHONPATH": str(support)}
    done = subprocess.run([sys.executable, "-c", RUNS], capture_output=True, text=True, check=False, env=surroundings)
    assert (done.returncode, done.stdout) == (0, "lava.lib.dl.netx.hdf5\n"), done.stderr
