"""A hardware file of one's own: the template, what is missing in it, and the chips that a file alone describes."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml

from spikecut.deploy.placement.capabilities import check_capabilities
from spikecut.deploy.placement.hardware import Chip, load_hardware
from spikecut.deploy.placement.hardware_template import UNWRITTEN, check_hardware, hardware_template
from spikecut.deploy.placement.place import place
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

MESH = {"cores_per_chip": 8, "cores_per_tile": 4, "mesh_columns": 2, "mesh_rows": 1}


def network(weight: int = 6, **neuron: int) -> IntegerNetwork:
    layer = IntegerLayer(
        "only", "dense", np.full((2, 3), weight), IntegerNeuron(1, np.zeros(2, dtype=int), **neuron), (3,), (2,)
    )
    return IntegerNetwork((layer,), InputSpec((3,), "events"), "count", horizon=2)


def test_the_template_has_every_key_of_a_hardware_file() -> None:
    def keys(part: object) -> object:
        if isinstance(part, dict) and "source" not in part:
            return {key: keys(inner) for key, inner in part.items()}
        return sorted(part) if isinstance(part, dict) else None

    template = yaml.safe_load(hardware_template("mine"))
    shipped = yaml.safe_load((files("spikecut.hardware_configs") / "loihi2.yaml").read_text())
    shipped["barrier"]["time_ns_by_tiles"] = {1: shipped["barrier"]["time_ns_by_tiles"][1]}
    assert keys(template) == keys(shipped)


def test_a_template_that_is_filled_in_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(hardware_template("mine"))
    (problem,) = check_hardware(path).problems
    assert "cores_per_chip, cores_per_tile, mesh_columns, mesh_rows are null" in problem
    data = yaml.safe_load(path.read_text())
    for key, count in MESH.items():
        data["limits"][key] = {"value": count, "low": count, "high": count, "source": "a", "provenance": "bound"}
    path.write_text(yaml.safe_dump(data))
    found = check_hardware(path)
    assert (
        found.problems == ()
        and "costs.spike.energy_pJ" in found.still_open
        and "costs.spike.time_ns" in found.still_open
    )
    assert (found.unknown, found.unsourced) == ((), ()) and UNWRITTEN in path.read_text()
    data["costs"]["spike"] = {
        "energy_pJ": {"value": None, "low": None, "high": None, "source": "never measured", "provenance": None},
        "time_ns": {"value": 1.0, "low": 1.0, "high": 1.0, "source": UNWRITTEN, "provenance": "bound"},
    }
    path.write_text(yaml.safe_dump(data))
    found = check_hardware(path)
    assert (found.unknown, found.unsourced) == (("costs.spike.energy_pJ",), ("costs.spike.time_ns",))
    assert not {*found.unknown, *found.unsourced} & {*found.still_open}
    loaded = load_hardware(path)
    assert isinstance(loaded, Chip) and place(network(), loaded).cores == 1


def test_every_problem_of_a_file_is_named(tmp_path: Path) -> None:
    data = yaml.safe_load((files("spikecut.hardware_configs") / "loihi1.yaml").read_text())
    del data["title"], data["costs"]["spike"]["energy_pJ"]["source"]
    data["reset"]["energy"] = 3
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data))
    problems = check_hardware(tmp_path / "mine.yaml").problems
    assert len(problems) == 3
    assert {problem.split(":")[0] for problem in problems} == {"title", "costs.spike.energy_pJ.source", "reset.energy"}


@pytest.mark.parametrize(
    ("made", "missing"),
    [
        (network(), None),
        (network(weight=-2), "negative membranes"),
        (network(decay_v=410), "an exponential leak"),
        (network(decay_u=410), "an exponential leak"),
    ],
)
def test_odin_refuses_what_its_neurons_cannot_count(made: IntegerNetwork, missing: str | None) -> None:
    refused = [refusal.feature for refusal in check_capabilities(made, load_hardware("odin"))]
    assert len(refused) == (missing is not None) and all(missing in feature for feature in refused)


def test_weights_count_up_to_a_common_factor() -> None:
    weight = np.array([[2, 14, 6], [2, 2, 2]])
    for largest, fits in ((14, True), (16, False)):
        weight[0, 1] = largest
        layer = IntegerLayer("only", "dense", weight, IntegerNeuron(1, np.zeros(2, dtype=int)), (3,), (2,))
        made = IntegerNetwork((layer,), InputSpec((3,), "events"), "count", horizon=2)
        refused = [refusal.feature for refusal in check_capabilities(made, load_hardware("odin"))]
        assert refused == ([] if fits else ["weights of 5 bits (it has 4)"])


def test_odin_at_its_measured_rate_draws_its_measured_power() -> None:
    """75 MHz, a synaptic operation every two cycles: 477 µW measured (Frenkel et al. 2019, IV-A)."""
    odin = load_hardware("odin")
    assert isinstance(odin, Chip)
    event = odin.costs.axon_in
    microwatts = (event.energy_pJ.value / event.time_ns.value + odin.static_mW_per_chip.value) * 1e3
    assert microwatts == pytest.approx(477, rel=0.005)


def test_darwin3_has_the_energy_of_synaptic_operations_and_no_more() -> None:
    darwin = load_hardware("darwin3")
    assert isinstance(darwin, Chip) and not darwin.by_default
    assert [name for name, cost in darwin.costs if cost.energy_pJ.value is not None] == [
        "synop_dense",
        "synop_sparse",
        "synop_conv",
    ]
    assert place(network(), darwin).cores == 1
