"""The seeded mutator: for each kind of file, groups of mutations."""

import random
from collections.abc import Callable
from pathlib import Path

from hostile.mutate_archives import ARCHIVES
from hostile.mutate_bytes import BYTES
from hostile.mutate_hdf5 import HDF5
from hostile.mutate_media import MEDIA
from hostile.mutate_text import TEXTS

Mutator = Callable[[Path, random.Random], None]
OWN: dict[str, dict[str, tuple[Mutator, ...]]] = {"bytes": {}, **TEXTS, **HDF5, **ARCHIVES, **MEDIA}
GROUPS = ("bytes", "links", "fields", "syntax", "shapes and types", "containers", "code", "bombs")
RARE = {"links": 0.06, "bombs": 0.04}
"""Shares of what is the same for every file, or slow; what remains is shared by the others, bytes at least a third."""
TRIES = 20


def groups_of(kind: str) -> dict[str, tuple[Mutator, ...]]:
    """Group → mutations of a kind of file."""
    found = {name: (*BYTES.get(name, ()), *OWN[kind].get(name, ())) for name in GROUPS}
    return {name: mutators for name, mutators in found.items() if mutators}


def mutate(path: Path, kind: str, rng: random.Random) -> tuple[str, str]:
    """Change a sound file; the group of the mutation, and its name."""
    sound = path.read_bytes()
    groups = groups_of(kind)
    for _ in range(TRIES):
        drawn = next((name for name, share in RARE.items() if name in groups and rng.random() < share), None)
        group = drawn or rng.choice([name for name in groups if name not in RARE])
        mutator = rng.choice(groups[group])
        try:
            mutator(path, rng)
        except (ValueError, TypeError, KeyError, OSError, RuntimeError, OverflowError, IndexError, AttributeError):
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                path.unlink()
            path.write_bytes(sound)  # a library will not write such a file
            continue
        if path.is_symlink() or not path.is_file() or path.stat().st_size != len(sound) or path.read_bytes() != sound:
            return group, mutator.__name__
    path.write_bytes(sound + b"\0")
    return "bytes", "insert"
