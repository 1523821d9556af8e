"""A calibration as a table of its timesteps, and in sentences what it promises."""

from rich.console import RenderableType

from spikecut.deploy.cutoff.calibration.calibrate import Calibration
from spikecut.deploy.cutoff.calibration.guarantee import Guarantee
from spikecut.deploy.report.wide_table import WideTable


def calibration_shown(result: Calibration, title: str) -> list[RenderableType]:
    """The table of the timesteps, then the sentences. title: of what, and with which policy."""
    return [calibration_table(result, title), *calibration_lines(result)]


def calibration_table(result: Calibration, title: str) -> WideTable:
    """One row per timestep: the threshold, how many samples would exit, and how many of them are right to the end."""
    columns = ("t", "threshold", "would exit", "right to the end", "95 % interval", "exits")
    table = WideTable(*columns, title=f"{title}, ε = {result.epsilon:g}")
    no_threshold = "no exit" if hasattr(result.policy, "thresholds") else "none"
    for step in result.steps:
        threshold = no_threshold if step.threshold is None else f"{step.threshold:,}"
        precision = "" if step.precision is None else f"{step.right} ({100 * step.precision:.2f} %)"
        low, high = step.precision_interval
        interval = f"{100 * low:.2f} to {100 * high:.2f} %" if step.considered else ""
        table.add_row(str(step.timestep), threshold, str(step.considered), precision, interval, str(step.exits))
    return table


def calibration_lines(result: Calibration) -> list[str]:
    """Accuracy and timesteps on the calibration samples, the distance from the optimal cutoff, and the guarantee."""
    (low, high), (least, most) = result.interval(result.accuracy_cutoff), result.interval(result.lost)
    lines = [
        f"{result.samples} calibration samples: accuracy {100 * result.accuracy_full:.2f} % at T, "
        f"{100 * result.accuracy_cutoff:.2f} % ({100 * low:.2f} to {100 * high:.2f}) at the exit, "
        f"{result.mean_timesteps:.2f} timesteps on average; only the full horizon is right on "
        f"{100 * result.lost:.2f} % ({100 * least:.2f} to {100 * most:.2f}, 95 % interval)"
    ]
    distance = result.distance
    if distance.mean is not None:
        lines.append(
            f"distance from the optimal cutoff (an oracle of stable correctness): {distance.mean:+.2f} timesteps on "
            f"average, {100 * distance.early:.1f} % of the samples exit too early, "
            f"{100 * distance.never_right:.1f} % are never right"
        )
    if result.guarantee is None:
        return [*lines, "the thresholds hold on these samples only; --guarantee bounds what is lost on new ones"]
    return [*lines, *_guarantee_lines(result.guarantee)]


def _guarantee_lines(certified: Guarantee) -> list[str]:
    line = (
        f"guarantee: with probability ≥ {1 - certified.delta:g} at most {100 * certified.epsilon:g} % of new samples "
        f"are right at T and wrong at the exit ({certified.losses} of {certified.test_samples} test samples, p = "
        f"{certified.p_value:.3g}; {certified.family_samples} others fixed the family)"
    )
    return [line, certified.note] if certified.note else [line]
