"""Finished samples of a run that is still under way, on disk, so that an interrupted run can be resumed.

A journal is a folder `RUN.partial` beside the run's own: `request.json`, what was asked for, and numbered HDF5 files,
each some finished samples in their order. Files are written under a temporary name and renamed: a file that is there is
whole. After an HDF5 file's own content comes a SHA-256 of the request, the file's name and that content, so that rows
never mix with those of another request or with changed ones. The folder goes when the run is done: the last samples
first and the request at the end, so that what a process leaves that is killed meanwhile is again a journal.
"""

import hashlib
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from spikecut.deploy.cutoff.base import ExitReason
from spikecut.deploy.run.stored import read_run
from spikecut.deploy.run_trace import LayerEvents, RunTrace, joined
from spikecut.errors import BundleError, InputError
from spikecut.export.hdf5 import MAXIMUM_BYTES, open_hdf5, packed, read_array, read_floats, subgroup
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.layers import IntegerNetwork
from spikecut.files import open_regular, read_bytes, reason, write_bytes, write_text
from spikecut.folders import HALF_WRITTEN, check_entries

REQUEST = "request.json"
JOURNAL = (REQUEST, "cut-*.h5", "full-*.h5")
"""Everything in a journal's folder."""
DIGEST_BYTES = 32
SAMPLES_PER_FILE = 64
SECONDS_PER_FILE = 5.0
FloatArray = npt.NDArray[np.float64]
JOURNAL_BYTES = 4 * MAXIMUM_BYTES
"""Of one file: the messages of all layers for so many samples are more than any network holds."""
REASONS = tuple(ExitReason)
ARRAYS = ("scores", "valid", "timesteps", "hardware_steps", "interval")


@dataclass
class Journal:
    """The journal of one run.

    Attributes
    ----------
    folder: RUN.partial. network: the network that runs.
    """

    folder: Path
    network: IntegerNetwork

    @classmethod
    def of(cls, run: Path, network: IntegerNetwork) -> "Journal":
        """The journal that belongs to a run's folder."""
        return cls(partial_folder(run), network)

    def begin(self, request: "RunRequest", overwrite: bool) -> None:
        """Start anew; InputError if an earlier run's journal is there and may not be replaced, or on a full disk."""
        if os.path.lexists(self.folder):
            self._check_replaceable(overwrite)
            self.remove()
        try:
            write_text(self.folder / REQUEST, request.model_dump_json(indent=2) + "\n")
        except OSError as error:
            self.remove()
            raise InputError(f"cannot write {self.folder}: {reason(error)}; choose another --out") from error

    def _check_replaceable(self, overwrite: bool) -> None:
        if not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file, and finished samples are kept there: choose another --out")
        check_entries(self.folder, JOURNAL, "run")
        if not overwrite and any(self.folder.glob("*-*.h5")):
            raise InputError(
                f"{self.folder} holds the finished samples of an interrupted run: spikecut run --resume "
                f"{self.folder.with_suffix('')}, or --overwrite"
            )

    def keep(self, what: str, parts: Iterable[RunTrace], earlier: list[RunTrace]) -> RunTrace:
        """Gather the parts of a run, after those kept earlier, and put them on disk as they come; the whole run.

        If the parts end with an exception, those that came are on disk when it is raised again.
        """
        gathered, pending, since = list(earlier), list[RunTrace](), time.monotonic()

        def flush() -> None:
            """Write the pending parts as one file, and forget them."""
            part = joined(pending)
            pending.clear()
            self._write(what, sum(each.samples for each in gathered), part)
            gathered.append(part)

        try:
            for part in parts:
                pending.append(part)
                waiting = sum(each.samples for each in pending)
                if waiting >= SAMPLES_PER_FILE or time.monotonic() - since > SECONDS_PER_FILE:
                    flush()
                    since = time.monotonic()
        finally:
            if pending:
                flush()
        return joined(gathered)

    def _write(self, what: str, first: int, part: RunTrace) -> None:
        path = self._path(what, first)
        content = packed(lambda file: _write(file, part))
        try:
            write_bytes(path, content + self._digest(path, hashlib.sha256(content).digest()))
        except OSError as error:
            raise InputError(f"cannot write {path}: {reason(error)}; make room, then resume") from error

    def _path(self, what: str, first: int) -> Path:
        return self.folder / f"{what}-{first:08d}.h5"

    def _digest(self, path: Path, content: bytes) -> bytes:
        """What proves that a file's samples are those that this request gave at this place; content: their SHA-256."""
        digest = hashlib.sha256(read_bytes(self.folder / REQUEST))
        digest.update(path.name.encode() + content)
        return digest.digest()

    def samples(self, what: str) -> int:
        """How many samples of one pass ("cut", "full") are on disk."""
        return sum(part.samples for part in self.read(what))

    def read(self, what: str) -> list[RunTrace]:
        """What is on disk of one pass, in order, up to the first gap; InputError if a file is damaged."""
        parts: list[RunTrace] = []
        following = 0
        while (path := self._path(what, following)).exists():
            parts.append(self._part(path))
            following += parts[-1].samples
        return parts

    def _part(self, path: Path) -> RunTrace:
        if not self._is_unchanged(path):
            raise InputError(f"{path} is damaged: it or {REQUEST} was changed: remove it and resume again")
        try:
            with open_hdf5(path, JOURNAL_BYTES) as file:
                part = _read(file, path, self.network)
        except (BundleError, KeyError, ValueError, OSError) as error:
            raise InputError(f"{path} is damaged ({error}): remove it and resume again") from error
        if part.samples < 1:
            raise InputError(f"{path} is damaged (no samples): remove it and resume again")
        return part

    def _is_unchanged(self, path: Path) -> bool:
        """Whether the digest at a file's end is right; InputError where it cannot be read, or is too large."""
        content = hashlib.sha256()
        with open_regular(path, limit=JOURNAL_BYTES) as file:
            left = os.fstat(file.fileno()).st_size - DIGEST_BYTES
            try:
                while left > 0 and (block := file.read(min(left, 1 << 20))):
                    content.update(block)
                    left -= len(block)
                digest = file.read(DIGEST_BYTES + 1)
            except OSError as error:
                raise InputError(f"{path}: {reason(error)}") from error
        return digest == self._digest(path, content.digest())

    def remove(self) -> None:
        """The run is done, or has kept nothing: the journal goes, but for files that no run wrote."""
        with suppress(OSError):
            files = sorted(self.folder.iterdir(), key=lambda path: (path.name != REQUEST, path.name), reverse=True)
            for path in files:
                if any(fnmatchcase(path.name, pattern) for pattern in (*JOURNAL, HALF_WRITTEN)):
                    path.unlink(missing_ok=True)
            self.folder.rmdir()


def partial_folder(run: Path) -> Path:
    """Where a run's finished samples lie until it is done."""
    if not run.name:
        raise InputError(f"{run} names no folder of a run: choose one below it")
    return run.with_name(run.name + ".partial")


class RunRequest(BaseModel):
    """What was asked of a run: enough to resume it.

    bundle: folder. hashes: of the network and the data. dataset, policy, config: as in the run's summary.
    options: fields of RunOptions. samples: of the test split. overwrite: whether the run's folder may be replaced.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    bundle: str
    hashes: dict[str, str]
    dataset: str
    policy: dict[str, Any] | None
    config: dict[str, Any]
    options: dict[str, Any]
    samples: int
    overwrite: bool


def read_request(run: Path) -> RunRequest:
    """What was asked of an interrupted run; InputError if there is no such journal or it is damaged."""
    path = partial_folder(run) / REQUEST
    if not os.path.lexists(path):
        raise InputError(f"{run}: no interrupted run is there ({path} is missing)")
    try:
        return RunRequest.model_validate_json(read_bytes(path))
    except (InputError, ValueError) as error:
        raise InputError(f"{path} cannot be read: remove {path.parent} and run again ({error})") from error


def is_result(run: Path, request: RunRequest) -> bool:
    """Whether what was asked for is done and in its place: the run was interrupted while its journal was removed."""
    with suppress(InputError):
        summary = read_run(run).summary
        found = summary.hashes, summary.samples, summary.config.get("policy")
        return found == (request.hashes, request.samples, request.policy)
    return False


def _write(file: h5py.File, part: RunTrace) -> None:
    for name in ARRAYS:
        file[name] = getattr(part, name)
    file["reason"] = np.array([REASONS.index(reason) for reason in part.reason], dtype=np.int64)
    file["wall_time_s"] = part.wall_time_s
    file.attrs["backend"], file.attrs["mode"] = part.backend, part.mode
    for number, events in enumerate(part.events):
        group = file.create_group(f"events/{number}")
        group["spikes"], group["synops"] = events.spikes, events.synops
        if events.raster is not None:
            group.create_dataset("raster", data=events.raster, compression="gzip", compression_opts=1)


def _read(file: h5py.File, path: Path, network: IntegerNetwork) -> RunTrace:
    arrays = {name: read_array(file, name, path) for name in (*ARRAYS, "reason")}
    wall_time_s = read_floats(file, "wall_time_s", path)
    _check_shapes(arrays, wall_time_s, network)
    mode = str(file.attrs["mode"])
    if mode not in ("isolated", "streaming"):
        raise ValueError(f"mode {mode!r}")
    return RunTrace(
        scores=arrays["scores"],
        valid=arrays["valid"].astype(np.bool_),
        timesteps=arrays["timesteps"],
        hardware_steps=arrays["hardware_steps"],
        reason=tuple(REASONS[index] for index in arrays["reason"]),
        network=network,
        backend=str(file.attrs["backend"]),
        events=tuple(_events(file, path, network, len(arrays["reason"]))),
        wall_time_s=wall_time_s,
        mode="streaming" if mode == "streaming" else "isolated",
        interval=arrays["interval"],
    )


def _check_shapes(arrays: Mapping[str, IntArray], wall_time_s: FloatArray, network: IntegerNetwork) -> None:
    """ValueError for what no run of this network has given."""
    samples = len(arrays["reason"]) if arrays["reason"].ndim == 1 else -1
    steps = network.horizon, samples
    for name, array in arrays.items():
        expected = {"scores": (*steps, network.classes), "valid": steps}.get(name, (samples,))
        if array.shape != expected:
            raise ValueError(f"{name} of shape {array.shape}")
    if wall_time_s.shape not in ((samples,), (0,)):
        raise ValueError(f"wall_time_s of shape {wall_time_s.shape}")
    if not np.isin(arrays["reason"], range(len(REASONS))).all():
        raise ValueError("a reason that is none")
    taken, whole, interval = (arrays[name] for name in ("timesteps", "hardware_steps", "interval"))
    if not (np.isin(taken, range(1, network.horizon + 1)).all() and np.array_equal(whole, taken + network.depth)):
        raise ValueError("timesteps that no sample takes")
    if not (
        np.array_equal(arrays["valid"], np.arange(network.horizon)[:, None] < taken)
        and (interval >= 1).all()
        and (interval <= whole).all()
    ):
        raise ValueError("steps that no sample takes")


def _events(file: h5py.File, path: Path, network: IntegerNetwork, samples: int) -> Iterator[LayerEvents]:
    if "events" not in file:
        return
    names = ["input", *(layer.name for layer in network.layers)]
    shapes = [network.input_shape, *(layer.output_shape for layer in network.layers)]
    longest = read_array(subgroup(file, "events/0", path), "spikes", path).shape[1:]
    for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        group = subgroup(file, f"events/{number}", path)
        raster = read_array(group, "raster", path).astype(np.int32) if "raster" in group else None
        spikes, synops = read_array(group, "spikes", path), read_array(group, "synops", path)
        steps = (samples, *longest)
        if len(steps) != 2 or not (spikes.shape == synops.shape == steps):
            raise ValueError(f"events of {name} of shapes {spikes.shape}, {synops.shape}")
        if raster is not None and raster.shape != (*steps, math.prod(shape)):
            raise ValueError(f"messages of {name} of shape {raster.shape}")
        yield LayerEvents(name, shape, spikes, synops, raster)
