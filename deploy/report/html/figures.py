"""The figures of a report as files for a paper: SVG or PDF, on white, at the width of a column."""

from collections.abc import Mapping

from spikecut.deploy.report.html.charts import (
    Chart,
    accuracy_chart,
    cost_charts,
    exits_chart,
    layer_charts_of,
    mesh_chart,
)
from spikecut.deploy.report.html.contents import Report, RunReport
from spikecut.deploy.report.html.render import paper_pdf, paper_svg
from spikecut.deploy.report.plots import vector

COLUMN = 420
"""Width of a chart in pixels of 1/72 inch, its labels apart."""


def paper_figures(report: Report, kind: str) -> Mapping[str, bytes]:
    """File name → content of every chart, kind "pdf" or "svg", and of the raster of each run's first played sample.

    Raises InputError if the extra `report` is not installed.
    """
    found: dict[str, bytes] = {}
    for chart in (accuracy_chart(report.runs), *cost_charts(report.runs)):
        found[_file(chart.name, kind)] = _drawn(chart, kind)
    for n, run in enumerate(report.runs, start=1):
        prefix = f"run{n}-" if len(report.runs) > 1 else ""
        for chart in (exits_chart(run), *layer_charts_of(run), *(mesh_chart(mesh) for mesh in run.meshes)):
            found[_file(f"{prefix}{chart.name}", kind)] = _drawn(chart, kind)
        if run.played is not None:
            found[_file(f"{prefix}raster", kind)] = _raster(run, kind)
    return found


def _drawn(chart: Chart, kind: str) -> bytes:
    return paper_pdf(chart, COLUMN) if kind == "pdf" else paper_svg(chart, COLUMN).encode()


def _raster(run: RunReport, kind: str) -> bytes:
    if run.played is None:
        return b""
    return vector(run.played.trace.plot_raster(0, run.classes), kind)


def _file(name: str, kind: str) -> str:
    """A file's name; hardware may be named by its path."""
    return "".join(each if each.isalnum() or each in "-_" else "_" for each in name) + f".{kind}"
