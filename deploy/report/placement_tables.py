"""Where a network fits: in a line, cores on every hardware, by layer, and each mesh with the load per core."""

from collections.abc import Mapping

from rich.console import RenderableType

from spikecut.deploy.placement.capabilities import Fit
from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Chip, Hardware
from spikecut.deploy.placement.mesh import busy_at_rates_ns, mesh_text
from spikecut.deploy.report.wide_table import WideTable
from spikecut.export.network.layers import IntegerNetwork


def fits_in_short(fits: Mapping[str, Fit]) -> list[str]:
    """A line for each chip: whether a network fits, and if not, why and what would make it fit; alike together."""
    names: dict[str, list[str]] = {}
    for name, fit in fits.items():
        names.setdefault(fit.note, []).append(name)
    return [f"{', '.join(which)}: {note}" for note, which in names.items()]


def placements_shown(
    network: IntegerNetwork, hardware: Mapping[str, Hardware], fits: Mapping[str, Fit]
) -> list[RenderableType]:
    """Tables of all hardware files, and of the cores of each layer; then the mesh of each chip that has a place."""
    table = WideTable("hardware", "cores", "tiles", "chips", "note", title="\nplacement")
    placed: dict[str, Placement] = {}
    meshes: list[RenderableType] = []
    for name, item in hardware.items():
        fit = fits[name]
        found = fit.placement
        if not isinstance(found, Placement) or not isinstance(item, Chip):
            table.add_row(name, "", "", "", fit.note)
            continue
        placed[name] = found
        table.add_row(name, str(found.cores), str(found.tiles), str(found.chips), fit.note)
        busy = busy_at_rates_ns(network, item, found)
        meshes.append(
            f"\n{name}: estimated load per core in tenths of the busiest, if everything sends\n"
            + mesh_text(found, item, busy)
        )
    return [table, *([_cores_by_layer(placed)] if placed else []), *meshes]


def _cores_by_layer(placed: Mapping[str, Placement]) -> WideTable:
    table = WideTable("layer", *placed, title="\ncores by layer")
    for layers in zip(*(found.layers for found in placed.values()), strict=True):
        table.add_row(layers[0].name, *(str(len(layer.cores)) for layer in layers))
    return table
