"""Whether a network fits a hardware: its placement there, or a refusal; the features that it needs and misses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikecut.deploy.placement.hardware import Arithmetic, Chip, Hardware
from spikecut.deploy.placement.place import Placement, place, placement_summary
from spikecut.errors import CapabilityError, Refusal
from spikecut.export.network.layers import IntegerNetwork
from spikecut.fixed_point import ALIGNMENT_SHIFT, DECAY_UNITY


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
        if any(layer.neuron.v_init != 0 for layer in network.layers):
            missing.append("initial state (v starts at another value than 0)")
        if any(layer.neuron.u_init is not None for layer in network.layers):
            missing.append("initial state (u starts at another value than 0)")
    if any(layer.neuron.gain is not None for layer in network.layers) and not can.programmable_neuron:
        missing.append("programmable neurons (a gain per timestep, as TEBN has)")
    missing += _arithmetic(network, hardware.arithmetic)
    return tuple(Refusal(hardware.name, feature) for feature in missing)


def _arithmetic(network: IntegerNetwork, can: Arithmetic) -> list[str]:
    """What a network counts and such neurons and weights cannot."""
    missing, neurons = [], [layer.neuron for layer in network.layers]
    if not can.exponential_leak and any(each.decay_v != 0 or each.decay_u != DECAY_UNITY for each in neurons):
        missing.append("an exponential leak (current or membrane decay by a fraction)")
    weights = [layer.weight for layer in network.layers]
    weights += [layer.recurrent for layer in network.layers if layer.recurrent is not None]
    weights += [layer.skip.weight for layer in network.layers if layer.skip is not None]
    if not can.negative_membrane:
        biases = [each.bias_mantissa for each in neurons]
        beyond = any((each.reset_amount or 0) > each.threshold << ALIGNMENT_SHIFT for each in neurons)
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


@dataclass(frozen=True)
class Fit:
    """Whether and how a network fits one hardware.

    Attributes
    ----------
    placement: the one with the fewest cores, or why there is none.
    missing: what the network needs and the hardware lacks, see `check_capabilities`.
    """

    placement: Placement | Refusal
    missing: tuple[Refusal, ...] = ()

    @classmethod
    def of(cls, network: IntegerNetwork, hardware: Hardware) -> "Fit":
        """Try to place a network."""
        if not isinstance(hardware, Chip):
            return cls(Refusal(hardware.name, "operations only, no cores"))
        try:
            return cls(place(network, hardware), check_capabilities(network, hardware))
        except CapabilityError as error:
            return cls(Refusal(hardware.name, str(error)))

    @property
    def note(self) -> str:
        """ "fits", or what stands against it."""
        if isinstance(self.placement, Refusal):
            return self.placement.feature
        return missing_features(self.missing) if self.missing else "fits"

    def to_dict(self) -> dict[str, Any]:
        """The fit as JSON data."""
        placed = {} if isinstance(self.placement, Refusal) else placement_summary(self.placement)
        return {**placed, "note": self.note}
