"""What follows from a sweep, in sentences: what the best policy saves, and where it does not pay.

The calibration samples choose the policy and its ε, the test samples say what it does.
"""

from collections.abc import Mapping

import numpy as np

from spikecut.deploy.sweep.sweep import ACCURACY_LOST, MEASURES, Sweep, SweepPoint

SMALL_SAVING = 0.05


def conclusions(result: Sweep, accuracy_lost: float = ACCURACY_LOST) -> tuple[str, ...]:
    """In sentences: what the best policy saves on pipelined hardware, and where it does not pay."""
    horizon, depth = result.horizon, result.depth
    best = best_of(result, accuracy_lost)
    if best is None:
        return (
            f"No policy keeps the accuracy within {100 * accuracy_lost:g} points of the full horizon's "
            f"{100 * result.calibration_accuracy_full:.2f} % on the calibration samples: none pays here.",
        )
    low, high = best.interval
    lines = [
        f"Chosen on the {result.calibration_samples:,} calibration samples, as the fewest timesteps with at most "
        f"{100 * accuracy_lost:g} points of accuracy lost: {best.policy} at ε = {best.epsilon:g}. "
        f"On the {result.samples:,} test samples it takes {best.mean_timesteps:.2f} of {horizon} timesteps "
        f"(÷ {1 / best.naive:.2f}) and is right on {100 * best.accuracy:.2f} % ({100 * low:.2f} to {100 * high:.2f}), "
        f"the full horizon on {100 * result.accuracy_full:.2f} %."
    ]
    alone = (
        f"A sample alone needs {best.mean_timesteps + depth:.2f} of {horizon + depth} hardware steps, since the "
        f"pipeline is {depth} deep: {100 * (1 - best.isolated):.0f} % saved, not the "
        f"{100 * (1 - best.naive):.0f} % of τ/T."
    )
    if best.isolated > 1 - SMALL_SAVING:
        alone += " For single samples the cutoff does not pay."
    lines.append(alone)
    lines.append(_throughput(best, horizon, depth))
    lines += _costs(best, result)
    lines += [f"{name}: {refusal.feature}" for name, refusal in result.refusals.items()]
    return tuple(lines)


def best_of(result: Sweep, accuracy_lost: float = ACCURACY_LOST) -> SweepPoint | None:
    """The point with the fewest timesteps that keeps the accuracy on the calibration samples; not of fixed."""
    found = [point for name in result.policies if name != "fixed" and (point := result.best(name, accuracy_lost))]
    return min(found, key=lambda point: point.calibration_timesteps, default=None)


def _throughput(best: SweepPoint, horizon: int, depth: int) -> str:
    if depth >= horizon - 1:
        return (
            f"Back to back the cutoff does not pay: with P = {depth} and T = {horizon} no exit comes before the next "
            "sample has started anyway, so no throughput is saved, whatever the policy."
        )
    if best.streaming > 1 - SMALL_SAVING:
        return (
            f"Back to back the cutoff does not pay: τ + P reaches T = {horizon} for nearly every sample, "
            f"{100 * (1 - best.streaming):.1f} % of the throughput is saved."
        )
    saved = 100 * (1 - best.streaming)
    return f"Back to back {saved:.0f} % of the steps are saved: mean min(τ + P, T) / T = {best.streaming:.2f}."


def _costs(best: SweepPoint, result: Sweep) -> list[str]:
    lines = []
    for name, full in result.full_costs.items():
        alone = {key: best.costs[name][key][0] / full[key][0] for key in MEASURES if _is_known(full[key][0])}
        parts = [f"a sample alone {_ratios(alone)}"] if alone else []
        back_to_back = result.streamed.get(best.policy, {}).get(name)
        if back_to_back:
            parts.append(f"back to back {_ratios(back_to_back)}")
        if parts:
            lines.append(f"{_labelled(name, result)}, ratios to the full horizon: {'; '.join(parts)}.")
        lines += _left_out(name, result)
    return lines


def _labelled(name: str, result: Sweep) -> str:
    """A hardware with what its figures are: estimated, of what provenance, hypothetical where it lacks a feature."""
    said = result.basis.get(name, {})
    kinds = dict.fromkeys((*said.get("provenance_time", ()), *said.get("provenance_energy", ())))
    lacks = said.get("hypothetical", ())
    label = f"{name}, estimated" + (f" ({', '.join(kinds)})" if kinds else "")
    return f"hypothetical, it lacks {', '.join(lacks)}: {label}" if lacks else label


def _left_out(name: str, result: Sweep) -> list[str]:
    said = result.basis.get(name, {})
    return [
        f"{name}: the {measure} is at least the known part; unknown: {', '.join(terms)}."
        for measure in ("time", "energy")
        if (terms := said.get(f"unknown_{measure}"))
    ]


def _is_known(value: float) -> bool:
    return value > 0 and bool(np.isfinite(value))


def _ratios(ratios: Mapping[str, float]) -> str:
    return ", ".join(f"{MEASURES[key]} × {value:.2f}" for key, value in ratios.items())
