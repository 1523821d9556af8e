"""Which processes belong to a test and what they have in shared memory: others may be at work beside the tests."""

import os
from pathlib import Path

FOLDER = Path("/dev/shm")
GUARD_S = 1200  # a test that waits longer than this waits in vain, on any machine


def state(pid):
    """Fields of /proc/PID/stat from the state on; None if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def alive(pid):
    """Whether a process runs; one that only waits to be reaped does not."""
    fields = state(pid)
    return fields is not None and fields[0] != "Z"


def used_by(pids):
    """Entries of the shared memory that these processes have mapped."""
    found = set()
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        found |= {Path(line.split()[-1]) for line in lines if str(FOLDER) in line and "(deleted)" not in line}
    return found


def children(pid):
    """Processes that descend from a process, while it lives."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            direct = task.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in map(int, direct.split()):
            found += [child, *children(child)]
    return found


def session(leader):
    """Living processes of a session, whoever their parent is by now."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if (fields := state(pid)) and fields[0] != "Z" and int(fields[3]) == leader]


def group():
    """Processes of this process group, which all that the tests start belong to, but Python's resource trackers."""
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            same = os.getpgid(int(folder.name)) == os.getpgid(0)
            helper = b"resource_tracker" in (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if same and not helper and alive(int(folder.name)):
            found.add(int(folder.name))
    return found
