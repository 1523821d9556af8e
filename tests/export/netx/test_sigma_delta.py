"""Sigma-delta neurons in netx files, and from the file to a run: what is read, what is refused, what is charged."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from equality import equal
from sigma_delta_networks import network_of

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import load, open_bundle
from spikecut.deploy.cutoff.confidence import Confidence
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.cutoff.spikecp import SpikeCP
from spikecut.deploy.cutoff.stream import StreamSettings, check_stream
from spikecut.deploy.cutoff.topk import TopK
from spikecut.deploy.verify.compare import verify
from spikecut.errors import InputError, SpikecutError, UnsupportedError
from spikecut.export.network.sigma_delta import SigmaDelta
from spikecut.export.network.skip import Skip
from spikecut.export.netx import lead_in
from spikecut.export.netx.write import FORMAT_5, write_netx


def write_sdnn(path, change=None):
    """A file of lava-dl's: an encoder of six numbers, four neurons and a sum of them; change: done to it at the end."""
    rng = np.random.default_rng(3)
    with h5py.File(path, "w") as file:
        for index, (kind, shape) in enumerate((("input", 6), ("dense", 4), ("dense", 3))):
            group = file.create_group(f"layer/{index}")
            group.create_dataset("type", (1,), "S10", [kind.encode()])
            group["shape"] = np.array([shape])
            if index:
                group["weight"] = 2.0 * rng.integers(-20, 21, (shape, (6, 4)[index - 1]))
            group["neuron/type"], group["neuron/activation"] = b"SDNN", b"relu"
            group["neuron/vThMant"] = (0, 2, 0)[index]
        file["layer/1/bias"] = np.array([3.0, -4.0, 0.0, 9.0])
        file["layer/2/neuron/sigma_output"] = True
        if change is not None:
            change(file)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_sdnn(tmp_path_factory.mktemp("sdnn") / "small.net")


def test_a_file_is_read_with_what_its_biases_do_before_the_input_comes(file):
    network = load(file, 4)
    encoder, hidden, output = (layer.neuron for layer in network.layers)
    assert network.readout == "membrane" and (network.input.bits, network.input.signed) == (11, True)
    assert not encoder.sigma_delta.decodes and encoder.sigma_delta.start is None
    sigma, act, residue, _ = hidden.sigma_delta.start  # the biases are there, and those of 2 or more were sent
    assert sigma.tolist() == [0] * 4 and act.tolist() == [3 << 12, 0, 0, 9 << 12] and not residue.any()
    sent = np.array([3, 0, 0, 9]) << 6
    assert output.sigma_delta.start[0].tolist() == (network.layers[2].weight @ sent).tolist()
    assert "delta, relu" in str(network) and "sends sigma" in str(network)


def test_networks_come_back_from_files_of_spikecut(tmp_path):
    for seed in range(12):
        network, _ = network_of(seed)
        write_netx(network, tmp_path / "a.net")
        assert equal(load(tmp_path / "a.net"), network)
    with h5py.File(tmp_path / "a.net") as written:
        assert written["spikecut"].attrs["format"] == FORMAT_5


def _set(key, value):
    def change(file):
        if key in file:
            del file[key]
        file[key] = value

    return change


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("layer/1/neuron/activation", b"sigmoid", "layer dense1: activation 'sigmoid'"),
        ("layer/1/neuron/vThMant", np.array([1, 2, 3, 4]), "vThMant of 4 values"),
        ("layer/1/neuron/messageBits", 0, "graded messages have 1 to 32"),
        ("layer/1/neuron/refDelay", 3, "refDelay"),
        ("layer/1/neuron/vThMant", 2048, "layer dense1: threshold 2048 lies outside 0..2047"),
        ("layer/1/bias", np.array([2048.0, 0, 0, 0]), "bias_mantissa 2048 lies outside"),
        ("layer/2/bias", np.array([1.0, 0, 0]), "a bias of a sigma_output"),
        ("layer/1/delay", np.ones((4, 6)), "a delay or a recurrence of graded messages"),
        ("layer/1/neuron/type", b"CUBA", "iDecay is missing"),
    ],
)
def test_what_netx_would_make_something_else_of_is_refused_by_name(tmp_path, key, value, message):
    with pytest.raises(SpikecutError, match=message):
        load(write_sdnn(tmp_path / "a.net", _set(key, value)), 4)


def test_a_refused_file_is_shown_block_by_block(tmp_path, command):
    path = write_sdnn(tmp_path / "a.net", _set("layer/1/neuron/activation", b"sigmoid"))
    code, shown, error = command("inspect", path, "--json")
    assert code == 2 and error.count("\n") == 1 and "layer dense1: activation 'sigmoid'" in error
    nodes = json.loads(shown)["nodes"]
    assert [node["exactness"] for node in nodes] == ["exact", "refused", "not reached"]
    assert nodes[1]["detail"].startswith("layer dense1: activation 'sigmoid'")
    first = write_sdnn(tmp_path / "b.net", _set("layer/0/neuron/activation", b"sigmoid"))
    code, shown, _ = command("inspect", first, "--horizon", 4, "--layers", ":2")
    assert code == 2 and "not told" not in shown and "assumed" not in shown
    assert ["refused" in line for line in shown.splitlines() if "/layer/" in line] == [True, True, False]


def test_from_a_file_to_a_run(file, tmp_path, command):
    rng = np.random.default_rng(1)
    x = np.round(rng.uniform(-20, 20, (200, 6)), 2)
    np.savez(tmp_path / "mine.npz", x=x, y=rng.integers(0, 3, 200))
    code, _, error = command(
        "export", file, "--horizon", 4, "--dataset", tmp_path / "mine.npz", "--out", tmp_path / "bundle"
    )
    assert code == 0, error
    bundle = open_bundle(tmp_path / "bundle")
    assert {np.abs(each).max() > 127 for each in bundle.golden().twin_spikes.values()} == {True}
    assert verify(bundle, samples=3, backend="batched").passed
    run = ("run", tmp_path / "bundle", "--dataset", tmp_path / "mine.npz", "--backend", "batched", "--no-cutoff")
    code, _, error = command(*run, "--hardware", "loihi2", "--hardware", "horowitz45nm", "--out", tmp_path / "run")
    assert code == 0, error
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert any("graded message" in line for line in summary["hardware"]["loihi2"]["assumptions"])
    code, shown, _ = command("inspect", tmp_path / "bundle", "--hardware", "loihi1", "--json")
    missing = json.loads(shown)["placements"]["loihi1"]
    assert code == 0 and "sigma-delta" in str(missing)


def test_a_cutoff_needs_classes(file):
    one = load(file, 4)
    last = one.layers[-1]
    given = replace(last.neuron, bias_mantissa=np.zeros(1), sigma_delta=SigmaDelta())
    last = replace(last, weight=last.weight[:1], neuron=given, output_shape=(1,))
    one = replace(one, layers=(*one.layers[:-1], last))
    inputs = np.zeros((4, 2, 6), dtype=np.int32)
    for policy in (TopK((1,) * 4), Confidence((1,) * 4, 1.0), SpikeCP((1,) * 4)):
        with pytest.raises(InputError, match=r"one graded output, as a regression has.*run it without a cutoff"):
            run_batched(one, inputs, policy)
    assert run_batched(one, inputs, FixedTimestep(2)).timesteps.tolist() == [2, 2]
    with pytest.raises(InputError, match=r"a stream: .* has one graded output"):
        check_stream(one, StreamSettings(TopK((1,) * 4)))


def test_as_many_layers_as_a_start_is_computed_for(monkeypatch, file):
    monkeypatch.setattr(lead_in, "MOST_LAYERS", 2)
    with pytest.raises(UnsupportedError, match="3 sigma-delta layers, one behind the other; at most 2 are read"):
        load(file, 4)


def test_sums_of_the_lead_in_are_exact_beyond_what_float64_holds():
    channels = 2**14 + 3
    weight = np.where(np.arange(channels) % 2, 253, 254).reshape(1, channels, 1, 1)
    synapse = Skip("input", "conv", weight, (channels, 1, 1), (1, 1, 1))
    messages = np.full((channels, 1, 1), 2**31 - 1)
    whole = sum(int(w) * (2**31 - 1) for w in weight.flat)
    assert lead_in._sums(synapse, messages).item() == (whole + 2**23) % 2**24 - 2**23
