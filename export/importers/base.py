"""Importers: whoever reads a network from a file, and what each gives.

Every importer is an entry point of the group `spikecut.importers`, spikecut's own too, so that another package adds one
by registering it. Asking an importer whether it reads a file costs nothing: what is heavy it imports in `read`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from spikecut.errors import BundleError, ExportError, InputError, Refusal, SpikecutError, UnsupportedError
from spikecut.export.network.arrays import Floats, Shape
from spikecut.export.network.layers import IntegerNetwork
from spikecut.export.quantise.headroom import Ranges
from spikecut.files import check_regular
from spikecut.registry import Registry
from spikecut.text import brief

if TYPE_CHECKING:  # torch is imported where a network is read
    from torch import nn

    from spikecut.models.network import SpikingNetwork

Exactness = Literal["exact", "approximate", "refused", "not reached"]
Options = Mapping[str, Any]
"""What the user gave, by the option's name without dashes: {"horizon": 8}; what was not given is not in it."""


class MeasureRanges(Protocol):
    """Gives the largest |u| and |v| of each layer on samples, by name."""

    def __call__(self, network: IntegerNetwork, images: Floats) -> dict[str, Ranges]:
        """images: [N, *shape], raw samples."""


@dataclass(frozen=True)
class PartReport:
    """What becomes of one part of the file, a node or a layer.

    Attributes
    ----------
    name, kind, shape: of the part, and of its output. layer: of the network, that it goes into, where that is told.
    thresholds: λ of a ReLU, one per channel of a map; none otherwise.
    """

    name: str
    kind: str
    shape: Shape
    exactness: Exactness
    detail: str
    layer: str = ""
    thresholds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """What goes into the manifest of a network that was not trained here, and how its export is made.

    Attributes
    ----------
    method: "nir"; also the key of `details` in the recipe. encoding: of the input, where none is asked for.
    details: about the file and what was read of it.
    approximate: neurons may be rounded, see quantise. wide: the widest weights that the samples allow, see there.
    measure: of ranges on samples; None for the general one. encoding_known: `encoding` is not assumed but its own.
    """

    method: str
    encoding: str
    details: Mapping[str, Any]
    approximate: bool = False
    wide: bool = False
    measure: MeasureRanges | None = None
    encoding_known: bool = False


@dataclass(frozen=True)
class ImportedNetwork:
    """What an importer read.

    Attributes
    ----------
    source: the file, as the user named it.
    integers: the network where the file holds the chip's integers already; there is no float network then.
    network: the float network; None where a part is refused before the end, or for integers.
    witness: a module that gives the golden float scores, frames [T, N, *shape] → [T, N, classes]; None: the network.
    input_shape: (C, H, W) or (F,).
    assumed: what the file does not tell and was assumed, a line each.
    report: what becomes of each part, in the file's order.
    refusal: why no network comes of it, None where one does.
    trained: the recipe of a checkpoint of spikecut, which tells data, horizon and input.
    recipe: of any other file.
    conversion: measurements of a converted network, as its importer knows them.
    """

    source: Path
    integers: IntegerNetwork | None = None
    network: "SpikingNetwork | None" = None
    witness: "nn.Module | None" = None
    input_shape: Shape = ()
    assumed: tuple[str, ...] = ()
    report: tuple[PartReport, ...] = ()
    refusal: Refusal | SpikecutError | None = None
    trained: Mapping[str, Any] | None = None
    recipe: Recipe | None = None
    conversion: Mapping[str, float] = field(default_factory=dict)

    __repr__ = brief

    @property
    def refuses_integers(self) -> bool:
        """Whether it is a file of the chip's integers, a part of which is refused."""
        return self.refusal is not None and self.recipe is not None and self.recipe.method == "netx"

    def checked(self, strict: bool = False) -> "SpikingNetwork":
        """The float network.

        Raises
        ------
        SpikecutError: the refusal. ExportError: strict, and a part is only approximated.
        InputError: the file holds integers.
        """
        if self.refusal is not None:
            raise self.refusal if isinstance(self.refusal, SpikecutError) else UnsupportedError(str(self.refusal))
        for part in self.report:
            if strict and part.exactness == "approximate":
                raise ExportError(f"node {part.name} ({part.kind}): {part.detail}; --strict takes nothing inexact")
        if self.integers is not None:
            raise InputError(f"{self.source} holds the chip's integers, not floats; spikecut.load reads it as it is")
        if self.network is None:
            raise ExportError(f"{self.source}: the file holds no network")
        return self.network

    def loaded(self) -> IntegerNetwork:
        """The integer network; the refusal of one that is refused, InputError for a file of floats."""
        if self.refuses_integers and isinstance(self.refusal, SpikecutError):
            raise self.refusal
        if self.integers is None:
            raise InputError(
                f"{self.source}: floating-point numbers: make a bundle first, `spikecut export {self.source} --out "
                "BUNDLE …`"
            )
        return self.integers


@runtime_checkable
class Importer(Protocol):
    """Reads networks from files of one kind."""

    @property
    def name(self) -> str:
        """As it is registered, "nir"."""

    @property
    def files(self) -> str:
        """What it reads, in words: "a NIR file (.nir)"."""

    @property
    def options(self) -> Collection[str]:
        """Options that reading or exporting such a file has a use for, without dashes: "horizon"."""

    def reads(self, path: Path, options: Options) -> bool:
        """Whether this file is one of its own, by its name and by what the user says of it; the file may be missing."""

    def read(self, path: Path, options: Options) -> ImportedNetwork:
        """The network in the file.

        Raises
        ------
        InputError: a file that is missing, foreign or damaged, or options that do not fit it. ExportError: a network
        that cannot be had; parts that are refused are reported instead, see ImportedNetwork.
        """


def _accept(loaded: object) -> Importer:
    made = loaded() if isinstance(loaded, type) else loaded
    if not isinstance(made, Importer):
        raise TypeError("it lacks one of name, files, options, reads and read")
    return made


IMPORTERS: Registry[Importer] = Registry("spikecut.importers", "importer", _accept)


def importer_of(path: Path, options: Options) -> Importer:
    """The importer that reads a file.

    Raises
    ------
    BundleError: a file that is missing, and that none knows by its name. InputError: none or several read such a file,
    or an option that the one has no use for.
    """
    known = [IMPORTERS.get(name) for name in IMPORTERS.names()]
    if not known:
        raise InputError("no importer is registered: install spikecut again, its entry points are missing")
    found = [importer for importer in known if importer.reads(path, options)]
    if not found:
        if not path.is_dir():
            check_regular(path, BundleError)
        raise InputError(f"{path}: expected {'; '.join(importer.files for importer in known)}")
    if len(found) > 1:
        raise InputError(
            f"{path}: {' or '.join(importer.files for importer in found)}? give the options of one of them"
        )
    (chosen,) = found
    idle = sorted(set(options) - set(chosen.options))
    if idle:
        owners = [importer.files for importer in known if set(idle) & set(importer.options)]
        whose = f" (of {'; '.join(owners)})" if owners else ""
        raise InputError(f"{flags(idle)}{whose}: no use for {chosen.files}; leave out {flags(idle)}")
    if not path.is_dir():
        check_regular(path, BundleError)
    return chosen


def read_network(path: Path, options: Options) -> ImportedNetwork:
    """What the importer that reads this file makes of it; see importer_of and Importer.read for what is raised."""
    return replace(importer_of(path, options).read(path, options), source=path)


def flags(names: Collection[str]) -> str:
    """Options as the user writes them: "--dt, --reset-order"."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
