"""Tables for the terminal, from run summaries. Latency and energy are always called estimated."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from spikecut.deploy.cutoff.calibration.intervals import share_interval
from spikecut.errors import InputError

SAVINGS = {
    "naive": "naive ratio τ/T",
    "isolated": "isolated ratio",
    "streaming": "streaming ratio",
}
"""The three ratios of a run's savings, always shown together: 1.0 = no saving."""

WIDTH = 100
"""Columns that a table may fill."""
LABEL_WIDTH = 28
SPARKS = 24
"""Characters that a distribution may fill; with more timesteps, neighbours share one."""

BARS = "▁▂▃▄▅▆▇█"
PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))
UNKNOWN = "unknown"
STEPS = "steps"


def demo_table(summaries: Sequence[Mapping[str, Any]]) -> Table:
    """Networks side by side, one column each, from the objects that `summarise` makes; at most 100 columns wide.

    Raises InputError if there is no summary, or one lacks a key.
    """
    if not summaries:
        raise InputError("no run to show: give at least one summary")
    room = WIDTH - 1 - 3 * (len(summaries) + 1)
    try:
        table = Table(caption=_caption(summaries), caption_justify="left")
        table.add_column("", max_width=LABEL_WIDTH, overflow="fold", style="bold")
        for summary in summaries:
            width = max((room - LABEL_WIDTH) // len(summaries), 1)
            table.add_column(str(summary["network"]), max_width=width, overflow="fold")
        for section in (_policy_rows, _accuracy_rows, _time_rows, _hardware_rows, _saving_rows):
            for label, cells in section(summaries):
                table.add_row(label, *cells)
            table.add_section()
    except KeyError as exc:
        raise InputError(f"summary without key {exc}: run it again with this version") from exc
    return table


Rows = Iterator[tuple[str, list[str]]]


def _accuracy_rows(summaries: Sequence[Mapping[str, Any]]) -> Rows:
    """Samples and accuracies."""
    yield "samples", [f"{summary['samples']:,}" for summary in summaries]
    yield "accuracy at full T", [accuracy_text(summary, "accuracy_full", "not run") for summary in summaries]
    if any(summary["accuracy_cutoff"] is not None for summary in summaries):
        yield "accuracy with cutoff", [accuracy_text(summary, "accuracy_cutoff", "no cutoff") for summary in summaries]


def accuracy_text(summary: Mapping[str, Any], key: str, absent: str) -> str:
    """An accuracy of a summary with its Clopper-Pearson interval at 95 %."""
    share, samples = summary[key], summary["samples"]
    if share is None:
        return absent
    low, high = share_interval(round(share * samples), samples)
    return f"{share:.2%} ({100 * low:.2f} to {100 * high:.2f})"


def _policy_rows(summaries: Sequence[Mapping[str, Any]]) -> Rows:
    """The cutoff policy with its ε, and where they come from."""
    configs = [summary.get("config", {}) for summary in summaries]
    if any("policy" in config for config in configs):
        yield "policy", [policy_text(config) for config in configs]


def policy_text(config: Mapping[str, Any]) -> str:
    """Policy, ε and δ of a run's config, and on what and in which file they were calibrated."""
    policy, told = config.get("policy"), config.get("cutoff") or {}
    if policy is None:
        return "none: all T timesteps"
    parts = [f"{name} = {told[key]:g}" for name, key in (("ε", "epsilon"), ("δ", "delta")) if told.get(key) is not None]
    text = ", ".join([policy["policy"], *parts])
    if told.get("samples") is not None:
        text += f"; calibrated on {told['samples']:,} samples of {told['dataset']}"
    return f"{text}; {told['file']}" if "file" in told else text


def _time_rows(summaries: Sequence[Mapping[str, Any]]) -> Rows:
    """Timesteps and hardware steps."""
    yield "mean timesteps of T", [f"{summary['mean_timesteps']:.2f} of {summary['horizon']}" for summary in summaries]
    yield "oracle of stable correctness", [_optimal(summary["optimal_cutoff"]) for summary in summaries]
    yield "exits at t = 1 … T", [sparkline(list(summary["timesteps_histogram"].values())) for summary in summaries]
    yield "quartiles of the exits", [quartiles(summary["timesteps_histogram"]) for summary in summaries]
    whole = [summary["horizon"] + summary["depth"] for summary in summaries]
    means = [summary["mean_hardware_steps"] for summary in summaries]
    yield "mean hardware steps of T+P", [f"{mean:.2f} of {steps}" for mean, steps in zip(means, whole, strict=True)]


def _hardware_rows(summaries: Sequence[Mapping[str, Any]]) -> Rows:
    """Estimated latency and energy of a sample, per hardware."""
    names = list(dict.fromkeys(name for summary in summaries for name in summary["hardware"]))
    for name in names:
        for measure, unit in (("latency_s", "s"), ("energy_j", "J")):
            cells = [_estimate(summary["hardware"].get(name), measure, unit) for summary in summaries]
            yield f"{name} {measure.split('_')[0]}, estimated{_provenance(summaries, name, measure)}", cells


def _provenance(summaries: Sequence[Mapping[str, Any]], name: str, measure: str) -> str:
    """The provenance of a hardware's known terms, in brackets; empty where the summaries name none."""
    entries = [summary["hardware"].get(name, {}).get(measure, {}) for summary in summaries]
    kinds = dict.fromkeys(kind for entry in entries for kind in entry.get("provenance", entry.get("evidence", ())))
    return f" ({', '.join(kinds)})" if kinds else ""


def _saving_rows(summaries: Sequence[Mapping[str, Any]]) -> Rows:
    """The three ratios, as steps and, where any run gives them, as estimated time and energy; none without a cutoff."""
    if all(summary["accuracy_cutoff"] is None for summary in summaries):
        return
    for key, label in SAVINGS.items():
        given = [dict(_leaves((summary["savings"] or {}).get(key))) for summary in summaries]
        found = [name for leaves in given for name, value in leaves.items() if name != STEPS and value is not None]
        yield f"{label}, steps", [_steps_ratio(leaves.get(STEPS), key) for leaves in given]
        for name in dict.fromkeys(found):
            yield f"  {name}, estimated", [ratio(leaves.get(name)) for leaves in given]


def _optimal(optimal: Mapping[str, Any] | None) -> str:
    """Mean of the optimal cutoff."""
    if optimal is None:
        return "not run"
    return f"{optimal['mean_timesteps']:.2f}, {optimal['never_right']} never right"


def _estimate(entry: Mapping[str, Any] | None, measure: str, unit: str) -> str:
    """Mean with its band, ≥ where terms are unknown, or the refusal."""
    if entry is None:
        return "not estimated"
    if "refusal" in entry:
        return str(entry["refusal"])
    values = entry[measure]
    if values["mean"] is None:
        return UNKNOWN
    bound = "≥ " if values["unknown_terms"] else ""
    if entry["hypothetical"]:
        bound = f"hypothetical: {bound}"
    edges = [None if values[edge] is None else quantity(values[edge], unit) for edge in ("low", "high")]
    return f"{bound}{quantity(values['mean'], unit)} {band_text(*edges)}"


def band_text(low: str | None, high: str | None) -> str:
    """The edges of a band; says so where they are unknown."""
    if low is None and high is None:
        return "(band unknown)"
    return f"({low or UNKNOWN} to {high or UNKNOWN})"


def _steps_ratio(value: Any, key: str) -> str:
    """A ratio of steps; says so where a stream gains nothing."""
    nothing = key == "streaming" and isinstance(value, float | int) and value >= 1
    return f"{ratio(value)}, saves no throughput here" if nothing else ratio(value)


def _leaves(entry: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Ratios in nested objects, with the keys that lead to them; one without a key is of steps."""
    if isinstance(entry, Mapping) and "value" not in entry:
        for key, inner in entry.items():
            yield from _leaves(inner, f"{prefix} {key}".strip())
    else:
        yield prefix or STEPS, entry


def _caption(summaries: Sequence[Mapping[str, Any]]) -> str:
    """What the figures are, and the terms that nobody has published."""
    lines = [
        "Accuracy with its 95 % interval (Clopper-Pearson).",
        "Latency and energy are estimated per sample (low to high), not measured.",
        "Ratios to the full run: 1.0 = no saving. Naive: τ/T. Isolated: latency of one sample. "
        "Streaming: time per sample, back to back.",
        "Oracle: the mean first timestep from which the prediction stays right; a policy may exit before it.",
    ]
    terms: dict[str, None] = {}
    for summary in summaries:
        for name, entry in summary.get("hardware", {}).items():
            for measure in ("latency_s", "energy_j"):
                unknown = entry.get(measure, {}).get("unknown_terms", ())
                if unknown:
                    terms[f"{name} {measure.split('_')[0]}: {', '.join(unknown)}"] = None
    if terms:
        lines.append("≥: a lower bound, ratios are of the known parts. The unknown terms:")
        lines += terms
    return "\n".join(lines)


def percent(share: float | None, absent: str = UNKNOWN) -> str:
    """A share as a percentage with two decimals."""
    return absent if share is None else f"{share:.2%}"


def ratio(value: float | Mapping[str, float | None] | None) -> str:
    """A ratio with three decimals, with its band if it is an object of "value", "low" and "high"."""
    if value is None:
        return UNKNOWN
    if isinstance(value, Mapping):
        edges = [None if value[edge] is None else ratio(value[edge]) for edge in ("low", "high")]
        return f"{ratio(value['value'])} {band_text(*edges)}"
    return f"{value:.3f}"


def quantity(value: float | None, unit: str) -> str:
    """A number with three significant digits and an SI prefix: quantity(1.53e-5, "s") is "15.3 µs"."""
    # Not matplotlib.ticker.EngFormatter: it knows decimal places, no significant digits, and takes long to import.
    if value is None:
        return UNKNOWN
    if value == 0:
        return f"0 {unit}"
    for factor, prefix in PREFIXES:
        scaled = float(f"{value / factor:.3g}")
        if abs(scaled) >= 1:
            digits = 2 if abs(scaled) < 10 else 1 if abs(scaled) < 100 else 0
            return f"{scaled:,.{digits}f} {prefix}{unit}"
    return f"{value:.2e} {unit}"


def sparkline(counts: Sequence[int]) -> str:
    """Counts as at most SPARKS characters, scaled to the largest; · where there is none."""
    shared = -(-len(counts) // SPARKS) or 1
    counts = [sum(counts[start : start + shared]) for start in range(0, len(counts), shared)]
    largest = max(counts, default=0)
    return "".join("·" if count == 0 else BARS[(count * len(BARS) - 1) // largest] for count in counts)


def quartiles(histogram: Mapping[str, int]) -> str:
    """First quartile, median and third quartile of the exit timesteps, each the smallest t that holds the share."""
    total, seen = sum(histogram.values()), 0
    found: list[str] = []
    for timestep, count in sorted((int(t), count) for t, count in histogram.items()):
        seen += count
        while len(found) < 3 and 4 * seen >= (len(found) + 1) * total:
            found.append(str(timestep))
    return " / ".join(found)
