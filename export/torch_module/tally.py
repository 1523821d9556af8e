"""Ties of one layer, counted while it is compared with its module, and what is too many or too wide of them."""

from dataclasses import dataclass

from spikecut.errors import ExportError

TIES = 10
"""Ties that a layer may have; more only where they are at most one in TIE_SHARE of its decisions."""
TIE_SHARE = 1000
WIDEST = 0.01
"""The widest bound that a tie may be judged by, in thresholds."""
DOUBLE = "export it in double precision, module.double(), or for fewer timesteps"


@dataclass
class Tally:
    """What was found of one layer; see Compared."""

    decisions: int = 0
    spikes: int = 0
    ties: int = 0
    bound: float = 0.0

    def add(self, ties: int, bound: float) -> None:
        """One timestep."""
        self.ties, self.bound = self.ties + ties, max(self.bound, bound)

    def check(self, where: str, threshold: float, precision: str) -> None:
        """ExportError for ties so wide that they may hide a difference."""
        if self.bound > WIDEST * threshold:
            raise ExportError(
                f"{where}: does not fire where the float network does, and {precision}'s rounding, up to "
                f"{self.bound:.2g} of v, is too wide beside the threshold {threshold:.7g} to tell why; {DOUBLE}"
            )

    def check_count(self, where: str, precision: str) -> None:
        """ExportError for more ties than chance brings."""
        if self.ties > max(TIES, self.decisions / TIE_SHARE):
            raise ExportError(
                f"{where}: {self.ties} of {self.decisions} decisions differ from the float network's where {precision} "
                f"cannot tell v from the threshold (within {self.bound:.2g}), too many to vouch for it; {DOUBLE}"
            )
