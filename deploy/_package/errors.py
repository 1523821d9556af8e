"""Every exception that spikecut raises on purpose.

SpikecutError                 base; the command line prints one line and exits with `exit_code`
├── InputError                a file, dataset or argument is not what it should be
│   ├── DataError             samples or labels do not fit
│   ├── CheckpointError       a checkpoint is missing, foreign or broken
│   ├── BundleError           a bundle is missing, incomplete or does not match its hashes
│   └── HardwareConfigError   a hardware file lacks a value, a unit or a source
├── ExportError               the network cannot be exported exactly
│   ├── UnsupportedError      no Process implements a feature of it
│   └── RangeError            a value leaves the chip's integer range
├── CapabilityError           this hardware lacks a feature that the network needs
├── BackendError              the simulator failed while running
└── Interrupted               Ctrl-C or SIGTERM, where finished results were kept

ApproximationWarning          a warning: the integers do something otherwise than the network that was exported
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """Why something is not done: a value, where the caller decides whether to raise it, show it or try elsewhere.

    Attributes
    ----------
    where: what is refused, "layer conv1"; empty for the whole. feature: what it needs and does not get, "soft reset".
    remedy: what helps.
    """

    where: str
    feature: str
    remedy: str = ""

    def __str__(self) -> str:
        return (f"{self.where}: " if self.where else "") + self.feature + (f"; {self.remedy}" if self.remedy else "")


class SpikecutError(Exception):
    """Base of the tree. The message is one line that names the thing and the remedy."""

    exit_code = 2


class InputError(SpikecutError):
    """A file, a dataset or an argument is not what it should be."""


class DataError(InputError):
    """Samples or labels do not fit."""


class CheckpointError(InputError):
    """A checkpoint is missing, foreign or broken."""


class BundleError(InputError):
    """A bundle is missing, incomplete or does not match its hashes."""


class HardwareConfigError(InputError):
    """A hardware file lacks a value, a unit or a source."""


class ExportError(SpikecutError):
    """The network cannot be exported exactly."""


class UnsupportedError(ExportError):
    """No Process implements a feature of the network."""


class RangeError(ExportError):
    """A value leaves the chip's integer range."""


class CapabilityError(SpikecutError):
    """This hardware lacks a feature that the network needs."""


class BackendError(SpikecutError):
    """The simulator failed while running."""


class Interrupted(SpikecutError):
    """Ctrl-C or SIGTERM ended a run whose finished results were kept."""

    exit_code = 130


class ApproximationWarning(UserWarning):
    """What was exported is not exactly what the integers do; the bundle's notes say what differs."""
