"""A halted sample in a long run = the golden twin cut by the same policy = a fresh graph that runs it alone."""

import numpy as np

from spikecut.deploy.backends.lava_cpu import run_lava
from spikecut.deploy.cutoff.topk import TopK, top_two_gap

ALONE = 26  # per network; both have biases


def policy_for(scores):
    """Thresholds between the gaps' quartiles, so that exits spread."""
    gaps = top_two_gap(scores.cumsum(axis=0))
    return TopK(tuple(int(np.quantile(gap, 0.6)) for gap in gaps))


def test_halted_samples_equal_the_golden_twin_and_a_fresh_graph(bundle):
    golden = bundle.golden()
    network = bundle.network
    policy = policy_for(golden.twin_scores)
    inputs = golden.inputs.astype(np.int32)
    trace = run_lava(network, inputs, policy, record="all", net_file=bundle.net_file)
    assert len(np.unique(trace.timesteps)) >= 3
    assert any(np.any(layer.neuron.bias_mantissa) for layer in network.layers)
    for n in range(inputs.shape[1]):
        totals, step = np.zeros(network.classes, dtype=np.int64), network.horizon
        for t in range(network.horizon):
            totals = totals + golden.twin_scores[t, n]
            first, second = sorted(totals.tolist(), reverse=True)[:2]
            if first - second > policy.thresholds[t]:
                step = t + 1
                break
        assert trace.timesteps[n] == step
        np.testing.assert_array_equal(trace.scores[:step, n], golden.twin_scores[:step, n])
    for name, spikes in golden.twin_spikes.items():
        np.testing.assert_array_equal(trace.spikes[name][trace.valid], spikes[trace.valid], name)
    for n in range(ALONE):
        alone = run_lava(network, inputs[:, n : n + 1], policy, record="all", net_file=bundle.net_file)
        assert alone.timesteps[0] == trace.timesteps[n]
        np.testing.assert_array_equal(alone.scores[:, 0], trace.scores[:, n])
        for name, spikes in alone.spikes.items():
            np.testing.assert_array_equal(spikes[:, 0], trace.spikes[name][:, n], name)


def test_untouched_netx_loads_the_lif_bundle(workshop):
    from lava.lib.dl.netx.hdf5 import Network

    loaded = Network(net_config=str(workshop / "lif" / "network.net"))
    loaded.net_config.f.close()
    assert [type(block).__name__ for block in loaded.layers] == ["Conv", "Conv", "Dense"]
