"""Unknown stays unknown, through every sum and table; a monitor's delay is charged where the full run is at hand."""

import io
from dataclasses import replace

import numpy as np
import pytest
from networks import random_inputs, random_network
from rich.console import Console

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cost.attribution import attribute, attribute_cutoff
from spikecut.deploy.cost.estimate import estimate
from spikecut.deploy.cost.halted import estimate_halted, halted
from spikecut.deploy.cost.streaming import stream
from spikecut.deploy.cost.summary import RunCosts, attribution_summary
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.placement.hardware import Chip, file_stems, load_hardware
from spikecut.deploy.placement.quantities import Steps
from spikecut.deploy.report.cost_tables import attribution_table, cutoff_table
from spikecut.deploy.sweep.costs import exit_costs
from spikecut.errors import HardwareConfigError, InputError
from spikecut.export.network.connectivity import recurrent_fan_out
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron


def chip(name: str = "loihi2") -> Chip:
    loaded = load_hardware(name)
    assert isinstance(loaded, Chip)
    return loaded


def without_times(loaded: Chip, *names: str) -> Chip:
    """The chip with the times of these events unknown."""
    update = {}
    for name in names:
        cost = getattr(loaded.costs, name)
        null = {"value": None, "low": None, "high": None, "provenance": None}
        update[name] = cost.model_copy(update={"time_ns": cost.time_ns.model_copy(update=null)})
    return loaded.model_copy(update={"costs": loaded.costs.model_copy(update=update)})


def timeless(loaded: Chip) -> Chip:
    """The chip with no time known at all."""
    null = {"value": None, "low": None, "high": None, "provenance": None}
    blank = without_times(loaded, *(name for name, _ in loaded.costs))
    knots = {tiles: knot.model_copy(update=null) for tiles, knot in loaded.barrier.time_ns_by_tiles.items()}
    management = {"time_ns_per_step": loaded.management.time_ns_per_step.model_copy(update=null)}
    return blank.model_copy(
        update={
            "barrier": loaded.barrier.model_copy(update={"time_ns_by_tiles": knots}),
            "management": loaded.management.model_copy(update=management),
        }
    )


def delayed(low: int, value: int, high: int) -> Chip:
    """Loihi 2 with a monitor that takes so many steps from the decision to the halt."""
    steps = Steps(value=value, low=low, high=high, source="a test", provenance="bound")
    loaded = chip()
    return loaded.model_copy(update={"monitor": loaded.monitor.model_copy(update={"delay_steps": steps})})


def as_text(*parts: object) -> str:
    console = Console(file=io.StringIO(), width=200, markup=False)
    for part in parts:
        console.print(part)
    return console.file.getvalue()


def runs(timestep: int = 2, horizon: int = 8):
    network = random_network(1, horizon=horizon)
    inputs = random_inputs(network, 5)
    return run_batched(network, inputs, record="all"), run_batched(
        network, inputs, FixedTimestep(timestep), record="all"
    )


def test_an_unknown_time_is_an_unknown_of_the_energy_where_static_power_is_known():
    full, _ = runs()
    whole, partial = estimate(full, chip("loihi1")), estimate(full, without_times(chip("loihi1"), "axon_in"))
    assert partial.static_energy_j.value.sum() < whole.static_energy_j.value.sum()
    assert "axon in time" in partial.unknown_energy and "axon in time" not in whole.unknown_energy
    assert "axon in time" not in partial.unknown_dynamic
    nothing = estimate(full, timeless(chip("loihi1")))
    assert np.isnan(nothing.latency_s.value).all() and np.isnan(nothing.static_energy_j.value).all()
    assert {"barrier time", "axon in time", "spike time"} <= set(nothing.unknown_energy)
    unpowered = estimate(full, "loihi1_davies2018")
    assert "static power" in unpowered.unknown_energy and "spike time" not in unpowered.unknown_energy


def test_attribution_never_reads_unknown_as_nothing():
    full, cut = runs()
    ran = attribute(cut, timeless(chip()))
    assert np.isnan(ran.time_s.total()) and np.isnan(ran.fill_s)
    saved = attribute_cutoff(attribute(full, timeless(chip())), ran)
    text = as_text(attribution_table(ran, "time"), cutoff_table(saved, "loihi2"))
    assert "unknown" in text and " 0 s" not in text
    ran = attribute(cut, chip("loihi1_davies2018"))
    text = " ".join(as_text(attribution_table(ran, "time"), attribution_table(ran, "energy")).split())
    assert "spike time" in text and "axon in energy" in text and "≥ " in text and "simulated" in text
    data = attribution_summary(ran)
    assert "spike time" in data["unknown_time"] and "static power" in data["unknown_energy"]
    assert data["provenance_energy"] == ["simulated"]


def test_a_known_delay_is_charged_from_the_full_run():
    full, cut = runs(2)
    late = delayed(2, 3, 4)
    costs = RunCosts.of(cut, full, {"late": late})
    cost = costs.estimates["late"]
    steps = np.minimum(2 + 3, full.horizon) + full.depth
    assert (cost.steps == steps).all()
    for edge, delay in (("low", 2), ("value", 3), ("high", 4)):
        run = halted(full, cut.timesteps, delay)
        np.testing.assert_array_equal(getattr(cost.energy_j, edge), getattr(estimate(run, late).energy_j, edge))
    assert "monitor delay" not in cost.unknown_terms
    early = estimate(cut, chip())
    assert (cost.energy_j.value > early.energy_j.value).all()
    isolated = costs.saved.isolated["late"]["latency"].value
    assert isolated > RunCosts.of(cut, full, {"none": chip()}).saved.isolated["none"]["latency"].value
    # 2 + 3 + P reaches T = 8: nothing is saved back to back, though 2 + P alone would.
    assert full.depth == 3 and costs.saved.streaming["late"]["latency"].value == 1
    assert any(
        "late: with the delay of its monitor the cutoff saves no throughput" in note for note in costs.saved.notes
    )


def test_without_the_full_run_the_delay_is_left_out_and_listed():
    _, cut = runs(2)
    cost = RunCosts.of(cut, None, {"late": delayed(2, 3, 4)}).estimates["late"]
    assert "monitor delay" in cost.unknown_time and "monitor delay" in cost.unknown_energy
    assert any("--also-full" in line for line in cost.assumptions)


def test_the_sweep_charges_the_delay():
    full, _ = runs()
    late, prompt = exit_costs(full, delayed(1, 3, 4)), exit_costs(full, chip())
    for t in range(1, full.horizon + 1):
        for edge, delay in ((0, 3), (1, 1), (2, 4)):
            at = min(t + delay, full.horizon)
            np.testing.assert_array_equal(late.energy_j[edge, t - 1], prompt.energy_j[edge, at - 1])
    found = estimate_halted(full, np.full(5, 2), delayed(1, 3, 4))
    np.testing.assert_array_equal(found.latency_s.high, late.latency_s[2, 1])
    assert "monitor delay" not in late.unknown_time and "monitor delay" in prompt.unknown_time


@pytest.mark.parametrize("value", [2.5, -1])
def test_a_delay_is_a_number_of_steps(tmp_path, value):
    from importlib.resources import files

    import yaml

    data = yaml.safe_load((files("spikecut.hardware_configs") / "loihi2.yaml").read_text())
    data["monitor"]["delay_steps"] = {"value": value, "low": value, "high": value, "source": "x", "provenance": "bound"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(HardwareConfigError, match="delay_steps"):
        load_hardware(tmp_path / "mine.yaml")
    data["monitor"]["delay_steps"] = {"value": 2, "low": 0, "high": 3, "source": "x", "provenance": "bound"}
    data["limits"]["mesh_rows"] |= {"value": 10**6, "low": 10**6, "high": 10**6}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(HardwareConfigError, match="at most"):
        load_hardware(tmp_path / "mine.yaml")


def recurrent_network(graded: bool = False) -> IntegerNetwork:
    weight, own = np.full((6, 4), 40), np.where(np.arange(36).reshape(6, 6) % 3, 2, 0)
    layer = IntegerLayer("hidden", "dense", weight, IntegerNeuron(1, np.zeros(6, dtype=int)), (4,), (6,), recurrent=own)
    out = IntegerLayer("output", "dense", np.full((2, 6), 2), IntegerNeuron(1, np.zeros(2, dtype=int)), (6,), (2,))
    return IntegerNetwork((layer, out), InputSpec((4,), "events", bits=4 if graded else 0), "count", horizon=4)


def test_a_recurrent_layers_own_messages_are_all_in_the_stream():
    network = recurrent_network()
    full = run_batched(network, np.ones((4, 3, 4), dtype=np.int64), record="all")
    placed = estimate(full, chip()).placement
    hidden = full.events[1].raster[:, 1:5] != 0
    assert hidden.all()
    # With an interval of T every step of every sample is there once: its operations are those of its own T steps.
    own, incoming = 3 * 4 * int(recurrent_fan_out(network.layers[0]).sum()), 3 * 4 * 4 * 6
    output = 3 * 4 * 6 * 2
    counted = {}
    for price in (0.0, 1000.0):
        costs = chip().costs
        update = {}
        for name in ("synop_dense", "synop_sparse"):
            entry = getattr(costs, name)
            leaf = entry.energy_pJ.model_copy(update={"value": price, "low": price, "high": price})
            update[name] = entry.model_copy(update={"energy_pJ": leaf})
        priced = chip().model_copy(update={"costs": costs.model_copy(update=update)})
        counted[price] = stream(full, priced, placed, np.full(3, 4)).energy_j.value * 3
    assert (counted[1000.0] - counted[0.0]) * 1e12 / 1000 == pytest.approx(own + incoming + output, rel=1e-9)


def test_a_recurrent_core_receives_both_sides_in_one_step():
    network = recurrent_network()
    full = run_batched(network, np.ones((4, 2, 4), dtype=np.int64), record="all")
    loaded = chip("loihi1")
    placed = estimate(full, loaded).placement
    axon, synapse = loaded.costs.axon_in.time_ns.value, loaded.costs.synop_sparse.time_ns.value
    own = int(recurrent_fan_out(network.layers[0]).sum())
    # In the middle of the stream the hidden layer's core takes 4 messages of the source in each step, and of its own
    # those 4 that reach a neuron.
    assert (recurrent_fan_out(network.layers[0]) > 0).sum() == 4
    busiest = 8 * axon + (4 * 6 + own) * synapse
    fixed = loaded.barrier.time_ns_by_tiles[1].value + loaded.management.time_ns_per_step.value
    seconds = stream(full, loaded, placed, np.full(2, 4)).time_s.value * 2
    first = 4 * axon + 4 * 6 * synapse
    assert seconds == pytest.approx((first + 7 * busiest + 8 * fixed) / 1e9, rel=1e-9)
    # Where all goes on at once, 8 messages or 24 + own synaptic operations bound a step, not both together.
    slow = {"axon_in": 1000.0, "synop_sparse": 1000.0 * 8 / (24 + own) - 1}
    costs = {
        name: getattr(chip().costs, name).model_copy(
            update={"time_ns": getattr(chip().costs, name).time_ns.model_copy(update={"value": time})}
        )
        for name, time in slow.items()
    }
    at_once = chip().model_copy(update={"costs": chip().costs.model_copy(update=costs)})
    placed = estimate(full, at_once).placement
    seconds = stream(full, at_once, placed, np.full(2, 4)).time_s.value * 2
    assert seconds == pytest.approx((max(4 * 1000.0, 24 * slow["synop_sparse"]) + 7 * 8 * 1000.0) / 1e9, rel=1e-9)


def test_own_spikes_of_a_graded_network_are_accumulates():
    network = recurrent_network(graded=True)
    trace = run_batched(network, np.full((4, 1, 4), 3), record="all")
    cost = estimate(trace, "horowitz45nm")
    own = int(((trace.events[1].raster != 0) @ recurrent_fan_out(network.layers[0])).sum())
    graded, binary = int(trace.events[1].synops.sum()) - own, int(trace.events[2].synops.sum()) + own
    assert own > 0
    assert cost.energy_j.value[0] * 1e12 == pytest.approx(4.6 * graded + 0.9 * binary, rel=1e-12)
    unrecorded = replace(trace, events=tuple(replace(each, raster=None) for each in trace.events))
    again = estimate(unrecorded, "horowitz45nm")
    assert again.energy_j.value[0] >= cost.energy_j.value[0]


def test_files_are_named_after_hardware_by_path():
    names = ["loihi1", "./mychip.yaml", "/a/mychip.yaml", "b/loihi1.yaml"]
    assert list(file_stems(names).values()) == ["loihi1", "mychip", "mychip-2", "loihi1-2"]


def test_a_run_that_was_cut_cannot_be_halted_again():
    _, cut = runs()
    with pytest.raises(InputError, match="cut from a full one"):
        halted(cut, cut.timesteps)
