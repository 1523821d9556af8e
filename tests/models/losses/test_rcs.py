import math

import pytest
import torch
from torch.autograd import gradcheck

from spikecut.models.architectures import build
from spikecut.models.losses.mean_output import mean_output_loss
from spikecut.models.losses.rcs import last_steps, rcs_conversion, rcs_direct
from spikecut.models.losses.tet import tet_loss

LABELS = torch.tensor([0, 1, 1, 2])
SCORES = torch.eye(3, dtype=torch.float64)[torch.tensor([0, 1, 2, 2])]  # the third sample is wrong


def random_layers(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]


def test_conversion_form_of_a_case_by_hand():
    activations = torch.tensor([[3.0, 4.0], [0.0, 10.0], [0.1, 0.0], [1.0, 1.0]], dtype=torch.float64)
    worst = 10 / math.sqrt(1 + 1e-5)  # sample 3 (root mean square 1); sample 2 would be worse but is wrong
    layer = 10 / math.sqrt((9 + 16) / 2 + 1e-5)
    assert rcs_conversion([activations], SCORES, LABELS).item() == pytest.approx(worst, rel=1e-12)
    both = rcs_conversion([activations, activations[:1].expand(4, 2)], SCORES, LABELS).item()
    assert both == pytest.approx((worst + 4 / 10 * layer) / 2, rel=1e-12)


def test_direct_form_of_a_case_by_hand():
    """T = 4, so that the last part is one step, [1, 0]; cosines 0, 1/√2, 1 and 1, but for the terms in ε."""
    response = torch.tensor([[0.0, 2.0], [1.0, 1.0], [3.0, 0.0], [1.0, 0.0]], dtype=torch.float64)[:, None]
    outputs = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(4, 1, 2)
    ideal = (0 + 1 / math.sqrt(2) + 1 + 1) / 4
    found = rcs_direct([response], outputs, torch.tensor([0])).item()
    assert found == pytest.approx(1 / ideal, abs=1e-4)
    length = [math.sqrt(square + 1e-5) for square in (4, 2, 9, 1)]
    exact = (0 + 1 / length[1] + 3 / length[2] + 1 / length[3]) / length[3] / 4
    assert found == pytest.approx(1 / (exact + 1e-5), rel=1e-12)


def test_a_response_that_never_turns_costs_one():
    response = torch.rand(1, 4, 5).double().expand(6, 4, 5) * torch.arange(1, 7)[:, None, None]
    assert rcs_direct([response], SCORES.expand(6, 4, 3), LABELS).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("timesteps", "last"), [(1, 1), (2, 1), (3, 1), (4, 1), (6, 1), (7, 2), (10, 3), (16, 4)])
def test_the_last_part_holds_at_least_one_step(timesteps, last):
    assert last_steps(timesteps) == last
    outputs = SCORES.expand(timesteps, 4, 3).clone()
    outputs[: timesteps - last] = 1 - outputs[: timesteps - last]  # wrong before the last part: still counted
    responses = random_layers(2, (timesteps, 4, 5))
    assert rcs_direct(responses, outputs, LABELS) > 0
    outputs[timesteps - last] = 1 - SCORES  # wrong at one of the last steps: not counted
    assert rcs_direct(responses, outputs, LABELS) == 0


def test_gradients_equal_numerical_ones():
    layers = random_layers(3, (4, 6), (4, 2, 3, 3))
    assert gradcheck(lambda *values: rcs_conversion(values, SCORES, LABELS), layers)


def test_gradients_of_the_direct_form_equal_numerical_ones_where_the_late_response_is_held():
    layers = random_layers(4, (7, 4, 6), (7, 4, 2, 3, 3))
    outputs = SCORES.expand(7, 4, 3)
    late = [layer[-2:].mean(0).flatten(1).detach() for layer in layers]

    def held(*values):
        worst = []
        for value, towards in zip(values, late, strict=True):
            flat = value.flatten(2)
            lengths = torch.sqrt((flat**2).sum(2) + 1e-5) * torch.sqrt((towards**2).sum(1) + 1e-5)
            inverse = 1 / (((flat * towards).sum(2) / lengths).mean(0) + 1e-5)
            worst.append(inverse[torch.tensor([0, 1, 3])].max())
        return sum(worst) / 2

    assert gradcheck(held, layers)
    rcs_direct(layers, outputs, LABELS).backward()
    expected = torch.autograd.grad(held(*layers), layers)
    for layer, gradient in zip(layers, expected, strict=True):
        assert torch.allclose(layer.grad, gradient, rtol=1e-12, atol=1e-15)
    assert held(*layers).item() == pytest.approx(rcs_direct(layers, outputs, LABELS).item(), rel=1e-12)


def test_no_right_sample_costs_nothing_and_moves_nothing():
    (layer,) = random_layers(5, (4, 6))
    for value in (
        rcs_conversion([layer], 1 - SCORES, torch.tensor([0, 1, 2, 2])),
        rcs_direct([layer.expand(3, 4, 6)], (1 - SCORES).expand(3, 4, 3), torch.tensor([0, 1, 2, 2])),
        rcs_conversion([], SCORES, LABELS),
    ):
        assert value.item() == 0 and not value.requires_grad


def test_only_the_worst_right_sample_of_a_layer_is_pulled():
    (layer,) = random_layers(6, (5, 4, 6))
    rcs_direct([layer], SCORES.expand(5, 4, 3), LABELS).backward()
    assert (layer.grad.abs().sum((0, 2)) > 0).sum() == 1


@pytest.mark.parametrize("arch", ["digits-lif", "digits-qcfs"])
def test_the_regulariser_reaches_the_weights_of_every_hidden_layer(arch):
    torch.manual_seed(7)
    network, responses = build(arch, norm="batch", readout="membrane"), []
    scores = network(torch.rand(1 if "qcfs" in arch else 4, 5, 1, 8, 8), responses)
    labels = scores[-1].argmax(-1)
    if "qcfs" in arch:
        value = rcs_conversion([response[0] for response in responses], scores[0], labels)
    else:
        value = rcs_direct(responses, scores, labels)
    value.backward()
    hidden = list(network.chain())[:-1]
    assert value > 0.9 and all(stage.synapse.weight.grad.abs().sum() > 0 for stage in hidden)


def test_mean_output_loss_is_that_of_one_averaged_step():
    outputs = torch.randn(3, 4, 3, dtype=torch.float64)
    expected = tet_loss(outputs.mean(0, keepdim=True), LABELS)
    assert mean_output_loss(outputs, LABELS).item() == pytest.approx(expected.item(), rel=1e-12)
