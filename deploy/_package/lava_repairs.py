"""Lava on Pythons and numpys that its last releases do not know: named lines of named files, repaired at import.

lava-nc 0.10.0 and lava-dl 0.6.0 are the last releases, made for Python 3.10 and numpy 1. A few of their lines fail
since then. `install` puts a finder before Python's own that, when one of these modules is imported, replaces these
lines in memory: in exactly these releases, checked by the hash of the file, and only where the running Python or numpy
needs it. Processes that Lava forks inherit it. Nothing on disk is changed.

Two further lines import torch, torchvision and torch's compilers for what no run calls. In the same way these imports
are put off until something calls for them.
"""

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from spikecut.errors import BackendError

RELEASES = {"lava-nc": "0.10.0", "lava-dl": "0.6.0"}
"""The releases that are repaired, and no other."""


@dataclass(frozen=True)
class Repair:
    """One place of a file of Lava.

    Attributes
    ----------
    module: as it is imported. line: of the file, from 1. upstream: the text there; `repaired` takes its place.
    fails: what happens without. package, since: with which version of "python" or "numpy" that begins.
    used: spikecut runs the module; one that it does not may have been imported before, and then stays as it is.
    """

    module: str
    line: int
    upstream: str
    repaired: str
    fails: str
    package: str
    since: tuple[int, int]
    used: bool = True

    @property
    def distribution(self) -> str:
        """Which of Lava's two packages the file belongs to."""
        return "lava-dl" if self.module.startswith("lava.lib.dl.") else "lava-nc"

    @property
    def file(self) -> Path:
        """The module's file, found without importing it; PackageNotFoundError where Lava is not installed."""
        place = distribution(self.distribution).locate_file(self.module.replace(".", "/"))
        package = Path(str(place), "__init__.py")
        return package if package.is_file() else Path(f"{place}.py")

    @property
    def needed(self) -> bool:
        """Whether the running Python, or the installed numpy, fails here."""
        running = sys.version_info[:2] if self.package == "python" else _numbers(version(self.package))
        return running >= self.since


def _sha256(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()


def _numbers(release: str) -> tuple[int, int]:
    major, minor, *_ = release.split(".")
    return int(major), int(minor)


SOURCES = {
    "lava.magma.compiler.var_model": "3b8acb73dc3ff38d159065aa0339b90f371f99f162e68d10a3117afbd916afa8",
    "lava.magma.core.process.ports.ports": "176f546874deb3d105cee79099d8926847f9d79da01039adf5ec385c27eec282",
    "lava.lib.dl.netx.hdf5": "c7d2805d9e70b2b1144853c6ab2024544c954b8a282b9341453ea28fdfadc00e",
    "lava.proc.conv.utils": "5f7492485db56b7658992449f87f15f36daeb91ff28ad614e03614bdfebb2d61",
    "lava.lib.dl.slayer.object_detection.boundingbox.metrics": (
        "b458e731f281193e8a93227cfa72a23c81a067688dc24c308d1fd19e48438586"
    ),
    "lava.lib.dl.netx": "bb8d4cc3ce9a0f23f6cd2b39e88db92d1a3e2c51ad76b1a310700eaf61204ad8",
}
"""Modules of which lines are replaced, with the SHA-256 of their files."""

REPAIRS = (
    Repair(
        "lava.magma.compiler.var_model",
        210,
        "@dataclass\nclass ByteEncoder:",
        "@dataclass(unsafe_hash=True)\nclass ByteEncoder:",
        "ValueError: a dataclass's defaults must be hashable",
        "python",
        (3, 11),
    ),
    Repair(
        "lava.magma.core.process.ports.ports",
        920,
        "np.reshape, newshape=self.shape)",
        "np.reshape, shape=self.shape)",
        "DeprecationWarning, then TypeError: reshape has no argument newshape",
        "numpy",
        (2, 1),
    ),
    Repair(
        "lava.magma.core.process.ports.ports",
        931,
        "np.reshape, newshape=self.old_shape)",
        "np.reshape, shape=self.old_shape)",
        "DeprecationWarning, then TypeError: reshape has no argument newshape",
        "numpy",
        (2, 1),
    ),
    Repair(
        "lava.lib.dl.netx.hdf5",
        280,
        "int(layer_config['weight'])",
        "int(np.asarray(layer_config['weight']).item())",
        "DeprecationWarning, then TypeError: int() takes no array of one element",
        "numpy",
        (2, 0),
    ),
    Repair(
        "lava.lib.dl.netx.hdf5",
        285,
        "int(layer_config['bias'])",
        "int(np.asarray(layer_config['bias']).item())",
        "DeprecationWarning, then TypeError: int() takes no array of one element",
        "numpy",
        (2, 0),
    ),
    Repair(
        "lava.proc.conv.utils",
        274,
        "if input_.shape[-1] % groups != 0:",
        "if input_.shape[-1] % (groups := int(groups)) != 0:",
        "OverflowError for 128 channels or more: groups is an int8",
        "numpy",
        (2, 0),
    ),
    Repair(
        "lava.lib.dl.slayer.object_detection.boundingbox.metrics",
        165,
        "np.trapz(",
        "np.trapezoid(",
        "DeprecationWarning, then AttributeError: numpy has no trapz",
        "numpy",
        (2, 0),
        used=False,  # SpikingJelly imports slayer, and so this module, whenever it is there
    ),
)


_SLOW = "torch, torchvision and torch's compilers are imported for what no run calls"

DEFERRALS = (
    Repair(
        "lava.lib.dl.netx.hdf5",
        19,
        "from lava.lib.dl.slayer.neuron.rf import neuron_params as get_rf_params",
        "from spikecut.lava_repairs import call_later; "
        "get_rf_params = call_later('lava.lib.dl.slayer.neuron.rf', 'neuron_params')",
        _SLOW,
        "python",
        (3, 10),
        used=False,
    ),
    Repair(
        "lava.lib.dl.netx",
        7,
        "from . import sequential_modules as modules",
        "from spikecut.lava_repairs import import_later; "
        "__getattr__ = import_later(__name__, modules='sequential_modules')",
        _SLOW,
        "python",
        (3, 10),
        used=False,
    ),
)
"""Imports that are put off, on every Python: left as they are in another release, or in a file that was changed."""


def call_later(module: str, name: str) -> Callable[..., Any]:
    """The function of this name, whose module is imported when it is called."""

    def called(*arguments: Any, **named: Any) -> Any:
        return getattr(import_module(module), name)(*arguments, **named)

    return called


def import_later(package: str, **modules: str) -> Callable[[str], ModuleType]:
    """A package's __getattr__, which imports its modules when they are asked for; modules: by attribute."""

    def found(name: str) -> ModuleType:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return import_module(f"{package}.{modules[name]}")

    return found


def unrepairable() -> tuple[Path, ...]:
    """Files of the installed Lava that need a repair here and are not those that were released."""
    files = {repair.file: SOURCES[repair.module] for repair in needed()}
    return tuple(file for file, digest in files.items() if _sha256(file.read_bytes()) != digest)


def needed() -> tuple[Repair, ...]:
    """The repairs that this Python and this numpy need."""
    return tuple(repair for repair in REPAIRS if repair.needed)


def install() -> None:
    """Repair Lava as it is imported, and put off what no run needs; does nothing a second time.

    Raises
    ------
    BackendError: another release of Lava than the last ones is installed, or it was imported before it was repaired.
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    repairs = needed()
    if not _installed(bool(repairs)):
        return
    for module in sorted({repair.module for repair in repairs if repair.used} & sys.modules.keys()):
        raise BackendError(
            f"{module} was imported before spikecut could repair it: call spikecut.lava_repairs.install() first"
        )
    sys.meta_path.insert(0, _Finder((*repairs, *DEFERRALS)))


def _installed(repaired: bool) -> bool:
    """Whether Lava's last releases are there; BackendError for one that must be `repaired` and nobody has looked at."""
    for package, release in RELEASES.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            return False
        if found != release and repaired:
            raise BackendError(
                f"{package} {found} is installed, and spikecut knows how to repair {release} for this Python: "
                "spikecut install-lava"
            )
        if found != release:
            return False
    return True


class _Finder(MetaPathFinder):
    """Finds the modules that are repaired, where Python finds them, and gives them another loader."""

    def __init__(self, repairs: Sequence[Repair]) -> None:
        self.repairs = tuple(repairs)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        own = [repair for repair in self.repairs if repair.module == fullname]
        spec = PathFinder.find_spec(fullname, path, target) if own else None
        if spec is None or spec.origin is None:
            return None
        spec.loader = _Loader(fullname, spec.origin, own)
        spec.cached = None
        return spec


class _Loader(SourceFileLoader):
    """Compiles a file of Lava with its lines repaired."""

    def __init__(self, fullname: str, path: str, repairs: Sequence[Repair]) -> None:
        super().__init__(fullname, path)
        self.repairs = repairs

    def get_code(self, fullname: str) -> CodeType:
        """The repaired module; BackendError if it must be repaired and its file is not the one that was released."""
        source = self.get_data(self.path)
        if _sha256(source) != SOURCES[fullname]:
            if all(repair in DEFERRALS for repair in self.repairs):
                return self.source_to_code(source, self.path)
            raise BackendError(
                f"{self.path} was changed since it was released, and this Python needs it repaired: install Lava again "
                "(spikecut install-lava)"
            )
        text = source.decode("utf-8")
        for repair in self.repairs:
            text = text.replace(repair.upstream, repair.repaired)
        code: CodeType = compile(text, self.path, "exec", dont_inherit=True)
        return code
