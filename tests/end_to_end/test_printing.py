"""What print shows of every public thing: one to five lines, of a network a line per layer, and never an array."""

import dataclasses

import numpy as np
import pytest
import torch

import spikecut as sc
from spikecut.deploy.cutoff import FixedTimestep, SpikeCP, TopK
from spikecut.text import brief, columns, listed

LONGEST_REPR = 600


@pytest.fixture(scope="module")
def shown(repository, tmp_path_factory):
    """Name → a public thing, of the golden bundle."""
    golden = repository / "tests" / "golden" / "format_1"
    samples = np.load(golden / "samples.npz")
    bundle = sc.open_bundle(golden / "bundle")
    full = sc.run(bundle.network, sc.encode(samples["x_calibration"], bundle))
    scores, labels = full.scores, samples["y_calibration"]
    trace = sc.run(bundle.network, sc.encode(samples["x_test"], bundle), policy=bundle.policy, record="events")
    labelled = sc.LabelledScores.of(scores, labels)
    return {
        "bundle": dataclasses.replace(bundle, path=bundle.path.relative_to(repository)),
        "network": bundle.network,
        "membranes": sc.load(golden / "bundle_qcfs"),
        "layer": bundle.network.layers[0],
        "neuron": bundle.network.layers[0].neuron,
        "input": bundle.network.input,
        "policy": bundle.policy,
        "trace": trace,
        "everything": sc.run(bundle.network, sc.encode(samples["x_test"], bundle), record="all"),
        "calibration": sc.calibrate(scores, labels, epsilon=0.05, minimum_count=5),
        "guaranteed": sc.calibrate(scores, labels, policy="fixed", epsilon=0.2, minimum_count=5, delta=0.1),
        "optimal": sc.optimal_cutoff_timestep(scores, labels),
        "verification": sc.verify(bundle, backend="batched"),
        "cost": sc.estimate(trace, "loihi2"),
        "operations": sc.estimate(trace, "horowitz45nm"),
        "band": sc.estimate(trace, "loihi2").energy_j,
        "sweep": sc.sweep(labelled, labelled, depth=2, policies=("topk", "fixed"), epsilons=(0.01, 0.1)),
        "scores": labelled,
        "refusal": sc.Refusal("layer hidden", "needs soft reset", "choose --backend lava"),
    }


TEXTS = {
    "bundle": """
bundle tests/golden/format_1/bundle: tet, 2 layers, loaded by lava-dl's netx
input 1×4×4, bernoulli, binary; 3 classes, horizon T = 4, readout count
golden samples: 60, float and integers agree on 59
cutoff policy topk: thresholds never, never, 0, 0
""",
    "network": """
tet: input 1×4×4, bernoulli, binary; 3 classes, horizon T = 4, pipeline depth P = 2, readout count
layer   kind   output  weights  threshold  decay u, v  reset
hidden  dense  128       2,048        410  4096, 2048  zero
output  dense  3           384      1,224  4096, 2048  zero
""",
    "membranes": """
qcfs: input 1×4×4, direct, 6 bits; 3 classes, horizon T = 4, pipeline depth P = 2, readout membrane
layer   kind   output  weights  threshold  decay u, v  reset
hidden  dense  128       2,048     11,746     4096, 0  subtract
output  dense  3           384          0     4096, 0  none
""",
    "input": "input 1×4×4, bernoulli, binary",
    "policy": "cutoff policy topk: thresholds never, never, 0, 0",
    "trace": """
24 samples of tet on batched, isolated: scores, event counts
timesteps 3.62 (3 to 4) of T = 4, hardware steps 5.62 (5 to 6) of 6
9 ended by the cutoff, 15 at the horizon
""",
    "everything": """
24 samples of tet on batched, isolated: scores, event counts, all messages
timesteps 4.00 (4 to 4) of T = 4, hardware steps 6.00 (6 to 6) of 6
0 ended by the cutoff, 24 at the horizon
""",
    "calibration": """
cutoff policy topk: thresholds never, 0, 0, 0
calibrated at ε = 0.05 on 60 samples: 71.67 % right in 3.22 timesteps on average, 71.67 % at T = 4
0.00 % (95 %: 0.00 % to 5.96 %) are right at T and wrong at the exit
no guarantee for new samples
note: 60 samples are few for ε = 0.05: even if the cutoff loses none of them, it may lose up to 5.96 % of new ones \
(95% interval); 72 would do
""",
    "guaranteed": """
cutoff policy fixed: timestep 3
calibrated at ε = 0.2 on 60 samples: 63.33 % right in 3.00 timesteps on average, 71.67 % at T = 4
8.33 % (95 %: 2.76 % to 18.39 %) are right at T and wrong at the exit
with probability ≥ 0.9 at most 20 % of new samples are right at T and wrong at the exit
""",
    "optimal": "optimal cutoff of 60 samples: timesteps 2.57 (1 to 4); 17 never right",
    "verification": """
batched against the golden twin on 60 samples: all 38,563 integers are equal
float and integers: same prediction on 59 of 60 samples, largest difference of a running score 1
""",
    "cost": """
loihi2, 24 samples, estimated, mean per sample:
latency ≥ 6.55 µs (6.53 to 6.65), energy ≥ 1.86 µJ (1.58 to 2.47)
not included, since unknown: monitor time, monitor messages, monitor delay, host input and output, reset energy, \
monitor energy
""",
    "operations": """
horowitz45nm, 24 samples, estimated, mean per sample:
latency unknown, energy ≥ 0.00287 µJ (no band)
not included, since unknown: all of the time, memory, neuron updates, messages, host input and output, static power
""",
    "band": "1.86e-06 (1.58e-06 to 2.47e-06) on average of 24 samples",
    "sweep": """
topk, fixed at 2 values of ε, fitted on 60 samples, measured on 60
full horizon T = 4: 71.67 % right; optimal cutoff of 60 samples: timesteps 2.57 (1 to 4); 17 never right
fewest timesteps at ≤ 0.3 points lost in calibration: topk at ε = 0.01: 71.67 % right in 3.48 timesteps on average
""",
    "refusal": "layer hidden: needs soft reset; choose --backend lava",
}


@pytest.mark.parametrize("name", TEXTS)
def test_it_prints_as_written(shown, name):
    assert str(shown[name]) == TEXTS[name].strip("\n")


def test_nothing_prints_an_array_or_more_than_a_few_lines(shown):
    for thing in shown.values():
        for text in (str(thing), repr(thing)):
            assert "array(" not in text
        assert len(repr(thing)) <= LONGEST_REPR and "\n" not in repr(thing)
        if not isinstance(thing, sc.IntegerNetwork):
            assert len(str(thing).splitlines()) <= 5


def test_long_lists_are_shortened():
    policy = TopK((None, *range(1023)))
    assert str(policy) == "cutoff policy topk: thresholds never, 0, 1, 2, … 1022 (1024 in all)"
    assert repr(policy) == "TopK(thresholds=(1024 entries))"
    assert str(FixedTimestep(3)) == "cutoff policy fixed: timestep 3"
    assert str(SpikeCP((None, 5), 2)) == "cutoff policy spikecp: thresholds never, 5; set_size 2"
    assert listed(range(3)) == "0, 1, 2"


def test_an_uncalibrated_bundle_says_so(own_copy):
    folder = own_copy()
    (folder / "cutoff.json").unlink()
    bundle = sc.open_bundle(folder)
    assert bundle.policy is None
    assert str(bundle).splitlines()[-1] == "not calibrated"


def test_what_a_repr_is_made_of():
    @dataclasses.dataclass(frozen=True)
    class Thing:
        values: object

        __repr__ = brief

    assert repr(Thing(np.zeros((2, 3)))) == "Thing(values=float64[2, 3])"
    assert repr(Thing((Thing(1), Thing(2)))) == "Thing(values=(2 Thing))"
    assert repr(Thing({"a": 1})) == "Thing(values={1 entries})"
    assert repr(Thing(torch.nn.Sequential(torch.nn.ReLU()))) == "Thing(values=Sequential(…))"
    assert repr(Thing((1, "a"))) == "Thing(values=(1, 'a'))"
    assert columns([("a", 10), ("bc", 1)], right=frozenset({1})) == "a   10\nbc   1"
