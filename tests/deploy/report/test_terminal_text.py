"""What run, sweep, inspect and train print, at 80 and at 120 columns, against texts that were checked by eye.

The texts are in tests/golden/terminal; `pytest --update-golden` writes them anew, and whoever does it reads them.
"""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_chip import example_data
from rich.console import Console, RenderableType

from spikecut.deploy.cost.summary import RunCosts
from spikecut.deploy.cutoff.base import ExitReason, LabelledScores
from spikecut.deploy.placement.capabilities import Fit
from spikecut.deploy.placement.hardware import Chip, Hardware, load_hardware
from spikecut.deploy.report.cost_tables import run_costs_shown
from spikecut.deploy.report.network_tables import accuracy_table, layer_rows, layer_table, manifest_tables
from spikecut.deploy.report.placement_tables import placements_shown
from spikecut.deploy.report.run_ending import run_ending
from spikecut.deploy.report.sweep_tables import sweep_shown
from spikecut.deploy.report.tables import demo_table
from spikecut.deploy.report.wide_table import WideTable
from spikecut.deploy.run.summary import Provenance, summarise
from spikecut.deploy.run_counts import RunCounts
from spikecut.deploy.run_trace import LayerEvents, RunTrace
from spikecut.deploy.sweep.sweep import sweep
from spikecut.errors import Refusal
from spikecut.export.manifest import Agreement, LayerEntry, Manifest
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

HORIZON, SAMPLES, CLASSES = 8, 40, 10
LABELS = np.arange(SAMPLES) % CLASSES
EXITS = np.array([1, 1, 2, 1, 3, 1, 2, 8] * 5)


def network() -> IntegerNetwork:
    """Three layers with soft reset and a membrane readout, which Loihi 1 refuses; nothing in it is drawn."""
    source = InputSpec((1, 8, 8), "direct", bits=5, signed=True)
    first = IntegerNeuron(2309, np.arange(16), reset="subtract", v_init=1154)
    second = IntegerNeuron(660, np.arange(32), reset="subtract", v_init=330)
    last = IntegerNeuron(1, np.zeros(CLASSES, dtype=np.int64), reset="none")
    weights = (np.arange(16 * 9) % 7 - 3).reshape(16, 1, 3, 3) * 2
    deeper = (np.arange(32 * 16 * 9) % 5 - 2).reshape(32, 16, 3, 3) * 2
    dense = (np.arange(CLASSES * 512) % 9 - 4).reshape(CLASSES, 512) * 2
    layers = (
        IntegerLayer("conv1", "conv", weights, first, (1, 8, 8), (16, 8, 8), padding=(1, 1)),
        IntegerLayer("conv2", "conv", deeper, second, (16, 8, 8), (32, 4, 4), stride=(2, 2), padding=(1, 1)),
        IntegerLayer("output", "dense", dense, last, (32, 4, 4), (CLASSES,)),
    )
    return IntegerNetwork(layers, source, "membrane", HORIZON, name="digits-qcfs")


NETWORK = network()


def scores() -> np.ndarray:
    """Of the full horizon: each sample is right from its exit on, and predicts its neighbour's class before."""
    made = np.zeros((HORIZON, SAMPLES, CLASSES), dtype=np.int64)
    for sample, (label, since) in enumerate(zip(LABELS, EXITS, strict=True)):
        made[: since - 1, sample, (label + 1) % CLASSES] = 1
        made[since - 1 :, sample, label] = 9
    return made


def trace(timesteps: np.ndarray) -> RunTrace:
    """A run with these exits, in which a fixed part of every layer sends."""
    depth = len(NETWORK.layers)
    steps = timesteps + depth
    shapes = [NETWORK.input_shape, *(layer.output_shape for layer in NETWORK.layers)]
    events = []
    for place, shape in enumerate(shapes):
        raster = np.zeros((SAMPLES, HORIZON + depth, int(np.prod(shape))), dtype=np.int32)
        raster[:, place:, ::3] = 1
        raster[np.arange(HORIZON + depth) >= steps[:, None]] = 0
        sent = np.count_nonzero(raster, axis=2).astype(np.int64)
        name = NETWORK.layers[place - 1].name if place else "input"
        events.append(LayerEvents(name, shape, sent, sent, raster))
    valid = np.arange(1, HORIZON + 1)[:, None] <= timesteps
    kept = np.where(valid[..., None], scores(), 0)
    reason = tuple(ExitReason.HORIZON if t == HORIZON else ExitReason.CUTOFF for t in timesteps)
    return RunTrace(kept, valid, timesteps, steps, reason, NETWORK, "batched", tuple(events))


def chips() -> dict[str, Hardware]:
    """Hardware whose numbers never change: a chip that refuses the network, one that takes it, operations alone."""
    roomy = {"neurons_per_core": 2048, "input_axons_per_core": 10_000, "output_axons_per_core": 10_000}
    roomy |= {"synaptic_words_per_core": 100_000, "words_per_axon": 10_000}
    data = example_data(**roomy)
    able = {**data, "capabilities": dict.fromkeys(data["capabilities"], True), "title": "worked example, able"}
    found: dict[str, Hardware] = {"operations": load_hardware("horowitz45nm")}
    for name, content in {"chip_of_2018": data, "able_chip": able}.items():
        found[name] = Chip.model_validate({**content, "name": name})
    return found


@pytest.fixture(scope="module")
def ran() -> dict[str, list[RenderableType]]:
    """What each command shows."""
    full, cut = trace(np.full(SAMPLES, HORIZON)), trace(EXITS)
    hardware = chips()
    fits = {name: Fit.of(NETWORK, item) for name, item in hardware.items()}
    costs = RunCosts.of(cut, full, hardware)
    config = {
        "dataset": "digits",
        "policy": {"policy": "topk"},
        "cutoff": {"file": "bundle/cutoff.json", "dataset": "digits", "samples": 450, "epsilon": 0.01, "delta": None},
    }
    counts, provenance = RunCounts.of(cut, LABELS, full), Provenance(0, {}, config)
    made = summarise(counts, savings=costs.saved, hardware=costs.summary(), provenance=provenance).data()
    ending = run_ending(made, fits, "runs/mine")
    many = {f"{name}{n}": entry for n in (1, 2, 3) for name, entry in made["hardware"].items()}
    whole = {"accuracy_cutoff": None, "savings": None, "config": {"dataset": "mine.npz"}}
    whole |= {"mean_timesteps": 8.0, "mean_hardware_steps": 11.0}
    tables = [demo_table([{**made, "hardware": {}}]), *placements_shown(NETWORK, hardware, fits)]
    return {
        "run": [ending],
        "run-no-cutoff": [run_ending({**made, **whole}, fits)],
        "run-many": [run_ending({**made, "hardware": many}, {name: fits[name[:-1]] for name in many}, "runs/mine")],
        "run-detail": [*tables, *run_costs_shown(costs), "", ending],
        "sweep": sweep_shown(swept(), "bundle"),
        "inspect": inspected(fits),
        "train": [accuracy_table([0.5 + 0.03 * t for t in range(16)], "net.safetensors")],
        "train-long": [accuracy_table([0.5 + 0.001 * t for t in range(200)], "net.safetensors")],
    }


def swept() -> object:
    """A sweep whose costs are fixed numbers."""
    labelled = LabelledScores.of(scores(), LABELS)
    made = sweep(labelled, labelled, 3, epsilons=(0.01, 0.1))
    full = {"latency_s": (2e-4, 1e-4, 4e-4), "energy_j": (5e-5, 2e-5, 1e-4)}
    halved = {"latency_s": (1e-4, 5e-5, 2e-4), "energy_j": (2e-5, 1e-5, 4e-5)}
    return replace(
        made,
        points=tuple(replace(point, costs={"horowitz45nm": halved, "chip": halved}) for point in made.points),
        full_costs={"horowitz45nm": full, "chip": full},
        refusals={"loihi1": Refusal("loihi1", "cannot run here: soft reset")},
        basis={"chip": {"unknown_time": ["monitor time"], "provenance_time": ["scaled"]}},
    )


def inspected(fits: dict[str, Fit]) -> list[RenderableType]:
    """The integers of a bundle, and where they fit."""
    entry = {
        "scale": 256.0,
        "weight_bits": 8,
        "weight_error_max": 0.00094,
        "weight_error_rms": 0.00052,
        "threshold_error": 0.00033,
        "bias_error_max": 5.9e-5,
        "bias_exponent": 3,
        "headroom_bits": 0.24,
        "headroom": "proven",
    }
    manifest = Manifest(
        format=3,
        name="digits-qcfs",
        loader="spikecut",
        beyond_netx=["membrane readout", "conv1: soft reset"],
        input_message_bits=5,
        readout="membrane",
        horizon=HORIZON,
        depth=3,
        input={},
        layers=[LayerEntry(name=layer.name, **entry) for layer in NETWORK.layers],
        agreement=Agreement(samples=64, same_prediction=63, float_correct=61, twin_correct=62),
        files={},
        recipe={},
        versions={},
    )
    table = layer_table(layer_rows(NETWORK), "bundle: digits-qcfs, T = 8, readout membrane")
    return [table, *manifest_tables(manifest), *placements_shown(NETWORK, chips(), fits)]


def printed(parts: list[RenderableType], width: int) -> str:
    """The parts as a file receives them, without blanks at the ends of lines."""
    console = Console(width=width, file=io.StringIO(), markup=False)
    for part in parts:
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


COMMANDS = ("run", "run-no-cutoff", "run-many", "run-detail", "sweep", "inspect", "train", "train-long")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_print_what_was_checked_by_eye(
    ran: dict[str, list[RenderableType]], repository: Path, request: pytest.FixtureRequest, command: str, width: int
) -> None:
    text = printed(ran[command], width)
    path = repository / "tests" / "golden" / "terminal" / f"{command}-{width}.txt"
    if request.config.getoption("--update-golden"):
        path.write_text(text, encoding="utf-8")
    assert max(map(len, text.splitlines())) <= width and "…" not in text.replace("t = 1 … T", "")
    assert text == path.read_text(encoding="utf-8")


def test_a_run_ends_in_at_most_12_lines_with_the_next_command(ran: dict[str, list[RenderableType]]) -> None:
    for command in ("run", "run-many"):
        for width in (80, 120):
            assert len(printed(ran[command], width).splitlines()) <= 11


def test_columns_that_do_not_fit_go_into_further_blocks() -> None:
    table = WideTable("layer", "a" * 20, "b" * 20, "c" * 20)
    table.add_row("conv", "1")
    assert table.blocks(80) == [[0, 1, 2, 3]] and table.blocks(70) == [[0, 1, 2], [0, 3]]
    assert table.blocks(10) == [[0, 1], [0, 2], [0, 3]]
    assert WideTable("alone").blocks(10) == [[0]]
