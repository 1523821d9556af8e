"""Every number of the shipped hardware files has a source that says where in it."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import yaml

from spikecut.deploy.placement.hardware import hardware_names, load_hardware
from spikecut.deploy.placement.quantities import Quantity, parameters

PLACE = re.compile(
    r"Table \d|cells? \d|Fig\. \d|Figs/|Eq\. \d|\.md, \d|res\.json, |pull request \d|issue \d|abstract|caption"
    r"|\.py, line \d|table 'Comparison of Loihi|section '"
    r"|loihi\.yaml, |loihi1\.yaml, (limits|costs)\.|of this file|part of (costs\.|axon_in)|t_mgmt|a judgement"
)
"""A place in a source, another number of ours, or the word that nobody measured it."""
KNOWN = {
    f"{name}: {key}": quantity
    for name in hardware_names()
    for key, quantity in parameters(load_hardware(name)).items()
    if quantity.value is not None
}


def test_every_known_number_says_where_in_its_source() -> None:
    assert len(KNOWN) >= 192
    texts = {key: " ".join(quantity.source.split()) for key, quantity in KNOWN.items()}
    assert [key for key, text in texts.items() if not PLACE.search(text)] == []
    assert not any("not known" in text or "could not be found" in text for text in texts.values())


def test_what_is_taken_from_loihi1_is_what_stands_there() -> None:
    """Each reference names a number that there is, and what is inherited unchanged equals it."""
    taken = re.compile(r"loihi1\.yaml, (limits\.\w+|costs\.\w+\.(?:energy_pJ|time_ns))")
    found = {key: taken.search(quantity.source) for key, quantity in KNOWN.items() if key.startswith("loihi2")}
    named = {key: match[1] for key, match in found.items() if match}
    assert len(named) >= 40
    for key, other in named.items():
        quantity, there = KNOWN[key], KNOWN[f"loihi1: {other}"]
        divided = re.search(rf"{re.escape(other)}, divided by (\d+) \(", quantity.source)
        expected = there.value / int(divided[1]) if divided else there.value
        if "band: from that of" not in quantity.source:
            assert quantity.value == pytest.approx(expected, rel=1e-12), key


@pytest.fixture(scope="module")
def sanafes_loihi() -> dict[str, Any]:
    try:
        file = Path(str(distribution("sanafe").locate_file("sanafe/examples/loihi.yaml")))
    except PackageNotFoundError:
        pytest.skip("sanafe is not installed")
    read: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["architecture"]
    return read


def test_what_is_taken_from_sanafe_is_what_stands_there(sanafes_loihi: dict[str, Any]) -> None:
    tile = sanafes_loihi["tile"][0]
    core = tile["core"][0]
    units = {f"{kind} {unit['name']}": unit for kind in core if isinstance(core[kind], list) for unit in core[kind]}
    units |= {f"tile {tile['name']}": tile}
    seen = 0
    for key, quantity in KNOWN.items():
        place = re.search(r"examples/loihi\.yaml, (.*?) \(Boyle", " ".join(quantity.source.split()))
        if place is None:
            continue
        unit, name = place[1].split(", ", 1)
        if unit == "attributes":
            tiles = int(name.removeprefix("latency_sync, "))
            theirs = float(sanafes_loihi["attributes"]["latency_sync"][tiles])
        else:
            theirs = float(units[unit]["attributes"][name])
        scale = 1e12 if key.endswith("energy_pJ") else 1e9
        assert quantity.value == pytest.approx(scale * theirs, rel=1e-12), key
        seen += 1
    assert seen == 24
    limits = {key.partition("limits.")[2]: quantity.value for key, quantity in KNOWN.items() if "loihi1: lim" in key}
    attributes = sanafes_loihi["attributes"]
    assert (limits["mesh_columns"], limits["mesh_rows"]) == (attributes["width"], attributes["height"])
    assert limits["neurons_per_core"] == core["attributes"]["max_neurons_supported"]
    per_tile, tiles = (1 + int(each["name"].partition("..")[2][:-1]) for each in (core, tile))
    assert (limits["cores_per_tile"], limits["cores_per_chip"]) == (per_tile, per_tile * tiles)


def test_an_unknown_number_says_why() -> None:
    for name in hardware_names():
        for quantity in parameters(load_hardware(name)).values():
            assert isinstance(quantity, Quantity) and len(quantity.source) >= 10
