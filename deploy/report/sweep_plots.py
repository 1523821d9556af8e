"""Figures of a sweep: accuracy against timesteps, energy against accuracy, and what is really saved."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from spikecut.deploy.placement.hardware import file_stems
from spikecut.deploy.raster import BLUE, VERMILION
from spikecut.deploy.report.plots import GREY, ORANGE, SKY
from spikecut.deploy.sweep.sweep import MEASURES, Sweep, SweepPoint
from spikecut.errors import InputError

GREEN, PURPLE = "#009E73", "#CC79A7"
STYLES = {
    "topk": (VERMILION, "o"),
    "confidence": (BLUE, "s"),
    "entropy": (GREEN, "^"),
    "spikecp": (PURPLE, "D"),
    "fixed": (GREY, "x"),
}
OTHERS = (ORANGE, SKY, "black")
FIXED = "fixed"


def style(policy: str, sweep: Sweep) -> tuple[str, str]:
    """Colour and marker of a policy, the same in all figures."""
    if policy in STYLES:
        return STYLES[policy]
    others = [name for name in sweep.policies if name not in STYLES]
    return OTHERS[others.index(policy) % len(OTHERS)], "P"


def _axes(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.8, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title, fontsize=11, loc="left")
    return figure, axes


def _curve(points: tuple[SweepPoint, ...]) -> list[SweepPoint]:
    """The points in the order of their timesteps."""
    return sorted(points, key=lambda point: (point.mean_timesteps, point.accuracy))


def timesteps_figure(sweep: Sweep) -> Figure:
    """Accuracy against mean timesteps: every policy over ε, between the fixed horizon and the oracle's optimum."""
    figure, axes = _axes(f"{sweep.samples:,} samples, thresholds from {sweep.calibration_samples:,} others")
    timesteps = np.arange(1, sweep.horizon + 1)
    axes.plot(timesteps, sweep.accuracy_at, "x--", color=GREY, linewidth=1.4, markersize=5, label="fixed timestep")
    for policy in sweep.policies:
        if policy == FIXED:
            continue
        colour, marker = style(policy, sweep)
        curve = _curve(sweep.of(policy))
        mean, accuracy = [point.mean_timesteps for point in curve], [point.accuracy for point in curve]
        axes.plot(mean, accuracy, marker=marker, color=colour, linewidth=1.5, markersize=3.5, label=policy)
    optimal = sweep.optimal.mean_timesteps
    axes.plot(
        [optimal],
        [sweep.accuracy_full],
        "*",
        color="black",
        markersize=12,
        label=f"stably right (oracle), {optimal:.2f}",
    )
    axes.axhline(sweep.accuracy_full, color="black", linewidth=0.8, linestyle=":", label="full horizon")
    axes.set_xlabel("mean timesteps", fontsize=11)
    axes.set_ylabel("accuracy", fontsize=11)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=1))
    axes.set_ylim(*_limits(sweep))
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def _limits(sweep: Sweep) -> tuple[float, float]:
    """Accuracies worth showing: everything that a policy reaches, and a margin."""
    reached = [point.accuracy for point in sweep.points if point.policy != FIXED] or sweep.accuracy_at.tolist()
    top = max(*reached, sweep.accuracy_full)
    bottom = max(min(reached), top - 0.25)
    margin = 0.05 * (top - bottom) + 0.002
    return bottom - margin, top + margin


def energy_figure(sweep: Sweep, hardware: str) -> Figure:
    """Estimated energy of a sample against accuracy on one hardware, with the full horizon's as a bound.

    Raises InputError if the sweep holds no energy for this hardware.
    """
    if hardware not in sweep.full_costs or not np.isfinite(sweep.full_costs[hardware]["energy_j"][0]):
        raise InputError(f"sweep: no energy on {hardware} is known")
    said = sweep.basis.get(hardware, {})
    kinds = ", ".join(said.get("provenance_energy", ()))
    mark = "hypothetical, " if said.get("hypothetical") else ""
    at_least = ", known part" if said.get("unknown_energy") else ""
    title = f"{hardware}: {mark}estimated energy of a sample alone{at_least}" + (f"\n({kinds})" if kinds else "")
    figure, axes = _axes(title)
    for policy in sweep.policies:
        colour, marker = style(policy, sweep)
        curve = _curve(sweep.of(policy))
        energy = [point.costs[hardware]["energy_j"][0] * 1e6 for point in curve]
        line = "--" if policy == FIXED else "-"
        accuracy = [point.accuracy for point in curve]
        axes.plot(accuracy, energy, marker=marker, linestyle=line, color=colour, markersize=3.5, label=policy)
    full = sweep.full_costs[hardware]["energy_j"][0] * 1e6
    axes.plot([sweep.accuracy_full], [full], "*", color="black", markersize=12, label="full horizon")
    axes.set_xlim(*_limits(sweep))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=1))
    axes.set_xlabel("accuracy", fontsize=11)
    axes.set_ylabel("energy in µJ", fontsize=11)
    axes.legend(frameon=False, fontsize=9)
    return figure


def savings_figure(sweep: Sweep) -> Figure:
    """The three ratios to the full run as steps, and as estimated time and energy per hardware; 1.0 = no saving.

    Each policy stands at the ε with the fewest timesteps that loses at most 0.3 points of accuracy in calibration.

    Raises InputError if no policy has such an ε.
    """
    best = [point for name in sweep.policies if (point := sweep.best(name)) is not None]
    if not best:
        raise InputError("sweep: no policy keeps the accuracy, there is nothing to compare")
    panels = {"steps": [_step_ratios(point) for point in best]}
    for name in sweep.full_costs:
        ratios = [_cost_ratios(point, name, sweep) for point in best]
        if ratios[0]:
            mark = "hypothetical" if sweep.basis.get(name, {}).get("hypothetical") else "estimated"
            panels[f"{name}, {mark}"] = ratios
    widths = [len(ratios[0]) for ratios in panels.values()]
    figure = Figure(figsize=(2.6 + 1.05 * sum(widths), 4.2), layout="constrained")
    figure.suptitle(
        "ratio to the full run, ε chosen in calibration (≤ 0.3 points lost); 1.0 = no saving",
        fontsize=11,
        x=0.01,
        ha="left",
    )
    rows = figure.subplots(1, len(panels), sharey=True, squeeze=False, gridspec_kw={"width_ratios": widths})
    for axes, (title, ratios) in zip(rows[0], panels.items(), strict=True):
        _bars(axes, title, best, ratios, sweep)
    rows[0][0].set_ylabel("with cutoff / full", fontsize=11)
    handles, labels = rows[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=9, ncols=len(best))
    return figure


def _bars(axes: Axes, title: str, best: list[SweepPoint], ratios: list[dict[str, float]], sweep: Sweep) -> None:
    """One panel: a group of bars per ratio, a bar per policy."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=10)
    width = 0.8 / len(best)
    places = np.arange(len(ratios[0]))
    for number, (point, values) in enumerate(zip(best, ratios, strict=True)):
        offset = (number - (len(best) - 1) / 2) * width
        colour, _ = style(point.policy, sweep)
        axes.bar(places + offset, list(values.values()), width=0.92 * width, color=colour, label=point.policy)
    axes.axhline(1.0, color="black", linewidth=1.0, linestyle=":")
    axes.set_xticks(places, list(ratios[0]), fontsize=9)
    axes.set_ylim(bottom=0)


def _step_ratios(point: SweepPoint) -> dict[str, float]:
    return {"naive\nτ/T": point.naive, "isolated": point.isolated, "streaming": point.streaming}


def _cost_ratios(point: SweepPoint, hardware: str, sweep: Sweep) -> dict[str, float]:
    """Ratios of time and energy that are known on this hardware, by label."""
    full, streamed = sweep.full_costs[hardware], sweep.streamed.get(point.policy, {}).get(hardware, {})
    ratios = {}
    for key, what in MEASURES.items():
        if full[key][0] > 0 and np.isfinite(full[key][0]):
            ratios[f"{what}\nisolated"] = point.costs[hardware][key][0] / full[key][0]
        if np.isfinite(streamed.get(key, np.nan)):
            ratios[f"{what}\nstreaming"] = streamed[key]
    return ratios


def sweep_figures(sweep: Sweep) -> dict[str, Figure]:
    """All figures of a sweep, file name without suffix → figure."""
    figures = {"accuracy-timesteps": timesteps_figure(sweep)}
    if any(sweep.best(name) is not None for name in sweep.policies):
        figures["savings"] = savings_figure(sweep)
    for name, stem in file_stems(list(sweep.full_costs)).items():
        if np.isfinite(sweep.full_costs[name]["energy_j"][0]):
            figures[f"energy-accuracy-{stem}"] = energy_figure(sweep, name)
    return figures
