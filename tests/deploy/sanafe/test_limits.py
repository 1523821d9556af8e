"""What is refused, and the walk by which a layer comes to its v(0)."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import random_network
from sanafe_networks import crowded, network_of

from spikecut.deploy.pipeline.sanafe import write_sanafe
from spikecut.deploy.sanafe.limits import potentials
from spikecut.errors import UnsupportedError
from spikecut.export.network.adaptation import Adaptation
from spikecut.export.network.layers import IntegerLayer
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.fixed_point import keep


@given(
    bias=st.lists(st.integers(-400, 400), min_size=1, max_size=4),
    decay=st.sampled_from([0, 1, 700, 4000, 4095, 4096]),
    v_init=st.integers(-3000, 3000),
    depth=st.integers(1, 6),
)
def test_the_walk_leads_to_the_first_potential(bias: list[int], decay: int, v_init: int, depth: int) -> None:
    neuron = IntegerNeuron(100, np.array(bias), decay_v=decay, v_init=v_init, bias_exponent=0)
    layer = IntegerLayer("a", "dense", np.full((len(bias), 1), 2), neuron, (1,), (len(bias),))
    v = potentials(layer, depth)
    if v is None:
        assert decay or max(v_init, *(v_init - depth * b for b in bias)) > 100 << 6
        return
    for step in range(depth):
        v = (keep(v, decay) if step else v) + neuron.bias
        assert (v <= 100 << 6).all()
    assert (v == v_init).all()


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"delays": True, "dense_only": True}, "delays"),
        ({"skips": True}, "a skip, whose messages wait"),
        ({"gain": True}, "a gain per timestep"),
    ],
)
def test_refuses_what_neurons_there_do_otherwise(features: dict, said: str, tmp_path) -> None:
    network = random_network(3, **features)
    inputs = np.zeros((network.horizon, 1, *network.input_shape), dtype=np.int32)
    with pytest.raises(UnsupportedError, match=f"^SANA-FE: .*{said}"):
        write_sanafe(network, crowded(4000), inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decay_u": 1000}, "decays by 1000/4096 a step, rounded towards zero"),
        ({"reset": "subtract", "reset_amount": 5}, "another amount than the threshold"),
        ({"refractory": 2}, "a refractory period"),
        ({"reset": "adapt", "adaptation": Adaptation(1, 2, 3)}, "an adaptive threshold"),
        ({"decay_u": 0, "u_init": 5}, "a current that does not begin at 0"),
        ({"bias_mantissa": -4000}, "3 steps before its first input, and fires it then"),
        ({"decay_v": 0, "threshold": 2**17 - 1, "bias_mantissa": 4000}, "leaves the chip's 24 bits"),
    ],
)
def test_refuses_numbers(change: dict, said: str, tmp_path) -> None:
    network = network_of("dense", np.random.default_rng(1))
    last = network.layers[-1]
    filled = {key: np.full(10, value) if key in ("u_init", "bias_mantissa") else value for key, value in change.items()}
    layers = (*network.layers[:-1], replace(last, neuron=replace(last.neuron, **filled)))
    inputs = np.ones((network.horizon, 1, 20), dtype=np.int32)
    with pytest.raises(UnsupportedError, match=said):
        write_sanafe(replace(network, layers=layers), crowded(24), inputs, tmp_path / "out")
