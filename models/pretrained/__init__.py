"""Trained networks that come with spikecut, each with a card; the weights of synapses are stored as float16."""

from pathlib import Path

from spikecut.errors import InputError
from spikecut.files import check_regular, read_json, read_text, sha256

FOLDER = Path(__file__).parent
HASHES = "sha256.json"
"""SHA-256 of every file beside it, which scripts/ready.py writes."""


def ready_names() -> list[str]:
    """Names of the checkpoints, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def ready_checkpoint(name: str) -> Path:
    """The checkpoint's file. InputError for an unknown name, or a file that is not the one that was published."""
    if name not in ready_names():
        raise InputError(
            f"zoo:{name} is unknown: choose one of {', '.join(ready_names()) or 'none, the package lacks them'}"
        )
    return _unchanged(f"{name}.safetensors")


def ready_card(name: str) -> str:
    """The card, in Markdown: data, recipe, accuracies, and what the network is not. InputError as ready_checkpoint."""
    ready_checkpoint(name)
    return read_text(_unchanged(f"{name}.md"))


def _unchanged(name: str) -> Path:
    """A file of the package, whose hash is the published one."""
    path, hashes = FOLDER / name, read_json(FOLDER / HASHES)
    check_regular(path)
    if not isinstance(hashes, dict) or hashes.get(name) != sha256(path):
        raise InputError(f"{path}: changed or damaged: its hash does not match; install spikecut again")
    return path
