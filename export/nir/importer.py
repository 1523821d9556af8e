"""NIR files: of other tools, node by node, and those that spikecut wrote, which hold its integers."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spikecut.errors import InputError
from spikecut.export.importers.base import ImportedNetwork, Options, PartReport, Recipe, flags
from spikecut.export.nir.discretisation import discretisation
from spikecut.files import sha256
from spikecut.models.data import load_dataset

TIME = ("framework", "dt", "reset", "reset_order", "spikes")
FLOATS = (*TIME, "dataset", "horizon", "encoding", "strict", "layers")


class NirImporter:
    """A graph in HDF5; the time and the reset that it does not tell come from the framework or the user."""

    name = "nir"
    files = "a NIR file (.nir)"
    options = FLOATS

    def reads(self, path: Path, options: Options) -> bool:
        """A file named .nir."""
        return path.suffix == ".nir" and not path.is_dir()

    def read(self, path: Path, options: Options) -> ImportedNetwork:
        """The chain of stages and its witness; or the integers of a file of spikecut.

        Raises
        ------
        BundleError: see read_graph. UnsupportedError: a graph that is no chain. InputError: options of other tools'
        files for one of spikecut's.
        """
        from spikecut.export.nir.write import holds_integers, read_integers

        if holds_integers(path):
            given = [key for key in FLOATS if key in options]
            if given:
                raise InputError(
                    f"{path} holds the integers that spikecut wrote, not floats; spikecut.load reads it as it is: "
                    f"leave out {flags(given)}, which are of .nir files that another tool wrote"
                )
            integers = read_integers(path)
            return ImportedNetwork(path, integers, input_shape=integers.input_shape)
        from spikecut.export.nir.read import read_nir  # torch

        horizon = options.get("horizon", 1)
        time = discretisation(*(options.get(key) for key in TIME))
        known = "dataset" in options
        found = read_nir(
            path,
            time,
            (lambda: load_dataset(options["dataset"], frames=horizon).shape) if known else None,
            _first(options.get("layers")),
        )
        nodes: list[dict[str, Any]] = [asdict(node) for node in found.nodes]
        details = {"file": path.name, "sha256": sha256(path), "discretisation": asdict(time), "nodes": nodes}
        details |= {"layers": options["layers"]} if "layers" in options else {}
        parts = (
            PartReport(node.node, node.kind, node.shape, node.exactness, node.detail, node.layer)
            for node in found.nodes
        )
        return ImportedNetwork(
            path,
            network=found.network,
            witness=found.witness,
            input_shape=found.input_shape,
            assumed=found.assumed,
            report=tuple(parts),
            refusal=found.refusal,
            recipe=Recipe("nir", "direct", details, approximate=True),
        )


def _first(layers: str | None) -> int | None:
    """How many nodes ":B" takes; InputError for another part."""
    if layers is None:
        return None
    found = re.fullmatch(r"0?:(\d{1,4})", layers)
    if found is None:
        raise InputError(f"--layers {layers}: of a NIR file the first B nodes are taken, :B, as `inspect` lists them")
    return int(found[1])
