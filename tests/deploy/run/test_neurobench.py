import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import random_inputs, random_network
from neurobench_network import NEURONS, inputs_of, networks

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.run.neurobench import NeuroBenchCounts, connection_sparsity, neurobench_metrics
from spikecut.errors import InputError

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "neurobench.json"


@pytest.mark.parametrize("name", NEURONS)
def test_equals_the_neurobench_package(name: str) -> None:
    golden, network = json.loads(GOLDEN.read_text())[name], networks()[name]
    trace = run_batched(network, inputs_of(network), record="all")
    assert int(trace.events[-1].raster[:, 4:].sum()) == golden.pop("spikes")  # both ran the same network
    ours = neurobench_metrics(trace).to_dict()
    assert round(ours.pop("ConnectionSparsity"), 4) == golden.pop("ConnectionSparsity")  # theirs is rounded
    by_layer = ours.pop("ActivationSparsityByLayer")
    assert isinstance(by_layer, dict) and list(by_layer) == [layer.name for layer in network.layers]
    assert list(by_layer.values()) == pytest.approx(golden.pop("ActivationSparsityByLayer"), rel=1e-15)
    assert ours.pop("ActivationSparsity") == pytest.approx(golden.pop("ActivationSparsity"), rel=1e-15)
    assert ours == golden and ours["MembraneUpdates"] > 0


def test_a_run_that_takes_long_does_not_count_membranes() -> None:
    trace = run_batched(networks()["plain"], inputs_of(networks()["plain"]), record="all")
    counts = NeuroBenchCounts(trace.network, most=1000)
    counts.add(trace)
    short, full = counts.metrics(), neurobench_metrics(trace)
    assert short.membrane_updates is None and short.neuron_effective is None
    assert replace(full, membrane_updates=None, neuron_effective=None) == short


def by_hand(trace) -> tuple[int, int, int]:
    """Dense, effective operations, and spikes, neuron by neuron, of a network of dense layers."""
    dense = effective = spikes = 0
    for n in range(trace.samples):
        for t in range(1, int(trace.timesteps[n]) + 1):
            for depth, layer in enumerate(trace.network.layers):
                sent = trace.events[depth].raster[n, t - 1 + depth]
                dense += layer.weight.size + (0 if layer.recurrent is None else layer.recurrent.size)
                effective += sum(int(np.count_nonzero(layer.weight[:, i])) for i in np.flatnonzero(sent))
                if layer.recurrent is not None and t > 1:
                    own = trace.events[depth + 1].raster[n, t - 1 + depth]
                    effective += sum(int(np.count_nonzero(layer.recurrent[:, i])) for i in np.flatnonzero(own))
                fired = trace.events[depth + 1].raster[n, t + depth]
                spikes += int(np.count_nonzero(fired)) if layer.neuron.reset != "none" else 0
    return dense, effective, spikes


@given(seed=st.integers(0, 50), recurrent=st.booleans(), exit_at=st.integers(1, 6), membrane=st.booleans())
def test_counts_the_steps_that_the_verdict_used(seed: int, recurrent: bool, exit_at: int, membrane: bool) -> None:
    network = random_network(seed, dense_only=True, recurrent=recurrent and not membrane, membrane=membrane)
    trace = run_batched(network, random_inputs(network, 2, seed), policy=FixedTimestep(exit_at), record="all")
    metrics = neurobench_metrics(trace)
    dense, effective, spikes = by_hand(trace)
    assert metrics.dense * trace.samples == dense
    assert metrics.effective_macs == 0
    assert round(metrics.effective_acs * trace.samples) == effective
    slots = 2 * exit_at * sum(layer.output_shape[0] for layer in network.layers if layer.neuron.reset != "none")
    assert metrics.activation_sparsity == (slots - spikes) / slots


def test_graded_input_multiplies() -> None:
    network = random_network(3, graded=True)
    metrics = neurobench_metrics(run_batched(network, random_inputs(network, 2), record="all"))
    assert metrics.effective_macs > 0 and metrics.effective_acs > 0
    assert metrics.effective_macs + metrics.effective_acs <= metrics.dense


def test_connection_sparsity_includes_recurrence() -> None:
    network = random_network(3, dense_only=True, recurrent=True)
    silent = tuple(
        replace(layer, recurrent=None if layer.recurrent is None else 0 * layer.recurrent) for layer in network.layers
    )
    own = sum(layer.recurrent.size for layer in network.layers if layer.recurrent is not None)
    total = own + sum(layer.weight.size for layer in network.layers)
    zeros = own + sum(int((layer.weight == 0).sum()) for layer in network.layers)
    assert connection_sparsity(replace(network, layers=silent)) == pytest.approx(zeros / total, rel=1e-14)


def test_needs_the_messages() -> None:
    network = random_network(1)
    for record in ("events", "output"):
        with pytest.raises(InputError, match="holds no spikes: run again with record='all'"):
            neurobench_metrics(run_batched(network, random_inputs(network, 1), record=record))
