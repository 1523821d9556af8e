"""One writer at a time: a lock beside what is written, held by the process until it is done.

The lock is the system's own on a hidden file, so that it ends with the process, however that ends: what a killed one
has left stands in nobody's way. The file goes when the lock does. Who has it removes what killed ones left half
written.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from filelock import FileLock, Timeout

from spikecut.errors import InputError
from spikecut.files import name_digest, reason, remove_half_written

_HELD: ContextVar[frozenset[Path]] = ContextVar("locks of this thread", default=frozenset())


def lock_file(target: Path) -> Path:
    """The hidden file of a target's lock, under a name that counts as half written where it was left behind."""
    return target.with_name(f".spikecut.lock-{name_digest(target)}.part")


@contextmanager
def only_writer(path: Path, what: str, *beside: Path) -> Iterator[None]:
    """Keep all others from writing a file or folder meanwhile; what: it is, in words.

    beside: files that only whoever has this lock writes.

    In one thread it may be entered again. Raises InputError at once where another process, or another thread, writes
    there, or where no file can be made beside it.
    """
    try:
        target = path.expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot write the {what} to {path}: {error}; choose another --out") from error
    if not target.name:
        raise InputError(f"{path} is the root of the file system: choose another --out")
    if target in _HELD.get():
        yield
        return
    made: list[Path] = []
    lock = FileLock(lock_file(target), timeout=0)
    try:
        make_parents(target.parent, made)
        lock.acquire()
    except Timeout as error:
        remove_parents(made)
        raise InputError(
            f"{target}: another spikecut process is writing there: wait until it is done, or choose another --out"
        ) from error
    except (OSError, ValueError) as error:
        remove_parents(made)
        raise InputError(f"cannot write the {what} to {target}: {reason(error)}; choose another --out") from error
    held = _HELD.set(_HELD.get() | {target})
    try:
        for written in (target, *beside):
            remove_half_written(written)
        yield
    finally:
        _HELD.reset(held)
        with suppress(OSError):
            lock_file(target).unlink()  # while it is held: who waits for this file finds it gone, and makes another
        lock.release()
        remove_parents(made)


def make_parents(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it, noting each one made, from the top."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(exist_ok=True)
        made.append(parent)


def remove_parents(made: list[Path]) -> None:
    """Remove the folders that were made, but for those that hold something."""
    for parent in reversed(made):
        with suppress(OSError):
            parent.rmdir()
