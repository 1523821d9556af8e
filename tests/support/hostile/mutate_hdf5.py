"""HDF5 through h5py: types, shapes, values, links, filters and storage that a reader does not expect."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hostile.mutate_text import change

TYPES = ("f2", "f4", "f8", ">f8", "i1", "u1", "i2", ">i4", "i8", "u8", "c8", "c16", "S5", "S0", "?", "V7", "O", "U")
SHAPES = ((2**40,), (2**31, 2**31), (0,), (1,), (2**20, 2**20), (2**62,), (1,) * 32, (0, 2**40), (2**33, 1, 1), (7, 7))


def datasets(file: h5py.File) -> list[str]:
    """Names of all datasets."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def groups(file: h5py.File) -> list[str]:
    """Names of all groups, the root's too."""
    found = ["/"]
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Group) else None)
    return found


def _with(path: Path, work: Callable[[h5py.File, str], None], rng: random.Random) -> None:
    with h5py.File(path, "r+") as file:
        work(file, rng.choice(datasets(file)))


def _again(file: h5py.File, name: str, data: Any = None, **options: Any) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    made = file.create_dataset(name, data=data, **options)
    for key, value in attributes.items():
        made.attrs[key] = value


def dtype(path: Path, rng: random.Random) -> None:
    """The same numbers in another type."""

    def work(file: h5py.File, name: str) -> None:
        values, kind = file[name][()], rng.choice(TYPES)
        if kind in "OU":
            text = h5py.string_dtype()
            _again(file, name, np.full(np.shape(values), rng.choice(("a", "1", "")), dtype=object), dtype=text)
        elif kind in ("S0", "V7"):
            odd = np.dtype([("a", "i4"), ("b", "f8")]) if kind == "S0" else h5py.enum_dtype({"x": 1}, "i4")
            _again(file, name, shape=np.shape(values), dtype=odd)
        else:
            _again(file, name, np.asarray(values).astype(kind) if np.asarray(values).dtype.kind != "S" else kind)

    _with(path, work, rng)


def shape(path: Path, rng: random.Random) -> None:
    """Absurd shapes, of which nothing is stored; axes added, removed and exchanged."""

    def work(file: h5py.File, name: str) -> None:
        values = file[name][()]
        act = rng.randrange(7)
        if act < 2:
            wanted = rng.choice(SHAPES)
            chunks = tuple(min(size, 64 if len(wanted) < 4 else 1) or 1 for size in wanted)
            packed = {"compression": "gzip"} if rng.random() < 0.5 else {}
            kind = np.asarray(values).dtype
            _again(file, name, shape=wanted, chunks=chunks, maxshape=(None,) * len(wanted), dtype=kind, **packed)
        elif act == 2:
            _again(file, name, h5py.Empty(np.asarray(values).dtype))
        elif act == 3:
            _again(file, name, np.asarray(values)[None])
        elif act == 4:
            _again(file, name, np.asarray(values).T if np.ndim(values) > 1 else np.repeat(values, 2))
        elif act == 5:
            _again(file, name, np.asarray(values).ravel()[: np.size(values) // 2])
        else:
            _again(file, name, np.asarray(values).ravel()[0])

    _with(path, work, rng)


def values(path: Path, rng: random.Random) -> None:
    """Some or all numbers replaced by the largest, smallest, NaN or others."""

    def work(file: h5py.File, name: str) -> None:
        old = file[name]
        found = np.array(old[()])
        if found.dtype.kind == "f":
            new: Any = rng.choice((np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300, 1e-320))
        elif found.dtype.kind in "iu":
            limits = np.iinfo(found.dtype)
            new = rng.choice((limits.max, limits.min, 0, 1, limits.max // 2, max(limits.min, -1)))
        elif found.dtype.kind == "b":
            new = not found.flat[0]
        else:
            new = rng.choice((b"", b"\xff\xfe", b"dense", b"Dense", b"conv", b"average", b"flatten", b"x" * 9))
        with np.errstate(over="ignore"):
            if rng.random() < 0.5 or not found.size:
                found[...] = new
            else:
                found.flat[rng.randrange(found.size)] = new
        old[()] = found

    _with(path, work, rng)


def attributes(path: Path, rng: random.Random) -> None:
    """Attributes added, changed or removed, on the file or a part."""
    with h5py.File(path, "r+") as file:
        place = file[rng.choice(groups(file) + datasets(file))]
        value = rng.choice(
            (0, -1, 2**63, np.nan, "", "x" * 1000, b"\xff", np.zeros(5000), np.zeros((0, 3)), "\x1b[31m")
        )
        if "model_config" in file.attrs and rng.random() < 0.7:  # of Keras: JSON
            changed = change(json.loads(file.attrs["model_config"]), rng)
            file.attrs["model_config"] = json.dumps(changed)[:60_000].encode("utf-8", "surrogatepass")
            return
        keys = list(place.attrs) or list(file.attrs)
        key = rng.choice(keys) if keys and rng.random() < 0.8 else rng.choice(("horizon", "version", "format", "extra"))
        if rng.random() < 0.3 and key in place.attrs:
            del place.attrs[key]
        else:
            place.attrs[key] = value


def missing(path: Path, rng: random.Random) -> None:
    """Something removed, renamed, exchanged, or of the other kind: a group for a dataset."""
    with h5py.File(path, "r+") as file:
        every = [*groups(file)[1:], *datasets(file)]
        name, act = rng.choice(every), rng.randrange(5)
        if act == 0:
            del file[name]
        elif act == 1:
            file.move(name, rng.choice((name + "x", "extra/" + name, name.upper() + "_", "00")))
        elif act == 2:
            other = rng.choice(every)
            if not (name.startswith(other) or other.startswith(name)):
                file.move(name, "aside")
                file.move(other, name)
                file.move("aside", other)
        elif act == 3:
            is_dataset = isinstance(file[name], h5py.Dataset)
            del file[name]
            _ = file.create_group(name) if is_dataset else file.create_dataset(name, data=1)
        else:
            file.copy(name, rng.choice(groups(file)), name=rng.choice(("copy", "99", "10", "0a")))


def links(path: Path, rng: random.Random) -> None:
    """Links that lead in circles, out of the file, or nowhere; datasets whose numbers lie in other files."""
    with h5py.File(path, "r+") as file:
        every = [*groups(file)[1:], *datasets(file)]
        name, act = rng.choice(every), rng.randrange(8)
        old = file[name]
        kept = np.array(old[()]) if isinstance(old, h5py.Dataset) else np.zeros(3)
        del file[name]
        if act == 0:
            file[name] = h5py.SoftLink("/" + name)
        elif act == 1:
            file[name] = h5py.SoftLink("/nowhere")
        elif act == 2:
            file[name] = h5py.ExternalLink(rng.choice(("/etc/hostname", "../samples.h5", "net.net", path.name)), "/")
        elif act == 3:
            file[name] = file["/"]
        elif act == 4:
            file[name] = h5py.SoftLink(rng.choice(("/", ".", "..", "/" + rng.choice(every))))
        elif act == 5 and kept.dtype.kind in "fiub" and kept.shape:
            outside = rng.choice(("/etc/passwd", "/dev/zero", path.name, "../../x"))
            file.create_dataset(name, kept.shape, kept.dtype, external=[(outside, 0, h5py.h5f.UNLIMITED)])
        elif act == 6 and kept.dtype.kind in "fiub" and kept.shape:
            layout = h5py.VirtualLayout(kept.shape, kept.dtype)
            layout[...] = h5py.VirtualSource(rng.choice(("other.h5", path.name, "/etc/passwd")), "x", kept.shape)
            file.create_virtual_dataset(name, layout)
        else:
            file.create_group(name)
            file[name + "/again"] = file[name.rpartition("/")[0] or "/"]


def bomb(path: Path, rng: random.Random) -> None:
    """Megabytes that become gigabytes, really stored, and thousands of parts."""
    with h5py.File(path, "r+") as file:
        name, act = rng.choice(datasets(file)), rng.randrange(3)
        if act == 0:
            kind = np.asarray(file[name]).dtype
            _again(file, name, np.zeros(2**24, kind if kind.kind in "fiu" else "u1"), chunks=(2**20,),
                   compression="gzip", compression_opts=1)  # fmt: skip
        elif act == 1:
            place = file[rng.choice(groups(file))]
            for number in range(2000):
                place[f"x{number}"] = number
        else:
            place = file[rng.choice(groups(file))]
            for _ in range(400):
                place = place.create_group("g")


HDF5 = {
    "hdf5": {
        "fields": (values, values, attributes, missing),
        "shapes and types": (dtype, shape),
        "links": (links, links),
        "bombs": (bomb,),
    }
}
