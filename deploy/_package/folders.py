"""Folders of results: written whole, and replaced only where they hold an earlier result of the same kind alone.

An earlier result and the new one change places in one step of the file system, so that at whatever moment the process
is killed the one or the other is there, whole. Where the system has no such step (macOS, some network file systems),
the earlier one stands for a moment beside its place as NAME.spikecut-earlier; the next command that writes to this
place puts it back first, and one that reads from it says where it is.
"""

import ctypes
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from spikecut.errors import InputError
from spikecut.files import read_json, reason, synchronise, temporary_beside
from spikecut.locks import only_writer

HALF_WRITTEN = ".spikecut.*.part"
"""Temporary names of spikecut.files: what a killed process may have left."""


@dataclass(frozen=True)
class FolderKind:
    """What one command leaves in a folder.

    Attributes
    ----------
    name: in words, "run". mark: the JSON file by which such a folder is known. is_ours: whether the mark's value is.
    entries: everything that may be in it, relative to it, folders too; * stands for any characters.
    """

    name: str
    mark: str
    is_ours: Callable[[Any], bool]
    entries: tuple[str, ...]

    def marks(self, folder: Path) -> bool:
        """Whether a folder holds a result of this kind."""
        with suppress(InputError):
            return self.is_ours(read_json(folder / self.mark))
        return False


def check_folder(path: Path, kind: FolderKind, overwrite: bool) -> Path:
    """Where a result may be written, as an absolute path without links.

    Raises InputError unless the folder is absent, empty, or, with `overwrite`, an earlier result of this kind with
    nothing else in it.
    """
    try:
        target = path.expanduser().resolve()
    except (ValueError, RuntimeError) as error:  # a null byte; no such home, or a loop of links
        raise InputError(f"cannot write the {kind.name} to {path}: {error}; choose another folder") from error
    with _in_one_line(target, kind):
        if not target.name:
            raise InputError(f"cannot write the {kind.name} to {target}: choose a folder below it")
        _put_back(target)
        if not target.exists():
            return target
        if not target.is_dir():
            raise InputError(f"{target} is a file: choose a folder for the {kind.name}")
        if Path.cwd().is_relative_to(target):
            raise InputError(f"{target} is the working folder, or above it: choose a folder below it")
        if any(target.iterdir()):
            _check_content(target, kind, overwrite)
        return target


def _check_content(target: Path, kind: FolderKind, overwrite: bool) -> None:
    if not kind.marks(target):
        raise InputError(f"{target} is not empty and holds no spikecut {kind.name}: choose another folder")
    if not overwrite:
        raise InputError(f"{target} holds an earlier {kind.name}: choose another folder, or --overwrite")
    check_entries(target, kind.entries, kind.name)


def check_entries(folder: Path, known: tuple[str, ...], what: str) -> None:
    """Raise InputError, naming them, if a folder holds files or folders that match none of `known`."""
    found = sorted(entry.relative_to(folder).as_posix() for entry in folder.rglob("*"))
    foreign = [name for name in found if not _is_known(name, known)]
    if foreign:
        named = ", ".join(foreign[:5]) + (f" and {len(foreign) - 5} more" if len(foreign) > 5 else "")
        raise InputError(f"{folder} also holds {named}, which no {what} wrote: move that away first")


def _is_known(name: str, known: tuple[str, ...]) -> bool:
    last = name.rsplit("/", 1)[-1]
    alike = (pattern for pattern in known if pattern.count("/") == name.count("/"))  # a * of fnmatch takes in any /
    return fnmatchcase(last, HALF_WRITTEN) or any(fnmatchcase(name, pattern) for pattern in alike)


@contextmanager
def replacing_folder(path: Path, kind: FolderKind, overwrite: bool) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place at the end; removed if anything goes wrong.

    Raises InputError if the folder may not be replaced (see check_folder), cannot be written, or is being written.
    """
    target = check_folder(path, kind, overwrite)
    with only_writer(target, kind.name):
        part = temporary_beside(target)
        try:
            with _in_one_line(target, kind):
                part.mkdir()
                with _remaining(part, kind):
                    yield part
                check_folder(target, kind, overwrite)  # again: it may have taken hours
                for entry in (*part.rglob("*"), part):
                    synchronise(entry)
                _swap(part, target)
                synchronise(target.parent)
        finally:  # after the swap it is the earlier result, which has changed places with it
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _remaining(part: Path, kind: FolderKind) -> Iterator[None]:
    """InputError if the folder was removed meanwhile: the next file that is written makes it again, all but empty."""
    handle = os.open(part, os.O_RDONLY)
    try:
        yield
        if not os.path.samestat(os.fstat(handle), os.stat(part)):
            raise InputError(f"{part} was removed while the {kind.name} was written there: run it again")
    finally:
        os.close(handle)


def earlier_of(target: Path) -> Path:
    """Where the earlier result of a folder stands while it is replaced on a system that cannot do so in one step."""
    return target.with_name(f"{target.name}.spikecut-earlier")


def _put_back(target: Path) -> None:
    """Undo the half of a replacement, at which a process was killed."""
    earlier = earlier_of(target)
    if not os.path.lexists(earlier):
        return
    if os.path.lexists(target):
        raise InputError(f"{earlier} holds an earlier result, set aside by a process that was killed: move it away")
    os.replace(earlier, target)


def _swap(part: Path, target: Path) -> None:
    """Put the finished folder in the target's place; an earlier one is under the name `part` afterwards."""
    if not target.exists():
        os.replace(part, target)
        return
    if _exchange(part, target):
        return
    earlier = earlier_of(target)
    os.replace(target, earlier)
    try:
        os.replace(part, target)
    except BaseException:
        os.replace(earlier, target)
        raise
    os.replace(earlier, part)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change their names in one step; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    working_folder, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if rename(working_folder, os.fsencode(one), working_folder, os.fsencode(other), exchange) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), str(other))


@contextmanager
def _in_one_line(path: Path, kind: FolderKind) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write the {kind.name} to {path}: {reason(error)}; choose another folder") from error
