"""A chip as SANA-FE's architecture: tiles of cores at a hardware file's costs, and free cores that send the input."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from spikecut.deploy.cost.pricing import barrier_ns
from spikecut.deploy.placement.cores import Core, Placement
from spikecut.deploy.placement.hardware import Chip, EventCost

UNIT_NEURONS = 1024
"""Neurons that a soma or dendrite unit of SANA-FE holds; a core with more has several units."""
SECONDS, JOULES = 1e-9, 1e-12


def tile_number(core: Core, chip: Chip) -> int:
    """The number of a core's tile in SANA-FE: column after column."""
    return core.x * int(chip.limits.mesh_rows.value or 1) + core.y


def slot_number(core: Core, chip: Chip) -> int:
    """The place of a core on its tile."""
    return core.index % int(chip.limits.cores_per_chip.value or 1) % int(chip.limits.cores_per_tile.value or 1)


def architecture_data(chip: Chip, placement: Placement, sources: Mapping[int, int]) -> dict[str, Any]:
    """The architecture as data for YAML.

    sources: number of a tile → how many input neurons send from there.
    """
    columns, rows = int(chip.limits.mesh_columns.value or 1), int(chip.limits.mesh_rows.value or 1)
    neurons = max(int(layer.neurons.max()) for layer in placement.layers)
    tiles = []
    for inputs, group in groupby(range(columns * rows), lambda tile: sources.get(tile, 0)):
        numbers = list(group)
        cores = [_core(chip, neurons), *([_source(inputs)] if inputs else [])]
        name = f"tile_{numbers[0]}[0..{len(numbers) - 1}]"
        tiles.append({"name": name, "attributes": _links(chip), "core": cores})
    mesh = {
        "topology": "mesh",
        "width": columns,
        "height": rows,
        "link_buffer_size": 16,
        "sync_model": "table",
        "latency_sync": _barrier(chip, placement.tiles),
    }
    return {"architecture": {"name": chip.name, "attributes": mesh, "tile": tiles}}


def _energy(cost: EventCost) -> float:
    return cost.energy_pJ.at("value") * JOULES


def _time(cost: EventCost) -> float:
    return cost.time_ns.at("value") * SECONDS


def _barrier(chip: Chip, tiles: int) -> dict[int, float]:
    """Seconds by tiles in use, with what the embedded processors take in every step."""
    table = chip.barrier.time_ns_by_tiles
    known = table if chip.barrier.between == "floor" else range(1, max(tiles, *table) + 1)
    managed = chip.management.time_ns_per_step.at("value")
    return {count: (barrier_ns(chip.barrier, count, "value") + managed) * SECONDS for count in known}


def _links(chip: Chip) -> dict[str, float]:
    found = {}
    for directions, cost in (
        (("east", "west"), chip.costs.hop_east_west),
        (("north", "south"), chip.costs.hop_north_south),
    ):
        for direction in directions:
            found[f"energy_{direction}_hop"], found[f"latency_{direction}_hop"] = _energy(cost), _time(cost)
    return found


def _core(chip: Chip, neurons: int) -> dict[str, Any]:
    """The cores of a tile, each with units for so many neurons."""
    costs = chip.costs
    units = f"[0..{-(-neurons // UNIT_NEURONS) - 1}]"
    soma: dict[str, Any] = {"model": "leaky_integrate_fire"}
    for key, cost in (
        ("access_neuron", costs.neuron_access),
        ("update_neuron", costs.neuron_update),
        ("spike_out", costs.spike),
    ):
        soma[f"energy_{key}"], soma[f"latency_{key}"] = _energy(cost), _time(cost)
    synapses = [
        {
            "name": name,
            "attributes": {
                "model": "current_based",
                "energy_process_spike": _energy(cost),
                "latency_process_spike": _time(cost),
            },
        }
        for name, cost in costs
        if name.startswith("synop_")
    ]
    received = {"energy_message_in": _energy(costs.axon_in), "latency_message_in": _time(costs.axon_in)}
    sent = {"energy_message_out": _energy(costs.axon_out), "latency_message_out": _time(costs.axon_out)}
    cores = int(chip.limits.cores_per_tile.value or 1)
    return _pipeline(f"core[0..{cores - 1}]", neurons, received, synapses, (f"soma{units}", soma), sent, units)


def _source(inputs: int) -> dict[str, Any]:
    """A core that costs nothing, with a unit for each input neuron."""
    soma: dict[str, Any] = {"model": "input"}
    for key in ("access_neuron", "update_neuron", "spike_out"):
        soma[f"energy_{key}"] = soma[f"latency_{key}"] = 0.0
    synapse = {"model": "current_based", "energy_process_spike": 0.0, "latency_process_spike": 0.0}
    received = {"energy_message_in": 0.0, "latency_message_in": 0.0}
    sent = {"energy_message_out": 0.0, "latency_message_out": 0.0}
    synapses = [{"name": "none", "attributes": synapse}]
    return _pipeline("source", inputs, received, synapses, (f"input[0..{inputs - 1}]", soma), sent, "[0..0]")


def _pipeline(
    name: str,
    neurons: int,
    received: dict[str, float],
    synapses: list[dict[str, Any]],
    soma: tuple[str, dict[str, Any]],
    sent: dict[str, float],
    units: str,
) -> dict[str, Any]:
    """A core's units in SANA-FE's order; messages wait before the soma for the next step."""
    accumulator = {"model": "accumulator", "energy_update": 0.0, "latency_update": 0.0}
    return {
        "name": name,
        "attributes": {"buffer_position": "soma", "buffer_inside_unit": False, "max_neurons_supported": neurons},
        "axon_in": [{"name": "in", "attributes": received}],
        "synapse": synapses,
        "dendrite": [{"name": f"dendrite{units}", "attributes": accumulator}],
        "soma": [{"name": soma[0], "attributes": soma[1]}],
        "axon_out": [{"name": "out", "attributes": sent}],
    }
