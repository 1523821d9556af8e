"""Which of NIR's primitives come in exactly, which approximately, which not, and what to do: docs/supported.md.

The tests read an example of every row, and compare what becomes of it with what stands here.
"""

from dataclasses import dataclass
from typing import Literal

from spikecut.export.network.arrays import Shape
from spikecut.export.nir.discretisation import FRAMEWORKS, PLAIN, Discretisation

Exactness = Literal["exact", "approximate", "refused", "not reached"]


@dataclass(frozen=True)
class NodeReport:
    """What becomes of one node: its output's shape, the layer it goes into, and how exactly."""

    node: str
    kind: str
    shape: Shape
    layer: str
    exactness: Exactness
    detail: str


@dataclass(frozen=True)
class Row:
    """One case of a primitive. then: what becomes of it, or, where it is refused, what to do."""

    primitive: str
    case: str
    exactness: Literal["exact", "approximate", "refused"]
    then: str


_FOLDED = "multiplied into the weights of the layer, in float64"
_NEURONS_BETWEEN = "every synapse of the chip leads to neurons: put some between, or multiply the two beforehand"
_DECAY = "v loses the nearest multiple of 1/4096; the report gives the error"
_LAST = "the output's membrane; its scores are what each timestep adds to it"
_ONE = "at most one a timestep; the golden scores count all, so that the export's report shows the difference"
_FROM_RESET = "v and the threshold are counted from v_reset, and v starts where it does"
_EACH = "one value a channel or a neuron; r goes into the weights, or into the threshold of each neuron of a map"
_LATE = "comes later than the next timestep on the chip, one hardware step a layer; let each layer feed itself"
_RESTS = "a refractory period of one timestep: v is 0 then, whatever comes in, and its current goes on"
_WHOLE = 'nothing is left of v when the threshold is subtracted: train with reset_mechanism="zero"'
_ONLY_LAST = "the chip's neurons send spikes, and only the last layer's membrane is read: use a spiking neuron"
_ONE_SYNAPSE = "no synapse equals the two, and neurons of the chip stand between synapses: "
_SOFT = "a soft reset subtracts, and no framework says what v_reset is then: train with v_reset = 0"

ROWS: tuple[Row, ...] = (
    Row("Input", "(features,) or (channels, height, width)", "exact", "the bundle's input shape"),
    Row("Input", "(channels, length)", "exact", "data are given as (channels, 1, length)"),
    Row("Input", "a leading 1 that counts a batch", "exact", "left out, and said"),
    Row("Output", "behind neurons or a dense node", "exact", "without neurons the scores are the currents"),
    Row(
        "Output",
        "fed by the spikes of several layers",
        "refused",
        "several readouts, and a network has one: put a dense layer behind them",
    ),
    Row("Output", "behind a map larger than 1 × 1", "refused", "a class is one neuron: end in a dense layer"),
    Row("Affine", "weight of two dimensions", "exact", "a dense layer, biases and all"),
    Row("Affine", "behind a pooling, a Scale or another dense node", "exact", _FOLDED),
    Row("Affine", "behind a convolution without neurons", "refused", _NEURONS_BETWEEN),
    Row(
        "Affine",
        "on a map without Flatten",
        "refused",
        "works row by row, which no synapse does: put a Flatten before it",
    ),
    Row("Linear", "weight of two dimensions", "exact", "a dense layer"),
    Row("Scale", "one factor per feature or channel", "exact", _FOLDED),
    Row("Scale", "differs inside a channel", "refused", "neurons of a channel share their weights: scale by channel"),
    Row("Conv1d", "any stride, padding, dilation, groups", "exact", "a convolution of height 1"),
    Row("Conv2d", "any kernel, stride, padding, dilation, groups", "exact", "a convolution"),
    Row("Conv2d", 'padding "same", stride 1', "exact", "padding as numbers; an even kernel begins with zeros"),
    Row(
        "Conv2d",
        'padding "same" with a stride, or of an even kernel dilated',
        "refused",
        "frameworks place it differently: give it as numbers",
    ),
    Row("Conv2d", "behind a convolution without neurons", "refused", _NEURONS_BETWEEN),
    Row(
        "Conv2d",
        "padded, behind a pooling that overlaps or leaves a rest",
        "refused",
        f"{_ONE_SYNAPSE}pool a map that it divides",
    ),
    Row("SumPool2d", "before weights, behind a convolution, or alone", "exact", _FOLDED),
    Row("SumPool2d", "padded, right behind a convolution", "refused", f"{_ONE_SYNAPSE}pool without padding"),
    Row("AvgPool2d", "before weights, behind a convolution, or alone", "exact", _FOLDED + "; padding counts as zeros"),
    Row("AvgPool2d", "padded, right behind a convolution", "refused", f"{_ONE_SYNAPSE}pool without padding"),
    Row("Flatten", "of all dimensions", "exact", "in torch's order"),
    Row("Flatten", "of some dimensions", "refused", "neurons stand in (features,) or (C, H, W): flatten all of them"),
    Row("Delay", "of zero", "exact", "nothing"),
    Row("Delay", "before or behind the weights of a dense layer", "exact", "delays of its synapses, whole timesteps"),
    Row("Delay", "of parts of a timestep, or more than 62", "refused", "the chip's are whole timesteps, up to 62"),
    Row("Delay", "of maps, or of a bias", "refused", "on the chip synapses of dense layers can be late, no others"),
    Row("Threshold", "one value", "exact", "a neuron that loses all of v in every timestep"),
    Row("I", "last", "exact", _LAST),
    Row("I", "before other layers", "refused", _ONLY_LAST),
    Row("IF", "one value per parameter", "exact", "r goes into the weights"),
    Row("IF", "v ≥ threshold, soft reset (Sinabs)", "exact", "v starts one unit higher"),
    Row("IF", "several spikes in a timestep (Sinabs' default)", "approximate", _ONE),
    Row("IF", "v ≥ threshold, hard reset", "approximate", "v > threshold: only where v hits it exactly it differs"),
    Row("IF", "v_reset that is not v(0), hard reset", "exact", _FROM_RESET),
    Row("IF", "v_reset that is not 0, soft reset", "refused", _SOFT),
    Row("IF", "parameters that differ between neurons", "exact", _EACH),
    Row("LI", "last, v loses a multiple of 1/4096 per timestep", "exact", _LAST),
    Row("LI", "last, v loses anything else", "approximate", _DECAY),
    Row("LI", "before other layers", "refused", _ONLY_LAST),
    Row("LIF", "v loses a multiple of 1/4096 per timestep", "exact", "r goes into the weights, v_leak into the biases"),
    Row("LIF", "v loses anything else", "approximate", _DECAY),
    Row("LIF", "v_reset = v(0), hard reset", "exact", "v, v_leak and the threshold are counted from v_reset"),
    Row("LIF", "v_reset that is not v(0), hard reset", "exact", _FROM_RESET),
    Row("LIF", "v_reset that is not 0, soft reset", "refused", _SOFT),
    Row("LIF", "soft reset after the next leak (snnTorch's default)", "exact", "one before it, by threshold / β"),
    Row("LIF", "the same, where v leaks whole", "refused", _WHOLE),
    Row("LIF", "parameters that differ between neurons", "exact", _EACH),
    Row("LIF", "v_leak, or a v_reset, that differs inside a channel of a map", "exact", "a bias for each neuron"),
    Row("CubaLI", "last, u and v lose multiples of 1/4096", "exact", _LAST),
    Row("CubaLIF", "u and v lose multiples of 1/4096", "exact", "r and w_in go into the weights"),
    Row("CubaLIF", "u or v loses anything else", "approximate", _DECAY),
    Row("CubaLIF", "parameters that differ between neurons", "exact", _EACH),
    Row("CubaLIF", "a bias in front of a tau_syn that differs inside a channel", "exact", "a bias for each neuron"),
    Row("CubaLIF", "a bias in front of it", "exact", "a bias of the membrane, and a current that starts at minus it"),
    Row("CubaLIF", "another v_leak than v_reset, without bias", "exact", "a bias of the membrane"),
    Row("CubaLIF", "the same with a bias in front of it", "refused", "two biases, of u and v: train without one"),
    Row("CubaLIF", "hard reset in the next timestep (snnTorch's Synaptic)", "exact", _RESTS),
    Row("NIRGraph", "a chain inside the chain", "exact", "its nodes stand in its place"),
    Row("NIRGraph", "residual, branching: nodes that several others feed", "exact", "sums of skips and branches"),
    Row(
        "NIRGraph",
        "recurrent: a layer feeds itself by a Linear, an Affine, a Scale, or as it is",
        "exact",
        "what comes back comes in the next timestep, as in snnTorch and Norse",
    ),
    Row(
        "NIRGraph",
        "recurrent: a layer of maps feeds itself by convolutions",
        "exact",
        "the same; stride 1, odd kernels",
    ),
    Row("NIRGraph", "recurrent through other layers", "refused", _LATE),
)


_HEAD = """# What comes in from NIR

Written by `scripts/supported.py` from the code's own registry, and tested to be current; every row has an example in
the tests. Primitives: those of the package nir 1.0.8. `spikecut inspect FILE.nir` says the same of a file, node by
node. Exact: the float network is the file's, up to float64 rounding; its weights are quantised afterwards, as every
network's, and the bundle's report says how far. `--strict` refuses what is approximate.

| primitive | case | | what becomes of it, or what to do |
|---|---|---|---|
"""
_FRAMEWORKS = """
## What a file does not tell

`--framework` takes the defaults of the exporter that wrote the file; `--dt`, `--reset`, `--reset-order` and `--spikes`
overrule them. Every export and every `inspect` prints what was assumed.

| `--framework` | version read | assumed |
|---|---|---|
"""
_TAIL = """
snnTorch, Norse and Sinabs were tried, spike by spike (tests/golden/nir); SpikingJelly's and Lava's rows were read in
their sources. The exporters of snnTorch 1.0.0, Norse 1.1.0 and Sinabs 2.0.3 leave out shapes that nir 1.0.8 cannot
write without: `scripts/golden/nir_files.py` fills them in. A file that holds no shape of its Input or
Output, or an empty one, is completed: the Input's from the weights, the input_shape of a convolution or the parameters
of neurons behind it, or else from the samples of --dataset; `export` and `inspect` say which.

## Somebody else's run

`spikecut verify BUNDLE --against RUN.nir` reads a recording in NIR's own format (NIRGraphData of
`nir.write_data`: time grids or lists of events), runs its input through
the bundle's integers, and compares every node whose name is a
layer's, spike by spike; the first difference is named, and the command ends with 1. The Input's node must be recorded.
What is compared are its observables "spikes", else "output", else "input"; voltages and other nodes are named
as left out.

## Out again

`spikecut export BUNDLE --to nir --out FILE.nir` writes the integers as they are, one timestep as 1. NIR has no soft
reset, refractory period, v(0), delay per synapse, or decay that cuts off towards zero: these lie in metadata, and
`spikecut.load` reads the file back as the same network. `nir.read` needs `type_check=False` for kernels that are not
square and for groups, which its check of shapes gets wrong.
"""


def matrix() -> str:
    """docs/supported.md."""
    rows = [f"| {row.primitive} | {row.case} | {row.exactness} | {row.then} |\n" for row in ROWS]
    frameworks = [_framework(name, found) for name, found in (("(none)", PLAIN), *FRAMEWORKS.items())]
    return "".join([_HEAD, *rows, _FRAMEWORKS, *frameworks, _TAIL])


def _framework(name: str, found: Discretisation) -> str:
    return f"| {name} | {found.name} | {'<br>'.join(found.assumed)} |\n"
