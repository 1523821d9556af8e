"""State dicts of lava-dl's SLAYER blocks."""

from pathlib import Path
from typing import TYPE_CHECKING

from spikecut.errors import InputError
from spikecut.export.importers.base import ImportedNetwork, Options, Recipe
from spikecut.export.network.arrays import Shape
from spikecut.files import sha256

if TYPE_CHECKING:  # torch is imported where a network is read
    from torch import nn

BLOCKS = "lava.lib.dl.slayer.block."


class SlayerImporter:
    """A state dict and the blocks that it belongs to, docs/slayer.md. What slayer computes is exact as it is."""

    name = "slayer"
    files = "a state dict of lava-dl's blocks, with --slayer BLOCKS.yaml"
    options = ("slayer", "dataset", "horizon", "encoding")

    def reads(self, path: Path, options: Options) -> bool:
        """Whatever file the user names blocks for."""
        return "slayer" in options and not path.is_dir()

    def read(self, path: Path, options: Options) -> ImportedNetwork:
        """InputError without a data set or horizon; see read_spec and load_slayer."""
        from spikecut.models.slayer.spec import read_spec  # torch
        from spikecut.models.slayer.state_dict import load_slayer
        from spikecut.models.torch_files import read_tensors

        if "dataset" not in options or "horizon" not in options:
            raise InputError(f"{path}: a state dict names neither data nor horizon: give --dataset and --horizon")
        build = read_spec(options["slayer"])
        network = load_slayer(read_tensors(path), build=build)
        details = {"file": path.name, "sha256": sha256(path), "spec": build.model_dump()}
        recipe = Recipe("slayer", "bernoulli", details)
        return ImportedNetwork(path, network=network, input_shape=tuple(network.input_shape), recipe=recipe)


def holds_blocks(module: object) -> bool:
    """Whether a torch module holds blocks of slayer's."""
    parts = getattr(module, "modules", None)
    return parts is not None and any(type(part).__module__.startswith(BLOCKS) for part in parts())


def import_blocks(module: "nn.Module", shape: Shape) -> ImportedNetwork:
    """A module of slayer's blocks, whose own forward is the witness; shape: of an input frame. See load_slayer."""
    from spikecut.models.slayer.state_dict import load_slayer  # torch

    network = load_slayer(module, shape)
    recipe = Recipe("slayer", "bernoulli", {"class": type(module).__qualname__})
    return ImportedNetwork(Path(type(module).__qualname__), network=network, input_shape=shape, recipe=recipe)
