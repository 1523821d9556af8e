"""Vega-Lite specifications → SVG for a page in light and dark, SVG and PDF for a paper. Needs the extra `report`."""

import re
from typing import Any

from spikecut.deploy.report.html.charts import (
    BLUE,
    FAINT,
    GREEN,
    GRID,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Chart,
    Spec,
)
from spikecut.deploy.report.html.units import visible
from spikecut.extras import needs_report

VEGA_LITE = "6.4"
FONT = "Helvetica, Arial, Liberation Sans, sans-serif"
VARIABLES = {
    BLUE: "blue",
    VERMILION: "vermilion",
    GREEN: "green",
    PURPLE: "purple",
    ORANGE: "orange",
    SKY: "sky",
    INK: "ink",
    FAINT: "faint",
    GRID: "grid",
    "#FFFFFF": "paper",
}
"""Colour → the variable of the page's style sheet that takes its place, so that a chart follows light and dark."""
CONFIG: dict[str, Any] = {
    "background": None,
    "font": FONT,
    "axis": {
        "labelColor": FAINT, "titleColor": INK, "domainColor": FAINT, "tickColor": FAINT, "gridColor": GRID,
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8,
    },
    "legend": {
        "orient": "top", "direction": "horizontal", "labelColor": INK, "labelFontSize": 12, "labelLimit": 300,
        "symbolSize": 90, "symbolOpacity": 1, "columnPadding": 18,
    },
    "view": {"stroke": None},
    "aria": True,
}  # fmt: skip


def _whole(spec: Spec, background: str | None) -> Spec:
    config = {**CONFIG, **spec.get("config", {}), "background": background}
    return {**spec, "config": config, "padding": 4}


def paper_svg(chart: Chart, width: int) -> str:
    """A chart as a file of its own, on white."""
    return _compiled(_whole(chart.spec(width), "#FFFFFF"))


def paper_pdf(chart: Chart, width: int) -> bytes:
    """A chart as a PDF file of one page, with its fonts."""
    with needs_report():
        import vl_convert
    content: bytes = vl_convert.vegalite_to_pdf(
        _whole(chart.spec(width), "#FFFFFF"), vl_version=VEGA_LITE, allowed_base_urls=[]
    )
    return content


def page_svg(chart: Chart, width: int, prefix: str) -> str:
    """A chart to stand in a page: its colours are variables of the style sheet, its ids begin with the prefix."""
    text = _compiled(_whole(chart.spec(width), None))
    for colour, name in VARIABLES.items():
        text = re.sub(f'="{colour}"', f'="var(--{name})"', text, flags=re.IGNORECASE)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-")
    # The figure has one label and a table: a reader of screens need not go through hundreds of marks.
    return text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _compiled(spec: Spec) -> str:
    with needs_report():
        import vl_convert
    svg: str = visible(vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, allowed_base_urls=[]))
    return svg
