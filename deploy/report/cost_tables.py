"""Tables of latency and energy. Every figure is estimated, with its band and its provenance."""

from collections.abc import Mapping

import numpy as np
from rich.console import RenderableType

from spikecut.deploy.cost.attribution import Attribution, CutoffAttribution
from spikecut.deploy.cost.band import Band, Figure
from spikecut.deploy.cost.estimate import CostEstimate
from spikecut.deploy.cost.pricing import EVENTS, spaced
from spikecut.deploy.cost.summary import RunCosts, known_of
from spikecut.deploy.report.tables import UNKNOWN, band_text, quantity
from spikecut.deploy.report.wide_table import WideTable
from spikecut.errors import Refusal

MEASURES = (
    ("latency", "latency_s", "s"),
    ("energy", "energy_j", "J"),
    ("  dynamic", "dynamic_energy_j", "J"),
    ("  static", "static_energy_j", "J"),
)
SHOWN_PERCENTILES = (50, 95, 99)


def run_costs_shown(costs: RunCosts, detail: bool = True) -> list[RenderableType]:
    """Latency and energy per sample on every hardware.

    detail: also where they go by layer and kind of event, and what the cutoff saved, per chip.
    """
    shown: list[RenderableType] = [*cost_tables(costs.estimates)]
    for name, ran in costs.attributions.items() if detail else ():
        shown += [bounds_table(ran), attribution_table(ran, "time"), attribution_table(ran, "energy")]
        if name in costs.cutoffs:
            shown.append(cutoff_table(costs.cutoffs[name], name))
    return shown if costs.saved is None else [*shown, *costs.saved.notes]


def cost_tables(costs: Mapping[str, CostEstimate | Refusal]) -> list[RenderableType]:
    """A table for each hardware, estimated latency and energy per sample; a line for each that refuses the network."""
    shown: list[RenderableType] = []
    for name, cost in costs.items():
        if isinstance(cost, Refusal):
            shown.append(f"\n{name}: {cost.feature}")
        else:
            shown.append(_cost_table(name, cost))
    return shown


def _cost_table(name: str, cost: CostEstimate) -> WideTable:
    """Mean with band and percentiles; below them what is known, unknown and assumed."""
    lacks = f"; hypothetical: it lacks {', '.join(cost.hypothetical)}" if cost.hypothetical else ""
    title = f"\n{name}: estimated per sample (low to high), not measured{lacks}"
    table = WideTable("", "mean", "low to high", *(f"p{p}" for p in SHOWN_PERCENTILES), title=title)
    told = known_of(cost)
    for measure, key, unit in MEASURES:
        band: Band = getattr(cost, key)
        at_least = "≥ " if told[key][0] and not np.isnan(band.mean.value) else ""
        percentiles = band.percentiles(SHOWN_PERCENTILES)
        cells = [at_least + quantity(_known(percentiles[p].value), unit) for p in SHOWN_PERCENTILES]
        table.add_row(measure, at_least + quantity(_known(band.mean.value), unit), edges(band.mean, unit), *cells)
    lines = ["≥: at least the known part."] if cost.unknown_time or cost.unknown_energy else []
    for measure, key in (("latency", "latency_s"), ("energy", "energy_j")):
        unknown, provenance = told[key]
        if provenance:
            lines.append(f"{measure}: provenance {', '.join(provenance)}")
        if unknown:
            lines.append(f"{measure}, unknown: {', '.join(unknown)}")
    table.caption = "\n".join([*lines, *(f"assumes: {line}" for line in cost.assumptions)])
    return table


def edges(value: Figure, unit: str) -> str:
    """The band of a figure."""
    if np.isnan(value.value):
        return UNKNOWN
    low, high = (UNKNOWN if np.isnan(edge) else quantity(edge, unit) for edge in (value.low, value.high))
    return "band unknown" if low == high == UNKNOWN else f"{low} to {high}"


def figure(value: Figure, unit: str) -> str:
    """A figure with its band."""
    if np.isnan(value.value):
        return UNKNOWN
    edges = [None if np.isnan(edge) else quantity(edge, unit) for edge in (value.low, value.high)]
    return f"{quantity(value.value, unit)} {band_text(*edges)}"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def attribution_table(attribution: Attribution, measure: str) -> WideTable:
    """Where the mean sample's "time" or "energy" goes, by layer and kind of event, and what belongs to no layer."""
    shares = attribution.time_s if measure == "time" else attribution.energy_j
    unit = "s" if measure == "time" else "J"
    along = ", on the critical path" if measure == "time" else ""
    title = f"\n{attribution.hardware}: where the estimated {measure} of the mean sample goes{along}"
    shown = [i for i in range(len(EVENTS)) if shares.value[:, i].any()]
    table = WideTable("layer", "total", "share", *(spaced(EVENTS[i]) for i in shown), title=title)
    unknown = attribution.unknown_time if measure == "time" else attribution.unknown_energy
    kinds = attribution.provenance_time if measure == "time" else attribution.provenance_energy
    table.caption = f"Estimated ({', '.join(kinds) or UNKNOWN}), shares of the known part."
    if unknown:
        table.caption += f" ≥: unknown and in no figure: {', '.join(unknown)}."
    total = shares.total()
    for name, row in zip(attribution.layers, shares.value, strict=True):
        cells = [quantity(_known(float(row[i])), unit) for i in shown]
        table.add_row(name, quantity(_known(float(row.sum())), unit), _share(float(row.sum()), total), *cells)
    for name, term in shares.shared.items():
        if np.isnan(term[0]) or term[0] == 0:
            continue
        table.add_row(name, quantity(float(term[0]), unit), _share(float(term[0]), total))
    whole = Figure(total, shares.total("low"), shares.total("high"))
    at_least = "≥ " if unknown and not np.isnan(total) else ""
    table.add_row("total", at_least + figure(whole, unit))
    return table


def bounds_table(attribution: Attribution) -> WideTable:
    """What bounds the steps of the run: busiest core, busiest link, barrier."""
    table = WideTable(
        "",
        "bounds",
        "mean a step",
        "most often",
        title=f"\n{attribution.hardware}: what the steps wait for (estimated)",
    )
    for bound in attribution.bounds:
        steps = f"{bound.steps:.1%} of steps"
        table.add_row(bound.name, steps, quantity(_known(bound.mean_s), "s"), bound.where)
    return table


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole and not np.isnan(whole) else UNKNOWN


def cutoff_table(saved: CutoffAttribution, hardware: str) -> WideTable:
    """What the cutoff saved of the estimated time and energy, per layer, and what it could not save."""
    title = f"\n{hardware}: what the cutoff saved of the mean sample"
    table = WideTable("layer", "time saved", "energy saved", title=title)
    for index, name in enumerate(saved.layers):
        table.add_row(name, *_saved(float(saved.saved_time_s[index].sum()), float(saved.saved_energy_j[index].sum())))
    for name in dict.fromkeys((*saved.saved_shared_time_s, *saved.saved_shared_energy_j)):
        cells = (saved.saved_shared_time_s.get(name, 0.0), saved.saved_shared_energy_j.get(name, 0.0))
        if any(cell and not np.isnan(cell) for cell in cells):
            table.add_row(name, *_saved(*cells))
    unsaved = saved.unsaved_energy_j
    table.caption = (
        f"Estimated, at the best figures. Not saved: {quantity(_known(saved.unsaved_time_s), 's')} to fill the "
        f"pipeline and from the exit decision to the halt, {quantity(unsaved['lead-in'], 'J')} of layers that wait for "
        f"their first input, and {quantity(unsaved['overrun'], 'J')} of layers that went on beyond what the decision "
        "used."
    )
    if saved.unknown:
        table.caption += f" Unknown and in no figure: {', '.join(saved.unknown)}."
    return table


def _saved(seconds: float, joules: float) -> tuple[str, str]:
    return _signed(seconds, "s"), _signed(joules, "J")


def _signed(value: float, unit: str) -> str:
    if np.isnan(value):
        return UNKNOWN
    return f"−{quantity(-value, unit)}" if value < 0 else quantity(value, unit)
