"""Who uses the machine's shared memory, and which processes belong to the tests: others may be at work beside them."""

import os
import re
from pathlib import Path

FOLDER = Path("/dev/shm")
SEMAPHORE = re.compile(r"sem\.[a-z]+-(\d+)-")


def entries():
    """Everything in shared memory."""
    return set(FOLDER.iterdir())


def used_by(pids):
    """Entries that these processes have mapped."""
    found = set()
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        found |= {Path(line.split()[-1]) for line in lines if str(FOLDER) in line and "(deleted)" not in line}
    return found


def of_a_living_process(entry):
    """Whether it is a semaphore named after a process that lives: semaphores show in no process's maps."""
    named = SEMAPHORE.match(entry.name)
    return named is not None and Path(f"/proc/{named[1]}").exists()


def left_behind(before):
    """Entries that came after `before` and that no process uses any more."""
    new = {entry for entry in entries() - before if not of_a_living_process(entry)}
    return new - used_by(path.name for path in Path("/proc").iterdir() if path.name.isdigit()) if new else new


def children(pid):
    """Processes that descend from a process, while it lives."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def group():
    """Processes of this process group, which all that the tests start belong to, but Python's resource trackers."""
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            same = os.getpgid(int(folder.name)) == os.getpgid(0)
            helper = b"resource_tracker" in (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if same and not helper and state != "Z":
            found.add(int(folder.name))
    return found
