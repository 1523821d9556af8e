"""State dicts of plain ReLU networks."""

from pathlib import Path

from spikecut.errors import InputError
from spikecut.export.importers.base import ImportedNetwork, Options
from spikecut.files import sha256

TIMESTEPS = 16
"""The horizon that a network is converted for, where none is given."""
SUFFIXES = (".safetensors", ".pt", ".pth")


class ReluImporter:
    """A state dict and the layers that it belongs to, docs/conversion.md; thresholds are balanced on a data set."""

    name = "relu"
    files = "a state dict of a ReLU network, with --spec SPEC.json (of convert and inspect)"
    options = ("spec", "dataset", "horizon", "percentile")

    def reads(self, path: Path, options: Options) -> bool:
        """A file of tensors that the user names layers for."""
        return "spec" in options and path.suffix in SUFFIXES

    def read(self, path: Path, options: Options) -> ImportedNetwork:
        """The spiking network. InputError without layers or a data set; see read_relu and convert_relu."""
        from spikecut.export.importers.relu import PERCENTILE, convert_relu, read_relu, stills  # torch

        network = read_relu(path, options.get("spec"))
        if "dataset" not in options:
            raise InputError("a ReLU network is balanced on samples: give --dataset")
        split = stills(options["dataset"]).calibration
        percentile = options.get("percentile", PERCENTILE)
        converted = convert_relu(network, split.x, split.y, percentile, options.get("horizon", TIMESTEPS))
        return converted.imported(path, {"file": path.name, "sha256": sha256(path)})
