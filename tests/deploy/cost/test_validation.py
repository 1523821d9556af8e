"""docs/validation.md is what scripts/validation.py makes, and its rows are fit to be believed."""

import json
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cost.estimate import estimate
from spikecut.deploy.placement.hardware import Chip, load_hardware
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron


def lava_dl() -> bool:
    try:
        distribution("lava-dl")
    except PackageNotFoundError:
        return False
    return True


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    sys.path.insert(0, str(repository / "scripts"))
    try:
        return import_module("validation")
    finally:
        sys.path.remove(str(repository / "scripts"))


def chip(name: str) -> Chip:
    loaded = load_hardware(name)
    assert isinstance(loaded, Chip)
    return loaded


@pytest.mark.slow
@pytest.mark.skipif(not lava_dl(), reason="lava-dl, whose wheel holds the reference networks, is not installed")
def test_the_document_is_current(script: ModuleType) -> None:
    assert script.DOCUMENT.read_text(encoding="utf-8") == script.document(), "run scripts/validation.py"


@pytest.mark.sanafe
@pytest.mark.slow
@pytest.mark.skipif(find_spec("sanafe") is None, reason="sanafe is not installed")
def test_sanafe_still_says_what_was_recorded_of_the_mesh(script: ModuleType) -> None:
    golden, congestion = import_module("silicon.sanafe_cycle"), import_module("silicon.congestion")
    asked, recorded = congestion.case("dense"), json.loads(congestion.RECORDED.read_text(encoding="utf-8"))
    assert recorded["dense"]["request"] == asked.digest and set(recorded) == set(congestion.CASES)
    assert golden.answered(asked.request, "cycle") == pytest.approx(recorded["dense"]["cycle_s"], rel=1e-12)


def test_the_rows_of_loihi_2_are_sourced_and_their_bands_narrow(script: ModuleType) -> None:
    rows = script.loihi2.rows(chip("loihi2"))
    assert len(rows) >= 10 and all("@" in row.source for row in rows)
    assert all(row.inside for row in rows if row.use == "fitted")
    tested = [row for row in rows if row.use == "tested"]
    assert sum(row.inside for row in tested) >= 0.8 * len(tested)
    assert all(row.width <= 3 for row in rows)


def test_the_energy_of_a_convolutions_operation_is_what_yolo_kp_took(script: ModuleType) -> None:
    """4.605 mJ a frame at 111.6 frames/s, less neurons, spikes and messages, over 209.0 million operations."""
    cost = chip("loihi2").costs
    events = {"neuron_access": 2_618_560, "neuron_update": 2_618_560, "spike": 900_000, "axon_out": 1_800_000}
    others = {
        edge: sum(n * getattr(cost, key).energy_pJ.at(edge) for key, n in events.items()) for edge in ("value", "high")
    }
    found, per_frame = cost.synop_conv.energy_pJ, 1e12 / 111.597
    assert found.value == pytest.approx((4.605241e9 - others["value"]) / 209_028_479, abs=0.05)
    assert found.low == pytest.approx(0.88 * ((0.514 - 0.11) * per_frame - others["high"]) / 209_028_479, abs=0.05)
    assert found.high == pytest.approx(1.12 * (0.514 + 0.02) * per_frame / 209_028_479, abs=0.05)


def test_what_was_measured_shows_that_the_former_file_was_wrong(script: ModuleType) -> None:
    rows = script.loihi2.rows(chip("loihi2_2026a"))
    floors = [row for row in rows if row.quantity == "time a step" and "two LIF" in row.what]
    assert len(floors) == 3 and not any(row.inside for row in floors)


def test_the_text_counts_what_the_tables_say(script: ModuleType) -> None:
    text = script.DOCUMENT.read_text(encoding="utf-8")
    tested = text.split("## Tested")[1].split("## Fitted")[0]
    good, out = tested.count("| in |"), tested.count("| **out** |")
    assert good >= 0.8 * (good + out) and f"{good} of {good + out} (" in text and "are: none." in text
    for figure in (
        "152.8 µs",
        "1.661 mJ",
        "1.094 mJ",
        "1.33 mJ",
        "110.2 mW",
        "17.6 µs",
        "576 µJ",
        "270 µJ",
        "4.605 mJ",
    ):
        assert figure in text


@pytest.mark.parametrize("name", ["loihi2", "loihi2_2026a"])
def test_work_given_by_its_counts_costs_what_a_run_with_them_costs(script: ModuleType, name: str) -> None:
    """Two neurons in a row, an input that fires in every step: the workload's formulas and `estimate` agree."""
    workload = import_module("silicon.workload")
    one = IntegerNeuron(1, np.zeros(1, dtype=int))
    layers = tuple(IntegerLayer(f"layer{n}", "dense", np.full((1, 1), 2), one, (1,), (1,)) for n in range(2))
    network = IntegerNetwork(layers, InputSpec((1,), "events"), "count", horizon=5)
    trace = run_batched(network, np.ones((5, 1, 1), dtype=np.int64), record="all")
    cost, steps = estimate(trace, name), int(trace.hardware_steps[0])
    sent = [int(events.spikes.sum()) for events in trace.events]
    whole = workload.Work(
        2, (sent[1] + sent[2]) / steps, sent[1] / steps, (sent[0] + sent[1]) / steps, (sent[0] + sent[1]) / steps
    )
    work = workload.Workload(whole, "dense")
    for edge in ("value", "low", "high"):
        assert getattr(work.energy_pj(chip(name)), edge) * steps == pytest.approx(
            getattr(cost.dynamic_energy_j, edge)[0] * 1e12, rel=1e-12
        )
    if name == "loihi2":
        assert work.time_ns(chip(name)).value * steps == pytest.approx(cost.latency_s.value[0] * 1e9, rel=1e-12)
