"""verify finds what is wrong, and says where."""

import json
from dataclasses import replace

import numpy as np
import pytest

from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.verify import verify
from spikecut.errors import InputError
from spikecut.export.files import sha256
from spikecut.export.netx import write_netx


def tamper(path, depth, change):
    """Change the weights of one layer of a bundle, and sign the result as if it were right."""
    network = open_bundle(path).network
    layers = list(network.layers)
    layers[depth] = layers[depth].with_weight(change(np.array(layers[depth].weight)))
    write_netx(replace(network, layers=tuple(layers)), path / "network.net")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["network.net"] = sha256(path / "network.net")
    (path / "manifest.json").write_text(json.dumps(manifest))


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
    found = verify(open_bundle(path), lava=False)
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


def test_samples_are_checked(bundle):
    with pytest.raises(InputError, match="at least 1"):
        verify(bundle, samples=0)
