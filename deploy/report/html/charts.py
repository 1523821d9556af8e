"""The charts of a report as Vega-Lite specifications: data and encoding, no drawing.

Colours are Okabe and Ito's, which the colour-blind can tell apart; what kind a point is shows in its shape as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from spikecut.deploy.cost.band import Figure
from spikecut.deploy.report.html.contents import Mesh, Point, RunReport
from spikecut.deploy.report.html.pareto import on_front
from spikecut.deploy.report.html.units import Scale, counted, percent, scale_of, short

Spec = dict[str, Any]
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
INK, FAINT, GRID = "#1A1A1A", "#5A5A5A", "#DDDDDD"
RUN_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
KINDS = {"stop": "all samples stop at t", "policy": "the policy at another ε", "run": "the run"}
SHAPES = ("circle", "diamond", "triangle-up")
MOST_BARS = 24
"""Timesteps up to which every bar of a histogram has its own tick."""
MOST_CHIPS = 8
"""Chips of a mesh that are drawn."""


@dataclass(frozen=True)
class Chart:
    """A chart. name: a word for files and ids. title, alt: for all, and for those who cannot see it.

    spec: width in pixels → its specification.
    """

    name: str
    title: str
    alt: str
    spec: Callable[[int], Spec]


def _rows(runs: Sequence[RunReport], axes: Callable[[Point], tuple[Figure, Figure] | None]) -> list[dict[str, Any]]:
    """One row a point: x and y with their edges, run, kind and label; None where an edge is unknown."""
    rows = []
    for name, run in zip(_run_names(runs), runs, strict=True):
        for point in run.points:
            found = axes(point)
            if found is None:
                continue
            row: dict[str, Any] = {"run": name, "kind": KINDS[point.kind], "own": point.kind == "run"}
            for axis, figure in zip("xy", found, strict=True):
                row |= {axis: figure.value, f"{axis}0": _known(figure.low), f"{axis}1": _known(figure.high)}
            row["said"] = f"{name}: {point.label}, {percent(point.accuracy.value)} right"
            row["accuracy"] = percent(point.accuracy.value)
            row["lost"] = 1 - point.accuracy.value
            rows.append(row)
    return rows


def _run_names(runs: Sequence[RunReport]) -> list[str]:
    """The names of the runs, short enough for a legend, and each its own."""
    names = [short(run.name) for run in runs]
    return [name if name not in names[:n] else f"{name} ({n + 1})" for n, name in enumerate(names)]


def _mark_front(rows: list[dict[str, Any]], objectives: Callable[[dict[str, Any]], tuple[float, ...]]) -> str:
    """Mark the points that no other of the same run beats; what is to be seen, in words."""
    for run in {row["run"] for row in rows}:
        own = [row for row in rows if row["run"] == run]
        for row, front in zip(own, on_front([objectives(row) for row in own]), strict=True):
            row["front"] = front
    best = sum(row["front"] for row in rows)
    return f"{len(rows)} points, {best} of them on the Pareto front of their run; a table below holds them all."


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def accuracy_chart(runs: Sequence[RunReport]) -> Chart:
    """Accuracy against mean timesteps, with 95 % intervals and the Pareto front of all points."""
    rows = _rows(runs, lambda point: (point.timesteps, point.accuracy))
    alt = _mark_front(rows, lambda row: (row["x"], -row["y"]))
    low = min((row["y0"] for row in rows if row["y0"] is not None), default=0.0)
    y: Spec = {
        "field": "y",
        "type": "quantitative",
        "title": "accuracy",
        "axis": {"format": "~%"},
        "scale": {"domain": [max(0.0, low - 0.05 * (1 - low)), 1], "nice": False},
    }
    x: Spec = {"field": "x", "type": "quantitative", "title": "mean timesteps per sample"}
    x["scale"] = {"zero": False, "nice": False, "padding": 14}
    x["axis"] = {"tickCount": 8, "tickMinStep": 1}
    return Chart("accuracy", "Accuracy against timesteps", alt, lambda width: _scatter(runs, rows, x, y, width))


def cost_chart(runs: Sequence[RunReport], hardware: str) -> Chart | None:
    """Estimated energy against latency on one hardware, with the bands of the runs; None where nothing is known."""
    rows = _rows(runs, lambda point: _costs(point, hardware))
    if not rows:
        return None
    alt = _mark_front(rows, lambda row: (row["x"], row["y"], row["lost"]))
    scales = (scale_of([row["x"] for row in rows], "s"), scale_of([row["y"] for row in rows], "J"))
    for row in rows:
        for axis, scale in zip("xy", scales, strict=True):
            row |= {key: scale(row[key]) for key in (axis, f"{axis}0", f"{axis}1")}
    axes: list[Spec] = [
        {
            "field": axis,
            "type": "quantitative",
            "title": f"{what} per sample, estimated ({scale.unit})",
            "scale": {"type": "log", "nice": False, "padding": 12},
            "axis": {"tickCount": 6, "format": "~g", "labelOverlap": "greedy"},
        }
        for axis, what, scale in zip("xy", ("latency", "energy"), scales, strict=True)
    ]
    return Chart(
        f"cost-{hardware}",
        f"Energy against latency on {hardware}",
        alt,
        lambda width: _scatter(runs, rows, axes[0], axes[1], width, named="accuracy"),
    )


def cost_charts(runs: Sequence[RunReport]) -> list[Chart]:
    """One for each hardware on which any of the runs has known costs."""
    names = dict.fromkeys(cost.name for run in runs for cost in run.chips)
    return [chart for name in names if (chart := cost_chart(runs, name)) is not None]


def _costs(point: Point, hardware: str) -> tuple[Figure, Figure] | None:
    found = point.latency_s.get(hardware), point.energy_j.get(hardware)
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _scatter(
    runs: Sequence[RunReport], rows: list[dict[str, Any]], x: Spec, y: Spec, width: int, named: str = ""
) -> Spec:
    """Points with their intervals, the curve of fixed timesteps, and the Pareto front as a line under them."""
    names = _run_names(runs)
    colours = [RUN_COLOURS[n % len(RUN_COLOURS)] for n in range(len(names))]
    colour: Spec = {"field": "run", "scale": {"domain": names, "range": colours}, "title": None}
    colour["legend"] = {"columns": 1 if width < 500 else 3} if len(names) > 1 else None
    present = [kind for kind in KINDS.values() if any(row["kind"] == kind for row in rows)]
    shapes = [SHAPES[list(KINDS.values()).index(kind)] for kind in present]
    shape: Spec = {"field": "kind", "scale": {"domain": present, "range": shapes}, "title": None}
    shape["legend"] = {"columns": 1 if width < 500 else 3, "symbolFillColor": FAINT, "symbolStrokeColor": FAINT}
    own, others = "datum.own", "!datum.own"
    line = {"type": "line", "strokeWidth": 1.2, "strokeDash": [4, 3], "opacity": 0.7}
    curve = {"x": x, "y": y, "color": colour, "detail": {"field": "run"}}
    stops = [{"filter": f"datum.kind == '{KINDS['stop']}'"}]
    front = {"type": "line", "strokeWidth": 7, "opacity": 0.22, "strokeCap": "round", "strokeJoin": "round"}
    layers: list[Spec] = [
        {"transform": [{"filter": "datum.front"}], "mark": front, "encoding": curve},
        {"transform": stops, "mark": line, "encoding": curve},
    ]
    for chosen, thick, opaque in ((others, 1, 0.35), (own, 2, 0.9)):
        if named and chosen == others:
            continue  # the band of a chip's terms moves all its points alike: shown once
        bar = {"type": "rule", "strokeWidth": thick, "opacity": opaque}
        layers += [
            _bar(chosen, bar, "x", {"x": {**x, "field": "x0"}, "x2": {"field": "x1"}, "y": y, "color": colour}),
            _bar(chosen, bar, "y", {"y": {**y, "field": "y0"}, "y2": {"field": "y1"}, "x": x, "color": colour}),
        ]
    encoding = {"x": x, "y": y, "color": colour, "shape": shape, "description": {"field": "said"}}
    dot = {"type": "point", "filled": True, "opacity": 1, "stroke": "#FFFFFF", "strokeWidth": 0.8}
    layers += [
        {"transform": [{"filter": others}], "mark": {**dot, "size": 42}, "encoding": encoding},
        {"transform": [{"filter": own}], "mark": {**dot, "size": 150}, "encoding": encoding},
    ]
    if named:
        text = {"type": "text", "align": "left", "baseline": "top", "dx": 10, "dy": 7, "fontSize": 12}
        said = {"x": x, "y": y, "text": {"field": named}, "color": {"value": INK}}
        layers.append({"transform": [{"filter": own}], "mark": text, "encoding": said})
    return {"data": {"values": rows}, "width": width, "height": _height(width), "layer": layers}


def _bar(chosen: str, mark: Spec, axis: str, encoding: Spec) -> Spec:
    known = f"{chosen} && isValid(datum.{axis}0) && isValid(datum.{axis}1)"
    return {"transform": [{"filter": known}], "mark": mark, "encoding": encoding}


def _height(width: int) -> int:
    return min(360, max(220, round(0.6 * width)))


def exits_chart(run: RunReport) -> Chart:
    """How many samples exit at each timestep, right and wrong ones stacked."""
    rows = [
        {"t": t, "kind": kind, "count": count, "said": f"{count:,} {kind} at t = {t}", "order": order}
        for order, (kind, counts) in enumerate((("right", run.exits.right), ("wrong", run.exits.wrong)))
        for t, count in enumerate(counts, start=1)
        if count
    ]
    wrong = [
        {"t": t, "top": right + count, "count": f"{count:,}"}
        for t, (right, count) in enumerate(zip(run.exits.right, run.exits.wrong, strict=True), start=1)
        if count
    ]
    x: Spec = {"field": "t", "type": "quantitative", "title": "timestep of the exit"}
    x["scale"] = {"domain": [0.4, run.horizon + 0.6], "nice": False}
    x["axis"] = {"grid": False, "tickMinStep": 1, "format": "d", "labelOverlap": True}
    if run.horizon <= MOST_BARS:
        x["axis"]["values"] = list(range(1, run.horizon + 1))
    mean = f"mean {run.timesteps.value:.2f} of {run.horizon}"

    def spec(width: int) -> Spec:
        size = max(2, min(30, round(0.72 * width / run.horizon)))
        kinds = {"domain": ["right", "wrong"], "range": [BLUE, ORANGE]}
        colour = {"field": "kind", "title": None, "scale": kinds}
        y = {"aggregate": "sum", "field": "count", "title": "samples"}
        bars = {"x": x, "y": y, "color": colour, "order": {"field": "order"}, "description": {"field": "said"}}
        layers: list[Spec] = [
            {"data": {"values": rows}, "mark": {"type": "bar", "size": size}, "encoding": bars},
            {
                "data": {"values": [{"t": run.timesteps.value, "mean": mean}]},
                "layer": [
                    {"mark": {"type": "rule", "strokeDash": [5, 3], "color": INK}, "encoding": {"x": x}},
                    {
                        "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 12, "color": INK},
                        "encoding": {"x": x, "y": {"value": -8}, "text": {"field": "mean"}},
                    },
                ],
            },
        ]
        if run.horizon <= MOST_BARS and width > 500:
            at = {"x": x, "y": {"field": "top", "type": "quantitative"}, "text": {"field": "count"}}
            mark = {"type": "text", "dy": -7, "fontSize": 11, "color": INK}
            layers.append({"data": {"values": wrong}, "mark": mark, "encoding": at})
        return {"width": width, "height": _height(width) * 4 // 5, "layer": layers}

    total = sum(run.exits.wrong)
    alt = f"{run.samples - total:,} samples right and {total:,} wrong; mean exit {mean}."
    return Chart("exits", "Where samples exit", alt, spec)


def layers_chart(run: RunReport, hardware: str) -> Chart | None:
    """Estimated time and energy of the mean sample by layer, with bands; None where nothing is known."""
    cost = next((each for each in run.chips if each.name == hardware), None)
    if cost is None or not any(hardware in layer.time_s or hardware in layer.energy_j for layer in run.layers):
        return None
    times = {short(layer.name): layer.time_s[hardware] for layer in run.layers if hardware in layer.time_s}
    energies = {short(layer.name): layer.energy_j[hardware] for layer in run.layers if hardware in layer.energy_j}
    panels = (
        ("time", "s", {**times, **_bracketed(cost.shared_time_s)}, BLUE),
        ("energy", "J", {**energies, **_bracketed(cost.shared_energy_j)}, GREEN),
    )

    def spec(width: int) -> Spec:
        side = (width - 170) // 2 if width > 500 else width - 60
        parts = [_bars(figures, f"{what} per sample, estimated", unit, colour, side)
                 for what, unit, figures, colour in panels if any(f.value > 0 for f in figures.values())]  # fmt: skip
        return {"hconcat" if width > 500 else "vconcat": parts, "spacing": 24}

    return Chart(
        f"layers-{hardware}",
        f"Time and energy by layer on {hardware}",
        f"{len(run.layers)} layers and what they share; the table holds the figures.",
        spec,
    )


def layer_charts_of(run: RunReport) -> list[Chart]:
    """One for each hardware with known costs."""
    return [chart for cost in run.chips if (chart := layers_chart(run, cost.name)) is not None]


def _bracketed(shared: Mapping[str, Figure]) -> dict[str, Figure]:
    """Shared terms, told from layers by their brackets."""
    return {f"[{name}]": figure for name, figure in shared.items()}


def _bars(figures: Mapping[str, Figure], title: str, unit: str, colour: str, width: int) -> Spec:
    scale: Scale = scale_of([figure.value for figure in figures.values()], unit)
    rows = [
        {"name": name, "x": scale(figure.value), "x0": scale(_known(figure.low)), "x1": scale(_known(figure.high)),
         "said": f"{name}: {scale.text(figure.value)}"}
        for name, figure in figures.items()
    ]  # fmt: skip
    y = {"field": "name", "type": "nominal", "sort": list(figures), "title": None, "axis": {"labelLimit": 130}}
    x = {"field": "x", "type": "quantitative", "title": f"{title} ({scale.unit})", "axis": {"tickCount": 4}}
    known = [{"filter": "isValid(datum.x0) && isValid(datum.x1)"}]
    band = {"x": {**x, "field": "x0"}, "x2": {"field": "x1"}, "y": y}
    return {
        "data": {"values": rows},
        "width": width,
        "height": {"step": 26},
        "layer": [
            {
                "mark": {"type": "bar", "height": 14, "color": colour},
                "encoding": {"x": x, "y": y, "description": {"field": "said"}},
            },
            {"transform": known, "mark": {"type": "rule", "color": INK, "strokeWidth": 1.2}, "encoding": band},
        ],
    }


def mesh_chart(mesh: Mesh) -> Chart:
    """The tiles of every chip in use, each core shaded by its load and marked with the number of its layer."""
    shown = min(mesh.chips, MOST_CHIPS)
    gap = mesh.rows + 0.35
    side = next(n for n in range(1, mesh.per_tile + 1) if n * n >= mesh.per_tile)
    extent = 0.88 / side
    tiles = [
        {"x": column + 0.02, "x2": column + 0.98, "y": row + 0.02 + chip * gap, "y2": row + 0.98 + chip * gap}
        for chip in range(shown)
        for column in range(mesh.columns)
        for row in range(mesh.rows)
    ]
    cores = []
    for cell in mesh.cells:
        if cell.chip >= shown:
            continue
        x = cell.column + 0.06 + (cell.slot % side) * extent
        y = cell.row + 0.06 + (cell.slot // side) * extent + cell.chip * gap
        said = f"{short(mesh.layers[cell.layer])}: {cell.neurons:,} neurons, {percent(cell.load, 0)} of the busiest"
        cores.append(
            {"x": x, "x2": x + 0.94 * extent, "y": y, "y2": y + 0.94 * extent, "load": cell.load,
             "xm": x + 0.47 * extent, "ym": y + 0.47 * extent, "mark": str(cell.layer + 1), "said": said}
        )  # fmt: skip

    def spec(width: int) -> Spec:
        tile = width / mesh.columns
        layers = _mesh_layers(tiles, cores, (mesh.columns, gap * shown), min(13, 3 + round(0.5 * extent * tile)))
        return {"width": width, "height": round(tile * gap * shown), "layer": layers}

    drawn = f", {shown} of them drawn" if shown < mesh.chips else ""
    chips = f"{counted(mesh.chips, 'chip')}{drawn}"
    alt = f"{counted(len(mesh.cells), 'core')} in use on {chips}, {mesh.columns} × {mesh.rows} tiles each."
    return Chart(f"mesh-{mesh.hardware}", f"Cores in use on {mesh.hardware}, and their load", alt, spec)


def _mesh_layers(
    tiles: list[dict[str, Any]], cores: list[dict[str, Any]], extent: tuple[float, float], letters: int
) -> list[Spec]:
    """Outlines of the tiles, squares of the cores, and their numbers; letters: the size of these."""
    places: Spec = {
        axis: {"field": axis, "type": "quantitative", "axis": None,
               "scale": {"domain": [0, end], "nice": False, "reverse": axis == "y"}}
        for axis, end in zip("xy", extent, strict=True)
    }  # fmt: skip
    ends = {"x2": {"field": "x2"}, "y2": {"field": "y2"}}
    strength = {"domain": [0, 1], "range": [0.12, 0.8]}
    load = {"field": "load", "type": "quantitative", "legend": None, "scale": strength}
    middle = {axis: {**places[axis], "field": f"{axis}m"} for axis in "xy"}
    squares = {**places, **ends, "fillOpacity": load, "description": {"field": "said"}}
    core = {"type": "rect", "color": BLUE, "stroke": FAINT, "strokeWidth": 0.6}
    text = {"type": "text", "fontSize": letters, "color": INK}
    outline = {"type": "rect", "fill": None, "stroke": GRID}
    return [
        {"data": {"values": tiles}, "mark": outline, "encoding": {**places, **ends}},
        {"data": {"values": cores}, "mark": core, "encoding": squares},
        {"data": {"values": cores}, "mark": text, "encoding": {**middle, "text": {"field": "mark"}}},
    ]
