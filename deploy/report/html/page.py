"""A report as one HTML file that loads nothing: tables and charts without any script, a player with one.

All texts that come from files, names of runs, classes, layers and hardware, are untrusted: Jinja2 escapes them, the
data for the script holds no <, > or &, and the page's Content-Security-Policy allows its own script and style alone.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import isnan
from typing import Any

from spikecut.deploy.report.html.charts import (
    Chart,
    accuracy_chart,
    cost_charts,
    exits_chart,
    layer_charts_of,
    mesh_chart,
)
from spikecut.deploy.report.html.contents import GENERATOR, Report, RunReport
from spikecut.deploy.report.html.player import packed
from spikecut.deploy.report.html.render import page_svg
from spikecut.deploy.report.html.tables import (
    PageTable,
    bounds_table,
    compare_table,
    costs_table,
    exits_table,
    layers_table,
    mesh_table,
    monitors_table,
    played_table,
    points_table,
    provenance_table,
    slowest_text,
    terms_table,
    verification_table,
    wrong_table,
)
from spikecut.deploy.report.html.units import band_text, mean_text, share_text, visible
from spikecut.errors import InputError
from spikecut.extras import needs_report

MOST_BYTES = 5_000_000
RASTER_BYTES = 1_800_000
"""What the rasters of all players of a page may take."""
WIDE, HALF, NARROW = 800, 430, 280
"""Widths of a chart in pixels, its labels apart: alone, beside another, and in a narrow window."""
FRONT = (
    "Thick line: the Pareto front of a run, ways to stop that no other beats in {}. {} Dashed: all samples stop at the "
    "same timestep."
)


@dataclass(frozen=True)
class Drawn:
    """A chart in the page: wide and narrow, as SVG."""

    id: str
    title: str
    alt: str
    caption: str
    wide: Any
    narrow: Any


@dataclass(frozen=True)
class RunView:
    """A run as the page's template takes it; id: the prefix of its ids."""

    id: str
    run: RunReport
    cards: Any
    slowest: tuple[str, ...]
    points: PageTable
    exits: Drawn
    exits_table: PageTable
    wrong: PageTable
    player: Any
    negative: bool
    played: PageTable | None
    layer_charts: tuple[Drawn, ...]
    layers: PageTable
    verdict: tuple[str, ...]
    verification: PageTable | None
    meshes: tuple[tuple[Drawn, PageTable], ...]
    bounds: PageTable
    monitors: PageTable
    costs: PageTable
    provenance: PageTable


def page(report: Report) -> bytes:
    """The report as the content of an HTML file, of less than MOST_BYTES.

    Raises InputError if the extra `report` is not installed, or the report would be larger.
    """
    with needs_report():
        from markupsafe import Markup
    style, script = _asset("page.css"), _asset("page.js")
    runs = report.runs
    content = _template().render(
        title=_title(report),
        generator=GENERATOR,
        version=report.version,
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        compare=compare_table(runs),
        charts=_shared_charts(report),
        views=[_view(f"run-{n}", run, RASTER_BYTES // len(runs)) for n, run in enumerate(runs, start=1)],
        terms=[terms_table(each) for each in report.hardware.values()],
        notes=report.notes,
    )
    made: bytes = content.encode("utf-8", "backslashreplace")
    if len(made) >= MOST_BYTES:
        raise InputError(
            f"the report would take {len(made) / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:g}: give fewer runs at once"
        )
    return made


def _title(report: Report) -> str:
    names = ", ".join(run.name for run in report.runs)
    return f"spikecut report: {names}"


def _policy(style: str, script: str) -> str:
    """The page's Content-Security-Policy: its own style and script, and no connection to anywhere."""
    rules = {"default-src": "'none'", "style-src": _hash(style), "script-src": _hash(script), "img-src": "data:"}
    rules |= {"base-uri": "'none'", "form-action": "'none'"}
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return (files("spikecut.deploy.report.html") / name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    with needs_report():
        from jinja2 import Environment, StrictUndefined
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=visible, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["numeric"] = _is_numeric
    return environment.from_string(_asset("page.html"))


def _is_numeric(table: PageTable, column: int) -> bool:
    """Whether a column holds numbers, which stand right."""
    return column > 0 and any(row[column].value is not None for row in table.rows)


def _drawn(chart: Chart, prefix: str, caption: str = "", width: int = WIDE) -> Drawn:
    with needs_report():
        from markupsafe import Markup
    name = f"{prefix}-{chart.name}"
    safe = "".join(each if (each.isalnum() and each.isascii()) or each in "-_" else "_" for each in name)
    wide, narrow = (Markup(page_svg(chart, width, f"{safe}-{width}")) for width in (width, NARROW))
    return Drawn(safe, chart.title, chart.alt, caption, wide, narrow)


def _shared_charts(report: Report) -> list[Drawn]:
    """Accuracy and costs of all runs together."""
    bars = "Bars: 95 % intervals."
    drawn = [_drawn(accuracy_chart(report.runs), "all", FRONT.format("accuracy and mean timesteps", bars))]
    band = "Crosses: the band of the hardware's terms, which moves all points together; percentages: accuracy."
    caption = FRONT.format("accuracy, latency and energy", band)
    for n, chart in enumerate(cost_charts(report.runs)):
        drawn.append(_drawn(chart, f"all-{n}", caption, HALF))
    return drawn


def _view(prefix: str, run: RunReport, budget: int) -> RunView:
    with needs_report():
        from markupsafe import Markup
    data = None if run.played is None else packed(run.played, run.classes, budget)
    caption = "Lines: the band of the hardware's terms. [In brackets]: what belongs to no layer."
    layer_charts = [_drawn(chart, f"{prefix}-{n}", caption) for n, chart in enumerate(layer_charts_of(run))]
    played = run.played
    return RunView(
        id=prefix,
        run=run,
        cards=Markup(_cards(run)),
        slowest=slowest_text(run),
        points=points_table(run),
        exits=_drawn(exits_chart(run), prefix),
        exits_table=exits_table(run),
        wrong=wrong_table(run),
        player=None if data is None else Markup(inlined(data)),
        negative=played is not None
        and any(layer.raster is not None and bool((layer.raster < 0).any()) for layer in played.trace.events),
        played=None if played is None else played_table(run.name, played, run.classes),
        layer_charts=tuple(layer_charts),
        layers=layers_table(run),
        verdict=() if run.verification is None else tuple(str(run.verification).splitlines()),
        verification=None if run.verification is None else verification_table(run.name, run.verification),
        meshes=tuple(_meshes(prefix, run)),
        bounds=bounds_table(run),
        monitors=monitors_table(run),
        costs=costs_table(run),
        provenance=provenance_table(run.name, run.provenance),
    )


def _meshes(prefix: str, run: RunReport) -> Sequence[tuple[Drawn, PageTable]]:
    caption = "A square is a core, its number that of its layer; the stronger its colour, the busier. Empty: not used."
    return [
        (_drawn(mesh_chart(mesh), f"{prefix}-{n}", caption, HALF), mesh_table(run.name, mesh))
        for n, mesh in enumerate(run.meshes)
    ]


def _cards(run: RunReport) -> str:
    """The figures that one asks for first, as a list of terms."""
    with needs_report():
        from markupsafe import escape
    cut = run.accuracy_cutoff is not None
    cards = [("accuracy with cutoff" if cut else "accuracy at the horizon", share_text(run.accuracy))]
    if cut and run.accuracy_full is not None:
        cards.append(("accuracy at the horizon", share_text(run.accuracy_full)))
    cards.append((f"mean timesteps of T = {run.horizon}", mean_text(run.timesteps)))
    for cost in run.chips:
        for what, mean, unit in (("latency", cost.latency_s, "s"), ("energy", cost.energy_j, "J")):
            if not isnan(mean.value):
                text = band_text(mean, unit, bool(cost.unknown.get(what)))
                cards.append((f"{cost.name}: {what} per sample, estimated", text))
    items = []
    for name, text in cards:
        figure, bracket, band = str(text).partition(" (")
        small = f" <small>({escape(visible(band))}</small>" if bracket else ""
        items.append(f"<div><dt>{escape(visible(name))}</dt><dd>{escape(figure)}{small}</dd></div>")
    return f'<dl class="cards">{"".join(items)}</dl>'


def inlined(data: Any) -> str:
    """Data as JSON that may stand in a script element: nothing in it ends the element or begins another."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
