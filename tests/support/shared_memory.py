"""Who uses the machine's shared memory: other programs may be at work beside the tests."""

from pathlib import Path

FOLDER = Path("/dev/shm")


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


def left_behind(before):
    """Entries that came after `before` and that no process uses any more."""
    new = entries() - before
    return new - used_by(path.name for path in Path("/proc").iterdir() if path.name.isdigit()) if new else new


def children(pid):
    """Processes that descend from a process, while it lives."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found
