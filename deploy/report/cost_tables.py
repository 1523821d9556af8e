"""Tables of latency and energy. Every figure is estimated, with its band and its provenance."""

from collections.abc import Mapping

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from spikecut.deploy.cost.attribution import Attribution, CutoffAttribution
from spikecut.deploy.cost.band import Band, Figure
from spikecut.deploy.cost.estimate import CostEstimate
from spikecut.deploy.cost.pricing import EVENTS, spaced
from spikecut.deploy.cost.summary import RunCosts, known_of
from spikecut.deploy.report.tables import UNKNOWN, band_text, quantity
from spikecut.errors import Refusal

MEASURES = (
    ("latency", "latency_s", "s"),
    ("dynamic energy", "dynamic_energy_j", "J"),
    ("static energy", "static_energy_j", "J"),
    ("energy", "energy_j", "J"),
)
SHOWN_PERCENTILES = (50, 95, 99)


def run_costs_shown(costs: RunCosts, detail: bool = True) -> list[RenderableType]:
    """Latency and energy per sample on every hardware.

    detail: also where they go by layer and kind of event, and what the cutoff saved, per chip.
    """
    shown: list[RenderableType] = [cost_table(costs.estimates)]
    for name, ran in costs.attributions.items() if detail else ():
        shown += [attribution_table(ran, "time"), attribution_table(ran, "energy")]
        if name in costs.cutoffs:
            shown.append(cutoff_table(costs.cutoffs[name], name))
    return shown if costs.saved is None else [*shown, *costs.saved.notes]


def cost_table(costs: Mapping[str, CostEstimate | Refusal], title: str = "") -> Table:
    """Estimated latency and energy per sample by hardware: mean with band, percentiles, provenance; or the refusal."""
    table = Table(title=title or "estimated per sample (low to high), not measured", caption_justify="left")
    for column in ("hardware", "estimated", "mean (low to high)", *(f"p{p}" for p in SHOWN_PERCENTILES), "provenance"):
        table.add_column(column, overflow="fold")
    notes: dict[str, None] = {}
    for name, cost in costs.items():
        if isinstance(cost, Refusal):
            table.add_row(name, cost.feature)
            continue
        for measure, key, unit in MEASURES:
            band: Band = getattr(cost, key)
            unknown, provenance = known_of(cost)[key]
            at_least = "≥ " if unknown and not np.isnan(band.mean.value) else ""
            mark = "hypothetical: " if cost.hypothetical else ""
            percentiles = band.percentiles(SHOWN_PERCENTILES)
            cells = [at_least + quantity(_known(percentiles[p].value), unit) for p in SHOWN_PERCENTILES]
            mean = f"{mark}{at_least}{figure(band.mean, unit)}"
            known = "" if np.isnan(band.mean.value) else ", ".join(provenance)
            table.add_row(name, measure, mean, *cells, known or UNKNOWN)
        for measure, terms in (("latency", cost.unknown_time), ("energy", cost.unknown_energy)):
            if terms:
                notes[f"{name} {measure}, unknown: {', '.join(terms)}"] = None
        for line in cost.assumptions:
            notes[f"{name} assumes: {line}"] = None
    if notes:
        table.caption = "≥: at least the known part.\n" + "\n".join(notes)
    return table


def figure(value: Figure, unit: str) -> str:
    """A figure with its band."""
    if np.isnan(value.value):
        return UNKNOWN
    edges = [None if np.isnan(edge) else quantity(edge, unit) for edge in (value.low, value.high)]
    return f"{quantity(value.value, unit)} {band_text(*edges)}"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def attribution_table(attribution: Attribution, measure: str) -> Table:
    """Where the mean sample's "time" or "energy" goes, by layer and kind of event, and what belongs to no layer."""
    shares = attribution.time_s if measure == "time" else attribution.energy_j
    unit = "s" if measure == "time" else "J"
    along = ", on the critical path" if measure == "time" else ""
    table = Table(title=f"{attribution.hardware}: where the estimated {measure} of the mean sample goes{along}")
    shown = [i for i in range(len(EVENTS)) if shares.value[:, i].any()]
    for column in ("layer", *(spaced(EVENTS[i]) for i in shown), "total", "share"):
        table.add_column(column, overflow="fold")
    unknown = attribution.unknown_time if measure == "time" else attribution.unknown_energy
    kinds = attribution.provenance_time if measure == "time" else attribution.provenance_energy
    table.caption = f"Estimated ({', '.join(kinds) or UNKNOWN}), shares of the known part."
    if unknown:
        table.caption += f" ≥: unknown and in no figure: {', '.join(unknown)}."
    total = shares.total()
    for name, row in zip(attribution.layers, shares.value, strict=True):
        cells = [quantity(_known(float(row[i])), unit) for i in shown]
        table.add_row(name, *cells, quantity(_known(float(row.sum())), unit), _share(float(row.sum()), total))
    for name, term in shares.shared.items():
        if np.isnan(term[0]) or term[0] == 0:
            continue
        table.add_row(name, *([""] * len(shown)), quantity(float(term[0]), unit), _share(float(term[0]), total))
    whole = Figure(total, shares.total("low"), shares.total("high"))
    at_least = "≥ " if unknown and not np.isnan(total) else ""
    table.add_row("total", *([""] * len(shown)), at_least + figure(whole, unit), "", style="bold")
    return table


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole and not np.isnan(whole) else UNKNOWN


def cutoff_table(saved: CutoffAttribution, hardware: str) -> Table:
    """What the cutoff saved of the estimated time and energy, per layer, and what it could not save."""
    table = Table(
        "layer",
        "time saved",
        "energy saved",
        title=f"{hardware}: what the cutoff saved of the mean sample",
        min_width=72,
    )
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
