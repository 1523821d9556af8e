"""What can be done to any file: its bytes, and what lies in its place."""

import os
import random
import shutil
from pathlib import Path

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
SECRET = "/etc/hostname"


def flip(path: Path, rng: random.Random) -> None:
    """Change one to a hundred bytes."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 5, 20, 100))):
        if content:
            content[rng.randrange(len(content))] = rng.choice((rng.randrange(256), 0, 0xFF, 0x80))
    path.write_bytes(content)


def flip_head(path: Path, rng: random.Random) -> None:
    """Change bytes near the beginning or the end, where formats keep their tables."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 4)):
        near = rng.randrange(min(len(content), 256)) if content else 0
        if content:
            content[near if rng.random() < 0.6 else -1 - near] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, rng: random.Random) -> None:
    """Cut the file off, also to nothing."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.choice((0, 1, 4, len(content) // 2, max(0, len(content) - 1),
                                           rng.randrange(len(content) + 1)))])  # fmt: skip


def insert(path: Path, rng: random.Random) -> None:
    """Add random bytes, zeros or a line, anywhere."""
    content = path.read_bytes()
    place = rng.choice((0, len(content), rng.randrange(len(content) + 1)))
    added = rng.choice(
        (rng.randbytes(rng.randint(1, 64)), bytes(rng.randint(1, 4096)), b"\n", b"\xef\xbb\xbf", b"\xff")
    )
    path.write_bytes(content[:place] + added + content[place:])


def repeat(path: Path, rng: random.Random) -> None:
    """Repeat a part of it, or all of it."""
    content = path.read_bytes()
    first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    times = rng.choice((1, 2, 50))
    path.write_bytes(
        content * 2 if rng.random() < 0.2 else content[:last] + content[first:last] * times + content[last:]
    )


def remove(path: Path, rng: random.Random) -> None:
    """Take a part out of the middle, or make it zeros."""
    content = path.read_bytes()
    first = rng.randrange(len(content) + 1)
    last = min(len(content), first + rng.choice((1, 2, 8, 64, 512)))
    path.write_bytes(content[:first] + (bytes(last - first) if rng.random() < 0.5 else b"") + content[last:])


def number(path: Path, rng: random.Random) -> None:
    """Write a length or a count that no file has."""
    content = bytearray(path.read_bytes())
    width = rng.choice((2, 4, 8))
    value = rng.choice(NUMBERS) & (256**width - 1)
    place = rng.randrange(max(1, len(content) - width))
    content[place : place + width] = value.to_bytes(width, rng.choice(("little", "big")))
    path.write_bytes(content)


def replace(path: Path, rng: random.Random) -> None:
    """Another file in its place: of no format, or of another one."""
    choices = (b"", b"\0" * 100_000, b"\x89HDF\r\n\x1a\n" + bytes(64), b"PK\x05\x06" + bytes(18), b"{}", b"[]", b"null",
               b"\x80\x04.", b"PAR1PAR1", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
               b"\x89PNG\r\n\x1a\n", b"\xff\xfe{\x00}\x00", rng.randbytes(2000), b"#!/bin/sh\ntouch strayed\n",
               b"\n" * 10_000, b"\x1f\x8b\x08" + bytes(30), b"a: &a [*a, *a]", b"0" * 10_000)  # fmt: skip
    path.write_bytes(rng.choice(choices))


def link(path: Path, rng: random.Random) -> None:
    """A link in its place: to itself, a device, a secret, a folder, nothing, or a copy of the file elsewhere."""
    aside = path.with_name(path.name + ".aside")
    shutil.copy(path, aside)
    path.unlink()
    target = rng.choice((path, "/dev/zero", "/dev/stdin", SECRET, "/etc", "/nonexistent", "/proc/self/mem", aside.name,
                         "../" * 20 + "etc/hostname"))  # fmt: skip
    path.symlink_to(target)


def other_kind(path: Path, rng: random.Random) -> None:
    """A pipe, a folder, a sparse file, one that may not be read, or nothing in its place."""
    path.unlink()
    kind = rng.randrange(5)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        with path.open("wb") as file:
            file.truncate(rng.choice((2**20, 2**31 + 5, 2**40)))
    elif kind == 3:
        path.write_bytes(b"")
        path.chmod(0)


BYTES = {"bytes": (flip, flip_head, truncate, insert, repeat, remove, number, replace), "links": (link, other_kind)}
