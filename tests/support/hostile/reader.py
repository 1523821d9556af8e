"""What is mutated: one file of those that a command reads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """A file, and the cheapest command that reads it whole.

    Attributes
    ----------
    name: for the table. folder: sound files, copied for every mutant. target: the file in it that is mutated.
    kind: what it is: "json", "yaml", "toml", "hdf5", "npz", "torch", "safetensors", "image", "parquet", "bytes".
    command: its arguments, run in the copy. needs: entries of `folder` that are copied; empty: all.
    protected: a hash stands for it, so that other results than those of the sound file are a defect.
    tells: a refusal may follow other lines: problems, what a NIR file holds, what was taken from spikecut.toml.
    sealed: makes the hashes of a mutant right again in its folder, as somebody would who means harm.
    """

    name: str
    folder: Path
    target: str
    kind: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    protected: bool = False
    tells: bool = False
    sealed: Callable[[Path], None] | None = None
