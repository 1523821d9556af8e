"""Emulated events: what an event camera would see of still images that it passes over in small saccades.

Orchard, Jayawant, Cohen, Thakor, "Converting static image datasets to spiking neuromorphic datasets using saccades",
Frontiers in Neuroscience 9 (2015), moved a camera before a screen along a closed triangle of three saccades. Here the
image moves and the camera is computed, so that whatever is made of it is named "emulated": there is no noise, no
latency, no refractory time, and every pixel has the same threshold.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from spikecut.errors import DataError
from spikecut.models.data.dataset import Dataset, FloatArray, Split
from spikecut.models.data.memory import check_memory

PREFIX = "emulated-"
CORNERS = ((0.0, 0.0), (2.0, 1.0), (0.0, 2.0))  # (down, right) in pixels; the path returns to the first
STEPS_PER_SACCADE = 20
CONTRAST = 0.5  # of log intensity, per event
DARK = 0.1  # added to intensities from 0 to 1 before the logarithm
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
CHUNK = 200
Events = npt.NDArray[np.uint8]


def emulate_events(images: npt.ArrayLike, frames: int, contrast: float = CONTRAST) -> Events:
    """Images → events per frame, uint8 [N, frames, 2, H, W]; of the two channels the first counts on events.

    A pixel remembers the log intensity L' of its last event, at first that of the still image. At each small step of
    the path, with L the log intensity that bilinear interpolation gives there, it sends ⌊|L - L'| / contrast⌋ events,
    on if L > L' and else off, and L' moves towards L by as many contrasts. Since the path is closed, L ends where it
    began: each pixel sends as many on as off events.

    images: [N, H, W], intensities from 0 to 1. DataError for others, or fewer than one frame.
    """
    intensities = np.asarray(images, dtype=np.float32)
    if intensities.ndim != 3 or not intensities.size or intensities.min() < 0 or intensities.max() > 1:
        raise DataError("emulated events need images [N, H, W] with intensities from 0 to 1")
    if frames < 1:
        raise DataError(f"{frames} frames of emulated events: expected at least 1")
    check_memory(f"{len(intensities)} images in {frames} frames", 2 * intensities.size * frames)
    events = np.empty((len(intensities), frames, 2, *intensities.shape[1:]), dtype=np.uint8)
    for start in range(0, len(intensities), CHUNK):
        part = slice(start, start + CHUNK)
        events[part] = _events(intensities[part], frames, contrast)
    return events


def _events(intensities: FloatArray, frames: int, contrast: float) -> Events:
    path = _saccades()
    still = np.log(intensities + np.float32(DARK))
    sent = np.zeros(still.shape, dtype=np.int32)  # on minus off events so far, so that L' = still + contrast · sent
    events = np.zeros((len(intensities), frames, 2, *intensities.shape[1:]), dtype=np.int32)
    for step, (down, right) in enumerate(path):
        moved = np.log(_shifted(intensities, down, right) + np.float32(DARK))
        new = np.trunc((moved - still) / contrast - sent).astype(np.int32)
        frame = events[:, step * frames // len(path)]
        frame[:, 0] += np.maximum(new, 0)
        frame[:, 1] += np.maximum(-new, 0)
        sent += new
    if events.max() > np.iinfo(np.uint8).max:
        raise DataError("a pixel sends more than 255 events in a frame: take more frames or a larger contrast")
    return events.astype(np.uint8)


def emulated(dataset: Dataset, frames: int) -> Dataset:
    """The same samples as emulated events, x uint8 [N, frames, 2, H, W]; its name and note say that it is emulated."""
    if len(dataset.shape) != 3:
        raise DataError(f"{dataset.name}: only images can be turned into emulated events")
    brightest = float(dataset.train.x.max())

    def seen(split: Split) -> Split:
        return replace(split, x=emulate_events(_luminance(split.x) / brightest, frames))

    note = f"emulated event camera: {frames} frames, contrast {CONTRAST}, a closed path of {len(CORNERS)} saccades"
    return replace(
        dataset,
        name=PREFIX + dataset.name,
        train=seen(dataset.train),
        calibration=seen(dataset.calibration),
        test=seen(dataset.test),
        note=f"{dataset.note}; {note}" if dataset.note else note,
    )


def _luminance(x: FloatArray) -> FloatArray:
    if x.shape[1] == 3:
        grey: FloatArray = np.tensordot(x, np.array(LUMINANCE, dtype=np.float32), axes=(1, 0))
        return grey
    averaged: FloatArray = x.mean(axis=1)
    return averaged


def _saccades() -> list[tuple[float, float]]:
    """Offsets after each small step; the last is exactly the first corner."""
    offsets = []
    for begin, end in zip(CORNERS, (*CORNERS[1:], CORNERS[0]), strict=True):
        for step in range(1, STEPS_PER_SACCADE + 1):
            share = step / STEPS_PER_SACCADE
            offsets.append((begin[0] * (1 - share) + end[0] * share, begin[1] * (1 - share) + end[1] * share))
    return offsets


def _shifted(images: FloatArray, down: float, right: float) -> FloatArray:
    """Each image at places moved by (down, right), bilinear; beyond its edge the outermost pixels go on."""
    height, width = images.shape[1:]
    for axis, (offset, length) in enumerate(((down, height), (right, width)), 1):
        whole = int(np.floor(offset))
        share = offset - whole
        near = np.clip(np.arange(length) + whole, 0, length - 1)
        far = np.clip(near + 1, 0, length - 1)
        images = images.take(near, axis) * np.float32(1 - share) + images.take(far, axis) * np.float32(share)
    return images
