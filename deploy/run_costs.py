"""What a run costs on every hardware: estimates, where they go by layer and event, and what the cutoff saved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spikecut.deploy.attribution import Attribution, CutoffAttribution, attribute, attribute_cutoff
from spikecut.deploy.cost import CostEstimate, estimate
from spikecut.deploy.halted import delays_of, estimate_halted, halted
from spikecut.deploy.hardware import Chip, Hardware, hardware_names, load_hardware
from spikecut.deploy.report.cost_tables import attribution_summary, cost_summary
from spikecut.deploy.savings import Savings, savings
from spikecut.deploy.trace import RunTrace
from spikecut.errors import CapabilityError


def chosen_hardware(names: Sequence[str] | None) -> dict[str, Hardware]:
    """The named hardware files; all that come with spikecut for None."""
    return {str(name): load_hardware(name) for name in (hardware_names() if names is None else names)}


@dataclass(frozen=True)
class RunCosts:
    """The costs of one run, by hardware name. All of it is estimated.

    Attributes
    ----------
    estimates: latency and energy per sample, or the sentence that says why the network cannot run there.
    attributions: where the mean sample's time and energy go; chips only.
    cutoffs: what the cutoff saved and could not save; chips only, empty without a full run.
    saved: the three ratios; None without a full run.
    """

    estimates: Mapping[str, CostEstimate | str]
    attributions: Mapping[str, Attribution]
    cutoffs: Mapping[str, CutoffAttribution]
    saved: Savings | None

    @classmethod
    def of(
        cls,
        trace: RunTrace,
        full: RunTrace | None,
        hardware: Mapping[str, Hardware],
        hypothetical: bool = False,
        detail: bool = True,
    ) -> "RunCosts":
        """Estimate a run on every hardware.

        Parameters
        ----------
        full: the same samples run to the horizon, if they were; `trace` itself where it was not cut. With it the steps
            that a hardware's monitor takes from verdict to halt are charged.
        detail: attribute time and energy to layers and events.

        Raises InputError if the trace holds no events, or the two runs do not belong together.
        """
        estimates: dict[str, CostEstimate | str] = {}
        pairs: dict[str, tuple[CostEstimate, CostEstimate]] = {}
        attributions: dict[str, Attribution] = {}
        cutoffs: dict[str, CutoffAttribution] = {}
        for name, item in hardware.items():
            ran = trace
            try:
                if full is not None and full is not trace and any(delays_of(item)):
                    ran = halted(full, trace.timesteps, delays_of(item)[1])
                    cost = estimate_halted(full, trace.timesteps, item, hypothetical)
                else:
                    cost = estimate(trace, item, hypothetical)
            except CapabilityError as error:
                estimates[name] = str(error)
                continue
            estimates[name] = cost
            if full is not None:
                pairs[name] = (estimate(full, item, hypothetical, cost.placement), cost)
            if detail and isinstance(item, Chip):
                attributions[name] = attribute(ran, item, cost.placement)
                if full is not None and full is not trace:
                    whole = attribute(full, item, cost.placement)
                    cutoffs[name] = attribute_cutoff(whole, attributions[name])
        return cls(estimates, attributions, cutoffs, None if full is None else savings(full, trace, pairs))

    def summary(self) -> dict[str, dict[str, Any]]:
        """Per hardware, as data for JSON: bands, percentiles, evidence, unknown terms, placement, attribution."""
        found: dict[str, dict[str, Any]] = {}
        for name, cost in self.estimates.items():
            if isinstance(cost, str):
                found[name] = {"refusal": cost}
                continue
            found[name] = cost_summary(cost)
            if name in self.attributions:
                found[name]["attribution"] = attribution_summary(self.attributions[name])
            if name in self.cutoffs:
                found[name]["cutoff"] = self.cutoffs[name]
        return found
