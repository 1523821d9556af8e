"""SLAYER: the integers that are exported against slayer's own forward, and what is refused.

The witness is lava-dl's: the user's module, run in one piece.
"""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecut
from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.errors import CheckpointError, InputError, RangeError, SpikecutError, UnsupportedError
from spikecut.export.importers.slayer import slayer_golden, slayer_integers
from spikecut.export.network.input_spec import InputSpec
from spikecut.models.slayer.network import SlayerStage, slayer_library
from spikecut.models.slayer.spec import parse_spec, read_spec
from spikecut.models.slayer.state_dict import load_slayer
from spikecut.models.torch_files import read_tensors

STEPS = 12
pytestmark = [
    pytest.mark.lava,  # the fixture `slayer` imports lava-dl
    pytest.mark.filterwarnings("ignore:`?torch.nn.utils.weight_norm`? is deprecated"),
]


@pytest.fixture(scope="module")
def slayer():
    torch.set_num_threads(1)
    return slayer_library()


class Chain(torch.nn.Module):
    """As in lava-dl's examples."""

    def __init__(self, *blocks):
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks)

    def forward(self, spikes):
        for block in self.blocks:
            spikes = block(spikes)
        return spikes


def neuron(**changes):
    return {"threshold": 1.0, "current_decay": 0.25, "voltage_decay": 0.125, **changes}


@st.composite
def adaptive(draw, family, parameters):
    """The parameters of a neuron, with those of a threshold that adapts where its family is alif."""
    if family is not slayer_library().block.alif:
        return parameters
    more = {name: draw(st.floats(0, 1)) for name in ("threshold_decay", "refractory_decay")}
    one = 1.0 if parameters.get("shared_param", True) else (1.0, 1.0)
    whole = {"current_decay": one} if "norm" in parameters else {}  # its bias enters the current
    levels = {"threshold": 0.1 + draw(st.floats(0, 2)), "threshold_step": draw(st.floats(0, 2))}
    return {**parameters, **more, **whole, **levels}


@st.composite
def networks(draw):
    """A chain of two convolutions or none, dense and recurrent blocks, and how the random parts are drawn."""
    torch.manual_seed(draw(st.integers(0, 2**32)))
    slayer = slayer_library()
    cuba, norm = slayer.block.cuba, slayer.neuron.norm.MeanOnlyBatchNorm
    shift = draw(st.booleans())
    common = {"delay_shift": shift, "weight_scale": 3}

    def parameters(may_have_norm, may_differ=True):
        decays = {name: draw(st.floats(0, 1)) for name in ("current_decay", "voltage_decay")}
        if may_differ and draw(st.booleans()):  # per channel, drawn by slayer at the first forward
            decays = {name: (least / 2, least) for name, least in decays.items()} | {"shared_param": False}
        normed = {"norm": norm} if may_have_norm and draw(st.booleans()) else {}
        dropped = {"dropout": slayer.neuron.Dropout(0.5)} if draw(st.booleans()) else {}
        scale = draw(st.sampled_from([16, 64]))
        return neuron(threshold=draw(st.floats(0, 4)), scale=scale, **decays, **normed, **dropped)

    families = [draw(st.sampled_from([cuba, slayer.block.alif])) for _ in range(3)]
    blocks, features = [], 2 * 6 * 5
    if draw(st.booleans()):
        groups, stride = draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, (2, 1)]))
        given, options = (
            draw(adaptive(families[0], parameters(True, may_differ=False))),
            {"groups": groups, "weight_norm": True, **common},
        )
        blocks.append(families[0].Conv(given, 2, 4, (3, 2), stride, (1, 0), **options))
        blocks.append(cuba.Flatten())
        features = 4 * (6 if stride == 1 else 3) * 4
    delayed = draw(st.booleans())
    may_have_norm = not delayed and not (shift and blocks)
    given = draw(adaptive(families[1], parameters(may_have_norm)))
    blocks.append(families[1].Dense(given, features, 7, weight_norm=True, delay=delayed, **common))
    if draw(st.booleans()):
        blocks.append(families[2].Recurrent(draw(adaptive(families[2], parameters(False))), 7, 6, **common))
    else:
        mask = torch.rand(6, 7) < 0.8
        blocks.append(cuba.Dense(parameters(not shift), 7, 6, mask=mask, **common))
    blocks.append(cuba.Dense(parameters(False), 6, 3, delay=True, **common))
    return Chain(*blocks)


@pytest.mark.slow
def test_integers_are_slayers_own_forward(slayer):
    spikes = []

    @given(networks())
    @settings(max_examples=14)
    def compared(network):
        spikes.append(spikes_after_comparison(network))

    compared()
    assert np.count_nonzero(spikes) > 3  # of the last of three or four layers


def spikes_after_comparison(network):
    """Spikes of the output, after each message of the engine has been compared with slayer's forward."""
    frames = (torch.rand(4, *((2, 6, 5) if len(network.blocks) == 5 else (60,)), STEPS) < 0.5).float()
    network(frames)  # slayer draws its delays at the first forward, and norms see their first mean
    for block in network.blocks:
        if getattr(block, "delay", None) is not None:
            block.delay.delay.data *= 5
    imported = load_slayer(network, (2, 6, 5))
    spec = InputSpec((2, 6, 5), "events")
    integer, _ = slayer_integers(imported, spec, STEPS, "network", None)
    network.eval()
    stages = [stage for stage in imported.chain() if isinstance(stage, SlayerStage)]
    for layer, stage in zip(integer.layers, stages, strict=True):
        back = stage.quantised_recurrent_weight()
        assert (back is None) == (layer.recurrent is None)
        if back is not None:
            np.testing.assert_array_equal(back.reshape(layer.recurrent.shape), layer.recurrent)
    late = sum(getattr(block, "delay_shift", False) for block in network.blocks)
    for part in network.modules():
        if hasattr(part, "voltage_state"):
            part.current_state, part.voltage_state = torch.zeros(1), torch.zeros(1)
        if hasattr(part, "refractory_state"):
            part.refractory_state, part.threshold_state = torch.zeros(1), torch.tensor([part.threshold])
    with torch.no_grad():
        expected = network(torch.nn.functional.pad(frames, (0, late)))[..., late:]
    inputs = frames.movedim(-1, 0).reshape(STEPS, 4, 2, 6, 5)
    trace = run_batched(integer, inputs.numpy().astype(np.int32), record="all")
    np.testing.assert_array_equal(trace.scores, expected.movedim(-1, 0).numpy())
    np.testing.assert_array_equal(imported.scores(inputs).numpy(), trace.scores)
    for name, sent in imported.record(inputs).items():
        np.testing.assert_array_equal(trace.spikes[name], sent.numpy())
    return int(trace.scores.sum())


def refused(slayer):
    """Blocks that no Process equals, with a word of the reason."""
    block, norm = slayer.block, slayer.neuron.norm
    cuba = block.cuba
    rf = {"threshold": 1.0, "period": 5, "decay": 0.1}
    alif = neuron(threshold_decay=0.1, refractory_decay=0.1, threshold_step=0.1)
    hooked, undrawn = cuba.Dense(neuron(), 6, 4), cuba.Dense(neuron(), 6, 4, delay=True)
    hooked.synapse.pre_hook_fx = None
    drawn = block.alif.Dense({**alif, "shared_param": False, "refractory_decay": (0.1, 0.4)}, 6, 4)
    drawn(torch.zeros(1, 6, 2))
    sdnn = {"threshold": 0.1, "activation": torch.relu}
    return [
        (block.rf.Dense(rf, 6, 4), "resonate-and-fire"),
        (block.adrf.Dense({**rf, **{k: alif[k] for k in list(alif)[3:]}}, 6, 4), "adaptive resonate"),
        (block.alif.Dense({**alif, "threshold_step": 4000.0}, 6, 4), "threshold_step 4000; choose"),
        (drawn, "a refractory decay per channel"),
        (block.alif.Dense({**alif, "norm": norm.MeanOnlyBatchNorm}, 6, 4), "of a current that lasts"),
        (block.sigma_delta.Dense(sdnn, 6, 4), "sigma-delta"),
        (cuba.Pool(neuron(), 2), "Conv with stride"),
        (cuba.Unpool(neuron(), 2), "grows"),
        (cuba.ConvT(neuron(), 2, 4, 3), "transposed"),
        (cuba.Average(2), "averages"),
        (cuba.Affine(neuron(), 6, 4), "a voltage"),
        (cuba.KWTA(neuron(), 6, 4, 2), "inhibition"),
        (cuba.Input(neuron()), "has neurons"),
        (cuba.Dense(neuron(norm=norm.WgtScaleBatchNorm), 6, 4), "WgtScaleBatchNorm"),
        (cuba.Dense(neuron(graded_spike=True), 6, 4), "graded"),
        (cuba.Dense(neuron(persistent_state=True), 6, 4), "persistent_state"),
        (cuba.Dense(neuron(shared_param=False), 6, 4), "drawn at the first forward"),
        (cuba.Dense(neuron(scale=46), 6, 4), "power of two"),
        (cuba.Dense(neuron(threshold=64), 6, 4), "fires at v = threshold"),
        (hooked, "pre_hook_fx"),
        (undrawn, "drawn at the first forward"),
        (torch.nn.Linear(6, 4), "no block"),
    ]


def test_what_the_chip_cannot_do_is_refused_by_name(slayer):
    for block, reason in refused(slayer):
        with pytest.raises(UnsupportedError, match=f"block 0 .*{reason}"):
            load_slayer(torch.nn.Sequential(block), (6,))


def test_a_module_that_is_not_the_chain_of_its_blocks_is_refused(slayer):
    class Skipping(Chain):
        def forward(self, spikes):
            return self.blocks[1](spikes) if spikes.sum() > 0 else super().forward(spikes)

    class Broken(Chain):
        def forward(self, spikes):
            return self.blocks[1](spikes[:, :2])

    images = np.random.default_rng(0).random((32, 6))
    spec = InputSpec((6,), "bernoulli")
    first, second = (slayer.block.cuba.Dense(neuron(threshold=0.2), 6, 6) for _ in range(2))
    for module, reason in ((Skipping(first, second), "not the chain"), (Broken(first, second), "forward fails")):
        with pytest.raises(UnsupportedError, match=reason):
            slayer_golden(load_slayer(module, (6,)), spec, 8, images, np.zeros(32, dtype=np.int64))


def test_slayer_fires_at_equality_where_its_threshold_is_refused(slayer):
    fired = [slayer.neuron.cuba.Neuron(level, 1.0, 0.0)(torch.tensor([[[level]]])).item() for level in (63.0, 64.0)]
    assert fired == [0.0, 1.0]


def test_norms_and_delays_that_are_no_bias_and_no_synapse_are_refused(slayer):
    cuba = slayer.block.cuba
    first = cuba.Dense(neuron(), 6, 6)
    behind = cuba.Dense(neuron(norm=slayer.neuron.norm.MeanOnlyBatchNorm), 6, 4)
    network = Chain(first, behind)
    network((torch.rand(2, 6, 9) < 0.5).float())
    behind.neuron.norm.running_mean.fill_(1.0)
    with pytest.raises(UnsupportedError, match=r"block 1 .*delay_shift=False"):
        load_slayer(network, (6,))
    recurrent = Chain(cuba.Recurrent(neuron(norm=slayer.neuron.norm.MeanOnlyBatchNorm), 6, 4))
    recurrent((torch.rand(2, 6, 9) < 0.5).float())
    recurrent.blocks[0].neuron.norm.running_mean.fill_(1.0)
    with pytest.raises(UnsupportedError, match=r"block 0 .*current_decay=1"):
        load_slayer(recurrent, (6,))
    convolution = Chain(cuba.Conv(neuron(), 1, 2, 3, delay=True))
    convolution(torch.rand(1, 1, 5, 5, 4))
    convolution.blocks[0].delay.delay.data.fill_(2.0)
    with pytest.raises(UnsupportedError, match="delays"):
        load_slayer(convolution, (1, 5, 5))


def test_a_decay_beyond_12_bits_is_refused(slayer):
    network = load_slayer(Chain(slayer.block.cuba.Dense(neuron(), 6, 2)), (6,))
    network.stages[0].neuron.current_decay.data.fill_(1e6)
    with pytest.raises(RangeError, match="dense1"):
        slayer_integers(network, InputSpec((6,), "events"), 4, "network", None)


def test_membranes_beyond_24_bits_are_refused(slayer):
    network = load_slayer(Chain(slayer.block.cuba.Dense(neuron(current_decay=0, voltage_decay=0), 600, 2)), (600,))
    network.stages[0].synapse.weight.data.fill_(3.0)
    with pytest.raises(RangeError, match="dense1"):
        slayer_integers(network, InputSpec((600,), "events"), 100, "network", None)


@pytest.mark.parametrize("adaptive", [False, True])
def test_decays_per_channel_of_modules_and_of_files(slayer, tmp_path, adaptive):
    spread = {"shared_param": False, "current_decay": (0.2, 0.9), "voltage_decay": (0.05, 0.3), "threshold": 0.3}
    more = {"threshold_step": 0.125, "threshold_decay": 0.25, "refractory_decay": 0.5} if adaptive else {}
    family = slayer.block.alif if adaptive else slayer.block.cuba
    blocks = (
        family.Conv({**spread, **more}, 1, 3, 2, weight_scale=3),
        slayer.block.cuba.Flatten(),
        family.Recurrent({**spread, **more}, 12, 6, weight_scale=3),
        family.Dense({**spread, **more}, 6, 4, weight_scale=3),
    )
    torch.manual_seed(0)
    blocks[0].neuron.shape = torch.Size((3, 2, 2))  # on the CPU slayer takes them along the width, and fails
    for name in ("current_decay", "voltage_decay"):
        getattr(blocks[0].neuron, name).data = torch.tensor([400.0, 1200.0, 3000.0])
    for block in blocks[2:]:
        block((torch.rand(2, 12 if block is blocks[2] else 6, 5) < 0.5).float())
    module = Chain(*blocks)
    x, y = np.random.default_rng(5).random((40, 1, 3, 3)), np.arange(40) % 4
    parts = ("train", "calibration", "test")
    np.savez(tmp_path / "own.npz", **{f"{a}_{part}": b for a, b in (("x", x), ("y", y)) for part in parts})
    bundle = spikecut.export(module, tmp_path / "bundle", dataset=str(tmp_path / "own.npz"), timesteps=STEPS)
    assert spikecut.verify(bundle, backend="batched").passed
    layers = bundle.network.layers
    assert list(layers[0].neuron.decay_u) == [400, 1200, 3000]
    assert all(layer.neuron.varies and bundle.golden().twin_spikes[layer.name].any() for layer in layers)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    kept = {"threshold": 0.3, **more}
    spec = [
        {"block": "Conv", "in_features": 1, "out_features": 3, "kernel_size": 2},
        {"block": "Flatten"},
        {"block": "Recurrent", "in_neurons": 12, "out_neurons": 6},
        {"block": "Dense", "in_neurons": 6, "out_neurons": 4},
    ]
    build = parse_spec({"input_shape": [1, 3, 3], "neuron": kept, "blocks": spec})
    found, _ = slayer_integers(
        load_slayer(read_tensors(tmp_path / "state.pt"), build=build), bundle.network.input, STEPS, "bundle", None
    )
    for ours, theirs in zip(found.layers, layers, strict=True):
        np.testing.assert_array_equal(ours.neurons(), theirs.neurons())


SPEC = """
input_shape: [1, 5, 4]
neuron: {threshold: 1.0, current_decay: 0.5}
blocks:
- {block: Conv, in_features: 1, out_features: 3, kernel_size: [3, 2], stride: 2, padding: [1, 0]}
- {block: Flatten}
- {block: Dense, in_neurons: 18, out_neurons: 5, weight_norm: true, delay: true,
   neuron: {threshold: 1.0, threshold_step: 0.25}}
- {block: Recurrent, in_neurons: 5, out_neurons: 4, neuron: {threshold: 0.5, norm: MeanOnlyBatchNorm}}
"""


@pytest.fixture
def saved(slayer, tmp_path):
    """A network of the spec's blocks, with the files that its owner would have."""
    cuba, norm = slayer.block.cuba, slayer.neuron.norm.MeanOnlyBatchNorm
    adaptive = neuron(
        current_decay=0.5, voltage_decay=0, threshold_step=0.25, threshold_decay=0.25, refractory_decay=0.5
    )
    torch.manual_seed(3)
    network = Chain(
        cuba.Conv(neuron(current_decay=0.5, voltage_decay=0), 1, 3, (3, 2), 2, (1, 0), weight_scale=3),
        cuba.Flatten(),
        slayer.block.alif.Dense(adaptive, 18, 5, weight_norm=True, delay=True, weight_scale=3),
        cuba.Recurrent(neuron(threshold=0.5, norm=norm, current_decay=1.0, voltage_decay=0), 5, 4, weight_scale=3),
    )
    network((torch.rand(3, 1, 5, 4, 9) < 0.5).float())
    network.blocks[2].delay.delay.data *= 4
    network.blocks[2].synapse.weight_v.data.abs_()
    network.blocks[3].input_synapse.weight.data.abs_()
    network.blocks[3].neuron.norm.running_mean.zero_()
    torch.save(network.state_dict(), tmp_path / "state.pt")
    (tmp_path / "spec.yaml").write_text(SPEC)
    return network, tmp_path


def test_a_state_dict_and_its_spec_are_the_module(saved):
    network, folder = saved
    from_files = load_slayer(read_tensors(folder / "state.pt"), build=read_spec(folder / "spec.yaml"))
    frames = (torch.rand(8, 6, 1, 5, 4) < 0.5).float()
    scores = load_slayer(network, (1, 5, 4)).scores(frames)
    assert scores.sum() > 10
    np.testing.assert_array_equal(from_files.scores(frames).numpy(), scores.numpy())
    np.testing.assert_array_equal(from_files(frames).numpy(), scores.numpy())


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("in_neurons: 18", "in_neurons: 17", CheckpointError, "blocks.2.synapse.weight is of shape (5, 18, 1, 1, 1)"),
        ("weight_norm: true, ", "", CheckpointError, "no blocks.2.synapse.weight"),
        (", delay: true", "", CheckpointError, "blocks.2.delay.delay is not in the spec"),
        (", norm: MeanOnlyBatchNorm", "", CheckpointError, "blocks.3.neuron.norm.running_mean is not"),
        ("norm: MeanOnly", "norm: WgtScale", UnsupportedError, "WgtScaleBatchNorm"),
        ("- {block: Flatten}\n", "", CheckpointError, "no blocks.1.synapse.weight_v"),
        ("Recurrent", "KWTA", UnsupportedError, "KWTA"),
        ("threshold: 1.0", "threshold: .nan", InputError, "neuron.threshold"),
        ("stride: 2", "stride: 0", InputError, "stride 0"),
        ("Dense, ", "Dense, surprise: 1, ", InputError, "blocks.2.surprise"),
        ("blocks:", "prefix: layers\nblocks:", CheckpointError, "no layers.0"),
    ],
)
def test_a_spec_that_does_not_fit_is_named(saved, old, new, error, message):
    _, folder = saved
    assert old in SPEC
    (folder / "spec.yaml").write_text(SPEC.replace(old, new, 1))
    with pytest.raises(error, match=re.escape(message)):
        load_slayer(read_tensors(folder / "state.pt"), build=read_spec(folder / "spec.yaml"))


def test_files_are_data(slayer, tmp_path):
    torch.save({"net": Chain(slayer.block.cuba.Dense(neuron(), 6, 4))}, tmp_path / "pickle.pt")
    (tmp_path / "text.pt").write_text("no state")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"w": torch.zeros(1).expand(2**40)}, tmp_path / "absurd.pt")
    for name in ("pickle.pt", "text.pt", "list.pt", "absurd.pt", "missing.pt"):
        with pytest.raises(CheckpointError, match=name):
            read_tensors(tmp_path / name)
    for text in ("{", "[1]", "blocks: !!python/object/apply:os.getcwd []"):
        (tmp_path / "spec.yaml").write_text(text)
        with pytest.raises(InputError, match=r"spec\.yaml"):
            read_spec(tmp_path / "spec.yaml")
    spec = {"input_shape": [6], "blocks": [{"block": "Dense", "in_neurons": 6, "out_neurons": 4}]}
    with pytest.raises(SpikecutError, match="has no neuron"):
        load_slayer({}, build=parse_spec(spec))
