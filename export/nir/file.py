"""A NIR file, distrusted: HDF5 → a tree of plain nodes, every name, type, size and link checked before it is read.

The `nir` package reads whatever it finds: it follows links, recurses without end and checks with `assert`. So files
are read here, without it; the tests compare what both see. Written after the sources of nir 1.0.8.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from spikecut.errors import BundleError
from spikecut.export.hdf5 import open_hdf5, read_dataset, subgroup

Numbers = npt.NDArray[Any]

MAXIMUM_NUMBERS = 2**26  # of all parameters together, 512 MiB as float64
MAXIMUM_NODES = 1024
MAXIMUM_NESTING = 8
MAXIMUM_TEXT = 256
MAXIMUM_OWN_TEXT = 2**24

_CONV = ({"weight", "stride", "padding", "dilation", "groups", "bias"}, {"input_shape"})
_POOL = ({"kernel_size", "stride", "padding"}, set[str]())
_LEAKY = {"tau", "r", "v_leak"}
_CURRENT = {"tau_syn", "tau_mem", "r", "v_leak"}

# The fields of every primitive of NIR 1.0.8: those it must have, and those it may have.
FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "Input": (set(), {"shape"}),  # left out by exporters that do not know it; see complete.py
    "Output": (set(), {"shape"}),
    "Affine": ({"weight", "bias"}, set()),
    "Linear": ({"weight"}, set()),
    "Scale": ({"scale"}, set()),
    "Conv1d": _CONV,
    "Conv2d": _CONV,
    "SumPool2d": _POOL,
    "AvgPool2d": _POOL,
    "Flatten": ({"start_dim", "end_dim"}, {"input_type"}),
    "Delay": ({"delay"}, set()),
    "Threshold": ({"threshold"}, set()),
    "I": ({"r"}, set()),
    "IF": ({"r", "v_threshold"}, {"v_reset"}),
    "LI": (_LEAKY, set()),
    "LIF": (_LEAKY | {"v_threshold"}, {"v_reset"}),
    "CubaLI": (_CURRENT, {"w_in"}),
    "CubaLIF": (_CURRENT | {"v_threshold"}, {"v_reset", "w_in"}),
    "NIRGraph": ({"nodes", "edges"}, set()),
}


@dataclass(frozen=True)
class NirNode:
    """One node as it stands in the file.

    Attributes
    ----------
    name: its name, behind those of the graphs around it: "block/lif".
    kind: the primitive, a key of FIELDS.
    numbers: its numeric fields, finite, in the file's own type. texts: a padding given as a word.
    nodes, edges: of a NIRGraph.
    own: what spikecut wrote into the metadata: the text "spikecut", the array "delay".
    """

    name: str
    kind: str
    numbers: Mapping[str, Numbers] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple["NirNode", ...] = ()
    edges: tuple[tuple[str, str], ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """Its name inside its own graph."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def layer(self) -> str:
        """Its name as that of a layer."""
        return self.name.replace("/", ".")


def parse_graph(path: Path) -> NirNode:
    """The graph in a NIR file. Read files through nir_probe.read_graph, which also survives HDF5's own faults.

    Raises
    ------
    BundleError: missing, truncated or foreign; a primitive that NIR 1.0.8 does not have; a field missing, unknown, of
        a wrong type, too large, not finite, or stored outside the file; graphs nested too deep, or inside themselves.
    """
    with open_hdf5(path) as file:
        root = _Reader(path).node(subgroup(file, "node", path), "", (), 0)
    if root.kind != "NIRGraph":
        raise BundleError(f"{path}: holds a single {root.kind}, not a graph; put it into a nir.NIRGraph")
    return root


class _Reader:
    """Walks a file once, and counts what it has taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.numbers = 0
        self.nodes = 0
        self.seen: set[int] = set()

    def node(self, group: h5py.Group, name: str, ancestors: tuple[int, ...], nesting: int) -> NirNode:
        """A node and, of a graph, all below it. ancestors: file addresses of the graphs around it."""
        where = f"{self.path}: node {name}" if name else f"{self.path}: the graph"
        self.nodes += 1
        if self.nodes > MAXIMUM_NODES:
            raise BundleError(f"{self.path}: more than {MAXIMUM_NODES} nodes")
        address = int(h5py.h5o.get_info(group.id).addr)
        if address in ancestors:
            raise BundleError(f"{where} contains itself")
        if address in self.seen:
            raise BundleError(f"{where} is another node's data under a second name")
        self.seen.add(address)
        if nesting > MAXIMUM_NESTING:
            raise BundleError(f"{where}: graphs are nested more than {MAXIMUM_NESTING} deep")
        kind = self._text(group, "type")
        if kind not in FIELDS:
            raise BundleError(f"{where}: {kind!r} is no primitive of NIR 1.0.8")
        required, optional = FIELDS[kind]
        found = set(group) - {"type", "metadata"}
        if kind in ("Input", "Output") and "shape" in found and self._is_empty(group, "shape"):
            found.remove("shape")
        for key in sorted(required - found):
            raise BundleError(f"{where} ({kind}): the field {key} is missing")
        for key in sorted(found - required - optional):
            raise BundleError(f"{where} ({kind}): the field {key!r} is unknown to NIR 1.0.8")
        own = self._own(group)
        if kind == "NIRGraph":
            nodes = self._inner(subgroup(group, "nodes", self.path), name, (*ancestors, address), nesting)
            return NirNode(name, kind, nodes=nodes, edges=self._edges(group), own=own)
        texts = {"padding": self._text(group, "padding")} if self._is_text(group, "padding") else {}
        numbers = {key: self._numbers(group, key, where) for key in sorted(found - set(texts))}
        return NirNode(name, kind, numbers, texts, own=own)

    def _inner(self, group: h5py.Group, name: str, ancestors: tuple[int, ...], nesting: int) -> tuple[NirNode, ...]:
        if len(group) > MAXIMUM_NODES:
            raise BundleError(f"{self.path}: more than {MAXIMUM_NODES} nodes")
        inside = f"{name}/" if name else ""
        for key in group:
            if not isinstance(key, str) or len(key) > MAXIMUM_TEXT or not key.isprintable():
                raise BundleError(f"{self.path}: a node's name is not a short, printable text")
        return tuple(self.node(subgroup(group, key, self.path), inside + key, ancestors, nesting + 1) for key in group)

    def _edges(self, group: h5py.Group) -> tuple[tuple[str, str], ...]:
        dataset = read_dataset(group, "edges", self.path)
        if dataset.size == 0:
            return ()
        if dataset.ndim != 2 or dataset.shape[1] != 2 or not _holds_text(dataset):
            raise BundleError(f"{self.path}: {group.name}/edges is not a list of pairs of names")
        if dataset.shape[0] > 2 * MAXIMUM_NODES:
            raise BundleError(f"{self.path}: more than {2 * MAXIMUM_NODES} edges")
        # Row by row: entries of a file made to harm may all point at one huge text.
        rows = (dataset[row] for row in range(dataset.shape[0]))
        return tuple((self._decoded(row[0], dataset), self._decoded(row[1], dataset)) for row in rows)

    def _numbers(self, group: h5py.Group, key: str, where: str) -> Numbers:
        dataset = read_dataset(group, key, self.path)
        if dataset.dtype.kind not in "fiub" or dataset.dtype.itemsize > 8:
            raise BundleError(f"{where}: {key} is of type {dataset.dtype}, expected numbers of at most 64 bits")
        self.numbers += dataset.size
        if self.numbers > MAXIMUM_NUMBERS:
            raise BundleError(f"{self.path}: claims more than {MAXIMUM_NUMBERS} parameters")
        values = np.asarray(dataset[()])
        if not np.isfinite(values).all():
            raise BundleError(f"{where}: {key} holds a NaN or an infinity")
        return values

    def _own(self, group: h5py.Group) -> dict[str, Any]:
        """Metadata belongs to whoever wrote it; spikecut reads only its own."""
        if "metadata" not in group:
            return {}
        metadata = subgroup(group, "metadata", self.path)
        own: dict[str, Any] = {}
        if "spikecut" in metadata and self._is_text(metadata, "spikecut"):
            own["spikecut"] = self._text(metadata, "spikecut", MAXIMUM_OWN_TEXT)
        if "spikecut_delay" in metadata:
            own["delay"] = self._numbers(metadata, "spikecut_delay", f"{self.path}: {group.name}")
        return own

    def _is_empty(self, group: h5py.Group, key: str) -> bool:
        """Whether a dataset holds nothing: None, as HDF5 stores it, or a list without entries."""
        found = group[key] if isinstance(group.get(key, getlink=True), h5py.HardLink) else None
        return isinstance(found, h5py.Dataset) and (found.shape is None or found.shape == (0,))

    def _is_text(self, group: h5py.Group, key: str) -> bool:
        return key in group and _holds_text(read_dataset(group, key, self.path))

    def _text(self, group: h5py.Group, key: str, maximum: int = MAXIMUM_TEXT) -> str:
        dataset = read_dataset(group, key, self.path)
        if not _holds_text(dataset) or dataset.size != 1:
            raise BundleError(f"{self.path}: {dataset.name} is not a text")
        return self._decoded(np.asarray(dataset[()]).reshape(-1)[0], dataset, maximum)

    def _decoded(self, value: Any, dataset: h5py.Dataset, maximum: int = MAXIMUM_TEXT) -> str:
        if not isinstance(value, bytes) or len(value) > maximum:
            raise BundleError(f"{self.path}: {dataset.name} holds a text of more than {maximum} bytes, or none")
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BundleError(f"{self.path}: {dataset.name} holds a text that is not UTF-8") from error


def _holds_text(dataset: h5py.Dataset) -> bool:
    return h5py.check_string_dtype(dataset.dtype) is not None or dataset.dtype.kind == "S"
