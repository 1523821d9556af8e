"""Where a network fits: cores per layer on every hardware, and each mesh with the load per core."""

from collections.abc import Mapping

from rich.console import RenderableType
from rich.table import Table

from spikecut.deploy.placement.capabilities import Fit
from spikecut.deploy.placement.hardware import Chip, Hardware
from spikecut.deploy.placement.mesh import busy_at_rates_ns, mesh_text
from spikecut.errors import Refusal
from spikecut.export.network.layers import IntegerNetwork


def placements_shown(
    network: IntegerNetwork, hardware: Mapping[str, Hardware], fits: Mapping[str, Fit]
) -> list[RenderableType]:
    """One table of all hardware files, by name; then the mesh of each chip on which the network has a place."""
    table = Table("hardware", "cores", "tiles", "chips", *(layer.name for layer in network.layers), "note")
    table.title = "placement: cores per layer"
    meshes: list[RenderableType] = []
    for name, item in hardware.items():
        fit = fits[name]
        found = fit.placement
        if isinstance(found, Refusal) or not isinstance(item, Chip):
            table.add_row(name, *([""] * (3 + len(network.layers))), fit.note)
            continue
        counts = [str(len(layer.cores)) for layer in found.layers]
        table.add_row(name, str(found.cores), str(found.tiles), str(found.chips), *counts, fit.note)
        busy = busy_at_rates_ns(network, item, found)
        meshes.append(
            f"\n{name}: estimated load per core in tenths of the busiest, if everything sends\n"
            + mesh_text(found, item, busy)
        )
    return [table, *meshes]
