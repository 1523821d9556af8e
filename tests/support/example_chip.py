"""The hardware file of the worked example in docs/cost_model.md, to be changed at will."""

from pathlib import Path

import yaml

# The chip of the worked example in docs/cost_model.md: energy in pJ, time in ns; low is half, high is twice the value.
EXAMPLE = {
    "neuron_access": (10, 2),
    "neuron_update": (5, 1),
    "spike": (20, 4),
    "axon_out": (30, 3),
    "axon_in": (1, 6),
    "synop_dense": (7, 4),
    "synop_sparse": (8, 5),
    "synop_conv": (6, 3),
    "hop_east_west": (3, 1),
    "hop_north_south": (4, 1),
}


def leaf(value: float | None, low: float | None = None, high: float | None = None) -> dict:
    provenance = None if value is None else "bound"
    return {"value": value, "low": low, "high": high, "provenance": provenance, "source": "worked example"}


def banded(value: float) -> dict:
    return leaf(value, value / 2, value * 2)


def example_data(**limits: int) -> dict:
    counts = {
        "cores_per_chip": 8,
        "cores_per_tile": 1,
        "mesh_columns": 2,
        "mesh_rows": 4,
        "neurons_per_core": 2,
        "input_axons_per_core": 64,
        "output_axons_per_core": 64,
        "synaptic_words_per_core": 64,
        "words_per_axon": 64,
        **limits,
    }
    unknown = leaf(None)
    return {
        "kind": "chip",
        "title": "worked example",
        "capabilities": dict.fromkeys(("graded_spikes", "soft_reset", "initial_state", "programmable_neuron"), False),
        "limits": {name: leaf(count, count, count) for name, count in counts.items()},
        "costs": {name: {"energy_pJ": banded(e), "time_ns": banded(t)} for name, (e, t) in EXAMPLE.items()},
        "barrier": {
            "energy_pJ_per_step": unknown,
            "between": "floor",
            "time_ns_by_tiles": {1: banded(100), 2: banded(150), 4: banded(250)},
        },
        "management": {"time_ns_per_step": leaf(0, 0, 0)},
        "static_mW_per_chip": banded(2),
        "reset": {"energy_pJ_per_sample": unknown},
        "monitor": dict.fromkeys(
            ("messages_per_step", "time_ns_per_step", "energy_pJ_per_step", "delay_steps"), unknown
        ),
    }


class NoAlias(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def written(folder: Path, data: dict, name: str = "example") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.dump(data, Dumper=NoAlias))
    return path
