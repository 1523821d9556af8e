"""A finished run, as a program gets it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikecut.deploy.cost.band import Figure, in_words
from spikecut.deploy.cost.summary import RunCosts
from spikecut.deploy.placement.hardware import Hardware
from spikecut.deploy.run.summary import RunSummary
from spikecut.export.network.layers import IntegerNetwork
from spikecut.text import LONGEST_LINE, brief, percent, told

MOST_HARDWARE = 5
"""Hardware files in a `__str__`; more are counted."""


@dataclass(frozen=True)
class Run:
    """A finished run: its network, its costs and its summary; what it knows of every sample is in its folder."""

    network: IntegerNetwork
    hardware: dict[str, Hardware]
    costs: RunCosts
    summary: RunSummary
    folder: Path | None
    notes: tuple[str, ...] = ()

    __repr__ = brief

    def __str__(self) -> str:
        """What ran, with which cutoff, how often it is right, and what the mean sample takes on each hardware."""
        found = self.summary
        config, whole = found.config, found.horizon + found.depth
        rights = {"at the exit": found.accuracy_cutoff, f"at T = {found.horizon}": found.accuracy_full}
        right = [f"{percent(share)} {when}" for when, share in rights.items() if share is not None]
        lines = [
            f"run of {found.network} on {found.backend}: {found.samples:,} samples of {config.get('dataset', '?')}",
            f"{_policy(config)}; right {', '.join(right)}",
            f"{found.mean_timesteps:.2f} of {found.horizon} timesteps, {found.mean_hardware_steps:.2f} of {whole} "
            "hardware steps on average",
            *(f"{name}: {_estimate(entry)}" for name, entry in list(found.hardware.items())[:MOST_HARDWARE]),
        ]
        if len(found.hardware) > MOST_HARDWARE:
            lines.append(f"{len(found.hardware) - MOST_HARDWARE} more hardware files in .costs.estimates")
        return "\n".join([*lines, f"written to {self.folder}" if self.folder else "not written"]) + told(self.notes)


def _policy(config: Mapping[str, Any]) -> str:
    """The cutoff of a run, with its ε where it was calibrated."""
    policy, how = config.get("policy"), config.get("cutoff") or {}
    if policy is None:
        return "no cutoff"
    return f"cutoff {policy['policy']}" + (f", ε = {how['epsilon']:g}" if how.get("epsilon") is not None else "")


def _estimate(entry: Mapping[str, Any]) -> str:
    """What a run's summary tells of one hardware file."""
    if "refusal" in entry:
        refusal = str(entry["refusal"])
        return refusal if len(refusal) <= LONGEST_LINE else f"{refusal[: LONGEST_LINE - 1]}…"
    said = []
    for measure, key, unit in (("latency", "latency_s", "s"), ("energy", "energy_j", "J")):
        values = entry[key]
        edges = (float("nan") if values[edge] is None else values[edge] for edge in ("mean", "low", "high"))
        said.append(f"{measure} {in_words(Figure(*edges), unit, bool(values['unknown_terms']))}")
    return f"{'hypothetical' if entry['hypothetical'] else 'estimated'} {', '.join(said)}"
