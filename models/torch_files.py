"""Files of tensors read as data: the one place that opens what torch.save wrote. Nothing in them is ever run.

torch.load is not called. Even with weights_only=True it hands TorchScript, which is a program, to torch.jit.load
(CVE-2025-32434, before torch 2.6), and it believes how many numbers a file claims to hold: beyond the record it reads
whatever lies there in memory. Here zipfile reads the archive through one open handle, the names in its pickle are
compared with a list before torch's own restricted unpickler sees them, and a storage is a record of just its length.
Files from before torch 1.6, which are no archives, are read in the same way, pickle by pickle.
"""

import io
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor
from torch._weights_only_unpickler import Unpickler

from spikecut.errors import CheckpointError
from spikecut.files import open_regular, read_bytes

MAXIMUM_BYTES = 2**30
MAXIMUM_PICKLE_BYTES = 2**24  # names and shapes alone
ADVICE = "save the state_dict() alone, by torch.save or as safetensors"
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of torch.save before torch 1.6 begin: a pickle of a number."""
LEGACY_VERSION = 1001
NAMES = re.compile(
    r"collections OrderedDict|torch Size|torch\._utils _rebuild_(tensor|tensor_v2|parameter)|"
    r"torch (Bool|Byte|Char|Short|Int|Long|Half|BFloat16|Float|Double)Storage"
)
"""The classes and functions that a pickle may name: dense tensors, their storages and what holds them."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name, dense and on the CPU, from a .safetensors file or one of torch.save.

    CheckpointError for a file that is missing, truncated, foreign or larger than MAXIMUM_BYTES, or holds anything else.
    """
    if path.suffix == ".safetensors":
        try:
            return dict(load(read_bytes(path, CheckpointError, MAXIMUM_BYTES)))
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: truncated or not a safetensors file") from error
    found = read_torch(path)
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    pairs = dict.items(found) if isinstance(found, dict) else ()
    if not pairs or not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in pairs):
        raise CheckpointError(f"{path}: not a state dict of tensors; {ADVICE}")
    _check_claims(path, (tensor for _, tensor in pairs), MAXIMUM_BYTES)
    return {name: tensor.detach() for name, tensor in pairs}


def read_torch(path: Path, limit: int = MAXIMUM_BYTES) -> Any:
    """What torch.save wrote: tensors, numbers, texts, and lists, tuples and dictionaries of these.

    limit: the most bytes of the file, of what it unpacks to, and of its tensors. CheckpointError as for read_tensors.
    """
    with open_regular(path, CheckpointError, limit) as file:
        try:
            if file.read(len(LEGACY)) == LEGACY:
                found = _Stream(path, file, limit).value()
            else:
                with zipfile.ZipFile(file) as archive:
                    found = _Archive(path, archive, limit).value()
        except CheckpointError:
            raise
        # What zipfile, zlib, pickletools and torch raise for damaged bytes has no common base below Exception.
        except Exception as error:
            raise CheckpointError(
                f"{path}: truncated, or not written by torch.save ({type(error).__name__}); load it in "
                f"torch and save it again: {ADVICE}"
            ) from error
    _check_claims(path, _tensors(found), limit)
    return found


def _check_claims(path: Path, tensors: Iterable[Tensor], limit: int) -> None:
    """Expanded tensors, and those that are named many times, need more memory than the file."""
    claimed = 0
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        claimed += size
        if size > tensor.untyped_storage().nbytes() or claimed > limit:
            raise CheckpointError(
                f"{path}: a tensor of shape {tuple(tensor.shape)} claims more numbers than the file holds, or all "
                f"together more than {limit} bytes; {ADVICE}"
            )


class _Archive:
    """The records of one file of torch.save: each is read once."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, limit: int) -> None:
        self.path = path
        self.archive = archive
        self.storages: dict[str, Any] = {}
        members = archive.infolist()
        if sum(member.file_size for member in members) > limit:
            raise CheckpointError(f"{path}: unpacks to more than {limit} bytes, which are read at most")
        if any(member.filename.lower().endswith("constants.pkl") for member in members):
            raise CheckpointError(f"{path}: TorchScript, which is a program; {ADVICE}")
        (self.pickle,) = (member for member in members if re.fullmatch(r"[^/]+/data\.pkl", member.filename))
        self.folder = self.pickle.filename.removesuffix("data.pkl")
        if f"{self.folder}byteorder" in archive.namelist() and self._read("byteorder") != b"little":
            raise CheckpointError(f"{path}: written on a big-endian machine; save it as safetensors there")

    def _read(self, name: str) -> bytes:
        return self.archive.read(f"{self.folder}{name}")

    def value(self) -> Any:
        """The unpickled value, its tensors in memory of their own."""
        if self.pickle.file_size > MAXIMUM_PICKLE_BYTES:
            raise CheckpointError(f"{self.path}: its names and shapes need over {MAXIMUM_PICKLE_BYTES} bytes; {ADVICE}")
        content = self._read("data.pkl")
        return _unpickled(self.path, content, self._storage)

    def _storage(self, identity: tuple[str, Any, str, str, int]) -> Any:
        """The storage that a tensor names: (\"storage\", its type, its record, its device, how many numbers)."""
        _, kind, key, _, count = identity
        if key not in self.storages:
            content = bytearray(self._read(f"data/{key}"))
            if len(content) != count * kind.dtype.itemsize:
                raise CheckpointError(
                    f"{self.path}: record data/{key} holds {len(content)} bytes, but {count} numbers of {kind.dtype} "
                    "are claimed: it is damaged"
                )
            # Not resizable: a tensor that claims more than this is refused by torch.
            held = torch.frombuffer(content or bytearray(1), dtype=torch.uint8).untyped_storage()
            storage: Any = torch.storage.TypedStorage
            self.storages[key] = storage(wrap_storage=held, dtype=kind.dtype, _internal=True)
        return self.storages[key]


class _Stream:
    """A file of torch.save before torch 1.6: five pickles one after the other, then the storages' numbers."""

    def __init__(self, path: Path, file: IO[bytes], limit: int) -> None:
        self.path, self.file = path, file
        self.size = file.seek(0, io.SEEK_END)
        if self.size > limit:
            raise CheckpointError(f"{path}: more than {limit} bytes, which are read at most")
        file.seek(0)
        self.claimed = 0
        self.storages: dict[str, tuple[int, bytearray, Any]] = {}  # bytes of a number, all bytes, the storage

    def value(self) -> Any:
        """The unpickled value, its tensors in memory of their own."""
        self._pickled()  # the magic number
        if self._pickled() != LEGACY_VERSION or self._pickled().get("little_endian") is not True:
            raise CheckpointError(f"{self.path}: written by another version of torch.save; {ADVICE}")
        found, keys = self._pickled(), self._pickled()
        if not isinstance(keys, list) or sorted(keys) != sorted(self.storages):
            raise CheckpointError(f"{self.path}: names other storages than it holds: it is damaged")
        for key in keys:
            width, held, _ = self.storages[key]
            (count,) = struct.unpack("<q", self.file.read(8))
            content = self.file.read(len(held))
            if count * width != len(held) or len(content) != len(held):
                raise CheckpointError(f"{self.path}: storage {key} is not as long as is claimed: it is damaged")
            held[:] = content
        return found

    def _pickled(self) -> Any:
        """The next pickle's value."""
        start = self.file.tell()
        for _ in pickletools.genops(self.file):
            if self.file.tell() - start > MAXIMUM_PICKLE_BYTES:
                raise CheckpointError(f"{self.path}: its names and shapes need over {MAXIMUM_PICKLE_BYTES} bytes")
        length = self.file.tell() - start
        self.file.seek(start)
        content = self.file.read(length)
        return _unpickled(self.path, content, self._storage)

    def _storage(self, identity: tuple[str, Any, str, str, int, object]) -> Any:
        """The storage that a tensor names, whose numbers come later in the file."""
        _, kind, key, _, count, view = identity
        if view is not None:
            raise CheckpointError(f"{self.path}: holds a storage that is part of another one; {ADVICE}")
        width = kind.dtype.itemsize
        if key not in self.storages:
            self.claimed += count * width
            if count < 0 or self.claimed > self.size:
                raise CheckpointError(f"{self.path}: claims more numbers than the file holds: it is damaged")
            content = bytearray(count * width)
            # Not resizable, and not longer than is told: a tensor that claims more than this is refused by torch.
            held = torch.frombuffer(content or bytearray(1), dtype=torch.uint8).untyped_storage()
            storage: Any = torch.storage.TypedStorage
            self.storages[key] = width, content, storage(wrap_storage=held, dtype=kind.dtype, _internal=True)
        return self.storages[key][2]


def _unpickled(path: Path, content: bytes, storage: Callable[[Any], Any]) -> Any:
    """The value of a pickle; CheckpointError where it names anything but tensors."""
    for operation, argument, _ in pickletools.genops(content):
        if operation.name == "GLOBAL" and not NAMES.fullmatch(str(argument)):
            named = ".".join(str(argument).split(" "))
            raise CheckpointError(f"{path}: holds pickled objects, which are not opened ({named[:80]!r}); {ADVICE}")
    unpickler: Any = Unpickler(io.BytesIO(content), encoding="utf-8")
    unpickler.persistent_load = storage
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of another pickle protocol: what it does not know it refuses
        return unpickler.load()


def _tensors(found: Any) -> Iterator[Tensor]:
    """Every tensor in nested containers, once, however deep they are."""
    left, seen = [found], set()
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            left.extend(dict.values(value))
        elif isinstance(value, list | tuple | set):
            left.extend(value)
