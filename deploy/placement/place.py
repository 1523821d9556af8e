"""Which neurons sit on which core.

Layers are cut into cores as the hardware file's `partition` says. In runs: a convolution along space in row-major order
(all channels of a position stay together), a dense layer by neuron ranges, a recurrent one too, whose own neurons are
input axons of all its cores; a layer takes the smallest number of cores that keeps every limit, cut so that the busiest
of them is as light as can be (see partition.py). In patches: as Loihi 2's compiler does (see patches.py). No two layers
share a core; they sit in layer order, or as their messages ask (`layout`, see mesh_layout.py). The source sits off the
chip: its axons count as input axons of the first layer, it has no core.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikecut.deploy.placement.cores import Core, LayerPlacement, Placement
from spikecut.deploy.placement.hardware import Chip, Hardware, Limits
from spikecut.deploy.placement.mesh_layout import in_order, laid_out, traffic
from spikecut.deploy.placement.partition import (
    BISECTIONS,
    TOLERANCE,
    FloatArray,
    Load,
    Partitioner,
    channels_of,
    destinations_of,
    mean_load,
    units_of,
    worst_load,
)
from spikecut.deploy.placement.patches import POOLED, Patches
from spikecut.errors import CapabilityError, InputError
from spikecut.export.network.arrays import IntArray, size
from spikecut.export.network.graph import Path
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.fixed_point import DELAY_MAXIMUM

Rates = Sequence[FloatArray]


@dataclass(frozen=True)
class Share:
    """A layer cut into cores. groups: flat neuron indices per core; taken: by limit, what the fullest core takes."""

    groups: tuple[IntArray, ...]
    taken: tuple[tuple[str, int], ...]


def place(
    network: IntegerNetwork, hardware: Hardware, cores: int | None = None, rates: Rates | None = None
) -> Placement:
    """Cut every layer into cores that keep the limits, and lay the cores out.

    Limits per core, in runs: neurons, distinct input axons, synaptic words Σ over axons of ceil(n_post · bits / 64)
    with 8 bits a weight and 6 more a delay, words of one axon, and output axons Σ over neurons of destination cores; in
    patches see patches.py. Synapses are counted by geometry, zero weights included. A skip's source adds its neurons to
    the axons. What is relayed is a delay of the synapses that take it.

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
    _check_waits(network)
    loads = _loads(network, hardware, rates)
    bound = np.inf if cores is None else _lightest_bound(network, hardware, loads, cores)
    shares = cut(network, hardware, loads, bound)
    count = sum(len(share.groups) for share in shares)
    placed = _seated(network, shares, in_order(count, hardware.limits))
    if hardware.layout == "traffic" and count > int(hardware.limits.cores_per_tile.value or 1):
        placed = _seated(network, shares, laid_out(traffic(network, placed, rates), hardware.limits))
    seats = [core for layer in placed for core in layer.cores]
    fullest = max(len({core.tile for core in seats if core.chip == chip}) for chip in {core.chip for core in seats})
    chips = 1 + max(core.chip for core in seats)
    return Placement(hardware.name, tuple(placed), chips, fullest, _unchecked(hardware))


def _seated(network: IntegerNetwork, shares: Sequence[Share], cores: Sequence[Core]) -> list[LayerPlacement]:
    """The layers on these cores, one after the other."""
    placed, first = [], 0
    for layer, share in zip(network.layers, shares, strict=True):
        end = first + len(share.groups)
        placed.append(LayerPlacement(layer.name, share.groups, tuple(cores[first:end]), share.taken))
        first = end
    return placed


def _unchecked(chip: Chip) -> tuple[str, ...]:
    """Limits that the hardware file names and does not know."""
    counts = ((name, getattr(chip.limits, name)) for name in POOLED)
    return tuple(name for name, count in counts if count is not None and count.value is None)


def cut(network: IntegerNetwork, chip: Chip, loads: list[Load], bound: float = np.inf) -> list[Share]:
    """Every layer in its cores, none of which takes longer than `bound` ns at these loads, as `place` has them.

    Raises CapabilityError where no cut keeps the limits.
    """
    if chip.partition == "patches":
        patches = [_patches(network, chip.limits, loads, index) for index in range(len(network.layers))]
        found = []
        for each in patches:
            best = each.fewest(bound)
            if best is None:
                raise CapabilityError(f"layer {each.layer.name} does not fit: {each.problem()}")
            taken = tuple((name, best.needs[name]) for name in each.limits)
            found.append(Share(each.groups(best), taken))
        return found
    cuts = _balanced_cuts(network, chip, loads, bound)
    return [Share(_groups(each.layer, ends), each.taken(ends)) for each, ends in cuts]


def _patches(network: IntegerNetwork, limits: Limits, loads: list[Load], index: int) -> Patches:
    following = [path.synapse for paths in network.paths for path in paths if path.source == index + 1]
    steps = [path.steps for path in network.paths[index]]
    return Patches(network.layers[index], limits, following, loads[index], steps)


def _check_waits(network: IntegerNetwork) -> None:
    """CapabilityError where what is relayed waits longer than the longest delay of a synapse."""
    for paths in network.paths:
        for path in paths:
            delay = getattr(path.synapse, "delay", None)
            wait = path.steps + (0 if delay is None else int(delay.max()))
            if wait > DELAY_MAXIMUM:
                name = network.layers[path.target - 1].name
                what = "a " + path.synapse.name if path is not paths[0] else f"what {_sender(network, path)} sends"
                raise CapabilityError(
                    f"layer {name}: {what} must wait {wait} steps, a synapse at most {DELAY_MAXIMUM}: lead it over "
                    "fewer layers"
                )


def _sender(network: IntegerNetwork, path: Path) -> str:
    return network.layers[path.source - 1].name if path.source else "the input"


def _loads(network: IntegerNetwork, chip: Chip, rates: Rates | None) -> list[Load]:
    if rates is None:
        return [worst_load(paths, chip) for paths in network.paths]
    sizes = [size(network.input_shape), *(size(layer.output_shape) for layer in network.layers)]
    if [np.shape(rate) for rate in rates] != [(count,) for count in sizes]:
        raise InputError(f"rates of shapes {[np.shape(rate) for rate in rates]}: expected one array per layer, {sizes}")
    return [mean_load(paths, chip, rates) for paths in network.paths]


def _balanced_cuts(
    network: IntegerNetwork, chip: Chip, loads: list[Load], bound: float
) -> list[tuple[Partitioner, list[int]]]:
    """Runs as even as can be, unless what leads to them then takes more cores than it needs."""
    plain = _cut_all(network, chip.limits, loads, bound, balance=False)
    if plain is None:
        raise CapabilityError(f"{network.name} does not fit on {chip.name}: make its layers smaller")
    try:
        even = _cut_all(network, chip.limits, loads, bound)
    except CapabilityError:
        return plain
    return plain if even is None or _count(even) > _count(plain) else even


def _count(cuts: list[tuple[Partitioner, list[int]]]) -> int:
    return sum(len(ends) for _, ends in cuts)


def _cut_all(
    network: IntegerNetwork, limits: Limits, loads: list[Load], bound: float, balance: bool = True
) -> list[tuple[Partitioner, list[int]]] | None:
    """Per layer the ends of its runs, back to front, since a layer's output axons depend on the cores that it leads to.

    None where no cut keeps the bound; CapabilityError where none keeps the limits.
    """
    cuts: list[tuple[Partitioner, list[int]]] = []
    destinations = [np.zeros(units_of(layer), dtype=np.int64) for layer in network.layers]  # of a neuron at each unit
    for index in range(len(network.layers) - 1, -1, -1):
        partitioner = Partitioner(network.paths[index], limits, destinations[index], loads[index])
        ends = partitioner.fewest(bound)
        if ends is None:
            if bound == np.inf:
                _check_fits(partitioner)
            return None
        if balance:
            ends = partitioner.balanced(len(ends))
        cuts.insert(0, (partitioner, ends))
        for path in network.paths[index]:
            if path.source:
                sender = path.source - 1
                destinations[sender] += destinations_of(network.layers[sender], path.synapse, ends)
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
    patches = None
    if chip.partition == "patches":
        patches = [_patches(network, chip.limits, loads, index) for index in range(len(network.layers))]
    count = _cores_within(network, chip, loads, np.inf, patches)
    if count is None or count > cores:
        raise CapabilityError(f"{network.name} needs {count} cores of {chip.name}, {cores} were given: give it more")
    low, high = 0.0, 1.0
    while not _keeps(_cores_within(network, chip, loads, high, patches), cores):
        low, high = high, 2 * high
    for _ in range(BISECTIONS):
        if high - low <= TOLERANCE * high:
            break
        middle = (low + high) / 2
        if _keeps(_cores_within(network, chip, loads, middle, patches), cores):
            high = middle
        else:
            low = middle
    return high


def _keeps(count: int | None, cores: int) -> bool:
    return count is not None and count <= cores


def _cores_within(
    network: IntegerNetwork, chip: Chip, loads: list[Load], bound: float, patches: list[Patches] | None
) -> int | None:
    """The fewest cores that keep the bound; None where none do, CapabilityError where none keep the limits."""
    if patches is None:
        runs = _cut_all(network, chip.limits, loads, bound, balance=False)
        return None if runs is None else _count(runs)
    found = [each.fewest(bound) for each in patches]
    for each, best in zip(patches, found, strict=True):
        if best is None and bound == np.inf:
            raise CapabilityError(f"layer {each.layer.name} does not fit: {each.problem()}")
    cores = [best.cores for best in found if best is not None]
    return sum(cores) if len(cores) == len(found) else None


def _groups(layer: IntegerLayer, ends: list[int]) -> tuple[IntArray, ...]:
    """Flat neuron indices per core: every channel of a convolution's positions."""
    offsets = np.arange(channels_of(layer))[:, None] * units_of(layer)
    groups = []
    for start, stop in zip([0, *ends[:-1]], ends, strict=True):
        group = (offsets + np.arange(start, stop)).ravel()
        group.setflags(write=False)
        groups.append(group)
    return tuple(groups)
