"""Which neurons sit on which core.

Layers are cut into runs of neurons: a convolution along space in row-major order (all channels of a position stay
together), a dense layer by neuron ranges, a recurrent one too, whose own neurons are input axons of all its cores. A
layer takes the smallest number of cores that keeps every limit, cut so that the busiest of them is as light as can be
(see partition.py). No two layers share a core; cores are filled in layer order, tile after tile along the rows of the
mesh, chip after chip. The source sits off the chip: its axons count as input axons of the first layer, it has no core.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.placement.hardware import Chip, Hardware, Limits
from spikecut.deploy.placement.partition import (
    BISECTIONS,
    LIMITED,
    TOLERANCE,
    Load,
    Partitioner,
    channels_of,
    mean_load,
    nonzero_per_tap,
    units_of,
    worst_load,
)
from spikecut.errors import CapabilityError, InputError
from spikecut.export.network.arrays import IntArray, size
from spikecut.export.network.connectivity import gather_index, skip_paths
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.fixed_point import DELAY_MAXIMUM
from spikecut.text import brief

__all__ = [
    "LIMITED",
    "Core",
    "LayerPlacement",
    "Placement",
    "fan_out_per_core",
    "place",
    "placement_summary",
    "recurrent_fan_out_per_core",
]

FloatArray = npt.NDArray[np.float64]
Rates = Sequence[FloatArray]


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

    __repr__ = brief

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

    __repr__ = brief

    @property
    def cores(self) -> int:
        """Number of cores in use."""
        return sum(len(layer.cores) for layer in self.layers)


def placement_summary(placement: Placement) -> dict[str, Any]:
    """A placement as JSON data."""
    return {
        "cores": placement.cores,
        "tiles": placement.tiles,
        "chips": placement.chips,
        "layers": {layer.name: [int(count) for count in layer.neurons] for layer in placement.layers},
        "unchecked_limits": list(placement.unchecked),
    }


def place(
    network: IntegerNetwork, hardware: Hardware, cores: int | None = None, rates: Rates | None = None
) -> Placement:
    """Cut every layer into cores that keep the limits, and lay the cores out.

    Limits per core: neurons, distinct input axons, synaptic words Σ over axons of ceil(n_post · bits / 64) with 8 bits
    a weight and 6 more a delay, words of one axon, and output axons Σ over neurons of destination cores. Synapses are
    counted by geometry, zero weights included. A skip's are synapses with a delay, its source's neurons more axons.

    Parameters
    ----------
    cores: at most so many cores in all, spread over the layers so that the busiest core of the network is as light as
        can be; by default the fewest.
    rates: messages per step of every neuron, the source's first, float64 [elements] each, as `message_rates` counts
        them: what "busy" means. By default everything sends in every step.

    Raises
    ------
    CapabilityError: a single neuron (or position, with all its channels) already exceeds a limit, which is named; the
        network does not fit on so few cores; or the hardware has no cores.
    InputError: rates that do not fit the network.
    """
    if not isinstance(hardware, Chip):
        raise CapabilityError(f"{hardware.name} has no cores to place a network on: choose a chip")
    for path in skip_paths(network).values():
        if path.steps > DELAY_MAXIMUM:
            name = network.layers[path.target - 1].name
            raise CapabilityError(
                f"layer {name}: a {path.skip.name} must wait {path.steps} steps, a synapse at most {DELAY_MAXIMUM}: "
                "lead it over fewer layers"
            )
    loads = _loads(network, hardware, rates)
    bound = np.inf if cores is None else _lightest_bound(network, hardware, loads, cores)
    cuts = _cut_all(network, hardware.limits, loads, bound)
    if cuts is None:
        raise CapabilityError(f"{network.name} does not fit on {hardware.name}: make its layers smaller")
    placed: list[LayerPlacement] = []
    first = 0
    for layer, ends in zip(network.layers, cuts, strict=True):
        found = tuple(_core(first + offset, hardware.limits) for offset in range(len(ends)))
        placed.append(LayerPlacement(layer.name, _groups(layer, ends), found))
        first += len(ends)
    unchecked = tuple(name for name in LIMITED if getattr(hardware.limits, name).value is None)
    tiles = 1 + max(core.tile for layer in placed for core in layer.cores)
    return Placement(hardware.name, tuple(placed), 1 + placed[-1].cores[-1].chip, tiles, unchecked)


def _loads(network: IntegerNetwork, chip: Chip, rates: Rates | None) -> list[Load]:
    if rates is None:
        return [worst_load(layer, chip) for layer in network.layers]
    sizes = [size(network.input_shape), *(size(layer.output_shape) for layer in network.layers)]
    if [np.shape(rate) for rate in rates] != [(count,) for count in sizes]:
        raise InputError(f"rates of shapes {[np.shape(rate) for rate in rates]}: expected one array per layer, {sizes}")
    paths = skip_paths(network)
    skip_rates = [rates[paths[i + 1].source] if i + 1 in paths else None for i in range(len(network.layers))]
    return [mean_load(layer, chip, rates[i], rates[i + 1], skip_rates[i]) for i, layer in enumerate(network.layers)]


def _cut_all(
    network: IntegerNetwork, limits: Limits, loads: list[Load], bound: float, balance: bool = True
) -> list[list[int]] | None:
    """Per layer the ends of its runs, back to front, since a layer's output axons depend on the cores of the next.

    None where no cut keeps the bound; CapabilityError where none keeps the limits.
    """
    cuts: list[list[int]] = []
    destinations = np.zeros(units_of(network.layers[-1]), dtype=np.int64)  # of a neuron at each unit
    for index in range(len(network.layers) - 1, -1, -1):
        partitioner = Partitioner(network.layers[index], limits, destinations, loads[index])
        ends = partitioner.fewest(bound)
        if ends is None:
            if bound == np.inf:
                _check_fits(partitioner)
            return None
        if balance:
            ends = partitioner.balanced(len(ends))
        cuts.insert(0, ends)
        if index:
            sender = network.layers[index - 1]
            destinations = _destinations(sender, network.layers[index], ends)
            for path in skip_paths(network).values():
                if path.source == index:
                    destinations = destinations + _destinations(sender, path.skip, cuts[path.target - 1 - index])
    return cuts


def _check_fits(partitioner: Partitioner) -> None:
    """Raise CapabilityError if a unit alone breaks a limit."""
    layer, problem = partitioner.layer, partitioner.problem()
    if problem is None and partitioner.fewest() is None:
        problem = "more output axons per core than the limit to reach all cores of this recurrent layer"
    if problem is not None:
        unit = "one position with all its channels" if layer.kind == "conv" else "one neuron"
        raise CapabilityError(f"layer {layer.name} does not fit: {unit} needs {problem}: make the layer smaller")


def _lightest_bound(network: IntegerNetwork, chip: Chip, loads: list[Load], cores: int) -> float:
    """The lowest bound on a core's mean time, in ns, that so many cores can keep; CapabilityError if none."""
    fewest = _cut_all(network, chip.limits, loads, np.inf, balance=False) or []
    count = sum(map(len, fewest))
    if count > cores:
        raise CapabilityError(f"{network.name} needs {count} cores of {chip.name}, {cores} were given: give it more")
    low, high = 0.0, 1.0
    while not _keeps(network, chip, loads, high, cores):
        low, high = high, 2 * high
    for _ in range(BISECTIONS):
        if high - low <= TOLERANCE * high:
            break
        middle = (low + high) / 2
        if _keeps(network, chip, loads, middle, cores):
            high = middle
        else:
            low = middle
    return high


def _keeps(network: IntegerNetwork, chip: Chip, loads: list[Load], bound: float, cores: int) -> bool:
    """Whether so many cores can keep the bound."""
    cuts = _cut_all(network, chip.limits, loads, bound, balance=False)
    return cuts is not None and sum(map(len, cuts)) <= cores


def fan_out_per_core(layer: Synapse, placed: LayerPlacement) -> IntArray:
    """Synapses with a non-zero weight from each input neuron onto each core, int64 [input neurons, cores].

    layer: a layer, without its skip, or the skip of the layer that is placed.
    """
    cores = len(placed.cores)
    if layer.kind == "dense":
        return _matrix_per_core(layer.weight, placed)
    part = placed.core_of_neuron[: units_of(layer)]  # a position's first channel stands for all of them
    per_tap = nonzero_per_tap(layer)
    index = gather_index(layer)
    result = np.zeros((size(layer.input_shape[1:]) + 1, cores, layer.input_shape[0]), dtype=np.int64)
    for tap in range(index.shape[1]):
        np.add.at(result, (index[:, tap], part), per_tap[:, tap])
    return np.ascontiguousarray(result[:-1].transpose(2, 0, 1)).reshape(-1, cores)


def recurrent_fan_out_per_core(layer: IntegerLayer, placed: LayerPlacement) -> IntArray:
    """Recurrent synapses with a non-zero weight from each neuron of a layer onto its cores, int64 [neurons, cores]."""
    if layer.recurrent is None:
        return np.zeros((size(layer.output_shape), len(placed.cores)), dtype=np.int64)
    return _matrix_per_core(layer.recurrent, placed)


def _matrix_per_core(weight: IntArray, placed: LayerPlacement) -> IntArray:
    columns = [np.count_nonzero(weight[group], axis=0) for group in placed.groups]
    dense: IntArray = np.stack(columns, axis=1).astype(np.int64)
    return dense


def _groups(layer: IntegerLayer, ends: list[int]) -> tuple[IntArray, ...]:
    """Flat neuron indices per core: every channel of a convolution's positions."""
    offsets = np.arange(channels_of(layer))[:, None] * units_of(layer)
    groups = []
    for start, stop in zip([0, *ends[:-1]], ends, strict=True):
        group = (offsets + np.arange(start, stop)).ravel()
        group.setflags(write=False)
        groups.append(group)
    return tuple(groups)


def _destinations(sender: IntegerLayer, receiver: Synapse, ends: list[int]) -> IntArray:
    """Destination cores of one neuron at each unit of the sender, by geometry, int64 [units].

    receiver: the next layer, or a skip from the sender; ends: of the cores of the layer that receives.
    """
    if receiver.kind == "dense":
        return np.full(units_of(sender), len(ends), dtype=np.int64)
    index = gather_index(receiver)
    reached = np.zeros((size(receiver.input_shape[1:]) + 1, len(ends)), dtype=bool)
    core = np.searchsorted(ends, np.arange(len(index)), side="right")
    reached[index, core[:, None]] = True
    per_pixel: IntArray = reached[:-1].sum(axis=1, dtype=np.int64)
    return per_pixel


def _core(index: int, limits: Limits) -> Core:
    """The index-th core: four a tile (or as the limits say), tiles along the rows of the mesh, chip after chip."""
    per_chip, per_tile, columns = (
        int(count.value or 1) for count in (limits.cores_per_chip, limits.cores_per_tile, limits.mesh_columns)
    )
    chip, local = divmod(index, per_chip)
    tile = local // per_tile
    y, x = divmod(tile, columns)
    return Core(index, chip, tile, chip * columns + x, y)
