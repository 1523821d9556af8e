"""A picture of one sample's messages, layer by layer and hardware step by hardware step, up to its exit.

matplotlib's object interface only: no pyplot, no global state, no display. The colours are Okabe and Ito's, which
the colour-blind can tell apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BLUE, VERMILION = "#0072B2", "#D55E00"
RASTER_ROWS = 72
"""Rows of pixels per layer of a raster; a larger layer shares them."""
TICKED_CLASSES = 12


@dataclass(frozen=True)
class RasterLayer:
    """A layer: its name, the shape of its output, and its messages, integers [steps, neurons], 0 where none."""

    name: str
    shape: tuple[int, ...]
    messages: npt.NDArray[np.int32]


@dataclass(frozen=True)
class RasterSample:
    """How a sample ran: T, P, the timesteps and hardware steps that it used, whether it was halted, its prediction."""

    horizon: int
    depth: int
    timesteps: int
    executed: int
    halted: bool
    prediction: int


def raster_figure(layers: Sequence[RasterLayer], sample: RasterSample, names: Sequence[str]) -> Figure:
    """The messages of every layer, the source on top.

    A row is a neuron, or, in a layer larger than RASTER_ROWS, several neurons that share it; the darker, the more or
    the larger the messages; vermilion where they are negative. Hardware steps that the cutoff saved are hatched.

    names: of the output neurons.
    """
    last_step = sample.horizon + sample.depth
    executed = sample.executed
    heights = [1.0] * (len(layers) - 1) + [1.25]
    figure = Figure(figsize=(7.2, 0.9 + 1.05 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, layer in zip(panels, layers, strict=True):
        _draw_layer(axes, layer, executed)
        _draw_exit(axes, sample, last_step)
    _label_classes(panels[-1], names, sample.prediction)
    panels[-1].set_xlim(0.5, last_step + 0.5)
    panels[-1].set_xlabel(f"hardware step (pipeline depth {sample.depth})", fontsize=11)
    panels[-1].xaxis.set_major_locator(whole_steps())
    panels[0].set_title(_exit_text(sample, names), fontsize=11, loc="left")
    if last_step - executed > 0.15 * last_step:
        _label_saved(panels[0], executed, last_step)
    return figure


def whole_steps() -> MaxNLocator:
    """Ticks at whole steps, all of them up to 20."""
    return MaxNLocator(nbins=20, integer=True, min_n_ticks=1)


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


def _exit_text(sample: RasterSample, names: Sequence[str]) -> str:
    """What was answered, when, and why there."""
    answer = names[sample.prediction]
    if sample.halted:
        return f"predicted “{answer}” after {sample.timesteps} of {sample.horizon} timesteps, then halted"
    return f"“{answer}” after all {sample.horizon} timesteps, never cut"


def _draw_layer(axes: Axes, layer: RasterLayer, executed: int) -> None:
    """One layer's messages as an image: neurons down, hardware steps across."""
    messages = layer.messages[:executed].T.astype(np.float64)
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


def _draw_exit(axes: Axes, sample: RasterSample, last_step: int) -> None:
    """The step at which the exit was decided, and the steps that were never executed."""
    executed = sample.executed
    if sample.halted:
        axes.axvline(sample.timesteps + sample.depth + 0.5, color=VERMILION, linewidth=2.2, zorder=4)
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
