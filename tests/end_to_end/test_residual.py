"""A residual network through the whole house: trained as QCFS, rounded in torch, batched, on Lava; halted, priced."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from networks import random_inputs, random_network
from oracle import longest_way
from oracle import run_network as run_oracle
from torch import nn

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.batched.stream import run_network
from spikecut.deploy.backends.kernels.reference import scores_of, synapse
from spikecut.deploy.backends.lava.cpu import run_lava
from spikecut.deploy.backends.lava.loihi2 import plan
from spikecut.deploy.backends.lava.stream import run_lava_stream
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cost.attribution import attribute
from spikecut.deploy.cost.estimate import estimate
from spikecut.deploy.cost.traffic import Messages, arriving, routes_of
from spikecut.deploy.cutoff.stream import StreamSettings
from spikecut.deploy.cutoff.topk import TopK, top_two_gap
from spikecut.deploy.placement.hardware import load_hardware
from spikecut.deploy.placement.place import place
from spikecut.deploy.run.neurobench import neurobench_metrics
from spikecut.deploy.verify.compare import verify
from spikecut.errors import BundleError, CapabilityError, ExportError
from spikecut.export.network.layers import IntegerNetwork
from spikecut.export.network.skip import Skip
from spikecut.export.netx.limits import beyond_netx
from spikecut.export.netx.read import read_netx
from spikecut.export.netx.write import write_netx
from spikecut.export.write_bundle import export_network
from spikecut.models.layers.qcfs import QCFS
from spikecut.models.network import ResidualStage, SpikingNetwork, Stage
from spikecut.models.neurons.integrate_fire import MembraneReadout

SAMPLES = 16
HORIZON = 4


def conv(channels, outputs, stride=1, kernel=3):
    synapse = nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, bias=False)
    return synapse, nn.BatchNorm2d(outputs)


def residual_network():
    """Three blocks as those of the zoo's `residual`, narrower: two identities, and a projection that strides."""
    stages = [Stage("conv1", *conv(1, 4), QCFS(4, 2.0))]
    for name, channels, outputs, stride in (("a", 4, 4, 1), ("b", 4, 6, 2), ("c", 6, 6, 1)):
        first = Stage(f"{name}.first", *conv(channels, outputs, stride), QCFS(4, 2.0))
        shortcut = Stage(f"{name}.shortcut", *conv(channels, outputs, stride, 1), nn.Identity()) if stride > 1 else None
        stages.append(ResidualStage(name, first, *conv(outputs, outputs), QCFS(4, 2.0), shortcut))
    stages.append(Stage("output", nn.Linear(6, 10), nn.Identity(), MembraneReadout(), pool=4))
    return SpikingNetwork(stages, "membrane", (1, 8, 8))


@pytest.fixture(scope="module")
def residual_bundle(digits, tmp_path_factory):
    torch.manual_seed(0)
    network = residual_network()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    images = torch.tensor(digits.train.x, dtype=torch.float32)
    labels = torch.tensor(digits.train.y)
    scale = float(images.max()) / 31
    for _ in range(80):
        chosen = torch.randint(0, len(images), (64,))
        loss = nn.functional.cross_entropy(network(images[chosen][None])[0], labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    spec = {"encoding": "direct", "bits": 5, "signed": False, "scale": scale, "zero": 0.0, "seed": 0}
    recipe = {"input": spec, "labels": [str(digit) for digit in range(10)], "horizon": HORIZON}
    folder = tmp_path_factory.mktemp("residual") / "bundle"
    manifest = export_network(network.eval(), recipe, folder, digits.test.x[:64], digits.test.y[:64])
    return open_bundle(folder), manifest


def test_torch_batched_engine_and_lava_agree(residual_bundle):
    bundle, manifest = residual_bundle
    assert manifest.agreement.float_correct > 20  # of 64: it has learnt something
    errors = [entry.skip_weight_error_max for entry in manifest.layers]
    assert [error is None for error in errors] == [True, True, False, True, False, True, False, True]
    assert {"a: a skip from conv1", "c: a skip from b"} <= set(manifest.beyond_netx)
    found = verify(bundle, SAMPLES)
    assert found.passed, str(found.difference)
    assert found.engines == ("batched", "lava")
    layers = {check.layer for check in found.checks if check.engine == "lava"}
    assert layers == {"conv1", "a.first", "a", "b.first", "b", "c.first", "c", "output scores"}
    assert {"a skip weights", "b skip weights", "c skip weights"} <= {check.layer for check in found.checks}
    assert min(check.spikes for check in found.checks if check.engine == "lava" and check.layer != "output scores") > 0


def test_halted_samples_are_the_twin_cut_by_the_same_policy(residual_bundle):
    bundle, _ = residual_bundle
    golden, network = bundle.golden(), bundle.network
    scores = golden.twin_scores[:, :SAMPLES]
    policy = TopK(tuple(int(np.quantile(gap, 0.5)) for gap in top_two_gap(scores.cumsum(axis=0))))
    inputs = golden.inputs[:, :SAMPLES].astype(np.int32)
    engine = run_batched(network, inputs, policy, record="all")
    assert len(np.unique(engine.timesteps)) >= 3
    for models, mode, count in (("stock", "isolated", 6), ("fused", "streaming", SAMPLES)):
        lava = run_lava(network, inputs[:, :count], policy, record="all", models=models, mode=mode)
        np.testing.assert_array_equal(lava.timesteps, engine.timesteps[:count])
        np.testing.assert_array_equal(lava.scores, np.where(lava.valid[..., None], scores[:, :count], 0))
        for name, spikes in golden.twin_spikes.items():
            np.testing.assert_array_equal(lava.spikes[name][lava.valid], spikes[:, :count][lava.valid], name)
        if mode == "isolated":
            longest = int(lava.hardware_steps.max())
            for ours, theirs in zip(engine.events, lava.events, strict=True):
                np.testing.assert_array_equal(ours.synops[:count, :longest], theirs.synops[:, :longest], ours.name)


@pytest.mark.parametrize("has", [{"skips": True}, {"graph": True, "dense_only": True, "recurrent": True}])
def test_a_stream_is_reset_along_the_skips(has):
    network = random_network(8, horizon=8, **has)
    inputs = random_inputs(network, 10)
    gaps = top_two_gap(run_batched(network, inputs).scores.cumsum(axis=0))
    settings = StreamSettings(TopK(tuple(int(np.median(gap)) for gap in gaps)), window=6, confirmations=2)
    frames = inputs.swapaxes(0, 1).reshape(-1, *network.input_shape)
    stream, host = run_lava_stream(network, frames, settings), run_network(network, frames[:, None], settings)
    for field in ("emitted", "safe", "predictions", "timesteps", "announced"):
        np.testing.assert_array_equal(getattr(stream, field), getattr(host, field), field)
    assert len(np.unique(stream.timesteps[stream.emitted])) > 1


def reached(layer, sender, size, groups):
    """Non-zero synapses from one sender onto each group of neurons, by sending one message."""
    frame = np.zeros((1, size), dtype=np.int64)
    frame[0, sender] = 1
    counting = replace(layer, weight=(np.asarray(layer.weight) != 0) * 2)
    onto = synapse(counting, frame.reshape(1, *layer.input_shape)).reshape(-1) // 2
    return [int(onto[group].sum()) for group in groups]


@pytest.mark.parametrize("mode", ["isolated", "streaming"])
def test_a_graph_is_halted_and_its_events_are_counted(mode):
    network = random_network(3, graph=True)
    assert [longest_way(network, layer.name) for layer in network.layers] == [1, 1, 2, 2, 3, 4]
    assert network.depths == (0, 1, 1, 2, 2, 3, 4) and network.depth == 4
    inputs, policy = random_inputs(network, 6), TopK((1, 1, 1, 0, 0, None))
    engine = run_batched(network, inputs, policy, record="all")
    counted = run_batched(network, inputs, policy, record="events")
    lava = run_lava(network, inputs, policy, record="all", models="stock" if mode == "isolated" else "fused", mode=mode)
    assert len(np.unique(engine.timesteps)) > 1
    np.testing.assert_array_equal(lava.timesteps, engine.timesteps)
    np.testing.assert_array_equal(lava.scores, engine.scores)
    for ours, theirs, counts in zip(engine.events, lava.events, counted.events, strict=True):
        np.testing.assert_array_equal(counts.synops, ours.synops, ours.name)
        np.testing.assert_array_equal(counts.spikes, ours.spikes, ours.name)
        if mode == "isolated":
            np.testing.assert_array_equal(theirs.raster, ours.raster, ours.name)
            np.testing.assert_array_equal(theirs.synops, ours.synops, ours.name)
    for layer, expected in zip(network.layers, run_oracle(network, inputs), strict=True):
        np.testing.assert_array_equal(engine.spikes[layer.name][engine.valid], expected[engine.valid], layer.name)


@pytest.mark.parametrize("has", [{"skips": True}, {"graph": True}])
def test_what_a_skip_brings_is_counted_on_its_cores(has):
    network = random_network(5, **has)
    trace = run_batched(network, random_inputs(network, 2), record="all")
    chip = load_hardware("loihi2")
    limits = chip.limits.model_copy(
        update={"neurons_per_core": chip.limits.neurons_per_core.model_copy(update={"value": 30})}
    )
    chip = chip.model_copy(update={"limits": limits})
    placement = place(network, chip)
    routes = routes_of(network, placement)
    names = ["input", *(layer.name for layer in network.layers)]
    depth_of = [longest_way(network, name) for name in names]
    for index, route in enumerate(routes[1:], start=1):
        given = [arriving(trace, slice(None), path) for path in route.paths]
        counts = route.counts(given, Messages(trace.events[index + 1], slice(None)))
        layer, groups = network.layers[index], placement.layers[index].groups
        axons, synops = np.zeros((2, 2, *counts.synops.shape[1:]))
        begins = [names.index(layer.source or names[index]), *(names.index(skip.source) for skip in layer.skips)]
        for path, source in zip((layer, *layer.skips), begins, strict=True):
            late = depth_of[index + 1] - 1 - depth_of[source]
            for n, step, sender in np.argwhere(trace.events[source].raster != 0):
                if step + late < trace.hardware_steps[n]:
                    onto = reached(path, sender, int(np.prod(path.input_shape)), groups)
                    axons[n, step + late] += np.array(onto) > 0
                    synops[n, step + late] += onto
        assert len(groups) > 1 or layer.kind == "dense"
        np.testing.assert_array_equal(counts.synops, synops)
        np.testing.assert_array_equal(counts.axons, axons)
    cost, parts = estimate(trace, chip, placement=placement), attribute(trace, chip, placement)
    assert any("relay" in line for line in cost.assumptions)
    assert parts.energy_j.total() == pytest.approx(cost.energy_j.mean.value)
    bare = random_network(5)
    without = run_batched(bare, random_inputs(network, 2), record="all")
    assert neurobench_metrics(trace).dense > neurobench_metrics(without).dense
    np.testing.assert_array_equal(scores_of(network, trace.spikes["output"]), trace.scores)


@pytest.mark.parametrize(
    ("source", "shape", "message"),
    [
        ("output", (5,), "layer output: a skip from output, which must .*: input, conv1, conv2$"),
        ("later", (6, 4, 3), "a skip from later"),
        ("conv1", (2, 7, 5), r"its skip takes \(2, 7, 5\), but conv1 gives \(4, 7, 5\)"),
    ],
)
def test_skips_that_do_not_fit_are_refused(source, shape, message):
    *layers, output = random_network(1).layers
    weight = np.full((5, int(np.prod(shape))), 2)
    with pytest.raises(ExportError, match=message):
        skip = Skip(source, "dense", weight, shape, (5,))
        IntegerNetwork((*layers, replace(output, skips=(skip,))), random_network(1).input, "count", 4)


def test_layers_that_lead_nowhere_or_come_too_late_are_refused():
    *layers, output = random_network(1, graph=True).layers
    spec = random_network(1).input
    with pytest.raises(ExportError, match="layer tail: no path leads from it to the output, layer output"):
        IntegerNetwork((*layers, replace(output, skips=output.skips[1:])), spec, "count", 6)
    with pytest.raises(ExportError, match=r"layer second: takes from later, which must .*: input, "):
        changed = [
            replace(layer, name="second", source="later") if layer.name == "conv2" else layer for layer in layers
        ]
        IntegerNetwork((*changed, output), spec, "count", 6)


@pytest.mark.parametrize("source", [-1, 3, 99])
def test_a_file_with_a_skip_to_nowhere_ends_in_one_line(tmp_path, source):
    path = tmp_path / "network.net"
    write_netx(random_network(1, skips=True), path)
    with h5py.File(path, "r+") as file:
        del file["layer/4/skip/source"]
        file["layer/4/skip/source"] = source
    with pytest.raises(BundleError, match=rf"layer output, number 3: takes from number {source}, which") as caught:
        read_netx(path)
    assert "\n" not in str(caught.value)


def test_what_cannot_take_a_skip_names_it():
    network = random_network(1, skips=True)
    assert "output: a skip from conv1" in map(str, beyond_netx(network))
    with pytest.raises(CapabilityError, match="layer conv2: a skip from input"):
        plan(random_network(1, skips=True, bias=False))
