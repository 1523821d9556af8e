"""The tables of a report: what a page shows without any script, and what stands beside every chart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from spikecut.deploy.cost.band import Figure
from spikecut.deploy.placement.hardware import Hardware
from spikecut.deploy.placement.quantities import parameters
from spikecut.deploy.report.html.contents import HardwareCost, Mesh, Played, RunReport
from spikecut.deploy.report.html.units import band_text, mean_text, percent, share_text
from spikecut.deploy.report.tables import SAVINGS, UNKNOWN, quantity
from spikecut.deploy.verify.compare import Verification

MOST_WRONG = 200
"""Wrong samples that a table lists."""


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the number by which its column sorts, if it is one."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class PageTable:
    """A table. caption: what it holds. columns: their headings, with units. rows: the first cell is the row's heading.

    sortable: whether the page offers to sort it. note: a line below it.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sortable: bool = False
    note: str = ""


def _number(value: float | None, text: str | None = None) -> Cell:
    if value is None or isnan(value):
        return Cell(UNKNOWN)
    if text is None:
        text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return Cell(text, float(value))


def _figure(figure: Figure | None, text: str) -> Cell:
    return Cell(text, None if figure is None or isnan(figure.value) else figure.value)


def compare_table(runs: Sequence[RunReport]) -> PageTable:
    """The runs side by side, one row each."""
    names = list(dict.fromkeys(cost.name for run in runs for cost in run.chips))
    columns: tuple[str, ...] = (
        "run",
        "backend",
        "samples",
        "accuracy at T",
        "accuracy with cutoff",
        "mean timesteps",
        "T",
    )
    columns += tuple(f"{name} {measure}" for name in names for measure in ("latency", "energy"))
    columns += tuple(SAVINGS.values())
    rows = []
    for run in runs:
        cells = [
            Cell(run.name),
            Cell(run.backend),
            _number(run.samples, f"{run.samples:,}"),
            _figure(run.accuracy_full, share_text(run.accuracy_full)),
            _figure(run.accuracy_cutoff, share_text(run.accuracy_cutoff)),
            _figure(run.timesteps, mean_text(run.timesteps)),
            _number(run.horizon),
        ]
        found = {cost.name: cost for cost in run.costs}
        for name in names:
            cells += [_cost_cell(found.get(name), measure) for measure in ("latency", "energy")]
        cells += [_number(run.savings.get(key), _ratio(run.savings.get(key))) for key in SAVINGS]
        rows.append(tuple(cells))
    note = (
        "Accuracy with its 95 % interval (Clopper-Pearson), timesteps with that of the mean; latency and energy per "
        "sample are estimated, with the band of the hardware's terms; ≥: a lower bound, some terms are unknown. "
        "Ratios of steps to the full run: 1.0 saves nothing."
    )
    return PageTable("Runs side by side", columns, tuple(rows), sortable=True, note=note)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _cost_cell(cost: HardwareCost | None, measure: str) -> Cell:
    if cost is None:
        return Cell("not estimated")
    if cost.refusal:
        return Cell("cannot run")
    figure, unit = (cost.latency_s, "s") if measure == "latency" else (cost.energy_j, "J")
    return _figure(figure, band_text(figure, unit, bool(cost.unknown.get(measure))))


def costs_table(run: RunReport) -> PageTable:
    """What the mean sample costs on every hardware, or why the network cannot run there."""
    rows = []
    for cost in run.costs:
        if cost.refusal:
            rows.append((Cell(cost.name), Cell(cost.refusal), *(Cell("") for _ in range(4))))
            continue
        provenance = dict.fromkeys(kind for kinds in cost.provenance.values() for kind in kinds)
        unknown = dict.fromkeys(term for terms in cost.unknown.values() for term in terms)
        title = f"{cost.title}; lacks {', '.join(cost.hypothetical)}" if cost.hypothetical else cost.title
        rows.append(
            (
                Cell(cost.name),
                Cell("; ".join(filter(None, (title, cost.placement)))),
                _cost_cell(cost, "latency"),
                _cost_cell(cost, "energy"),
                Cell(", ".join(provenance)),
                Cell(", ".join(unknown)),
            )
        )
    columns = ("hardware", "what it is, or why not", "latency", "energy", "terms are", "terms that nobody published")
    said = dict.fromkeys(f"{cost.name}: {line}" for cost in run.chips for line in cost.assumptions)
    note = "Per sample, mean, estimated, with the band of the terms. ≥: a lower bound. "
    return PageTable(f"Costs of {run.name}", columns, tuple(rows), note=note + "; ".join(said))


def bounds_table(run: RunReport) -> PageTable:
    """What the hardware steps wait for, chip by chip: the busiest core, the busiest link of the mesh, the barrier."""
    rows = tuple(
        (
            Cell(cost.name),
            Cell(name),
            _number(steps, percent(steps)),
            _number(None if isnan(mean) else mean, UNKNOWN if isnan(mean) else quantity(mean, "s")),
            Cell(where),
        )
        for cost in run.chips
        for name, steps, mean, where in cost.bounds
    )
    columns = ("hardware", "what goes on at once", "bounds", "mean a step", "most often")
    note = "Share of the hardware steps that each of them bounded, at the best figures. Estimated."
    return PageTable(f"What the steps of {run.name} wait for", columns, rows, note=note)


def monitors_table(run: RunReport) -> PageTable:
    """Whether the cutoff pays for its monitor, by where that runs, and why."""
    columns = ("hardware", "the monitor runs", "latency: the cutoff", "energy: the cutoff", "the monitor's cost is of")
    note = (
        "It pays where the least that is saved exceeds the most that the monitor costs. Estimated, a mean sample; what "
        "nobody published costs between nothing and anything. "
    )
    rows = tuple(tuple(Cell(text.replace("on_chip", "on chip")) for text in row) for row in run.monitors)
    title = f"Whether the cutoff of {run.name} pays for its monitor"
    return PageTable(title, columns, rows, note=note + "; ".join(run.monitor_notes))


def exits_table(run: RunReport) -> PageTable:
    """At every timestep how many samples exit, and how many of them are wrong."""
    rows, seen = [], 0
    for t, (right, wrong) in enumerate(zip(run.exits.right, run.exits.wrong, strict=True), start=1):
        seen += right + wrong
        if right + wrong:
            share = wrong / (right + wrong)
            rows.append(
                (
                    _number(t, str(t)),
                    _number(right + wrong, f"{right + wrong:,}"),
                    _number(wrong, f"{wrong:,}"),
                    _number(share, percent(share)),
                    _number(seen / run.samples, percent(seen / run.samples)),
                )
            )
    columns = ("timestep of the exit", "samples", "wrong", "share wrong", "exited so far")
    return PageTable(f"Exits of {run.name}", columns, tuple(rows), sortable=True)


def wrong_table(run: RunReport) -> PageTable:
    """The samples that are answered wrongly."""
    rows = tuple(
        (
            _number(each.index, str(each.index)),
            Cell(each.label),
            Cell(each.prediction),
            _number(each.timesteps),
            Cell(each.reason),
            _number(each.margin, f"{each.margin:,}"),
        )
        for each in run.wrong[:MOST_WRONG]
    )
    columns = ("sample", "label", "predicted", "timestep of the exit", "ended by", "score above the label's")
    left = len(run.wrong) - len(rows)
    note = f"{left:,} more are in samples.parquet of the run." if left else ""
    return PageTable(f"Wrong samples of {run.name}", columns, rows, sortable=True, note=note)


def layers_table(run: RunReport) -> PageTable:
    """The network, layer by layer."""
    names = [cost.name for cost in run.chips if any(cost.name in layer.time_s for layer in run.layers)]
    columns: tuple[str, ...] = (
        *("layer", "type", "in", "out"),
        *(f"{name}: share of {what}" for name in names for what in ("time", "energy")),
        *("spikes per sample", "spikes per neuron and step", "synaptic operations per sample", "parameters"),
        *("weight bits", "weight error max", "weight error RMS", "threshold error", "bias error max"),
        "headroom (bits)",
    )
    totals = {name: _totals(run, name) for name in names}
    rows = []
    for layer in run.layers:
        cells = [Cell(layer.name), Cell(layer.kind), Cell(layer.input), Cell(layer.output)]
        for name in names:
            for figure, total in zip((layer.time_s.get(name), layer.energy_j.get(name)), totals[name], strict=True):
                share = None if figure is None or not total else figure.value / total
                cells.append(_number(share, None if share is None or isnan(share) else percent(share)))
        errors = (layer.error_max, layer.error_rms, layer.threshold_error, layer.bias_error)
        cells += [
            _number(layer.spikes),
            _number(layer.rate, None if layer.rate is None else f"{layer.rate:.3f}"),
            _number(layer.synops),
            _number(layer.parameters, None if layer.parameters is None else f"{layer.parameters:,}"),
            _number(layer.weight_bits),
            *(_number(error, None if error is None else f"{error:.2g}") for error in errors),
            Cell(layer.headroom or UNKNOWN),
        ]
        rows.append(tuple(cells))
    note = (
        "Errors are in float units of the folded network. Time is on the critical path: a layer that never holds up "
        "the others has none. Shares are of the whole sample, with barrier and static power, which belong to no layer."
    )
    if run.points_of and run.points_of < run.samples:
        note += f" Spikes and synaptic operations are means of the first {run.points_of:,} samples."
    return PageTable(f"Layers of {run.name}", columns, tuple(rows), sortable=True, note=note)


def _totals(run: RunReport, hardware: str) -> tuple[float, float]:
    """Time and energy of the mean sample, of what is attributed."""
    cost = next(each for each in run.chips if each.name == hardware)
    return (
        _sum([*(each.time_s.get(hardware) for each in run.layers), *cost.shared_time_s.values()]),
        _sum([*(each.energy_j.get(hardware) for each in run.layers), *cost.shared_energy_j.values()]),
    )


def _sum(figures: Iterable[Figure | None]) -> float:
    return sum(figure.value for figure in figures if figure is not None and not isnan(figure.value))


def points_table(run: RunReport) -> PageTable:
    """All ways to stop that the charts show."""
    names = [cost.name for cost in run.chips]
    rows = []
    for point in run.points:
        cells = [
            Cell(point.label),
            _figure(point.timesteps, mean_text(point.timesteps)),
            _figure(point.accuracy, share_text(point.accuracy)),
        ]
        for name in names:
            for found, unit in ((point.latency_s.get(name), "s"), (point.energy_j.get(name), "J")):
                cells.append(Cell(UNKNOWN) if found is None else _figure(found, band_text(found, unit)))
        rows.append(tuple(cells))
    columns: tuple[str, ...] = ("samples stop", "mean timesteps", "accuracy")
    columns += tuple(f"{name} {what}" for name in names for what in ("latency", "energy"))
    note = ""
    if run.points_of:
        note = (
            f"This run: all {run.samples:,} samples. The others: the first {run.points_of:,}, latency and energy of "
            f"the first {run.replayed:,}, run again on the batched engine; the policy is fitted to the calibration "
            "split."
        )
    return PageTable(f"Ways to stop: {run.name}", columns, tuple(rows), sortable=True, note=note)


def verification_table(name: str, found: Verification) -> PageTable:
    """What was compared with the golden twin, and where it differs."""
    rows = tuple(
        (
            Cell(check.layer),
            Cell(check.engine),
            _number(check.compared, f"{check.compared:,}"),
            _number(check.spikes, f"{check.spikes:,}"),
            _number(check.mismatches, f"{check.mismatches:,}"),
        )
        for check in found.checks
    )
    columns = ("layer", "engine", "values compared", "spikes", "mismatches")
    return PageTable(f"Integers of {name} against the golden twin", columns, rows)


def mesh_table(run: str, mesh: Mesh) -> PageTable:
    """The cores in use, layer by layer."""
    rows = []
    for number, name in enumerate(mesh.layers):
        cells = [cell for cell in mesh.cells if cell.layer == number]
        loads = [cell.load for cell in cells] or [0.0]
        neurons = [cell.neurons for cell in cells] or [0]
        rows.append(
            (
                Cell(f"{number + 1} {name}", number),
                _number(len(cells)),
                _number(max(neurons), f"{max(neurons):,}"),
                _number(max(loads), percent(max(loads), 0)),
                _number(sum(loads) / len(loads), percent(sum(loads) / len(loads), 0)),
            )
        )
    columns = ("layer", "cores", "neurons on the fullest", "load of the busiest", "mean load")
    note = "Load: a core's mean time per step, over that of the busiest core of the chip. Estimated."
    return PageTable(f"Cores of {run} on {mesh.hardware}", columns, tuple(rows), note=note)


def played_table(run: str, played: Played, classes: tuple[str, ...]) -> PageTable:
    """The samples that the player offers."""
    trace = played.trace
    names = classes or tuple(str(number) for number in range(trace.scores.shape[2]))
    rows = []
    for n in range(trace.samples):
        label, said = int(played.labels[n]), int(trace.predictions[n])
        spikes = [f"{layer.name} {int(layer.spikes[n].sum()):,}" for layer in trace.events]
        rows.append(
            (
                _number(int(played.index[n]), str(played.index[n])),
                Cell(names[label]),
                Cell(names[said]),
                Cell("right" if label == said else "wrong"),
                _number(int(trace.timesteps[n])),
                _number(int(trace.hardware_steps[n])),
                Cell(trace.reason[n].value),
                Cell(", ".join(spikes)),
            )
        )
    columns = (
        *("sample", "label", "predicted", "right or wrong", "timesteps", "hardware steps", "ended by"),
        "messages until then",
    )
    return PageTable(f"Samples of {run} that can be played", columns, tuple(rows))


def terms_table(hardware: Hardware) -> PageTable:
    """Every term of a hardware file with its band, provenance and source."""
    rows = []
    for key, term in parameters(hardware).items():
        numbers = [_number(number, None if number is None else f"{number:g}") for number in
                   (term.value, term.low, term.high)]  # fmt: skip
        rows.append((Cell(key), *numbers, Cell(term.provenance or UNKNOWN), Cell(term.source)))
    columns = ("term, with its unit", "value", "low", "high", "provenance", "source")
    return PageTable(f"{hardware.name}: {hardware.title}", columns, tuple(rows))


def provenance_table(run: str, entries: Mapping[str, str]) -> PageTable:
    """What makes the run repeatable."""
    return PageTable(
        f"Provenance of {run}", ("what", "value"), tuple((Cell(key), Cell(value)) for key, value in entries.items())
    )


def slowest_text(run: RunReport) -> tuple[str, ...]:
    """On every chip the layer that takes most time, and what takes most energy, in words."""
    lines = []
    for cost in run.chips:
        time, energy = _totals(run, cost.name)
        slow = [layer for layer in run.layers if layer.time_s.get(cost.name)]
        if not slow or not time:
            continue
        layer = max(slow, key=lambda each: each.time_s[cost.name].value)
        line = (
            f"{cost.name}: the slowest layer is {layer.name}, {percent(layer.time_s[cost.name].value / time, 0)} of "
            f"the time ({quantity(layer.time_s[cost.name].value, 's')} of {quantity(time, 's')} per sample)"
        )
        parts = {each.name: each.energy_j[cost.name] for each in run.layers if cost.name in each.energy_j}
        parts |= {f"{name}, which belongs to no layer": figure for name, figure in cost.shared_energy_j.items()}
        if parts and energy:
            name, figure = max(parts.items(), key=lambda item: item[1].value)
            line += f"; most energy goes to {name}: {percent(figure.value / energy, 0)}"
        lines.append(line)
    return tuple(lines)
