"""A part of a netx file is that part of the network: its spikes are those that the whole one's layers send."""

import numpy as np
import pytest
from networks import random_network

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.errors import InputError
from spikecut.export.importers.base import read_network
from spikecut.export.netx.read import Blocks, read_netx
from spikecut.export.netx.write import write_netx


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("netx") / "network.net"
    network = random_network(2)
    write_netx(network, path)
    return path, network


def test_the_first_blocks_send_what_they_send_in_the_whole(written):
    path, network = written
    inputs = np.random.default_rng(0).integers(0, 2, (network.horizon, 5, *network.input_shape))
    spikes = run_batched(network, inputs, record="all").spikes
    blocks = [part.layer for part in read_network(path, {}).report]
    for end in range(2, len(blocks)):
        part = read_netx(path, blocks=Blocks(0, end))
        assert part.readout == "count"
        assert [each.name for each in part.layers] == [each.name for each in network.layers][: len(part.layers)]
        last = part.layers[-1].name
        sent = run_batched(part, inputs, record="all").spikes[last][: network.horizon]
        assert sent.any() and np.array_equal(sent, spikes[last][: network.horizon])
    names = [layer.name for layer in network.layers]
    tail = read_netx(path, blocks=Blocks(blocks.index(names[1])))
    assert [layer.name for layer in tail.layers] == names[1:]
    assert tail.input.encoding == "events" and tail.input.shape == network.layers[1].input_shape
    assert tail.readout == network.readout


def test_the_report_names_every_block(written):
    path, network = written
    whole, part = read_network(path, {}).report, read_network(path, {"layers": ":3"}).report
    assert [p.layer for p in whole if p.layer] == [layer.name for layer in network.layers]
    assert [p.exactness for p in part] == ["exact"] * 3 + ["not reached"] * (len(whole) - 3)
    assert all("weights" in p.detail and "reset" in p.detail for p in whole if p.layer)
    assert [p.name for p in whole] == [f"/layer/{number}" for number in range(len(whole))]


@pytest.mark.parametrize("text", ["3", "a:b", "3:3", "4:2", "-1:2", "1:99999"])
def test_another_range_is_refused(written, text):
    with pytest.raises(InputError, match=f"--layers {text}: expected A:B"):
        read_network(written[0], {"layers": text})


def test_blocks_without_a_layer_are_refused(written):
    with pytest.raises(InputError, match="no layer of neurons is among these blocks"):
        read_network(written[0], {"layers": "0:1"})
