import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid

from spikecut.errors import InputError
from spikecut.models.neurons.integrate_fire import IntegrateFire, MembraneReadout
from spikecut.models.neurons.leaky import LeakyIntegrateFire
from spikecut.models.neurons.surrogate import SURROGATES, arctan, rectangle, triangle


def random_currents(seed, shape=(12, 3, 5)):
    return np.random.default_rng(seed).integers(-8, 17, shape) / 8


def over_time(values, place):
    """A view of what one neuron got or sent, [T]."""
    whole = slice(None), *place
    return values[whole]


@pytest.mark.parametrize("decay", [0.0, 0.25, 0.5, 1.0])
def test_leaky_neuron_follows_its_equation(decay):
    currents = random_currents(1)
    expected = np.zeros_like(currents)
    for place in np.ndindex(currents.shape[1:]):
        potential = 0.0
        for t, current in enumerate(over_time(currents, place)):
            potential = (1 - decay) * potential + current
            if potential > 1.0:
                over_time(expected, place)[t] = 1
                potential = 0.0
    spikes = LeakyIntegrateFire(decay)(torch.from_numpy(currents)).numpy()
    assert np.array_equal(spikes, expected) and 0 < expected.mean() < 1


@pytest.mark.parametrize("decay", [0.0, 0.25, 0.5])
def test_soft_reset_subtracts_the_threshold(decay):
    currents = random_currents(7)
    expected, left = np.zeros_like(currents), np.zeros_like(currents)
    for place in np.ndindex(currents.shape[1:]):
        potential = 0.0
        for t, current in enumerate(over_time(currents, place)):
            potential = (1 - decay) * potential + current
            over_time(expected, place)[t] = potential > 0.75
            potential -= 0.75 * over_time(expected, place)[t]
            over_time(left, place)[t] = potential
    spikes, response = LeakyIntegrateFire(decay, 0.75, reset="subtract").respond(torch.from_numpy(currents))
    assert np.array_equal(spikes.numpy(), expected) and 0 < expected.mean() < 1
    assert np.allclose(response.numpy(), expected + np.maximum(left, 0) / 0.75, rtol=1e-14)


def test_response_of_a_hard_reset_is_one_where_it_fires():
    spikes, response = LeakyIntegrateFire(0.5, 2.0).respond(torch.tensor([[[3.0]], [[1.0]], [[-4.0]]]))
    assert spikes.flatten().tolist() == [1, 0, 0] and response.flatten().tolist() == [1, 0.5, 0]


def test_integrate_fire_follows_its_equation():
    currents = random_currents(2)
    expected = np.zeros_like(currents)
    for place in np.ndindex(currents.shape[1:]):
        potential = 0.75
        for t, current in enumerate(over_time(currents, place)):
            potential += current
            if potential >= 1.5:
                over_time(expected, place)[t] = 2.0
                potential -= 1.5
    sent = IntegrateFire(1.5, 0.75, amplitude=2.0)(torch.from_numpy(currents)).numpy()
    assert np.array_equal(sent, expected) and 0 < expected.mean() < 2


def test_a_leaky_neuron_at_its_threshold_is_silent_and_an_integrate_fire_neuron_fires():
    at_threshold = torch.ones(1, 1, 1)
    assert LeakyIntegrateFire()(at_threshold).item() == 0
    assert IntegrateFire(1.0, 0.0)(at_threshold).item() == 1


@pytest.mark.parametrize("neuron", [LeakyIntegrateFire(0.1), IntegrateFire(1.0, 0.5), MembraneReadout()])
def test_no_state_is_left_between_calls(neuron):
    currents = torch.from_numpy(random_currents(3))
    first = neuron(currents)
    assert torch.equal(neuron(currents), first)


def test_readout_returns_its_increments():
    currents = torch.from_numpy(random_currents(4))
    assert torch.equal(MembraneReadout()(currents), currents)


def test_amplitude_defaults_to_the_threshold_and_belongs_to_the_state():
    neuron = IntegrateFire(1.5, 0.75)
    assert {name: float(value) for name, value in neuron.state_dict().items()} == {
        "threshold": 1.5,
        "v_init": 0.75,
        "amplitude": 1.5,
    }


def test_triangle_steps_forward_and_is_triangular_backward():
    distance = torch.tensor([-2.0, -0.75, -0.0, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    spikes = triangle(distance, 1.0)
    assert spikes.tolist() == [0, 0, 0, 1, 1]
    spikes.backward(torch.full_like(distance, 2.0))
    assert distance.grad.tolist() == [0, 0.5, 2.0, 1.0, 0]
    wide = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    triangle(wide, 2.0).backward()
    assert wide.grad.item() == 1.5 / 4


def gradient(surrogate, places, *arguments):
    distance = torch.tensor(places, dtype=torch.float64, requires_grad=True)
    surrogate(distance, *arguments).sum().backward()
    return distance.grad.tolist()


def test_rectangle_and_arctan_have_their_derivatives():
    assert gradient(rectangle, [-0.6, -0.4, 0.0, 0.4, 0.6]) == [0, 1, 1, 1, 0]
    assert gradient(rectangle, [0.6, 1.1], 2.0) == [0.5, 0]
    assert gradient(arctan, [0.0, 1.0]) == pytest.approx([1.0, 1 / (1 + np.pi**2)])
    assert gradient(arctan, [0.0], 4.0) == [2.0]


@pytest.mark.parametrize("name", SURROGATES)
def test_every_surrogate_steps_strictly_and_its_bump_has_area_one(name):
    assert SURROGATES[name](torch.tensor([-0.1, 0.0, 0.1])).tolist() == [0, 0, 1]
    places = np.linspace(-2000, 2000, 4_000_001)
    area = trapezoid(gradient(SURROGATES[name], places), places)
    assert area == pytest.approx(1, abs=2e-3)


def test_gradients_reach_earlier_timesteps():
    currents = torch.full((3, 1, 1), 0.5, requires_grad=True)
    LeakyIntegrateFire()(currents)[2].sum().backward()
    assert bool((currents.grad > 0).all())


@pytest.mark.parametrize(
    "make",
    [
        lambda: LeakyIntegrateFire(decay=1.5),
        lambda: LeakyIntegrateFire(threshold=0.0),
        lambda: LeakyIntegrateFire(threshold=float("nan")),
        lambda: LeakyIntegrateFire(surrogate="square"),
        lambda: LeakyIntegrateFire(reset="none"),
        lambda: IntegrateFire(0.0, 0.0),
        lambda: IntegrateFire(1.0, float("inf")),
        lambda: IntegrateFire(1.0, 0.5, amplitude=-1.0),
    ],
)
def test_values_outside_their_range_are_refused(make):
    with pytest.raises(InputError, match=r"expected|unknown"):
        make()
