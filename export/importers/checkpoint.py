"""Checkpoints of `spikecut train`."""

from pathlib import Path

from spikecut.export.importers.base import ImportedNetwork, Options


class CheckpointImporter:
    """A safetensors file with its recipe, which tells data, horizon and input."""

    name = "checkpoint"
    files = "a checkpoint of `spikecut train` (.safetensors)"
    options = ("dataset",)

    def reads(self, path: Path, options: Options) -> bool:
        """A safetensors file, of which the user says nothing else."""
        return path.suffix == ".safetensors" and not {"slayer", "spec"} & set(options)

    def read(self, path: Path, options: Options) -> ImportedNetwork:
        """CheckpointError, see load_checkpoint."""
        from spikecut.models.checkpoint import load_checkpoint  # torch

        network, recipe = load_checkpoint(path)
        return ImportedNetwork(path, network=network, input_shape=tuple(network.input_shape), trained=recipe)
