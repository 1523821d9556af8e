"""Figures of a run: accuracy over time, and where samples exit.

matplotlib's object interface only: no pyplot, no global state, no display. The colours are Okabe and Ito's, which
the colour-blind can tell apart.
"""

import io
import os
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.raster import BLUE, VERMILION, whole_steps
from spikecut.deploy.run_counts import RunCounts
from spikecut.errors import InputError
from spikecut.files import reason, write_bytes

ORANGE, SKY, GREY = "#E69F00", "#56B4E9", "#6B6B6B"


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file; equal figures give equal bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return content.getvalue()


def vector(figure: Figure, kind: str) -> bytes:
    """A figure as the content of a file with its fonts, kind "pdf" or "svg"; equal figures give equal bytes."""
    content = io.BytesIO()
    undated = {"CreationDate": None} if kind == "pdf" else {"Date": None}
    with rc_context({"svg.hashsalt": "spikecut", "pdf.fonttype": 42}):
        figure.savefig(content, format=kind, facecolor="white", metadata=undated)
    return content.getvalue()


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, all of it or nothing; equal figures give equal bytes.

    Raises InputError if the path does not end in .png or cannot be written.
    """
    target = Path(path)
    if target.suffix != ".png":
        raise InputError(f"figure {target}: expected a file name that ends in .png")
    try:
        write_bytes(target, png(figure))
    except OSError as exc:
        raise InputError(f"cannot write the figure {target}: {reason(exc)}; choose another path") from exc
    return target


def accuracy_figure(counts: RunCounts, cutoff: bool = True, optimal_mean_timesteps: float | None = None) -> Figure:
    """Accuracy after each timestep of a full-horizon run, and where the cutoff's run stands.

    Parameters
    ----------
    counts: of a run, and of the full run of its samples.
    cutoff: whether the run had a cutoff; it is drawn as a point at its mean timesteps.
    optimal_mean_timesteps: mean of the optimal cutoff (an oracle), drawn as a line.

    Raises InputError if nothing ran to the horizon.
    """
    if counts.right_after is None:
        raise InputError("accuracy figure: there is no full run; run it with policy=None as well")
    horizon, samples = counts.network.horizon, counts.samples
    accuracy = counts.right_after / samples
    figure, axes = _single_axes()
    timesteps = np.arange(1, horizon + 1)
    axes.plot(
        timesteps, accuracy, "o-", color=BLUE, markersize=4, linewidth=1.8, label="all samples stopped at this timestep"
    )
    values = [float(accuracy.min())]
    if cutoff:
        mean, reached = counts.mean_timesteps, counts.accuracy
        values.append(reached)
        text = f"cutoff: {reached:.1%} after {mean:.2f} of {horizon} on average"
        axes.plot([mean], [reached], "D", color=VERMILION, markersize=8, label=text, zorder=3)
    if optimal_mean_timesteps is not None:
        text = f"oracle of stable correctness: {optimal_mean_timesteps:.2f} on average"
        axes.axvline(optimal_mean_timesteps, color=GREY, linestyle="--", linewidth=1.4, label=text)
    lowest = min(values)
    axes.set_ylim(max(0.0, lowest - 0.06 * (1.05 - lowest)), 1.0 + 0.05 * (1.05 - lowest))
    axes.set_xlim(1 - 0.04 * horizon, horizon + 0.04 * horizon)
    axes.set_ylabel(f"accuracy over {samples:,} samples")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    figure.legend(loc="outside upper left", frameon=False, fontsize=10)
    return figure


def exit_histogram(counts: RunCounts) -> Figure:
    """Share of samples that exit at each timestep, right and wrong ones stacked."""
    horizon, samples, right = counts.network.horizon, counts.samples, counts.accuracy
    timesteps = np.arange(1, horizon + 1)
    shares = [counts.right / samples, counts.wrong / samples]
    figure, axes = _single_axes()
    good = axes.bar(timesteps, shares[0], width=0.82, color=BLUE, label=f"right ({right:.1%})")
    bad = axes.bar(
        timesteps, shares[1], width=0.82, bottom=shares[0], color=ORANGE, hatch="////", edgecolor="white", linewidth=0,
        label=f"wrong ({1 - right:.1%})",
    )  # fmt: skip
    mean = counts.mean_timesteps
    line = axes.axvline(mean, color="black", linestyle="--", linewidth=1.4, label=f"mean {mean:.2f} of {horizon}")
    at_horizon = counts.reasons[ExitReason.HORIZON] / samples
    axes.set_title(f"{at_horizon:.1%} of {samples:,} samples used all {horizon} timesteps", fontsize=11, loc="left")
    axes.set_ylabel("share of samples")
    axes.set_xlabel("timestep of the exit")
    axes.set_xlim(0.3, horizon + 0.7)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    figure.legend(handles=[good, bad, line], loc="outside upper left", ncols=3, frameon=False, fontsize=10)
    return figure


def _single_axes() -> tuple[Figure, Axes]:
    """One figure with one plain set of axes over timesteps."""
    figure = Figure(figsize=(6.8, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=10)
    axes.xaxis.set_major_locator(whole_steps())
    axes.set_xlabel("timesteps")
    axes.xaxis.label.set_fontsize(11)
    axes.yaxis.label.set_fontsize(11)
    return figure, axes
