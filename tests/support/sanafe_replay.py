"""Replay recorded spikes on SANA-FE, in a process of its own: sanafe_replay.py REQUEST.json ANSWER.json [MODEL ...]

The request names cores, neurons, synapses and, per step, who fires. Synapses weigh nothing; a neuron fires because its
bias is 2 against a threshold of 1 in that step, and 0 otherwise. The answer holds time and energy of every step, by
default with the timing models simple and detailed.
"""

import json
import sys
import tempfile
from pathlib import Path

import sanafe


def architecture(request: dict) -> dict:
    """The chip: as many tiles as the mesh has, with the cores that the request prices and no input units."""
    costs = {name: (pair[0] * 1e-12, pair[1] * 1e-9) for name, pair in request["costs"].items()}
    soma = {"model": "leaky_integrate_fire"}
    for key, name in (("access_neuron", "neuron_access"), ("update_neuron", "neuron_update"), ("spike_out", "spike")):
        soma[f"energy_{key}"], soma[f"latency_{key}"] = costs[name]
    synapses = []
    for name in ("synop_dense", "synop_sparse", "synop_conv"):
        energy, latency = costs[name]
        attributes = {"model": "current_based", "energy_process_spike": energy, "latency_process_spike": latency}
        synapses.append({"name": name, "attributes": attributes})
    tile = {}
    for directions, name in ((("east", "west"), "hop_east_west"), (("north", "south"), "hop_north_south")):
        for direction in directions:
            tile[f"energy_{direction}_hop"], tile[f"latency_{direction}_hop"] = costs[name]
    core = {
        "name": f"core[0..{request['cores_per_tile'] - 1}]",
        "attributes": {"buffer_position": "soma", "buffer_inside_unit": False, "max_neurons_supported": 1024},
        "axon_in": [
            {
                "name": "in",
                "attributes": {"energy_message_in": costs["axon_in"][0], "latency_message_in": costs["axon_in"][1]},
            }
        ],
        "synapse": synapses,
        "dendrite": [
            {"name": "dendrite", "attributes": {"model": "accumulator", "energy_update": 0.0, "latency_update": 0.0}}
        ],
        "soma": [{"name": "soma", "attributes": soma}],
        "axon_out": [
            {
                "name": "out",
                "attributes": {"energy_message_out": costs["axon_out"][0], "latency_message_out": costs["axon_out"][1]},
            }
        ],
    }
    mesh = {
        "topology": "mesh",
        "width": request["columns"],
        "height": request["rows"],
        "link_buffer_size": 16,
        "sync_model": "table",
        "latency_sync": {int(tiles): time * 1e-9 for tiles, time in request["barrier_ns"].items()},
    }
    last = request["columns"] * request["rows"] - 1
    tiles = [{"name": f"tile[0..{last}]", "attributes": tile, "core": [core]}]
    return {"architecture": {"name": "chip", "attributes": mesh, "tile": tiles}}


def flow(value: object) -> str:
    """Plain data in YAML's flow style, whose mapping keys may be numbers."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def build(request: dict) -> "sanafe.SpikingChip":
    """The chip with the network on its cores."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chip.yaml"
        data = architecture(request)["architecture"]
        path.write_text("architecture:\n" + "".join(f"  {key}: {flow(data[key])}\n" for key in data))
        chip_file = sanafe.load_arch(str(path))
    network = sanafe.Network()
    groups = []
    for number, layer in enumerate(request["layers"]):
        group = network.create_neuron_group(
            f"layer{number}",
            layer["neurons"],
            soma_hw_name="soma",
            default_synapse_hw_name=layer["storage"],
            model_attributes={"threshold": 1.0, "bias": 0.0, "force_update": True},
        )
        for neuron, (x, y, slot) in zip(group.neurons, layer["places"], strict=True):
            neuron.map_to_core(chip_file.tiles[x * request["rows"] + y].cores[slot])
        groups.append(group)
    for link in request["links"]:
        pairs = [tuple(pair) for pair in link["synapses"]]
        groups[link["source"]].connect_neurons_sparse(groups[link["target"]], {"weight": [0.0] * len(pairs)}, pairs)
    chip = sanafe.SpikingChip(chip_file)
    chip.load(network)
    return chip


def replay(request: dict, timing_model: str) -> tuple[list[float], list[float], int]:
    """Seconds and joules of every step, and the spikes seen in all."""
    chip = build(request)
    mapped = chip.mapped_neuron_groups
    neurons = [list(mapped[f"layer{number}"]) for number in range(len(request["layers"]))]
    firing: set[tuple[int, int]] = set()
    times, energies, fired = [], [], 0
    for step in request["fired"]:
        wanted = {(number, neuron) for number, indices in enumerate(step) for neuron in indices}
        for number, neuron in firing ^ wanted:
            bias = 2.0 if (number, neuron) in wanted else 0.0
            neurons[number][neuron].set_attributes(model_attributes={"bias": bias})
        firing = wanted
        result = chip.sim(1, timing_model=timing_model)
        times.append(result["sim_time"])
        energies.append(result["energy"]["total"])
        fired += result["neurons_fired"]
    return times, energies, fired


def main() -> None:
    """Answer a request with these timing models."""
    request = json.loads(Path(sys.argv[1]).read_text())
    answer: dict[str, object] = {}
    for model in sys.argv[3:] or ("simple", "detailed"):
        times, energies, fired = replay(request, model)
        answer[f"{model}_s"] = times
        answer.setdefault("energy_j", energies)
        answer.setdefault("fired", fired)
    Path(sys.argv[2]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
