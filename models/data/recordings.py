"""N-MNIST in files of 40-bit events, as the cameras of the ATIS kind write them, listed with their classes in text.

Orchard, Jayawant, Cohen, Thakor, "Converting static image datasets to spiking neuromorphic datasets using saccades",
Frontiers in Neuroscience 9 (2015). The selection of 1,000 and 100 recordings is that of SLAYER's example.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.errors import DataError
from spikecut.files import read_bytes, read_text

LISTS = ("train1K.txt", "test100.txt")
EVENT_BYTES = 5
PERIOD = 2**23
"""Microseconds after which the time of an event begins at 0 again."""
JITTER = 2**20
MAXIMUM_RECORDING = 2**26
MAXIMUM_LIST = 2**22
EVENT = np.dtype([("t", np.int64), ("x", np.int64), ("y", np.int64), ("p", np.int64)])


class ListedRecordings(Sequence[tuple[npt.NDArray[Any], int]]):
    """The recordings that a text file lists: a line per recording, the number of its .bs2 file and its class.

    Each is read when it is asked for: events, a structured array as of tonic (see read_events), and the class.
    DataError for a list that is none, or a file that is missing or damaged.
    """

    def __init__(self, path: Path, classes: int) -> None:
        self.folder = path.parent
        self.files: list[tuple[str, int]] = []
        for line in read_text(path, DataError, MAXIMUM_LIST).splitlines():
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
                raise DataError(f"{path}: {line[:40]!r}, expected the number of a file and its class")
            if int(words[1]) >= classes:
                raise DataError(f"{path}: class {words[1]}, expected 0 to {classes - 1}")
            self.files.append((words[0], int(words[1])))
        if not self.files:
            raise DataError(f"{path}: lists no recording")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: Any) -> Any:
        number, label = self.files[place]
        return read_events(self.folder / f"{number}.bs2"), label


def listed_parts(places: Sequence[Path], classes: int) -> tuple[ListedRecordings, ListedRecordings] | None:
    """The recordings to train on and to test on, from the first folder that holds both lists; None where none does."""
    for place in places:
        if all((place / name).is_file() for name in LISTS):
            train, test = (ListedRecordings(place / name, classes) for name in LISTS)
            return train, test
    return None


def read_events(path: Path) -> npt.NDArray[Any]:
    """Events of a .bs2 file in its order: t in µs, x, y, and p, 1 where the pixel grew brighter; int64 each.

    5 bytes an event, big-endian: x in 8 bits, y in 8, p in 1, t in 23. So t begins at 0 again every 8.388608 s; what
    it was is found by its order, as long as no pause is that long: see `_unwrapped`.

    DataError for a file that is missing, empty, or of a length that is no multiple of 5 bytes, and for times that are
    not in order.
    """
    content = read_bytes(path, DataError, MAXIMUM_RECORDING)
    if not content or len(content) % EVENT_BYTES:
        raise DataError(f"{path}: its {len(content)} bytes are not events of {EVENT_BYTES} bytes")
    x, y, *rest = np.frombuffer(content, dtype=np.uint8).reshape(-1, EVENT_BYTES).T.astype(np.int64)
    events = np.empty(len(x), dtype=EVENT)
    events["x"], events["y"], events["p"] = x, y, rest[0] >> 7
    events["t"] = _unwrapped(path, (rest[0] & 0x7F) << 16 | rest[1] << 8 | rest[2])
    return events


def _unwrapped(path: Path, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Times below PERIOD, counted on where they begin at 0 again.

    A step back by more than half of it is such a beginning, one forward by nearly all of it an event that came late.
    Events of one moment may be out of order by JITTER; DataError for a step back between, which may be either.
    """
    steps = np.diff(times)
    begins, late = steps < -(PERIOD // 2), steps > PERIOD - JITTER
    unclear = (steps < -JITTER) & ~begins
    if unclear.any():
        place = int(np.argmax(unclear))
        raise DataError(
            f"{path}: time goes back from {times[place]:,} to {times[place + 1]:,} µs at event {place + 2:,}: events "
            "out of order, or a pause in which its 23 bits ran over: give the events as a .npz with t, x, y and p"
        )
    turns = np.zeros(len(times), dtype=np.int64)
    np.cumsum(begins.astype(np.int64) - late, out=turns[1:])
    turns -= np.minimum.accumulate(turns)  # nothing is late before the first beginning: then it is a pause
    unwrapped: npt.NDArray[np.int64] = times + PERIOD * turns
    return unwrapped
