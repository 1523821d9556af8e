"""Plain ReLU networks become spiking ones: folded exactly, within the bound that theory gives, or refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from spikecut.deploy.backends.kernels.reference import measure_ranges
from spikecut.errors import SpikecutError
from spikecut.export.encode import encode
from spikecut.export.importers.relu import convert_relu
from spikecut.export.importers.torch_network import trace
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.quantise.integers import quantise
from spikecut.export.quantise.measure import integrate_fire_ranges
from spikecut.models.relu.network import ReluNetwork, balanced_thresholds

TIMESTEPS = 12


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small gain nothing from a second thread, and on a busy machine lose much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@st.composite
def networks(draw):
    """(module, input shape): a convolution with what may stand around it, a second one, a pooling, a dense output."""
    torch.manual_seed(draw(st.integers(0, 10**6)))
    groups, dilation = draw(st.sampled_from([(1, 1), (2, 1), (1, 2)]))
    stride, pool = draw(st.sampled_from([(1, 2), (2, 1), (1, (2, 3))]))
    norm_first, norm, pool_early = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    shape = (2, 12, 12)
    layers = [nn.BatchNorm2d(2)] if norm_first else []
    layers.append(nn.Conv2d(2, 4, 3, stride, padding=0 if norm_first else 1, groups=groups, bias=draw(st.booleans())))
    layers += [nn.AvgPool2d(2)] if pool_early else []
    layers += [nn.BatchNorm2d(4)] if norm else []
    layers += [nn.ReLU6() if draw(st.booleans()) else nn.ReLU(), nn.Dropout(0.5)]
    layers += [nn.Conv2d(4, 6, (3, 2), padding=(dilation, 1), dilation=dilation, groups=groups), nn.ReLU()]
    layers += [nn.AvgPool2d(pool, divisor_override=draw(st.sampled_from([None, 1])))]
    layers += [nn.BatchNorm2d(6)] if draw(st.booleans()) else []
    layers += [nn.Flatten(), nn.Identity()]
    features = nn.Sequential(*layers).eval()(torch.zeros(1, *shape)).shape[1]
    layers += [nn.Linear(features, 5), nn.ReLU(), nn.Linear(5, 3)]
    module = nn.Sequential(*layers)
    for part in module:
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    return module, shape


def magnitude(module):
    """The linear layer with the magnitudes of its weights, without biases."""
    if isinstance(module, nn.Conv2d):
        return lambda x: functional.conv2d(
            x, module.weight.abs(), None, module.stride, module.padding, module.dilation, module.groups
        )
    if isinstance(module, nn.Linear):
        return lambda x: x @ module.weight.abs().T
    if isinstance(module, nn.BatchNorm2d):
        gain = (module.weight / (module.running_var + module.eps).sqrt()).abs()
        return lambda x: x * gain[:, None, None]
    return module


@settings(max_examples=12)
@given(made=networks(), seed=st.integers(0, 2**31))
def test_counts_stay_within_the_bound_of_the_clipped_activations(made, seed):
    """|Σ spikes λ - t clip(a, 0, λ)| ≤ E at every t and layer, E = |W| E_before + λ/2: docs/conversion.md proves it."""
    module, shape = made
    images = torch.randn(8, *shape, generator=torch.Generator().manual_seed(seed)).double()
    try:
        converted = convert_relu(module, images.numpy(), np.zeros(8, dtype=np.int64), 95)
    except SpikecutError as error:
        assert "never active" in str(error)
        return
    frames = images.expand(TIMESTEPS, *images.shape)
    recorded = converted.witness.record(frames)
    ideal, bound = images, torch.zeros_like(images)
    module = module.double().eval()
    steps = torch.arange(1, TIMESTEPS + 1).double()
    with torch.no_grad():
        for number, layer in enumerate(module):
            ideal = layer(ideal)
            if isinstance(layer, nn.ReLU | nn.ReLU6):
                threshold = converted.witness.thresholds[str(number)]
                ideal = ideal.clamp(max=threshold)
                bound = bound + threshold / 2
                within(recorded[str(number)], ideal, bound, steps)
            else:
                bound = magnitude(layer)(bound)
        within(recorded[""], ideal, bound, steps)
        folded = converted.network(frames)
    within(folded, ideal, bound, steps)


def within(sent, ideal, bound, steps):
    errors = sent.cumsum(0) - steps.reshape(-1, *[1] * ideal.ndim) * ideal
    assert bool((errors.abs() <= bound * (1 + 1e-9) + 1e-9).all())


@settings(max_examples=5)
@given(made=networks())
def test_folding_is_exact(made):
    """Stage by stage on the same input: the folded synapse's current, times λ, is what the unfolded layers give."""
    module, shape = made
    images = torch.randn(6, *shape).double()
    try:
        converted = convert_relu(module, images.numpy(), np.zeros(6, dtype=np.int64), 100)
    except SpikecutError as error:
        assert "never active" in str(error)
        return
    chain, sent = converted.witness.network, images
    stages = iter(converted.network.chain())
    read = images
    with torch.no_grad():
        for layer in chain.layers:
            before = sent
            sent = layer.module(sent)
            if layer.role == "relu":
                threshold = converted.witness.thresholds[layer.name]
                divided = threshold if threshold.numel() > 1 else 1.0
                torch.testing.assert_close(next(stages).currents(read[None])[0] * divided, before)
                read = sent / divided
        torch.testing.assert_close(next(stages).currents(read[None])[0], sent)


def test_ranges_equal_those_of_plain_numpy():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 3))
    images = np.random.default_rng(0).integers(0, 8, (12, 1, 8, 8)).astype(np.float64)
    converted = convert_relu(module, images, np.zeros(12, dtype=np.int64))
    spec = InputSpec((1, 8, 8), "direct", 3)
    network = quantise(trace(converted.network, spec, 20), measure=integrate_fire_ranges_of(images), wide=True).network
    assert integrate_fire_ranges(network, images) == measure_ranges(network, encode(images, network))


def integrate_fire_ranges_of(images):
    return lambda network: integrate_fire_ranges(network, images)


class Forward(nn.Module):
    """A module whose forward is a function of (itself, x)."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(self, x)


def functional_form(self, x):
    x = functional.avg_pool2d(functional.relu(self.conv(x)), 2)
    return self.out(functional.dropout(x.view(x.size(0), -1), training=self.training))


def test_a_forward_of_functions_is_the_sequence_it_says():
    torch.manual_seed(1)
    module = Forward(functional_form, conv=nn.Conv2d(1, 3, 3), out=nn.Linear(27, 4)).eval()
    x = torch.randn(5, 1, 8, 8)
    network = ReluNetwork.of(module, (1, 8, 8))
    torch.testing.assert_close(network(x.double()).float(), module(x))
    assert [layer.role for layer in network.layers] == ["weights", "relu", "pool", "flatten", "nothing", "weights"]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kernel", [2, (3, 4), (5, 2)])
def test_same_padding_of_an_even_kernel_is_exact(kernel):
    """One more at the end than at the start, as torch and TensorFlow pad."""
    torch.manual_seed(5)
    module = nn.Sequential(
        nn.Conv2d(2, 3, kernel, padding="same"), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 3)
    ).eval()
    images = np.random.default_rng(2).random((6, 2, 6, 6))
    stage = next(iter(convert_relu(module, images, np.zeros(6, dtype=np.int64)).network.chain()))
    thresholds = balanced_thresholds(ReluNetwork.of(module, (2, 6, 6)), torch.from_numpy(images), 99)["1"]
    with torch.no_grad():
        expected = module[0].double()(torch.from_numpy(images))
        torch.testing.assert_close(stage.currents(torch.from_numpy(images)[None])[0] * thresholds, expected)


def conv(*more, channels=1):
    body = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), *more, nn.Flatten()).eval()
    return nn.Sequential(*body, nn.Linear(body(torch.zeros(1, channels, 8, 8)).shape[1], 3))


def shifting_norm():
    norm = nn.BatchNorm2d(4)
    nn.init.ones_(norm.bias)
    return norm


REFUSED = {
    "maximum pooling": (conv(nn.MaxPool2d(2)), r"layer 2 \(MaxPool2d\).*AvgPool2d"),
    "attention": (nn.Sequential(nn.MultiheadAttention(4, 1), nn.ReLU(), nn.Linear(4, 2)), "MultiheadAttention.*Conv2d"),
    "sigmoid": (conv(nn.Sigmoid()), r"\(Sigmoid\): train with ReLU"),
    "tanh": (conv(nn.Tanh()), r"\(Tanh\): train with ReLU"),
    "gelu": (conv(nn.GELU()), r"\(GELU\): train with ReLU"),
    "leaky": (conv(nn.LeakyReLU()), r"\(LeakyReLU\): negative activations"),
    "softmax": (nn.Sequential(*conv(), nn.Softmax(1)), r"\(Softmax\): leave it out"),
    "layer norm": (conv(nn.LayerNorm(6)), "BatchNorm"),
    "unknown": (conv(nn.Hardswish()), r"\(Hardswish\): use Conv2d"),
    "overlapping pooling": (conv(nn.AvgPool2d(3, 2)), "layer 2: a pooling that overlaps"),
    "padded pooling": (conv(nn.AvgPool2d(2, padding=1)), "layer 2: a pooling that overlaps, leaves gaps, pads"),
    "ceil mode": (conv(nn.AvgPool2d(2, ceil_mode=True)), "ceil_mode"),
    "adaptive pooling": (conv(nn.AdaptiveAvgPool2d(4)), "layer 2: adaptive pooling.*does not divide"),
    "pad behind a rest": (conv(nn.AvgPool2d(4), nn.Conv2d(4, 2, 1, padding=1), nn.ReLU()), "layer 3: it pads"),
    "two weights": (conv(nn.Conv2d(4, 4, 1)), "layer 4: no ReLU between it and the weights of 2"),
    "two ReLUs": (conv(nn.ReLU()), "layer 2: a ReLU behind 1"),
    "a ReLU first": (nn.Sequential(nn.ReLU(), *conv()), "layer 0: a ReLU in front of all weights"),
    "a ReLU last": (nn.Sequential(*conv(), nn.ReLU()), "layer 4: the network must end in weights"),
    "no ReLU": (nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), "no ReLU"),
    "a map of scores": (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)), "the output is a map"),
    "flattened scores": (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten()),
        "the scores are a flattened map",
    ),
    "norm before padding": (conv(shifting_norm(), nn.Conv2d(4, 2, 3, padding=1), nn.ReLU()), "layer 3: a batch norm"),
    "reflected padding": (
        conv(nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect"), nn.ReLU()),
        "layer 2: padding 'reflect'",
    ),
    "no statistics": (conv(nn.BatchNorm2d(4, track_running_stats=False)), "running statistics"),
    "dense on a map": (nn.Sequential(nn.Linear(8, 4), nn.ReLU(), *conv()), "layer 0: a Linear on a map"),
    "partial flattening": (conv(nn.Flatten(2)), "layer 2: flattens some dimensions only"),
    "channels": (conv(channels=2), "layer 0: does not fit what comes in"),
    "residual": (
        Forward(
            lambda self, x: self.out((self.a(x).relu() + x).flatten(1)), a=nn.Conv2d(1, 1, 1), out=nn.Linear(64, 3)
        ),
        r"layer add \(add\): a sum of two branches",
    ),
    "a branch": (Forward(lambda self, x: (self.a(x), self.a(x))[1], a=nn.Linear(8, 8)), "use a chain"),
    "used twice": (
        Forward(lambda self, x: self.a(self.a(x.flatten(1)).relu()), a=nn.Linear(64, 64)),
        "layer a: used twice",
    ),
    "depends on values": (Forward(lambda self, x: self.a(x) if x.sum() > 0 else x, a=nn.Linear(8, 8)), "as a chain"),
    "dropout that drops": (
        Forward(lambda self, x: self.a(functional.dropout(x.flatten(1))).relu(), a=nn.Linear(64, 3)),
        "drops at inference",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    module, message = REFUSED[case]
    with pytest.raises(SpikecutError, match=message) as caught:
        convert_relu(module, np.random.default_rng(0).random((4, 1, 8, 8)), np.zeros(4, dtype=np.int64))
    assert "\n" not in str(caught.value)


def test_a_hook_and_an_inactive_layer_are_refused():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    images = np.ones((4, 1, 2, 2))
    for break_it, message in (
        (lambda: module.register_forward_hook(lambda *_: torch.zeros(4, 2)), "does not compute what its layers do"),
        (lambda: module[1].register_forward_hook(lambda *_: torch.ones(4, 3)), "layer 1: it has hooks"),
        (lambda: nn.init.constant_(module[1].weight, -9), "layer 2: never active"),
        (lambda: nn.init.constant_(module[3].weight, float("nan")), "layer 3: weight holds a NaN"),
    ):
        handle = break_it()
        with pytest.raises(SpikecutError, match=message):
            convert_relu(module, images, np.zeros(4, dtype=np.int64))
        if not isinstance(handle, torch.Tensor):
            handle.remove()


def test_the_percentile_is_that_of_the_positive_activations():
    module = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2))
    nn.init.ones_(module[1].weight)
    network = ReluNetwork.of(module, (1, 1, 1))
    images = torch.arange(-500, 1001).double().reshape(-1, 1, 1, 1)
    for percentile, expected in ((100, 1000), (99, 990), (90, 900)):
        assert float(balanced_thresholds(network, images, percentile)["2"]) == expected
    with pytest.raises(SpikecutError, match="expected 90 to 100"):
        balanced_thresholds(network, images, 50)
