"""A hardware file to be filled in, with a comment at every part, and what a file still lacks."""

from dataclasses import dataclass
from pathlib import Path

from spikecut.deploy.placement.hardware import (
    Capabilities,
    Costs,
    Limits,
    hardware_problems,
    load_hardware,
)
from spikecut.deploy.placement.monitor import CHARGED, PLACES
from spikecut.deploy.placement.quantities import parameters
from spikecut.text import brief, listed, told

UNWRITTEN = "nobody has said yet"
"""The source of a number that the template leaves open."""
COMMENTS = {
    "graded_spikes": "messages carry integers: graded input, a readout that sends its membrane",
    "soft_reset": "a spike subtracts the threshold instead of setting 0",
    "initial_state": "a membrane may start at another value than 0",
    "programmable_neuron": "a gain per timestep, as TEBN has, or a soft reset by another amount than the threshold",
    "refractory_period": "neurons that are set to 0 may rest for some steps after a spike",
    "cores_per_chip": "must be known, as the next three: cores cannot be laid out without",
    "neurons_per_core": "a limit that is null is not checked, and every estimate says so",
    "input_axons_per_core": "distinct senders whose messages a core takes",
    "output_axons_per_core": "destination cores, summed over a core's neurons",
    "synaptic_words_per_core": "words of 64 bits for weights of 8 bits",
    "memory_words_per_core": "words of 64 bits of all memories of a core together, where they share one pool",
    "neuron_access": "reading a neuron's state, every neuron, every step",
    "neuron_update": "changing it, every neuron, every step",
    "spike": "a neuron fires",
    "axon_out": "a message leaves a core, one per firing neuron and destination core",
    "axon_in": "a message arrives",
    "synop_dense": "one per message and non-zero weight that it reaches, in a dense layer without zero weights",
    "synop_sparse": "the same in a dense layer with zero weights",
    "synop_conv": "the same in a convolution",
    "hop_east_west": "a message crosses a link of the mesh",
}
HEAD = """# A hardware file of spikecut; docs/cost_model.md says what each number means.
#     spikecut hardware check {name}.yaml
#     spikecut inspect BUNDLE --hardware {name}.yaml
# Every number is {{value, low, high, source, provenance}}, with its unit in the key. low and high are the edges of what
# it may be. source says where it was read, and where in it. provenance is one of: simulated (before silicon), fitted
# (to silicon, or read from it), scaled (another chip's, times a published ratio), inherited (another chip's,
# unchanged), bound (a limit). A number that nobody knows is null in all but its source, and never counts as 0.
kind: chip
title: "{name}"
# runs: a core holds neighbouring neurons and every synapse. patches: it stores a convolution's weights once.
partition: runs
# order: cores sit on the mesh in the order of the layers. traffic: where their messages have few hops.
layout: order
# sum: a core's events one after the other, then the barrier. maximum: all at once, the slowest bounds the step.
timing: sum
"""


@dataclass(frozen=True)
class HardwareCheck:
    """What a hardware file lacks.

    Attributes
    ----------
    problems: what keeps it from being read, a line each. The others are empty then, and hold no key twice:
    unknown: numbers that are null, with a source that says why. still_open: those that are null, as in the template.
    unsourced: numbers that are given, but whose source still is that of the template.
    """

    problems: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    still_open: tuple[str, ...] = ()
    unsourced: tuple[str, ...] = ()

    __repr__ = brief

    def __str__(self) -> str:
        """Whether it can be used, and what is not known."""
        if self.problems:
            return f"cannot be used{told(self.problems)}"
        lacks = {
            "unknown, never counted as 0": self.unknown,
            "still open, never counted as 0": self.still_open,
            "without a source of its own": self.unsourced,
        }
        return "\n".join(("can be used", *(f"{what}: {listed(keys)}" for what, keys in lacks.items() if keys)))


def hardware_template(name: str) -> str:
    """A hardware file in which every number is open, with a comment at every part: YAML, to be filled in."""
    lines = [HEAD.format(name=name), "capabilities:"]
    lines += [f"  {key}: false{_comment(key)}" for key in Capabilities.model_fields]
    lines += ["", "limits:", *(f"  {key}: {_open()}{_comment(key)}" for key in Limits.model_fields)]
    lines += ["", "costs:"]
    for key in Costs.model_fields:
        lines += [f"  {key}:{_comment(key)}", f"    energy_pJ: {_open()}", f"    time_ns: {_open()}"]
    lines += ["", "barrier:  # the wait that ends a step, by the number of tiles in use"]
    lines += [f"  energy_pJ_per_step: {_open()}", "  between: floor  # or linear: how to read between two entries"]
    lines += ["  time_ns_by_tiles:", f"    1: {_open()}"]
    lines += ["", "management:  # embedded processors, between two steps", f"  time_ns_per_step: {_open()}"]
    lines += ["", f"static_mW_per_chip: {_open()}"]
    lines += ["", "reset:  # clearing the state between two samples", f"  energy_pJ_per_sample: {_open()}"]
    lines += ["", "monitor:  # what watches the output for an early exit; leave out the places that there are not"]
    for place, words in PLACES.items():
        lines += [f"  {place}:  # {words}", *(f"    {key}: {_open()}" for key in CHARGED)]
    return "\n".join(lines) + "\n"


def check_hardware(path: str | Path) -> HardwareCheck:
    """What a hardware file lacks; path: of the file. A number that is null counts as unknown, never as 0."""
    problems = hardware_problems(path)
    if problems:
        return HardwareCheck(problems)
    found = parameters(load_hardware(Path(path)))

    def keys(known: bool, written: bool) -> tuple[str, ...]:
        return tuple(
            key
            for key, quantity in found.items()
            if (quantity.value is not None, quantity.source != UNWRITTEN) == (known, written)
        )

    return HardwareCheck((), keys(False, True), keys(False, False), keys(True, False))


def _open() -> str:
    return f'{{value: null, low: null, high: null, provenance: null, source: "{UNWRITTEN}"}}'


def _comment(key: str) -> str:
    return f"  # {COMMENTS[key]}" if key in COMMENTS else ""
