"""Small work is done in numpy; torch comes once all work so far is worth its import; the integers are the same."""

import subprocess
import sys
from pathlib import Path

from networks import random_network

from spikecut.deploy.backends.kernels.arithmetic import multiply_accumulates

RUNS = """
import sys
import numpy as np
from networks import random_inputs, random_network
from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.kernels import arithmetic

network = random_network(4, graph=True)
inputs = random_inputs(network, 6)
arithmetic.WORTH_TORCH = 3 * inputs.shape[0] * inputs.shape[1] * arithmetic.multiply_accumulates(network)
traces, imported = [], []
for _ in range(3):
    traces.append(run_batched(network, inputs, record="all"))
    imported.append("torch" in sys.modules)
for trace in traces[1:]:
    for name, spikes in traces[0].spikes.items():
        assert np.array_equal(trace.spikes[name], spikes) and spikes.any()
print(*imported)
"""


def test_torch_waits_for_work_that_is_worth_it():
    support = Path(__file__).parents[3] / "support"
    code = f"import sys; sys.path.insert(0, {str(support)!r})\n{RUNS}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False False True\n"), done.stderr


def test_multiply_accumulates_are_those_of_dense_convolutions():
    network = random_network(4)
    by_hand = 0
    for layer in network.layers:
        outputs = 1
        for side in layer.output_shape:
            outputs *= side
        fan_in = 1
        for side in layer.weight.shape[1:]:
            fan_in *= side
        by_hand += outputs * fan_in
    assert multiply_accumulates(network) == by_hand
