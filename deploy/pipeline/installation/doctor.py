"""What is installed, what is missing and how to get it, and whether what is there works on this Python."""

import platform
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from spikecut import lava_repairs
from spikecut.deploy.backends.progress import Progress, silent
from spikecut.deploy.pipeline.installation.lava import COMMAND, installed_version
from spikecut.deploy.pipeline.installation.trials import Finding, State, attempt_all
from spikecut.errors import InputError
from spikecut.extras import TRAIN, TRAINING
from spikecut.lava_repairs import Repair
from spikecut.text import brief


@dataclass(frozen=True)
class Part:
    """Something that spikecut can do: what it is, the packages that it needs, the command that installs them."""

    purpose: str
    packages: tuple[str, ...]
    remedy: str


PARTS = {
    "batched": Part(
        "the batched engine", ("numpy", "numba", "scipy", "h5py", "pyarrow", "pydantic"), "pip install spikecut"
    ),
    "int8": Part("its int8 products", ("torch",), TRAIN),
    "training": Part("training, export", TRAINING, TRAIN),
    "lava": Part("Lava", ("lava-nc", "lava-dl"), COMMAND),
    "nir": Part("writing NIR files", ("nir",), "pip install 'spikecut[nir]'"),
}
"""By the name of the trial that shows whether it works."""


@dataclass(frozen=True)
class Package:
    """A package: its version, None if it is missing; what it is for; the command that installs it."""

    name: str
    version: str | None
    purpose: str
    remedy: str


@dataclass(frozen=True)
class Check:
    """A part of spikecut. state: "missing" where a package is. said: in words. remedy: a command, or empty."""

    name: str
    state: State | Literal["missing"]
    said: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What `spikecut doctor` found.

    Attributes
    ----------
    python, system: versions. packages: those that matter, installed or not. checks: of what they are for.
    repairs: lines of Lava that are repaired at import here; none where Lava is missing.
    faults: what is installed and does not work, a line each.
    """

    python: str
    system: str
    packages: tuple[Package, ...]
    checks: tuple[Check, ...]
    repairs: tuple[Repair, ...]
    faults: tuple[str, ...]

    __repr__ = brief

    def __str__(self) -> str:
        """The system, and a line for each part."""
        lines = [f"Python {self.python} on {self.system}: {'something fails' if self.faults else 'nothing fails'}"]
        for check in self.checks:
            said = f"  {check.name}: {check.state}"
            if check.state != "works":
                said += f", {check.said}{f': {check.remedy}' if check.remedy else ''}"
            lines.append(said)
        return "\n".join(lines)


def doctor(*, progress: Progress = silent) -> Diagnosis:
    """Look at the running Python and what is installed for it, and try whatever is there, as `spikecut doctor` does.

    Every trial is a process of its own. progress: opens a bar; by default nothing is shown. What is missing or fails is
    in what is returned, with the command that helps; nothing is raised for it.
    """
    packages = {
        name: Package(name, installed_version(name), part.purpose, part.remedy)
        for part in PARTS.values()
        for name in part.packages
    }
    missing = {
        name: tuple(package for package in part.packages if packages[package].version is None)
        for name, part in PARTS.items()
    }
    found = attempt_all((name for name, lacks in missing.items() if not lacks), progress)
    checks = tuple(_check(PARTS[name], lacks, found.get(name)) for name, lacks in missing.items())
    return Diagnosis(
        platform.python_version(),
        platform.platform(terse=True),
        tuple(packages.values()),
        checks,
        () if missing["lava"] else lava_repairs.needed(),
        tuple(f"{check.name}: {check.said}" for check in checks if check.state == "fails"),
    )


def _check(part: Part, lacks: tuple[str, ...], found: Finding | None) -> Check:
    if found is None:
        return Check(part.purpose, "missing", f"needs {', '.join(lacks)}", part.remedy)
    return Check(part.purpose, found.state, found.said)


def check_demo(backend: str) -> None:
    """Raise InputError, with all commands that help, where a training or a run on this backend lacks its packages."""
    missing = [name for name in TRAINING if find_spec(name) is None][:1]
    said = [f"{name}, which is not installed: {TRAIN}" for name in missing]
    if (part := PARTS.get(backend)) and not all(map(installed_version, part.packages)):
        said.append(f"{part.purpose}, which is not installed: {part.remedy}, or take --backend batched")
    if said:
        raise InputError(f"this needs {'; and '.join(said)}")
