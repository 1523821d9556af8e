"""Hardware files as tables: all side by side, or every parameter of one with its source."""

from collections.abc import Mapping

from spikecut.deploy.placement.hardware import Hardware
from spikecut.deploy.placement.overview import HardwareOverview
from spikecut.deploy.placement.quantities import parameters
from spikecut.deploy.report.tables import UNKNOWN
from spikecut.deploy.report.wide_table import WideTable


def hardware_table(hardware: Hardware) -> WideTable:
    """Every parameter with its band, provenance and source."""
    table = WideTable("quantity", "value", "low", "high", "provenance", "source", title=hardware.title)
    for key, quantity in parameters(hardware).items():
        numbers = (quantity.value, quantity.low, quantity.high)
        cells = [UNKNOWN if number is None else f"{number:g}" for number in numbers]
        table.add_row(key, *cells, quantity.provenance or UNKNOWN, quantity.source)
    return table


def hardware_list(overviews: Mapping[str, HardwareOverview]) -> WideTable:
    """One row per hardware file, by name."""
    table = WideTable("name", "what it is", "runs", "parameters by source", "unknown", title="hardware files")
    for name, item in overviews.items():
        counts = ", ".join(f"{count} {kind}" for kind, count in item.provenance.items())
        table.add_row(name, item.title, item.runs, counts, str(len(item.unknown)))
    table.caption = (
        "simulated: before silicon; fitted: to silicon; scaled, inherited: from another chip; bound: a limit.\n"
        "Unknown parameters are never 0: figures are then at least the known part. `spikecut hardware NAME` shows all."
    )
    return table
