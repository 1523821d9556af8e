"""What a network needs of a chip and does not get there, as refusals."""

from collections.abc import Sequence

from spikecut.deploy.placement.hardware import Chip, Hardware
from spikecut.deploy.placement.place import Placement, place
from spikecut.errors import CapabilityError, Refusal
from spikecut.export.network.layers import IntegerNetwork


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
    if any(layer.neuron.v_init != 0 for layer in network.layers) and not can.initial_state:
        missing.append("initial state (v starts at another value than 0)")
    if any(layer.neuron.gain is not None for layer in network.layers) and not can.programmable_neuron:
        missing.append("programmable neurons (a gain per timestep, as TEBN has)")
    return tuple(Refusal(hardware.name, feature) for feature in missing)


def missing_features(refusals: Sequence[Refusal]) -> str:
    """Why the network cannot run, from one or more refusals of `check_capabilities`."""
    return f"cannot run here: {', '.join(refusal.feature for refusal in refusals)}"


def placed_or_refused(network: IntegerNetwork, hardware: Hardware) -> Placement | Refusal:
    """The placement with the fewest cores, or why the network has none on this hardware."""
    if not isinstance(hardware, Chip):
        return Refusal(hardware.name, "operations only, no cores")
    try:
        return place(network, hardware)
    except CapabilityError as error:
        return Refusal(hardware.name, str(error))
