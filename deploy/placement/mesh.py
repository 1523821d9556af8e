"""A placement as text: every core of the mesh with its layer and its load."""

from collections.abc import Sequence
from dataclasses import dataclass

from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.fan_out import core_times_ns
from spikecut.deploy.placement.hardware import Chip
from spikecut.deploy.placement.partition import FloatArray, mean_load, worst_load
from spikecut.deploy.placement.place import Rates
from spikecut.export.network.layers import IntegerNetwork

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
IDLE = "·"


@dataclass(frozen=True)
class MeshCell:
    """One core in use: its place on its chip, its layer (a position), neurons and load relative to the busiest."""

    chip: int
    column: int
    row: int
    slot: int
    layer: int
    neurons: int
    load: float


def busy_at_rates_ns(
    network: IntegerNetwork, chip: Chip, placement: Placement, rates: Rates | None = None
) -> tuple[FloatArray, ...]:
    """Mean time of a step of every core, per layer float64 [cores], ns: everything sends, or messages at these rates.

    Estimated from the load that the placement was balanced for; what a run's cores really did is in `attribute`.
    """
    found = []
    for layer, placed, paths in zip(network.layers, placement.layers, network.paths, strict=True):
        load = worst_load(paths, chip) if rates is None else mean_load(paths, chip, rates)
        found.append(core_times_ns(layer, load, placed))
    return tuple(found)


def mesh_cells(placement: Placement, chip: Chip, busy: Sequence[FloatArray]) -> list[MeshCell]:
    """The cores in use, in the order of their index; load is the core's share of the busiest core's time."""
    columns = int(chip.limits.mesh_columns.value or 1)
    per_tile = int(chip.limits.cores_per_tile.value or 1)
    per_chip = int(chip.limits.cores_per_chip.value or 1)
    largest = max(float(times.max()) for times in busy) or 1.0
    cells = []
    for layer, (placed, times) in enumerate(zip(placement.layers, busy, strict=True)):
        for core, neurons, time in zip(placed.cores, placed.neurons, times, strict=True):
            slot = core.index % per_chip % per_tile
            column = core.x - core.chip * columns
            cells.append(MeshCell(core.chip, column, core.y, slot, layer, int(neurons), float(time) / largest))
    return cells


def mesh_text(placement: Placement, chip: Chip, busy: Sequence[FloatArray]) -> str:
    """The mesh, one line per row of tiles and chip: each core a letter for its layer and its load in tenths.

    `a9` is a core of the first layer that is 90 to 100 % as busy as the busiest; `··` is idle. Rows below and columns
    right of the last core in use are left out.
    """
    cells = mesh_cells(placement, chip, busy)
    columns = 1 + max(cell.column for cell in cells)
    per_tile = int(chip.limits.cores_per_tile.value or 1)
    lines: list[str] = []
    for number in range(placement.chips):
        on_chip = {(cell.row, cell.column, cell.slot): cell for cell in cells if cell.chip == number}
        if placement.chips > 1:
            lines.append(f"chip {number + 1}")
        for row in range(1 + max(key[0] for key in on_chip)):
            tiles = []
            for column in range(columns):
                found = [on_chip.get((row, column, slot)) for slot in range(per_tile)]
                tiles.append(" ".join(IDLE * 2 if cell is None else _short(cell) for cell in found))
            lines.append(" | ".join(tiles))
    legend = [f"{_letter(i)} {placed.name} ({len(placed.cores)})" for i, placed in enumerate(placement.layers)]
    return "\n".join([*lines, ", ".join(legend)])


def _short(cell: MeshCell) -> str:
    return f"{_letter(cell.layer)}{min(9, int(10 * cell.load))}"


def _letter(layer: int) -> str:
    return LETTERS[layer % len(LETTERS)]
