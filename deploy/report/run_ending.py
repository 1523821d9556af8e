"""How a run ends in the terminal: what was run, what came out, and what it would cost, in a few lines."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from spikecut.deploy.placement.capabilities import Fit
from spikecut.deploy.report.monitor_lines import monitors_in_short
from spikecut.deploy.report.tables import UNKNOWN, accuracy_text, percent, policy_text, quantity, ratio
from spikecut.errors import Refusal

MOST_HARDWARE = 5
"""Lines for hardware; where there are more files, the last line counts them."""


def run_ending(summary: Mapping[str, Any], fits: Mapping[str, Fit], folder: str = "") -> Table:
    """A run in at most twelve lines, from its summary.

    fits: of every hardware, why the network cannot run there. folder: where the run was written, if it was.
    """
    table = Table.grid("", "", padding=(0, 2, 0, 0))
    for label, text in _lines(summary, fits, folder):
        table.add_row(Text(label, style="bold"), Text(text))
    return table


def _lines(summary: Mapping[str, Any], fits: Mapping[str, Fit], folder: str) -> Iterator[tuple[str, str]]:
    config, cut = summary["config"], summary["accuracy_cutoff"] is not None
    samples = f"{summary['samples']:,} samples of {config.get('dataset', 'a program')}"
    yield "run", f"{summary['network']} on {_backend(summary)}, {samples}"
    told = {key: value for key, value in (config.get("cutoff") or {}).items() if key != "file"}
    yield "cutoff", policy_text({**config, "cutoff": told})
    yield "accuracy", _accuracy(summary, cut)
    steps = f"{summary['mean_hardware_steps']:.2f} of {summary['horizon'] + summary['depth']} hardware steps"
    yield "timesteps", f"{summary['mean_timesteps']:.2f} of {summary['horizon']} on average, {steps}"
    if cut:
        yield "ratio of steps", _ratios(summary)
    hardware = summary["hardware"]
    shown = list(hardware)[: MOST_HARDWARE - (len(hardware) > MOST_HARDWARE)]
    for name in shown:
        yield name, _hardware(hardware[name], fits.get(name))
    if len(hardware) > len(shown):
        yield "and others", f"{len(hardware) - len(shown)} more hardware files"
    monitors = monitors_in_short(summary["savings"])
    if monitors:
        yield "cutoff by monitor", monitors
    yield "written to", f"{folder or 'no folder, give --out FOLDER'}; all tables: --detail"


def _backend(summary: Mapping[str, Any]) -> str:
    """The backend, and the mode where it is not the usual one."""
    mode = summary["config"].get("mode", "isolated")
    return str(summary["backend"]) if mode == "isolated" else f"{summary['backend']}, {mode}"


def _accuracy(summary: Mapping[str, Any], cut: bool) -> str:
    if not cut:
        return f"{accuracy_text(summary, 'accuracy_full', UNKNOWN)}, at the full horizon"
    full = summary["accuracy_full"]
    beside = "--also-full compares" if full is None else f"full horizon {percent(full)}"
    return f"{accuracy_text(summary, 'accuracy_cutoff', UNKNOWN)}; {beside}"


def _ratios(summary: Mapping[str, Any]) -> str:
    """The three ratios of steps, as deploy/cost/savings.py has them; the exits tell them without a full run."""
    horizon, depth, samples = summary["horizon"], summary["depth"], summary["samples"]
    exits = {int(t): count for t, count in summary["timesteps_histogram"].items()}
    ratios = {
        "naive": summary["mean_timesteps"] / horizon,
        "isolated": summary["mean_hardware_steps"] / (horizon + depth),
        "streaming": sum(count * min(t + depth, horizon) for t, count in exits.items()) / (samples * horizon),
    }
    saved = summary["savings"] or {}
    told = [f"{name} {ratio(saved.get(name, {}).get('steps', value))}" for name, value in ratios.items()]
    return f"{', '.join(told)} (1.0: no saving)"


def _hardware(entry: Mapping[str, Any], fit: Fit | None) -> str:
    """Estimated latency in seconds and energy in joules, or why the network cannot run there."""
    if "refusal" in entry:
        return _why_not(str(entry["refusal"]), fit)
    parts = []
    for measure, key, unit in (("latency", "latency_s", "s"), ("energy", "energy_j", "J")):
        values = entry[key]
        if values["mean"] is None:
            parts.append(f"{measure} {UNKNOWN}")
            continue
        at_least = "≥ " if values["unknown_terms"] else ""
        parts.append(f"{at_least}{quantity(values['mean'], unit)}{_band(values, unit)}")
    return f"{'hypothetical' if entry['hypothetical'] else 'estimated'} {', '.join(parts)}"


def _band(values: Mapping[str, Any], unit: str) -> str:
    """The band in brackets, without the unit where both edges have that of the mean."""
    if values["low"] is None and values["high"] is None:
        return ""
    edges = [UNKNOWN if values[edge] is None else quantity(values[edge], unit) for edge in ("low", "high")]
    written = quantity(values["mean"], unit).split()[-1]
    if all(edge.split()[-1] == written for edge in edges):
        edges = [edge.split()[0] for edge in edges]
    return f" ({' to '.join(edges)})"


def _why_not(refusal: str, fit: Fit | None) -> str:
    """The features that are missing, each once and without its reason; or the whole refusal."""
    if fit is None or isinstance(fit.placement, Refusal) or not fit.missing:
        return refusal
    features = dict.fromkeys(missing.feature.split(" (")[0] for missing in fit.missing)
    return f"cannot run here: no {', '.join(features)}"
