"""Whether a network fits a hardware: its placement there, or a refusal; the features that it needs and misses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikecut.deploy.placement.cores import Placement, placement_summary
from spikecut.deploy.placement.hardware import Arithmetic, Chip, Hardware
from spikecut.deploy.placement.place import place
from spikecut.errors import CapabilityError, Refusal
from spikecut.export.network.graph import is_graded
from spikecut.export.network.layers import IntegerNetwork
from spikecut.export.network.parameters import lowest
from spikecut.fixed_point import DECAY_UNITY


def check_capabilities(network: IntegerNetwork, hardware: Hardware) -> tuple[Refusal, ...]:
    """One refusal per feature that the network needs and the hardware lacks; none where the hardware is no chip."""
    if not isinstance(hardware, Chip):
        return ()
    can = hardware.capabilities
    missing: list[str] = []
    if network.input.bits > 0 and not can.graded_spikes:
        missing.append(f"graded spikes (the input's messages carry {network.input.bits} bits)")
    if network.readout == "membrane" and not can.graded_spikes:
        missing.append("graded spikes (the readout sends its membrane)")
    if any(layer.neuron.reset == "subtract" for layer in network.layers) and not can.soft_reset:
        missing.append("soft reset")
    elif any(layer.neuron.reset_amount is not None for layer in network.layers) and not can.programmable_neuron:
        missing.append("programmable neurons (a soft reset by another amount than the threshold)")
    if not can.initial_state:
        if any(np.any(layer.neuron.v_init) for layer in network.layers):
            missing.append("initial state (v starts at another value than 0)")
        if any(layer.neuron.u_init is not None for layer in network.layers):
            missing.append("initial state (u starts at another value than 0)")
    if any(layer.neuron.gain is not None for layer in network.layers) and not can.programmable_neuron:
        missing.append("programmable neurons (a gain per timestep, as TEBN has)")
    resting = [layer.neuron for layer in network.layers if layer.neuron.refractory]
    fixed = can.refractory_period and all(each.reset == "zero" for each in resting)
    if resting and not (fixed or can.programmable_neuron):
        missing.append("programmable neurons (a refractory period)")
    if any(layer.neuron.adaptation is not None for layer in network.layers) and not can.programmable_neuron:
        missing.append("programmable neurons (an adaptive threshold)")
    if is_graded(network) and not can.graded_spikes:
        missing.append("graded spikes (sigma-delta neurons send how much they changed)")
    if is_graded(network) and not can.programmable_neuron:
        missing.append("programmable neurons (sigma-delta)")
    missing += _arithmetic(network, hardware.arithmetic)
    return tuple(Refusal(hardware.name, feature) for feature in missing)


def _arithmetic(network: IntegerNetwork, can: Arithmetic) -> list[str]:
    """What a network counts and such neurons and weights cannot."""
    missing, neurons = [], [layer.neuron for layer in network.layers]
    leaks = [bool(np.any(each.decay_v)) or lowest(each.decay_u) != DECAY_UNITY for each in neurons]
    if not can.exponential_leak and any(leaks):
        missing.append("an exponential leak (current or membrane decay by a fraction)")
    weights = [layer.weight for layer in network.layers]
    weights += [layer.recurrent for layer in network.layers if layer.recurrent is not None]
    weights += [skip.weight for layer in network.layers for skip in layer.skips]
    if not can.negative_membrane:
        biases = [each.bias_mantissa for each in neurons]
        beyond = any(each.subtracts_more for each in neurons)
        if any(values.min(initial=0) < 0 for values in (*weights, *biases)):
            missing.append("negative membranes (weights or biases below 0)")
        elif beyond:
            missing.append("negative membranes (a soft reset by more than the threshold)")
    if can.weight_bits is not None:
        widest = max(int(np.abs(each // max(int(np.gcd.reduce(each, axis=None)), 1)).max()) for each in weights)
        if widest >= 2 ** (can.weight_bits - 1):
            missing.append(f"weights of {widest.bit_length() + 1} bits (it has {can.weight_bits})")
    return missing


def missing_features(refusals: Sequence[Refusal]) -> str:
    """Why the network cannot run, from one or more refusals of `check_capabilities`."""
    return f"cannot run here: {', '.join(refusal.feature for refusal in refusals)}"


REMEDIES = {
    "graded spikes (the input": "an input of spikes",
    "graded spikes (the readout": "a readout that counts spikes",
    "soft reset": "neurons that reset to 0",
    "initial state": "neurons that start at 0",
    "programmable neurons (a soft": "a soft reset by the threshold",
    "programmable neurons (a gain": "neurons without a gain per timestep",
    "programmable neurons (a refractory": "neurons that do not rest after a spike",
    "programmable neurons (an adaptive": "neurons that are reset",
    "graded spikes (sigma": "neurons that spike",
    "programmable neurons (sigma": "neurons that spike",
    "an exponential leak": "neurons without a leak",
    "negative membranes": "weights and biases of at least 0",
    "weights of": "weights of fewer bits",
}
"""What a network would need instead, by how the feature that a chip lacks begins."""


@dataclass(frozen=True)
class Fit:
    """Whether and how a network fits one hardware.

    Attributes
    ----------
    placement: the one with the fewest cores, or why there is none.
    missing: what the network needs and the hardware lacks, see `check_capabilities`.
    room: how much of the chip the placement takes, in words.
    """

    placement: Placement | Refusal
    missing: tuple[Refusal, ...] = ()
    room: str = ""

    @classmethod
    def of(cls, network: IntegerNetwork, hardware: Hardware) -> "Fit":
        """Try to place a network."""
        if not isinstance(hardware, Chip):
            return cls(Refusal(hardware.name, "operations only, no cores"))
        try:
            found = place(network, hardware)
        except CapabilityError as error:
            return cls(Refusal(hardware.name, str(error)))
        return cls(found, check_capabilities(network, hardware), _room(found, hardware))

    @property
    def note(self) -> str:
        """In one line: that it fits and how tightly, or what stands against it and what would help."""
        if isinstance(self.placement, Refusal):
            return self.placement.feature
        if not self.missing:
            return self.room
        starts = [next((key for key in REMEDIES if each.feature.startswith(key)), "") for each in self.missing]
        instead = ", ".join(dict.fromkeys(REMEDIES[key] for key in starts if key))
        would = f"; it would with {instead}" if instead else ""
        return missing_features(self.missing) + would

    def to_dict(self) -> dict[str, Any]:
        """The fit as JSON data."""
        placed = {} if isinstance(self.placement, Refusal) else placement_summary(self.placement)
        return {**placed, "note": self.note}


def _room(found: Placement, chip: Chip) -> str:
    """Cores of how many, the fullest layer, and on several chips what brings it onto one."""
    shares = [
        (count / limit, layer.name, name.removesuffix("_per_core").replace("_", " "))
        for layer in found.layers
        for name, count in layer.taken
        if (limit := getattr(chip.limits, name).limit) is not None
    ]
    share, layer, limit = max(shares, default=(0.0, "", ""))
    full = f"; fullest: {layer}, {share:.0%} of a core's {limit}" if layer else ""
    cores = int(chip.limits.cores_per_chip.value or 1)
    if found.chips == 1:
        return f"fits: {found.cores} of {cores} cores{full}"
    largest = max(found.layers, key=lambda each: len(each.cores))
    most = max(((count / getattr(chip.limits, name).limit, name) for name, count in largest.taken), default=(0.0, ""))
    bound = most[1].removesuffix("_per_core").replace("_", " ")
    return (
        f"fits on {found.chips} chips: {found.cores} cores of {cores} a chip; {largest.name} takes "
        f"{len(largest.cores)}, by its {bound}: one chip holds about {cores / found.cores:.0%} of this network"
    )
