"""What watching the output for an early exit costs, by where it is done: on the chip, beside it, or on the host."""

from typing import Literal

from pydantic import model_validator

from spikecut.deploy.placement.quantities import Quantity, Steps, Strict
from spikecut.errors import InputError

MonitorPlace = Literal["on_chip", "embedded", "host"]
PLACES: dict[MonitorPlace, str] = {
    "on_chip": "neurons of the chip",
    "embedded": "a processor on the chip",
    "host": "the host computer",
}
"""Where a monitor can run, in words."""
NOT_CHOSEN = "the file has monitors in several places, of which none is chosen (--monitor)"
_OPEN = {"value": None, "low": None, "high": None, "source": NOT_CHOSEN, "provenance": None}
EVERY_MEMBRANE = "the readout sends the membrane of every class in every step"
CHARGED = ("messages_per_step", "time_ns_per_step", "energy_pJ_per_step", "delay_steps")


def monitor_place(text: str) -> MonitorPlace:
    """The place of this name; InputError if there is none."""
    for place in PLACES:
        if place == text:
            return place
    raise InputError(f"--monitor {text}: expected {', '.join(PLACES)}")


class MonitorCost(Strict):
    """What a monitor costs in one place.

    Attributes
    ----------
    messages_per_step: from the output layer to the monitor, each an outgoing message of the chip.
    time_ns_per_step, energy_pJ_per_step: what each step takes longer, and more.
    delay_steps: d, the hardware steps from the decision to the halt.
    """

    messages_per_step: Quantity
    time_ns_per_step: Quantity
    energy_pJ_per_step: Quantity
    delay_steps: Steps


class Monitor(Strict):
    """What watching the output costs: the four numbers of MonitorCost of a single monitor, or those of several places.

    Of several places none is charged until one is chosen, see `at`.
    """

    messages_per_step: Quantity = Quantity.model_validate(_OPEN)
    time_ns_per_step: Quantity = Quantity.model_validate(_OPEN)
    energy_pJ_per_step: Quantity = Quantity.model_validate(_OPEN)
    delay_steps: Steps = Steps.model_validate(_OPEN)
    on_chip: MonitorCost | None = None
    embedded: MonitorCost | None = None
    host: MonitorCost | None = None

    @model_validator(mode="after")
    def _one_or_several(self) -> "Monitor":
        missing = [name for name in CHARGED if name not in self.model_fields_set]
        if self.places and len(missing) < len(CHARGED):
            raise ValueError(f"give {', '.join(CHARGED)} of one monitor, or of those of {', '.join(PLACES)}, not both")
        if missing and not self.places:
            raise ValueError(f"{missing[0]} is missing: give it, or monitors by place: {', '.join(PLACES)}")
        return self

    @property
    def places(self) -> dict[MonitorPlace, MonitorCost]:
        """The places that the file describes."""
        found = {"on_chip": self.on_chip, "embedded": self.embedded, "host": self.host}
        return {place: cost for place in PLACES if (cost := found[place]) is not None}

    @property
    def charged(self) -> tuple[Quantity, ...]:
        """The numbers that a run pays."""
        return (self.messages_per_step, self.time_ns_per_step, self.energy_pJ_per_step, self.delay_steps)

    def at(self, place: MonitorPlace) -> "Monitor":
        """The same, with the numbers of a place that it describes as those that a run pays."""
        return self.model_copy(update={name: getattr(self.places[place], name) for name in CHARGED})

    def hearing(self, membranes: int | None) -> "Monitor":
        """The same for a readout that sends so many membranes in every step; None: for one that sends spikes.

        Neurons on the chip hear of each of them by a message; a processor reads what it wants.
        """
        cost = self.on_chip
        if membranes is None or cost is None or cost.messages_per_step.value is None:
            return self
        number = float(membranes)
        sent = Quantity(value=number, low=number, high=number, source=EVERY_MEMBRANE, provenance="bound")
        changed: dict[str, object] = {"on_chip": cost.model_copy(update={"messages_per_step": sent})}
        if all(getattr(self, name) == getattr(cost, name) for name in CHARGED):
            changed["messages_per_step"] = sent
        return self.model_copy(update=changed)
