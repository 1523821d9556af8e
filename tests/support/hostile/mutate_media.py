"""safetensors, images and Parquet."""

import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from hostile.mutate_text import VALUES, change, deep

SIZES = (0, 1, 31, 33, 1000, 20_000, 65_535, 2**31 - 1, 2**32 - 1)


def _split(path: Path) -> tuple[dict, bytes]:
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _joined(path: Path, text: bytes, data: bytes, length: int | None = None) -> None:
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def header(path: Path, rng: random.Random) -> None:
    """Shapes, offsets, types and names in the header of a safetensors file."""
    found, data = _split(path)
    act = rng.randrange(5)
    names = [name for name in found if name != "__metadata__"]
    one, other = rng.choice(names), rng.choice(names)
    if act == 0:
        found[one]["data_offsets"] = rng.choice(
            (found[other]["data_offsets"], [0, 2**40], [-1, 4], [4, 0], [0, len(data)])
        )
    elif act == 1:
        found[one]["shape"] = rng.choice(
            ([2**40], [0], [], [-1], [2**32, 2**32], found[one]["shape"][::-1], [1] * 70, [1.5])
        )
    elif act == 2:
        found[one]["dtype"] = rng.choice(("F16", "F64", "I64", "U8", "BOOL", "BF16", "F8_E4M3", "X", 3, "I32", "C64"))
    elif act == 3:
        found[rng.choice(("x", "", one.upper(), "\x1b[31m"))] = found.pop(one)
    else:
        found = change(found, rng)
    _joined(path, json.dumps(found).encode("utf-8", "replace"), data)


def recipe(path: Path, rng: random.Random) -> None:
    """The recipe in the header, and the header's own length."""
    found, data = _split(path)
    told = found.get("__metadata__", {})
    act = rng.randrange(6)
    if act < 4 and "recipe" in told:
        value = json.loads(told["recipe"])
        told["recipe"] = json.dumps(change(value, rng))
    elif act == 4:
        key = rng.choice(list(told) or ["format"])
        told[key] = rng.choice(
            ("", "x" * 10**5, "[" * 5000, json.dumps(deep(rng)), "NaN", '{"a":NaN}', "null", "[]", "{}")
        )
    found["__metadata__"] = told if act < 5 else rng.choice(VALUES)
    _joined(path, json.dumps(found).encode("utf-8", "replace"), data)


def numbers(path: Path, rng: random.Random) -> None:
    """Weights that are not finite, or far too large; a header of another length."""
    found, data = _split(path)
    changed, text = bytearray(data), json.dumps(found).encode()
    if rng.random() < 0.7:
        value = rng.choice((np.nan, np.inf, -np.inf, 3e38, -1e30, 1e-45, 0.0))
        place = 4 * rng.randrange(max(1, len(data) // 4))
        count = rng.choice((1, 1, 50))
        changed[place : place + 4 * count] = (np.full(count, value, "<f4").tobytes())[: len(data) - place]
        _joined(path, text, bytes(changed))
    else:
        _joined(path, text, data, rng.choice((0, 1, len(text) - 1, len(text) + 1, 2**31, 2**63, 2**64 - 1)))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def image(path: Path, rng: random.Random) -> None:
    """Sizes that are not the image's, chunks that unpack to far more, other formats under the name."""
    content = bytearray(path.read_bytes())
    if content[:4] == b"\x89PNG" and rng.random() < 0.6:
        _png(path, content, rng)
        return
    start = content.find(b"\xff\xc0")
    if start > 0 and rng.random() < 0.5:
        struct.pack_into(">HH", content, start + 5, *(rng.choice(SIZES) & 0xFFFF for _ in range(2)))
        path.write_bytes(content)
        return
    buffer, act = io.BytesIO(), rng.randrange(6)
    mode, kind = (("RGB", "TIFF"), ("RGB", "GIF"), ("P", "PNG"), ("I;16", "PNG"), ("L", "BMP"), ("CMYK", "JPEG"))[act]
    size = rng.choice(((32, 32), (32, 32), (32, 31), (1, 1)))
    Image.new(mode, size).save(buffer, kind)
    path.write_bytes(buffer.getvalue())


def _png(path: Path, content: bytearray, rng: random.Random) -> None:
    act = rng.randrange(4)
    if act == 0:  # sizes, depth, colours, with a right checksum
        fields = [
            *(rng.choice(SIZES) for _ in range(2)),
            *(rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255)) for _ in range(2)),
            0,
            0,
            0,
        ]
        made = bytes(content[:8]) + _chunk(b"IHDR", struct.pack(">IIBBBBB", *fields)) + bytes(content[33:])
    elif act == 1:  # a text, or a profile, of many megabytes
        packed = zlib.compress(bytes(2 ** rng.choice((20, 24, 27))), 9)
        kind = rng.choice((b"zTXt", b"iCCP"))
        made = bytes(content[:33]) + _chunk(kind, b"a\0\0" + packed) + bytes(content[33:])
    elif act == 2:  # an image of the size that is told, 10,000 pixels wide
        side = rng.choice((1000, 10_000))
        rows = zlib.compress(bytes((3 * side + 1) * side), 9)
        head = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        made = bytes(content[:8]) + head + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")
    else:  # pixels that unpack to more than the size that is told
        made = bytes(content[:33]) + _chunk(b"IDAT", zlib.compress(bytes(2**27), 9)) + _chunk(b"IEND", b"")
    path.write_bytes(made)


def columns(path: Path, rng: random.Random) -> None:
    """Columns of another type, missing, doubled in length, or with nulls; the file's own notes."""
    table = pq.read_table(path)
    name, act = rng.choice(table.column_names), rng.randrange(8)
    place = table.column_names.index(name)
    if act == 0:
        table = table.drop([name])
    elif act == 1:
        table = table.set_column(place, name, pa.array(["x"] * len(table)))
    elif act == 2:
        table = table.set_column(place, name, pa.nulls(len(table), table[name].type))
    elif act == 3:
        table = table.slice(0, rng.choice((0, 1, len(table) - 1)))
    elif act == 4:
        table = pa.concat_tables([table, table])
    elif act == 5:
        changed = table[name].to_pylist()
        changed[rng.randrange(len(changed))], kept = changed[0], changed[-1]
        changed[0] = kept
        table = table.set_column(place, name, pa.array(changed, table[name].type))
    elif act == 6:
        table = table.rename_columns([each.upper() if each == name else each for each in table.column_names])
    else:
        table = table.replace_schema_metadata({b"spikecut.class_names": rng.choice((b"[", b'["\\u001b[31m"]', b"{}"))})
    pq.write_table(table, path, compression=rng.choice(("snappy", "none", "gzip", "zstd")))


def rows(path: Path, rng: random.Random) -> None:
    """A few kilobytes that are millions of rows, or one cell of many megabytes."""
    table = pq.read_table(path)
    if rng.random() < 0.5:
        table = pa.table(
            {name: pa.array([table[name][0].as_py()] * 10**6, table[name].type) for name in ("index", "label")}
        )
    else:
        place = table.column_names.index("reason")
        cells = pa.array(["a" * 2**24, *table["reason"].to_pylist()[1:]])
        table = table.set_column(place, "reason", cells)
    pq.write_table(table, path, compression="zstd")


Mutator = Callable[[Path, random.Random], None]
MEDIA: dict[str, dict[str, tuple[Mutator, ...]]] = {
    "safetensors": {"fields": (recipe, recipe, numbers), "shapes and types": (header, header)},
    "image": {"shapes and types": (image, image)},
    "parquet": {"fields": (columns, columns), "bombs": (rows,)},
}
