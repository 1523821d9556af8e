"""Networks and a chip on which the cost model and SANA-FE are compared: small cores, so that layers are cut."""

import itertools

import numpy as np

from spikecut.deploy.placement.hardware import Chip, load_hardware
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

STEPS = 60
CASES = [("dense", 24), ("conv", 40), ("recurrent", 20)]
"""Networks, and how many neurons a core may hold."""


def crowded(neurons: int) -> Chip:
    """Fitted Loihi 1 with small cores on a mesh that is not square."""
    chip = load_hardware("loihi1")
    assert isinstance(chip, Chip)
    limits = {"neurons_per_core": neurons, "mesh_columns": 4, "mesh_rows": 3, "cores_per_tile": 2, "cores_per_chip": 24}
    changed = {name: getattr(chip.limits, name).model_copy(update={"value": value}) for name, value in limits.items()}
    return chip.model_copy(update={"limits": chip.limits.model_copy(update=changed)})


def neuron(random: np.random.Generator, count: int, threshold: int) -> IntegerNeuron:
    return IntegerNeuron(threshold, random.integers(0, 20, count), decay_u=4096, decay_v=1000)


def dense_network(random: np.random.Generator, recurrent: bool = False) -> IntegerNetwork:
    sizes = [20, 64, 48, 10]
    layers = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        weight = 2 * random.integers(-6, 9, (outputs, inputs))
        if number == 1:  # one layer in the dense format, the others in the sparse one
            weight[weight == 0] = 2
        own = 2 * random.integers(-4, 4, (outputs, outputs)) if recurrent and number == 1 else None
        layers.append(
            IntegerLayer(
                f"dense{number}", "dense", weight, neuron(random, outputs, 60), (inputs,), (outputs,), recurrent=own
            )
        )
    return IntegerNetwork(tuple(layers), InputSpec((20,), "events"), "count", horizon=STEPS - 3)


def conv_network(random: np.random.Generator) -> IntegerNetwork:
    first = IntegerLayer(
        "conv0",
        "conv",
        2 * random.integers(-6, 9, (4, 2, 3, 3)),
        neuron(random, 4, 60),
        (2, 8, 7),
        (4, 8, 7),
        padding=(1, 1),
    )
    second = IntegerLayer(
        "conv1",
        "conv",
        2 * random.integers(-6, 9, (6, 2, 3, 2)),
        neuron(random, 6, 60),
        (4, 8, 7),
        (6, 4, 4),
        stride=(2, 2),
        padding=(1, 1),
        groups=2,
    )
    third = IntegerLayer(
        "dense", "dense", 2 * random.integers(-6, 9, (10, 96)), neuron(random, 10, 60), (6, 4, 4), (10,)
    )
    return IntegerNetwork((first, second, third), InputSpec((2, 8, 7), "events"), "count", horizon=STEPS - 3)


def crossing_network(random: np.random.Generator, only_right: bool) -> IntegerNetwork:
    """64 neurons that often send to 448 others: at four a core they fill the left half of a row of Loihi's tiles.

    only_right: the others that sit in the right half of the mesh, behind one link, are all that they send to.
    """
    weight = 2 * random.integers(1, 9, (448, 64))
    if only_right:
        column = (64 + np.arange(448)) // 16 % 8
        weight[column < 4] = 0
    sizes = (20, 64, 448)
    layers = [
        IntegerLayer(name, "dense", matrix, neuron(random, outputs, threshold), (inputs,), (outputs,))
        for name, matrix, threshold, (inputs, outputs) in zip(
            ("senders", "receivers"),
            (2 * random.integers(1, 9, (64, 20)), weight),
            (40, 60_000),
            itertools.pairwise(sizes),
            strict=True,
        )
    ]
    return IntegerNetwork(tuple(layers), InputSpec((20,), "events"), "count", horizon=STEPS - 2)


def network_of(kind: str, random: np.random.Generator) -> IntegerNetwork:
    """The network of a case."""
    if kind in ("crossing", "one link"):
        return crossing_network(random, kind == "one link")
    return conv_network(random) if kind == "conv" else dense_network(random, kind == "recurrent")


def spikes_into(network: IntegerNetwork, random: np.random.Generator, samples: int = 1) -> np.ndarray:
    """Input spikes, int32 [T, samples, *shape]."""
    return (random.random((network.horizon, samples, *network.input_shape)) < 0.3).astype(np.int32)
