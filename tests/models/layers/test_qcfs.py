import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spikecut.errors import InputError
from spikecut.fixed_point import WEIGHT_UNIT
from spikecut.models.architectures import build
from spikecut.models.conversion import qcfs_to_spiking
from spikecut.models.integer_neurons import IntegerIntegrateFire
from spikecut.models.layers.qcfs import QCFS
from spikecut.models.neurons.integrate_fire import IntegrateFire


def clip_floor_shift(value: Fraction, levels: int) -> int:
    """clip(⌊value + ½⌋, 0, levels), exactly."""
    return min(max(math.floor(value + Fraction(1, 2)), 0), levels)


@given(levels=st.integers(1, 16), eighths=st.lists(st.integers(-80, 80), min_size=1, max_size=20))
def test_activation_is_clip_floor_shift(levels, eighths):
    threshold = 2.0
    activation = QCFS(levels, threshold).double()
    sent = activation(torch.tensor(eighths, dtype=torch.float64) / 8)
    expected = [clip_floor_shift(Fraction(z, 8) * levels / 2, levels) for z in eighths]
    assert sent.tolist() == [threshold * (count / levels) for count in expected]


def test_floor_passes_its_gradient_and_the_threshold_is_trained():
    activation = QCFS(4, 2.0)
    inputs = torch.tensor([-1.0, 0.3, 1.2, 5.0], requires_grad=True)
    activation(inputs).sum().backward()
    assert torch.allclose(inputs.grad, torch.tensor([0.0, 1.0, 1.0, 0.0]))
    assert activation.threshold.grad is not None and activation.threshold.grad.item() != 0


def in_24_bits(threshold, current, timesteps):
    """The neuron in Python's whole numbers: its counts of spikes, and whether v was ever clipped."""
    v, counts, clipped = threshold // 2, [0], False
    for _ in range(timesteps):
        held = min(max(v + current, -(2**23)), 2**23 - 2)
        clipped |= held != v + current
        counts.append(counts[-1] + (held >= threshold))
        v = held - threshold * (held >= threshold)
    return counts[1:], clipped


@given(
    threshold=st.integers(1, 2**17 - 1),
    current=st.one_of(st.integers(-(2**24), 2**24), st.none()),
    half_steps=st.integers(-3, 40),
    timesteps=st.integers(1, 20),
)
@example(threshold=96121, current=2516623, half_steps=0, timesteps=11)  # v leaves 24 bits, and a spike is lost
def test_integer_neuron_counts_like_qcfs_at_every_step_while_24_bits_hold_v(threshold, current, half_steps, timesteps):
    if current is None:  # close to or at a tie: current · t = (k + ½) · threshold
        current = half_steps * WEIGHT_UNIT * threshold // (2 * timesteps)
    spikes = IntegerIntegrateFire(threshold)(torch.full((timesteps, 1, 1), current, dtype=torch.float64))
    counts = spikes.flatten().cumsum(0).tolist()
    aligned = WEIGHT_UNIT * threshold
    expected, clipped = in_24_bits(aligned, current, timesteps)
    assert counts == expected
    if not clipped:
        assert counts == [clip_floor_shift(Fraction(current * t, aligned), t) for t in range(1, timesteps + 1)]


@given(timesteps=st.integers(1, 32), threshold=st.integers(1, 64), halves=st.lists(st.integers(-80, 80), min_size=1))
def test_integrate_fire_equals_the_activation_with_as_many_levels(timesteps, threshold, halves):
    """Currents are multiples of λ / 2T, so that half of them are ties; λ and T are such that float64 is exact."""
    pre_activations = torch.tensor(halves, dtype=torch.float64) * threshold
    scaled = timesteps * 2 * threshold
    activation = QCFS(timesteps, float(scaled)).double()(pre_activations)
    counts = IntegrateFire(scaled, scaled / 2).double()(pre_activations.expand(timesteps, 1, -1)).sum((0, 1)) / scaled
    assert torch.equal((activation * timesteps / scaled).round(), counts)
    integer = IntegerIntegrateFire(2 * threshold * timesteps)
    assert torch.equal(integer(pre_activations.expand(timesteps, 1, -1) * WEIGHT_UNIT).sum((0, 1)), counts)


@pytest.mark.parametrize("levels", [1, 2, 4, 8])
def test_every_tie_fires(levels):
    threshold = 4 * levels
    for half in range(1, 2 * levels, 2):
        current = half * WEIGHT_UNIT * threshold // (2 * levels)
        spikes = IntegerIntegrateFire(threshold)(torch.full((levels, 1, 1), current, dtype=torch.float64))
        assert int(spikes.sum()) == (half + 1) // 2


def test_conversion_keeps_the_synapses_and_gives_the_first_stage_the_same_rate():
    torch.manual_seed(3)
    network = build("digits-qcfs", levels=8).double()
    with torch.no_grad():  # dyadic numbers: the sums are exact, so that ties fall alike
        for parameter in network.parameters():
            parameter.copy_((parameter * 16).round() / 16)
    spiking = qcfs_to_spiking(network)
    x = torch.randint(0, 17, (5, 1, 8, 8)).double()
    rate = next(spiking.chain())(x.expand(8, *x.shape)).mean(0)
    assert torch.equal(rate, next(network.chain())(x[None])[0])
    assert 0 < rate.mean() < 2
    for before, after in zip(network.chain(), spiking.chain(), strict=True):
        assert torch.equal(before.synapse.weight, after.synapse.weight)
        assert before.synapse.weight is not after.synapse.weight
        if isinstance(before.neuron, QCFS):
            assert isinstance(after.neuron, IntegrateFire)
            threshold = before.neuron.threshold.item()
            state = [float(value) for value in (after.neuron.threshold, after.neuron.v_init, after.neuron.amplitude)]
            assert state == [threshold, threshold / 2, threshold]


def test_conversion_refuses_what_it_cannot_convert():
    with pytest.raises(InputError, match="no QCFS activation"):
        qcfs_to_spiking(build("digits-lif"))
    network = build("digits-qcfs")
    with torch.no_grad():
        next(network.chain()).neuron.threshold.fill_(-1.0)
    with pytest.raises(InputError, match="stage conv1: the trained threshold"):
        qcfs_to_spiking(network)


@pytest.mark.parametrize("arguments", [(0, 1.0), (4, 0.0), (4, float("inf"))])
def test_values_outside_their_range_are_refused(arguments):
    with pytest.raises(InputError, match="expected"):
        QCFS(*arguments)


def by_elementary_operations(pre_activations, threshold, levels):
    """The activation from operations that torch differentiates itself; the floor passes its gradient on."""
    scaled = pre_activations * levels / threshold + 0.5
    floored = scaled + (scaled.floor() - scaled).detach()
    share = floored / levels
    inside = (share >= 0) & (share <= 1)  # torch's clamp has a slope at its bounds in some releases, and none in others
    return threshold * torch.where(inside, share, share.detach().clamp(0, 1))


@given(
    levels=st.integers(1, 16),
    threshold=st.floats(0.05, 8.0),
    values=st.lists(st.floats(-10, 10), min_size=1, max_size=30),
    seed=st.integers(0, 99),
)
def test_gradients_are_those_of_the_elementary_operations(levels, threshold, values, seed):
    scaled = torch.tensor(values, dtype=torch.float64) * levels / threshold + 0.5
    kinks = torch.tensor([0.0, levels + 1.0], dtype=torch.float64)
    scaled = scaled[(scaled[:, None] - kinks).abs().min(1).values > 1e-9]  # at a kink each says another one-sided slope
    outer = torch.randn(len(scaled), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = []
    for ours in (True, False):
        activation = QCFS(levels, threshold).double()
        inputs = ((scaled - 0.5) * threshold / levels).requires_grad_()
        sent = activation(inputs) if ours else by_elementary_operations(inputs, activation.threshold, levels)
        (sent * outer).sum().backward()
        found.append((sent.detach(), inputs.grad, activation.threshold.grad))
    for got, expected in zip(*found, strict=True):
        assert torch.allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_the_width_gives_the_same_activations_and_gradients(kind):
    """Of numbers that both widths hold exactly, off the kinks; only the sum for λ is rounded."""
    random = torch.Generator().manual_seed(0)
    values = (2 * torch.randint(-24, 24, (16, 8, 20, 20), generator=random) + 1) / 16
    outer = torch.randint(-8, 9, values.shape, generator=random) / 8
    found = []
    for width in (kind, torch.float64):
        activation = QCFS(4, 2.0)  # λ stays float32, as under automatic mixed precision
        inputs = values.to(width).contiguous(memory_format=torch.channels_last).requires_grad_()
        sent = activation(inputs)
        assert sent.dtype == width
        sent.backward(outer.to(width))
        found.append((sent.detach().double(), inputs.grad.double(), activation.threshold.grad.item()))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    assert found[0][2] == pytest.approx(found[1][2], rel=0.01)


def test_a_large_sum_of_float16_gradients_is_not_infinite():
    activation = QCFS(4, 2.0)
    activation(torch.full((4000,), 9.0, dtype=torch.float16)).backward(torch.full((4000,), 30.0, dtype=torch.float16))
    assert activation.threshold.grad.item() == 4000 * 30  # beyond float16's 65504


def test_a_negative_threshold_has_gradients_still():
    values = torch.tensor([-3.0, -1.2, -0.3, 0.1, 1.0], dtype=torch.float64)
    found = []
    for ours in (True, False):
        activation = QCFS(4, 2.0).double()
        activation.threshold.data.neg_()
        inputs = values.clone().requires_grad_()
        (activation(inputs) if ours else by_elementary_operations(inputs, activation.threshold, 4)).sum().backward()
        found.append((inputs.grad, activation.threshold.grad))
    assert torch.allclose(found[0][0], found[1][0]) and torch.allclose(found[0][1], found[1][1])
    assert found[0][0].tolist() == [0, 1, 1, 1, 0]
