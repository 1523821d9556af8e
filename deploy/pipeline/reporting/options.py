"""How a report is made."""

from dataclasses import dataclass
from pathlib import Path

from spikecut.deploy.verify.compare import REFERENCE


@dataclass(frozen=True)
class ReportOptions:
    """How a report is made.

    Attributes
    ----------
    bundles: where runs' bundles are, besides where the runs say; each is known by its hash.
    samples: places in the data set of the samples to play, at most 20; by default a choice.
    backend: what verify compares with the golden witness: "batched", or "lava" too.
    """

    bundles: tuple[Path, ...] = ()
    samples: tuple[int, ...] = ()
    backend: str = REFERENCE


DEFAULTS = ReportOptions()
