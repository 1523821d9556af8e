"""The cost model against SANA-FE (an independent simulator), spike for spike on the same placement."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sanafe_networks import CASES, crowded, network_of, spikes_into

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cost.estimate import estimate
from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Chip
from spikecut.deploy.placement.partition import synapse_format
from spikecut.deploy.placement.place import place
from spikecut.deploy.run_trace import RunTrace
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork

RELATIVE = 1e-9
REPLAY = Path(__file__).resolve().parents[2] / "support" / "sanafe_replay.py"
PYTHON = os.environ.get("SPIKECUT_SANAFE_PYTHON", sys.executable)

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "sanafe.json"


def spikes_of(network: IntegerNetwork, random: np.random.Generator) -> RunTrace:
    """A real run whose source is then silenced: SANA-FE has no source off the chip."""
    trace = run_batched(network, spikes_into(network, random), record="all")
    source, first = trace.events[0], trace.events[1]
    silent = replace(source, spikes=source.spikes * 0, raster=source.raster * 0)
    return replace(trace, events=(silent, replace(first, synops=first.synops * 0), *trace.events[2:]))


def synapse_pairs(layer: IntegerLayer) -> list[tuple[int, int]]:
    """(input neuron, output neuron) of every synapse, zero weights left out, tap by tap."""
    if layer.kind == "dense":
        return [(int(i), int(o)) for o, i in np.argwhere(layer.weight)]
    _, height, width = layer.input_shape
    channels, rows, columns = layer.output_shape
    found = []
    for o, k, r, c in np.argwhere(layer.weight):
        channel = o // (channels // layer.groups) * layer.weight.shape[1] + k
        for y in range(rows):
            for x in range(columns):
                iy = y * layer.stride[0] - layer.padding[0] + r
                ix = x * layer.stride[1] - layer.padding[1] + c
                if 0 <= iy < height and 0 <= ix < width:
                    found.append((int((channel * height + iy) * width + ix), int((o * rows + y) * columns + x)))
    return found


def asked(trace: RunTrace, chip: Chip, placement: Placement) -> dict:
    """What the replay needs to know."""
    network = trace.network
    layers, links = [], []
    per_tile = int(chip.limits.cores_per_tile.value)
    for number, (layer, placed) in enumerate(zip(network.layers, placement.layers, strict=True)):
        cores = [(core.x, core.y, core.index % per_tile) for core in placed.cores]
        places = [cores[position] for position in placed.core_of_neuron]
        layers.append({"neurons": len(places), "storage": synapse_format(layer), "places": places})
        if number:
            links.append({"source": number - 1, "target": number, "synapses": synapse_pairs(layer)})
        if layer.recurrent is not None:
            own = [(int(i), int(o)) for o, i in np.argwhere(layer.recurrent)]
            links.append({"source": number, "target": number, "synapses": own})
    fired = [
        [np.flatnonzero(events.raster[0, step]).tolist() for events in trace.events[1:]]
        for step in range(int(trace.hardware_steps[0]))
    ]
    return {
        "costs": {name: (cost.energy_pJ.value, cost.time_ns.value) for name, cost in chip.costs},
        "barrier_ns": {tiles: time.value for tiles, time in chip.barrier.time_ns_by_tiles.items()},
        "columns": int(chip.limits.mesh_columns.value),
        "rows": int(chip.limits.mesh_rows.value),
        "cores_per_tile": per_tile,
        "layers": layers,
        "links": links,
        "fired": fired,
    }


EACH = pytest.mark.parametrize(("kind", "neurons"), CASES)


def placed_run(kind: str, neurons: int) -> tuple[RunTrace, Chip, Placement]:
    random = np.random.default_rng(7)
    network = network_of(kind, random)
    chip = crowded(neurons)
    trace = spikes_of(network, random)
    placement = place(network, chip)
    assert trace.hardware_steps[0] >= 50 and placement.cores > len(network.layers) and placement.tiles > 2
    assert all(events.spikes.sum() > 50 for events in trace.events[1:])
    return trace, chip, placement


def digest(request: str) -> str:
    return hashlib.sha256(request.encode()).hexdigest()


@EACH
@pytest.mark.sanafe
@pytest.mark.skipif(
    "SPIKECUT_SANAFE_PYTHON" not in os.environ and importlib.util.find_spec("sanafe") is None,
    reason="sanafe is not installed: name a Python that has it in SPIKECUT_SANAFE_PYTHON",
)
def test_equals_sanafe(kind: str, neurons: int, tmp_path: Path) -> None:
    """The simulator itself; SPIKECUT_WRITE_GOLDEN=1 keeps its answers for where it is not installed."""
    trace, chip, placement = placed_run(kind, neurons)
    request, answer = tmp_path / "request.json", tmp_path / "answer.json"
    request.write_text(json.dumps(asked(trace, chip, placement)))
    done = subprocess.run([PYTHON, str(REPLAY), str(request), str(answer)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(answer.read_text())
    assert theirs["fired"] == sum(int(events.spikes.sum()) for events in trace.events[1:])
    compare(trace, chip, placement, theirs)
    if "SPIKECUT_WRITE_GOLDEN" in os.environ:
        golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        golden[kind] = {"request": digest(request.read_text()), **theirs}
        GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
    gap = sum(theirs["detailed_s"]) / sum(theirs["simple_s"]) - 1
    print(f"{kind}: SANA-FE's detailed timing is {gap:+.2%} of its simple one over {len(theirs['simple_s'])} steps")


@pytest.mark.slow
@EACH
def test_equals_what_sanafe_said(kind: str, neurons: int) -> None:
    """SANA-FE 2.2.9's recorded answers to the very same requests."""
    trace, chip, placement = placed_run(kind, neurons)
    golden = json.loads(GOLDEN.read_text())[kind]
    assert digest(json.dumps(asked(trace, chip, placement))) == golden["request"], "record SANA-FE's answers anew"
    compare(trace, chip, placement, golden)


def compare(trace: RunTrace, chip: Chip, placement: Placement, theirs: dict) -> None:
    """Step by step, as prefixes of the run, and in all."""
    assert len(theirs["simple_s"]) == trace.hardware_steps[0]
    for step in range(1, len(theirs["simple_s"]) + 1):
        assert prefix_cost(trace, chip, placement, step) == pytest.approx(
            [sum(theirs["simple_s"][:step]), sum(theirs["energy_j"][:step])], rel=RELATIVE, abs=0
        )


def prefix_cost(trace: RunTrace, chip: Chip, placement: Placement, steps: int) -> list[float]:
    events = tuple(
        replace(each, spikes=each.spikes[:, :steps], synops=each.synops[:, :steps], raster=each.raster[:, :steps])
        for each in trace.events
    )
    cost = estimate(replace(trace, hardware_steps=np.array([steps]), events=events), chip, placement=placement)
    return [float(cost.latency_s.value[0]), float(cost.dynamic_energy_j.value[0])]
