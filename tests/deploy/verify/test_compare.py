"""verify finds what is wrong, and says where."""

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
from seals import seal_manifest
from typer.testing import CliRunner

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cli.main import app
from spikecut.deploy.verify.compare import verify
from spikecut.errors import BundleError, InputError
from spikecut.export.netx.write import write_netx
from spikecut.files import sha256


def tamper(path, depth, change):
    """Change the weights of one layer of a bundle, and sign the result as if it were right."""
    network = open_bundle(path).network
    layers = list(network.layers)
    layers[depth] = layers[depth].with_weight(change(np.array(layers[depth].weight)))
    write_netx(replace(network, layers=tuple(layers)), path / "network.net")
    seal_manifest(path, "network.net")


def hwc_order(weight):
    return weight.reshape(10, 32, 4, 4).transpose(0, 2, 3, 1).reshape(10, -1)


def transposed(weight):
    return weight.transpose(0, 1, 3, 2)


def one_more(weight):
    """The smallest change that Loihi's weights know, on the weight that is nearest to zero."""
    flat = weight.reshape(-1)
    flat[np.abs(flat).argmin()] += 2
    return weight


def test_every_integer_is_equal(bundle):
    found = verify(bundle, samples=24)
    assert found.passed and found.difference is None
    assert {check.engine for check in found.checks} == {"encode", "export", "batched", "lava"}
    assert all(check.compared > 0 and check.mismatches == 0 for check in found.checks)
    assert found.same_predictions >= 20


@pytest.mark.parametrize("method", ["lif", "qcfs"])
@pytest.mark.parametrize(
    ("depth", "change", "layer"),
    [(2, hwc_order, "output"), (0, transposed, "conv1"), (1, transposed, "conv2"), (1, one_more, "conv2")],
)
def test_wrong_weights_are_found_where_they_are(own_copy, method, depth, change, layer):
    path = own_copy(method)
    tamper(path, depth, change)
    found = verify(open_bundle(path), backend="batched")
    assert not found.passed
    assert found.difference.layer.startswith(layer)
    assert found.difference.expected != found.difference.found
    assert layer in str(found.difference)


@pytest.mark.parametrize(("depth", "change", "layer"), [(2, hwc_order, "output"), (0, transposed, "conv1")])
def test_lava_itself_shows_a_wrong_order(own_copy, depth, change, layer):
    path = own_copy()
    tamper(path, depth, change)
    found = verify(open_bundle(path), samples=4)
    wrong = {check.engine: check.mismatches for check in found.checks if check.layer == layer}
    assert wrong["lava"] == wrong["batched"] > 0


def test_spikes_are_counted(bundle):
    found = verify(bundle, samples=24)
    for check in found.checks:
        if check.engine in ("batched", "lava") and check.layer != "output scores":
            expected = bundle.golden().twin_spikes[check.layer][:, :24]
            assert (check.compared, check.spikes) == (expected.size, expected.sum())
            assert 0.001 < check.spikes / check.compared < 0.9


def test_a_changed_weight_ends_in_one_line_and_1(own_copy):
    path = own_copy()
    tamper(path, 1, one_more)
    result = CliRunner().invoke(app, ["verify", str(path), "--backend", "batched"])
    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert "layer conv2 weights" in text and "export again" in text


@pytest.mark.parametrize(("depth", "name"), [(1, "conv1"), (2, "conv2")])
def test_an_engine_that_errs_is_found_with_both_values(bundle, monkeypatch, depth, name):
    def wrong(network, inputs, *settings):
        trace = run_batched(network, inputs, *settings)
        raster = trace.events[depth].raster
        raster[3, 2 + depth, 7] ^= 1  # timestep 3 of sample 3
        return trace

    monkeypatch.setattr("spikecut.deploy.backends.batched.engine.run_batched", wrong)
    found = verify(bundle, samples=8, backend="batched")
    difference = found.difference
    assert (difference.engine, difference.layer, difference.timestep, difference.sample) == ("batched", name, 3, 3)
    assert {difference.expected, difference.found} == {0, 1}
    assert "batched errs" in difference.cause and difference.cause in str(difference)
    assert sum(check.mismatches for check in found.checks) == 1


def test_samples_are_checked(bundle):
    with pytest.raises(InputError, match="at least 1"):
        verify(bundle, samples=0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("float_scores", np.inf, "not finite"),
        ("images", np.nan, "not finite"),
        ("float_scores", np.zeros((3, 60)), "different"),
        ("twin_scores", np.zeros((16, 60, 9), int), "different shapes"),
        ("twin_spikes/hidden", None, "no spikes of layer hidden"),
        ("twin_spikes/hidden", np.zeros(3, int), "no spikes of layer hidden"),
        ("twin_spikes/hidden", np.zeros((16, 60, 1), int), "nothing of the shape of hidden"),
    ],
)
def test_a_witness_that_cannot_be_one_is_refused(repository, tmp_path, name, value, message):
    """Also where the hashes were made right again."""
    path = shutil.copytree(repository / "tests/golden/format_1/bundle", tmp_path / "bundle")
    with h5py.File(path / "golden.h5", "r+") as file:
        if np.ndim(value) == 0 and value is not None:
            file[name][(0,) * file[name].ndim] = value
        else:
            del file[name]
            if value is not None:
                file[name] = value
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["golden.h5"] = sha256(path / "golden.h5")
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=message):
        verify(open_bundle(path), backend="batched")
