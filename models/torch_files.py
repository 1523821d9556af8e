"""Files of tensors read as data: the one place that opens what torch.save wrote. Nothing in them is ever run.

torch.load is not called. Even with weights_only=True it hands TorchScript, which is a program, to torch.jit.load
(CVE-2025-32434, before torch 2.6), and it believes how many numbers a file claims to hold: beyond the record it reads
whatever lies there in memory. Here zipfile reads the archive through one open handle, the names in its pickle are
compared with a list before torch's own restricted unpickler sees them, and a storage is a record of just its length.
"""

import io
import pickletools
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

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
NAMES = re.compile(
    r"collections OrderedDict|torch Size|torch\._utils _rebuild_(tensor_v2|parameter)|"
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
            with zipfile.ZipFile(file) as archive:
                found = _Archive(path, archive, limit).value()
        except CheckpointError:
            raise
        # What zipfile, zlib, pickletools and torch raise for damaged bytes has no common base below Exception.
        except Exception as error:
            raise CheckpointError(
                f"{path}: truncated, or not written by torch.save since torch 1.6 ({type(error).__name__}); load it in "
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
        for operation, argument, _ in pickletools.genops(content):
            if operation.name == "GLOBAL" and not NAMES.fullmatch(str(argument)):
                named = ".".join(str(argument).split(" "))
                raise CheckpointError(
                    f"{self.path}: holds pickled objects, which are not opened ({named[:80]!r}); {ADVICE}"
                )
        unpickler: Any = Unpickler(io.BytesIO(content), encoding="utf-8")
        unpickler.persistent_load = self._storage
        return unpickler.load()

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
