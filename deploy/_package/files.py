"""Files written whole and read as data: atomic writes, bounded reads of regular files, hashes, JSON.

A file is written under a temporary name beside its own, synchronised to the disk and renamed: it appears whole or not
at all, also after a power cut; folders: spikecut.folders. A file to read must be a regular one of bounded size: a pipe
or a device would block or never end. The temporary names cannot be guessed.
"""

import hashlib
import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from spikecut.errors import InputError, SpikecutError

MAXIMUM_JSON_BYTES = 2**26
MAXIMUM_JSON_DEPTH = 100
LFS = b"version https://git-lfs.github.com/spec/"
LFS_BYTES = 1024
"""What a pointer of Git LFS begins with, and the most that it holds."""


@contextmanager
def replacing(path: Path, temporary: Path | None = None) -> Iterator[Path]:
    """A temporary file beside `path`, renamed to it at the end; removed if anything goes wrong. OSError: as raised.

    temporary: its name, of temporary_beside, for who must know it beforehand.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary or temporary_beside(path)
    try:
        # The system applies the umask; a link that somebody put there is not followed.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        synchronise(temporary)
        os.replace(temporary, path)
        synchronise(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole; OSError as the system gives it."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a file whole, in UTF-8; OSError as the system gives it."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, value: Any, sort_keys: bool = True) -> None:
    """Write JSON data whole; OSError as the system gives it. ValueError for NaN and infinities."""
    text = json.dumps(value, indent=2, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)
    # What UTF-8 lacks, halves of surrogate pairs in the names of files, is written as JSON's own escape.
    write_bytes(path, f"{text}\n".encode("utf-8", "backslashreplace"))


def temporary_beside(path: Path) -> Path:
    """A hidden name in the folder of `path`, short enough for every file system, that nobody can guess."""
    return path.with_name(f".spikecut.{name_digest(path)}-{secrets.token_hex(8)}.part")


def name_digest(path: Path) -> str:
    """What a hidden name beside a file or folder has of the name of that."""
    return hashlib.sha256(path.name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def remove_half_written(path: Path) -> None:
    """Remove what killed processes have left under temporary names of `path`; no other may be writing there."""
    with suppress(OSError):
        for left in path.parent.glob(f".spikecut.{name_digest(path)}-*.part"):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def synchronise(path: Path) -> None:
    """Have the system write a file, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_regular(path: Path, error: type[SpikecutError] = InputError, limit: int | None = None) -> int:
    """Size in bytes of a regular file; `error` for one that is missing, no regular file, or larger than `limit`."""
    try:
        found = path.stat()
    except (OSError, ValueError) as cause:  # ValueError: a null byte in its name
        raise error(f"{path}: {reason(cause)}") from cause
    _check(path, found, error, limit)
    if found.st_size <= LFS_BYTES:
        with suppress(OSError), path.open("rb") as file:  # whoever reads it says why it cannot
            _check_fetched(path, file, error)
    return found.st_size


@contextmanager
def open_regular(path: Path, error: type[SpikecutError] = InputError, limit: int | None = None) -> Iterator[BinaryIO]:
    """A regular file opened to read; `error` as for check_regular, told of the very file that was opened."""
    try:
        # Without O_NONBLOCK the opening of a pipe waits for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as cause:
        raise error(f"{path}: {reason(cause)}") from cause
    try:
        _check(path, os.fstat(handle), error, limit)  # before a folder is taken for a file, which Python refuses
    except SpikecutError:
        os.close(handle)
        raise
    with os.fdopen(handle, "rb") as file:
        _check_fetched(path, file, error)
        yield file


def read_bytes(path: Path, error: type[SpikecutError] = InputError, limit: int = MAXIMUM_JSON_BYTES) -> bytes:
    """The content of a regular file of at most `limit` bytes; `error` otherwise."""
    with open_regular(path, error, limit) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            content = file.read(size + 1)  # as much memory as is asked for here is taken
        except OSError as cause:
            raise error(f"{path}: {reason(cause)}") from cause
    if len(content) != size:
        raise error(f"{path}: changed while it was read")
    return content


def read_text(path: Path, error: type[SpikecutError] = InputError, limit: int = MAXIMUM_JSON_BYTES) -> str:
    """The content of a text file in UTF-8; `error` as for read_bytes, and for other bytes."""
    try:
        return read_bytes(path, error, limit).decode("utf-8")
    except UnicodeDecodeError as cause:
        raise error(f"{path}: not a text in UTF-8 ({cause.reason} at byte {cause.start})") from cause


def read_json(path: Path, error: type[SpikecutError] = InputError, limit: int = MAXIMUM_JSON_BYTES) -> Any:
    """The value of a JSON file; `error` as for read_text, and for what is no JSON or nested too deeply."""
    return parse_json(read_text(path, error, limit), str(path), error)


def parse_json(text: str, name: str, error: type[SpikecutError] = InputError) -> Any:
    """The value of a JSON text; `error`, told with `name`, for what is no JSON, not finite or nested too deeply."""
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError as cause:
        raise error(f"{name}: nested too deeply") from cause
    except ValueError as cause:
        raise error(f"{name}: not a JSON file ({cause})") from cause
    check_depth(value, name, error)
    return value


def _finite(text: str) -> float:
    """A number of JSON; ValueError for NaN, infinities, and what float makes one."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:40]} is no finite number")
    return number


def check_depth(value: Any, name: str, error: type[SpikecutError] = InputError) -> None:
    """`error` for lists and dictionaries nested deeper than anything that spikecut reads: recursion would not end."""
    level = [value]
    for _ in range(MAXIMUM_JSON_DEPTH):
        inside: dict[int, Any] = {}  # by identity: what YAML names again counts once
        for outer in level:
            if isinstance(outer, list | dict):
                inside.update((id(inner), inner) for inner in (outer.values() if isinstance(outer, dict) else outer))
        level = list(inside.values())
        if not level:
            return
    raise error(f"{name}: nested too deeply")


def sha256(path: Path, error: type[SpikecutError] = InputError, limit: int | None = None) -> str:
    """Hash of a regular file's bytes, as hexadecimal digits; `error` if it is missing, too large or cannot be read."""
    digest = hashlib.sha256()
    with open_regular(path, error, limit) as file:
        try:
            while block := file.read(1 << 20):
                digest.update(block)
        except OSError as cause:
            raise error(f"{path}: {reason(cause)}") from cause
    return digest.hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 of JSON data as hexadecimal digits, whatever the order of its keys and its spaces."""
    # As it will be read again: JSON's keys are text, and are sorted as such.
    text = json.dumps(json.loads(json.dumps(value)), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _check(path: Path, found: os.stat_result, error: type[SpikecutError], limit: int | None) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise error(f"{path}: a folder, expected a file")
    if not stat.S_ISREG(found.st_mode):
        raise error(f"{path}: a pipe or a device, expected a regular file")
    if limit is not None and found.st_size > limit:
        raise error(f"{path}: {found.st_size} bytes, at most {limit} are read")


def _check_fetched(path: Path, file: BinaryIO, error: type[SpikecutError]) -> None:
    """`error` for what git-lfs leaves in place of a file that it has not fetched; the file is at its start again."""
    with suppress(OSError):
        start = file.read(len(LFS))
        file.seek(0)
        if start == LFS:
            raise error(f"{path}: a pointer of Git LFS in the file's place: fetch the file itself with `git lfs pull`")


def reason(cause: Exception) -> str:
    """What an operation on a file failed of, in few words."""
    if isinstance(cause, FileNotFoundError):
        return "no such file"
    return (cause.strerror if isinstance(cause, OSError) else None) or str(cause)
