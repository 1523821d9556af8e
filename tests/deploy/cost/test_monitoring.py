"""Whether a cutoff pays for its monitor, by place: against estimates that charge it, and the words for it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from networks import random_inputs, random_network

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cost.band import Figure
from spikecut.deploy.cost.estimate import as_chip, estimate
from spikecut.deploy.cost.monitoring import Payoff, check_monitor
from spikecut.deploy.cost.summary import RunCosts, chosen_hardware
from spikecut.deploy.cutoff.base import policy_class
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.placement.hardware import Chip, load_hardware
from spikecut.deploy.placement.hardware_template import hardware_template
from spikecut.deploy.placement.monitor import CHARGED, PLACES
from spikecut.deploy.placement.quantities import Quantity
from spikecut.deploy.report.monitor_lines import monitor_lines, monitors_in_short
from spikecut.deploy.run.summary import jsonable
from spikecut.errors import HardwareConfigError, InputError


@pytest.fixture(scope="module")
def runs():
    network = random_network(1, horizon=8)
    inputs = random_inputs(network, 5)
    return run_batched(network, inputs, record="all"), run_batched(network, inputs, FixedTimestep(2), record="all")


def known(value: float) -> dict:
    return {"value": value, "low": value, "high": value, "source": "a test", "provenance": "bound"}


def chip_with(tmp_path, **costs: float) -> Chip:
    """Loihi 2 with a monitor on the host of exactly these costs, 0 by default."""
    data = yaml.safe_load((tmp_path.parent / "loihi2.yaml").read_text())
    data["monitor"] = {"host": {name: known(float(costs.get(name, 0))) for name in CHARGED}}
    data["reset"]["energy_pJ_per_sample"] = known(3.0)
    path = tmp_path / "chip.yaml"
    path.write_text(yaml.safe_dump(data))
    return as_chip(load_hardware(path))


@pytest.fixture
def folder(tmp_path, repository):
    (tmp_path / "loihi2.yaml").write_text((repository / "hardware_configs" / "loihi2.yaml").read_text())
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def test_the_cost_is_that_of_an_estimate_with_this_monitor(runs, folder):
    full, cut = runs
    chip = chip_with(folder, time_ns_per_step=700, energy_pJ_per_step=90)
    host = RunCosts.of(cut, full, {"chip": chip}).saved.monitors["chip"]["host"]
    with_it, without = estimate(cut, chip.watched("host")), estimate(cut, chip)
    assert host.latency.cost.value == pytest.approx((with_it.latency_s.value - without.latency_s.value).mean())
    whole = estimate(full, chip)
    assert host.latency.saved.value == pytest.approx((whole.latency_s.value - without.latency_s.value).mean())
    beyond = (with_it.energy_j.value - without.bare_energy_j.value).mean()
    assert host.energy.cost.value == pytest.approx(beyond)  # the monitor's own, static power meanwhile, the reset
    assert host.steps == 2 + full.depth and host.delay_steps == 0


def test_a_delay_to_the_horizon_leaves_nothing(runs, folder):
    full, cut = runs
    late = RunCosts.of(cut, full, {"chip": chip_with(folder, delay_steps=8)}).saved.monitors["chip"]["host"]
    assert late.latency.saved.value == late.energy.saved.value == 0 and late.energy.verdict == "does not pay"
    some = RunCosts.of(cut, full, {"chip": chip_with(folder, delay_steps=3)}).saved.monitors["chip"]["host"]
    none = RunCosts.of(cut, full, {"chip": chip_with(folder)}).saved.monitors["chip"]["host"]
    assert some.latency.saved.value == pytest.approx(none.latency.saved.value / 2)  # 3 of 6 skipped steps stay


def test_messages_cost_energy_and_at_most_their_time(runs, folder):
    full, cut = runs
    host = RunCosts.of(cut, full, {"chip": chip_with(folder, messages_per_step=4)}).saved.monitors["chip"]["host"]
    assert host.latency.cost.low == host.latency.cost.value == 0
    assert host.latency.cost.high == pytest.approx(host.steps * 4 * 8.833e-9)
    assert host.energy.cost.value == pytest.approx(host.steps * 4 * 111e-12 + 3e-12)


def test_a_membrane_readout_sends_neurons_a_message_a_class_and_step(runs):
    full, cut = runs
    *others, last = full.network.layers
    quiet = replace(last, neuron=replace(last.neuron, reset="none"))
    network = replace(full.network, layers=(*others, quiet), readout="membrane")
    whole, halted = (replace(run, network=network) for run in runs)
    classes, chip = full.network.classes, as_chip(load_hardware("loihi2"))
    read = RunCosts.of(halted, whole, {"chip": chip}, hypothetical=True).saved.monitors["chip"]
    assert [read[place].messages_per_step for place in PLACES] == [classes, 1, 1]
    spikes = RunCosts.of(cut, full, {"chip": chip}, hypothetical=True).saved.monitors["chip"]["on_chip"]
    more = read["on_chip"].energy.cost.value - spikes.energy.cost.value
    assert more == pytest.approx(spikes.steps * (classes - 1) * 111e-12) and spikes.messages_per_step == 1
    charged = [estimate(run, chip.watched("on_chip"), hypothetical=True) for run in (halted, cut)]
    gap = charged[0].dynamic_energy_j.value - charged[1].dynamic_energy_j.value
    assert gap == pytest.approx(cut.hardware_steps * (classes - 1) * 111e-12)


@pytest.mark.parametrize(
    ("saved", "cost", "verdict"),
    [
        ((5, 4, 6), (1, 1, 3), "pays"),
        ((5, 4, 6), (1, 1, 4), "cannot be told"),
        ((5, 4, 6), (7, 6, 9), "does not pay"),
        ((5, 4, 6), (np.nan, 0, np.inf), "cannot be told"),
        ((5, 4, 6), (np.nan, 6, np.inf), "does not pay"),
        ((np.nan, np.nan, np.nan), (1, 1, 1), "cannot be told"),
    ],
)
def test_verdicts(saved, cost, verdict):
    assert Payoff.of(Figure(*saved), Figure(*cost)).verdict == verdict


def test_the_shipped_files_say_it_by_place(runs):
    full, cut = runs
    costs = RunCosts.of(cut, full, {"loihi2": load_hardware("loihi2")})
    told = jsonable(costs.saved)
    assert list(told["monitors"]["loihi2"]) == list(PLACES)
    assert monitors_in_short(told).startswith("loihi2: on_chip ")
    lines = list(monitor_lines(told))
    assert len(lines) == 3 and "host: latency does not pay" in lines[2] and "halted 1 steps after" in lines[2]
    assert "to any" in lines[2]  # the host's own energy is unknown
    fewer = costs.decided_by(policy_class("entropy")).saved
    assert (
        list(fewer.monitors["loihi2"]) == ["embedded", "host"] and "on_chip: entropy takes more than" in fewer.notes[-1]
    )
    assert costs.decided_by(policy_class("topk")) is costs and list(monitor_lines(None)) == []


def test_a_place_is_chosen_and_charged():
    bare = as_chip(chosen_hardware(["loihi2"])["loihi2"]).monitor
    chosen = as_chip(chosen_hardware(["loihi2", "horowitz45nm"], "host")["loihi2"]).monitor
    assert all(quantity.value is None for quantity in bare.charged)
    assert chosen.time_ns_per_step == bare.places["host"].time_ns_per_step and chosen.places == bare.places
    with pytest.raises(InputError, match="--monitor cloud: expected on_chip, embedded, host"):
        chosen_hardware(["loihi2"], "cloud")
    with pytest.raises(HardwareConfigError, match="odin: no monitor host in its file, which has none"):
        chosen_hardware(["odin"], "host")
    check_monitor("on_chip", [policy_class(name) for name in ("topk", "spikecp", "fixed")])
    check_monitor("host", [policy_class("entropy")])
    with pytest.raises(InputError, match="--monitor on_chip: confidence, entropy takes more than sums"):
        check_monitor("on_chip", [policy_class(name) for name in ("confidence", "topk", "entropy")])


def test_a_file_has_one_monitor_or_several_places(folder):
    path, data = folder / "chip.yaml", yaml.safe_load((folder.parent / "loihi2.yaml").read_text())
    places = data["monitor"]
    for wrong, said in (
        ({**places["host"], "host": places["host"]}, "not both"),
        ({"delay_steps": places["host"]["delay_steps"]}, "messages_per_step is missing"),
        ({"on_chip": {}}, "monitor.on_chip.messages_per_step: missing key"),
        ({"elsewhere": places["host"]}, "monitor.elsewhere: unknown key"),
    ):
        path.write_text(yaml.safe_dump(data | {"monitor": json.loads(json.dumps(wrong))}))  # copied: no aliases
        with pytest.raises(HardwareConfigError, match=said):
            load_hardware(path)
    path.write_text(yaml.safe_dump(data | {"monitor": places["host"]}))  # as files were before there were places
    loaded = as_chip(load_hardware(path))
    assert loaded.monitor.places == {} and loaded.monitor.time_ns_per_step.value == 8e6
    assert all(isinstance(quantity, Quantity) for quantity in loaded.monitor.charged)
    assert hardware_template("mine").count("delay_steps:") == len(PLACES)
