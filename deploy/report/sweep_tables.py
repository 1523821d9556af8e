"""A sweep as a table: each policy at its best ε, between the full horizon and the optimal cutoff."""

from rich.console import RenderableType

from spikecut.deploy.report.wide_table import WideTable
from spikecut.deploy.sweep.conclusions import conclusions
from spikecut.deploy.sweep.sweep import Sweep, SweepPoint

CAPTION = (
    "ε: chosen on the {samples} calibration samples, the fewest timesteps that lose at most 0.3 points there.\n"
    "Oracle: of stable correctness, the first timestep (OCT) from which the prediction stays right up to T. It is "
    "no lower bound: a policy may exit earlier, at a prediction that is right then and wrong later, or at a wrong one."
)


def sweep_shown(result: Sweep, title: str) -> list[RenderableType]:
    """The table, then what follows from it in sentences."""
    return [sweep_table(result, title), *conclusions(result)]


def sweep_table(result: Sweep, title: str) -> WideTable:
    """Each policy at its best ε, between the full horizon and the optimal cutoff."""
    energies = (f"{name} energy{', hypothetical' if _lacks(result, name) else ''}" for name in result.full_costs)
    table = WideTable(
        *("policy", "ε", "accuracy", "95 % interval", "timesteps"),
        *("fewer by", "from OCT", "isolated", "streaming", *energies),
        title=f"{title}: on {result.samples:,} test samples; ratios to the full run, energy estimated",
        caption=CAPTION.format(samples=f"{result.calibration_samples:,}"),
    )
    accuracy = f"{100 * result.accuracy_full:.2f} %"
    full = ("full horizon", "", accuracy, "", f"{result.horizon:.2f}", "1.00 ×", "", "1.00", "1.00")
    table.add_row(*full, *("1.00" for _ in result.full_costs))
    for policy in result.policies:
        point = result.best(policy)
        if point is None:
            table.add_row(policy, "none", "no ε keeps it")
        else:
            table.add_row(policy, *_cells(point, result))
    optimal = result.optimal.mean_timesteps
    table.add_row("oracle (stable)", "", accuracy, "", f"{optimal:.2f}", f"{result.horizon / optimal:.2f} ×", "0.00")
    return table


def _lacks(result: Sweep, name: str) -> bool:
    return bool(result.basis.get(name, {}).get("hypothetical"))


def _cells(point: SweepPoint, result: Sweep) -> list[str]:
    low, high = point.interval
    energies = []
    for name, full in result.full_costs.items():
        over, under = point.costs[name]["energy_j"][0], full["energy_j"][0]
        energies.append(f"{over / under:.2f}" if under > 0 else "unknown")
    distance = point.distance.mean
    return [
        f"{point.epsilon:g}",
        f"{100 * point.accuracy:.2f} %",
        f"{100 * low:.2f} to {100 * high:.2f}",
        f"{point.mean_timesteps:.2f}",
        f"{1 / point.naive:.2f} ×",
        "" if distance is None else f"{distance:+.2f}",
        f"{point.isolated:.2f}",
        f"{point.streaming:.2f}",
        *energies,
    ]
