"""Trained networks that come with spikecut, each with a card; the weights of synapses are stored as float16."""

from pathlib import Path

from spikecut.errors import InputError

FOLDER = Path(__file__).parent


def ready_names() -> list[str]:
    """Names of the checkpoints, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def ready_checkpoint(name: str) -> Path:
    """The checkpoint's file. InputError for an unknown name."""
    if name not in ready_names():
        raise InputError(
            f"zoo:{name} is unknown: choose one of {', '.join(ready_names()) or 'none, the package lacks them'}"
        )
    return FOLDER / f"{name}.safetensors"


def ready_card(name: str) -> str:
    """The card, in Markdown: data, recipe, accuracies, and what the network is not. InputError for an unknown name."""
    return ready_checkpoint(name).with_suffix(".md").read_text(encoding="utf-8")
