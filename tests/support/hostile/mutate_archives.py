"""Archives: .npz and torch's .pt, their records, headers and pickles; and gzip."""

import gzip
import io
import pickle
import pickletools
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Records = list[tuple[str, bytes]]
NAMES = (
    "../../strayed.npy",
    "/tmp/strayed.npy",
    "..\\strayed",
    "x_test.npy",
    "a" * 600 + ".npy",
    "",
    "\0",
    "C:\\x.npy",
    "x/../y.npy",
    "é.npy",
    "\x1b[31m.npy",
    "constants.pkl",
    "archive/constants.pkl",
    "CONSTANTS.PKL",
)
STRAYED = "strayed"


class Runs:
    """An object whose pickle makes a file when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return open, (STRAYED, "w")


def read(path: Path) -> Records:
    """Names and contents of an archive's records."""
    with zipfile.ZipFile(path) as archive:
        return [(entry.filename, archive.read(entry)) for entry in archive.infolist()]


def write(path: Path, records: Records, method: int = zipfile.ZIP_STORED) -> None:
    """An archive of these records, also where two have one name."""
    with zipfile.ZipFile(path, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in records:
            archive.writestr(zipfile.ZipInfo(name or "empty"), content, method)


def entries(path: Path, rng: random.Random) -> None:
    """Records doubled, renamed, removed, added, reordered, or packed in another way."""
    records = read(path)
    place, act = rng.randrange(len(records)), rng.randrange(7)
    name, content = records[place]
    if act == 0:
        records.append((name, rng.choice((content, content[::-1], b""))))
    elif act == 1:
        records[place] = (rng.choice(NAMES), content)
    elif act == 2:
        del records[place]
    elif act == 3:
        records.append((rng.choice(NAMES), rng.choice((content, b"x", bytes(100)))))
    elif act == 4:
        rng.shuffle(records)
    elif act == 5:
        other = rng.randrange(len(records))
        records[place], records[other] = (name, records[other][1]), (records[other][0], content)
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    write(path, records, method)


def directory(path: Path, rng: random.Random) -> None:
    """Sizes, methods, flags, offsets and checksums in the archive's own tables."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 3)):
        sign = rng.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
        found = [place for place in range(len(content)) if content[place : place + 4] == sign]
        field, width = rng.choice(
            (
                (6, 2),
                (8, 2),
                (10, 2),
                (14, 4),
                (16, 4),
                (18, 4),
                (20, 4),
                (22, 4),
                (24, 4),
                (26, 2),
                (28, 2),
                (30, 2),
                (42, 4),
            )
        )
        if found:
            place = rng.choice(found) + field
            value = rng.choice((0, 1, 8, 9, 12, 14, 95, 99, 2**16 - 1, 2**31, 2**32 - 1)) & (256**width - 1)
            content[place : place + width] = value.to_bytes(width, "little")
    path.write_bytes(content)


def inside(path: Path, rng: random.Random) -> None:
    """The bytes of one record, with the archive's checksums made anew."""
    records = read(path)
    place = rng.randrange(len(records))
    name, content = records[place]
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 10))):
        if changed:
            changed[rng.randrange(len(changed) if rng.random() < 0.5 else min(len(changed), 128))] = rng.randrange(256)
    cut = rng.choice((len(changed), len(changed), len(changed) // 2, 0, len(changed) - 1))
    records[place] = (name, bytes(changed[: max(0, cut)]) + (b"" if rng.random() < 0.8 else bytes(50)))
    write(path, records)


def bomb(path: Path, rng: random.Random) -> None:
    """A record whose few bytes become a gigabyte."""
    records = read(path)
    place = rng.randrange(len(records))
    content = records[place][1]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, (each, kept) in enumerate(records):
            with archive.open(zipfile.ZipInfo(each), "w", force_zip64=True) as file:
                file.write(kept if number != place else b"")
                if number == place:
                    file.write(_npy(f"({2**30},)", "|u1") if rng.random() < 0.5 else content)
                    for _ in range(rng.choice((256, 1024))):
                        file.write(bytes(2**20))


def _npy(shape: str, descr: str = "<f4", fortran: str = "False", more: str = "") -> bytes:
    kind = descr if descr.startswith("[") else repr(descr)
    return _header(f"{{'descr': {kind}, 'fortran_order': {fortran}, 'shape': {shape}, {more}}}")


def _header(text: str, version: int = 1) -> bytes:
    data = text.encode("latin-1", "replace") + b"\n"
    length = struct.pack("<H", len(data) & 0xFFFF) if version == 1 else struct.pack("<I", len(data))
    return b"\x93NUMPY" + bytes([version, 0]) + length + data


HEADERS = (
    lambda: _npy("(2199023255552,)"),
    lambda: _npy("(-1,)"),
    lambda: _npy("(4294967296, 4294967296)"),
    lambda: _npy("()"),
    lambda: _npy("(24, 1, 4, 4)", "|O") + pickle.dumps(Runs()),
    lambda: _npy("(1,)", "<U1000000000"),
    lambda: _npy("(0,)"),
    lambda: _npy("(24, 1, 4, 4)", "<M8[s]") + bytes(3072),
    lambda: _npy("(24,)", "|V0"),
    lambda: _npy("(24,)", "<c16"),
    lambda: _npy("(24,)", "[('a', '<f4'), ('b', '|O')]"),
    lambda: _npy("(True,)"),
    lambda: _npy("(1.5,)"),
    lambda: _npy("24"),
    lambda: _npy("(24, 1, 4, 4)", "<f4", "True") + bytes(1536),
    lambda: _npy("(1,)", "<f4", "1"),
    lambda: _npy("[24]"),
    lambda: _npy("(24, 1, 4, 4)", ">f8") + b"\xff" * 3072,
    lambda: _npy("(24, 1, 4, 4)", "<f4") + b"\xff\xff\x7f\x7f" * 384,
    lambda: _header("__import__('os').mkdir('strayed')"),
    lambda: _header("(" * 5000),
    lambda: _header("[" * 300 + "]" * 300),
    lambda: _header("{'descr': '<f4'}"),
    lambda: _header("9" * 20_000, 2),
    lambda: _header("{}", 3),
    lambda: _header("{}", 9),
    lambda: _header("{" + "'a': 1, " * 5000 + "}", 2),
    lambda: pickle.dumps(Runs()),
    lambda: b"\x93NUMPY",
    lambda: b"",
    lambda: _npy("(24, 1, 4, 4)", "<f4", more="'x': 1") + bytes(1536),
    lambda: _npy("(99999999999999999999999,)"),
    lambda: _npy("(24,)", "<i8") + b"\xff" * 192,
    lambda: _npy("(24,)", "<i8") + b"\xff" * 100,
    lambda: _npy("(24,)", "|b1"),
    lambda: _npy("(24,)", "<u8") + b"\xff" * 192,
    lambda: _npy("(" + "1, " * 40 + ")"),
    lambda: _npy("(" + "1, " * 70 + ")"),
)


def arrays(path: Path, rng: random.Random) -> None:
    """Forged headers of arrays: shapes, types, objects with pickles, code."""
    records = read(path)
    place = rng.randrange(len(records))
    records[place] = (records[place][0], rng.choice(HEADERS)())
    write(path, records)


def numbers(path: Path, rng: random.Random) -> None:
    """Arrays as numpy itself writes them: of other types, shapes and values."""
    with np.load(path) as stored:
        found = dict(stored)
    name = rng.choice(list(found))
    old = found[name]
    act = rng.randrange(8)
    if act == 0:
        kinds = ("f2", "f8", "i1", "u1", "i8", "u8", ">i4", "?", "c8", "g", "S3", "U3", "m8[s]")
        found[name] = old.astype(rng.choice(kinds))
    elif act == 1:
        found[name] = old.reshape(rng.choice(((-1,), (1, -1), (-1, 1), (1, 1, 1, 1, 1, -1), (old.size, 1, 1))))
    elif act == 2:
        found[name] = old[: rng.choice((0, 1, len(old) - 1, len(old) // 2))]
    elif act == 3:
        found[name] = np.asfortranarray(old[..., ::-1])
    elif act == 4:
        changed = old.astype("f8")
        changed.flat[rng.randrange(old.size)] = rng.choice((np.nan, np.inf, -np.inf, -1e300, 1e300, 1e-310, -1))
        found[name] = changed
    elif act == 5:
        changed = old.astype("i8")
        changed.flat[rng.randrange(old.size)] = rng.choice((-1, 3, 1000, 2**31, 2**62, -(2**63)))
        found[name] = changed
    elif act == 6:
        found[rng.choice(("extra", "x", "y", "t", "x_train", name.upper()))] = old
    else:
        del found[name]
    np.savez(path, **found)


OPCODES = tuple(op.code.encode("latin-1") for op in pickletools.opcodes)


def _pickled(records: Records) -> int:
    return next(place for place, (name, _) in enumerate(records) if name.endswith("data.pkl"))


def opcodes(path: Path, rng: random.Random) -> None:
    """Opcodes of torch's pickle: exchanged, doubled, removed, or others put in."""
    records = read(path)
    place = _pickled(records)
    name, content = records[place]
    found = list(pickletools.genops(content))
    ends = [at for _, _, at in found[1:]] + [len(content)]
    parts = [content[at:end] for (_, _, at), end in zip(found, ends, strict=True)]
    for _ in range(rng.choice((1, 1, 2, 4))):
        where, act = rng.randrange(len(parts)), rng.randrange(5)
        if act == 0:
            parts[where] = rng.choice(OPCODES) + parts[where][1:]
        elif act == 1:
            parts.insert(where, rng.choice(parts))
        elif act == 2:
            del parts[where]
        elif act == 3:
            other = rng.randrange(len(parts))
            parts[where], parts[other] = parts[other], parts[where]
        else:
            parts.insert(where, rng.choice(EXTRA))
    records[place] = (name, b"".join(parts))
    write(path, records)


EXTRA = (
    b"cos\nsystem\n",
    b"cbuiltins\nexec\n",
    b"cbuiltins\neval\n",
    b"ctorch\nload\n",
    b"ctorch.hub\nload\n",
    b"}",
    b"]",
    b"(",
    b".",
    b"cposix\nsystem\n(X\x0d\x00\x00\x00touch strayedtR",
    b"\x8a\xff" + b"\x7f" * 255,
    b"N",
    b"\x88",
    b"R",
    b"b",
    b"Q",
    b"0",
    b"2",
    b"\x8b\xff\xff\xff\x7f",
    b"X\xff\xff\xff\x7f",
    b"J\xff\xff\xff\x7f",
    b"r\xff\xff\xff\xff",
    b"j\xff\xff\xff\xff",
    b"h\x00",
    b"G\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"ccollections\nOrderedDict\n)R",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"\x85" * 500,
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"ctorch\nFloatStorage\n",
    b"\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"(" * 2000,
    b"\x82\x01",
    b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x96\xff\xff\xff\xff\x00\x00\x00\x00",
    b"I" + b"9" * 5000 + b"\n",
    b"Vabc\n",
    b"L9999999999L\n",
    b"S'x'\n",
    b"i__builtin__\neval\n",
)


def code(path: Path, rng: random.Random) -> None:
    """A pickle that runs something: in the archive, in its place, or as old torch wrote it."""
    protocol = rng.randrange(2, 6)
    wrapped = rng.choice((Runs(), {"a": Runs()}, [Runs()], {Runs: 1}, {"state_dict": {}, "random": Runs()}))
    content = pickle.dumps(wrapped, protocol)
    if rng.random() < 0.3:
        path.write_bytes(rng.choice((content, pickle.dumps(0x1950A86A20F9469CFC6C, 2) + content)))
        return
    records = read(path)
    place = _pickled(records)
    records[place] = (records[place][0], content)
    write(path, records)


def storages(path: Path, rng: random.Random) -> None:
    """Sizes, strides, offsets and kinds of storages in torch's pickle, and records of another length."""
    records = read(path)
    place = _pickled(records)
    name, content = records[place]
    found = [
        (at, op, value) for op, value, at in pickletools.genops(content) if op.name in ("BININT1", "BININT2", "BININT")
    ]
    changed = bytearray(content)
    if found and rng.random() < 0.7:
        at, op, _ = rng.choice(found)
        width = {"BININT1": 1, "BININT2": 2, "BININT": 4}[op.name]
        changed[at : at + 1 + width] = b"J" + struct.pack(
            "<i", rng.choice((0, 1, -1, 2, 3, 2**20, 2**31 - 1, -(2**31)))
        )
    else:
        kinds = (
            b"FloatStorage",
            b"DoubleStorage",
            b"HalfStorage",
            b"LongStorage",
            b"ByteStorage",
            b"BoolStorage",
            b"QInt8Storage",
        )
        old = next((kind for kind in kinds if kind in content), b"FloatStorage")
        changed = bytearray(content.replace(b"ctorch\n" + old, b"ctorch\n" + rng.choice(kinds), 1))
    records[place] = (name, bytes(changed))
    if rng.random() < 0.3:
        data = [n for n, (each, _) in enumerate(records) if "/data/" in each]
        if data:
            which = rng.choice(data)
            records[which] = (records[which][0], records[which][1] * 2)
    write(path, records)


def packed(path: Path, rng: random.Random) -> None:
    """gzip's content, changed and packed again; several members; a bomb."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    act = rng.randrange(5)
    if act == 0:
        content[rng.randrange(len(content))] = rng.randrange(256)
    elif act == 1:
        content = content[: rng.randrange(len(content))]
    elif act == 2:
        content += rng.randbytes(rng.randint(1, 50))
    made = gzip.compress(bytes(content))
    if act == 3:
        made += rng.choice((made, b"x", bytes(9), made[:10]))
    if act == 4:
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as file:
            file.write(bytes(content))
            for _ in range(rng.choice((64, 1024))):
                file.write(bytes(2**20))
        made = buffer.getvalue()
    path.write_bytes(made)


Mutator = Callable[[Path, random.Random], None]
ARCHIVES: dict[str, dict[str, tuple[Mutator, ...]]] = {
    "npz": {
        "fields": (numbers, numbers, inside),
        "containers": (entries, directory),
        "shapes and types": (arrays, arrays),
        "bombs": (bomb,),
    },
    "torch": {
        "fields": (storages, inside),
        "containers": (entries, directory),
        "code": (opcodes, opcodes, code),
        "bombs": (bomb,),
    },
    "gzip": {"containers": (packed, packed)},
}
