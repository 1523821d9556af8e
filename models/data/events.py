"""Recorded event data sets: from files of our own reading, or through tonic.

tonic (GPL-3.0) is no dependency, and is imported only when one of its data sets is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.errors import DataError
from spikecut.models.data.dataset import Dataset, IntArray, Split
from spikecut.models.data.memory import check_memory
from spikecut.models.data.own import FOREIGN
from spikecut.models.data.recordings import listed_parts
from spikecut.models.data.vision import held_out

TEST_TURN = 10  # CIFAR10-DVS has no test part: of each class every tenth recording is taken


@dataclass(frozen=True)
class Recording:
    """A class of tonic.datasets, whether it has a test part, and the side of the squares of pixels that are merged.

    listed: whether it may lie in files that lists name, instead (see recordings.py).
    """

    tonic_name: str
    has_test: bool = True
    merge: int = 1
    shape: tuple[int, ...] = ()
    classes: int = 10
    listed: bool = False


NAMES = {
    "n-mnist": Recording("NMNIST", shape=(2, 34, 34), listed=True),
    "dvs128-gesture": Recording("DVSGesture", merge=4, shape=(2, 32, 32), classes=11),
    "cifar10-dvs": Recording("CIFAR10DVS", has_test=False, merge=4, shape=(2, 32, 32)),
    "shd": Recording("SHD", shape=(700,), classes=20),
}


def load_events(name: str, folder: Path | None, frames: int) -> Dataset:
    """One of NAMES; x uint8 [N, frames, 2, H, W] (SHD: [N, frames, 700]), events counted in frames of equal length.

    folder: as tonic's `save_to`, or n-mnist's .bs2 files and their lists, there or in a folder of its name; nothing is
    downloaded. DataError if tonic or the files are missing.
    """
    recording = NAMES[name]
    listed = None
    if recording.listed and folder is not None:
        listed = listed_parts((folder / name, folder), recording.classes)
    if listed is None:
        parts = _through_tonic(name, recording, folder, frames)
    else:
        parts = [_read(name, recording, samples, frames) for samples in listed]
    x, y = parts[0]
    if not recording.has_test:
        tested = _every_tenth(y)
        parts = [(x[~tested], y[~tested]), (x[tested], y[tested])]
    (x, y), (test_x, test_y) = parts
    held = held_out(y)
    index = np.arange(len(y), dtype=np.int64)
    after = np.arange(len(y), len(y) + len(test_y), dtype=np.int64)
    everything = Split(x, y, index)
    return Dataset(
        name,
        train=everything.take(index[~held]),
        calibration=everything.take(index[held]),
        test=Split(test_x, test_y, after),
        labels=tuple(str(label) for label in range(recording.classes)),
        note=f"events in {frames} frames, {recording.merge} × {recording.merge} pixels merged",
    )


def _through_tonic(
    name: str, recording: Recording, folder: Path | None, frames: int
) -> list[tuple[npt.NDArray[np.uint8], IntArray]]:
    tonic = _tonic(name)
    if folder is None:
        raise DataError(f"{name}: give the folder of tonic's data sets by --data FOLDER or in SPIKECUT_DATA")
    try:
        return [
            _read(name, recording, _open(tonic, recording, folder, name, train), frames)
            for train in ((True, False) if recording.has_test else (True,))
        ]
    except DataError:
        raise
    except FOREIGN as exc:
        raise DataError(f"{name}: {folder} holds what tonic cannot read ({type(exc).__name__}): get it anew") from exc


def _tonic(name: str) -> Any:
    try:
        import tonic
    except ImportError as exc:
        raise DataError(
            f"{name} is read by tonic, which is not installed (no module {exc.name}): pip install tonic (GPL-3.0)"
        ) from exc
    return tonic


def _open(tonic: Any, recording: Recording, folder: Path, name: str, train: bool) -> Any:
    """tonic's own data set, which downloads nothing."""

    def refuse(self: Any) -> None:
        raise DataError(
            f"{name}: {folder} does not hold it; get it by tonic.datasets.{recording.tonic_name}(save_to=FOLDER)"
        )

    original = getattr(tonic.datasets, recording.tonic_name)
    offline = type(original.__name__, (original,), {"download": refuse})  # tonic looks in a folder of the class's name
    return offline(save_to=str(folder), **({"train": train} if recording.has_test else {}))


def _read(name: str, recording: Recording, samples: Any, frames: int) -> tuple[npt.NDArray[np.uint8], IntArray]:
    size = len(samples) * frames * int(np.prod(recording.shape))
    check_memory(f"{name} in {frames} frames", size)
    x = np.empty((len(samples), frames, *recording.shape), dtype=np.uint8)
    y = np.empty(len(samples), dtype=np.int64)
    for place, (events, label) in enumerate(_each(samples)):
        x[place] = bin_events(events, frames, recording.shape, recording.merge)
        y[place] = label
    return x, y


def _each(samples: Any) -> Iterator[tuple[Any, int]]:
    for place in range(len(samples)):
        events, label = samples[place]
        yield events, int(label)


def _every_tenth(labels: IntArray) -> npt.NDArray[np.bool_]:
    tested = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        tested[np.flatnonzero(labels == label)[::TEST_TURN]] = True
    return tested


def bin_events(events: Any, frames: int, shape: tuple[int, ...], merge: int = 1) -> npt.NDArray[np.uint8]:
    """Events (a structured array with t, x and, for a camera, y and p) counted in frames, uint8 [frames, *shape].

    The time from the first to the last event is cut into equal frames; merge × merge pixels become one.
    DataError for an event outside the sensor, or more than 255 in one place.
    """
    counts = np.zeros((frames, *shape), dtype=np.int64)
    if len(events):
        times = np.asarray(events["t"], dtype=np.int64)
        span = int(times.max() - times.min()) + 1
        frame = (times - times.min()) * frames // span
        column = np.asarray(events["x"], dtype=np.int64) // merge
        if len(shape) == 1:
            place: tuple[Any, ...] = (frame, column)
        else:
            place = (
                frame,
                1 - np.asarray(events["p"], dtype=np.int64),
                np.asarray(events["y"], np.int64) // merge,
                column,
            )
        if any(each.min() < 0 or each.max() >= size for each, size in zip(place, counts.shape, strict=True)):
            raise DataError(f"an event lies outside the sensor of shape {shape}")
        np.add.at(counts, place, 1)
    if counts.max() > np.iinfo(np.uint8).max:
        raise DataError("more than 255 events in one place of one frame: take more frames")
    return counts.astype(np.uint8)
