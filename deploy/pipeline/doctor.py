"""What is installed, what is missing and how to get it, and whether Lava works on this Python."""

import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from spikecut import lava_repairs
from spikecut.errors import InputError, SpikecutError
from spikecut.lava_repairs import Repair

CORE = ("numpy", "numba", "scipy", "h5py", "pyarrow", "pydantic")
TORCH = ("torch", "torchvision", "lightning", "torchmetrics")
LAVA = ("lava-nc", "lava-dl")
TRAIN = "pip install 'spikecut[train]'"
INSTALL_LAVA = "spikecut install-lava"

WHEELS = {
    "lava-nc==0.10.0": "d646723e888a72868dac77d31beee3eef1f540366a8c1a8578a2dc3302470926",
    "lava-dl==0.6.0": "bcb448f2bb85dc0da4b4dbbbae16543d2a978c1da7279acc522ad621fc68c437",
}
"""Lava's last releases, with the SHA-256 of their wheels, which are the same for every Python."""

NEEDS = (
    *("torch", "torchvision", "asteval", "networkx"),
    *("opencv-python-headless", "matplotlib", "scikit-learn", "pillow"),
)
"""What Lava imports beside spikecut's own packages; its own bounds on them are those of 2024."""


@dataclass(frozen=True)
class Package:
    """A package: its version, None if it is missing; what it is for; the command that installs it."""

    name: str
    version: str | None
    purpose: str
    remedy: str


@dataclass(frozen=True)
class Diagnosis:
    """What `spikecut doctor` found.

    Attributes
    ----------
    python, system: versions. packages: those that matter, installed or not.
    repairs: lines of Lava that are repaired at import here. faults: what is installed and does not work, a line each.
    """

    python: str
    system: str
    packages: tuple[Package, ...]
    repairs: tuple[Repair, ...]
    faults: tuple[str, ...]


def diagnose() -> Diagnosis:
    """Look at the running Python and what is installed for it; imports Lava, if it is there, to see that it works."""
    packages = tuple(
        Package(name, _version(name), purpose, remedy)
        for names, purpose, remedy in (
            (CORE, "everything", "pip install spikecut"),
            (TORCH, "training, conversion, import of torch's networks; the fast products of the batched engine", TRAIN),
            (LAVA, "runs and verification on Lava", INSTALL_LAVA),
        )
        for name in names
    )
    faults = [f"{each.name} is missing: {each.remedy}" for each in packages if each.name in CORE and not each.version]
    installed = all(each.version for each in packages if each.name in LAVA)
    return Diagnosis(
        platform.python_version(),
        platform.platform(terse=True),
        packages,
        lava_repairs.needed(),
        (*faults, *(_lava_faults() if installed else ())),
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _lava_faults() -> tuple[str, ...]:
    """What keeps the installed Lava from working."""
    from spikecut.deploy.backends.lava.blocks import require_lava

    changed = lava_repairs.unrepairable()
    if changed:  # also files that `require_lava` does not import
        return tuple(f"{file} was changed since it was released: {INSTALL_LAVA}" for file in changed)
    try:
        require_lava()
    except SpikecutError as error:
        return (str(error),)
    except Exception as error:  # whatever another package does while it is imported
        return (f"Lava cannot be imported ({type(error).__name__}: {error})",)
    return ()


def lava_commands(requirements: Path) -> tuple[tuple[str, ...], ...]:
    """The commands of pip that install Lava into the running Python; requirements: file with the two wheels' hashes."""
    pip = (sys.executable, "-m", "pip", "install")
    wheels = ("--no-deps", "--ignore-requires-python", "--require-hashes", "--requirement", str(requirements))
    return (*pip, *NEEDS), (*pip, *wheels)


def requirements_text() -> str:
    """The file that lava_commands names."""
    return "".join(f"{name} --hash=sha256:{digest}\n" for name, digest in WHEELS.items())


def install_lava() -> None:
    """Install lava-nc 0.10.0 and lava-dl 0.6.0 past the Python and the packages that they were made for.

    pip decides where from, and prints what it does.

    Raises InputError if pip fails.
    """
    with tempfile.TemporaryDirectory(prefix="spikecut-lava-") as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(requirements_text(), encoding="utf-8")
        for command in lava_commands(requirements):
            if subprocess.run(command, check=False).returncode:
                raise InputError(f"pip could not install Lava, see its message above ({' '.join(command)})")
