"""Where a case works: a disk and a shared memory of its own, which can be full, where the system lets one mount them.

In a namespace of its own a process may mount; what it mounts nobody else sees, and it is gone with the last process in
it. Where there is none (no Linux, no right to it), the limit on the size of files stands for a disk that is full.
"""

import ctypes
import os
import resource
import shutil
from collections.abc import Iterable
from pathlib import Path

NEW_MOUNTS, NEW_USER = 0x20000, 0x10000000
RECURSIVE, PRIVATE = 0x4000, 0x40000
DISK_MIB, SHARED_MIB = 64, 16
SHARED = Path("/dev/shm")
LIMITED = 1024
"""Bytes of the largest file, where a limit stands for the full disk: what is said in the end has room."""
FILLER = ".filler"


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)


def separate() -> bool:
    """Take this process, and all that it forks, into a namespace of its own with an empty /dev/shm; whether it can."""
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare", NEW_MOUNTS | (0 if user == 0 else NEW_USER))
        if user != 0:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        _call("mount", b"none", b"/", None, RECURSIVE | PRIVATE, None)
        _mount(SHARED, SHARED_MIB)
    except (OSError, AttributeError):
        return False
    return True


def _mount(folder: Path, mib: int) -> None:
    _call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={mib}m".encode())


class Disk:
    """A folder that can be full; mounted: a disk of its own, else a plain folder."""

    def __init__(self, folder: Path, mounted: bool) -> None:
        self.folder, self.mounted = folder, mounted

    def renew(self) -> None:
        """Empty it."""
        self.remove()
        self.folder.mkdir(parents=True)
        if self.mounted:
            _mount(self.folder, DISK_MIB)

    def remove(self) -> None:
        """Remove it."""
        if self.mounted and self.folder.exists():
            _call("umount2", os.fsencode(self.folder), 2)  # as soon as nobody is in it
        shutil.rmtree(self.folder, ignore_errors=True)

    def fill(self, pids: Iterable[int]) -> None:
        """Leave no room; pids: of the processes for which a limit stands for it."""
        _fill(self.folder, self.mounted, pids)

    def clear(self) -> None:
        """There is room again."""
        (self.folder / FILLER).unlink(missing_ok=True)


def _fill(folder: Path, mounted: bool, pids: Iterable[int]) -> None:
    if not mounted:
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (LIMITED, LIMITED))
        return
    with (folder / FILLER).open("wb") as file:
        free = os.statvfs(folder)
        os.posix_fallocate(file.fileno(), 0, max(1, free.f_bfree * free.f_frsize))


def fill_shared(mounted: bool, pids: Iterable[int]) -> None:
    """Leave no room in /dev/shm; where it is everybody's, a limit on the size of files stands for it."""
    _fill(SHARED, mounted, pids)


def clear_shared() -> None:
    """There is room again."""
    (SHARED / FILLER).unlink(missing_ok=True)


def empty_shared() -> None:
    """Nothing of an earlier case is left in a /dev/shm of one's own."""
    for path in SHARED.iterdir():
        path.unlink()


def shared_entries() -> set[str]:
    """What lies in /dev/shm."""
    return {path.name for path in SHARED.iterdir()} if SHARED.is_dir() else set()
