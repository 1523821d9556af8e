"""Networks that nobody here made: lava-dl's wheel holds five with what they did, two of them layer by layer.

tiny.net (reference in gts/tinynet): input neurons, two convolutions; spikes of every layer and the first convolution's
currents over 16 steps. The engine reproduces all of it; the reference is one step late, the source's.

gts/pilotnet_lif: input neurons, five convolutions, three dense layers; spikes, currents and voltages of each over 24
steps. They seem to have been read from a Loihi chip (see the third point). From the image alone the engine reproduces
every spike, current and voltage, with three differences of notation, not of arithmetic:

- The reference holds hardware time: the layer at depth l has its step t in column t + l. What it does in the l columns
  before its first real input (it integrates its bias) ends with a reset, as in spikecut.
- A presentation lasts 17 columns, after which the layer at depth l is reset in column 17 + l and the image begins anew.
  Both presentations are compared, the second as far as it goes.
- In the step of a spike the reference shows 128, a refractory counter of 1, in the place of the voltage, which is 0.

gts/dense: one dense layer, its synaptic sums and spikes, one step late; gts/ntidigits: three dense layers with axonal
delays of up to 62 steps, trained in slayer, and the spikes of the last, late by the layers and the input. Both as they
are, over their first steps.

gts/pilotnet_sdnn: an encoder of the input, four convolutions and four dense layers of sigma-delta neurons, and the
output over its first nine hardware steps, of which the last is the first that an input reaches. Lava runs it beside;
messages are compared from the first that an input reaches on. The state in which netx's own graph is by then is the
network's start. square_network.net are its convolutions on a narrower input, with the σ of each.

mnist.net: input neurons and three dense layers, the last without a neuron, no reference: Lava runs it as netx loads it.

Not compared: fc-3, the ninth layer, which never fires. Its currents and voltages are floats of another run: they do
not follow from the spikes in fc-2.npy. Nor input-s, that run's input.
"""

import json
from importlib.metadata import distribution
from pathlib import Path

import h5py
import numpy as np
import pytest
from equality import equal

import spikecut
from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.batched.slots import LayerPlan, LayerSlots
from spikecut.deploy.backends.kernels.arithmetic import Arithmetic, import_torch
from spikecut.deploy.backends.kernels.product import channels_last
from spikecut.deploy.backends.kernels.reference import NeuronState, propagate_layer
from spikecut.deploy.bundle import load
from spikecut.deploy.cost.estimate import as_chip
from spikecut.deploy.placement.hardware import load_hardware
from spikecut.deploy.placement.place import place
from spikecut.errors import DataError, SpikecutError, UnsupportedError
from spikecut.export.encode import encode
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.netx.foreign import read_any_netx
from spikecut.export.netx.read import Blocks, read_netx
from spikecut.export.netx.write import write_netx

PERIOD, STEPS, REFRACTORY = 17, 24, 128
LAYERS = ("conv-0", "conv-1", "conv-2", "conv-3", "conv-4", "fc-0", "fc-1", "fc-2")


@pytest.fixture(scope="module")
def folder():
    return Path(distribution("lava-dl").locate_file("tests/lava/lib/dl/netx"))  # without importing Lava


def test_tinynet(folder):
    network = load(folder / "tiny.net", 15)
    assert [layer.name for layer in network.layers] == ["input_neurons", "conv1", "conv2"]
    given = np.load(folder / "gts/tinynet/input_bias.npy").transpose(2, 1, 0)  # weight · x + bias already, (W, H, C)
    inputs = encode(((given - 34) / 36)[None], network)
    np.testing.assert_array_equal(inputs[0, 0], given)
    trace = spikecut.run(network, inputs, record="all")
    for layer, name in zip(network.layers, ("input", "layer1", "output"), strict=True):
        reference = np.moveaxis(np.load(folder / f"gts/tinynet/{name}.npy")[0], -1, 0)
        assert 0.05 < reference.mean() < 0.7
        np.testing.assert_array_equal(trace.spikes[layer.name][:, 0], reference[1:])
    currents = np.moveaxis(np.load(folder / "gts/tinynet/current.npy")[0], -1, 0)[1:]
    sums, _ = sums_and_voltages(network.layers[1], trace.spikes["input_neurons"])
    np.testing.assert_array_equal(sums, currents)


def sums_and_voltages(layer, frames):
    """Synaptic sums and voltages of the engine's layer for messages [T, 1, *shape]: int64 [T, *shape] each."""
    slots = LayerSlots(LayerPlan(layer, 0, 1, len(frames), Arithmetic(torch=import_torch())), 1)
    sums, voltages = [], []
    for frame in frames:
        given = slots.sums(channels_last(frame, layer.input_shape).astype(slots.input_dtype))
        sums.append(given.astype(np.int64) * (2 if slots.plan.product.halved else 1))
        slots.fire(given)
        voltages.append(slots.v.astype(np.int64))
    return (in_torch_order(np.concatenate(rows), layer.output_shape) for rows in (sums, voltages))


def in_torch_order(rows, shape):
    if len(shape) == 1:
        return rows
    return np.moveaxis(rows.reshape(len(rows), *shape[1:], shape[0]), -1, 1)


@pytest.fixture(scope="module")
def pilotnet(folder):
    """The network, the trace of its image, and the folder of the reference."""
    folder = folder / "gts/pilotnet_lif"
    network = load(folder / "network.net", PERIOD)
    image = np.load(folder / "image.npy").transpose(2, 1, 0)
    return network, run_batched(network, encode(((image - 36) / 40)[None], network), record="all"), folder


def test_pilotnet_input(pilotnet):
    _, trace, folder = pilotnet
    found = trace.spikes["input_neurons"][:, 0]
    reference = np.load(folder / "input.npy").transpose(3, 2, 1, 0)
    np.testing.assert_array_equal(np.concatenate([found, found])[:STEPS], reference)


@pytest.mark.parametrize("number", range(len(LAYERS)))
def test_pilotnet_layers(pilotnet, number):
    network, trace, folder = pilotnet
    layer, before = network.layers[1:][number], network.layers[number]
    depth = 1 + number
    files = (np.load(folder / f"{LAYERS[number]}{kind}.npy") for kind in ("", "-u", "-v"))
    spikes, currents, voltages = (values.transpose()[:STEPS].astype(np.int64) for values in files)
    assert 0.01 < spikes.mean() < 0.6
    found = trace.spikes[layer.name][:, 0]
    sums, ours = sums_and_voltages(layer, trace.spikes[before.name])
    shown = np.where(found == 1, REFRACTORY, ours)
    for start in (depth, depth + PERIOD):
        steps = max(0, min(PERIOD, STEPS - start))
        assert steps or number >= 6  # their second presentation begins after the end
        np.testing.assert_array_equal(found[:steps], spikes[start:][:steps])
        np.testing.assert_array_equal(sums[:steps] << 6, currents[start:][:steps])
        np.testing.assert_array_equal(shown[:steps], voltages[start:][:steps])


def test_input_neurons_are_the_engines_alone(pilotnet, tmp_path):
    network, trace, _ = pilotnet
    write_netx(network, tmp_path / "network.net")
    assert equal(spikecut.load(tmp_path / "network.net"), network)
    with pytest.raises(UnsupportedError, match="input_neurons"):
        spikecut.run(network, trace.events[0].raster[:, :PERIOD].reshape(PERIOD, 1, 3, 66, 200), backend="lava")


def test_dense(folder):
    steps = 500
    given = np.load(folder / "gts/dense/in.npy")[:, :steps]
    neuron = IntegerNeuron(6, np.zeros(256), decay_u=4096, decay_v=415)
    layer = IntegerLayer("dense", "dense", np.load(folder / "gts/dense/weight.npy"), neuron, (200,), (256,))
    network = IntegerNetwork((layer,), InputSpec((200,), "events"), "count", steps)
    trace = run_batched(network, given.T[:, None].astype(np.int32), record="all")
    reference = np.load(folder / "gts/dense/out.npy")[:, 1:steps]
    assert reference.sum() > 300
    np.testing.assert_array_equal(trace.spikes["dense"][:-1, 0].T, reference)
    sums, _ = sums_and_voltages(layer, given.T[:, None].astype(np.int32))
    np.testing.assert_array_equal(sums[:-1].T, np.load(folder / "gts/dense/current.npy")[:, 1:steps])


def test_ntidigits(folder, command):
    steps, late, path = 400, 4, folder / "gts/ntidigits/ntidigits.net"
    network = load(path, horizon=steps)
    assert [int(layer.delay.max()) for layer in network.layers[:2]] == [62, 62]
    frames = np.load(folder / "gts/ntidigits/input.npy")[:, :steps].T.reshape(steps, 1, 1, 1, 64)
    trace = run_batched(network, frames.astype(np.int32), record="all")
    reference = np.load(folder / "gts/ntidigits/output.npy")[:, late:steps]
    assert reference.sum() > 500
    np.testing.assert_array_equal(trace.spikes["dense3"][:-late, 0].T, reference)
    groups = reference.reshape(11, 22, -1).sum(axis=1)  # of which its last block, lava-dl's average, takes the mean
    np.testing.assert_array_equal(trace.scores[:-late, 0].T, 128 * groups)
    assert [layer.name for layer in read_any_netx(path, steps, Blocks(0, 5)).layers] == ["dense1", "dense2", "dense3"]
    code, shown, _ = command("inspect", path, "--json")
    assert (
        code == 0 and json.loads(shown)["nodes"][-1]["detail"] == "adds up the spikes of 22 neurons each, 128 a spike"
    )


def in_netx_itself(path, given, steps):
    """What lava-dl's own Network does on Lava: spikes of each layer [T, *shape], torch's order, and v of the last one.

    given: what netx sets as the bias of its input neurons, in torch's order. Each layer is reset as its first real
    input comes.
    """
    from lava.lib.dl.netx import hdf5  # imported here: it takes seconds
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer

    lava = hdf5.Network(net_config=str(path), reset_interval=1000)
    lava.in_layer.neuron.bias_mant.init = given.transpose().astype(np.int32)
    late = len(lava) - 1  # a layer takes a spike one step after it is sent
    sinks = [RingBuffer(shape=layer.out.shape, buffer=steps + late) for layer in lava.layers]
    for layer, sink in zip(lava.layers, sinks, strict=True):
        layer.out.connect(sink.a_in)
    membranes = []
    try:
        for _ in range(steps + late):
            lava.run(RunSteps(num_steps=1), Loihi2SimCfg(select_tag="fixed_pt"))
            membranes.append(lava.out_layer.neuron.v.get())
        spikes = [sink.data.get().transpose().astype(np.int64) for sink in sinks]  # (W, H, C, time)
    finally:
        lava.stop()
    return [found[depth:][:steps] for depth, found in enumerate(spikes)], np.array(membranes[late:], dtype=np.int64)


@pytest.mark.filterwarnings("ignore::ImportWarning", "ignore::DeprecationWarning")  # networkx and lava-dl, when loading
def test_tinynet_in_netx_itself(folder):
    steps = 12
    network = load(folder / "tiny.net", steps)
    inputs = encode(np.random.default_rng(7).random((1, 3, 16, 16)), network)
    trace = spikecut.run(network, inputs, record="all")
    lava, _ = in_netx_itself(folder / "tiny.net", inputs[0, 0], steps)
    for layer, expected in zip(network.layers, lava, strict=True):
        assert expected.sum() > 50
        np.testing.assert_array_equal(trace.spikes[layer.name][:, 0], expected)


@pytest.mark.filterwarnings("ignore::ImportWarning", "ignore::DeprecationWarning")
def test_mnist_in_netx_itself(folder):
    """Spikes, and the last layer's membranes, as Lava's own blocks and LIF models give them; no recording is there."""
    steps = 16
    network = load(folder / "mnist.net", steps)
    assert network.readout == "membrane"
    inputs = encode(np.random.default_rng(5).random((1, 784)) ** 3, network)
    trace = spikecut.run(network, inputs, record="all")
    lava, membranes = in_netx_itself(folder / "mnist.net", inputs[0, 0], steps)
    for layer, expected in zip(network.layers[:-1], lava, strict=False):
        assert 0.05 < expected.mean() < 0.9
        np.testing.assert_array_equal(trace.spikes[layer.name][:, 0], expected)
    found = trace.scores[:, 0].cumsum(axis=0)
    assert len(np.unique(found[-1])) == 10
    np.testing.assert_array_equal(membranes, found)


def sigma_delta_in_netx_itself(path, frames, **part):
    """Messages of each layer of lava-dl's own Network on Lava, hardware steps first, torch's order; no model of ours.

    frames: whole numbers [T, *shape], as its first layer takes them. part: which layers, as Network takes it.
    """
    from lava.lib.dl.netx import hdf5
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer
    from lava.proc.io.source import RingBuffer as Source

    lava = hdf5.Network(net_config=str(path), **part)
    steps = len(frames) + len(lava)
    source = Source(data=frames.transpose().astype(np.int32))
    first = lava.in_layer
    source.s_out.connect(first.synapse.s_in if hasattr(first, "synapse") else first.neuron.a_in)
    sinks = [RingBuffer(shape=layer.out.shape, buffer=steps) for layer in lava.layers]
    for layer, sink in zip(lava.layers, sinks, strict=True):
        layer.out.connect(sink.a_in)
    try:
        lava.run(RunSteps(num_steps=steps), Loihi2SimCfg(select_tag="fixed_pt"))
        return [sink.data.get().transpose().astype(np.int64) for sink in sinks]
    finally:
        lava.stop()


@pytest.fixture(scope="module")
def sigma_delta(folder):
    """PilotNet's file, and the trace of an image that moves."""
    path = folder / "gts/pilotnet_sdnn/network.net"
    image = np.load(path.parent / "input.npy").transpose(3, 2, 1, 0)[0]
    frames = np.stack([image, np.roll(image, 3, axis=2), np.roll(image, 7, axis=2)])
    return path, spikecut.run(load(path, 3), frames[:, None].astype(np.int32), record="all")


def test_pilotnet_of_sigma_delta_neurons_gives_what_was_recorded(sigma_delta):
    path, trace = sigma_delta
    assert trace.scores[0, 0, 0] == np.load(path.parent / "output.npy")[0, -1] == -31026


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ImportWarning", "ignore::DeprecationWarning")
def test_pilotnet_of_sigma_delta_neurons_in_netx_itself(sigma_delta):
    """Every message of its first four layers, and of its dense ones as a network of their own.

    In between is a convolution for which Lava's own takes seconds a step; its recorded σ is in the next test.
    """
    path, trace = sigma_delta
    images, *sent = (each[:, 0] for each in trace.spikes.values())
    _same(sigma_delta_in_netx_itself(path, images, num_layers=4), sent[:4], first=0)
    dense = read_any_netx(path, 3, Blocks(6))
    _, *found = spikecut.run(dense, sent[4][:, None], record="all").spikes.values()
    lava = sigma_delta_in_netx_itself(path, sent[4].reshape(3, -1), skip_layers=6)
    _same(lava, [each[:, 0] for each in found], first=1)


def _same(lava, sent, first):
    """first: the layers of netx between the source and the first of these, whose messages its hardware delays."""
    for late, (theirs, ours) in enumerate(zip(lava, sent, strict=True), start=first):
        assert (ours != 0).any()
        np.testing.assert_array_equal(ours, theirs[late:][:3].reshape(ours.shape))


def test_pilotnets_convolutions_and_their_recorded_sigma(folder):
    path = folder / "gts/pilotnet_sdnn/square_network.net"
    network = load(path, 4)
    assert network.readout == "count" and len(network.layers) == 5
    given = np.load(path.parent / "act0.npy")[:33, :33, :, 0].transpose(2, 1, 0)
    image = (given / 64).astype(np.int32)
    frames = image[None, None].repeat(4, 0)
    messages = [frames, *spikecut.run(network, frames, record="all").spikes.values()][1:]
    for number in (1, 2, 3, 4):
        layer = network.layers[number]
        state = NeuronState.at_rest(layer, 1)
        propagate_layer(layer, messages[number], state)
        recorded = np.load(path.parent / f"sigma{number}_square.npy")[..., 4].transpose(2, 1, 0)  # of the fifth step
        np.testing.assert_array_equal(state.v[0], recorded)


def test_the_inputs_transform_is_the_files(folder, tmp_path):
    """Numbers x enter the input neurons as weight · x + bias of the input block, rounded to the nearest integer."""
    network = load(folder / "tiny.net", 2)
    assert (network.input.encoding, network.input.maximum, network.input.minimum) == ("direct", 4095, -4095)
    values = np.linspace(-2, 2, 3 * 16 * 16).reshape(1, 3, 16, 16)
    np.testing.assert_array_equal(encode(values, network)[0], np.rint(36 * values + 34))
    with pytest.raises(DataError, match="outside the input range"):
        encode(np.full((1, 3, 16, 16), 120.0), network)
    path = tmp_path / "tiny.net"
    path.write_bytes((folder / "tiny.net").read_bytes())
    for key, value, message in (
        ("weight", [-36.0], "its input's weight is -36"),
        ("weight", [0.0], "its input's weight is 0"),
        ("bias", [0.5], "does not hold integers"),
        ("bias", np.array([0.5], np.float16), "does not hold integers"),
        ("bias", [1.0, 2.0, 3.0], "the input's bias has 3 values"),
    ):
        with h5py.File(path, "r+") as file:
            kept = file[f"layer/0/{key}"][()]
            del file[f"layer/0/{key}"]
            file[f"layer/0/{key}"] = value
        with pytest.raises(SpikecutError, match=message):
            load(path, 2)
        with h5py.File(path, "r+") as file:
            del file[f"layer/0/{key}"]
            file[f"layer/0/{key}"] = kept
    with h5py.File(path, "r+") as file:
        del file["layer/0/weight"], file["layer/0/bias"]
    assert (load(path, 2).input.scale, load(path, 2).input.zero) == (1 / 64, 0)  # netx's own defaults


def test_inspect_says_in_a_line_what_is_missing_or_refused(folder, command, tmp_path):
    (tmp_path / "tiny.net").write_bytes((folder / "tiny.net").read_bytes())
    with h5py.File(tmp_path / "tiny.net", "r+") as file:
        del file["simulation"]
    for arguments, message in (
        ((tmp_path / "tiny.net",), "give --horizon"),
        ((folder / "gts/pilotnet_sdnn/network.net",), "give --horizon"),
    ):
        code, _, error = command("inspect", *arguments)
        assert code == 2 and message in error and error.count("\n") == 1
    code, shown, _ = command("inspect", folder / "tiny.net", "--horizon", 15, "--json")
    layers = json.loads(shown)["layers"]
    assert code == 0 and [layer["layer"] for layer in layers] == ["input_neurons", "conv1", "conv2"]
    assert (layers[0]["type"], layers[0]["parameters"], layers[0]["synapses"]) == ("input neurons", 0, 0)


def test_the_horizon_is_the_files(folder, command):
    """tSample in steps of Ts; what is given counts before it."""
    assert [load(folder / name).horizon for name in ("tiny.net", "mnist.net")] == [64, 16]
    assert load(folder / "tiny.net", 5).horizon == 5


def test_input_neurons_need_a_synapse_each_and_no_matrix(folder):
    network = load(folder / "mnist.net")
    placed = place(network, as_chip(load_hardware("loihi1")))
    assert [len(layer.cores) for layer in placed.layers] == [1, 4, 2, 1]


def test_what_is_not_read_is_refused_by_name(folder):
    with pytest.raises(UnsupportedError, match="dense3 has no neuron"):
        read_netx(folder / "mnist.net", InputSpec((784,), "events", bits=8), "count", 5)
