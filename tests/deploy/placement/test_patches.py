"""Cores as Loihi 2's compiler takes them: its published tables, and what every cut keeps."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spikecut.deploy.placement.capabilities import Fit
from spikecut.deploy.placement.hardware import Chip, load_hardware
from spikecut.deploy.placement.mesh_layout import at_random, hops, in_order, traffic
from spikecut.deploy.placement.patches import dense_words, shared_words, weight_bits
from spikecut.deploy.placement.place import place
from spikecut.errors import CapabilityError
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron


@pytest.fixture(scope="module")
def tables(repository: Path) -> ModuleType:
    sys.path.insert(0, str(repository / "scripts"))
    try:
        return import_module("silicon.core_counts")
    finally:
        sys.path.remove(str(repository / "scripts"))


def loihi2(**limits: int) -> Chip:
    chip = load_hardware("loihi2")
    assert isinstance(chip, Chip)
    changed = {key: getattr(chip.limits, key).model_copy(update={"value": value}) for key, value in limits.items()}
    return chip.model_copy(update={"limits": chip.limits.model_copy(update=changed)})


def chain(*layers: IntegerLayer) -> IntegerNetwork:
    return IntegerNetwork(layers, InputSpec(layers[0].input_shape, "events"), "count", horizon=4)


def dense(inputs: int | tuple[int, ...], outputs: int, name: str = "a") -> IntegerLayer:
    shape = inputs if isinstance(inputs, tuple) else (inputs,)
    neuron = IntegerNeuron(10, np.zeros(outputs, dtype=int))
    return IntegerLayer(name, "dense", np.full((outputs, int(np.prod(shape))), 2), neuron, shape, (outputs,))


def pointwise(shape: tuple[int, int, int], outputs: int, name: str = "a") -> IntegerLayer:
    neuron = IntegerNeuron(10, np.zeros(outputs, dtype=int))
    weight = np.full((outputs, shape[0], 1, 1), 2)
    return IntegerLayer(name, "conv", weight, neuron, shape, (outputs, *shape[1:]))


def test_the_compilers_tables_come_out(tables: ModuleType) -> None:
    """PilotNet to the core and the word; all others but Oxford's first layer, 2 for 3, to the core."""
    published = {"PilotNet SNN": 74, "PilotNet SDNN": 61, "Oxford": 5, "MNIST": 5, "YOLO-KP": 574}
    assert {table.name: sum(layer.cores for layer in table.layers) for table in tables.TABLES} == published
    for table in tables.TABLES:
        shares = tables.cut_of(table, loihi2())
        found = [len(share.groups) for share in shares]
        want = [layer.cores for layer in table.layers]
        assert found == ([2, 2] if table.name == "Oxford" else want)
        if table.name.startswith("PilotNet"):
            inputs = 0
            for share, printed in zip(shares, table.layers, strict=True):
                if printed.words:  # its input neurons have no synapses there
                    assert tables.mean_words(printed, share, inputs) == printed.words
                inputs = sum(group.size for group in share.groups)


def test_bits_of_weights_are_those_of_netx() -> None:
    """Answers of lava-dl 0.6.0's optimize_weight_bits, and 8 where it says 7, which the chip does not have."""
    for weights, bits in (
        ([-20, 2, 18], 5),
        ([-8, 2, 8], 4),
        ([-16, 14], 4),
        ([-14, 16], 5),
        ([-256, 254], 8),
        ([-98, 124], 8),
        ([0, 254], 8),
        ([0, 8, 4], 2),
        ([-64, -32], 1),
        ([-64, 0, 64], 2),
        ([0, 0], 1),
    ):
        assert weight_bits(np.array(weights)) == bits


def test_words_by_hand() -> None:
    # 36 channels of 4 bits: 32 · 4 + 8 = 136 bits in 3 words, 4 · 4 + 8 in one more.
    assert [shared_words(channels, 4) for channels in (36, 48, 64)] == [4, 5, 5]
    # 17 synapses of 3 + 12 bits and 8 more: 263 bits.
    assert [dense_words(neurons, 3) for neurons in (1, 9, 17, 100)] == [1, 3, 5, 24]


def test_a_patch_counts_a_power_of_two_of_columns() -> None:
    """PilotNet's last convolution: 2,560 neurons in two cores, for 32 columns of them would be 4,096."""
    placed = place(chain(pointwise((1, 2, 20), 64)), loihi2()).layers[0]
    assert placed.neurons.tolist() == [2048, 512]
    assert [int(group.max() % 20) for group in placed.groups] == [15, 19]


def test_channels_are_split_where_their_weights_do_not_fit() -> None:
    layer = pointwise((64, 2, 2), 128)  # 64 rows of 128 · 1 + 8 bits: 3 words, of 64 channels 2, of 32 and less one
    for words, channels in ((192, 128), (191, 64), (127, 32)):
        placed = place(chain(layer), loihi2(synaptic_words_per_core=words)).layers[0]
        assert [group.size for group in placed.groups] == [4 * channels] * (128 // channels)
        assert sorted(np.concatenate(placed.groups).tolist()) == list(range(512))
    with pytest.raises(CapabilityError, match="needs 64 synaptic words"):
        place(chain(layer), loihi2(synaptic_words_per_core=63))


def test_more_cores_never_make_the_busiest_busier() -> None:
    network = chain(pointwise((2, 6, 6), 8), dense((8, 6, 6), 10, "b"))
    found = [place(network, loihi2(), cores=cores) for cores in (2, 6, 20)]
    assert [placement.cores <= cores for placement, cores in zip(found, (2, 6, 20), strict=True)] == [True] * 3
    largest = [int(placement.layers[0].neurons.max()) for placement in found]
    assert largest == sorted(largest, reverse=True) and largest[0] > largest[-1]
    with pytest.raises(CapabilityError, match="needs 2 cores of loihi2, 1 were given"):
        place(network, loihi2(), cores=1)


def test_what_does_not_fit_says_why_and_what_would() -> None:
    with pytest.raises(CapabilityError, match=r"layer a does not fit: one neuron needs 12001 synaptic words") as caught:
        place(chain(dense(12_001, 2)), loihi2())
    assert "the limit is 12000: give it at most 100% of its inputs" in str(caught.value)
    refused = Fit.of(chain(dense(40_000, 2)), loihi2()).note
    assert refused.endswith(
        "one neuron needs 40000 input axons per core, the limit is 16000: give it at most 40% of its inputs"
    )


def test_what_fits_says_how_tightly() -> None:
    assert Fit.of(chain(dense(600, 64), dense(64, 10, "b")), loihi2()).note == (
        "fits: 2 of 128 cores; fullest: a, 70% of a core's synaptic words"
    )
    roomy = loihi2(input_axons_per_core=10**6, synaptic_words_per_core=10**6, memory_words_per_core=2 * 10**6)
    several = Fit.of(chain(pointwise((1, 64, 64), 200), dense((200, 64, 64), 1, "b")), roomy).note
    assert several.startswith("fits on 3 chips: 257 cores of 128 a chip; a takes 256, by its neurons: one chip holds")


def test_cores_sit_where_their_messages_have_few_hops(tables: ModuleType) -> None:
    """The same places every time, each once, on as few tiles as can be, and fewer hops than random or in order."""
    table = next(each for each in tables.TABLES if each.name == "MNIST")
    network = tables.network_of(table)
    chip = loihi2(cores_per_tile=2, neurons_per_core=16)
    placement, again = place(network, chip), place(network, chip)
    cores = [core for layer in placement.layers for core in layer.cores]
    assert cores == [core for layer in again.layers for core in layer.cores]
    assert len({core.index for core in cores}) == len(cores) == placement.cores
    assert placement.tiles == -(-len(cores) // 2) == len({core.tile for core in cores})
    assert all(core.tile == core.index // 2 and (core.y, core.x) == divmod(core.tile, 8) for core in cores)
    flow = traffic(network, placement.layers)
    random = [hops(flow, at_random(len(cores), chip.limits, seed)) for seed in range(20)]
    assert hops(flow, cores) < min(*random, hops(flow, in_order(len(cores), chip.limits)))


def test_traffic_counts_messages_from_core_to_core() -> None:
    network = chain(dense(3, 4), dense(4, 2, "b"))
    placement = place(network, loihi2(neurons_per_core=2))
    assert [len(layer.cores) for layer in placement.layers] == [2, 1]
    flow = traffic(network, placement.layers, [np.zeros(3), np.array([0.5, 0.25, 1.0, 0.0]), np.zeros(2)])
    assert flow.tolist() == [[0, 0, 0.75], [0, 0, 1.0], [0, 0, 0]]
