"""Figures of a run: accuracy over time, where samples exit, and one sample's spikes up to its exit.

matplotlib's object interface only: no pyplot, no global state, no display. The colours are Okabe and Ito's, which
the colour-blind can tell apart.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.run_counts import RunCounts
from spikecut.deploy.run_trace import LayerEvents, RunTrace
from spikecut.errors import InputError
from spikecut.files import reason, write_bytes

BLUE, ORANGE, VERMILION, SKY, GREY = "#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#6B6B6B"
RASTER_ROWS = 72
"""Rows of pixels per layer of a raster; a larger layer shares them."""
TICKED_CLASSES = 12


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
    axes.xaxis.set_major_locator(_whole_steps())
    axes.set_xlabel("timesteps")
    axes.xaxis.label.set_fontsize(11)
    axes.yaxis.label.set_fontsize(11)
    return figure, axes


def _whole_steps() -> MaxNLocator:
    """Ticks at whole steps, all of them up to 20."""
    return MaxNLocator(nbins=20, integer=True, min_n_ticks=1)


def spike_raster(trace: RunTrace, sample: int, class_names: Sequence[str] = ()) -> Figure:
    """Messages of every layer of one sample over its hardware steps, the source on top, up to the exit.

    A row is a neuron, or, in a layer larger than RASTER_ROWS, several neurons that share it; the darker, the more or
    the larger the messages; vermilion where they are negative. Hardware steps that the cutoff saved are hatched.

    Parameters
    ----------
    trace: a run recorded with record="all".
    sample: which of its N samples.
    class_names: names of the output neurons; numbers if empty.

    Raises InputError if the sample does not exist or the trace holds no spikes.
    """
    if not 0 <= sample < trace.samples:
        raise InputError(f"spike raster: sample {sample}, the trace has 0 to {trace.samples - 1}")
    if not trace.events:
        raise InputError("this trace holds no spikes: run again with record='all'")
    names = list(class_names) or [str(number) for number in range(trace.scores.shape[2])]
    last_step = trace.horizon + trace.depth
    executed = int(trace.hardware_steps[sample])
    heights = [1.0] * (len(trace.events) - 1) + [1.25]
    figure = Figure(figsize=(7.2, 0.9 + 1.05 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, layer in zip(panels, trace.events, strict=True):
        _draw_layer(axes, layer, sample, executed)
        _draw_exit(axes, trace, sample, executed, last_step)
    _label_classes(panels[-1], names, int(trace.predictions[sample]))
    panels[-1].set_xlim(0.5, last_step + 0.5)
    panels[-1].set_xlabel(f"hardware step (pipeline depth {trace.depth})", fontsize=11)
    panels[-1].xaxis.set_major_locator(_whole_steps())
    panels[0].set_title(_exit_text(trace, sample, names), fontsize=11, loc="left")
    if last_step - executed > 0.15 * last_step:
        _label_saved(panels[0], executed, last_step)
    return figure


def _label_saved(axes: Axes, executed: int, last_step: int) -> None:
    """How many hardware steps were not executed, in the middle of them."""
    axes.text(
        (executed + last_step + 1) / 2,
        0.5,
        f"{last_step - executed} of {last_step}\nsteps saved",
        transform=axes.get_xaxis_transform(),
        ha="center",
        va="center",
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
    )


def _exit_text(trace: RunTrace, sample: int, names: Sequence[str]) -> str:
    """What was answered, when, and why there."""
    answer, used = names[int(trace.predictions[sample])], int(trace.timesteps[sample])
    if trace.reason[sample] is ExitReason.CUTOFF:
        return f"predicted “{answer}” after {used} of {trace.horizon} timesteps, then halted"
    return f"“{answer}” after all {trace.horizon} timesteps, never cut"


def _draw_layer(axes: Axes, layer: LayerEvents, sample: int, executed: int) -> None:
    """One layer's messages as an image: neurons down, hardware steps across."""
    if layer.raster is None:
        raise InputError("this trace holds no spikes: run again with record='all'")
    messages = layer.raster[sample, :executed].T.astype(np.float64)
    neurons = messages.shape[0]
    axes.imshow(
        _shade(messages), extent=(0.5, executed + 0.5, neurons - 0.5, -0.5), aspect="auto", interpolation="nearest"
    )
    axes.vlines(np.arange(1, executed) + 0.5, -0.5, neurons - 0.5, color="white", linewidth=1.2)
    axes.set_ylim(neurons - 0.5, -0.5)
    axes.set_yticks([])
    axes.tick_params(labelsize=10, bottom=False)
    axes.spines[["top", "right"]].set_visible(False)
    shape = "×".join(str(extent) for extent in layer.shape)
    axes.set_ylabel(f"{layer.name}\n{shape}", fontsize=10, rotation=0, ha="right", va="center")


def _shade(messages: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """RGB image [rows, steps, 3] of messages [neurons, steps]: blue, or vermilion if negative, on white."""
    edges = np.linspace(0, messages.shape[0], min(messages.shape[0], RASTER_ROWS) + 1).astype(np.int64)
    counts = np.diff(edges)[:, None]
    scale = max(float(np.abs(messages).max(initial=0.0)), 1.0)
    image = np.ones((len(counts), messages.shape[1], 3))
    for colour, part in ((BLUE, messages.clip(min=0)), (VERMILION, -messages.clip(max=0))):
        strength = np.sqrt(np.add.reduceat(part, edges[:-1], axis=0) / counts / scale)
        image -= strength[..., None] * (1 - np.array(to_rgb(colour)))
    return image.clip(0, 1)


def _draw_exit(axes: Axes, trace: RunTrace, sample: int, executed: int, last_step: int) -> None:
    """The step at which the exit was decided, and the steps that were never executed."""
    if trace.reason[sample] is ExitReason.CUTOFF:
        decided = int(trace.timesteps[sample]) + trace.depth
        axes.axvline(decided + 0.5, color=VERMILION, linewidth=2.2, zorder=4)
    if executed < last_step:
        axes.axvspan(executed + 0.5, last_step + 0.5, facecolor="0.95", edgecolor="0.8", hatch="////", linewidth=0)


def _label_classes(axes: Axes, names: Sequence[str], prediction: int) -> None:
    """Class names beside the output layer, the predicted one marked."""
    shown = range(len(names)) if len(names) <= TICKED_CLASSES else [prediction]
    axes.set_yticks(list(shown), [names[number] for number in shown], fontsize=8)
    for number, label in zip(shown, axes.get_yticklabels(), strict=True):
        if number == prediction:
            label.set_color(VERMILION)
            label.set_fontweight("bold")
    axes.tick_params(bottom=True)
