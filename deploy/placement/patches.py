"""How Loihi 2's compiler cuts a layer into cores: a convolution in patches whose weights a core stores once.

The compiler is not public. These rules were read off the tables "Per core distribution" that it printed, in
lava-dl@d825ac5, tutorials/lava/lib/dl/netx: pilotnet_snn/benchmark.ipynb, cell 15, pilotnet_sdnn/benchmark.ipynb, cell
13, oxford/run.ipynb, cell 12, mnist/run.ipynb, cell 21, yolo_kp/run.ipynb, cell 23. docs/validation.md sets every row
beside what they give.

A patch of a convolution is a power of two of columns by the map's height and channels, or these halved as often as
needed. Its weights are packed into words of 64 bits per input channel and tap, in groups of output channels whose sizes
are powers of two (36 is 32 and 4). A dense layer's synapse is a weight and the index of its neuron.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spikecut.deploy.placement.cores import LayerPlacement
from spikecut.deploy.placement.fan_out import core_times_ns
from spikecut.deploy.placement.hardware import Limits
from spikecut.deploy.placement.partition import DELAY_BITS, LIMITED, WORD_BITS, Load
from spikecut.export.network.arrays import IntArray, size
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.layers import IntegerLayer, passes_input

INDEX_BITS = 12
"""Of the neuron that a dense synapse reaches: the tables' words of dense layers come out with it, and it tells apart
the 4,095 neurons of a core that they count in."""
HEADER_BITS = 8
"""Of each axon, or group of channels. 2 to 8 give the same tables; at most 8 by oxford, 86 synapses in 27 words."""
NEURON_WORDS = 2
"""Memory of a neuron. From one table, mnist's: 2,688 words, 128 axons and 64 neurons are 14.72 % of 20,000."""
SEVEN_BITS = 8
"""What a weight of 7 bits takes. From one row, oxford's 256-200: 63 words for 200 synapses."""

POOLED = (*LIMITED, "memory_words_per_core")


def weight_bits(weight: IntArray) -> int:
    """Bits of a weight as netx gives them to the compiler (lava-dl 0.6.0, netx/utils.py, optimize_weight_bits)."""
    least, most = int(weight.min()), int(weight.max())
    magnitude = max(most, -least - 1) if least < 0 else most
    unit = int(np.gcd.reduce(weight, axis=None)) or 1
    common = (unit & -unit).bit_length() - 1  # the greatest power of two that divides every weight
    bits = magnitude.bit_length() + int(least < 0 <= most) - common
    return SEVEN_BITS if bits == 7 else max(1, min(bits, 8))


def powers_of_two(count: int) -> list[int]:
    """The powers of two that make up a number, largest first: 36 is 32 and 4."""
    return [1 << place for place in range(count.bit_length() - 1, -1, -1) if count >> place & 1]


def shared_words(channels: int, bits: int) -> int:
    """Words of one input channel and tap of a convolution, for so many output channels."""
    return sum(-(-(group * bits + HEADER_BITS) // WORD_BITS) for group in powers_of_two(channels))


def dense_words(neurons: int, bits: int) -> int:
    """Words of one axon that reaches so many neurons of a dense layer."""
    return -(-(neurons * (bits + INDEX_BITS) + HEADER_BITS) // WORD_BITS)


@dataclass(frozen=True)
class Cut:
    """One way to cut a layer.

    Attributes
    ----------
    shape: (width, height, channels) of a convolution's patch, or the neurons of a core as the only entry.
    cores: how many it takes. needs: by limit, what the fullest core takes.
    arriving: pixels that its patches listen to, over all cores; 0 for a dense layer.
    """

    shape: tuple[int, ...]
    cores: int
    needs: dict[str, int]
    arriving: int = 0


class Patches:
    """Cuts one layer. followers: what its messages lead to, layers and skips.

    steps: for how many what each of its synapses takes is relayed, which is a delay; by default that of a chain.
    """

    def __init__(
        self,
        layer: IntegerLayer,
        limits: Limits,
        followers: Sequence[Synapse],
        load: Load,
        steps: Sequence[int] | None = None,
    ) -> None:
        self.layer, self.followers, self.load = layer, followers, load
        self.steps = [0, *(1 for _ in layer.skips)] if steps is None else steps
        counts = ((name, getattr(limits, name)) for name in POOLED)
        self.limits = {name: count.limit for name, count in counts if count is not None and count.limit is not None}

    @cached_property
    def synapses(self) -> list[tuple[Synapse, int]]:
        """The synapses of the layer, of its skips and of what comes back to its maps with the bits of a weight, and of
        a delay where there is one.
        """
        synapses: list[Synapse] = [self.layer, *self.layer.skips]
        late = [bool(steps) for steps in self.steps]
        late[0] |= self._delay > 0
        found = [
            (each, weight_bits(each.weight) + DELAY_BITS * wait) for each, wait in zip(synapses, late, strict=True)
        ]
        back = self.layer.loop
        return found if back is None or back.kind == "dense" else [*found, (back, self._own_bits)]

    @property
    def _delay(self) -> int:
        return DELAY_BITS if self.layer.delay is not None and self.layer.delay.any() else 0

    @cached_property
    def _own_bits(self) -> int:
        return 0 if self.layer.recurrent is None else weight_bits(self.layer.recurrent) + self._delay

    @cached_property
    def cuts(self) -> list[Cut]:
        """Every cut that keeps the limits, the fewest cores first; none where a neuron alone breaks one."""
        if self.layer.kind == "dense":
            return list(self._dense_cuts())
        found = [cut for cut in map(self._convolution, self._shapes(_halved)) if self.breaks(cut) is None]
        if not found:  # no published row shows what becomes of an odd number
            found = [cut for cut in map(self._convolution, self._shapes(_rounded)) if self.breaks(cut) is None]
        return sorted(found, key=lambda cut: (cut.cores, cut.arriving, cut.shape))

    def fewest(self, bound: float = np.inf) -> Cut | None:
        """The cut into the fewest cores of which none takes longer than `bound` ns; None if there is none."""
        for cut in self.cuts:
            if bound == np.inf or self.busiest_ns(cut) <= bound:
                return cut
        return None

    def busiest_ns(self, cut: Cut) -> float:
        """Mean time of a step on the busiest core of a cut."""
        if cut.shape not in self._times:
            groups = self.groups(cut)
            placed = LayerPlacement(self.layer.name, groups, ())
            self._times[cut.shape] = float(core_times_ns(self.layer, self.load, placed).max())
        return self._times[cut.shape]

    @cached_property
    def _times(self) -> dict[tuple[int, ...], float]:
        return {}

    def breaks(self, cut: Cut) -> str | None:
        """The first limit that a cut breaks; None where it keeps all."""
        return next((name for name, limit in self.limits.items() if cut.needs[name] > limit), None)

    def problem(self) -> str:
        """The limit that one neuron alone breaks, with both numbers and what would make it fit."""
        alone = self._dense(1) if self.layer.kind == "dense" else self._convolution((1, 1, 1))
        name = self.breaks(alone)
        if name is None:
            return "no cut keeps all limits at once: make the layer smaller"
        need, limit = alone.needs[name], self.limits[name]
        inputs = "inputs" if self.layer.kind == "dense" else "inputs (channels of its group by taps)"
        fewer = f"give it at most {limit / need:.0%} of its {inputs}"
        return f"one neuron needs {need} {name.replace('_', ' ')}, the limit is {limit}: {fewer}"

    def groups(self, cut: Cut) -> tuple[IntArray, ...]:
        """Flat neuron indices per core, patch after patch along the map's columns, then its rows, then channels."""
        if self.layer.kind == "dense":
            neurons = self.layer.output_shape[0]
            return tuple(
                _frozen(np.arange(start, min(start + cut.shape[0], neurons)))
                for start in range(0, neurons, cut.shape[0])
            )
        channels, rows, columns = self.layer.output_shape
        index = np.arange(size(self.layer.output_shape)).reshape(self.layer.output_shape)
        width, height, depth = cut.shape
        return tuple(
            _frozen(index[c : c + depth, y : y + height, x : x + width].ravel())
            for c in range(0, channels, depth)
            for y in range(0, rows, height)
            for x in range(0, columns, width)
        )

    def _shapes(self, parts: Callable[[int], list[int]]) -> Iterator[tuple[int, int, int]]:
        channels, rows, columns = self.layer.output_shape
        for width in (1 << place for place in range((columns - 1).bit_length() + 1)):
            for height in parts(rows):
                for depth in parts(channels):
                    yield width, height, depth

    def _convolution(self, shape: tuple[int, int, int]) -> Cut:
        """The cut into such patches; the last of a row, column or channel may hold fewer."""
        width, height, depth = shape
        channels, rows, columns = self.layer.output_shape
        words = sum(_kernel_words(synapse, depth, bits) for synapse, bits in self.synapses)
        axons = len(self.synapses) * len(powers_of_two(depth))
        pixels = min(width, columns) * min(height, rows)
        # The tables count a power of two of columns, whether the map has them or not (pilotnet_snn: 16 of 20).
        needs = self._needs(width * height * depth, axons, words, pixels * len(powers_of_two(depth)), pixels * depth)
        cores = -(-columns // width) * -(-rows // height) * -(-channels // depth)
        arriving = 0
        for part, _ in self.synapses:
            taps, step, apart = part.weight.shape[2:], part.stride, part.dilation
            high, wide = (
                _listened(*each) for each in zip((rows, columns), (height, width), taps, step, apart, strict=True)
            )
            arriving += high * wide * -(-channels // depth)
        return Cut(shape, cores, needs, arriving)

    def _dense(self, neurons: int) -> Cut:
        """The cut into cores of so many neurons."""
        layer, total = self.layer, self.layer.output_shape[0]
        parts = [(size(synapse.input_shape), bits) for synapse, bits in self.synapses]
        reached = neurons
        if passes_input(layer):  # a synapse each, of an axon that is its own
            parts, reached = [(neurons, bits) for _, bits in parts], 1
        if layer.recurrent is not None:
            parts.append((total, self._own_bits))
        axons = sum(count for count, _ in parts)
        words = sum(count * dense_words(reached, each) for count, each in parts)
        return Cut((neurons,), -(-total // neurons), self._needs(neurons, axons, words, neurons, neurons))

    def _needs(self, neurons: int, axons: int, words: int, shared: int, own: int) -> dict[str, int]:
        """shared, own: entries of the output map towards a convolution and towards anything else."""
        towards = [shared if follower.kind == "conv" else own for follower in self.followers] or [own]
        if self.layer.recurrent is not None:
            towards.append(shared if self.layer.kind == "conv" else own)
        outputs = sum(towards)
        return {
            "neurons_per_core": neurons,
            "input_axons_per_core": axons,
            "synaptic_words_per_core": words,
            "words_per_axon": 0,
            "output_axons_per_core": outputs,
            "memory_words_per_core": words + axons + outputs + NEURON_WORDS * neurons,
        }

    def _dense_cuts(self) -> Iterator[Cut]:
        """So many cores as the most crowded limit is exceeded on one, then twice as many, and so on.

        The doubling is from one row, PilotNet's 2560-100: 61,440 words of 12,000, 12,800 on six cores, so 12.
        """
        total = self.layer.output_shape[0]
        whole = self._dense(total)
        cores = max((-(-whole.needs[name] // limit) for name, limit in self.limits.items()), default=1)
        last = 0
        while last != 1:
            last = -(-total // min(max(cores, 1), total))
            cut = self._dense(last)
            if self.breaks(cut) is None:
                yield cut
            cores *= 2


def _kernel_words(synapse: Synapse, depth: int, bits: int) -> int:
    """Words that the weights onto so many output channels take, once a core."""
    inputs, taps = synapse.weight.shape[1], size(synapse.weight.shape[2:])
    per_group = synapse.output_shape[0] // synapse.groups
    groups = max(1, -(-depth // per_group))
    words: int = groups * inputs * taps * shared_words(min(depth, per_group), bits)
    return words


def _listened(whole: int, part: int, taps: int, step: int, apart: int) -> int:
    """Input rows (or columns) that parts of so many output rows listen to, over all parts, borders included."""
    parts = [min(part, whole - start) for start in range(0, whole, part)]
    return sum((count - 1) * step + (taps - 1) * apart + 1 for count in parts)


def _halved(count: int) -> list[int]:
    """A number, its half, and so on while it is even."""
    found = [count]
    while found[-1] % 2 == 0:
        found.append(found[-1] // 2)
    return found


def _rounded(count: int) -> list[int]:
    """A number, its half rounded up, and so on to 1."""
    found = [count]
    while found[-1] > 1:
        found.append(-(-found[-1] // 2))
    return found


def _frozen(group: IntArray) -> IntArray:
    group.setflags(write=False)
    return group
