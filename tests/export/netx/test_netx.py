"""The netx file: round trips, lava-dl's own loader, its quirks, and hostile files."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from equality import equal
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from networks import networks, random_network

from spikecut.deploy.backends.lava.blocks import require_lava
from spikecut.errors import BundleError, InputError, Refusal, SpikecutError, UnsupportedError
from spikecut.export.netx.limits import beyond_netx, dense_weight_in_lava
from spikecut.export.netx.read import read_netx
from spikecut.export.netx.write import write_netx


@pytest.fixture(autouse=True)
def lava():
    """Lava, whatever ran before: another library may have set the start method that Lava wants to set itself."""
    require_lava()


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(networks())
def test_round_trip_is_the_identity(tmp_path_factory, network):
    path = tmp_path_factory.mktemp("netx") / "network.net"
    write_netx(network, path)
    assert equal(read_netx(path), network)


@pytest.mark.parametrize(("case", "number"), [({}, 1), ({"skips": True}, 1), ({"graph": True}, 3)])
def test_only_graphs_need_a_new_format(tmp_path, case, number):
    path = tmp_path / "network.net"
    network = random_network(2, **case)
    write_netx(network, path)
    with h5py.File(path) as file:
        assert file["spikecut"].attrs["format"] == number
        found = [key for layer in file["layer"].values() for key in layer if key.startswith("skip") or key == "source"]
    assert ("skip3" in found and found.count("source") == 4) == network.branches
    assert equal(read_netx(path), network)
    with h5py.File(path, "r+") as file:
        if "skip3" in found:
            group = next(layer for layer in file["layer"].values() if "skip3" in layer)
            group.move("skip2", "skip4")
    if network.branches:
        with pytest.raises(BundleError, match="its skips are not numbered one by one"):
            read_netx(path)


@pytest.mark.parametrize("case", [{}, {"bias": False}, {"dense_only": True}, {"differs": "channels"}])
def test_netx_loads_the_file_unchanged(tmp_path, case):
    from lava.lib.dl.netx.hdf5 import Network

    network = random_network(2, **case)
    assert beyond_netx(network) == ()
    path = tmp_path / "network.net"
    write_netx(network, path)
    loaded = Network(net_config=str(path))
    loaded.net_config.f.close()
    assert len(loaded.layers) == len(network.layers)
    for block, layer in zip(loaded.layers, network.layers, strict=True):
        assert tuple(block.shape) == layer.output_shape[::-1]
        synapse = block.synapse
        if layer.kind == "conv":
            stored = synapse.weight.init[:, ::-1, ::-1].transpose(0, 3, 2, 1)
        else:
            stored = synapse.weights.init >> -synapse.proc_params["weight_exp"]
        np.testing.assert_array_equal(stored, layer.weight)
        neuron = block.neuron
        np.testing.assert_array_equal(neuron.vth.init, layer.neuron.threshold)
        np.testing.assert_array_equal(neuron.du.init, layer.neuron.decay_u - 1)
        np.testing.assert_array_equal(neuron.dv.init, layer.neuron.decay_v)


@pytest.mark.parametrize(
    "case", [{"soft": True}, {"soft": True, "graded": True, "membrane": True}, {"differs": "neurons"}]
)
def test_netx_stops_at_what_it_cannot_express(tmp_path, case):
    from lava.lib.dl.netx.hdf5 import Network

    network = random_network(2, **case)
    assert beyond_netx(network)
    write_netx(network, tmp_path / "network.net")
    with pytest.raises(AttributeError):
        Network(net_config=str(tmp_path / "network.net"))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-256, 255), st.integers(-256, 255), st.sampled_from([1, 2, 4]))
def test_what_lava_makes_of_a_dense_matrix(seed, one, other, step):
    from lava.lib.dl.netx.utils import optimize_weight_bits
    from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights

    low, high = sorted((one, other))
    weight = np.random.default_rng(seed).integers(low, high + 1, (3, 4)) // step * step
    assume(weight.any())
    with np.errstate(all="ignore"):
        stored, bits, exponent, _ = optimize_weight_bits(weight.copy())
    mode = determine_sign_mode(stored)
    applied = truncate_weights(clip_weights(stored, mode, num_bits=8), mode, bits)
    applied = applied << exponent if exponent > 0 else applied >> -exponent
    np.testing.assert_array_equal(dense_weight_in_lava(weight), applied)


def test_a_refractory_period_lies_where_older_readers_refuse_what_they_do_not_know(tmp_path):
    network = random_network(1, dense_only=True)
    layer = network.layers[0]
    resting = replace(layer, neuron=replace(layer.neuron, refractory=2))
    write_netx(replace(network, layers=(resting, *network.layers[1:])), tmp_path / "resting.net")
    with h5py.File(tmp_path / "resting.net") as file:
        group = file["layer/1/neuron"]
        assert group["refDelay"][()] == 3 and group["type"][0] == b"SPIKECUT"
    assert read_netx(tmp_path / "resting.net").layers[0].neuron.refractory == 2
    write_netx(network, tmp_path / "network.net")
    with h5py.File(tmp_path / "network.net", "r+") as file:  # lava-dl's neurons, of which netx drops it
        assert file["layer/1/neuron/type"][0] == b"CUBA"
        file["layer/1/neuron/refDelay"][()] = 3
    with pytest.raises(UnsupportedError, match="dense1: refDelay 3, which netx would drop"):
        read_netx(tmp_path / "network.net")


def test_gains_that_do_not_fit_are_refused(tmp_path):
    network = random_network(1, gain=True)
    assert Refusal("conv1", "a gain per timestep, which needs programmable neurons: Loihi 2") in beyond_netx(network)
    path = tmp_path / "network.net"
    write_netx(network, path)
    for values, message in (
        ([4096] * 5 + [-4097], "layer conv1: gain -4097 lies outside -4096..4096"),
        ([1] * 5, "layer conv1: a gain for each of 5 timesteps, but T = 6"),
        ([[1] * 6], r"layer conv1: gain of shape \(1, 6\)"),
        ([], r"layer conv1: gain of shape \(0,\)"),
    ):
        with h5py.File(path, "r+") as file:
            damage("layer/1/neuron/gain", np.array(values, dtype=np.int32))(file)
        with pytest.raises(SpikecutError, match=message):
            read_netx(path)
    layer = network.layers[0]
    for changes, message in (({"decay_u": 2048}, "decays by 2048/4096"), ({"gain": (4097,) * 6}, "gain 4097 lies")):
        with pytest.raises(UnsupportedError, match=f"layer conv1: .*{message}"):
            replace(layer, neuron=replace(layer.neuron, **changes))


def damage(key, value):
    def change(file):
        del file[key]
        if value is not None:
            file[key] = value

    return change


def relink(file):
    del file["layer/1/weight"]
    file["layer/1/weight"] = h5py.ExternalLink("/etc/hostname", "/x")


def absurd(file):
    del file["layer/1/weight"]
    file.create_dataset("layer/1/weight", shape=(2**20, 2**20, 3, 3), dtype="i4", chunks=(1, 1024, 3, 3))


def virtual(file):
    layout = h5py.VirtualLayout(shape=(4, 2, 3, 3), dtype="i4")
    layout[...] = h5py.VirtualSource("/etc/hostname", "x", shape=(4, 2, 3, 3))
    del file["layer/1/weight"]
    file.create_virtual_dataset("layer/1/weight", layout)


def raw_external(file):
    del file["layer/1/weight"]
    file.create_dataset("layer/1/weight", shape=(4, 2, 3, 3), dtype="u1", external=[("/etc/passwd", 0, 72)])


def many(file):
    for index in range(len(file["layer"]), 5000):
        file["layer"].create_group(str(index))


def linked_group(file):
    del file["layer/2"]
    file["layer/2"] = h5py.ExternalLink("/etc/hostname", "/x")


DAMAGE = {
    "weights missing": (damage("layer/1/weight", None), "missing"),
    "float weights": (damage("layer/1/weight", np.full((4, 2, 3, 3), 0.5)), "integers"),
    "flat weights": (damage("layer/1/weight", np.ones(4, dtype=int)), "4 dimensions"),
    "external link": (relink, "link"),
    "absurd shape": (absurd, "claims"),
    "unknown layer": (damage("layer/1/type", np.array([b"pool"])), "pool"),
    "number as type": (damage("layer/1/type", 7), "text"),
    "foreign neuron": (damage("layer/1/neuron/type", np.array([b"ADRF"])), "ADRF"),
    "no neuron": (damage("layer/1/neuron", None), "no neuron"),
    "layer missing": (damage("layer/2", None), "missing"),
    "no layers": (damage("layer", None), "not a netx file"),
    "stride zero": (damage("layer/1/stride", np.zeros(2, dtype=int)), "stride"),
    "wrong channels": (damage("layer/1/weight", np.ones((4, 5, 3, 3), dtype=int)), "does not fit"),
    "wrong bias": (damage("layer/1/bias", np.ones(3, dtype=int)), "bias of shape"),
    "NaN weights": (damage("layer/1/weight", np.full((4, 2, 3, 3), np.nan)), "integers"),
    "weights of text": (damage("layer/1/weight", np.full((4, 2, 3, 3), b"a")), "expected integers"),
    "infinite threshold": (damage("layer/1/neuron/vThMant", np.inf), "integers"),
    "no threshold": (damage("layer/1/neuron/vThMant", None), "missing"),
    "a group for weights": (
        lambda file: (file.__delitem__("layer/1/weight"), file.create_group("layer/1/weight")),
        "not",
    ),
    "a dataset for a layer": (damage("layer/1", 3), "not a group"),
    "virtual dataset": (virtual, "inside this file"),
    "raw external data": (raw_external, "inside this file"),
    "external layer": (linked_group, "missing"),
    "five thousand layers": (many, "at most 4096"),
    "a kernel larger than the map": (damage("layer/1/weight", np.ones((4, 2, 30, 30), dtype=int)), "gives|fit"),
    "no groups": (damage("layer/1/groups", 0), "groups must be positive|must be positive"),
    "negative padding": (damage("layer/1/padding", np.array([-1, -1])), "padding"),
    "decays of too few": (damage("layer/1/neuron/vDecay", np.arange(3)), r"decay_v of shape \(3,\), expected one"),
    "no decays": (damage("layer/1/neuron/vDecay", np.zeros(0, dtype=int)), r"decay_v of shape \(0,\)"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files_end_in_one_line(tmp_path, case):
    change, message = DAMAGE[case]
    path = tmp_path / "network.net"
    write_netx(random_network(1), path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(SpikecutError, match=message) as caught:
        read_netx(path)
    assert "\n" not in str(caught.value)


def test_flipped_bytes_never_escape(tmp_path):
    path = tmp_path / "network.net"
    write_netx(random_network(1, soft=True, dense_only=True, delays=True, recurrent=True), path)
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 20):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_netx(path)
        except SpikecutError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 100


def test_missing_truncated_and_foreign_files(tmp_path):
    with pytest.raises(BundleError, match="no such file"):
        read_netx(tmp_path / "nothing.net")
    whole = tmp_path / "network.net"
    write_netx(random_network(1), whole)
    cut = tmp_path / "cut.net"
    cut.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(BundleError, match="truncated"):
        read_netx(cut)
    cut.write_text("not HDF5")
    with pytest.raises(BundleError, match="not an HDF5 file"):
        read_netx(cut)
    with h5py.File(whole, "r+") as file:
        del file["spikecut"]
    with pytest.raises(InputError, match="must be given"):
        read_netx(whole)
    network = random_network(1)
    assert read_netx(whole, network.input, "count", 6).layers[0].name == "conv1"
