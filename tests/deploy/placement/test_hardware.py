from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from spikecut.deploy.placement.hardware import (
    SIZE_LIMIT,
    Chip,
    Hardware,
    OperationProfile,
    default_hardware,
    hardware_names,
    load_hardware,
)
from spikecut.deploy.placement.quantities import Quantity
from spikecut.errors import HardwareConfigError

U = None
UNKNOWN = (U, U, U, U)

# (energy pJ: value, low, high, provenance), (time ns: ...); typed from the published tables, not read from the files.
LOIHI1 = {
    "neuron_access": ((51.2, 45.056, 57.344, "fitted"), (6.0, 4.5, 7.5, "fitted")),
    "neuron_update": ((21.6, 19.008, 24.192, "fitted"), (3.7, 2.775, 4.625, "fitted")),
    "spike": ((69.3, 60.984, 77.616, "fitted"), (30.0, 22.5, 37.5, "fitted")),
    "axon_out": ((111.0, 97.68, 124.32, "fitted"), (5.1, 3.825, 6.375, "fitted")),
    "axon_in": ((0.0, 0.0, 0.0, "fitted"), (16.0, 12.0, 20.0, "fitted")),
    "synop_dense": ((35.5, 31.24, 39.76, "fitted"), (3.8, 2.85, 4.75, "fitted")),
    "synop_sparse": ((33.6, 29.568, 37.632, "fitted"), (4.7, 3.525, 5.875, "fitted")),
    "synop_conv": ((24.0, 21.12, 26.88, "fitted"), (3.1, 2.325, 3.875, "fitted")),
    "hop_east_west": ((3.0, 2.64, 3.36, "fitted"), (4.1, 3.075, 5.125, "fitted")),
    "hop_north_south": ((4.2, 3.696, 4.704, "fitted"), (6.5, 4.875, 8.125, "fitted")),
}
DAVIES = {
    "neuron_access": ((52.0, U, U, "simulated"), (5.3, U, U, "simulated")),
    "neuron_update": ((29.0, U, U, "simulated"), (3.1, U, U, "simulated")),
    "spike": (UNKNOWN, UNKNOWN),
    "axon_out": ((1.7, U, U, "simulated"), (2.1, U, U, "simulated")),
    "axon_in": (UNKNOWN, UNKNOWN),
    "synop_dense": ((23.6, 23.6, U, "simulated"), (3.5, U, 3.5, "simulated")),
    "synop_sparse": ((23.6, 23.6, U, "simulated"), (3.5, U, 3.5, "simulated")),
    "synop_conv": ((23.6, 23.6, U, "simulated"), (3.5, U, 3.5, "simulated")),
    "hop_east_west": ((3.0, U, U, "simulated"), (4.1, U, U, "simulated")),
    "hop_north_south": ((4.0, U, U, "simulated"), (6.5, U, U, "simulated")),
}
LOIHI2 = {
    "neuron_access": ((51.2, 29.56, 88.68, "inherited"), (3.0, 2.25, 4.95, "scaled")),
    "neuron_update": ((21.6, 12.47, 37.41, "inherited"), (1.85, 1.3875, 3.05, "scaled")),
    "spike": ((69.3, 40.01, 120.0, "inherited"), (3.0, 1.732, 5.196, "scaled")),
    "axon_out": ((111.0, 64.09, 192.3, "inherited"), (5.1, 2.944, 8.833, "inherited")),
    "axon_in": ((0.0, 0.0, 0.0, "inherited"), (7.155, 3.2, 16.0, "scaled")),
    "synop_dense": ((35.5, 20.5, 61.49, "inherited"), (0.66, 0.465, 1.175, "scaled")),
    "synop_sparse": ((33.6, 19.4, 58.2, "inherited"), (0.66, 0.465, 1.175, "scaled")),
    "synop_conv": ((19.9, 11.9, 25.6, "fitted"), (0.66, 0.465, 1.175, "scaled")),
    "hop_east_west": ((3.0, 1.732, 5.196, "inherited"), (1.163, 0.291, 2.326, "inherited")),
    "hop_north_south": ((4.2, 2.425, 7.275, "inherited"), (1.163, 0.291, 2.326, "inherited")),
}
LOIHI2_2026A = {
    "neuron_access": ((51.2, 25.6, 102.4, "inherited"), (3.0, 1.5, 6.0, "scaled")),
    "neuron_update": ((21.6, 10.8, 43.2, "inherited"), (1.85, 0.925, 3.7, "scaled")),
    "spike": ((69.3, 34.65, 138.6, "inherited"), (3.0, 1.5, 6.0, "scaled")),
    "axon_out": ((111.0, 55.5, 222.0, "inherited"), (5.1, 2.55, 10.2, "inherited")),
    "axon_in": ((0.0, 0.0, 0.0, "inherited"), (16.0, 8.0, 32.0, "inherited")),
    "synop_dense": ((35.5, 17.75, 71.0, "inherited"), (0.76, 0.38, 1.52, "scaled")),
    "synop_sparse": ((33.6, 16.8, 67.2, "inherited"), (0.94, 0.47, 1.88, "scaled")),
    "synop_conv": ((24.0, 12.0, 48.0, "inherited"), (0.62, 0.31, 1.24, "scaled")),
    "hop_east_west": ((3.0, 1.5, 6.0, "inherited"), (4.1, 2.05, 8.2, "inherited")),
    "hop_north_south": ((4.2, 2.1, 8.4, "inherited"), (6.5, 3.25, 13.0, "inherited")),
}
BARRIERS = {
    "loihi1": {
        1: (600.0, 450.0, 750.0, "fitted"),
        2: (1000.0, 750.0, 1250.0, "fitted"),
        4: (1400.0, 1050.0, 1750.0, "fitted"),
        29: (1800.0, 1350.0, 2250.0, "fitted"),
    },
    "loihi1_davies2018": {1: (113.0, U, U, "simulated"), 32: (465.0, U, U, "simulated")},
    "loihi2": {1: (1164.0, 1160.0, 1168.0, "fitted"), 2: (1770.0, 1160.0, 1820.0, "fitted")},
    "loihi2_2026a": {1: (200.0, 100.0, 400.0, "bound")},
}
STATIC = {
    "loihi1": (104.0, 96.0, 178.2, "fitted"),
    "loihi1_davies2018": UNKNOWN,
    "loihi2": (232.0, 211.0, 282.0, "fitted"),
    "loihi2_2026a": (257.0, 232.0, 282.0, "fitted"),
}
# cores_per_chip, cores_per_tile, mesh_columns, mesh_rows, neurons, input axons, output axons, words, words per axon
LIMITS = {
    "loihi1": (128, 4, 8, 4, 1024, 4096, 4096, 16384, 256),
    "loihi1_davies2018": (128, 4, 8, 4, 1024, 4096, 4096, 16384, 256),
    "loihi2": (128, 4, 8, 4, 4095, 16000, 16000, 12000, U, 20000),
    "loihi2_2026a": (128, 4, 8, 4, 8192, 4096, 4096, 24576, U),
}
BARRIER_ENERGY = {"loihi2": (31500.0, 18200.0, 54500.0, "fitted")}
COSTS = {"loihi1": LOIHI1, "loihi1_davies2018": DAVIES, "loihi2": LOIHI2, "loihi2_2026a": LOIHI2_2026A}
CHIPS = sorted(COSTS)


def leaf(quantity: Quantity) -> tuple[object, ...]:
    return quantity.value, quantity.low, quantity.high, quantity.provenance


def chip(name: str) -> Chip:
    loaded = load_hardware(name)
    assert isinstance(loaded, Chip)
    return loaded


def shipped(name: str) -> dict:
    return yaml.safe_load((Path(__file__).parents[3] / "hardware_configs" / f"{name}.yaml").read_text())


def refusal(tmp_path: Path, data: object) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    with pytest.raises(HardwareConfigError) as caught:
        load_hardware(path)
    text = str(caught.value)
    assert "\n" not in text and "mine.yaml" in text
    return text


def test_names() -> None:
    assert hardware_names() == (
        "darwin3",
        "horowitz45nm",
        "loihi1",
        "loihi1_davies2018",
        "loihi2",
        "loihi2_2026a",
        "odin",
    )
    assert list(default_hardware()) == ["horowitz45nm", "loihi1", "loihi1_davies2018", "loihi2"]
    assert "superseded" in load_hardware("loihi2_2026a").title


def test_the_bands_of_loihi_2_hold_what_was_measured() -> None:
    """Two LIF neurons on an Oheo Gulch board: means of 100 runs, over six delays and three rates."""
    measured = chip("loihi2")
    floor, empty = measured.barrier.time_ns_by_tiles[1], measured.barrier.energy_pJ_per_step
    for seconds_per_10_million in (11.6321, 11.6392, 11.6423, 11.6446):
        assert floor.low <= seconds_per_10_million * 100 <= floor.high
    for joules_per_10_million in (0.2672, 0.3577, 0.3611, 0.4411):
        assert empty.low <= joules_per_10_million * 1e5 <= empty.high
    assert measured.static_mW_per_chip.low <= 211.788 and measured.static_mW_per_chip.high >= 214.849
    for tiles in (1, 2):
        assert measured.barrier.time_ns_by_tiles[tiles].high <= 3 * measured.barrier.time_ns_by_tiles[tiles].low


@pytest.mark.parametrize("name", CHIPS)
def test_every_number_is_the_published_one(name: str) -> None:
    loaded = chip(name)
    assert {key: (leaf(cost.energy_pJ), leaf(cost.time_ns)) for key, cost in loaded.costs} == COSTS[name]
    assert {tiles: leaf(knot) for tiles, knot in loaded.barrier.time_ns_by_tiles.items()} == BARRIERS[name]
    assert leaf(loaded.barrier.energy_pJ_per_step) == BARRIER_ENERGY.get(name, UNKNOWN)
    assert leaf(loaded.static_mW_per_chip) == STATIC[name]
    limits = [count for _, count in loaded.limits if count is not None]
    assert tuple(count.limit for count in limits) == LIMITS[name]
    assert all(count.low == count.value == count.high for count in limits)
    assert (loaded.partition, loaded.layout) == (("patches", "traffic") if name == "loihi2" else ("runs", "order"))
    assert leaf(loaded.management.time_ns_per_step) == (0, 0, 0, "bound")
    assert leaf(loaded.reset.energy_pJ_per_sample) == UNKNOWN
    assert all(leaf(quantity) == UNKNOWN for quantity in loaded.monitor.charged)


def test_barrier_between_entries() -> None:
    assert {name: chip(name).barrier.between for name in CHIPS} == {
        "loihi1": "floor",
        "loihi1_davies2018": "linear",
        "loihi2": "floor",
        "loihi2_2026a": "floor",
    }
    assert {name: chip(name).timing for name in CHIPS if name != "loihi2"} == dict.fromkeys(
        COSTS.keys() - {"loihi2"}, "sum"
    )
    assert chip("loihi2").timing == "maximum"


def test_capabilities() -> None:
    for name in ("loihi1", "loihi1_davies2018"):
        assert [key for key, can in chip(name).capabilities if can] == ["refractory_period"]
    assert set(dict(chip("loihi2").capabilities).values()) == {True}


def test_arithmetic_profile() -> None:
    profile = load_hardware("horowitz45nm")
    assert isinstance(profile, OperationProfile)
    assert leaf(profile.accumulate.energy_pJ) == (0.9, None, None, "simulated")
    assert leaf(profile.multiply_accumulate.energy_pJ) == (4.6, None, None, "simulated")


def test_a_path_loads_like_a_name(tmp_path: Path) -> None:
    path = tmp_path / "loihi2.yaml"
    path.write_text(yaml.safe_dump(shipped("loihi2")))
    assert load_hardware(path) == load_hardware(str(path)) == load_hardware("loihi2")


def test_a_file_that_says_evidence_is_still_read(tmp_path: Path) -> None:
    text = (files("spikecut.hardware_configs") / "loihi1.yaml").read_text(encoding="utf-8")
    (tmp_path / "loihi1.yaml").write_text(text.replace("provenance:", "evidence:"), encoding="utf-8")
    assert load_hardware(tmp_path / "loihi1.yaml") == load_hardware("loihi1")
    (tmp_path / "both.yaml").write_text(text.replace("provenance: bound", "provenance: bound, evidence: bound"))
    with pytest.raises(HardwareConfigError, match="evidence: unknown key"):
        load_hardware(tmp_path / "both.yaml")


def test_unknown_name_lists_the_names() -> None:
    with pytest.raises(
        HardwareConfigError, match="'loihi3' is unknown: choose darwin3, horowitz45nm, loihi1, loihi1_davies2018"
    ):
        load_hardware("loihi3")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(HardwareConfigError, match="no such file"):
        load_hardware(tmp_path / "none.yaml")


def test_immutable() -> None:
    loaded = load_hardware("loihi1")
    with pytest.raises(ValueError, match="frozen"):
        loaded.title = "another"


SPIKE = ("costs", "spike", "energy_pJ")
BAD_LEAVES = [
    ({"value": float("nan")}, r"costs\.spike\.energy_pJ\.value: .*finite"),
    ({"value": float("inf")}, r"costs\.spike\.energy_pJ\.value: .*finite"),
    ({"value": -1.0, "low": None}, r"costs\.spike\.energy_pJ\.value: .*greater than or equal to 0"),
    ({"value": "69.3"}, r"costs\.spike\.energy_pJ\.value: .*valid number"),
    ({"value": True}, r"costs\.spike\.energy_pJ\.value: .*valid number"),
    ({"low": 70.0}, r"costs\.spike\.energy_pJ: low 70\.0 exceeds the value 69\.3"),
    ({"high": 60.0}, r"costs\.spike\.energy_pJ: high 60\.0 is below the value 69\.3"),
    ({"value": None}, r"costs\.spike\.energy_pJ: the value is null: low, high and provenance must be null too"),
    ({"provenance": None}, r"costs\.spike\.energy_pJ: provenance is null"),
    ({"provenance": "measured"}, r"costs\.spike\.energy_pJ\.provenance: .*'simulated', 'fitted'.*correct it"),
    ({"source": ""}, r"costs\.spike\.energy_pJ\.source: .*at least 1 character"),
    ({"unit": "pJ"}, r"costs\.spike\.energy_pJ\.unit: unknown key: remove it"),
]


@pytest.mark.parametrize(("change", "message"), BAD_LEAVES)
def test_bad_number(tmp_path: Path, change: dict, message: str) -> None:
    data = shipped("loihi1")
    data["costs"]["spike"]["energy_pJ"].update(change)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(HardwareConfigError, match=message):
        load_hardware(path)
    refusal(tmp_path, data)


@pytest.mark.parametrize("key", ["value", "low", "high", "source", "provenance"])
def test_a_number_lacks_a_part(tmp_path: Path, key: str) -> None:
    data = shipped("loihi1")
    del data["costs"]["spike"]["energy_pJ"][key]
    assert f"costs.spike.energy_pJ.{key}: missing key: add it" in refusal(tmp_path, data)


def test_a_number_without_unit(tmp_path: Path) -> None:
    data = shipped("loihi1")
    data["costs"]["spike"]["energy"] = data["costs"]["spike"].pop("energy_pJ")
    text = refusal(tmp_path, data)
    assert "costs.spike.energy: unknown key" in text and "the unit is part of a key: energy_pJ" in text


def test_a_bare_number(tmp_path: Path) -> None:
    data = shipped("loihi1")
    data["costs"]["spike"]["energy_pJ"] = 69.3
    text = refusal(tmp_path, data)
    assert "costs.spike.energy_pJ: expected a mapping: write every number as {value, low, high, source" in text


@pytest.mark.parametrize(
    "key", ["capabilities", "limits", "costs", "barrier", "static_mW_per_chip", "monitor", "title"]
)
def test_missing_part(tmp_path: Path, key: str) -> None:
    data = shipped("loihi2")
    del data[key]
    assert f"{key}: missing key: add it" in refusal(tmp_path, data)


def test_limits(tmp_path: Path) -> None:
    data = shipped("loihi1")
    data["limits"]["neurons_per_core"].update(value=10.5, low=1, high=20)
    assert "limits.neurons_per_core: value 10.5: expected a whole number" in refusal(tmp_path, data)
    data = shipped("loihi1")
    data["limits"]["mesh_rows"].update(value=3, low=3, high=3)
    assert "limits: 128 cores_per_chip do not fit 8 x 3 tiles of 4 cores" in refusal(tmp_path, data)
    data = shipped("loihi1")
    data["limits"]["mesh_rows"].update(value=None, low=None, high=None, provenance=None)
    assert "limits: mesh_rows is null" in refusal(tmp_path, data)


def test_barrier_table(tmp_path: Path) -> None:
    data = shipped("loihi1")
    del data["barrier"]["time_ns_by_tiles"][1]
    assert "barrier.time_ns_by_tiles: the table must start at 1 tile" in refusal(tmp_path, data)
    data = shipped("loihi1")
    data["barrier"]["time_ns_by_tiles"][4].update(value=None, low=None, high=None, provenance=None)
    assert "some entries are null and some are not" in refusal(tmp_path, data)
    data = shipped("loihi1")
    data["barrier"]["time_ns_by_tiles"][0] = dict(data["barrier"]["time_ns_by_tiles"][1])
    assert "barrier.time_ns_by_tiles.0" in refusal(tmp_path, data)


def test_capability_must_be_a_truth_value(tmp_path: Path) -> None:
    data = shipped("loihi1")
    data["capabilities"]["soft_reset"] = "no"
    assert "capabilities.soft_reset" in refusal(tmp_path, data)


HOSTILE = {
    "empty": ("", "expected a mapping"),
    "list": ("- 1", "expected a mapping"),
    "kind": ("kind: toaster", "kind: expected chip or operations, found 'toaster'"),
    "kinds": ("kind: [chip]", "kind: expected chip or operations"),
    "name": ("kind: chip\nname: x", "name: unknown key"),
    "twice": ("kind: chip\nkind: chip", "key kind is given twice"),
    "alias": ("a: &a [1]\nb: *a", "aliases"),
    "object": ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
    "open": ("a: [", "not valid YAML"),
    "date": ("a: 9999-99-99", "not valid YAML"),
    "deep": ("[" * 5000, "not valid YAML"),
    "large": ("# " + "x" * SIZE_LIMIT, "at most 262144 are read"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_file(tmp_path: Path, case: str) -> None:
    text, message = HOSTILE[case]
    assert message in refusal(tmp_path, text)


def test_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(HardwareConfigError, match="not valid YAML"):
        load_hardware(path)


def test_unknown_is_not_zero_and_edges_may_be_unknown() -> None:
    davies = chip("loihi1_davies2018")
    assert davies.costs.spike.energy_pJ.value is None
    synapse = davies.costs.synop_dense.energy_pJ
    assert synapse.at("low") == synapse.at("value") == 23.6
    assert synapse.at("high") != synapse.at("high")


def test_the_base_type() -> None:
    assert all(isinstance(load_hardware(name), Hardware) for name in hardware_names())
