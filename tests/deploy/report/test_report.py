"""Figures draw what the traces hold; tables say what the summaries say."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console

from spikecut.deploy import raster
from spikecut.deploy.cutoff import TopK, apply_policy
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.cutoff.calibration.intervals import share_interval
from spikecut.deploy.report.plots import accuracy_figure, exit_histogram, save
from spikecut.deploy.report.tables import demo_table, quantity, quartiles, ratio, sparkline
from spikecut.deploy.run.summary import summarise
from spikecut.deploy.run_counts import RunCounts
from spikecut.deploy.run_trace import LayerEvents, RunTrace
from spikecut.errors import InputError
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

HORIZON, SAMPLES, CLASSES, INPUTS = 6, 8, 3, 200
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])


def run(policy: CutoffPolicy | None, rasters: bool = True) -> RunTrace:
    """A run of a one-layer network whose spikes were drawn instead of computed."""
    random = np.random.default_rng(5)
    scores = random.integers(0, 2, (HORIZON, SAMPLES, CLASSES))
    scores[:, np.arange(SAMPLES), LABELS] |= random.random((HORIZON, SAMPLES)) < 0.7
    inputs = random.integers(-2, 3, (HORIZON, SAMPLES, INPUTS))
    exits = apply_policy(policy, scores)
    steps = exits.timesteps + 1
    events = []
    for depth, messages in enumerate((inputs, scores)):
        raster = np.zeros((SAMPLES, HORIZON + 1, messages.shape[2]), dtype=np.int32)
        raster[:, depth : depth + HORIZON] = messages.swapaxes(0, 1)
        raster[np.arange(HORIZON + 1) >= steps[:, None]] = 0
        spikes = np.count_nonzero(raster, axis=2).astype(np.int64)
        name = ("input", "output")[depth]
        events.append(LayerEvents(name, messages.shape[2:], spikes, spikes, raster if rasters else None))
    neuron = IntegerNeuron(1, np.zeros(CLASSES, dtype=np.int64))
    layer = IntegerLayer("output", "dense", np.full((CLASSES, INPUTS), 2), neuron, (INPUTS,), (CLASSES,))
    network = IntegerNetwork((layer,), InputSpec((INPUTS,), "direct", bits=2, signed=True), "count", HORIZON)
    valid = np.arange(1, HORIZON + 1)[:, None] <= exits.timesteps
    kept = np.where(valid[..., None], scores, 0)
    return RunTrace(kept, valid, exits.timesteps, steps, exits.reason, network, "batched", tuple(events))


FULL = run(None)
CUT = run(TopK((None, 0, 1, 1, 1, 1)))


def texts(figure: Figure) -> str:
    """Everything written in a figure."""
    found = [text.get_text() for axes in figure.axes for text in [axes.title, axes.xaxis.label, axes.yaxis.label]]
    found += [axes.get_title(loc="left") for axes in figure.axes]
    found += [text.get_text() for axes in figure.axes for text in axes.texts]
    found += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return "\n".join(found)


def xs(line: Line2D) -> list[float]:
    """Abscissae of a drawn line."""
    values: list[float] = np.asarray(line.get_xdata()).tolist()
    return values


def ys(line: Line2D) -> list[float]:
    """Ordinates of a drawn line."""
    values: list[float] = np.asarray(line.get_ydata()).tolist()
    return values


def test_accuracy_figure_draws_the_running_accuracy_and_the_cutoff() -> None:
    figure = accuracy_figure(RunCounts.of(CUT, LABELS, FULL), optimal_mean_timesteps=2.5)
    curve, point, optimum = figure.axes[0].lines
    expected = [(FULL.scores[:t].sum(axis=0).argmax(axis=1) == LABELS).sum() / SAMPLES for t in range(1, HORIZON + 1)]
    assert xs(curve) == [1, 2, 3, 4, 5, 6]
    assert ys(curve) == expected
    assert xs(point) == [CUT.timesteps.mean()]
    assert ys(point) == [(CUT.predictions == LABELS).mean()]
    assert xs(optimum) == [2.5, 2.5]
    low, high = figure.axes[0].get_ylim()
    assert low < min(expected) and high > max(expected)
    assert f"of {HORIZON} on average" in texts(figure)
    assert len(accuracy_figure(RunCounts.of(FULL, LABELS, FULL), cutoff=False).axes[0].lines) == 1


def test_accuracy_figure_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="no full run"):
        accuracy_figure(RunCounts.of(CUT, LABELS))
    with pytest.raises(InputError, match="was cut"):
        RunCounts.of(CUT, LABELS, CUT)


def test_exit_histogram_adds_up() -> None:
    figure = exit_histogram(RunCounts.of(CUT, LABELS))
    bars: list[Any] = list(figure.axes[0].patches)
    right, wrong = bars[:HORIZON], bars[HORIZON:]
    for t, (good, bad) in enumerate(zip(right, wrong, strict=True), start=1):
        here = CUT.timesteps == t
        hits = CUT.predictions == LABELS
        assert good.get_x() + good.get_width() / 2 == pytest.approx(t)
        assert good.get_height() * SAMPLES == pytest.approx((here & hits).sum())
        assert bad.get_height() * SAMPLES == pytest.approx((here & ~hits).sum())
        assert bad.get_y() == good.get_height()
    with pytest.raises(InputError, match="labels of shape"):
        RunCounts.of(CUT, LABELS[:-1])


def test_spike_raster_shows_every_layer_and_the_verdict() -> None:
    sample = int(CUT.timesteps.argmin())
    assert CUT.timesteps[sample] < HORIZON
    figure = CUT.plot_raster(sample, ("ant", "bee", "cat"))
    source, output = figure.axes
    image = np.asarray(output.images[0].get_array())
    messages = CUT.events[1].raster
    assert messages is not None
    sent = messages[sample, : CUT.hardware_steps[sample]].T != 0
    assert image.shape[:2] == sent.shape
    assert ((image < 1).any(axis=2) == sent).all()
    assert np.asarray(source.images[0].get_array()).shape == (raster.RASTER_ROWS, CUT.hardware_steps[sample], 3)
    verdict = [line for line in output.lines if line.get_color() == raster.VERMILION]
    assert [xs(line)[0] for line in verdict] == [CUT.timesteps[sample] + CUT.depth + 0.5]
    assert output.get_xlim() == (0.5, HORIZON + 1 + 0.5)
    assert [label.get_text() for label in output.get_yticklabels()] == ["ant", "bee", "cat"]
    answer = ("ant", "bee", "cat")[CUT.predictions[sample]]
    assert f"predicted “{answer}” after {CUT.timesteps[sample]} of {HORIZON}" in texts(figure)
    assert f"{HORIZON - CUT.timesteps[sample]} of {HORIZON + 1}\nsteps saved" in texts(figure)


def test_spike_raster_of_a_sample_that_was_never_cut() -> None:
    figure = FULL.plot_raster(0)
    assert "never cut" in texts(figure)
    assert not any(line.get_color() == raster.VERMILION for axes in figure.axes for line in axes.lines)
    assert not any(axes.patches for axes in figure.axes)


def test_negative_messages_have_a_colour_of_their_own() -> None:
    image = raster._shade(np.array([[4.0, -4.0, 0.0]]))
    assert image[0].tolist() == pytest.approx(np.array([to_rgb(raster.BLUE), to_rgb(raster.VERMILION), (1, 1, 1)]))


def test_spike_raster_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(InputError, match="0 to 7"):
        CUT.plot_raster(SAMPLES)
    with pytest.raises(InputError, match="record='all'"):
        run(None, rasters=False).plot_raster(0)


def test_save_is_repeatable_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save(CUT.plot_raster(0), tmp_path / "a.png")
    second = save(CUT.plot_raster(0), tmp_path / "b.png")
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"\x89PNG")
    assert b"Matplotlib" not in first.read_bytes()
    with pytest.raises(InputError, match=r"\.png"):
        save(Figure(), tmp_path / "a.pdf")
    with pytest.raises(InputError, match="cannot write the figure"):
        save(Figure(), tmp_path / "a.png" / "b.png")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(Figure(), tmp_path / "c.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def estimated(**change: Any) -> dict[str, Any]:
    latency = {"mean": 12.3e-6, "low": 8e-6, "high": 20e-6, "unknown_terms": []}
    energy = {"mean": 4.5e-7, "low": 4e-7, "high": None, "unknown_terms": ["barrier energy"]}
    return {"estimated": True, "hypothetical": [], "latency_s": latency, "energy_j": energy, **change}


def summary(**change: Any) -> dict[str, Any]:
    savings = {
        "naive": {"steps": 0.5},
        "isolated": {"steps": 0.571, "loihi2": {"latency": {"value": 0.6, "low": 0.59, "high": 0.61}}},
        "streaming": {"steps": 1.0, "loihi2": {"latency": None}},
    }
    made = summarise(RunCounts.of(CUT, LABELS, FULL), savings=savings)
    return {**made.data(), "network": "qcfs", "hardware": {"loihi2": estimated()}, **change}


def printed(summaries: list[dict[str, Any]], width: int = 100) -> str:
    """The table as a file receives it."""
    console = Console(width=width, file=io.StringIO())
    console.print(demo_table(summaries))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(text: str, label: str) -> str:
    """The line of a printed table that starts with a label."""
    [line] = [line for line in text.splitlines() if line.startswith(f"│ {label}")]
    return line


def test_demo_table_says_what_the_summaries_say() -> None:
    text = printed([summary(), summary(network="tet", accuracy_full=None, savings=None, hardware={})])
    assert "qcfs" in text and "tet" in text
    assert f"{CUT.timesteps.mean():.2f} of {HORIZON}" in row(text, "mean timesteps")
    assert f"{CUT.hardware_steps.mean():.2f} of {HORIZON + 1}" in row(text, "mean hardware steps")
    right = int((FULL.predictions == LABELS).sum())
    low, high = (100 * edge for edge in share_interval(right, SAMPLES))
    assert f"{right / SAMPLES:.2%} ({low:.2f} to {high:.2f})" in row(text, "accuracy at full T")
    assert "not run" in row(text, "accuracy at full T")
    assert "12.3 µs (8.00 µs to 20.0 µs)" in row(text, "loihi2 latency, estimated")
    assert "≥ 450 nJ (400 nJ to unknown)" in row(text, "loihi2 energy, estimated")
    assert "not estimated" in row(text, "loihi2 energy, estimated")
    assert "0.500" in row(text, "naive ratio") and "unknown" in row(text, "naive ratio")
    assert "0.571" in row(text, "isolated ratio, steps")
    assert [line for line in text.splitlines() if "0.600 (0.590 to 0.610)" in line and "estimated" in line]
    assert text.count("loihi2 latency, estimated") == 2
    assert "1.000, saves no throughput here" in row(text, "streaming ratio")
    assert "≥: a lower bound" in text
    assert "loihi2 energy: barrier energy" in text
    assert "\x1b" not in text


def test_refusals_and_hypothetical_estimates_are_told() -> None:
    refused = summary(hardware={"loihi1": {"refusal": "cannot run here: graded_spikes"}})
    assert "cannot run here: graded_spikes" in row(printed([refused]), "loihi1 energy")
    lacking = summary(hardware={"loihi1": estimated(hypothetical=["graded_spikes"])})
    assert "hypothetical: 12.3 µs" in row(printed([lacking]), "loihi1 latency")
    timeless = estimated(latency_s={"mean": None, "low": None, "high": None, "unknown_terms": ["all of the time"]})
    assert "unknown" in row(printed([summary(hardware={"horowitz45nm": timeless})]), "horowitz45nm latency")


@pytest.mark.parametrize("networks", [1, 2, 3, 4, 6])
def test_demo_table_fits_100_columns(networks: int) -> None:
    text = printed([summary(network="a rather long name of a network", horizon=64)] * networks, width=200)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100


def test_demo_table_refuses_nothing_and_the_incomplete() -> None:
    with pytest.raises(InputError, match="no run"):
        demo_table([])
    incomplete = summary()
    del incomplete["mean_timesteps"]
    with pytest.raises(InputError, match="mean_timesteps"):
        demo_table([incomplete])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "unknown"),
        (0.0, "0 s"),
        (1.53e-5, "15.3 µs"),
        (9.999e-4, "1.00 ms"),
        (0.9996, "1.00 s"),
        (1234.5, "1,230 s"),
        (2.5e-12, "2.50 ps"),
        (2.5e-15, "2.50e-15 s"),
        (-3e-3, "-3.00 ms"),
    ],
)
def test_quantity(value: float | None, text: str) -> None:
    assert quantity(value, "s") == text


def test_sparkline_and_quartiles() -> None:
    assert sparkline([0, 1, 8, 4]) == "·▁█▄"
    assert sparkline([0, 0]) == "··"
    assert sparkline([1, 1000]) == "▁█"
    assert len(sparkline([1] * 100)) <= 24
    assert sparkline([0] * 24 + [5] * 24) == "·" * 12 + "█" * 12
    assert quartiles({"1": 1, "2": 1, "10": 2}) == "1 / 2 / 10"
    assert quartiles({"3": 7}) == "3 / 3 / 3"


def test_unknown_bands_are_told() -> None:
    assert ratio(None) == "unknown"
    assert ratio({"value": 0.5, "low": None, "high": None}) == "0.500 (band unknown)"
    assert ratio({"value": 0.5, "low": 0.25, "high": None}) == "0.500 (0.250 to unknown)"
