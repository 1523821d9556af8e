from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_chip import example_data, leaf, written

from spikecut.deploy.cost.estimate import estimate
from spikecut.deploy.cost.savings import Ratio, savings
from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.placement.hardware import Chip, load_hardware
from spikecut.deploy.run_trace import LayerEvents, RunTrace
from spikecut.errors import CapabilityError, InputError
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Chip:
    chip = load_hardware(written(tmp_path_factory.mktemp("hardware"), example_data()))
    assert isinstance(chip, Chip)
    return chip


def neuron(count: int, **fields: object) -> IntegerNeuron:
    return IntegerNeuron(threshold=10, bias_mantissa=np.zeros(count, dtype=int), **fields)


def example_network(**fields: object) -> IntegerNetwork:
    hidden = IntegerLayer("hidden", "dense", [[2, 2], [2, 0], [0, 4]], neuron(3), (2,), (3,))
    output = IntegerLayer("output", "dense", [[2, 2, 2], [4, 2, 2]], neuron(2, **fields), (3,), (2,))
    readout = "membrane" if fields.get("reset") == "none" else "count"
    return IntegerNetwork((hidden, output), InputSpec((2,), "events"), readout, horizon=2, name="example")


INPUT = [[1, 1], [1, 0], [0, 0], [0, 0]]
HIDDEN = [[0, 0, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]]
OUTPUT = [[0, 0], [0, 0], [0, 1], [1, 1]]
HIDDEN_SYNOPS = [4, 2, 0, 0]
OUTPUT_SYNOPS = [0, 4, 2, 0]


def layer_events(name: str, raster: list[list[int]], synops: list[int], recorded: bool = True) -> LayerEvents:
    messages = np.array([raster], dtype=np.int32)
    spikes = (messages != 0).sum(axis=2)
    return LayerEvents(name, (messages.shape[2],), spikes, np.array([synops]), messages if recorded else None)


def example_trace(steps: int = 4, recorded: bool = True, network: IntegerNetwork | None = None) -> RunTrace:
    """One sample that ran `steps` of the four hardware steps."""
    timesteps = steps - 2
    return RunTrace(
        scores=np.zeros((2, 1, 2), dtype=np.int64),
        valid=np.arange(2)[:, None] < timesteps,
        timesteps=np.array([timesteps]),
        hardware_steps=np.array([steps]),
        reason=(ExitReason.HORIZON if timesteps == 2 else ExitReason.CUTOFF,),
        network=network or example_network(),
        backend="by hand",
        events=(
            layer_events("input", INPUT[:steps], [0] * steps, recorded),
            layer_events("hidden", HIDDEN[:steps], HIDDEN_SYNOPS[:steps], recorded),
            layer_events("output", OUTPUT[:steps], OUTPUT_SYNOPS[:steps], recorded),
        ),
    )


def edges(band: Any) -> tuple[float, float, float]:
    return band.low[0], band.value[0], band.high[0]


def test_worked_example(example: Chip) -> None:
    cost = estimate(example_trace(), example)
    placement = cost.placement
    assert placement is not None
    assert [[group.tolist() for group in layer.groups] for layer in placement.layers] == [[[0, 1], [2]], [[0, 1]]]
    assert [(core.x, core.y) for layer in placement.layers for core in layer.cores] == [(0, 0), (1, 0), (0, 1)]
    assert edges(cost.latency_s) == (341.5e-9, 683e-9, 1366e-9)
    assert edges(cost.dynamic_energy_j) == (311e-12, 622e-12, 1244e-12)
    assert edges(cost.static_energy_j) == (341.5e-12, 1366e-12, 5464e-12)
    assert edges(cost.energy_j) == (652.5e-12, 1988e-12, 6708e-12)
    assert cost.steps.tolist() == [4]
    assert cost.unknown_time == ("monitor time", "monitor messages", "monitor delay", "host input and output")
    energy = ("barrier energy", "reset energy", "monitor energy", "monitor messages", "monitor delay")
    assert cost.unknown_dynamic == (*energy, "host input and output")
    # Static energy is power × time, so that it lacks what the time lacks.
    assert cost.unknown_static == cost.unknown_time
    assert cost.unknown_energy == (*energy, "host input and output", "monitor time")
    assert cost.assumptions == (
        "every neuron of a core in use is updated at every step",
        "messages take no time on the mesh",
        "no embedded management between steps",
    )
    assert cost.hypothetical == ()


def test_worked_example_cut(example: Chip) -> None:
    cost = estimate(example_trace(3), example)
    assert edges(cost.latency_s) == (259.5e-9, 519e-9, 1038e-9)
    assert cost.dynamic_energy_j.value[0] == 507e-12
    assert cost.energy_j.value[0] == 1545e-12


def test_worked_example_savings(example: Chip) -> None:
    full, cut = example_trace(), example_trace(3)
    saved = savings(full, cut, {"example": (estimate(full, example), estimate(cut, example))})
    assert saved.naive == {"steps": 1 / 2}
    assert saved.isolated["steps"] == 3 / 4
    assert saved.streaming == {"steps": 1.0, "example": {"latency": Ratio(1, 1, 1), "energy": Ratio(1, 1, 1)}}
    assert saved.costlier_samples == {"example": None}
    ratios = saved.isolated["example"]
    assert isinstance(ratios, dict) and isinstance(ratios["latency"], Ratio) and isinstance(ratios["energy"], Ratio)
    assert ratios["latency"].value == 519e-9 / 683e-9
    assert ratios["energy"].value == 1545e-12 / 1988e-12
    assert ratios["energy"].low <= ratios["energy"].value <= ratios["energy"].high
    assert round(saved.break_even["example"]["time_ns"], 9) == round(164 / 3, 9)
    assert round(saved.break_even["example"]["energy_pJ"], 9) == round(443 / 3, 9)
    assert saved.unknown_terms["example"] == estimate(cut, example).unknown_terms
    assert saved.notes == ("the cutoff saves no throughput here: back to back, samples start every T steps anyway",)


def test_worked_example_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "cost_model.md").read_text()
    for figure in ("683 ns", "622 pJ", "1366 pJ", "1988 pJ", "519 ns", "507 pJ", "1545 pJ"):
        assert figure in text


def test_without_messages_events_are_split_evenly_and_it_says_so(example: Chip) -> None:
    cost = estimate(example_trace(recorded=False), example)
    assert cost.assumptions[3:] == (
        "layer hidden: messages not recorded, axons, fired, messages, hops, synops split evenly (2 cores)",
    )
    # Half of the input's 3 messages are taken to reach the second core, where really one did: 4.5 axons for 4.
    assert cost.dynamic_energy_j.value[0] == 622.5 / 1e12


def test_one_core_a_layer_needs_no_messages(tmp_path: Path) -> None:
    path = written(tmp_path, example_data(neurons_per_core=4))
    network = example_network()
    solid = replace(network, layers=(network.layers[0].with_weight([[2, 2], [2, 4], [6, 4]]), network.layers[1]))
    trace = example_trace(network=solid)
    synops = replace(trace.events[1], synops=np.array([[6, 3, 0, 0]]))
    recorded = replace(trace, events=(trace.events[0], synops, trace.events[2]))
    silent = replace(recorded, events=tuple(replace(events, raster=None) for events in recorded.events))
    with_messages, without = estimate(recorded, path), estimate(silent, path)
    assert without.assumptions == with_messages.assumptions
    assert edges(without.energy_j) == edges(with_messages.energy_j)
    assert edges(without.latency_s) == edges(with_messages.latency_s)


def test_monitor_is_charged_when_known(tmp_path: Path, example: Chip) -> None:
    data = example_data()
    data["monitor"] = {
        "messages_per_step": leaf(2, 2, 2),
        "time_ns_per_step": leaf(50, 50, 50),
        "energy_pJ_per_step": leaf(11, 11, 11),
        "delay_steps": leaf(1, 1, 1),
    }
    cost = estimate(example_trace(), written(tmp_path, data))
    # 4 steps of 50 ns. The output core generates 6 ns more in each step, which shows only where it is the slowest: in
    # the third (16 for 14) and fourth (20 for 14).
    assert cost.latency_s.value[0] == (683 + 200 + 2 + 6) / 1e9
    assert cost.dynamic_energy_j.value[0] == (622 + 4 * 11 + 4 * 2 * 30) / 1e12
    assert not any("monitor" in term for term in cost.unknown_terms)
    assert not any("run again" in line for line in cost.assumptions)


def test_a_delay_that_the_run_did_not_have_is_said(tmp_path: Path) -> None:
    data = example_data()
    data["monitor"]["delay_steps"] = leaf(1, 1, 2)
    cost = estimate(example_trace(3), written(tmp_path, data))
    said = "the run halted [0] steps after the decision, this monitor takes 1: not charged"
    assert any(line.startswith(said) for line in cost.assumptions)
    assert "monitor delay" in cost.unknown_time and "monitor delay" in cost.unknown_energy


def test_reset_management_and_barrier_energy(tmp_path: Path) -> None:
    data = example_data()
    data["reset"]["energy_pJ_per_sample"] = leaf(1000, 1000, 1000)
    data["barrier"]["energy_pJ_per_step"] = leaf(100, 100, 100)
    data["management"]["time_ns_per_step"] = leaf(7, 7, 7)
    cost = estimate(example_trace(), written(tmp_path, data))
    assert cost.dynamic_energy_j.value[0] == (622 + 1000 + 400) / 1e12
    assert cost.latency_s.value[0] == (683 + 28) / 1e9
    assert "reset energy" not in cost.unknown_terms and "barrier energy" not in cost.unknown_terms


def test_barrier_interpolated(tmp_path: Path) -> None:
    data = example_data()
    data["barrier"]["between"] = "linear"
    cost = estimate(example_trace(), written(tmp_path, data))
    assert cost.latency_s.value[0] == (683 + 4 * 50) / 1e9
    assert "barrier for 3 tiles interpolated" in cost.assumptions


def test_several_chips_draw_static_power_each_and_lack_the_links(tmp_path: Path) -> None:
    cost = estimate(example_trace(), written(tmp_path, example_data(cores_per_chip=2, mesh_rows=1)))
    assert cost.placement is not None and cost.placement.chips == 2
    assert cost.static_energy_j.value[0] == 2 * 2e-3 * cost.latency_s.value[0]
    assert "links between chips" in cost.unknown_time and "links between chips" in cost.unknown_energy


def test_unknown_numbers_are_listed_never_zero() -> None:
    cost = estimate(example_trace(), "loihi1_davies2018")
    assert {"spike time", "axon in time"} <= set(cost.unknown_time)
    assert {"spike energy", "axon in energy", "static power", "reset energy"} <= set(cost.unknown_energy)
    assert np.isnan(edges(cost.static_energy_j)).all()
    assert cost.energy_j.value[0] == cost.dynamic_energy_j.value[0] > 0
    assert np.isnan(cost.latency_s.low[0]) and np.isnan(cost.energy_j.high[0])


def test_no_time_known_is_no_time(tmp_path: Path) -> None:
    data = example_data()
    for cost in data["costs"].values():
        cost["time_ns"] = leaf(None)
    data["barrier"]["time_ns_by_tiles"] = {1: leaf(None)}
    data["management"]["time_ns_per_step"] = leaf(None)
    cost = estimate(example_trace(), written(tmp_path, data))
    assert np.isnan(edges(cost.latency_s)).all() and np.isnan(edges(cost.static_energy_j)).all()
    assert cost.energy_j.value[0] == 622e-12


def test_arithmetic_profile_counts_operations_only() -> None:
    binary = estimate(example_trace(), "horowitz45nm")
    assert binary.energy_j.value[0] == pytest.approx(12 * 0.9e-12, rel=1e-15)
    graded = replace(example_network(), input=InputSpec((2,), "events", bits=4))
    assert estimate(example_trace(network=graded), "horowitz45nm").energy_j.value[0] == pytest.approx(
        (6 * 4.6 + 6 * 0.9) * 1e-12, rel=1e-15
    )
    assert np.isnan(edges(binary.latency_s)).all() and np.isnan(edges(binary.static_energy_j)).all()
    assert binary.unknown_time == ("all of the time",)
    assert {"memory", "static power"} <= set(binary.unknown_energy)
    assert binary.placement is None
    full, cut = example_trace(), example_trace(3)
    saved = savings(full, cut, {"h": (binary, estimate(cut, "horowitz45nm"))})
    assert saved.isolated["h"]["latency"] is None
    assert saved.isolated["h"]["energy"].value == 1.0


def test_what_cannot_run_here_is_refused_unless_hypothetical() -> None:
    network = example_network(reset="subtract", v_init=3)
    trace = example_trace(network=network)
    with pytest.raises(CapabilityError, match=r"^cannot run here: soft reset, initial state .* \(loihi1\)$"):
        estimate(trace, "loihi1")
    cost = estimate(trace, "loihi1", hypothetical=True)
    assert len(cost.hypothetical) == 2 and cost.energy_j.value[0] > 0
    assert estimate(trace, "loihi2").hypothetical == ()
    cut = example_trace(3, network=network)
    saved = savings(trace, cut, {"loihi1": (cost, estimate(cut, "loihi1", hypothetical=True))})
    assert any(note.startswith("hypothetical: loihi1 lacks soft reset") for note in saved.notes)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match="layer output does not fit"):
        estimate(example_trace(), written(tmp_path, example_data(input_axons_per_core=2)))


def test_bad_traces(example: Chip) -> None:
    trace = example_trace()
    with pytest.raises(InputError, match="holds no events: run again"):
        estimate(replace(trace, events=()), example)
    with pytest.raises(InputError, match="expected"):
        estimate(replace(trace, events=trace.events[1:]), example)
    with pytest.raises(InputError, match="a step that did not run holds events"):
        estimate(replace(trace, hardware_steps=np.array([3])), example)
    with pytest.raises(InputError, match="one entry per sample and hardware step"):
        estimate(replace(trace, hardware_steps=np.array([5])), example)
    wrong = replace(trace.events[1], synops=trace.events[1].synops + 1)
    with pytest.raises(InputError, match="layer hidden: its synaptic operations do not follow"):
        estimate(replace(trace, events=(trace.events[0], wrong, trace.events[2])), example)


def test_savings_refuse_what_cannot_be_compared(example: Chip) -> None:
    full, cut = example_trace(), example_trace(3)
    here, there = estimate(full, example), estimate(cut, example)
    with pytest.raises(InputError, match="the full run must use all T"):
        savings(cut, cut)
    with pytest.raises(InputError, match="differ in network"):
        savings(full, replace(cut, network=replace(cut.network, name="another")))
    with pytest.raises(InputError, match="do not fit its timesteps"):
        savings(full, replace(cut, hardware_steps=np.array([2])))
    with pytest.raises(InputError, match="different hardware or lack different terms"):
        savings(full, cut, {"x": (estimate(full, "loihi1"), there)})
    with pytest.raises(InputError, match="different hardware or lack different terms"):
        savings(full, cut, {"x": (replace(here, unknown_dynamic=()), there)})
    with pytest.raises(InputError, match="belongs to another run"):
        savings(full, cut, {"x": (there, here)})


def test_many_samples_in_chunks_equal_one_by_one(monkeypatch: pytest.MonkeyPatch, example: Chip) -> None:
    trace = example_trace()
    events = tuple(
        replace(
            item,
            spikes=np.repeat(item.spikes, 5, axis=0),
            synops=np.repeat(item.synops, 5, axis=0),
            raster=np.repeat(item.raster, 5, axis=0),
        )
        for item in trace.events
    )
    many = replace(
        trace,
        scores=np.zeros((2, 5, 2), dtype=np.int64),
        valid=np.ones((2, 5), dtype=bool),
        timesteps=np.full(5, 2),
        hardware_steps=np.full(5, 4),
        reason=(ExitReason.HORIZON,) * 5,
        events=events,
    )
    monkeypatch.setattr("spikecut.deploy.cost.pricing.CHUNK", 16)
    cost = estimate(many, example)
    assert cost.energy_j.value.tolist() == [1988e-12] * 5
    assert cost.latency_s.high.tolist() == [1366e-9] * 5


def test_samples_of_different_length_in_one_run(example: Chip) -> None:
    full, cut = example_trace(), example_trace(3)

    def joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Two samples' events, the shorter one ending in a step that did not run."""
        return np.concatenate([first, np.pad(second, [(0, 0), (0, 1)] + [(0, 0)] * (second.ndim - 2))])

    events = tuple(
        replace(
            long,
            spikes=joined(long.spikes, short.spikes),
            synops=joined(long.synops, short.synops),
            raster=joined(long.raster, short.raster),
        )
        for long, short in zip(full.events, cut.events, strict=True)
    )
    both = replace(
        full,
        scores=np.zeros((2, 2, 2), dtype=np.int64),
        valid=np.array([[True, True], [True, False]]),
        timesteps=np.array([2, 1]),
        hardware_steps=np.array([4, 3]),
        reason=(ExitReason.HORIZON, ExitReason.CUTOFF),
        events=events,
    )
    cost = estimate(both, example)
    assert cost.latency_s.value.tolist() == [683e-9, 519e-9]
    assert cost.dynamic_energy_j.value.tolist() == [622e-12, 507e-12]
