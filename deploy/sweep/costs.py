"""What every sample costs at every possible exit, from one full run: the first τ + P hardware steps of its events.

A run halted at τ did exactly what the full run did until then, so its events are a prefix of the full run's. Nothing is
scaled by τ/T. Streams are put together from full runs as well (streaming_cost.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from spikecut.deploy.backends.base import Record
from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.memory import samples_at_once
from spikecut.deploy.cost.band import Band
from spikecut.deploy.cost.estimate import CostEstimate, estimate
from spikecut.deploy.cost.halted import delays_of, halted
from spikecut.deploy.cost.pricing import Pricer
from spikecut.deploy.cost.streaming import Stream
from spikecut.deploy.cutoff.base import IntArray
from spikecut.deploy.placement.hardware import Chip, Hardware
from spikecut.deploy.placement.place import place
from spikecut.deploy.run_trace import RunTrace
from spikecut.deploy.sweep.sweep import ExitCosts, FloatArray
from spikecut.errors import CapabilityError, InputError, Refusal
from spikecut.export.network.arrays import Integers
from spikecut.export.network.layers import IntegerNetwork


@dataclass(frozen=True)
class MeasuredScores:
    """Full-horizon scores int64 [T, N, classes], and hardware → costs at each exit, or why it cannot run there."""

    scores: IntArray
    costs: Mapping[str, ExitCosts | Refusal]


def measure(
    network: IntegerNetwork,
    inputs: Integers,
    hardware: Mapping[str, Hardware],
    hypothetical: bool = False,
    progress: Callable[[int], None] | None = None,
) -> MeasuredScores:
    """Run encoded samples [T, N, *shape] to the horizon once, and keep what a sweep needs of them.

    Raises DataError if the inputs do not fit the network.
    """
    scores, parts = [], []
    refusals: dict[str, Refusal] = {}
    batch = samples_at_once(network)
    for start in range(0, inputs.shape[1], batch):
        record: Record = "all" if len(refusals) < len(hardware) else "output"
        trace = run_batched(network, inputs[:, start : start + batch], record=record, progress=progress)
        scores.append(trace.scores)
        part: dict[str, ExitCosts] = {}
        for name, chip in hardware.items():
            if name in refusals:
                continue
            try:
                part[name] = exit_costs(trace, chip, hypothetical)
            except CapabilityError as error:
                refusals[name] = Refusal(name, str(error))
        parts.append(part)
    costs: dict[str, ExitCosts | Refusal] = dict(refusals)
    for name in hardware:
        if name not in refusals:
            costs[name] = _joined([part[name] for part in parts])
    return MeasuredScores(np.concatenate(scores, axis=1), costs)


def stream_ratios(
    network: IntegerNetwork,
    inputs: Integers,
    hardware: Mapping[str, Hardware],
    exits: Mapping[str, IntArray],
    progress: Callable[[int], None] | None = None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Time and energy per sample of a stream, cut over full: policy → hardware → {"latency_s" | "energy_j": ratio}.

    Samples follow each other in their order after min(τ + P + d, T) steps, in the full stream after T. The network runs
    once more, since where one sample's steps meet the next one's depends on the exits.

    Parameters
    ----------
    hardware: those on which the network can run; lists of operations without cores are left out.
    exits: policy → exits of these samples, int64 [N].
    """
    chips = {name: chip for name, chip in hardware.items() if isinstance(chip, Chip)}
    flows = {name: _streams(network, chip, exits) for name, chip in chips.items()}
    batch = samples_at_once(network)
    for start in range(0, inputs.shape[1] if chips else 0, batch):
        trace = run_batched(network, inputs[:, start : start + batch], record="all", progress=progress)
        for name, (full, cuts) in flows.items():
            full.follow(np.full(trace.samples, network.horizon, dtype=np.int64))
            for policy, cut in cuts.items():
                steps = exits[policy][start : start + batch] + network.depth + delays_of(chips[name])[1]
                cut.follow(np.minimum(steps, network.horizon))
            for part, counts in full.pricer.chunks(trace):
                for each in (full, *cuts.values()):
                    each.add(trace, part, counts)
    result: dict[str, dict[str, dict[str, float]]] = {policy: {} for policy in exits}
    for name, (full, cuts) in flows.items():
        under = full.result()
        for policy, cut in cuts.items():
            over = cut.result()
            pairs = {"latency_s": (over.time_s, under.time_s), "energy_j": (over.energy_j, under.energy_j)}
            result[policy][name] = {key: top.value / low.value for key, (top, low) in pairs.items() if low.value > 0}
    return result


def _streams(network: IntegerNetwork, chip: Chip, exits: Mapping[str, IntArray]) -> tuple[Stream, dict[str, Stream]]:
    """The full stream and that of each policy on one chip, with no sample in them yet."""
    pricer, longest = Pricer.of(network, chip, place(network, chip)), network.horizon + network.depth
    return Stream(pricer, longest), {policy: Stream(pricer, longest) for policy in exits}


def exit_costs(full: RunTrace, hardware: Hardware, hypothetical: bool = False) -> ExitCosts:
    """Costs of a full run's samples at every exit.

    Raises
    ------
    InputError: the run was cut, or holds no events. CapabilityError: the network cannot run there.
    """
    if not full.valid.all() or not full.events:
        raise InputError("exit costs need a full run with its events: run with policy=None and record='all'")
    horizon = full.horizon
    estimates: list[CostEstimate] = []
    for t in range(1, horizon + 1):  # placed once: no exit moves a neuron
        placement = estimates[0].placement if estimates else None
        estimates.append(estimate(halted(full, np.full(full.samples, t)), hardware, hypothetical, placement))
    whole = estimates[-1]
    # A verdict at t halts the run d steps later: that sample costs what one halted at t + d costs.
    later = [[min(t + delay, horizon) - 1 for t in range(1, horizon + 1)] for delay in delays_of(hardware)]
    return ExitCosts(
        latency_s=_table([item.latency_s for item in estimates], later),
        energy_j=_table([item.energy_j for item in estimates], later),
        unknown_time=whole.unknown_time,
        unknown_energy=whole.unknown_energy,
        provenance_time=whole.provenance_time,
        provenance_energy=whole.provenance_energy,
        hypothetical=whole.hypothetical,
    )


def _table(bands: list[Band], later: list[list[int]]) -> FloatArray:
    """float64 [3, T, N] of value, low and high; `later` are the positions of low, value and high."""
    low, value, high = later
    edges = (("value", value), ("low", low), ("high", high))
    return np.stack([np.stack([getattr(bands[t], edge) for t in positions]) for edge, positions in edges])


def _joined(parts: list[ExitCosts]) -> ExitCosts:
    return replace(
        parts[0],
        latency_s=np.concatenate([part.latency_s for part in parts], axis=2),
        energy_j=np.concatenate([part.energy_j for part in parts], axis=2),
    )
