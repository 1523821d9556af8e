import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import random_inputs, random_network
from rich.console import Console

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cli.catalogue import describe_hardware
from spikecut.deploy.cli.inspect import inspect_cost
from spikecut.deploy.cli.output import stdout
from spikecut.deploy.cost.attribution import PHASES, attribute, attribute_cutoff
from spikecut.deploy.cost.band import Band
from spikecut.deploy.cost.estimate import estimate
from spikecut.deploy.cost.pricing import EDGES, EVENTS
from spikecut.deploy.cost.savings import savings
from spikecut.deploy.cost.streaming import stream
from spikecut.deploy.cost.summary import RunCosts, chosen_hardware
from spikecut.deploy.cost.traffic import message_rates
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.placement.capabilities import Fit
from spikecut.deploy.placement.hardware import Chip, default_hardware, hardware_names, load_hardware
from spikecut.deploy.placement.mesh import busy_at_rates_ns, mesh_cells, mesh_text
from spikecut.deploy.placement.place import place
from spikecut.deploy.placement.quantities import Steps
from spikecut.deploy.report.cost_tables import attribution_table, cost_tables, cutoff_table, run_costs_shown
from spikecut.deploy.report.mesh_plot import mesh_figure
from spikecut.deploy.report.placement_tables import placements_shown
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import HardwareConfigError, InputError


def crowded(neurons: int = 12, **limits: int) -> Chip:
    """Fitted Loihi 1 with small cores."""
    chip = load_hardware("loihi1")
    assert isinstance(chip, Chip)
    limits = {"neurons_per_core": neurons, "mesh_columns": 3, "mesh_rows": 43, "cores_per_tile": 2, **limits}
    limits.setdefault("cores_per_chip", 256)
    changed = {name: getattr(chip.limits, name).model_copy(update={"value": value}) for name, value in limits.items()}
    return chip.model_copy(update={"limits": chip.limits.model_copy(update=changed)})


def runs(seed: int, exit_at: int | None = None, samples: int = 3, **kind: bool) -> RunTrace:
    network = random_network(seed, **kind)
    policy = None if exit_at is None else FixedTimestep(exit_at)
    return run_batched(network, random_inputs(network, samples, seed), policy, record="all")


def as_text(*parts: object) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for part in parts:
        console.print(part)
    console.file.close()
    return " ".join(console.export_text().split())


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=st.integers(0, 99), recurrent=st.booleans(), exit_at=st.none() | st.integers(1, 6))
def test_shares_add_up_to_the_estimate(seed: int, recurrent: bool, exit_at: int | None) -> None:
    trace = runs(seed, exit_at, dense_only=recurrent, recurrent=recurrent)
    chip = crowded()
    cost, found = estimate(trace, chip), attribute(trace, chip)
    for edge in EDGES:
        assert found.time_s.total(edge) == pytest.approx(getattr(cost.latency_s.mean, edge), rel=1e-12)
        assert found.energy_j.total(edge) == pytest.approx(getattr(cost.energy_j.mean, edge), rel=1e-12)
    assert found.phases_j.sum() == pytest.approx(found.energy_j.value.sum(), rel=1e-12)
    assert (found.time_s.value >= 0).all() and (found.energy_j.value >= 0).all()
    assert found.layers == tuple(layer.name for layer in trace.network.layers)


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=st.integers(0, 99), exit_at=st.integers(1, 6))
def test_the_critical_path_is_that_of_the_steps(seed: int, exit_at: int) -> None:
    trace, chip = runs(seed, exit_at), crowded()
    found = attribute(trace, chip)
    path, barrier = found.path, found.time_s.shared["barrier"][0] * 1e9 / trace.hardware_steps.mean()
    ran = np.arange(path.layer.shape[1]) < trace.hardware_steps[:, None]
    assert ((path.layer >= 0) == ran).all() and (path.busy_ns[~ran] == 0).all()
    latency = (path.busy_ns + barrier * ran).sum(axis=1)
    assert latency == pytest.approx(estimate(trace, chip).latency_s.value * 1e9, rel=1e-12)
    used = found.placement.layers
    assert all(0 <= path.core[n, h] < len(used[path.layer[n, h]].cores) for n, h in np.argwhere(ran))
    after = np.arange(path.layer.shape[1]) >= trace.timesteps[:, None]
    assert found.fill_s * 1e9 == pytest.approx(((path.busy_ns + barrier) * (ran & after)).sum() / 3, rel=1e-12)


def test_what_the_cutoff_saved_and_could_not() -> None:
    full, cut, chip = runs(5), runs(5, 2), crowded()
    before, after = attribute(full, chip), attribute(cut, chip)
    saved = attribute_cutoff(before, after)
    whole = [estimate(trace, chip) for trace in (full, cut)]
    energy = saved.saved_energy_j.sum() + sum(v for v in saved.saved_shared_energy_j.values())
    assert energy == pytest.approx(whole[0].energy_j.mean.value - whole[1].energy_j.mean.value, rel=1e-12)
    time = saved.saved_time_s.sum() + sum(saved.saved_shared_time_s.values())
    assert time == pytest.approx(whole[0].latency_s.mean.value - whole[1].latency_s.mean.value, rel=1e-12)
    assert (saved.saved_energy_j >= 0).all()
    assert saved.unsaved_time_s == after.fill_s > 0
    # Everything that the early-exit run did for steps after the second is overrun, event by event.
    spike = EVENTS.index("spike")
    price = chip.costs.spike.energy_pJ.value * 1e-12
    late = sum(
        int(events.spikes[n, depth + 2 :].sum()) for depth, events in enumerate(cut.events) if depth for n in range(3)
    )
    assert late > 0
    assert after.phases_j[:, PHASES.index("overrun")].sum() >= late * price / 3
    assert after.energy_j.value[:, spike].sum() > late * price / 3
    assert set(saved.unsaved_energy_j) == {"lead-in", "overrun"}
    text = as_text(cutoff_table(saved, chip.name), attribution_table(after, "time"), attribution_table(after, "energy"))
    assert "stimated" in text and "measured" not in text and "Not saved" in text
    with pytest.raises(InputError, match="of different hardware"):
        attribute_cutoff(before, attribute(cut, load_hardware("loihi2")))
    with pytest.raises(HardwareConfigError, match="horowitz45nm"):
        attribute(full, load_hardware("horowitz45nm"))


def laid_by_hand(full: RunTrace, chip: Chip, intervals: list[int]) -> tuple[float, float]:
    """Time in ns and energy in pJ of a stream, step by step, from rasters that were joined layer by layer.

    The joined rasters are given to `estimate` as one long sample, whose last steps are cut off.
    """
    steps = sum(intervals)
    events = []
    for depth, layer in enumerate(full.events):
        rows = np.zeros((steps + full.depth, layer.raster.shape[2]), dtype=np.int32)
        start = depth
        for n, interval in enumerate(intervals):
            rows[start : start + interval] = layer.raster[n, depth : depth + interval]
            start += interval
        events.append(rows)
    from spikecut.deploy.backends.events import layer_events

    length = np.array([steps])
    joined = layer_events(full.network, [rows[None] for rows in events], length, "all")
    one = replace(
        full,
        scores=np.zeros((full.horizon, 1, full.scores.shape[2]), dtype=np.int64),
        valid=np.ones((full.horizon, 1), dtype=bool),
        timesteps=np.array([full.horizon]),
        hardware_steps=length,
        interval=length,
        reason=full.reason[:1],
        events=joined,
    )
    cost = estimate(one, chip)
    return float(cost.latency_s.value[0]) * 1e9, float(cost.dynamic_energy_j.value[0]) * 1e12


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=st.integers(0, 99), intervals=st.lists(st.integers(1, 6), min_size=3, max_size=3))
def test_a_stream_equals_its_steps_joined_by_hand(seed: int, intervals: list[int]) -> None:
    full, chip = runs(seed), crowded()
    placement = place(full.network, chip)
    found = stream(full, chip, placement, np.array(intervals))
    time, _ = laid_by_hand(full, chip, intervals)
    assert found.time_s.value * 3e9 == pytest.approx(time, rel=1e-12)
    assert found.time_s.low < found.time_s.value < found.time_s.high
    assert found.samples_per_s.value == 1 / found.time_s.value
    # The energy also counts what the last sample does while the pipeline empties: no less than the joined steps.
    static = chip.static_mW_per_chip.value * placement.chips * found.time_s.value * 1e-3
    _, energy = laid_by_hand(full, chip, intervals)
    assert (found.energy_j.value - static) * 3e12 >= energy * (1 - 1e-12)


def test_streams_that_cannot_be_laid() -> None:
    full, chip = runs(1), crowded()
    placement = place(full.network, chip)
    with pytest.raises(InputError, match="put together from full runs"):
        stream(runs(1, 2), chip, placement, np.array([2, 2, 2]))
    for wrong in ([0, 1, 1], [7, 1, 1]):
        with pytest.raises(InputError, match=r"outside 1\.\.6"):
            stream(full, chip, placement, np.array(wrong))


def monitored(chip: Chip, **known: float) -> Chip:
    """The chip with a known monitor and reset."""

    def leaf(value: float) -> object:
        return chip.static_mW_per_chip.model_copy(update={"value": value, "low": value, "high": value})

    monitor = {
        "messages_per_step": 0.0,
        "time_ns_per_step": 0.0,
        "energy_pJ_per_step": 0.0,
        **known,
    }
    reset = chip.reset.model_copy(update={"energy_pJ_per_sample": leaf(monitor.pop("reset", 0.0))})
    update = {name: leaf(value) for name, value in monitor.items()}
    update["delay_steps"] = Steps(value=0, low=0, high=0, source="a test", provenance="bound")
    changed = chip.monitor.model_copy(update=update)
    return chip.model_copy(update={"monitor": changed, "reset": reset})


def test_the_samples_for_which_the_cutoff_is_costlier_are_named() -> None:
    full, cut = runs(2), runs(2, 5)
    cheap, dear = crowded(), monitored(crowded(), time_ns_per_step=1e6, reset=1e9)
    for chip, costlier_samples in ((cheap, None), (monitored(cheap), {"latency": (), "energy": ()})):
        saved = savings(full, cut, {"chip": (estimate(full, chip), estimate(cut, chip))})
        assert saved.costlier_samples == {"chip": costlier_samples}
        assert not any("without them" in note for note in saved.notes)
    saved = savings(full, cut, {"chip": (estimate(full, dear), estimate(cut, dear))})
    assert saved.costlier_samples == {"chip": {"latency": (0, 1, 2), "energy": (0, 1, 2)}}
    assert sum("without them for 3 samples: 0, 1, 2" in note for note in saved.notes) == 2
    bare = estimate(cut, dear)
    assert (bare.bare_latency_s.value == estimate(cut, cheap).latency_s.value).all()
    assert (bare.bare_energy_j.value == estimate(cut, cheap).energy_j.value).all()


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=st.integers(0, 99), exit_at=st.integers(1, 6), name=st.sampled_from(["loihi1", "loihi2"]))
def test_a_cut_sample_never_costs_more(seed: int, exit_at: int, name: str) -> None:
    full, cut = estimate(runs(seed), name), estimate(runs(seed, exit_at), name)
    for measure in ("latency_s", "energy_j", "dynamic_energy_j"):
        for edge in EDGES:
            assert (getattr(getattr(cut, measure), edge) <= getattr(getattr(full, measure), edge)).all()


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=st.integers(0, 99), neurons=st.integers(6, 40), recurrent=st.booleans())
def test_splitting_never_lowers_the_dynamic_energy_below_one_core_each_without_hops(
    seed: int, neurons: int, recurrent: bool
) -> None:
    trace = runs(seed, dense_only=recurrent, recurrent=recurrent)
    whole, split = crowded(1024), crowded(neurons)
    assert place(trace.network, whole).cores == trace.depth
    hops = [EVENTS.index(name) for name in ("hop_east_west", "hop_north_south")]
    together, apart = attribute(trace, whole).energy_j.value, attribute(trace, split).energy_j.value
    without = np.delete(together, hops, axis=1)
    assert (apart.sum(axis=1) >= without.sum(axis=1) * (1 - 1e-12)).all()
    assert apart.sum() >= without.sum() * (1 - 1e-12)


def test_percentiles_are_over_samples() -> None:
    values = np.arange(101.0)
    found = Band(values, values / 2, values * 2).percentiles()
    assert [found[p].value for p in (5, 50, 99)] == [5, 50, 99]
    assert (found[50].low, found[50].high) == (25, 100)
    assert Band(values, values / 2, values * 2).mean.value == 50


def test_provenance_comes_with_every_estimate() -> None:
    trace = runs(1)
    assert estimate(trace, "loihi1").provenance_time == ("bound", "fitted")
    found = estimate(trace, "loihi2")
    assert found.provenance_dynamic == ("fitted", "inherited")
    # Static energy is power × time, and rests on both.
    assert found.provenance_static == found.provenance_energy == ("bound", "fitted", "inherited", "scaled")
    assert estimate(trace, "horowitz45nm").provenance_energy == ("simulated",)


def test_rates_place_a_run_better() -> None:
    trace, chip = runs(4), crowded(30)
    fewest = place(trace.network, chip)
    more = place(trace.network, chip, cores=fewest.cores + 5, rates=message_rates(trace))
    assert (
        estimate(trace, chip, placement=more).latency_s.mean.value <= estimate(trace, chip).latency_s.mean.value * 1.2
    )
    rates = message_rates(replace(trace, events=tuple(replace(each, raster=None) for each in trace.events)))
    assert [len(rate) for rate in rates] == [int(np.prod(events.shape)) for events in trace.events]
    assert [rate.sum() for rate in rates] == pytest.approx([rate.sum() for rate in message_rates(trace)], rel=1e-12)
    with pytest.raises(InputError, match="this placement is not of"):
        estimate(trace, "loihi2", placement=fewest)


def test_mesh_as_text_and_picture(tmp_path: Path) -> None:
    network = random_network(1)
    chip = crowded(20, cores_per_chip=8, mesh_rows=2)
    placement = place(network, chip)
    busy = busy_at_rates_ns(network, chip, placement)
    assert placement.chips > 1 and [len(times) for times in busy] == [len(layer.cores) for layer in placement.layers]
    cells = mesh_cells(placement, chip, busy)
    assert len(cells) == placement.cores and max(cell.load for cell in cells) == 1
    assert len({(cell.chip, cell.row, cell.column, cell.slot) for cell in cells}) == placement.cores
    assert all(0 <= cell.column < 3 and 0 <= cell.slot < 2 for cell in cells)
    text = mesh_text(placement, chip, busy)
    assert text.count("chip ") == placement.chips
    assert sum(text.count(f"{letter}{tenth}") for letter in "abc" for tenth in range(10)) == placement.cores
    assert "a conv1" in text and "··" in text
    figure = mesh_figure(placement, chip, busy, "a network")
    marks = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(marks) == placement.cores and "estimated" in figure.axes[-1].get_ylabel()
    figure.savefig(tmp_path / "mesh.png")


def test_every_hardware_file_in_one_call() -> None:
    network = random_network(3, soft=True)
    trace = run_batched(network, random_inputs(network, 2), record="all")
    cut = run_batched(network, random_inputs(network, 2), FixedTimestep(2), record="all")
    hardware = chosen_hardware(None)
    assert tuple(hardware) == tuple(default_hardware())
    costs = RunCosts.of(cut, trace, hardware)
    fits = {name: Fit.of(network, item) for name, item in hardware.items()}
    text = as_text(*placements_shown(network, hardware, fits), *run_costs_shown(costs))
    assert all(text.count(name) >= 2 for name in hardware)
    assert "cannot run here: soft reset" in text and "estimated" in text and "provenance" in text
    assert "measured" not in text.replace("not measured", "")
    estimated = costs.to_dict()["estimated"]
    assert set(estimated) == set(hardware) and "refusal" in estimated["loihi1"]
    energy = estimated["loihi2"]["energy_j"]
    assert energy["low"] < energy["mean"] < energy["high"] and energy["provenance"] and "50" in energy["percentiles"]
    assert "hypothetical" in as_text(*cost_tables({"loihi1": estimate(trace, "loihi1", hypothetical=True)}))
    result = inspect_cost(network)
    json.dumps(result.data, allow_nan=False)
    assert result.data["placements"]["loihi2"]["cores"] == place(network, hardware["loihi2"]).cores


def test_what_looks_like_markup_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (files("spikecut.hardware_configs") / "loihi2.yaml").read_text()
    data = yaml.safe_load(text)
    data["title"] = "a chip [/bold]"
    data["static_mW_per_chip"]["source"] = "Smith 2020 [a], p. 3 [/1/]"
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data))
    for part in describe_hardware(str(tmp_path / "mine.yaml")).shown:
        stdout().print(part)
    said = " ".join(capsys.readouterr().out.split())
    assert "a chip [/bold]" in said and "[a]" in said and "[/1/]" in said


def test_hardware_is_listed_and_explained() -> None:
    listed = describe_hardware()
    assert set(listed.data) == set(hardware_names())
    assert (
        listed.data["loihi2"]["provenance"]["inherited"] > 0
        and "barrier.energy_pJ_per_step" in listed.data["loihi1"]["unknown"]
    )
    one = describe_hardware("loihi1")
    text = as_text(*one.shown)
    assert "costs.spike.energy_pJ" in text and "Boyle" in text and "unknown" in text
