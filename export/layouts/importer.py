"""State dicts of published repositories, by the name of their layout."""

from pathlib import Path

from spikecut.errors import InputError
from spikecut.export.importers.base import ImportedNetwork, Options
from spikecut.files import sha256
from spikecut.models.data import load_dataset

PERCENTILE = 99.0
SUFFIXES = (".safetensors", ".pt", ".pth", ".th", ".tar", ".ckpt")


class LayoutImporter:
    """A state dict and the name of the published network that it is of; docs/layouts.md."""

    name = "layout"
    files = "a state dict of a published network, with --layout NAME"
    options = ("layout", "dataset", "horizon", "percentile", "encoding", "strict")

    def reads(self, path: Path, options: Options) -> bool:
        """A file of tensors that the user names a layout for."""
        return "layout" in options and path.suffix in SUFFIXES

    def read(self, path: Path, options: Options) -> ImportedNetwork:
        """The spiking network. InputError without a data set or horizon; see import_layout."""
        from spikecut.export.layouts.read import LayoutOptions, import_layout, read_layout  # torch

        network = read_layout(path, options["layout"])
        if "dataset" not in options or "horizon" not in options:
            raise InputError(f"{path} names neither data nor timesteps: give --dataset and --horizon")
        how = LayoutOptions(
            options["dataset"], options["horizon"], options.get("percentile", PERCENTILE), options.get("encoding")
        )
        data = load_dataset(how.dataset, frames=how.timesteps)
        return import_layout(network, data, how, {"file": path.name, "sha256": sha256(path)})
