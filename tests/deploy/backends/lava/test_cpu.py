"""Real Lava runs, halted by the monitor, against the independent oracle."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from left_behind import alive
from networks import random_inputs, random_network
from oracle import run_network

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.kernels.reference import scores_of
from spikecut.deploy.backends.lava.cpu import run_lava
from spikecut.deploy.backends.lava.graph import LavaGraph
from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.cutoff.topk import TopK, top_two_gap
from spikecut.errors import BackendError, InputError
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerNetwork

CASES = {
    "hard reset, biases": {},
    "hard reset, dense": {"dense_only": True},
    "hard reset, no biases": {"bias": False},
    "soft reset, v(0), graded, membrane": {"soft": True, "graded": True, "membrane": True},
    "soft reset, counts": {"soft": True},
    "hard reset, graded, recurrent maps": {"graded": True, "recurrent_maps": True},
    "delays": {"dense_only": True, "delays": True},
    "recurrent": {"dense_only": True, "recurrent": True},
    "soft reset, delays, recurrent, graded": {
        "dense_only": True,
        "delays": True,
        "recurrent": True,
        "soft": True,
        "graded": True,
    },
}


def spread_policy(network, inputs):
    """Thresholds at the median gap, so that exits spread over the timesteps."""
    totals = run_batched(network, inputs).scores.cumsum(axis=0)
    return TopK(tuple(int(np.median(gap)) for gap in top_two_gap(totals)))


@pytest.mark.parametrize("case", CASES)
def test_halted_samples_equal_the_oracle(case):
    network = random_network(4, **CASES[case])
    inputs = random_inputs(network, 40)
    policy = spread_policy(network, inputs)
    trace = run_lava(network, inputs, policy, record="all")
    messages = run_network(network, inputs)
    scores = scores_of(network, messages[-1])
    assert len(np.unique(trace.timesteps)) > 1
    for n in range(inputs.shape[1]):
        totals, exit_step = np.zeros(5, dtype=np.int64), network.horizon
        for t in range(network.horizon):
            totals += scores[t, n]
            best = sorted(totals.tolist())
            if best[-1] - best[-2] > policy.thresholds[t]:
                exit_step = t + 1
                break
        assert trace.timesteps[n] == exit_step
        assert trace.hardware_steps[n] == exit_step + network.depth
        reason = ExitReason.CUTOFF if exit_step < network.horizon else ExitReason.HORIZON
        assert trace.reason[n] is reason
    for layer, expected in zip(network.layers, messages, strict=True):
        np.testing.assert_array_equal(trace.spikes[layer.name][trace.valid], expected[trace.valid], layer.name)
    np.testing.assert_array_equal(trace.scores[trace.valid], scores[trace.valid])


@pytest.mark.parametrize("case", ["hard reset, biases", "soft reset, v(0), graded, membrane"])
def test_lava_and_batched_traces_are_the_same(case):
    network = random_network(3, **CASES[case])
    inputs = random_inputs(network, 25)
    policy = spread_policy(network, inputs)
    lava, batched = run_lava(network, inputs, policy, "all"), run_batched(network, inputs, policy, "all")
    np.testing.assert_array_equal(lava.scores, batched.scores)
    np.testing.assert_array_equal(lava.hardware_steps, batched.hardware_steps)
    assert lava.reason == batched.reason
    for one, other in zip(lava.events, batched.events, strict=True):
        np.testing.assert_array_equal(one.raster, other.raster)
        np.testing.assert_array_equal(one.spikes, other.spikes)
        np.testing.assert_array_equal(one.synops, other.synops)


def test_latency_of_the_halt_is_zero_steps():
    network = random_network(2)
    inputs = random_inputs(network, 5)
    with LavaGraph(network, FixedTimestep(3)) as graph:
        for n in range(5):
            before = graph.step
            played = graph.play(inputs[:, n : n + 1])
            assert (played.timesteps[0], played.starts[0], bool(played.cut[0])) == (3, before + 1, True)
            assert graph.step == played.verdicts[0] == before + 3 + network.depth


@pytest.mark.parametrize("case", CASES)
def test_a_stream_equals_isolated_runs_and_never_costs_throughput(case, monkeypatch):
    monkeypatch.setattr("spikecut.deploy.backends.lava.cpu.STREAM_CHUNK", 23)
    network = random_network(3, **CASES[case])
    inputs = random_inputs(network, 40)
    policy = spread_policy(network, inputs)
    alone = run_batched(network, inputs, policy, "all")
    stream = run_lava(network, inputs, policy, "all", mode="streaming")
    np.testing.assert_array_equal(stream.timesteps, alone.timesteps)
    np.testing.assert_array_equal(stream.scores, alone.scores)
    np.testing.assert_array_equal(stream.hardware_steps, alone.hardware_steps)
    for name, spikes in alone.spikes.items():
        np.testing.assert_array_equal(stream.spikes[name], spikes, name)
    last_of_chunk = np.isin(np.arange(40), [22, 39])
    want = np.where(last_of_chunk, stream.hardware_steps, np.minimum(stream.hardware_steps, network.horizon))
    np.testing.assert_array_equal(stream.interval, want)
    assert (stream.interval < network.horizon).any() == (stream.hardware_steps < network.horizon).any()
    for one, other in zip(stream.events, alone.events, strict=True):
        assert (one.spikes <= other.spikes).all()


@pytest.mark.parametrize("case", ["hard reset, biases", "soft reset, v(0), graded, membrane"])
def test_a_long_horizon_stream_starts_samples_at_the_verdict(case):
    network = random_network(4, horizon=12, **CASES[case])
    inputs = random_inputs(network, 30)
    policy = spread_policy(network, inputs)
    stream = run_lava(network, inputs, policy, mode="streaming")
    np.testing.assert_array_equal(stream.scores, run_batched(network, inputs, policy).scores)
    assert (stream.interval < network.horizon).sum() > 5


@pytest.mark.filterwarnings("ignore::ImportWarning", "ignore::DeprecationWarning")  # networkx and Lava, when compiling
def test_stock_lava_gives_the_same_spikes_without_biases(tmp_path):
    """Untouched Lava: netx's own Network, stock models, ring buffers, a fresh graph."""
    from lava.lib.dl.netx.hdf5 import Network
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    from spikecut.export.netx.write import write_netx

    network = random_network(4, bias=False)
    write_netx(network, tmp_path / "network.net")
    inputs = random_inputs(network, 1)
    netx = Network(net_config=str(tmp_path / "network.net"))
    netx.net_config.f.close()
    frames = np.ascontiguousarray(inputs[:, 0].transpose(3, 2, 1, 0))
    silence = np.zeros((*frames.shape[:-1], network.depth), dtype=frames.dtype)
    source = Source(data=np.concatenate([frames, silence], axis=-1))
    steps = network.horizon + network.depth
    sinks = [Sink(shape=block.out.shape, buffer=steps) for block in netx.layers]
    source.s_out.connect(netx.inp)
    for block, sink in zip(netx.layers, sinks, strict=True):
        block.out.connect(sink.a_in)
    source.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    recorded = [sink.data.get() for sink in sinks]
    source.stop()
    for depth, (layer, data, expected) in enumerate(
        zip(network.layers, recorded, run_network(network, inputs), strict=True), start=1
    ):
        spikes = data[..., depth : depth + network.horizon].T.astype(np.int64)
        assert expected.any()
        np.testing.assert_array_equal(spikes.reshape(expected[:, 0].shape), expected[:, 0], layer.name)


def test_a_killed_child_is_noticed_and_nothing_is_left():
    network = random_network(1, dense_only=True)
    inputs = random_inputs(network, 2)
    graph = LavaGraph(network)
    with pytest.raises(BackendError, match="died"), graph:
        graph.play(inputs[:, :1])
        pids = [actor.pid for actor in graph._runtime.actors]
        os.kill(pids[0], signal.SIGKILL)
        graph.play(inputs[:, 1:])
    assert len(pids) > 3 and not any(map(alive, pids))


LATE_IMPORT = """
import multiprocessing
multiprocessing.set_start_method("spawn")
try:
    import spikecut.deploy.backends.lava.processes.neurons
except RuntimeError:
    pass
else:
    raise SystemExit("Lava was expected to refuse a start method that is set already")
from spikecut.deploy.backends.lava.graph import require_lava
require_lava()
import spikecut.deploy.backends.lava.processes.neurons
"""


def test_lava_loads_even_after_an_import_of_it_failed():
    done = subprocess.run([sys.executable, "-c", LATE_IMPORT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_policy_for_another_horizon_is_refused():
    network = random_network(1)
    with pytest.raises(InputError, match="T = 2"):
        run_lava(network, random_inputs(network, 2), TopK((0, 0)))


def test_a_single_dense_layer_behind_an_image():
    network = random_network(6)
    spec = InputSpec((6, 4, 3), "events")
    network = IntegerNetwork(network.layers[-1:], spec, "count", 5)
    inputs = random_inputs(network, 6)
    trace = run_lava(network, inputs, record="all")
    expected = run_network(network, inputs)[0]
    assert expected.any()
    np.testing.assert_array_equal(trace.spikes["output"], expected)


@pytest.mark.parametrize("models", ["stock", "fast", "fused"])
@pytest.mark.parametrize("mode", ["isolated", "streaming"])
def test_an_output_of_maps_is_read_in_the_order_of_torch(models, mode):
    network = random_network(3)
    network = IntegerNetwork(network.layers[:2], network.input, "count", network.horizon)
    inputs = random_inputs(network, 8)
    counts = run_network(network, inputs)[-1].sum(axis=0)
    trace = run_lava(network, inputs, models=models, mode=mode)
    np.testing.assert_array_equal(trace.totals, counts.reshape(8, -1))
    assert (trace.totals[:, 1:] != trace.totals[:, :-1]).any()
