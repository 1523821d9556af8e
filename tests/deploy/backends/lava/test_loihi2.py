"""What can be said of the Loihi 2 backend without a chip: selection, refusal, configuration."""

from dataclasses import replace

import pytest
from networks import random_inputs, random_network

import spikecut
from spikecut.deploy.backends.base import backend_named
from spikecut.deploy.backends.lava import loihi2
from spikecut.deploy.backends.lava.blocks import own_block
from spikecut.errors import BackendError, CapabilityError

REFUSED = {
    "soft reset": ({"soft": True, "bias": False}, "conv1: soft reset"),
    "a bias": ({}, "conv1: a bias"),
    "graded input": ({"graded": True, "bias": False}, "conv1: a graded input"),
    "delays": ({"dense_only": True, "delays": True, "bias": False}, "delays"),
    "recurrent": ({"dense_only": True, "recurrent": True, "bias": False}, "recurrent"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_layer_without_a_loihi_2_model_is_named(case):
    options, message = REFUSED[case]
    with pytest.raises(CapabilityError, match=message):
        loihi2.plan(random_network(1, **options))


def test_an_initial_membrane_and_a_readout_of_it_are_refused():
    network = random_network(1, bias=False)
    first = network.layers[0]
    shifted = replace(first, neuron=replace(first.neuron, v_init=5))
    with pytest.raises(CapabilityError, match=r"conv1: v\(0\) = 5"):
        loihi2.plan(replace(network, layers=(shifted, *network.layers[1:])))
    last = network.layers[-1]
    silent = replace(last, neuron=replace(last.neuron, reset="none"))
    with pytest.raises(CapabilityError, match="sends its membrane"):
        loihi2.plan(replace(network, layers=(*network.layers[:-1], silent), readout="membrane"))


def test_the_plan_lists_what_runs_on_the_host():
    network = random_network(1, bias=False)
    planned = loihi2.plan(network)
    assert list(planned.neurocores) == [layer.name for layer in network.layers]
    assert planned.neurocores["conv1"] == ("Conv", "LIF") and planned.neurocores["output"] == ("Dense", "LIF")
    assert planned.host == ("source", "monitor")


def test_without_lava_loihi_the_run_is_refused():
    with pytest.raises(BackendError, match=r"lava-loihi.*--backend lava"):
        spikecut.run(random_network(1, bias=False), random_inputs(random_network(1, bias=False), 1), "loihi2")


def test_a_refusal_is_a_value_that_names_each_layer():
    network = random_network(1, soft=True, bias=False)
    found = backend_named("loihi2").refusals(network)
    assert {each.where for each in found} == {f"layer {layer.name}" for layer in network.layers}
    assert str(found[0]) == ("layer conv1: soft reset, for which there is no Loihi 2 model; run it with --backend lava")


def test_no_python_model_is_taken_unseen():
    """Lava's own Loihi2HwCfg falls back to a Python model; ours names the layer."""
    from lava.magma.core.model.py.model import AbstractPyProcessModel
    from lava.proc.lif.models import PyLifModelBitAcc

    assert issubclass(PyLifModelBitAcc, AbstractPyProcessModel)
    block = own_block(random_network(1, bias=False).layers[0], 0)
    config = loihi2.run_config({id(block.neuron): "conv1"})
    with pytest.raises(BackendError, match="layer conv1: lava-loihi has no Loihi 2 model of LIF"):
        config.select(block.neuron, [PyLifModelBitAcc])
