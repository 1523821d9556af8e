"""The cost model against an independent reading of it, message by message, and what must hold for any run."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cost.attribution import attribute
from spikecut.deploy.cost.estimate import CostEstimate, estimate
from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Chip, load_hardware
from spikecut.deploy.placement.place import place
from spikecut.deploy.run_trace import LayerEvents, RunTrace
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

SHIPPED = ("loihi1", "loihi1_davies2018", "loihi2", "loihi2_2026a", "horowitz45nm")

# An independent reading of the model: message by message, synapse by synapse, no matrices.


def all_synapses(layer: IntegerLayer) -> list[tuple[int, int]]:
    """(input neuron, output neuron) of every synapse with a non-zero weight."""
    if layer.kind == "dense":
        return [(int(i), int(o)) for o, i in np.argwhere(layer.weight)]
    _, height, width = layer.input_shape
    channels, rows, columns = layer.output_shape
    found = []
    for o, k, r, c in np.argwhere(layer.weight):
        source_channel = o // (channels // layer.groups) * layer.weight.shape[1] + k
        for y in range(rows):
            for x in range(columns):
                iy = y * layer.stride[0] - layer.padding[0] + r * layer.dilation[0]
                ix = x * layer.stride[1] - layer.padding[1] + c * layer.dilation[1]
                if 0 <= iy < height and 0 <= ix < width:
                    found.append((int((source_channel * height + iy) * width + ix), int((o * rows + y) * columns + x)))
    return found


def by_hand(trace: RunTrace, chip: Chip, placement: Placement, sample: int) -> tuple[float, float]:
    """Latency in ns and dynamic energy in pJ of one sample."""
    cost = {name: (item.energy_pJ.value or 0.0, item.time_ns.value or 0.0) for name, item in chip.costs}
    tables = [all_synapses(layer) for layer in trace.network.layers]
    energy = time = 0.0
    for step in range(int(trace.hardware_steps[sample])):
        gen = {core.index: 0.0 for placed in placement.layers for core in placed.cores}
        recv, out, synops, links = dict(gen), dict(gen), dict(gen), {}
        for depth, placed in enumerate(placement.layers):
            for group, core in zip(placed.groups, placed.cores, strict=True):
                for kind in ("neuron_access", "neuron_update"):
                    energy += group.size * cost[kind][0]
                    gen[core.index] += group.size * cost[kind][1]
                for fired in group[trace.events[depth + 1].raster[sample, step, group] != 0]:
                    energy += cost["spike"][0]
                    gen[core.index] += cost["spike"][1]
                    if depth + 1 == len(tables):
                        continue
                    after = placement.layers[depth + 1]
                    for target in {after.cores[after.core_of_neuron[o]] for i, o in tables[depth + 1] if i == fired}:
                        out[core.index] += cost["axon_out"][1]
                        for x in range(min(core.x, target.x), max(core.x, target.x)):
                            link = ("x", core.x < target.x, x, core.y)
                            links[link] = links.get(link, 0.0) + cost["hop_east_west"][1]
                        for y in range(min(core.y, target.y), max(core.y, target.y)):
                            link = ("y", core.y < target.y, y, target.x)
                            links[link] = links.get(link, 0.0) + cost["hop_north_south"][1]
                        energy += cost["axon_out"][0]
                        energy += abs(target.x - core.x) * cost["hop_east_west"][0]
                        energy += abs(target.y - core.y) * cost["hop_north_south"][0]
            layer = trace.network.layers[depth]
            dense = "synop_dense" if (layer.weight != 0).all() else "synop_sparse"
            storage = "synop_conv" if layer.kind == "conv" else dense
            for sent in np.flatnonzero(trace.events[depth].raster[sample, step]):
                hit = [placed.cores[placed.core_of_neuron[o]].index for i, o in tables[depth] if i == sent]
                for core_index in set(hit):
                    energy += cost["axon_in"][0] + hit.count(core_index) * cost[storage][0]
                    recv[core_index] += cost["axon_in"][1]
                    synops[core_index] += hit.count(core_index) * cost[storage][1]
        tiles = len({core.tile for placed in placement.layers for core in placed.cores})
        barrier = max(knot for knot in chip.barrier.time_ns_by_tiles if knot <= tiles)
        floor = chip.barrier.time_ns_by_tiles[barrier].value
        energy += chip.barrier.energy_pJ_per_step.value or 0.0
        if chip.timing == "maximum":
            sides = (gen, out, recv, synops, links)
            time += max(floor, *(figure for side in sides for figure in side.values()))
        else:
            time += max(*(gen[core] + out[core] for core in gen), *(recv[core] + synops[core] for core in gen)) + floor
    return time, energy


def neuron(count: int) -> IntegerNeuron:
    return IntegerNeuron(threshold=10, bias_mantissa=np.zeros(count, dtype=int))


@st.composite
def runs(draw: st.DrawFn) -> RunTrace:
    """Random small convolutional networks, really run by the batched engine."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, 1))
    rows = (4 + 2 * padding - 3) // stride + 1
    columns = 5 + 2 * padding - 2 + 1
    groups = draw(st.integers(1, 2))

    def weights(*shape: int) -> np.ndarray:
        return 2 * random.integers(-2, 6, shape) * (random.random(shape) < draw(st.sampled_from([0.5, 1.0])))

    first = IntegerLayer(
        "first",
        "conv",
        weights(4, 2 // groups, 3, 2),
        neuron(4),
        (2, 4, 5),
        (4, rows, columns),
        stride=(stride, 1),
        padding=(padding, padding),
        groups=groups,
    )
    second = IntegerLayer("second", "dense", weights(5, 4 * rows * columns), neuron(5), first.output_shape, (5,))
    third = IntegerLayer("third", "dense", weights(3, 5), neuron(3), (5,), (3,))
    network = IntegerNetwork((first, second, third), InputSpec((2, 4, 5), "events"), "count", horizon=3)
    inputs = (random.random((3, draw(st.integers(1, 3)), 2, 4, 5)) < draw(st.floats(0, 1))).astype(np.int32)
    return run_batched(network, inputs, record="all")


def cramped(neurons: int, name: str = "loihi1") -> Chip:
    """A chip with small cores on a narrow mesh; Loihi 2 with a floor so low that other bounds show."""
    chip = load_hardware(name)
    assert isinstance(chip, Chip)
    if chip.timing == "maximum":
        low = {
            tiles: leaf.model_copy(update={"value": 9.0 + tiles})
            for tiles, leaf in chip.barrier.time_ns_by_tiles.items()
        }
        chip = chip.model_copy(update={"barrier": chip.barrier.model_copy(update={"time_ns_by_tiles": low})})
    limits = {
        "neurons_per_core": neurons,
        "mesh_columns": 3,
        "mesh_rows": 43,
        "cores_per_tile": 2,
        "cores_per_chip": 256,
    }
    changed = {name: getattr(chip.limits, name).model_copy(update={"value": value}) for name, value in limits.items()}
    return chip.model_copy(update={"limits": chip.limits.model_copy(update=changed)})


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(trace=runs(), neurons=st.integers(4, 40), name=st.sampled_from(("loihi1", "loihi2")))
def test_equals_the_model_read_message_by_message(trace: RunTrace, neurons: int, name: str) -> None:
    chip = cramped(neurons, name)
    cost = estimate(trace, chip)
    assert attribute(trace, chip).time_s.total() == pytest.approx(cost.latency_s.value.mean(), rel=1e-12)
    placement = place(trace.network, chip)
    for sample in range(trace.samples):
        time, energy = by_hand(trace, chip, placement, sample)
        assert cost.latency_s.value[sample] * 1e9 == pytest.approx(time, rel=1e-12)
        assert cost.dynamic_energy_j.value[sample] * 1e12 == pytest.approx(energy, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(trace=runs(), name=st.sampled_from(SHIPPED))
def test_bands_are_ordered_and_the_unknown_stays_unknown(trace: RunTrace, name: str) -> None:
    cost = estimate(trace, name)
    for band in (cost.latency_s, cost.dynamic_energy_j, cost.static_energy_j, cost.energy_j):
        for low, value, high in zip(band.low, band.value, band.high, strict=True):
            assert np.isnan(low) or low <= value
            assert np.isnan(high) or value <= high
    assert cost.unknown_terms == estimate(silenced(trace), name).unknown_terms
    if name == "loihi2":
        assert np.isfinite(cost.energy_j.low).all() and np.isfinite(cost.energy_j.high).all()


def silenced(trace: RunTrace) -> RunTrace:
    """The same run without a single event."""
    nothing = tuple(
        replace(events, spikes=events.spikes * 0, synops=events.synops * 0, raster=events.raster * 0)
        for events in trace.events
    )
    return replace(trace, events=nothing)


def no_less(cost: CostEstimate, than: CostEstimate) -> bool:
    pairs = ((cost.latency_s, than.latency_s), (cost.energy_j, than.energy_j))
    return all(
        (getattr(more, edge) >= getattr(less, edge)).all() for more, less in pairs for edge in ("low", "value", "high")
    )


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(trace=runs(), data=st.data(), recorded=st.booleans(), neurons=st.integers(4, 40))
def test_more_spikes_never_cost_less(trace: RunTrace, data: st.DataObject, recorded: bool, neurons: int) -> None:
    """Silence some messages of a run, with the synaptic operations they caused."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    fewer: list[LayerEvents] = []
    arriving = trace.events[0].synops
    for depth, events in enumerate(trace.events):
        raster = events.raster * (random.random(events.raster.shape) < 0.6)
        fewer.append(replace(events, raster=raster, spikes=(raster != 0).sum(axis=2), synops=arriving))
        if depth < len(trace.network.layers):
            fan = np.zeros(raster.shape[2], dtype=np.int64)
            np.add.at(fan, [i for i, _ in all_synapses(trace.network.layers[depth])], 1)
            arriving = (raster != 0) @ fan
    less = replace(trace, events=tuple(fewer))
    if not recorded:
        trace, less = (
            replace(run, events=tuple(replace(events, raster=None) for events in run.events)) for run in (trace, less)
        )
    assert no_less(estimate(trace, cramped(neurons)), estimate(less, cramped(neurons)))


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(trace=runs(), steps=st.integers(4, 6), name=st.sampled_from(("loihi1", "loihi2")))
def test_fewer_steps_never_cost_more(trace: RunTrace, steps: int, name: str) -> None:
    """The same events, a run that ended earlier: the last events are gone with their steps."""
    events = tuple(
        replace(item, spikes=item.spikes[:, :steps], synops=item.synops[:, :steps], raster=item.raster[:, :steps])
        for item in trace.events
    )
    shorter = replace(trace, hardware_steps=np.full(trace.samples, steps), events=events)
    assert no_less(estimate(trace, name), estimate(shorter, name))
    empty, longer = silenced(shorter), replace(silenced(trace), hardware_steps=np.full(trace.samples, 6))
    assert steps == 6 or (estimate(longer, name).latency_s.value > estimate(empty, name).latency_s.value).all()
