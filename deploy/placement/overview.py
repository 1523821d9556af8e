"""What a hardware file holds: its parameters by name, what runs on it, how much of it is known and from where."""

from collections import Counter
from dataclasses import dataclass

from spikecut.deploy.placement.hardware import Chip, Hardware, OperationProfile
from spikecut.deploy.placement.partition import LIMITED
from spikecut.deploy.placement.quantities import parameters


@dataclass(frozen=True)
class HardwareOverview:
    """A hardware file in short.

    Attributes
    ----------
    title: what the hardware is. runs: which networks can run there, in words.
    provenance: how many known parameters there are of each provenance. unknown: names of the unknown ones.
    """

    title: str
    runs: str
    provenance: dict[str, int]
    unknown: tuple[str, ...]

    @classmethod
    def of(cls, hardware: Hardware) -> "HardwareOverview":
        """The overview of a hardware file."""
        found = parameters(hardware)
        counts = Counter(quantity.provenance for quantity in found.values() if quantity.provenance is not None)
        unknown = tuple(name for name, quantity in found.items() if quantity.value is None)
        return cls(hardware.title, _runs(hardware), dict(sorted(counts.items())), unknown)


def _runs(hardware: Hardware) -> str:
    if isinstance(hardware, OperationProfile):
        return "counts operations only"
    if not isinstance(hardware, Chip):
        return ""
    can = [name.replace("_", " ") for name, has in hardware.capabilities if has]
    limits = [name for name in LIMITED if getattr(hardware.limits, name).value is None]
    unchecked = f"; not checked: {', '.join(limits).replace('_', ' ')}" if limits else ""
    return (", ".join(can) or "hard reset and binary spikes only") + unchecked
