"""A network and a sample as SANA-FE's network file: groups of neurons, edges, and the core of every neuron."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from spikecut.deploy.placement.cores import LayerPlacement, Placement
from spikecut.deploy.placement.hardware import Chip
from spikecut.deploy.placement.partition import synapse_format
from spikecut.deploy.sanafe.architecture import UNIT_NEURONS, slot_number, tile_number
from spikecut.deploy.sanafe.limits import potentials
from spikecut.export.network.arrays import IntArray, Integers, size
from spikecut.export.network.connectivity import gather_index
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.fixed_point import ALIGNMENT_SHIFT, DECAY_UNITY, STATE_LIMIT

BoolArray = npt.NDArray[np.bool_]
INPUT = "input_"
RESETS = {"zero": "hard", "subtract": "soft", "none": "none"}  # "adapt" is refused
SCALE = 1 << ALIGNMENT_SHIFT
NEVER = float(STATE_LIMIT)
"""A threshold above every membrane."""


@dataclass(frozen=True)
class Edges:
    """Synapses with a non-zero weight, each int64 [synapses]: sending and receiving neuron, weight."""

    source: IntArray
    target: IntArray
    weight: IntArray


def synapses(layer: Synapse) -> Edges:
    """The synapses of a layer from the one before, or of its recurrence, in torch's flat order."""
    if layer.kind == "dense":
        target, source = np.nonzero(layer.weight)
        return Edges(source, target, layer.weight[target, source])
    index = gather_index(layer)
    pixels = size(layer.input_shape[1:])
    kernels = layer.weight.reshape(*layer.weight.shape[:2], -1)
    outputs = layer.weight.shape[0] // layer.groups
    found = []
    for out, kernel in enumerate(kernels):
        for k, taps in enumerate(kernel):
            channel = out // outputs * kernels.shape[1] + k
            position, tap = np.nonzero((index < pixels) & (taps != 0))
            found.append((channel * pixels + index[position, tap], out * len(index) + position, np.asarray(taps)[tap]))
    return Edges(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def recurrent_synapses(layer: IntegerLayer) -> Edges | None:
    """A layer's synapses with itself; None without any."""
    return None if layer.loop is None else synapses(layer.loop)


@dataclass(frozen=True)
class MappedNetwork:
    """A network on the cores of a chip.

    Attributes
    ----------
    groups: the name of each layer's group of neurons in SANA-FE.
    inputs: group of input neurons → the elements of the input that they are, int64, one group a tile. A graded input
        has all of these once for each of its `planes`, one plane after the other.
    planes: what a spike stands for: 1, or the powers of two of a graded input, negative ones too where it is signed.
    """

    network: IntegerNetwork
    chip: Chip
    placement: Placement

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Names of letters, digits and _ stay; others, which SANA-FE might read otherwise, become layerN."""
        return tuple(
            layer.name
            if re.fullmatch(r"[A-Za-z]\w*", layer.name, re.ASCII) and not layer.name.startswith((INPUT, "layer"))
            else f"layer{depth}"
            for depth, layer in enumerate(self.network.layers, start=1)
        )

    @cached_property
    def first(self) -> Edges:
        """The synapses of the first layer."""
        return synapses(self.network.layers[0])

    @cached_property
    def inputs(self) -> dict[str, IntArray]:
        """By group of input neurons, in the order of the tiles."""
        tiles = self._tiles(self.placement.layers[0])[self.first.target]
        return {f"{INPUT}{tile}": np.unique(self.first.source[tiles == tile]) for tile in np.unique(tiles).tolist()}

    @property
    def planes(self) -> tuple[int, ...]:
        """What a spike of the input stands for."""
        bits = tuple(1 << bit for bit in range(max(1, self.network.input.bits)))
        return (*bits, *(-bit for bit in bits)) if self.network.input.minimum < 0 else bits

    @property
    def sources(self) -> dict[int, int]:
        """Number of a tile → input neurons that send from there."""
        planes = len(self.planes)
        return {int(name.removeprefix(INPUT)): planes * len(elements) for name, elements in self.inputs.items()}

    def input_spikes(self, name: str, values: Integers) -> BoolArray:
        """Spikes of a group of input neurons, bool [..., neurons], for values of the input, int [..., elements]."""
        chosen = values[..., self.inputs[name]]
        return np.concatenate(
            [(np.sign(chosen) == np.sign(plane)) & (np.abs(chosen) & abs(plane) != 0) for plane in self.planes], axis=-1
        )

    def _tiles(self, placed: LayerPlacement) -> IntArray:
        """Number of the tile of each neuron."""
        numbers = np.array([tile_number(core, self.chip) for core in placed.cores], dtype=np.int64)
        return np.asarray(numbers[placed.core_of_neuron], dtype=np.int64)

    def text(self, frames: Integers) -> Iterator[str]:
        """The file, piece by piece; frames: one sample's spikes, [T, *shape]."""
        flat = frames.reshape(len(frames), -1)
        groups = [*self._input_groups(flat), *self._layer_groups()]
        yield f"network:\n  name: {_quoted(self.network.name)}\n  groups:\n"
        for group in groups:
            yield _entry(group, 4)
        yield "  edges:\n"
        yield from self._edges()
        yield "mappings:\n"
        for entry in self._mappings():
            yield _entry(entry, 2)

    def _input_groups(self, flat: Integers) -> Iterator[dict[str, Any]]:
        for name in self.inputs:
            spikes = self.input_spikes(name, flat).astype(np.int64).T
            trains = (np.trim_zeros(train, "b").tolist() or [0] for train in spikes)
            neurons = [{number: {"soma": {"spikes": train}}} for number, train in enumerate(trains)]
            yield {"name": name, "attributes": {"log_spikes": True}, "neurons": neurons}

    def _layer_groups(self) -> Iterator[dict[str, Any]]:
        for depth, (name, layer) in enumerate(zip(self.groups, self.network.layers, strict=True), start=1):
            neuron = layer.neuron
            soma = {
                "threshold": NEVER if neuron.reset == "none" else float(neuron.threshold),
                "reset_mode": RESETS[neuron.reset],
                "leak_decay": (DECAY_UNITY - neuron.decay_v) / DECAY_UNITY,
                "input_decay": (DECAY_UNITY - neuron.decay_u) / DECAY_UNITY,
                "force_update": True,
            }
            logged = "log_potential" if neuron.reset == "none" else "log_spikes"
            attributes = {logged: True, "synapse_hw_name": synapse_format(layer), "soma": soma}
            yield {"name": name, "attributes": attributes, "neurons": list(_own(layer, depth))}

    def _edges(self) -> Iterator[str]:
        names = self.groups
        tiles = self._tiles(self.placement.layers[0])[self.first.target]
        for name, elements in self.inputs.items():
            chosen = np.flatnonzero(tiles == int(name.removeprefix(INPUT)))
            source = np.searchsorted(elements, self.first.source[chosen])
            target, weight = self.first.target[chosen], self.first.weight[chosen]
            for number, plane in enumerate(self.planes):
                yield _hyperedge(name, names[0], Edges(number * len(elements) + source, target, weight * plane))
        for number, layer in enumerate(self.network.layers):
            if number:
                yield _hyperedge(names[number - 1], names[number], synapses(layer))
            own = recurrent_synapses(layer)
            if own is not None:
                yield _hyperedge(names[number], names[number], own)

    def _mappings(self) -> Iterator[dict[str, Any]]:
        for name, elements in self.inputs.items():
            tile = name.removeprefix(INPUT)
            core = f"{tile}.{int(self.chip.limits.cores_per_tile.value or 1)}"
            for number in range(len(self.planes) * len(elements)):
                yield {f"{name}.{number}": {"core": core, "soma": f"input[{number}]", "dendrite": "dendrite[0]"}}
        for name, placed in zip(self.groups, self.placement.layers, strict=True):
            where: dict[int, tuple[str, int]] = {}
            for core_, neurons in zip(placed.cores, placed.groups, strict=True):
                address = f"{tile_number(core_, self.chip)}.{slot_number(core_, self.chip)}"
                where |= {neuron: (address, rank // UNIT_NEURONS) for rank, neuron in enumerate(neurons.tolist())}
            for (address, unit), run in groupby(range(len(where)), where.__getitem__):
                place = {"core": address, "soma": f"soma[{unit}]", "dendrite": f"dendrite[{unit}]"}
                yield {f"{name}.{_range(list(run))}": place}


def _own(layer: IntegerLayer, depth: int) -> Iterator[Mapping[str, Any]]:
    """Bias and first potential of neurons that have them in common, in runs."""
    start = potentials(layer, depth)
    bias = layer.neuron.bias
    start = np.zeros_like(bias) if start is None else start  # refused before anything is written
    per_value = size(layer.output_shape) // bias.size
    values = list(zip((bias / SCALE).tolist(), (start / SCALE).tolist(), strict=True))
    for value, run in groupby(range(len(values)), values.__getitem__):
        numbers = list(run)
        neurons = [numbers[0] * per_value, (numbers[-1] + 1) * per_value - 1]
        yield {_range(neurons): {"soma": {"bias": value[0], "potential": value[1]}}}


def _range(numbers: list[int]) -> str:
    return f"{numbers[0]}..{numbers[-1]}" if numbers[-1] > numbers[0] else str(numbers[0])


def _hyperedge(source: str, target: str, edges: Edges) -> str:
    """Edges between two groups, as pairs and their weights."""
    if not edges.weight.size:
        return ""
    pairs = ", ".join(f"[{a}, {b}]" for a, b in zip(edges.source.tolist(), edges.target.tolist(), strict=True))
    weights = ", ".join(map(str, edges.weight.tolist()))
    return f"    - {source} -> {target}: {{type: sparse, source_target_pairs: [{pairs}], weight: [{weights}]}}\n"


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=2**30).strip()


def _entry(data: Mapping[str, Any], indent: int) -> str:
    """An entry of a list of YAML, on one line."""
    line = yaml.dump(dict(data), Dumper=DUMPER, default_flow_style=True, sort_keys=False, width=2**30).strip()
    return f"{' ' * indent}- {line}\n"


DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
