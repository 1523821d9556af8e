"""Which neurons sit on which core: COST_MODEL's placement, and what a chip cannot run at all.

Layers are cut into runs of neurons: a convolution along space in row-major order (all channels of a position stay
together), a dense layer by neuron ranges. A layer takes the smallest number of cores at which an even cut keeps every
limit. No two layers share a core; cores are filled in layer order, tile after tile along the rows of the mesh. The
source sits off the chip: its axons count as input axons of the first layer, it has no core.
"""

from dataclasses import dataclass

import numpy as np

from spikecut.deploy.hardware import Chip, Count, Hardware, Limits
from spikecut.errors import CapabilityError
from spikecut.export.connectivity import gather_index
from spikecut.export.graph import IntArray, IntegerLayer, IntegerNetwork, size

WORD_BITS = 64
WEIGHT_BITS = 8  # an even integer in [-256, 254], stored without its lowest bit
LIMITED = (
    "neurons_per_core",
    "input_axons_per_core",
    "synaptic_words_per_core",
    "words_per_axon",
    "output_axons_per_core",
)


@dataclass(frozen=True)
class Core:
    """One core: its chip, its tile and the tile's column x and row y; chips stand side by side along x."""

    index: int
    chip: int
    tile: int
    x: int
    y: int


@dataclass(frozen=True)
class LayerPlacement:
    """The cores of one layer.

    Attributes
    ----------
    name: the layer's name.
    groups: per core the indices of its neurons in torch's flat order, int64, read-only; every neuron once.
    cores: the cores, in the order of `groups`.
    """

    name: str
    groups: tuple[IntArray, ...]
    cores: tuple[Core, ...]

    @property
    def core_of_neuron(self) -> IntArray:
        """Position in `cores` of each neuron's core, int64 [neurons]."""
        result = np.empty(sum(group.size for group in self.groups), dtype=np.int64)
        for position, group in enumerate(self.groups):
            result[group] = position
        return result

    @property
    def neurons(self) -> IntArray:
        """Neurons per core, int64 [cores]."""
        return np.array([group.size for group in self.groups], dtype=np.int64)


@dataclass(frozen=True)
class Placement:
    """A network on cores.

    Attributes
    ----------
    hardware: name of the hardware file.
    layers: one entry per layer of the network, in its order.
    chips: number of chips in use.
    tiles: number of tiles in use on the fullest chip.
    unchecked: limits that the hardware file does not know, which were therefore not checked.
    """

    hardware: str
    layers: tuple[LayerPlacement, ...]
    chips: int
    tiles: int
    unchecked: tuple[str, ...]

    @property
    def cores(self) -> int:
        """Number of cores in use."""
        return sum(len(layer.cores) for layer in self.layers)


def check_capabilities(network: IntegerNetwork, hardware: Hardware) -> list[str]:
    """What the network needs and the hardware lacks, in plain words; empty if nothing (or the hardware is no chip)."""
    if not isinstance(hardware, Chip):
        return []
    can = hardware.capabilities
    missing: list[str] = []
    if network.input.bits > 0 and not can.graded_spikes:
        missing.append(f"graded spikes (the input's messages carry {network.input.bits} bits)")
    if network.readout == "membrane" and not can.graded_spikes:
        missing.append("graded spikes (the readout sends its membrane)")
    if any(layer.neuron.reset == "subtract" for layer in network.layers) and not can.soft_reset:
        missing.append("soft reset")
    if any(layer.neuron.v_init != 0 for layer in network.layers) and not can.initial_state:
        missing.append("initial state (v starts at another value than 0)")
    return missing


def place(network: IntegerNetwork, hardware: Hardware) -> Placement:
    """Cut every layer into the smallest number of cores that keeps the limits, and lay the cores out.

    Limits per core: neurons, distinct input axons, synaptic words Σ over axons of ceil(n_post · 8 / 64), words of one
    axon, and output axons Σ over neurons of destination cores. Synapses are counted by geometry, zero weights included.

    Raises
    ------
    CapabilityError: a single neuron (or position, with all its channels) already exceeds a limit, which is named; or
        the hardware has no cores.
    """
    if not isinstance(hardware, Chip):
        raise CapabilityError(f"{hardware.name} has no cores to place a network on: choose a chip")
    parts: list[IntArray] = []
    # per unit of the layer at hand, the cores that its neurons' messages go to
    destinations = np.zeros(_units(network.layers[-1]), dtype=np.int64)
    for index in range(len(network.layers) - 1, -1, -1):
        layer = network.layers[index]
        part, reach = _cut(layer, hardware.limits, destinations)
        parts.insert(0, part)
        if index:
            destinations = _destinations(network.layers[index - 1], layer, reach)
    placed: list[LayerPlacement] = []
    first = 0
    for layer, part in zip(network.layers, parts, strict=True):
        groups = _groups(layer, part)
        cores = tuple(_core(first + offset, hardware.limits) for offset in range(len(groups)))
        placed.append(LayerPlacement(layer.name, groups, cores))
        first += len(groups)
    unchecked = tuple(name for name in LIMITED if getattr(hardware.limits, name).value is None)
    tiles = 1 + max(core.tile for layer in placed for core in layer.cores)
    chips = 1 + placed[-1].cores[-1].chip
    return Placement(hardware.name, tuple(placed), chips, tiles, unchecked)


def fan_out_per_core(layer: IntegerLayer, placed: LayerPlacement) -> IntArray:
    """Synapses with a non-zero weight from each input neuron onto each core, int64 [input neurons, cores]."""
    cores = len(placed.cores)
    part = placed.core_of_neuron[: _units(layer)]  # a position's first channel stands for all of them
    if layer.kind == "dense":
        columns = [np.count_nonzero(layer.weight[part == core], axis=0) for core in range(cores)]
        dense: IntArray = np.stack(columns, axis=1).astype(np.int64)
        return dense
    channels, per_group = layer.input_shape[0], layer.weight.shape[1]
    nonzero = (layer.weight != 0).reshape(layer.groups, -1, per_group, size(layer.weight.shape[2:]))
    per_tap = nonzero.sum(axis=1, dtype=np.int64).reshape(channels, -1)
    index = gather_index(layer)
    result = np.zeros((size(layer.input_shape[1:]) + 1, cores, channels), dtype=np.int64)
    for tap in range(index.shape[1]):
        np.add.at(result, (index[:, tap], part), per_tap[:, tap])
    return np.ascontiguousarray(result[:-1].transpose(2, 0, 1)).reshape(-1, cores)


def _units(layer: IntegerLayer) -> int:
    return size(layer.output_shape[1:]) if layer.kind == "conv" else layer.output_shape[0]


def _groups(layer: IntegerLayer, part: IntArray) -> tuple[IntArray, ...]:
    """Flat neuron indices per core: every channel of a convolution's positions."""
    units = _units(layer)
    channels = _channels(layer)
    groups = []
    for core in range(int(part[-1]) + 1):
        group = (np.arange(channels)[:, None] * units + np.flatnonzero(part == core)).ravel()
        group.setflags(write=False)
        groups.append(group)
    return tuple(groups)


def _reach(layer: IntegerLayer, part: IntArray, cores: int) -> IntArray:
    """Synapses by geometry from one input neuron onto each core, int64 [pixels or 1, cores].

    A convolution's row holds for every channel of the pixel, a dense layer's only row for every input.
    """
    if layer.kind == "dense":
        return np.bincount(part, minlength=cores)[None, :].astype(np.int64)
    per_position = layer.output_shape[0] // layer.groups
    index = gather_index(layer)
    result = np.zeros((size(layer.input_shape[1:]) + 1, cores), dtype=np.int64)
    np.add.at(result, (index, part[:, None]), per_position)
    return result[:-1]


def _destinations(sender: IntegerLayer, receiver: IntegerLayer, reach: IntArray) -> IntArray:
    """Destination cores of one neuron at each unit of the sender, int64 [units]."""
    per_row: IntArray = np.count_nonzero(reach, axis=1).astype(np.int64)
    return np.repeat(per_row, _units(sender)) if receiver.kind == "dense" else per_row


def _cut(layer: IntegerLayer, limits: Limits, destinations: IntArray) -> tuple[IntArray, IntArray]:
    """The smallest even cut that keeps the limits: the core of every unit, and the reach onto these cores."""
    units = _units(layer)
    problem = _exceeded(_needs_alone(layer, destinations), limits)
    if problem is not None:
        unit = "one position with all its channels" if layer.kind == "conv" else "one neuron"
        raise CapabilityError(f"layer {layer.name} does not fit: {unit} needs {problem}: make the layer smaller")
    cores = _at_least(layer, limits)
    while True:  # ends at one unit a core, which fits
        part = np.arange(units) * cores // units
        reach = _reach(layer, part, cores)
        if _exceeded(_needs(layer, part, reach, destinations), limits) is None:
            return part, reach
        cores += 1


def _at_least(layer: IntegerLayer, limits: Limits) -> int:
    """Cores below which the neurons or the synapses cannot fit, whatever the cut."""
    cores = 1
    if limits.neurons_per_core.limit is not None:
        cores = max(cores, -(-size(layer.output_shape) // limits.neurons_per_core.limit))
    if limits.synaptic_words_per_core.limit is not None:
        synapses = int(_reach(layer, np.zeros(_units(layer), dtype=np.int64), 1).sum()) * _rows(layer)
        cores = max(cores, -(-synapses * WEIGHT_BITS // (limits.synaptic_words_per_core.limit * WORD_BITS)))
    return min(cores, _units(layer))


def _rows(layer: IntegerLayer) -> int:
    """Input neurons that each row of _reach stands for."""
    return layer.input_shape[0] if layer.kind == "conv" else size(layer.input_shape)


def _channels(layer: IntegerLayer) -> int:
    """Neurons of one unit."""
    return layer.output_shape[0] if layer.kind == "conv" else 1


def _needs(layer: IntegerLayer, part: IntArray, reach: IntArray, destinations: IntArray) -> dict[str, int]:
    """What the fullest core of this cut needs of each limited thing."""
    cores = reach.shape[1]
    words = -(-reach * WEIGHT_BITS // WORD_BITS)
    outgoing = np.zeros(cores, dtype=np.int64)
    np.add.at(outgoing, part, destinations)
    return {
        "neurons_per_core": int(np.bincount(part, minlength=cores).max()) * _channels(layer),
        "input_axons_per_core": int(np.count_nonzero(reach, axis=0).max()) * _rows(layer),
        "synaptic_words_per_core": int(words.sum(axis=0).max()) * _rows(layer),
        "words_per_axon": int(words.max()),
        "output_axons_per_core": int(outgoing.max()) * _channels(layer),
    }


def _needs_alone(layer: IntegerLayer, destinations: IntArray) -> dict[str, int]:
    """_needs of the cut with one unit a core, without its large reach: no two taps of a position share a pixel."""
    if layer.kind == "dense":
        pixels, synapses = 1, 1
    else:
        inside = gather_index(layer) < size(layer.input_shape[1:])
        pixels, synapses = int(inside.sum(axis=1).max()), layer.output_shape[0] // layer.groups
    words = -(-synapses * WEIGHT_BITS // WORD_BITS)
    return {
        "neurons_per_core": _channels(layer),
        "input_axons_per_core": pixels * _rows(layer),
        "synaptic_words_per_core": pixels * _rows(layer) * words,
        "words_per_axon": words,
        "output_axons_per_core": int(destinations.max()) * _channels(layer),
    }


def _exceeded(needs: dict[str, int], limits: Limits) -> str | None:
    """The first limit that these needs break, with both numbers; None if they keep them all."""
    for name in LIMITED:
        count: Count = getattr(limits, name)
        if count.limit is not None and needs[name] > count.limit:
            return f"{needs[name]} {name.replace('_', ' ')}, the limit is {count.limit}"
    return None


def _core(index: int, limits: Limits) -> Core:
    """The index-th core: four a tile (or as the limits say), tiles along the rows of the mesh, chip after chip."""
    per_chip, per_tile, columns = (
        int(count.value or 1) for count in (limits.cores_per_chip, limits.cores_per_tile, limits.mesh_columns)
    )
    chip, local = divmod(index, per_chip)
    tile = local // per_tile
    y, x = divmod(tile, columns)
    return Core(index, chip, tile, chip * columns + x, y)
