"""What Loihi 2's compiler printed of its cores, layer by layer, beside what our placement gives."""

from dataclasses import dataclass

import numpy as np

from spikecut.deploy.placement.hardware import Chip
from spikecut.deploy.placement.mesh_layout import at_random, hops, in_order, traffic
from spikecut.deploy.placement.partition import worst_load
from spikecut.deploy.placement.patches import dense_words
from spikecut.deploy.placement.place import Share, cut, place
from spikecut.export.network.arrays import Pair, Shape, size
from spikecut.export.network.geometry import conv_output_shape
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

FOLDER = "lava-dl@d825ac5, tutorials/lava/lib/dl/netx"
RANDOM = 20
"""Random placements that hops are compared with."""


@dataclass(frozen=True)
class Printed:
    """One layer as the table has it.

    Attributes
    ----------
    outputs: channels or neurons. bits: of a weight, by netx from the published file.
    cores, words: printed; words of synaptic memory are means over its cores, or in shares of the most.
    before: cores in runs, as our placement had them. kernel: 0 for a dense layer. remark: what to say of it.
    """

    outputs: int
    bits: int
    cores: int
    words: int
    before: int
    kernel: int = 0
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    groups: int = 1
    remark: str = ""


@dataclass(frozen=True)
class Table:
    """A table that the compiler printed: where, of what network, and the synaptic words it allows a core."""

    name: str
    source: str
    shape: Shape
    layers: tuple[Printed, ...]
    words: int


def _convolutions(bits: tuple[int, ...], words: tuple[int, ...]) -> tuple[Printed, ...]:
    """PilotNet's five, of (rows, columns)."""
    shapes = zip((24, 36, 48, 64, 64), bits, (25, 13, 3, 3, 2), words, (27, 31, 14, 11, 8), strict=True)
    steps: list[tuple[Pair, Pair]] = [((2, 2), (0, 0))] * 3 + [((2, 1), (1, 0)), ((1, 1), (0, 0))]
    return tuple(Printed(*each, 3, stride, pad) for each, (stride, pad) in zip(shapes, steps, strict=True))


INPUT = Printed(3, 1, 13, 0, 14, 1, groups=3, remark="neurons that their bias drives; ours a synapse each")
FIFTY = "theirs: of 50, 50 and 28 neurons"
SIGMA_DELTA = "its neurons take one word, ours two: other patches, as many"
YOLO = (
    Printed(16, 6, 224, 54, 0, 3, (2, 2), (1, 1)),
    Printed(32, 6, 112, 576, 0, 3, (2, 2), (1, 1)),
    Printed(64, 5, 56, 1728, 0, 3, (2, 2), (1, 1)),
    Printed(128, 5, 28, 6336, 0, 3, (2, 2), (1, 1)),
    Printed(256, 5, 56, 12672, 0, 3, (1, 1), (1, 1)),
    Printed(256, 4, 16, 11520, 0, 3, (2, 2), (1, 1)),
    Printed(512, 5, 32, 13824, 0, 3, (1, 1), (1, 1), remark=SIGMA_DELTA),
    Printed(256, 5, 14, 10752, 0, 1),
    Printed(512, 5, 32, 13824, 0, 3, (1, 1), (1, 1), remark=SIGMA_DELTA),
    Printed(48, 6, 4, 3072, 0, 1),
)
TABLES = (
    Table(
        "PilotNet SNN",
        f"{FOLDER}/pilotnet_snn/benchmark.ipynb, cell 15",
        (3, 66, 200),
        (
            INPUT,
            *_convolutions((5, 4, 4, 4, 4), (81, 864, 1620, 2160, 2880)),
            Printed(100, 3, 12, 7253, 2),
            Printed(50, 4, 1, 1300, 1),
            Printed(10, 5, 1, 150, 1),
            Printed(1, 6, 1, 10, 1),
        ),
        12000,
    ),
    Table(
        "PilotNet SDNN",
        f"{FOLDER}/pilotnet_sdnn/benchmark.ipynb, cell 13",
        (3, 66, 200),
        (
            *_convolutions((6, 5, 4, 5, 4), (81, 864, 1620, 2592, 2880)),
            Printed(100, 4, 12, 7253, 2),
            Printed(50, 6, 1, 1500, 1),
            Printed(10, 5, 1, 150, 1),
            Printed(1, 5, 1, 10, 1),
        ),
        12000,
    ),
    Table(
        "Oxford",
        f"{FOLDER}/oxford/run.ipynb, cell 12",
        (200,),
        (Printed(256, 8, 3, 5400, 1, remark="two would do by its own limits"), Printed(200, 8, 2, 8064, 1)),
        12000,
    ),
    Table(
        "MNIST",
        f"{FOLDER}/mnist/run.ipynb, cell 21",
        (784,),
        (
            Printed(128, 8, 3, 12544, 1, remark=FIFTY),
            Printed(64, 8, 1, 2688, 1),
            Printed(10, 8, 1, 256, 1),
        ),
        16000,
    ),
    Table(
        "YOLO-KP",
        f"{FOLDER}/yolo_kp/run.ipynb, cell 23",
        (3, 448, 448),
        YOLO,
        16000,
    ),
)


def network_of(table: Table) -> IntegerNetwork:
    """A network of these shapes whose weights need these bits."""
    layers: list[IntegerLayer] = []
    shape = table.shape
    for number, printed in enumerate(table.layers):
        kind = "conv" if printed.kernel else "dense"
        inner = shape[0] // printed.groups if printed.kernel else size(shape)
        weight = np.full((printed.outputs, inner, *(printed.kernel,) * 2 * bool(printed.kernel)), 2, dtype=np.int64)
        weight.flat[0], weight.flat[-1] = -(2**printed.bits), max(2**printed.bits - 2, 0)
        geometry = {"stride": printed.stride, "padding": printed.padding, "groups": printed.groups}
        output: Shape = (printed.outputs,)
        if printed.kernel:
            probe = type("Probe", (), {"weight": weight, "input_shape": shape, "dilation": (1, 1), **geometry})()
            output = conv_output_shape(probe)
        neuron = IntegerNeuron(64, np.zeros(printed.outputs, dtype=np.int64))
        fields = geometry if printed.kernel else {}
        layers.append(IntegerLayer(f"{kind}{number}", kind, weight, neuron, shape, output, **fields))  # type: ignore[arg-type]
        shape = output
    return IntegerNetwork(tuple(layers), InputSpec(table.shape, "events"), "count", horizon=1)


def with_words(chip: Chip, words: int) -> Chip:
    """The chip with another limit of synaptic words, as another version of the compiler had."""
    limit = chip.limits.synaptic_words_per_core.model_copy(update={"value": float(words)})
    return chip.model_copy(update={"limits": chip.limits.model_copy(update={"synaptic_words_per_core": limit})})


def cut_of(table: Table, chip: Chip) -> list[Share]:
    """Our cores of a table's network, layer by layer."""
    network, able = network_of(table), with_words(chip, table.words)
    return cut(network, able, [worst_load(paths, able) for paths in network.paths])


def mean_words(printed: Printed, share: Share, inputs: int) -> int:
    """Synaptic words of a core by our rules, the mean of its cores; inputs: of a dense layer."""
    if printed.kernel:
        return dict(share.taken)["synaptic_words_per_core"]
    per_core = [dense_words(group.size, printed.bits) for group in share.groups]
    return int(inputs * np.mean(per_core))


def core_table(chip: Chip) -> str:
    """Cores and synaptic words of a core, by layer and in all."""
    lines = [
        "| network | layer | cores, compiler | cores, ours | formerly | words, compiler | words, ours | remark |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for table in TABLES:
        shares, inputs = cut_of(table, chip), size(table.shape)
        for number, (share, printed) in enumerate(zip(shares, table.layers, strict=True), start=1):
            kind, before = "convolution" if printed.kernel else "dense", printed.before or ""
            cells = (table.name, f"{number}, {kind}", printed.cores, len(share.groups), before)
            words = (f"{printed.words:,}", f"{mean_words(printed, share, inputs):,}", printed.remark)
            lines.append("| " + " | ".join(map(str, (*cells, *words))) + " |")
            inputs = sum(group.size for group in share.groups)
        total, before = (sum(getattr(each, key) for each in table.layers) for key in ("cores", "before"))
        ours = sum(len(share.groups) for share in shares)
        lines.append(f"| {table.name} | **all** | **{total}** | **{ours}** | {before or ''} | | | {table.source} |")
    return "\n".join(lines)


def hops_table(chip: Chip) -> str:
    """Hops of the placements by traffic, beside the order of the layers and random ones."""
    lines = [
        "| network | cores | by traffic | in layers' order | random: mean of 20, least | random / by traffic |",
        "|---|---|---|---|---|---|",
    ]
    for table in (table for table in TABLES if sum(each.cores for each in table.layers) <= 128):
        network = network_of(table)
        placement = place(network, with_words(chip, table.words))
        flow = traffic(network, placement.layers)
        ours = hops(flow, [core for placed in placement.layers for core in placed.cores])
        in_turn = hops(flow, in_order(placement.cores, chip.limits))
        random = [hops(flow, at_random(placement.cores, chip.limits, seed)) for seed in range(RANDOM)]
        times = f"{np.mean(random) / ours:.1f}" if ours else "one tile"
        cells = (f"{ours:,.0f}", f"{in_turn:,.0f}", f"{np.mean(random):,.0f}, {min(random):,.0f}", times)
        lines.append("| " + " | ".join((table.name, str(placement.cores), *cells)) + " |")
    return "\n".join(lines)
