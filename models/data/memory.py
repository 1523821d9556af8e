"""How much memory samples may take: checked before any is taken, and told with the remedy."""

import os
from pathlib import Path

from spikecut.errors import DataError

MAXIMUM_BYTES = 2**35
MOST_PACKED = 1100  # of zlib, which packs at most 1032 bytes into one
PACKED_FREELY = 2**28


def check_memory(name: str | Path, needed: int) -> None:
    """DataError if samples need more bytes than are read at most, or than this machine has free."""
    if needed > MAXIMUM_BYTES:
        raise DataError(f"{name}: its samples need {needed} bytes, the limit is {MAXIMUM_BYTES}: give fewer samples")
    if (free := available_bytes()) is not None and needed > free:
        raise DataError(f"{name}: its samples need {needed} bytes, {free} are free: give fewer samples, or more memory")


def check_stored(name: str, claimed: int, stored: int) -> None:
    """DataError if an array claims far more bytes than its file can hold compressed: most were never written."""
    if claimed > PACKED_FREELY and claimed > MOST_PACKED * stored:
        raise DataError(f"{name} claims {claimed} bytes, but {stored} are stored: write all samples, or fewer")


def available_bytes() -> int | None:
    """Memory that programs can take now without swapping, on Linux; None where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
