"""What a run would have been, had each sample been halted at a given timestep, and what it would have cost.

A run halted at τ does exactly what the full run does until then, so its events are a prefix of the full run's: its
first min(τ + d, T) + P hardware steps, d being the steps from the decision to the halt. Nothing is scaled by τ/T.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from spikecut.deploy.cost.band import joined_band
from spikecut.deploy.cost.estimate import CostEstimate, estimate
from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.placement.cores import Placement
from spikecut.deploy.placement.hardware import Chip, Hardware
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import InputError
from spikecut.export.network.arrays import IntArray

BANDS = ("latency_s", "dynamic_energy_j", "static_energy_j", "energy_j")


def halted(full: RunTrace, timesteps: IntArray, delay: int = 0) -> RunTrace:
    """The run that a halt of each sample at these timesteps, int64 [N], would have been; delay: d.

    InputError if the run was cut, or holds no events.
    """
    if not full.valid.all() or not full.events:
        raise InputError("a halted run is cut from a full one with its events: run with policy=None and record='all'")
    steps = np.minimum(timesteps + delay, full.horizon) + full.depth
    longest = int(steps.max())
    ran = np.arange(longest) < steps[:, None]
    events = tuple(
        replace(
            layer,
            spikes=np.where(ran, layer.spikes[:, :longest], 0),
            synops=np.where(ran, layer.synops[:, :longest], 0),
            raster=None if layer.raster is None else layer.raster[:, :longest] * ran[..., None],
        )
        for layer in full.events
    )
    valid = np.arange(full.horizon)[:, None] < timesteps
    reasons = (ExitReason.CUTOFF if t < full.horizon else ExitReason.HORIZON for t in timesteps.tolist())
    return replace(
        full,
        scores=np.where(valid[..., None], full.scores, 0),
        valid=valid,
        timesteps=timesteps,
        hardware_steps=steps,
        interval=steps,
        reason=tuple(reasons),
        events=events,
    )


def delays_of(hardware: Hardware) -> tuple[int, int, int]:
    """d at the low edge, the value and the high edge of a hardware's monitor; 0 where it is unknown."""
    return (hardware.monitor.delay_steps.edges if isinstance(hardware, Chip) else None) or (0, 0, 0)


def estimate_halted(
    full: RunTrace,
    timesteps: IntArray,
    hardware: Hardware,
    hypothetical: bool = False,
    placement: Placement | None = None,
) -> CostEstimate:
    """Latency and energy of a full run's samples, had they been halted; the delay's edges widen the band.

    Raises InputError, CapabilityError: see `halted` and `estimate`.
    """
    found = {
        delay: estimate(halted(full, timesteps, delay), hardware, hypothetical, placement)
        for delay in dict.fromkeys(delays_of(hardware))
    }
    low, value, high = (found[delay] for delay in delays_of(hardware))
    return widened(low, value, high)


def widened(low: CostEstimate, value: CostEstimate, high: CostEstimate) -> CostEstimate:
    """An estimate whose bands reach to those of the estimates at the edges of the monitor's delay."""
    edges: dict[str, Any] = {}
    for name in BANDS:
        edges[name] = joined_band(getattr(low, name), getattr(value, name), getattr(high, name))
    return replace(value, **edges)
