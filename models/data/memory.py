"""How much memory samples may take: checked before any is taken, and told with the remedy."""

from pathlib import Path

from spikecut import memory
from spikecut.errors import DataError

MAXIMUM_BYTES = 2**35
MOST_PACKED = 1100  # of zlib, which packs at most 1032 bytes into one
PACKED_FREELY = 2**28


def check_memory(name: str | Path, needed: int) -> None:
    """DataError if samples need more bytes than are read at most, or than this machine has free."""
    if needed > MAXIMUM_BYTES:
        raise DataError(f"{name}: its samples need {needed} bytes, the limit is {MAXIMUM_BYTES}: give fewer samples")
    memory.check_memory(needed, f"{name}: its samples", "give fewer samples", DataError)


def check_stored(name: str, claimed: int, stored: int) -> None:
    """DataError if an array claims far more bytes than its file can hold compressed: most were never written."""
    if claimed > PACKED_FREELY and claimed > MOST_PACKED * stored:
        raise DataError(f"{name} claims {claimed} bytes, but {stored} are stored: write all samples, or fewer")
