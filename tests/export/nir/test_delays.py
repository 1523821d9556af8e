"""Delays of NIR files are delays of synapses, spike by spike; what cannot be late on the chip is refused by name."""

from itertools import pairwise

import nir
import numpy as np
import pytest
from nir_graphs import chain, conv, flatten, lif, write
from torch import rand

import spikecut
from spikecut.errors import SpikecutError
from spikecut.export.nir.discretisation import discretisation
from spikecut.export.nir.read import read_nir

DT = 0.5


def linear(outputs, inputs, seed=0):
    return nir.Linear(np.random.default_rng(seed).normal(size=(outputs, inputs)) * 4 / np.sqrt(inputs))


def late(count, most=4):
    return nir.Delay(DT * (np.arange(count) % (most + 1)).astype(np.float64))


@pytest.fixture
def delayed(tmp_path):
    """Delays before and behind weights, of a layer that feeds itself, and beside a branch that is not late."""
    nodes = late(8), linear(12, 8), lif((12,)), linear(12, 12, 1), linear(10, 12, 2), late(10, 2), lif((10,))
    edges = [*pairwise(["input", "n0", "n1", "n2", "n4", "n5", "n6", "output"]), *pairwise(["n2", "n3", "n2"])]
    more = chain(*nodes, linear(10, 8, 3), shape=(8,), out=(10,))
    return write(tmp_path / "late.nir", more, [*edges, *pairwise(["input", "n7", "n6"])])


@pytest.mark.lava
def test_synapses_are_late_from_the_file_to_lava(delayed, tmp_path):
    network, witness = read_nir(delayed, discretisation(dt=DT)).checked()
    frames = (rand(12, 20, 8) < 0.4).double()
    scores = network(frames)
    assert np.array_equal(scores, witness(frames)) and 0.05 < float(scores.mean()) < 0.6
    x, y = np.random.default_rng(0).random((40, 8)).astype(np.float32), np.arange(40) % 10
    parts = ("train", "calibration", "test")
    np.savez(tmp_path / "own.npz", **{f"{a}_{part}": b for a, b in (("x", x), ("y", y)) for part in parts})
    given = {"dataset": str(tmp_path / "own.npz"), "horizon": 9, "encoding": "bernoulli", "dt": DT}
    bundle = spikecut.export(delayed, tmp_path / "bundle", **given)
    first, last = bundle.network.layers
    assert first.recurrent is not None and np.array_equal(first.delay, np.tile(np.arange(8) % 5, (12, 1)))
    assert len(last.skips) == 1 and np.array_equal(last.delay, np.tile(np.arange(10)[:, None] % 3, (1, 12)))
    assert spikecut.verify(bundle, samples=3).passed
    spikecut.load(bundle.path)


REFUSED = {
    "a map": ((lif((2, 4, 4)), late(32), conv(np.ones((2, 2, 3, 3)))), "n1: a delay in front|n2: a delay in front"),
    "a bias": ((nir.Affine(np.ones((3, 32)), np.ones(3)), late(3), lif((3,))), "n1: a delay of what a convolution"),
    "parts": ((linear(3, 32), nir.Delay(np.full(3, 0.2)), lif((3,))), "n1: a delay of 0.4 timesteps; the chip's"),
    "too late": ((linear(3, 32), nir.Delay(np.full(3, 32.0)), lif((3,))), "n1: a delay of 64 timesteps; the chip"),
    "two in a row": ((linear(3, 32), late(3), linear(3, 3), lif((3,))), "n2: weights behind a delay"),
    "the scores": ((linear(3, 32), lif((3,)), late(3)), "output: the scores come late"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_late_is_refused_by_name(tmp_path, case):
    nodes, message = REFUSED[case]
    maps = case == "a map"
    whole = (*nodes, lif((2, 2, 2)), flatten(2, 2, 2), linear(3, 8), lif((3,))) if maps else nodes
    path = write(tmp_path / "graph.nir", chain(*whole, shape=(2, 4, 4) if maps else (32,), out=(3,)))
    with pytest.raises(SpikecutError, match=message) as caught:
        read_nir(path, discretisation(dt=DT)).checked()
    assert "\n" not in str(caught.value)
