"""A refractory period: Lava's own LIFRefractory, which has a model in floats alone, fires where the integers do."""

from types import SimpleNamespace

import numpy as np
import pytest
from lava_steps import Wire, make_model

from spikecut.deploy.backends.kernels.reference import NeuronState, propagate_layer
from spikecut.deploy.backends.lava.blocks import require_lava
from spikecut.errors import ExportError, UnsupportedError
from spikecut.export.network.adaptation import Adaptation
from spikecut.export.network.layers import IntegerLayer
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.quantise.headroom import worst_case

STEPS = 60


def layer_of(refractory, **neuron):
    bias = np.array([3, -2, 40, 0, 11])
    weight = 2 * np.random.default_rng(2).integers(-20, 40, (5, 6))
    made = IntegerNeuron(**{"threshold": 90, "bias_mantissa": bias, "decay_v": 0, **neuron}, refractory=refractory)
    return IntegerLayer("a", "dense", weight, made, (6,), (5,))


@pytest.mark.parametrize("refractory", [1, 2, 7])
@pytest.mark.parametrize("decay_u", [0, 4096])
def test_lavas_refractory_neuron_fires_at_the_same_steps(refractory, decay_u):
    """Without a decay that is cut off, floats hold all integers: u sums up, or is what came in."""
    require_lava()
    from lava.proc.lif.models import PyLifRefractoryModelFloat
    from lava.proc.lif.process import LIFRefractory

    layer = layer_of(refractory, decay_u=decay_u)
    process = LIFRefractory(
        shape=(5,),
        du=decay_u / 4096,
        dv=0.0,
        bias_mant=layer.neuron.bias_mantissa,
        vth=layer.neuron.threshold,
        refractory_period=refractory,
    )
    config = SimpleNamespace(exception_proc_model_map={LIFRefractory: PyLifRefractoryModelFloat})
    model = make_model(process, config)
    model.a_in, model.s_out = Wire(), Wire()
    frames = (np.random.default_rng(1).random((STEPS, 1, 6)) < 0.3).astype(np.int32)
    sent = []
    for step, frame in enumerate(frames, start=1):
        model.time_step = step
        model.a_in.send(layer.weight @ frame[0])
        model.run_spk()
        sent.append(model.s_out.recv())
    ours = propagate_layer(layer, frames, NeuronState.at_rest(layer, 1))[:, 0]
    np.testing.assert_array_equal(ours, sent)
    gaps = [np.diff(np.flatnonzero(each)) for each in ours.T if each.sum() > 1]
    assert min(gap.min() for gap in gaps) == refractory + 1


def test_what_no_neuron_can_be():
    with pytest.raises(ExportError, match="layer a: refractory 64 lies outside 0"):
        layer_of(64)
    with pytest.raises(ExportError, match="of neurons that never fire"):
        layer_of(1, reset="none", threshold=0)
    with pytest.raises(UnsupportedError, match="beside a gain per timestep"):
        layer_of(1, gain=(4096,) * 3)
    adapts = {"reset": "adapt", "adaptation": Adaptation(100, 20, 300)}
    with pytest.raises(UnsupportedError, match="beside a gain or a refractory period"):
        layer_of(1, **adapts)
    for wrong in ({"reset": "adapt"}, {"adaptation": Adaptation(100, 20, 300)}):
        with pytest.raises(ExportError, match='of neurons with reset "adapt"'):
            layer_of(0, **wrong)
    for n, (key, value) in enumerate((("threshold_decay", 4097), ("threshold_step", 2**17), ("refractory_decay", -1))):
        numbers = [value if place == n else 1 for place in range(3)]
        with pytest.raises(ExportError, match=f"layer a: {key} {value} lies outside"):
            layer_of(0, reset="adapt", adaptation=Adaptation(*numbers))


def test_a_membrane_that_rests_is_in_the_proven_range():
    """A bias brings v down by 4,000 · 64 a step; a soft reset by a small amount leaves it high, where it waits."""
    neuron = IntegerNeuron(10, np.array([-4000]), reset="subtract", reset_amount=1, refractory=5)
    layer = IntegerLayer("a", "dense", np.full((1, 40), 254), neuron, (40,), (1,))
    frames = np.ones((4, 1, 40), dtype=np.int32)
    frames[1:] = 0
    state = NeuronState.at_rest(layer, 1)
    sent = propagate_layer(layer, frames, state)
    assert sent[:, 0, 0].tolist() == [1, 0, 0, 0] and state.v.item() == 64 * (40 * 254 - 4000) - 1
    assert worst_case(layer, 4, 0, 1).membrane >= state.peak_v
