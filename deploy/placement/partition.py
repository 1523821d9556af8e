"""How a layer is cut into cores: the fewest that keep the limits, or a given number with the lightest busiest one.

A layer is a row of units: the neurons of a dense layer, the positions of a convolution (all channels together). A
core takes a run of neighbouring units. All that a run needs or costs only grows when a unit is added to it. So filling
core after core up to a bound gives the fewest cores that keep the bound, and the smallest bound that a number of cores
can keep is found by bisection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from spikecut.deploy.placement.hardware import Chip, Limits
from spikecut.deploy.placement.quantities import Count
from spikecut.errors import CapabilityError
from spikecut.export.network.arrays import IntArray, size
from spikecut.export.network.connectivity import gather_index
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.graph import Path
from spikecut.export.network.layers import IntegerLayer, passes_input

FloatArray = npt.NDArray[np.float64]
Paths = tuple[Path, ...]
"""What a layer takes, see IntegerNetwork.paths."""

WORD_BITS = 64
WEIGHT_BITS = 8  # an even integer in [-256, 254], stored without its lowest bit
DELAY_BITS = 6  # 0..62
LIMITED = (
    "neurons_per_core",
    "input_axons_per_core",
    "synaptic_words_per_core",
    "words_per_axon",
    "output_axons_per_core",
)
BISECTIONS = 40
TOLERANCE = 1e-6  # of the busiest core's time, at which a bisection ends


def units_of(layer: Synapse) -> int:
    """Number of units that a layer can be cut into."""
    return size(layer.output_shape[1:]) if layer.kind == "conv" else layer.output_shape[0]


def channels_of(layer: IntegerLayer) -> int:
    """Neurons of one unit."""
    return layer.output_shape[0] if layer.kind == "conv" else 1


def synapse_format(layer: IntegerLayer) -> str:
    """Which synapse format of the hardware file a layer pays: one for all its matrices, recurrent, skips included."""
    if layer.kind == "conv":
        return "synop_conv"
    more = (layer.recurrent, *(skip.weight for skip in layer.skips))
    full = all(matrix.all() for matrix in (layer.weight, *more) if matrix is not None)
    return "synop_dense" if full else "synop_sparse"


@dataclass(frozen=True)
class Load:
    """What a layer's units do in a step, in ns on the chip at hand, for the mean messages of a step.

    Attributes
    ----------
    neurons: a unit's neurons, their spikes included, without messages, float64 [units].
    sent: messages per destination core that a unit sends in a step, float64 [units].
    synapses: the synaptic operations that a unit receives, float64 [units].
    axons: the messages of each source of `Axons`, float64 [sources].
    message_ns: one message sent.
    """

    neurons: FloatArray
    sent: FloatArray
    synapses: FloatArray
    axons: FloatArray
    message_ns: float


@dataclass(frozen=True)
class Axons:
    """Which input axons a layer's units need, by geometry.

    Attributes
    ----------
    sources: per unit the sources it listens to, int64 [units, taps]; `behind.size` where a tap lies on padding.
    behind: axons of each source, int64 [sources]: all channels of a pixel; all inputs, or all own neurons, of a dense
        layer; one of an input neuron. All axons of a source behave alike.
    synapses: synapses of one axon of each source onto one unit, int64 [sources].
    bits: memory of one synapse of each source, int64 [sources].
    """

    sources: IntArray
    behind: IntArray
    synapses: IntArray
    bits: IntArray

    @classmethod
    def of(cls, paths: Paths) -> "Axons":
        """The axons of a layer: of its source, of its own neurons if it is recurrent, of its skips' sources.

        What is relayed is a delay of the synapses that receive it, and takes the memory of one.
        """
        layer: IntegerLayer = paths[0].synapse
        delayed = [bool(path.steps) for path in paths]
        delayed[0] |= layer.delay is not None and bool(layer.delay.any())
        parts: list[tuple[Synapse, int]] = [
            (path.synapse, WEIGHT_BITS + DELAY_BITS * late) for path, late in zip(paths, delayed, strict=True)
        ]
        if layer.loop is not None:
            late = layer.delay is not None and bool(layer.delay.any())
            parts.insert(1, (layer.loop, WEIGHT_BITS + DELAY_BITS * late))
        if layer.kind == "conv":
            return cls._convolutions(parts)
        if passes_input(layer):  # a synapse each, of an axon that is its own
            units = np.arange(layer.output_shape[0])
            ones = np.ones_like(units)
            return cls(units[:, None], ones, ones, np.full_like(units, WEIGHT_BITS))
        found = [(size(synapse.input_shape), bits) for synapse, bits in parts]
        counts, widths = np.array(found, dtype=np.int64).T
        sources = np.tile(np.arange(len(found)), (layer.output_shape[0], 1))
        return cls(sources, counts, np.ones_like(counts), widths)

    @classmethod
    def _convolutions(cls, parts: list[tuple[Synapse, int]]) -> "Axons":
        pixels = [size(synapse.input_shape[1:]) for synapse, _ in parts]
        total, taps = sum(pixels), []
        for number, (synapse, _) in enumerate(parts):
            index = gather_index(synapse)
            taps.append(np.where(index < pixels[number], index + sum(pixels[:number]), total))

        def each(values: list[int]) -> IntArray:
            return np.repeat(np.array(values, dtype=np.int64), pixels)

        return cls(
            np.concatenate(taps, axis=1),
            each([synapse.input_shape[0] for synapse, _ in parts]),
            each([synapse.output_shape[0] // synapse.groups for synapse, _ in parts]),
            each([bits for _, bits in parts]),
        )

    def spaced(self, units: IntArray, sources: IntArray) -> IntArray:
        """Words that one axon of these sources takes which reaches so many units of a core."""
        words: IntArray = -(-units * np.append(self.synapses * self.bits, 0)[sources] // WORD_BITS)
        return words

    @cached_property
    def rank(self) -> IntArray:
        """How many earlier entries of `sources`, in reading order, name the same source, int64 [units, taps]."""
        flat = self.sources.ravel()
        order = np.argsort(flat, kind="stable")
        grouped = flat[order]
        first = np.searchsorted(grouped, grouped)
        rank = np.empty(flat.size, dtype=np.int64)
        rank[order] = np.arange(flat.size) - first
        return rank.reshape(self.sources.shape)


class Partitioner:
    """Cuts one layer, given what it takes and how many cores its neurons' messages go to."""

    def __init__(self, paths: Paths, limits: Limits, destinations: IntArray, load: Load) -> None:
        layer: IntegerLayer = paths[0].synapse
        self.layer, self.load, self.destinations = layer, load, destinations
        self.axons = Axons.of(paths)
        self.limits: dict[str, Count] = {name: getattr(limits, name) for name in LIMITED}
        self.units, self.channels = units_of(layer), channels_of(layer)

    def needs(self, start: int, stop: int, own: int) -> dict[str, IntArray]:
        """Per limit, what the runs start..start+1, …, start..stop need, int64 [stop - start] each.

        own: see `own`.
        """
        times, width, real = self._times(start, stop)
        sources = self.axons.sources[start:stop]
        before, after = self.axons.spaced(times, sources), self.axons.spaced(times + 1, sources)
        words = np.where(real, after - before, 0) * width
        largest = np.where(real, after, 0).max(axis=1, initial=0)
        count = np.arange(1, stop - start + 1)
        outgoing = np.cumsum(self.destinations[start:stop]) + own * count
        return {
            "neurons_per_core": count * self.channels,
            "input_axons_per_core": np.cumsum(((times == 0) * width).sum(axis=1)),
            "synaptic_words_per_core": np.cumsum(words.sum(axis=1)),
            "words_per_axon": np.maximum.accumulate(largest),
            "output_axons_per_core": outgoing * self.channels,
        }

    def busy_ns(self, start: int, stop: int, own: int) -> FloatArray:
        """Mean time of a step on a core that holds start..start+1, …, start..stop, float64 [stop - start]."""
        times, _, _ = self._times(start, stop)
        load = self.load
        axons = np.append(load.axons, 0.0)[self.axons.sources[start:stop]]
        receiving = np.cumsum(np.where(times == 0, axons, 0.0).sum(axis=1) + load.synapses[start:stop])
        messages = load.sent[start:stop] * (self.destinations[start:stop] + own)
        generating = np.cumsum(load.neurons[start:stop] + messages * load.message_ns)
        busiest: FloatArray = np.maximum(generating, receiving)
        return busiest

    def _times(self, start: int, stop: int) -> tuple[IntArray, IntArray, npt.NDArray[np.bool_]]:
        """How often a run that begins at `start` named a source before, the axons behind it, and whether there are any.

        [stop - start, taps] each. The number of earlier entries is that from the layer's beginning, less those before
        `start`: what the source's first entry within the run has.
        """
        sources, rank = self.axons.sources[start:stop], self.axons.rank[start:stop]
        before = np.full(self.axons.behind.size + 1, np.iinfo(np.int64).max)
        np.minimum.at(before, sources, rank)
        width = np.append(self.axons.behind, 0)[sources]
        return rank - before[sources], width, width > 0

    def problem(self) -> str | None:
        """The first limit that a unit breaks on a core of its own, with both numbers; None if none does."""
        alone = [self.needs(unit, unit + 1, int(self.layer.recurrent is not None)) for unit in self._distinct()]
        for name, count in self.limits.items():
            worst = max(int(need[name][0]) for need in alone)
            if count.limit is not None and worst > count.limit:
                return f"{worst} {name.replace('_', ' ')}, the limit is {count.limit}"
        return None

    def taken(self, ends: list[int]) -> tuple[tuple[str, int], ...]:
        """By limit, what the fullest core of a cut takes of it; unknown limits are left out."""
        own = self.own(ends)
        runs = zip([0, *ends[:-1]], ends, strict=True)
        needs = [self.needs(start, stop, own) for start, stop in runs]
        known = [name for name, count in self.limits.items() if count.limit is not None]
        return tuple((name, max(int(need[name][-1]) for need in needs)) for name in known)

    def own(self, ends: list[int]) -> int:
        """Cores of the layer that one of its neurons reaches, at most, where it is recurrent; 0 where not."""
        loop = self.layer.loop
        return 0 if loop is None else int(destinations_of(self.layer, loop, ends).max())

    def _distinct(self) -> IntArray:
        """One unit of each kind: by number of sources and destination cores."""
        real = (self.axons.sources < self.axons.behind.size).sum(axis=1)
        found: IntArray = np.unique(np.stack([real, self.destinations]), axis=1, return_index=True)[1]
        return found

    def fewest(self, bound: float = np.inf) -> list[int] | None:
        """Ends of the fewest runs that keep the limits and take at most `bound` ns; None if a unit alone does not."""
        own = int(self.layer.recurrent is not None)
        while True:
            ends = self._fill(bound, own)
            if ends is None or self.own(ends) <= own:
                return ends
            own = self.own(ends)

    def _fill(self, bound: float, own: int) -> list[int] | None:
        limit = self.limits["neurons_per_core"].limit
        window = self.units if limit is None else max(1, limit // self.channels)
        ends, start = [], 0
        while start < self.units:
            stop = min(self.units, start + window)
            keeps = np.ones(stop - start, dtype=bool) if bound == np.inf else self.busy_ns(start, stop, own) <= bound
            for name, need in self.needs(start, stop, own).items():
                allowed = self.limits[name].limit
                if allowed is not None:
                    keeps &= need <= allowed
            taken = int(keeps.argmin()) if not keeps.all() else keeps.size
            if taken == 0:
                return None
            start += taken
            ends.append(start)
        return ends

    def balanced(self, cores: int) -> list[int]:
        """Ends of at most so many runs whose busiest is as light as can be; even runs, where these are as light."""
        found = self.fewest()
        if found is None or len(found) > cores:
            raise CapabilityError(f"layer {self.layer.name} does not fit on {cores} cores: give it more")
        low, high = 0.0, self.busiest_ns(found)
        for _ in range(BISECTIONS):
            if high - low <= TOLERANCE * high:
                break
            middle = (low + high) / 2
            ends = self.fewest(middle)
            if ends is not None and len(ends) <= cores:
                found = ends
                high = self.busiest_ns(found)
            else:
                low = middle
        cores = min(cores, self.units)
        even = [-(-(core + 1) * self.units // cores) for core in range(cores)]
        if self._keeps(even) and self.busiest_ns(even) <= self.busiest_ns(found) * (1 + TOLERANCE):
            return even
        return found

    def busiest_ns(self, ends: list[int]) -> float:
        """Mean time of a step on the busiest core of a cut."""
        own = self.own(ends)
        starts = [0, *ends[:-1]]
        return max(float(self.busy_ns(start, stop, own)[-1]) for start, stop in zip(starts, ends, strict=True))

    def _keeps(self, ends: list[int]) -> bool:
        """Whether every core of a cut keeps the limits."""
        own = self.own(ends)
        for start, stop in zip([0, *ends[:-1]], ends, strict=True):
            for name, need in self.needs(start, stop, own).items():
                allowed = self.limits[name].limit
                if stop <= start or (allowed is not None and need[-1] > allowed):
                    return False
        return True


def destinations_of(sender: IntegerLayer, receiver: Synapse, ends: list[int]) -> IntArray:
    """Destination cores of one neuron at each unit of the sender, by geometry, int64 [units].

    receiver: a layer that takes from the sender, or its skip; ends: of the cores of the layer that receives.
    """
    if receiver.kind == "dense":
        return np.full(units_of(sender), len(ends), dtype=np.int64)
    index = gather_index(receiver)
    reached = np.zeros((size(receiver.input_shape[1:]) + 1, len(ends)), dtype=bool)
    core = np.searchsorted(ends, np.arange(len(index)), side="right")
    reached[index, core[:, None]] = True
    per_pixel: IntArray = reached[:-1].sum(axis=1, dtype=np.int64)
    return per_pixel


def worst_load(paths: Paths, chip: Chip) -> Load:
    """The load of a step in which everything sends, synapses by geometry: what is balanced by default."""
    axons, layer = Axons.of(paths), paths[0].synapse
    reached = np.append(axons.behind * axons.synapses, 0).astype(np.float64)
    synapses = reached[axons.sources].sum(axis=1)
    sent = np.full(units_of(layer), float(channels_of(layer)))
    return _load(layer, chip, sent, synapses, axons.behind.astype(np.float64))


def mean_load(paths: Paths, chip: Chip, rates: Sequence[FloatArray]) -> Load:
    """The load of a mean step. rates: messages per step of every neuron, of the input and of each layer."""
    layer: IntegerLayer = paths[0].synapse
    arriving, *more = (rates[path.source] for path in paths)
    sent = rates[paths[0].target]
    units, channels = units_of(layer), channels_of(layer)
    per_unit = sent.reshape(channels, units).sum(axis=0)
    if layer.kind == "dense" and passes_input(layer):
        return _load(layer, chip, per_unit, arriving, arriving)
    if layer.kind == "dense":
        synapses = (layer.weight != 0) @ arriving
        totals = [float(arriving.sum())]
        if layer.recurrent is not None:
            synapses = synapses + (layer.recurrent != 0) @ sent
            totals.append(float(sent.sum()))
        for skip, skipped in zip(layer.skips, more, strict=True):
            synapses = synapses + (skip.weight != 0) @ skipped
            totals.append(float(skipped.sum()))
        return _load(layer, chip, per_unit, np.asarray(synapses, dtype=np.float64), np.array(totals))
    synapses, axons = _convolved(layer, arriving)
    back = [] if layer.loop is None else [(layer.loop, sent)]
    for skip, skipped in (*back, *zip(layer.skips, more, strict=True)):
        added = _convolved(skip, skipped)
        synapses, axons = synapses + added[0], np.concatenate([axons, added[1]])
    return _load(layer, chip, per_unit, synapses, axons)


def _convolved(synapse: Synapse, arriving: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Synaptic operations of each unit of a convolution, and messages of each pixel."""
    pixels = arriving.reshape(synapse.input_shape[0], -1)
    padded = np.concatenate([pixels, np.zeros((len(pixels), 1))], axis=1)
    taps = nonzero_per_tap(synapse)
    index = gather_index(synapse)
    operations = np.zeros(units_of(synapse))
    for tap in range(index.shape[1]):
        operations += taps[:, tap] @ padded[:, index[:, tap]]
    return operations, pixels.sum(axis=0)


def nonzero_per_tap(layer: Synapse, channels: IntArray | None = None) -> IntArray:
    """Non-zero weights of a convolution by input channel and tap, int64 [channels, taps].

    channels: count those onto these output channels alone.
    """
    per_group = layer.weight.shape[1]
    nonzero = layer.weight != 0
    if channels is not None:
        nonzero = nonzero & np.isin(np.arange(len(nonzero)), channels)[:, None, None, None]
    grouped = nonzero.reshape(layer.groups, -1, per_group, size(layer.weight.shape[2:]))
    counted: IntArray = grouped.sum(axis=1, dtype=np.int64).reshape(layer.input_shape[0], -1)
    return counted


def _load(layer: IntegerLayer, chip: Chip, sent: FloatArray, synapses: FloatArray, axons: FloatArray) -> Load:
    time = {name: cost.time_ns.at("value") for name, cost in chip.costs}
    resting = time["neuron_access"] + time["neuron_update"]
    if not any(time.values()):
        resting = 1.0  # no time is known: balance the neurons
    neurons = channels_of(layer) * resting + sent * time["spike"]
    return Load(
        neurons, sent, synapses * time[synapse_format(layer)], axons * time["axon_in"], message_ns=time["axon_out"]
    )
