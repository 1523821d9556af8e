"""What a bundle's golden samples cost on every hardware."""

from collections.abc import Mapping
from dataclasses import dataclass

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import Bundle
from spikecut.deploy.cost.summary import RunCosts
from spikecut.deploy.placement.hardware import Hardware
from spikecut.errors import BundleError


@dataclass(frozen=True)
class GoldenCosts:
    """Costs of the golden samples, estimated. samples: how many; run: whether with the cutoff, in words."""

    samples: int
    run: str
    costs: RunCosts


def golden_costs(bundle: Bundle, hardware: Mapping[str, Hardware], hypothetical: bool = False) -> GoldenCosts:
    """Run a bundle's golden samples to the horizon, and with the cutoff if it is calibrated, and estimate the costs.

    hypothetical: estimate even for hardware that lacks a feature of the network.
    """
    inputs = bundle.golden().inputs
    full = run_batched(bundle.network, inputs, record="all")
    try:
        policy = bundle.cutoff()
    except BundleError:
        costs = RunCosts.of(full, None, hardware, hypothetical, detail=False)
        return GoldenCosts(full.samples, "to the horizon (not calibrated)", costs)
    trace = run_batched(bundle.network, inputs, policy, record="all")
    return GoldenCosts(full.samples, "with the cutoff", RunCosts.of(trace, full, hardware, hypothetical, detail=False))
