"""Biases that differ between the neurons of a map, of leaks and of currents, go from a file to the twin's integers."""

import nir
import numpy as np
import pytest
from nir_graphs import chain, conv, cuba, flatten, lif, write

import spikecut


@pytest.mark.slow
def test_neurons_of_a_map_have_biases_of_their_own(tmp_path):
    rng, maps = np.random.default_rng(0), (2, 4, 4)
    first, second = lif(maps), cuba(maps)
    first.v_leak[:], second.tau_syn[:] = rng.normal(size=maps), rng.choice([2.0, 4.0], maps)
    nodes = (
        *(conv(rng.normal(size=(2, 1, 3, 3)), np.zeros(2), padding=(1, 1)), first),
        *(conv(rng.normal(size=(2, 2, 1, 1)), rng.normal(size=2)), second, flatten(*maps)),
        *(nir.Linear(rng.normal(size=(10, 32))), cuba((10,), v_leak=0.25)),
    )
    path = write(tmp_path / "maps.nir", chain(*nodes, shape=(1, 4, 4), out=(10,)))
    x, y = rng.random((40, 1, 4, 4)).astype(np.float32), np.arange(40) % 10
    parts = ("train", "calibration", "test")
    np.savez(tmp_path / "own.npz", **{f"{a}_{part}": b for a, b in (("x", x), ("y", y)) for part in parts})
    given = {"dataset": str(tmp_path / "own.npz"), "horizon": 6, "encoding": "bernoulli", "dt": 1.0}
    bundle = spikecut.export(path, tmp_path / "bundle", **given)
    found = [layer.neuron for layer in bundle.network.layers]
    assert found[0].bias.shape == found[1].bias.shape == found[1].u_init.shape == maps
    assert all(0.02 < spikes.mean() < 0.9 for spikes in bundle.golden().twin_spikes.values())
    assert spikecut.verify(bundle, backend="batched").passed
    assert bundle.manifest.agreement.same_prediction >= 30
