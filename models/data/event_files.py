"""Recordings of events in files: .npz, .bs2, and AEDAT 3.1. Sizes are checked before memory is taken.

AEDAT 3.1, as iniVation describes it: little-endian packets, each a header of 28 bytes and its events. Polarity events
have 8 bytes each: valid in bit 0, p in bit 1, y in bits 2 to 16, x in bits 17 to 31, then the time in µs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.errors import DataError
from spikecut.files import read_bytes
from spikecut.models.data.memory import check_memory
from spikecut.models.data.own import load_samples, read_arrays
from spikecut.models.data.recordings import EVENT, read_events
from spikecut.text import brief

MAXIMUM_FILE = 2**31
MAXIMUM_FRAMES = 2**24
LARGEST_TIME = 2**46
EVENT_KEYS = ("t", "x", "y", "p")
AEDAT_END = b"#End Of ASCII Header\r\n"
AEDAT_PACKET = np.dtype(
    [
        *(("type", "<u2"), ("source", "<u2"), ("size", "<u4"), ("offset", "<u4")),
        *(("overflow", "<u4"), ("capacity", "<u4"), ("number", "<u4"), ("valid", "<u4")),
    ]
)
POLARITY = 1
ELSEWHERE = "write t, x, y and p, integers [N], with numpy.savez, and give that .npz"


@dataclass(frozen=True)
class EventFile:
    """What a file holds.

    Attributes
    ----------
    events: structured array in the order of time, int64 each: t in µs, x, y, and p, 1 where the pixel grew brighter;
        None where the file holds frames.
    camera: whether the file gives y and p, which are 0 otherwise.
    frames: uint8 [F, *shape], events counted in frames; None where it holds events.
    """

    events: npt.NDArray[Any] | None
    frames: npt.NDArray[np.uint8] | None
    camera: bool = True

    __repr__ = brief


def read_event_file(path: Path) -> EventFile:
    """Events of a .npz (arrays t, x and, of a camera, y and p), a .bs2 or an .aedat of version 3.1, sorted by time.

    A .npz with samples of events, uint8 x or x_test [N, T, *shape], gives their frames, one behind the other.

    DataError for a file that is missing, foreign, damaged or too large, or of a format that is not read.
    """
    kind = path.suffix.lower()
    if kind == ".bs2":
        return EventFile(_sorted(path, read_events(path)), None)
    if kind == ".aedat":
        return EventFile(_sorted(path, _read_aedat(path)), None)
    if kind != ".npz":
        raise DataError(f"{path}: expected events in a .npz, .bs2 or .aedat (3.1); {ELSEWHERE}")
    arrays = read_arrays(path, EVENT_KEYS)
    if "t" in arrays:
        return EventFile(_sorted(path, _of_arrays(path, arrays)), None, camera="y" in arrays)
    samples = load_samples(path)
    if not samples.events:
        raise DataError(f"{path}: holds images, no events: expected t, x, y and p, or uint8 x [N, T, …]")
    return EventFile(None, samples.x.reshape(-1, *samples.shape))


def _of_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    sizes = {array.shape for array in arrays.values()}
    if "x" not in arrays or ("y" in arrays) != ("p" in arrays) or len(sizes) > 1 or arrays["t"].ndim != 1:
        raise DataError(f"{path}: expected t and x, or t, x, y and p, of one length [N]")
    events = np.zeros(len(arrays["t"]), dtype=EVENT)
    for name, array in arrays.items():
        if array.dtype.kind not in "biu":
            raise DataError(f"{path}: {name} has dtype {array.dtype}, expected integers (t in µs)")
        events[name] = array
    return events


def _sorted(path: Path, events: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """In the order of time; DataError for no event, or for what no camera sends."""
    if not len(events):
        raise DataError(f"{path}: holds no event")
    for name in ("x", "y", "t"):
        if events[name].min() < 0:
            raise DataError(f"{path}: a negative {name}")
    if events["p"].min() < 0 or events["p"].max() > 1:
        raise DataError(f"{path}: a polarity p other than 0 and 1")
    if events["t"].max() >= LARGEST_TIME:
        raise DataError(f"{path}: a time of {events['t'].max()} µs: expected less than {LARGEST_TIME}")
    return events if (np.diff(events["t"]) >= 0).all() else events[np.argsort(events["t"], kind="stable")]


def _read_aedat(path: Path) -> npt.NDArray[Any]:
    content = read_bytes(path, DataError, MAXIMUM_FILE)
    version = content[:11].decode("latin-1").strip()
    if version != "#!AER-DAT3.1" and not content.startswith(b"#!AER-DAT3.1"):
        raise DataError(f"{path}: AEDAT 3.1 alone is read, and it begins with {version!r}: {ELSEWHERE}")
    start = content.find(AEDAT_END)
    if start < 0:
        raise DataError(f"{path}: its header has no end")
    check_memory(path, 5 * len(content))  # 8 bytes an event become 32
    parts = list(_packets(path, content, start + len(AEDAT_END)))
    words = np.concatenate(parts) if parts else np.zeros((0, 2), dtype=np.uint32)
    data, times = words[words[:, 0] & 1 == 1].T.astype(np.int64)
    events = np.empty(len(data), dtype=EVENT)
    events["p"], events["y"], events["x"], events["t"] = (data >> 1) & 1, (data >> 2) & 0x7FFF, data >> 17, times
    return events


def _packets(path: Path, content: bytes, place: int) -> Iterator[npt.NDArray[np.uint32]]:
    """The polarity events of every packet, uint32 [N, 2]; packets of another kind are passed over."""
    while place < len(content):
        if len(content) - place < AEDAT_PACKET.itemsize:
            raise DataError(f"{path}: truncated in the header of a packet")
        head = np.frombuffer(content, AEDAT_PACKET, 1, place)[0]
        place += AEDAT_PACKET.itemsize
        length = int(head["size"]) * int(head["capacity"])
        if length > len(content) - place or int(head["number"]) > int(head["capacity"]):
            raise DataError(f"{path}: a packet claims {length} bytes, {len(content) - place} are left")
        if head["type"] == POLARITY:
            if head["size"] != 8 or head["overflow"]:
                raise DataError(
                    f"{path}: polarity events of {head['size']} bytes, overflow {head['overflow']}: not read"
                )
            yield np.frombuffer(content, "<u4", 2 * int(head["number"]), place).reshape(-1, 2)
        place += length


@dataclass(frozen=True)
class Binning:
    """How events become frames.

    Attributes
    ----------
    shape: of a frame, (2, H, W) or (F,).
    frame_us: microseconds of a frame; None cuts the file into `frames` of equal length, as a training's samples are.
    merge: merge × merge pixels become one.
    """

    shape: tuple[int, ...]
    frames: int
    frame_us: int | None = None
    merge: int = 1


def count_frames(path: Path, events: npt.NDArray[Any], how: Binning) -> tuple[npt.NDArray[np.int64], int]:
    """The frame of every event, int64 [N] ascending, and the number of frames; DataError for more than are read."""
    since = events["t"] - events["t"][0]
    span = int(since[-1]) + 1
    if how.frame_us is None:
        if span * how.frames >= 2**63:
            raise DataError(f"{path}: {span:,} µs are too long to be cut into {how.frames:,} frames: give --frame-us")
        return since * how.frames // span, how.frames
    total = -(-span // how.frame_us)
    if total > MAXIMUM_FRAMES:
        raise DataError(f"{path}: {total:,} frames of {how.frame_us} µs, at most {MAXIMUM_FRAMES:,}: take longer ones")
    return since // how.frame_us, total


def binned(path: Path, events: npt.NDArray[Any], how: Binning, chunk: int) -> Iterator[npt.NDArray[np.int32]]:
    """Events counted in frames, int32 [≤ chunk, *shape] at a time. DataError for an event outside the sensor."""
    frame, total = count_frames(path, events, how)
    places = [events["x"] // how.merge]
    if len(how.shape) == 3:
        places = [1 - events["p"], events["y"] // how.merge, *places]
    for place, size in zip(places, how.shape, strict=True):
        if place.max() >= size:
            raise DataError(
                f"{path}: an event lies outside the sensor of {how.shape}: --merge N takes N × N pixels as one"
            )
    for first in range(0, total, chunk):
        begin, end = np.searchsorted(frame, [first, first + chunk])
        counts = np.zeros((min(chunk, total - first), *how.shape), dtype=np.int32)
        np.add.at(counts, (frame[begin:end] - first, *(place[begin:end] for place in places)), 1)
        yield counts
