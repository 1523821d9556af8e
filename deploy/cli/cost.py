"""What the command line shows of cost: placements, latency and energy on every hardware file in one call."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import Bundle, load, open_bundle
from spikecut.deploy.cli.output import Result
from spikecut.deploy.cost.summary import RunCosts, chosen_hardware
from spikecut.deploy.placement.capabilities import check_capabilities, missing_features, placed_or_refused
from spikecut.deploy.placement.hardware import Chip, Hardware, OperationProfile, hardware_names, load_hardware
from spikecut.deploy.placement.mesh import busy_at_rates_ns, mesh_text
from spikecut.deploy.placement.place import LIMITED, Placement, placement_summary
from spikecut.deploy.report.cost_tables import attribution_table, cost_table, cutoff_table
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import BundleError, Refusal
from spikecut.export.network.layers import IntegerNetwork


@dataclass
class Shown:
    """What to print, and the same as JSON data."""

    parts: list[RenderableType] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


def show_placements(network: IntegerNetwork, hardware: dict[str, Hardware]) -> Shown:
    """Cores per layer on every hardware, and the mesh with the load per core; what cannot run or fit, and why."""
    shown = Shown(data={"placements": {}})
    table = Table("hardware", "cores", "tiles", "chips", *(layer.name for layer in network.layers), "note")
    table.title = "placement: cores per layer"
    meshes: list[RenderableType] = []
    for name, item in hardware.items():
        entry = _placement_entry(network, item)
        shown.data["placements"][name] = entry[1]
        if entry[0] is None or not isinstance(item, Chip):
            table.add_row(name, *([""] * (3 + len(network.layers))), entry[1]["note"])
            continue
        found = entry[0]
        counts = [str(len(layer.cores)) for layer in found.layers]
        table.add_row(name, str(found.cores), str(found.tiles), str(found.chips), *counts, entry[1]["note"])
        busy = busy_at_rates_ns(network, item, found)
        meshes.append(
            f"\n{name}: estimated load per core in tenths of the busiest, if everything sends\n"
            + mesh_text(found, item, busy)
        )
    shown.parts = [table, *meshes]
    return shown


def _placement_entry(network: IntegerNetwork, hardware: Hardware) -> tuple[Placement | None, dict[str, Any]]:
    found = placed_or_refused(network, hardware)
    if isinstance(found, Refusal):
        return None, {"note": found.feature}
    missing = check_capabilities(network, hardware)
    note = missing_features(missing) if missing else "fits"
    return found, {**placement_summary(found), "note": note}


def show_costs(costs: RunCosts, detail: bool = True) -> Shown:
    """Estimated latency and energy per sample on every hardware.

    detail: also where they go by layer and event, and what the cutoff saved, per chip.
    """
    shown = Shown([cost_table(costs.estimates)], {"estimated": costs.summary()})
    for name, ran in costs.attributions.items() if detail else ():
        shown.parts += [attribution_table(ran, "time"), attribution_table(ran, "energy")]
        if name in costs.cutoffs:
            shown.parts.append(cutoff_table(costs.cutoffs[name], name))
    if costs.saved is not None:
        shown.data["savings"] = costs.saved
        shown.parts += list(costs.saved.notes)
    return shown


def inspect_cost(
    target: Path, names: Sequence[str] | None = None, hypothetical: bool = False, horizon: int | None = None
) -> Result:
    """Placement on every hardware file; of a bundle also latency and energy of its golden samples.

    horizon: T of a .net file of lava-dl, which does not tell it.
    The golden samples run to the horizon, and with the cutoff where the bundle is calibrated.
    """
    from spikecut.deploy.run.summary import jsonable

    hardware = chosen_hardware(names)
    bundle = open_bundle(target) if target.is_dir() else None
    network = bundle.network if bundle and horizon is None else load(target, horizon)
    shown = show_placements(network, hardware)
    if bundle is not None:
        trace, full, what = _golden_runs(bundle)
        costs = show_costs(RunCosts.of(trace, full, hardware, hypothetical, detail=False))
        shown.parts += [f"\n{trace.samples} golden samples, {what}:", *costs.parts]
        shown.data |= {"golden_samples": trace.samples, "golden_run": what, **costs.data}
    return Result(shown.parts, jsonable(shown.data))


def _golden_runs(bundle: Bundle) -> tuple[RunTrace, RunTrace | None, str]:
    inputs = bundle.golden().inputs
    full = run_batched(bundle.network, inputs, record="all")
    try:
        policy = bundle.cutoff()
    except BundleError:
        return full, None, "to the horizon (not calibrated)"
    return run_batched(bundle.network, inputs, policy, record="all"), full, "with the cutoff"


def describe_hardware(name: str | None = None) -> Result:
    """All hardware files side by side, or every number of one with its unit, band, evidence and source."""
    if name is None:
        return _list_hardware()
    loaded = load_hardware(name)
    data = loaded.model_dump(mode="json")
    table = Table("quantity", "value", "low", "high", "evidence", "source", title=loaded.title)
    for key, leaf in _leaves(data, ""):
        cells = ["unknown" if leaf[part] is None else f"{leaf[part]:g}" for part in ("value", "low", "high")]
        table.add_row(key, *cells, str(leaf["evidence"] or "unknown"), str(leaf["source"]))
    return Result([table], data)


def _list_hardware() -> Result:
    table = Table("name", "what it is", "runs", "numbers by evidence", "unknown", title="hardware files")
    data: dict[str, Any] = {}
    for name in hardware_names():
        loaded = load_hardware(name)
        leaves = _leaves(loaded.model_dump(mode="json"), "")
        unknown = [key for key, leaf in leaves if leaf["value"] is None]
        kinds = sorted({str(leaf["evidence"]) for _, leaf in leaves if leaf["evidence"]})
        counts = {kind: sum(leaf["evidence"] == kind for _, leaf in leaves) for kind in kinds}
        data[name] = {"title": loaded.title, "runs": _runs(loaded), "evidence": counts, "unknown": unknown}
        shown = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        table.add_row(name, loaded.title, _runs(loaded), shown, str(len(unknown)))
    table.caption = (
        "simulated: before silicon; fitted: to silicon; scaled, inherited: from another chip; bound: a limit.\n"
        "Unknown numbers are never 0: figures are then at least the known part. `spikecut hardware NAME` shows all."
    )
    return Result([table], data)


def _runs(hardware: Hardware) -> str:
    if isinstance(hardware, OperationProfile):
        return "counts operations only"
    if not isinstance(hardware, Chip):
        return ""
    can = [name.replace("_", " ") for name, has in hardware.capabilities if has]
    limits = [name for name in LIMITED if getattr(hardware.limits, name).value is None]
    unchecked = f"; not checked: {', '.join(limits).replace('_', ' ')}" if limits else ""
    return (", ".join(can) or "hard reset and binary spikes only") + unchecked


def _leaves(data: Any, prefix: str) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(data, dict) and "value" in data and "source" in data:
        return [(prefix, data)]
    if not isinstance(data, dict):
        return []
    return [leaf for key, value in data.items() for leaf in _leaves(value, f"{prefix}.{key}" if prefix else str(key))]
