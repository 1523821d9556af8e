"""Picture of a placement: the mesh of every chip, each core coloured by its load and marked with its layer."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Chip
from spikecut.deploy.placement.mesh import mesh_cells
from spikecut.deploy.placement.partition import FloatArray

COLOURS = LinearSegmentedColormap.from_list("load", ["#F0F6FA", "#56B4E9", "#0072B2"])
DARK = 0.55
"""Load from which a mark is written in white."""
MOST_CHIPS = 8


def mesh_figure(placement: Placement, chip: Chip, busy: Sequence[FloatArray], title: str = "") -> Figure:
    """The mesh with the estimated load per core; at most MOST_CHIPS chips are drawn, and the title says so.

    Parameters
    ----------
    busy: per layer the time of every core, float64 [cores]: Attribution.busy_ns, or that of `busy_at_rates_ns`.
    """
    columns = int(chip.limits.mesh_columns.value or 1)
    rows = int(chip.limits.mesh_rows.value or 1)
    shown = min(placement.chips, MOST_CHIPS)
    cells = mesh_cells(placement, chip, busy)
    figure = Figure(figsize=(max(4.5, 0.95 * columns), 1.1 + (0.85 * rows + 0.3) * shown), layout="constrained")
    panels = figure.subplots(shown, 1, squeeze=False)[:, 0]
    side = _side(int(chip.limits.cores_per_tile.value or 1))
    for number, axes in enumerate(panels):
        _draw_tiles(axes, columns, rows)
        for cell in cells:
            if cell.chip == number:
                _draw_core(axes, cell.column, cell.row, cell.slot, side, cell.load, str(cell.layer + 1))
        axes.set_ylabel(f"chip {number + 1}" if placement.chips > 1 else "")
    names = ", ".join(f"{i + 1} {layer.name}" for i, layer in enumerate(placement.layers))
    cut = f", {shown} of {placement.chips} chips shown" if shown < placement.chips else ""
    panels[0].set_title(
        f"{title or placement.hardware}: {placement.cores} cores on {placement.tiles} tiles{cut}\n{names}",
        fontsize=9,
        loc="left",
        wrap=True,
    )
    figure.colorbar(
        ScalarMappable(Normalize(0, 1), COLOURS), ax=list(panels), label="load, estimated (1: busiest core)", shrink=0.9
    )
    return figure


def _side(cores: int) -> int:
    """Cores along the side of a tile that is drawn as a square."""
    side = 1
    while side * side < cores:
        side += 1
    return side


def _draw_tiles(axes: Axes, columns: int, rows: int) -> None:
    for column in range(columns):
        for row in range(rows):
            axes.add_patch(Rectangle((column + 0.03, row + 0.03), 0.94, 0.94, facecolor="white", edgecolor="0.7"))
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _draw_core(axes: Axes, column: int, row: int, slot: int, side: int, load: float, mark: str) -> None:
    extent = 0.86 / side
    x, y = column + 0.07 + (slot % side) * extent, row + 0.07 + (slot // side) * extent
    box = Rectangle((x, y), extent * 0.94, extent * 0.94, facecolor=COLOURS(load), edgecolor="0.5", linewidth=0.5)
    axes.add_patch(box)
    colour = "white" if load > DARK else "black"
    axes.text(x + extent * 0.47, y + extent * 0.47, mark, ha="center", va="center", fontsize=6, color=colour)
