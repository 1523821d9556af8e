"""Layers that feed themselves: snnTorch's own exports and Norse's neurons spike as here; the rest is refused."""

from itertools import pairwise

import nir
import numpy as np
import pytest
import snntorch
import torch
from nir_graphs import chain, lif, write
from snntorch.export_nir import export_to_nir
from torch import nn
from torch_networks import norse

from spikecut.errors import SpikecutError
from spikecut.export.importers.torch_network import trace
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.nir.discretisation import discretisation
from spikecut.export.nir.file import parse_graph
from spikecut.export.nir.read import read_nir
from spikecut.export.quantise.integers import quantise

SIZE, T, SAMPLES = (3,), 12, 40


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Without the process that goes ahead, to be quicker."""
    monkeypatch.setattr("spikecut.export.nir.read.read_graph", parse_graph)


def spikes(features):
    return (torch.rand(T, SAMPLES, features, generator=torch.Generator().manual_seed(1)) < 0.4).double()


def recurrent_snntorch(reset):
    torch.manual_seed(0)
    shared = {"init_hidden": True, "threshold": torch.full((12,), 0.5), "reset_mechanism": reset}
    return nn.Sequential(
        nn.Linear(8, 12),
        snntorch.RLeaky(beta=torch.full((12,), 0.5), linear_features=12, **shared),
        nn.Linear(12, 12),
        snntorch.RLeaky(beta=torch.full((12,), 0.75), all_to_all=False, V=torch.rand(12) - 0.5, **shared),
        nn.Linear(12, 12),
        snntorch.RSynaptic(alpha=torch.full((12,), 0.75), beta=torch.full((12,), 0.5), linear_features=12, **shared),
    )


@pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph:DeprecationWarning")
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_snntorchs_recurrent_layers_come_from_its_exporters_file_spike_by_spike(tmp_path, reset):
    module = recurrent_snntorch(reset)
    nir.write(tmp_path / "recurrent.nir", export_to_nir(module, torch.rand(8)))
    network, witness = read_nir(tmp_path / "recurrent.nir", discretisation("snntorch", reset=reset)).checked(
        strict=True
    )
    frames, theirs = spikes(8), {1: [], 3: [], 5: []}
    for layer in theirs:
        module[layer].reset_hidden()
    with torch.no_grad():
        for sent in frames.float():
            for index, part in enumerate(module):
                sent = part(sent)
                if index in theirs:
                    theirs[index].append(sent)
    recorded, sent = witness.record(frames), frames
    for stage, (index, steps) in zip(network.chain(), theirs.items(), strict=True):
        sent = stage(sent)
        assert stage.neuron.recurrent.any() and 0.05 < float(sent.mean()) < 0.6
        assert torch.equal(sent, torch.stack(steps).double()) and torch.equal(recorded[f"{index}.lif"], sent)
    found = quantise(trace(network, InputSpec((8,), "events"), T), rounding=True).network
    assert all(layer.recurrent.any() for layer in found.layers)


def test_norses_recurrent_cell_spikes_as_its_neurons_with_weights_of_their_own(tmp_path):
    torch.manual_seed(0)
    p = norse.LIFParameters(*(torch.tensor(value).double() for value in (256.0, 125.0, 0.0, 0.6, 0.0)))
    cell = norse.LIFRecurrentCell(8, 12, p, dt=0.001).double()
    full = torch.ones(12).double()
    neuron = nir.CubaLIF(  # as its exporter writes an LIFCell
        tau_mem=(0.001 / p.tau_mem_inv * full).numpy(),
        tau_syn=(0.001 / p.tau_syn_inv * full).numpy(),
        v_threshold=(p.v_th * full).numpy(),
        v_leak=np.zeros(12),
        r=np.ones(12),
    )
    weights, back = (nir.Linear(each.detach().numpy()) for each in (cell.input_weights, cell.recurrent_weights))
    edges = [*pairwise(["input", "n0", "n1", "output"]), *pairwise(["n1", "n2", "n1"])]
    path = write(tmp_path / "norse.nir", chain(weights, neuron, back, shape=(8,), out=(12,)), edges)
    network, witness = read_nir(path, discretisation("norse")).checked()
    frames, state, theirs = spikes(8), None, []
    with torch.no_grad():
        for frame in frames:
            sent, state = cell(frame, state)
            theirs.append(sent)
    assert 0.05 < float(torch.stack(theirs).mean()) < 0.6
    assert torch.equal(network(frames), torch.stack(theirs)) and torch.equal(witness(frames), network(frames))


def dense(outputs=3, inputs=3):
    return nir.Linear(np.ones((outputs, inputs)))


def passing(size=3):
    ends = {"in": nir.Input(np.array([size])), "out": nir.Output(np.array([size]))}
    return nir.NIRGraph(ends, [("in", "out")], type_check=False)


def leaky():
    return nir.LI(*(np.full(3, value) for value in (4.0, 2.0, 0.0)))


STRAIGHT = list(pairwise(["input", "n0", "n1", "output"]))
REFUSED = {
    "two dense nodes": ((dense(), lif(SIZE), dense()), [("n0", "n2"), ("n2", "n0")], {}, "n0 feeds itself without"),
    "nothing but ends": ((passing(), lif(SIZE)), [("n0", "n0")], {}, "n0/in feeds itself without neurons"),
    "a membrane": ((dense(), leaky(), dense()), [("n1", "n2"), ("n2", "n1")], {}, "n1: its membrane comes back"),
    "other neurons": ((dense(), lif(SIZE), dense(2, 3)), [("n1", "n2"), ("n2", "n1")], {}, "are alike|must be alike"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_come_back_is_refused_by_name(tmp_path, case):
    nodes, edges, options, message = REFUSED[case]
    path = write(tmp_path / "graph.nir", chain(*nodes, shape=SIZE, out=SIZE), [*STRAIGHT, *edges])
    with pytest.raises(SpikecutError, match=message) as caught:
        read_nir(path, discretisation(**{"dt": 1.0, **options})).checked()
    assert "\n" not in str(caught.value)
