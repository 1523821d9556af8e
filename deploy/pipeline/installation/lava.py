"""Lava's last releases, installed past the Python and the packages that they were made for.

pip, or uv where there is no pip, decides where from and prints what it does. Nothing that is installed is changed: what
Lava imports is asked for only where it is missing, beside the versions that are there.
"""

import importlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from spikecut import lava_repairs
from spikecut.errors import InputError
from spikecut.text import brief

COMMAND = "spikecut install-lava"
WHEELS = {
    "lava-nc": "d646723e888a72868dac77d31beee3eef1f540366a8c1a8578a2dc3302470926",
    "lava-dl": "bcb448f2bb85dc0da4b4dbbbae16543d2a978c1da7279acc522ad621fc68c437",
}
"""SHA-256 of the wheels of `lava_repairs.RELEASES`, which are the same for every Python."""

NEEDS = {
    **{"torch": "torch", "torchvision": "torchvision", "asteval": "asteval", "networkx": "networkx"},
    **{"opencv-python-headless": "cv2", "matplotlib": "matplotlib", "scikit-learn": "sklearn", "pillow": "PIL"},
}
"""What Lava imports, and the module by which each is found, whoever brought it. Lava's own bounds are those of 2024."""

HELD = (*NEEDS, "h5py", "lightning", "numba", "numpy", "scipy", "torchmetrics")
"""Packages that keep their version while others are installed beside them."""

REQUIREMENTS, CONSTRAINTS = "requirements.txt", "constraints.txt"


@dataclass(frozen=True)
class LavaInstallation:
    """What is to be done, in a folder that holds `files`, and what was done.

    Attributes
    ----------
    missing: of what Lava imports. wheels: those of Lava that are missing, changed, or of another release.
    files: what the commands name, by name. commands: none where everything is there.
    installed: name and version of each package that was missing; empty before, and where nothing was missing.
    """

    missing: tuple[str, ...]
    wheels: tuple[str, ...]
    files: dict[str, str]
    commands: tuple[tuple[str, ...], ...]
    installed: tuple[str, ...] = ()

    __repr__ = brief

    def __str__(self) -> str:
        """What was installed, or else the commands with the content of their files."""
        if self.installed:
            return f"installed: {', '.join(self.installed)}"
        if not self.commands:
            return "Lava and what it needs are installed already"
        files = (f"# {name}\n{text}" for name, text in self.files.items())
        return "\n".join([*files, *map(shlex.join, self.commands)])


def installed_version(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def plan(folder: Path) -> LavaInstallation:
    """What install_lava would do; folder: where the files of the commands are.

    Raises InputError if something is missing, and there is neither pip nor uv.
    """
    missing = tuple(name for name, module in NEEDS.items() if find_spec(module) is None)
    wheels = _wanted_wheels()
    files, commands = {}, []
    if missing:
        held = {name: installed_version(name) for name in HELD}
        files[CONSTRAINTS] = "".join(f"{name}=={found}\n" for name, found in held.items() if found)
        commands.append((*_installer(), "--constraint", str(folder / CONSTRAINTS), *missing))
    if wheels:
        releases = lava_repairs.RELEASES
        files[REQUIREMENTS] = "".join(f"{name}=={releases[name]} --hash=sha256:{WHEELS[name]}\n" for name in wheels)
        commands.append(_wheel_command(folder / REQUIREMENTS, wheels))
    return LavaInstallation(missing, wheels, files, tuple(commands))


def _wanted_wheels() -> tuple[str, ...]:
    wanted = [name for name, release in lava_repairs.RELEASES.items() if installed_version(name) != release]
    if wanted:
        return tuple(wanted)
    changed = lava_repairs.unrepairable()
    return tuple(dict.fromkeys(repair.distribution for repair in lava_repairs.needed() if repair.file in changed))


def _installer() -> tuple[str, ...]:
    if find_spec("pip") is not None:
        return sys.executable, "-m", "pip", "install"
    uv = shutil.which("uv")
    if uv is None:
        raise InputError(
            f"there is neither pip nor uv to install Lava with: {sys.executable} -m ensurepip, then {COMMAND}"
        )
    return uv, "pip", "install", "--python", sys.executable


def _wheel_command(requirements: Path, wheels: tuple[str, ...]) -> tuple[str, ...]:
    installer = _installer()
    pip = "-m" in installer
    again = any(installed_version(name) == lava_repairs.RELEASES[name] for name in wheels)
    return (
        *installer,
        "--no-deps",  # and then uv does not ask for which Python a wheel is
        *(["--ignore-requires-python"] if pip else []),
        *(["--force-reinstall" if pip else "--reinstall"] if again else []),
        "--require-hashes",
        "--requirement",
        str(requirements),
    )


def install_lava(*, dry_run: bool = False) -> LavaInstallation:
    """Install lava-nc 0.10.0, lava-dl 0.6.0 and what they import, by pip or uv, as `spikecut install-lava` does.

    What is installed stays as it is. dry_run: tell what would be done, and do nothing.

    Raises InputError if pip or uv fails, or neither is there.
    """
    if dry_run:
        return plan(Path())
    with tempfile.TemporaryDirectory(prefix="spikecut-lava-") as name:
        todo = plan(Path(name))
        for file, text in todo.files.items():
            (Path(name) / file).write_text(text, encoding="utf-8")
        for command in todo.commands:
            code = subprocess.run(command, check=False).returncode
            if code:
                tool = "pip" if "-m" in command else "uv"
                raise InputError(
                    f"{tool} could not install {', '.join(todo.wheels or todo.missing)} (exit code {code}, its message "
                    f"is above); it needs a package registry, or a folder of wheels: {COMMAND} --dry-run shows the "
                    "commands"
                )
    importlib.invalidate_caches()
    return replace(todo, installed=tuple(f"{name} {installed_version(name)}" for name in (*todo.wheels, *todo.missing)))
