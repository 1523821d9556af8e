"""Refusing what the machine's memory cannot hold, before it is allocated."""

import os
from pathlib import Path

from spikecut.errors import InputError, SpikecutError

MEMINFO = Path("/proc/meminfo")
GIB = 2**30


def available_bytes() -> int:
    """Bytes that may still be allocated, by the system's own estimate; all of the memory where it gives none.

    Limits that a container sets below the machine's own are not seen.
    """
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_memory(need: int, what: str, remedy: str, error: type[SpikecutError] = InputError) -> None:
    """`error` unless so many bytes are available; what needs them, in words, and what to do about it."""
    available = available_bytes()
    if need > available:
        raise error(f"{what} need {need / GIB:,.1f} GiB of memory, {available / GIB:,.1f} GiB are available: {remedy}")
