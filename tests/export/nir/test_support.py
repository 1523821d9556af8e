"""The matrix of NIR's primitives: an example of every row becomes what the row says; docs/supported.md is current."""

from itertools import pairwise

import nir
import numpy as np
import pytest
import torch
from nir_graphs import chain, conv, cuba, flatten, full, lif, pool, write

from spikecut.errors import SpikecutError
from spikecut.export.nir.discretisation import FRAMEWORKS, discretisation
from spikecut.export.nir.file import FIELDS, parse_graph
from spikecut.export.nir.read import read_nir
from spikecut.export.nir.support import ROWS, matrix

RNG = np.random.default_rng(0)
SIZE, MAP = (3,), (2, 6, 6)
SNNTORCH = {"framework": "snntorch", "dt": 1.0}
LATE = np.arange(72.0).reshape(MAP) % 4 / 2


def dense(outputs, inputs, bias=True):
    weight = RNG.normal(size=(outputs, inputs)) * 4 / np.sqrt(inputs)
    return nir.Affine(weight, RNG.normal(size=outputs)) if bias else nir.Linear(weight)


def kernel(*shape):
    return RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))


def on_map(*nodes, shape=MAP):
    """Nodes from a map of (2, 6, 6) to one of this shape, then a dense end."""
    return chain(*nodes, flatten(*shape), dense(4, int(np.prod(shape))), lif((4,)), shape=MAP, out=(4,))


def fires(shape=SIZE, **parameters):
    return nir.IF(
        full(1.0, shape), full(parameters.get("threshold", 1.0), shape), full(parameters.get("v_reset", 0.0), shape)
    )


def silent(tau, v_leak=0.0):
    return nir.LI(full(tau, SIZE), full(2.0, SIZE), full(v_leak, SIZE))


def behind_dense(neuron, bias=True):
    return chain(dense(3, 3, bias), neuron, shape=SIZE, out=SIZE)


def uneven(node, **choices):
    """The node with parameters drawn for each neuron by itself, or for each channel where `channels` says so."""
    rng, channels = np.random.default_rng(3), choices.pop("channels", False)
    for key, values in choices.items():
        whole = getattr(node, key)
        drawn = rng.choice(values, (len(whole), *([1] * (whole.ndim - 1))) if channels else whole.shape)
        drawn.flat[0], drawn.flat[-1] = values[0], values[-1]
        whole[:] = drawn
    return node


def no_bias(*shape):
    return conv(RNG.normal(size=shape))


def inner(nodes, edges=None):
    names = [name for name, _ in nodes]
    return nir.NIRGraph(dict(nodes), edges or list(pairwise(names)), type_check=False)


PADDED_POOL = on_map(lif(MAP), conv(kernel(2, 2, 3, 3)), pool("SumPool2d", 3, 2, 1), lif((2, 2, 2)), shape=(2, 2, 2))
ONE_INSIDE = inner([("in", nir.Input(np.array([3]))), ("lif", lif(SIZE)), ("out", nir.Output(np.array([3])))])
FLATTENED = on_map(lif(MAP), shape=MAP)
RECURRENT = inner(  # as snnTorch exports RLeaky
    [
        *(("input", nir.Input(np.array([3]))), ("lif", lif(SIZE)), ("w_rec", dense(3, 3))),
        ("output", nir.Output(np.array([3]))),
    ],
    [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
)
# A residual block, a pooled branch from the input, and weights that both take what is added up there.
BRANCHES = on_map(
    *(conv(kernel(2, 2, 3, 3), padding=(1, 1)), lif(MAP), conv(kernel(2, 2, 3, 3), np.ones(2) * 0.1, padding=(1, 1))),
    *(lif(MAP), conv(kernel(4, 2, 3, 3), np.ones(4) * 0.1, (2, 2), (1, 1)), lif((4, 3, 3)), pool("AvgPool2d", 2, 2)),
    *(conv(kernel(4, 2, 1, 1), shape=(3, 3)), lif((4, 3, 3))),
    shape=(4, 3, 3),
)
BRANCHING = [
    *pairwise(["input", "n0", "n1", "n2", "n3", "n4", "n5", "n9", "n10", "n11", "output"]),
    *(("n1", "n3"), ("n1", "n4"), ("input", "n6"), ("n6", "n7"), ("n7", "n8"), ("n8", "n9"), ("n7", "n5")),
]

# (primitive, case) → the nodes, and the options of the discretisation.
EXAMPLES = {
    ("Input", "(features,) or (channels, height, width)"): (on_map(lif(MAP)), {}),
    ("Input", "(channels, length)"): (
        chain(
            nir.Conv1d(8, kernel(3, 2, 3), 1, 1, 1, 1, np.zeros(3)),
            lif((3, 8)),
            flatten(3, 8),
            dense(2, 24),
            lif((2,)),
            shape=(2, 8),
            out=(2,),
        ),
        {},
    ),
    ("Input", "a leading 1 that counts a batch"): (chain(dense(3, 3), lif(SIZE), shape=(1, 3), out=(1, 3)), {}),
    ("Output", "behind neurons or a dense node"): (chain(lif(SIZE), dense(3, 3), shape=SIZE, out=SIZE), {}),
    ("Output", "fed by the spikes of several layers"): (
        chain(dense(3, 3), lif(SIZE), lif(SIZE), shape=SIZE, out=SIZE),
        {},
        [*pairwise(["input", "n0", "n1", "output"]), ("n0", "n2"), ("n2", "output")],
    ),
    ("Output", "behind a map larger than 1 × 1"): (
        chain(conv(kernel(2, 2, 3, 3)), lif((2, 4, 4)), shape=MAP, out=(2, 4, 4)),
        {},
    ),
    ("Affine", "weight of two dimensions"): (behind_dense(lif(SIZE)), {}),
    ("Affine", "behind a pooling, a Scale or another dense node"): (
        chain(
            pool("AvgPool2d"),
            nir.Scale(np.broadcast_to(RNG.normal(size=(2, 1, 1)), (2, 3, 3)).copy()),
            flatten(2, 3, 3),
            dense(5, 18),
            dense(3, 5),
            lif(SIZE),
            shape=MAP,
            out=SIZE,
        ),
        {},
    ),
    ("Affine", "behind a convolution without neurons"): (on_map(conv(kernel(2, 2, 3, 3)), shape=(2, 4, 4)), {}),
    ("Affine", "on a map without Flatten"): (chain(dense(3, 72), lif(SIZE), shape=MAP, out=SIZE), {}),
    ("Linear", "weight of two dimensions"): (behind_dense(lif(SIZE), bias=False), {}),
    ("Scale", "one factor per feature or channel"): (
        chain(
            nir.Scale(RNG.normal(size=3)), dense(3, 3), nir.Scale(RNG.normal(size=3)), lif(SIZE), shape=SIZE, out=SIZE
        ),
        {},
    ),
    ("Scale", "differs inside a channel"): (on_map(nir.Scale(RNG.normal(size=MAP)), lif(MAP)), {}),
    ("Conv1d", "any stride, padding, dilation, groups"): (
        chain(
            nir.Conv1d(9, kernel(4, 1, 3), 2, 1, 2, 2, RNG.normal(size=4)),
            lif((4, 4)),
            flatten(4, 4),
            dense(2, 16),
            lif((2,)),
            shape=(2, 9),
            out=(2,),
        ),
        {},
    ),
    ("Conv2d", "any kernel, stride, padding, dilation, groups"): (
        on_map(
            conv(kernel(4, 1, 3, 2), RNG.normal(size=4), (2, 1), (1, 2), (1, 2), 2), lif((4, 3, 8)), shape=(4, 3, 8)
        ),
        {},
    ),
    ("Conv2d", 'padding "same", stride 1'): (
        on_map(
            nir.Conv2d((6, 6), kernel(3, 2, 4, 5), (1, 1), "same", (1, 1), 1, np.zeros(3)),
            lif((3, 6, 6)),
            shape=(3, 6, 6),
        ),
        {},
    ),
    ("Conv2d", 'padding "same" with a stride, or of an even kernel dilated'): (
        on_map(
            nir.Conv2d((6, 6), kernel(3, 2, 2, 2), (1, 1), "same", (3, 3), 1, np.zeros(3)),
            lif((3, 6, 6)),
            shape=(3, 6, 6),
        ),
        {},
    ),
    ("Conv2d", "behind a convolution without neurons"): (
        on_map(conv(kernel(3, 2, 3, 3)), conv(kernel(2, 3, 3, 3)), lif((2, 2, 2)), shape=(2, 2, 2)),
        {},
    ),
    ("Conv2d", "padded, behind a pooling that overlaps or leaves a rest"): (
        on_map(pool("AvgPool2d", 3, 2), conv(kernel(2, 2, 3, 3), padding=(1, 1)), lif((2, 2, 2)), shape=(2, 2, 2)),
        {},
    ),
    ("SumPool2d", "before weights, behind a convolution, or alone"): (
        on_map(
            conv(kernel(3, 2, 3, 3), RNG.normal(size=3), padding=(1, 1)),
            pool("SumPool2d"),
            lif((3, 3, 3)),
            pool("SumPool2d", 3, 3),
            lif((3, 1, 1)),
            shape=(3, 1, 1),
        ),
        {},
    ),
    ("SumPool2d", "padded, right behind a convolution"): (PADDED_POOL, {}),
    ("AvgPool2d", "before weights, behind a convolution, or alone"): (
        on_map(
            pool("AvgPool2d", 2, 2),
            conv(kernel(3, 2, 3, 3), padding=(1, 1)),
            lif((3, 3, 3)),
            pool("AvgPool2d", 2, 1, 1),
            shape=(3, 4, 4),
        ),
        {},
    ),
    ("AvgPool2d", "padded, right behind a convolution"): (
        [(name, pool("AvgPool2d", 3, 2, 1) if isinstance(node, nir.SumPool2d) else node) for name, node in PADDED_POOL],
        {},
    ),
    ("Flatten", "of all dimensions"): (FLATTENED, {}),
    ("Flatten", "of some dimensions"): (
        [
            (name, flatten(2, 6, 6, start=1, end=1) if isinstance(node, nir.Flatten) else node)
            for name, node in FLATTENED
        ],
        {},
    ),
    ("Delay", "of zero"): (chain(nir.Delay(np.zeros(3)), dense(3, 3), lif(SIZE), shape=SIZE, out=SIZE), {}),
    ("Delay", "before or behind the weights of a dense layer"): (
        chain(
            *(lif(MAP), nir.Delay(LATE), flatten(*MAP), dense(3, 72, False), nir.Delay(LATE[0, 0, :3]), lif(SIZE)),
            *(nir.Delay(full(0.5, 3)), lif(SIZE)),
            shape=MAP,
            out=SIZE,
        ),
        {"dt": 0.5},
    ),
    ("Delay", "of parts of a timestep, or more than 62"): (behind_dense(nir.Delay(full(0.7, 3))), {"dt": 0.5}),
    ("Delay", "of maps, or of a bias"): (behind_dense(nir.Delay(full(2.0, 3))), {"dt": 0.5}),
    ("Threshold", "one value"): (behind_dense(nir.Threshold(full(0.5, SIZE))), {}),
    ("I", "last"): (behind_dense(nir.I(full(1.5, SIZE))), {}),
    ("I", "before other layers"): (
        chain(dense(3, 3), nir.I(full(1.0, SIZE)), dense(3, 3), lif(SIZE), shape=SIZE, out=SIZE),
        {},
    ),
    ("IF", "one value per parameter"): (behind_dense(fires()), {}),
    ("IF", "v ≥ threshold, soft reset (Sinabs)"): (behind_dense(fires()), {"framework": "sinabs", "spikes": "single"}),
    ("IF", "several spikes in a timestep (Sinabs' default)"): (  # weights too small for more than one
        chain(nir.Linear(np.full((3, 3), 0.3)), fires(), shape=SIZE, out=SIZE),
        {"framework": "sinabs"},
    ),
    ("IF", "v ≥ threshold, hard reset"): (behind_dense(fires()), {"framework": "spikingjelly", "dt": 1.0}),
    ("IF", "v_reset that is not v(0), hard reset"): (behind_dense(uneven(fires(), v_reset=[-0.5, 0.25])), {}),
    ("IF", "v_reset that is not 0, soft reset"): (behind_dense(fires(v_reset=-0.5)), {"reset": "subtract"}),
    ("IF", "parameters that differ between neurons"): (
        on_map(
            uneven(fires(MAP), r=[0.5, 1.0, 2.0], v_threshold=[0.3, 1.0, 1.7]),
            no_bias(2, 2, 3, 3),
            uneven(fires((2, 4, 4)), channels=True, r=[-1.0, 2.0], v_threshold=[0.3, 1.7]),
            shape=(2, 4, 4),
        ),
        {"reset": "subtract"},
    ),
    ("LI", "last, v loses a multiple of 1/4096 per timestep"): (behind_dense(silent(4.0, 0.5)), {}),
    ("LI", "last, v loses anything else"): (behind_dense(silent(3.0)), {}),
    ("LI", "before other layers"): (chain(dense(3, 3), silent(4.0), lif(SIZE), shape=SIZE, out=SIZE), {}),
    ("LIF", "v loses a multiple of 1/4096 per timestep"): (behind_dense(lif(SIZE, 1024 / 4096, r=3.0, v_leak=0.5)), {}),
    ("LIF", "v loses anything else"): (behind_dense(lif(SIZE, 0.3)), {}),
    ("LIF", "v_reset = v(0), hard reset"): (
        behind_dense(lif(SIZE, v_leak=-0.75, v_reset=-0.75)),
        {"framework": "norse", "dt": 1.0},
    ),
    ("LIF", "v_reset that is not v(0), hard reset"): (behind_dense(lif(SIZE, v_reset=0.5, v_leak=-0.25)), {}),
    ("LIF", "v_reset that is not 0, soft reset"): (behind_dense(lif(SIZE, v_reset=0.5)), {"reset": "subtract"}),
    ("LIF", "soft reset after the next leak (snnTorch's default)"): (behind_dense(lif(SIZE)), SNNTORCH),
    ("LIF", "the same, where v leaks whole"): (behind_dense(lif(SIZE, decay=1.0)), SNNTORCH),
    ("LIF", "parameters that differ between neurons"): (
        on_map(
            uneven(lif(MAP), tau=[1.0, 2.0, 4.0], r=[0.5, 1.0, 8.0], v_threshold=[0.3, 1.0, 1.7]),
            no_bias(3, 2, 3, 3),
            uneven(lif((3, 4, 4)), channels=True, tau=[1.0, 2.0, 8.0], v_leak=[0.0, 0.25], v_reset=[0.0, -0.5]),
            shape=(3, 4, 4),
        ),
        {},
    ),
    ("LIF", "v_leak, or a v_reset, that differs inside a channel of a map"): (
        on_map(uneven(lif(MAP), v_leak=[0.0, 0.25])),
        {},
    ),
    ("CubaLI", "last, u and v lose multiples of 1/4096"): (behind_dense(cuba(SIZE, fires=False), bias=False), {}),
    ("CubaLIF", "u and v lose multiples of 1/4096"): (behind_dense(cuba(SIZE), bias=False), {}),
    ("CubaLIF", "u or v loses anything else"): (behind_dense(cuba(SIZE, decay_u=0.3), bias=False), {}),
    ("CubaLIF", "parameters that differ between neurons"): (
        on_map(
            uneven(cuba(MAP), tau_syn=[1.0, 2.0, 4.0], tau_mem=[2.0, 16.0], w_in=[0.5, 2.0], v_threshold=[0.3, 1.0]),
            conv(kernel(3, 2, 3, 3), bias=RNG.normal(size=3)),
            uneven(cuba((3, 4, 4)), channels=True, tau_syn=[2.0, 4.0], tau_mem=[1.0, 8.0], v_threshold=[0.3, 1.0]),
            shape=(3, 4, 4),
        ),
        {},
    ),
    ("CubaLIF", "a bias in front of a tau_syn that differs inside a channel"): (
        on_map(
            conv(kernel(2, 2, 1, 1), bias=RNG.normal(size=2)),
            uneven(cuba(MAP), tau_syn=[2.0, 4.0]),
        ),
        {},
    ),
    ("CubaLIF", "a bias in front of it"): (behind_dense(cuba(SIZE)), {}),
    ("CubaLIF", "the same with a bias in front of it"): (behind_dense(cuba(SIZE, v_leak=0.25)), {}),
    ("CubaLIF", "another v_leak than v_reset, without bias"): (behind_dense(cuba(SIZE, v_leak=0.25), bias=False), {}),
    ("CubaLIF", "hard reset in the next timestep (snnTorch's Synaptic)"): (
        *(behind_dense(cuba(SIZE), bias=False), {**SNNTORCH, "reset": "zero"}),
    ),
    ("NIRGraph", "a chain inside the chain"): (chain(dense(3, 3), ONE_INSIDE, shape=SIZE, out=SIZE), {}),
    ("NIRGraph", "residual, branching: nodes that several others feed"): (BRANCHES, {}, BRANCHING),
    ("NIRGraph", "recurrent: a layer feeds itself by a Linear, an Affine, a Scale, or as it is"): (
        chain(
            *(dense(3, 3), lif(SIZE), dense(3, 3), nir.Scale(RNG.normal(size=3)), dense(3, 3), RECURRENT),
            *(dense(3, 3), cuba(SIZE), fires(SIZE)),
            shape=SIZE,
            out=SIZE,
        ),
        {},
        [
            *pairwise(["input", "n0", "n1", "n4", "n5", "n6", "n7", "n8", "output"]),
            *pairwise(["n1", "n2", "n3", "n1"]),  # by two nodes
            ("n7", "n6"),  # by the weights of what comes from below
            ("n8", "n8"),  # as it is
        ],
    ),
    ("NIRGraph", "recurrent: a layer of maps feeds itself by convolutions"): (
        on_map(
            *(lif(MAP), conv(kernel(2, 2, 3, 3), np.ones(2) * 0.1, padding=(1, 2), dilation=(1, 2))),
            *(conv(kernel(2, 2, 1, 1)), lif(MAP), conv(kernel(2, 1, 3, 5), padding=(1, 2), groups=2)),
            conv(kernel(2, 2, 1, 3), padding=(0, 1)),
        ),
        {},
        [
            *pairwise(["input", "n0", "n2", "n3", "n6", "n7", "n8", "output"]),
            *pairwise(["n0", "n1", "n0"]),
            *(*pairwise(["n3", "n4", "n3"]), *pairwise(["n3", "n5", "n3"]), ("n3", "n3")),  # three ways
        ],
    ),
    ("NIRGraph", "recurrent through other layers"): (
        chain(dense(3, 3), lif(SIZE), dense(3, 3), lif(SIZE), shape=SIZE, out=SIZE),
        {},
        [*pairwise(["input", "n0", "n1", "n2", "n3", "output"]), ("n3", "n0")],
    ),
}
# Rows that refuse the graph as a whole; and nodes whose kind is refused at another node, the neuron or the output.
ELSEWHERE = {"Output": "Output"}


def test_every_primitive_has_a_row():
    package = {name for name in nir.ir.__all__ if name not in ("NIRNode", "str2NIRNode", "dict2NIRNode")}
    assert package == set(FIELDS) == {row.primitive for row in ROWS}
    assert set(EXAMPLES) == {(row.primitive, row.case) for row in ROWS}


def test_the_document_is_current(repository):
    assert (repository / "docs" / "supported.md").read_text(encoding="utf-8") == matrix()


def options(given):
    return discretisation(**(given if given.get("framework") == "sinabs" else {"dt": 1.0, **given}))


@pytest.fixture
def in_this_process(monkeypatch):
    """Without the process that goes ahead, to be quicker."""
    monkeypatch.setattr("spikecut.export.nir.read.read_graph", parse_graph)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.primitive}: {row.case}")
def test_every_row_is_true(tmp_path, row):
    nodes, given, *edges = EXAMPLES[row.primitive, row.case]
    path, time = tmp_path / "graph.nir", options(given)
    if row.primitive == "NIRGraph" and row.exactness == "refused":
        with pytest.raises(SpikecutError, match=r"n[0-3] is recurrent through other layers.*timestep"):
            read_nir(write(path, nodes, *edges), time)
        return
    imported = read_nir(write(path, nodes, *edges), time)
    found = [report for report in imported.nodes if report.kind == row.primitive]
    if row.exactness == "refused":
        refused = [report for report in imported.nodes if report.exactness == "refused"]
        assert refused and refused[0].node in str(imported.refusal) and "\n" not in str(imported.refusal)
        with pytest.raises(SpikecutError, match=refused[0].node):
            imported.checked()
        return
    assert all(report.exactness in ("exact", row.exactness) for report in imported.nodes)
    assert row.primitive == "NIRGraph" or row.exactness in {report.exactness for report in found}
    network, witness = imported.checked()
    if row.exactness == "approximate":
        with pytest.raises(SpikecutError, match="strict"):
            imported.checked(strict=True)
    frames = (torch.rand(12, 20, *imported.input_shape, generator=torch.Generator().manual_seed(1)) < 0.5).double()
    said, literal = network(frames), witness(frames)
    assert said.shape == literal.shape and said.abs().sum() > 0
    if network.readout == "count":
        assert torch.equal(said, literal)
    else:
        torch.testing.assert_close(said, literal, rtol=0, atol=1e-12)  # sums of float64 in another order


def test_frameworks_are_documented():
    for found in FRAMEWORKS.values():
        assert found.dt is not None and any(line.startswith("dt ") for line in found.assumed)
