from dataclasses import replace
from itertools import combinations, pairwise
from math import ceil

import numpy as np
import pytest
from core_needs import around, needs, synapses
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import with_loop, with_skip

from spikecut.deploy.placement.capabilities import check_capabilities
from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.fan_out import fan_out_per_core, recurrent_fan_out_per_core
from spikecut.deploy.placement.hardware import Chip, load_hardware
from spikecut.deploy.placement.mesh import busy_at_rates_ns
from spikecut.deploy.placement.patches import POOLED
from spikecut.deploy.placement.place import place
from spikecut.errors import CapabilityError, InputError, Refusal
from spikecut.export.network.adaptation import Adaptation
from spikecut.export.network.connectivity import recurrent_fan_out
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron


def loihi(name: str = "loihi1", **limits: int | None) -> Chip:
    chip = load_hardware(name)
    assert isinstance(chip, Chip)
    changed = {key: getattr(chip.limits, key).model_copy(update={"value": value}) for key, value in limits.items()}
    return chip.model_copy(update={"limits": chip.limits.model_copy(update=changed)})


def dense(name: str, inputs: tuple[int, ...], outputs: int, **neuron: object) -> IntegerLayer:
    weight = np.full((outputs, int(np.prod(inputs))), 2)
    bias = np.zeros(outputs, dtype=int)
    return IntegerLayer(name, "dense", weight, IntegerNeuron(10, bias, **neuron), inputs, (outputs,))


def conv(name: str, shape: tuple[int, int, int], outputs: int, kernel: int = 3, **geometry: object) -> IntegerLayer:
    pair = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), **geometry}
    groups = pair.get("groups", 1)
    weight = np.full((outputs, shape[0] // groups, kernel, kernel), 2)
    size = [
        (n + 2 * p - d * (kernel - 1) - 1) // s + 1
        for n, p, d, s in zip(shape[1:], pair["padding"], pair["dilation"], pair["stride"], strict=True)
    ]
    neuron = IntegerNeuron(10, np.zeros(outputs, dtype=int))
    return IntegerLayer(name, "conv", weight, neuron, shape, (outputs, *size), **pair)


def chain(*layers: IntegerLayer, bits: int = 0) -> IntegerNetwork:
    spec = InputSpec(layers[0].input_shape, "direct", bits=bits)
    readout = "membrane" if layers[-1].neuron.reset == "none" else "count"
    return IntegerNetwork(layers, spec, readout, horizon=4)


def sizes(placement: Placement) -> list[list[int]]:
    return [[int(n) for n in layer.neurons] for layer in placement.layers]


def test_one_core_a_layer_and_none_shared() -> None:
    placement = place(chain(dense("a", (20,), 10), dense("b", (10,), 5)), loihi())
    assert sizes(placement) == [[10], [5]]
    assert [core.index for layer in placement.layers for core in layer.cores] == [0, 1]
    assert (placement.cores, placement.tiles, placement.chips, placement.unchecked) == (2, 1, 1, ())


def test_dense_is_cut_by_neuron_ranges() -> None:
    placement = place(chain(dense("a", (4,), 7)), loihi(neurons_per_core=3))
    assert [group.tolist() for group in placement.layers[0].groups] == [[0, 1, 2], [3, 4], [5, 6]]
    assert placement.layers[0].core_of_neuron.tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_convolution_is_cut_along_space() -> None:
    placement = place(chain(conv("a", (1, 4, 4), 3)), loihi(neurons_per_core=6))
    assert [group.tolist() for group in placement.layers[0].groups] == [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]


def test_input_axons_cut_a_convolution_but_not_a_dense_layer() -> None:
    assert sizes(place(chain(conv("a", (1, 8, 3), 1)), loihi(input_axons_per_core=12))) == [[2, 2, 2]]
    with pytest.raises(CapabilityError, match=r"layer a does not fit: one neuron needs 13 input axons per core, .* 12"):
        place(chain(dense("a", (13,), 2)), loihi(input_axons_per_core=12))


def test_synaptic_words_round_up_per_axon() -> None:
    # 10 axons onto 16 neurons are 2 words each, onto 8 neurons 1 word, onto 17 neurons 3 words.
    assert sizes(place(chain(dense("a", (10,), 16)), loihi(synaptic_words_per_core=20))) == [[16]]
    assert sizes(place(chain(dense("a", (10,), 17)), loihi(synaptic_words_per_core=20))) == [[9, 8]]
    assert sizes(place(chain(dense("a", (10,), 16)), loihi(synaptic_words_per_core=19))) == [[8, 8]]


def test_words_of_one_axon() -> None:
    assert sizes(place(chain(dense("a", (2,), 17)), loihi(words_per_axon=2))) == [[9, 8]]


def test_output_axons_count_destination_cores() -> None:
    network = chain(dense("a", (2,), 6), dense("b", (6,), 6))
    assert sizes(place(network, loihi(neurons_per_core=2, output_axons_per_core=6))) == [[2, 2, 2], [2, 2, 2]]
    assert sizes(place(network, loihi(neurons_per_core=2, output_axons_per_core=5))) == [[1] * 6, [2, 2, 2]]
    with pytest.raises(CapabilityError, match="layer a does not fit: one neuron needs 3 output axons per core"):
        place(network, loihi(neurons_per_core=2, output_axons_per_core=2))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(CapabilityError, match=r"layer wide .*position with all its channels needs 20 neurons per core"):
        place(chain(conv("wide", (1, 4, 4), 20)), loihi(neurons_per_core=19))
    with pytest.raises(CapabilityError, match=r"layer wide does not fit: .* 9 synaptic words per core, the limit is 8"):
        place(chain(conv("wide", (1, 4, 4), 2)), loihi(synaptic_words_per_core=8))


def test_unknown_limit_is_not_checked_and_said() -> None:
    placement = place(chain(dense("a", (4,), 300)), loihi(neurons_per_core=None))
    assert sizes(placement) == [[300]]
    assert placement.unchecked == ("neurons_per_core",)


def test_tiles_mesh_and_chips() -> None:
    placement = place(chain(dense("a", (2,), 130)), loihi(neurons_per_core=1))
    cores = placement.layers[0].cores
    assert [(c.chip, c.tile, c.x, c.y) for c in cores[:5]] == [(0, 0, 0, 0)] * 4 + [(0, 1, 1, 0)]
    assert [(c.chip, c.tile, c.x, c.y) for c in (cores[31], cores[32], cores[127])] == [
        (0, 7, 7, 0),
        (0, 8, 0, 1),
        (0, 31, 7, 3),
    ]
    assert (cores[128].chip, cores[128].tile, cores[128].x, cores[128].y) == (1, 0, 8, 0)
    assert (placement.chips, placement.tiles) == (2, 32)


def test_ntidigits_takes_half_the_published_cores() -> None:
    network = chain(dense("a", (64,), 256), dense("b", (256,), 256), dense("c", (256,), 242))
    assert place(network, loihi()).cores == 3  # the published count is 6; see docs/cost_model.md


def test_arithmetic_profile_has_no_cores() -> None:
    with pytest.raises(CapabilityError, match="horowitz45nm has no cores"):
        place(chain(dense("a", (2,), 2)), load_hardware("horowitz45nm"))


def test_capabilities() -> None:
    plain = chain(dense("a", (2,), 2))
    soft = chain(dense("a", (2,), 2, reset="subtract"))
    started = chain(dense("a", (2,), 2, v_init=5))
    membrane = chain(dense("a", (2,), 2), dense("b", (2,), 2, reset="none"))
    graded = chain(dense("a", (2,), 2), bits=8)
    all_missing = chain(dense("a", (2,), 2, reset="subtract", v_init=1), dense("b", (2,), 2, reset="none"), bits=4)
    wanted = [
        (plain, []),
        (soft, ["soft reset"]),
        (started, ["initial state (v starts at another value than 0)"]),
        (membrane, ["graded spikes (the readout sends its membrane)"]),
        (graded, ["graded spikes (the input's messages carry 8 bits)"]),
    ]
    for network, missing in wanted:
        assert check_capabilities(network, loihi()) == tuple(Refusal(loihi().name, feature) for feature in missing)
        assert check_capabilities(network, loihi("loihi2")) == ()
        assert check_capabilities(network, load_hardware("horowitz45nm")) == ()
    assert len(check_capabilities(all_missing, loihi())) == 4
    another = chain(dense("a", (2,), 2, reset="subtract", reset_amount=10**6))
    assert [each.feature for each in check_capabilities(another, loihi())] == ["soft reset"]
    resting = chain(dense("a", (2,), 2, refractory=2))
    assert check_capabilities(resting, loihi()) == ()
    resting = chain(dense("a", (2,), 2, reset="subtract", refractory=2))
    rests = "programmable neurons (a refractory period)"
    assert [each.feature for each in check_capabilities(resting, loihi())] == ["soft reset", rests]
    adapts = chain(dense("a", (2,), 2, reset="adapt", adaptation=Adaptation(100, 20, 300)))
    assert [each.feature for each in check_capabilities(adapts, loihi())] == [
        "programmable neurons (an adaptive threshold)"
    ]
    chip = loihi()
    able = chip.capabilities.model_copy(update={"soft_reset": True})
    floor = chip.arithmetic.model_copy(update={"negative_membrane": False})
    simple = chip.model_copy(update={"capabilities": able, "arithmetic": floor})
    assert check_capabilities(soft, simple) == ()
    assert [each.feature for each in check_capabilities(another, simple)] == [
        "programmable neurons (a soft reset by another amount than the threshold)",
        "negative membranes (a soft reset by more than the threshold)",
    ]


@st.composite
def small_networks(draw: st.DrawFn) -> IntegerNetwork:
    channels = draw(st.sampled_from([1, 2]))
    first = conv(
        "first",
        (channels, draw(st.integers(4, 6)), draw(st.integers(4, 6))),
        2 * channels,
        draw(st.integers(1, 3)),
        stride=(draw(st.integers(1, 2)), 1),
        padding=(draw(st.integers(0, 1)), draw(st.integers(0, 1))),
        groups=draw(st.sampled_from([1, channels])),
    )
    second = dense("second", first.output_shape, draw(st.integers(1, 12)))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    layers = [layer.with_weight(2 * random.integers(-1, 2, layer.weight.shape)) for layer in (first, second)]
    if draw(st.integers(0, 2)) == 0:  # over a convolution from the input, over a dense layer from a convolution
        between = conv("between", first.output_shape, 2, 3, padding=(1, 1))
        between = with_skip(random, between, ("input", first.input_shape))
        second = dense("second", between.output_shape, draw(st.integers(1, 12)))
        layers = [
            layers[0],
            between,
            second,
            with_skip(random, dense("third", (second.output_shape[0],), 3), ("between", between.output_shape)),
        ]
        if draw(st.booleans()):  # beside the dense layer another one, which reads the first, and the third both
            beside = replace(dense("beside", first.output_shape, 4), source="first")
            third = with_skip(random, with_skip(random, layers[3], ("beside", (4,))), ("second", second.output_shape))
            layers[2:] = [second, beside, replace(third, source="second")]
    return chain(*layers)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(network=small_networks(), data=st.data())
def test_every_core_keeps_the_limits_and_one_core_fewer_does_not(network: IntegerNetwork, data: st.DataObject) -> None:
    limits = {
        "neurons_per_core": data.draw(st.integers(4, 40)),
        "synaptic_words_per_core": data.draw(st.integers(60, 300)),
        "output_axons_per_core": data.draw(st.integers(20, 100)),
    }
    try:
        placement = place(network, loihi(**limits))
    except CapabilityError as error:
        assert "does not fit" in str(error)
        return
    for index, (layer, placed) in enumerate(zip(network.layers, placement.layers, strict=True)):
        assert sorted(np.concatenate(placed.groups).tolist()) == list(range(int(np.prod(layer.output_shape))))
        counted = needs(network, placement, index)
        assert all(counted[name] <= limit for name, limit in limits.items())
        fewer = len(placed.cores) - 1
        if fewer:
            units = layer.output_shape[0] if layer.kind == "dense" else int(np.prod(layer.output_shape[1:]))
            part = np.tile(np.arange(units) * fewer // units, 1 if layer.kind == "dense" else layer.output_shape[0])
            groups = tuple(np.flatnonzero(part == core) for core in range(fewer))
            layers = list(placement.layers)
            layers[index] = replace(placed, groups=groups, cores=placed.cores[:fewer])
            counted = needs(network, replace(placement, layers=tuple(layers)), index)
            assert any(counted[name] > limit for name, limit in limits.items())


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(network=small_networks(), neurons=st.integers(4, 20), name=st.sampled_from(["loihi1", "loihi2"]))
def test_fan_out_per_core_counts_the_synapses(network: IntegerNetwork, neurons: int, name: str) -> None:
    """Also where channels of a position sit on several cores, as on Loihi 2."""
    placement = place(network, loihi(name, neurons_per_core=neurons))
    for layer, placed in zip(network.layers, placement.layers, strict=True):
        want = np.zeros((int(np.prod(layer.input_shape)), len(placed.cores)), dtype=np.int64)
        for source, target, weight in synapses(layer):
            want[source, placed.core_of_neuron[target]] += weight != 0
        assert np.array_equal(fan_out_per_core(layer, placed), want)
        for skip in layer.skips:
            want = np.zeros((int(np.prod(skip.input_shape)), len(placed.cores)), dtype=np.int64)
            for source, target, weight in synapses(skip):
                want[source, placed.core_of_neuron[target]] += weight != 0
            assert np.array_equal(fan_out_per_core(skip, placed), want)


def test_limits_are_those_of_the_schema() -> None:
    assert set(POOLED) | {"cores_per_chip", "cores_per_tile", "mesh_columns", "mesh_rows"} == set(dict(loihi().limits))


# Recurrent layers, delays, and the balance of the cores.


def recurrent(name: str, inputs: int, outputs: int) -> IntegerLayer:
    return replace(dense(name, (inputs,), outputs), recurrent=np.full((outputs, outputs), 2))


def test_own_neurons_of_a_recurrent_layer_are_axons_of_all_its_cores() -> None:
    network = chain(recurrent("a", 4, 6), dense("b", (6,), 2))
    assert sizes(place(network, loihi(neurons_per_core=2))) == [[2, 2, 2], [2]]
    assert sizes(place(network, loihi(neurons_per_core=2, input_axons_per_core=10))) == [[2, 2, 2], [2]]
    with pytest.raises(CapabilityError, match=r"layer a does not fit: one neuron needs 10 input axons per core, .* 9"):
        place(network, loihi(input_axons_per_core=9))
    # 4 axons of 6 synapses and 6 own ones: a word each; and each neuron reaches 3 own cores and that of b
    assert sizes(place(network, loihi(synaptic_words_per_core=10))) == [[6], [2]]
    assert sizes(place(network, loihi(neurons_per_core=2, output_axons_per_core=8))) == [[2, 2, 2], [2]]
    with pytest.raises(CapabilityError, match="layer a does not fit"):
        place(network, loihi(neurons_per_core=2, output_axons_per_core=3))
    placed = place(network, loihi(neurons_per_core=2)).layers[0]
    assert recurrent_fan_out_per_core(network.layers[0], placed).tolist() == [[2, 2, 2]] * 6


@given(seed=st.integers(0, 99), neurons=st.integers(6, 30))
@settings(max_examples=20, deadline=None)
def test_maps_that_come_back_keep_the_limits_and_reach_only_cores_nearby(seed: int, neurons: int) -> None:
    layer = with_loop(np.random.default_rng(seed), conv("a", (2, 6, 5), 4, padding=(1, 1)))
    network = chain(layer, dense("b", (4, 6, 5), 2))
    limits = {"neurons_per_core": neurons, "output_axons_per_core": 8 * neurons}
    try:
        placement = place(network, loihi(**limits))
    except CapabilityError:
        return
    counted, placed = needs(network, placement, 0), placement.layers[0]
    assert all(counted[name] <= limit for name, limit in limits.items())
    want = np.zeros((120, len(placed.cores)), dtype=int)
    for source, target, weight in synapses(around(layer)[0]):
        want[source, placed.core_of_neuron[target]] += weight != 0
    assert np.array_equal(recurrent_fan_out_per_core(layer, placed), want)
    assert np.array_equal(recurrent_fan_out(layer), want.sum(axis=1))
    place(network, load_hardware("loihi2"))


def test_delays_take_memory() -> None:
    plain = dense("a", (10,), 8)  # 8 synapses of 8 bits are one word, of 14 bits two
    late = replace(plain, delay=np.full((8, 10), 3))
    assert sizes(place(chain(plain), loihi(synaptic_words_per_core=10))) == [[8]]
    assert sizes(place(chain(late), loihi(synaptic_words_per_core=10))) == [[4, 4]]


def uneven() -> tuple[IntegerNetwork, list[np.ndarray]]:
    """A dense layer whose first neurons receive, and send, nearly everything."""
    weight = np.zeros((12, 10), dtype=int)
    weight[:3] = 2
    weight[3:, 0] = 2
    layer = dense("a", (10,), 12).with_weight(weight)
    sent = np.array([0.9, 0.8, 0.9] + [0.05] * 9)
    network = chain(layer, dense("b", (12,), 2))
    return network, [np.full(10, 0.5), sent, np.zeros(2)]


@pytest.mark.parametrize("cores", [2, 3, 4])
def test_no_cut_into_as_many_cores_has_a_lighter_busiest_one(cores: int) -> None:
    network, rates = uneven()
    chip = loihi(neurons_per_core=ceil(12 / cores) + 3)
    needed = sizes(place(network, chip, rates=rates))
    found = place(network, chip, cores=cores + 1, rates=rates)
    assert len(needed[0]) <= len(found.layers[0].cores) <= cores
    busiest = max(float(times.max()) for times in busy_at_rates_ns(network, chip, found, rates))
    for ends in combinations(range(1, 12), cores - 1):
        bounds = [0, *ends, 12]
        groups = tuple(np.arange(a, b) for a, b in pairwise(bounds))
        if max(group.size for group in groups) > ceil(12 / cores) + 3:
            continue
        first = replace(found.layers[0], groups=groups, cores=tuple(range(cores)))
        other = busy_at_rates_ns(network, chip, replace(found, layers=(first, found.layers[1])), rates)
        assert busiest <= max(float(times.max()) for times in other) * (1 + 1e-5)


def test_more_cores_never_make_the_busiest_one_busier() -> None:
    network, rates = uneven()
    busiest = []
    for cores in range(2, 9):
        found = place(network, loihi(), cores=cores, rates=rates)
        assert found.cores <= cores
        busiest.append(max(float(times.max()) for times in busy_at_rates_ns(network, loihi(), found, rates)))
    assert all(more <= less * (1 + 1e-5) for less, more in pairwise(busiest))
    assert busiest[-1] < busiest[0]


def test_a_balanced_cut_beats_filling_core_after_core() -> None:
    network = chain(dense("a", (10,), 11), dense("b", (11,), 2))
    assert sizes(place(network, loihi(neurons_per_core=10))) == [[6, 5], [2]]  # a naive fill takes 10 and 1


def test_too_few_cores_and_wrong_rates_are_named() -> None:
    network, rates = uneven()
    with pytest.raises(CapabilityError, match="needs 4 cores of loihi1, 3 were given"):
        place(network, loihi(neurons_per_core=4), cores=3)
    with pytest.raises(InputError, match="rates of shapes"):
        place(network, loihi(), rates=rates[:2])


def test_even_runs_do_not_cost_another_layer_a_core() -> None:
    """Cut evenly, the second layer's cores both hear all of the first, whose core is then busier than the bound."""
    network = chain(
        conv("first", (1, 5, 4), 2, padding=(1, 0)),
        conv("between", (2, 5, 2), 2, padding=(1, 1)),
        dense("hidden", (2, 5, 2), 1),
        dense("out", (1,), 3),
    )
    chip = loihi(neurons_per_core=20)
    assert place(network, chip).cores == 4
    assert [place(network, chip, cores=cores).cores for cores in (5, 6)] == [5, 6]


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(network=small_networks(), extra=st.integers(0, 6), neurons=st.integers(6, 30))
def test_a_given_number_of_cores_keeps_every_limit(network: IntegerNetwork, extra: int, neurons: int) -> None:
    chip = loihi(neurons_per_core=neurons)
    fewest = place(network, chip)
    found = place(network, chip, cores=fewest.cores + extra)
    assert found.cores <= fewest.cores + extra
    for index in range(len(network.layers)):
        assert needs(network, found, index)["neurons_per_core"] <= neurons
    before, after = (
        max(float(times.max()) for times in busy_at_rates_ns(network, chip, placed)) for placed in (fewest, found)
    )
    assert after <= before * (1 + 1e-5)
