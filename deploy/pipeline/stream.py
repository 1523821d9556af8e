"""Events of a file through the streaming monitor: cut, predict, reset, continue; a verdict at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.base import (
    BACKENDS,
    LavaModels,
    StreamingBackend,
    backend_named,
    check_options,
    check_run,
)
from spikecut.deploy.bundle import Bundle, open_bundle
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.cutoff.calibration.calibrate import Calibration
from spikecut.deploy.cutoff.stream import NOTHING, StreamDecisions, StreamSettings
from spikecut.errors import DataError, InputError
from spikecut.export.network.arrays import Integers
from spikecut.export.network.layers import IntegerNetwork
from spikecut.models.data.event_files import LARGEST_TIME, Binning, EventFile, binned, count_frames, read_event_file
from spikecut.models.data.events import NAMES
from spikecut.text import brief

PIECE = 64
"""Frames that are counted, and played on Lava, at once."""
AS_TRAINED = "the file cut into {} frames of equal length, as training does; --frame-us N takes frames of N µs"


@dataclass(frozen=True)
class StreamOptions:
    """How a file is streamed.

    Attributes
    ----------
    backend: one that plays streams: "batched", "lava", or a StreamingBackend of another package.
    lava_models: as of a run.
    window: frames after which a segment ends without the policy; None: the horizon T.
    confirmations: safe verdicts in a row that change the announced class.
    frame_us: microseconds of a frame; None cuts the whole file into T frames.
    merge: merge × merge pixels become one; None: as the data set that the network was trained on, else 1.

    Raises InputError for a number below 1, or absurdly large.
    """

    backend: str = "batched"
    lava_models: LavaModels = "fast"
    window: int | None = None
    confirmations: int = 1
    frame_us: int | None = None
    merge: int | None = None

    def __post_init__(self) -> None:
        for name in ("frame_us", "merge"):
            if (value := getattr(self, name)) is not None and not 1 <= value <= LARGEST_TIME:
                raise InputError(f"{name} {value}: expected 1 to {LARGEST_TIME}")


@dataclass(frozen=True)
class Verdict:
    """What the monitor said at the end of a segment.

    Attributes
    ----------
    segment: its number, from 1. frame: the last frame that it rests on, from 1. hardware_step: when it is known, P
    steps later. end_us: where that frame ends in the file, in microseconds after the first event; None of frames.
    prediction: the class with the largest sum; label: its name. timesteps: frames of the segment.
    margin: largest minus second largest sum. safe: whether the policy ended it, and not the window.
    announced: the class announced after it; None before the first.
    """

    segment: int
    frame: int
    hardware_step: int
    end_us: int | None
    prediction: int
    label: str
    timesteps: int
    margin: int
    safe: bool
    announced: int | None


@dataclass(frozen=True)
class EventStream:
    """A file as a stream: `verdicts` runs it as it is iterated. notes: remarks for the user."""

    frames: int
    verdicts: Iterator[Verdict] = field(repr=False)
    notes: tuple[str, ...] = ()

    __repr__ = brief


def stream_events(bundle: Path, events: Path, options: StreamOptions = StreamOptions()) -> EventStream:
    """Open the stream of a file on a calibrated bundle.

    Raises
    ------
    BundleError: no sound bundle, or one that is not calibrated. DataError: a file that cannot be read, or does not fit.
    InputError: a network that takes no events, or settings that do not fit it.
    """
    opened = open_bundle(bundle)
    return _opened(opened.network, opened.cutoff(), events, options, str(opened.manifest.recipe.get("dataset", "")))


def stream(
    bundle: Bundle | str | Path,
    events: str | Path,
    *,
    policy: CutoffPolicy | Calibration | None = None,
    window: int | None = None,
    confirmations: int = 1,
    frame_us: int | None = None,
    backend: str = "batched",
) -> Iterator[Verdict]:
    """Play the events of a file through a network that every verdict resets, and give the verdicts as they fall.

    Parameters
    ----------
    bundle: from `open_bundle`, or its folder; its network takes events.
    events: a .npz with integers t (µs), x, y and p [N], or with samples of events, uint8 x [N, T, *shape]; a .bs2, or
        an .aedat of version 3.1.
    policy: judges each segment, or what `calibrate` returned; None takes the bundle's own.
    window: frames after which a segment ends without the policy; None: the horizon T.
    confirmations: safe verdicts in a row that change the announced class.
    frame_us: microseconds of a frame; None cuts the file into T frames, as training does.
    backend: "batched", "lava", or another that plays streams.

    Raises
    ------
    BundleError: no sound bundle, or no policy. DataError: a file that cannot be read, or does not fit. InputError:
        settings that do not fit the network. BackendError: Lava is missing or failed.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    options = StreamOptions(backend, window=window, confirmations=confirmations, frame_us=frame_us)
    dataset = str(opened.manifest.recipe.get("dataset", ""))
    chosen = policy.policy if isinstance(policy, Calibration) else policy or opened.cutoff()
    return _opened(opened.network, chosen, Path(events), options, dataset).verdicts


def streaming_backends() -> list[str]:
    """The names of the backends that play streams."""
    return [name for name in BACKENDS.names() if isinstance(backend_named(name), StreamingBackend)]


def _opened(
    network: IntegerNetwork, policy: CutoffPolicy, events: Path, options: StreamOptions, dataset: str
) -> EventStream:
    """The stream of a file on a network; dataset: what it was trained on."""
    if network.input.encoding != "events":
        raise InputError(f"{network.name} takes images ({network.input.encoding}), no events: it cannot be streamed")
    backend = backend_named(options.backend)
    if not isinstance(backend, StreamingBackend):
        raise InputError(
            f"backend {backend.name!r} plays no streams: expected one of {', '.join(streaming_backends())}"
        )
    check_options(backend, "isolated", options.lava_models)
    check_run(backend, network)
    settings = StreamSettings(policy, options.window, options.confirmations)
    merge = options.merge or (NAMES[dataset].merge if dataset in NAMES else 1)
    how = Binning(network.input_shape, network.horizon, options.frame_us, merge)
    found = read_event_file(events)
    pieces, total, frame_us = _pieces(events, found, how)
    notes = () if frame_us is None or options.frame_us else (AS_TRAINED.format(network.horizon),)
    decisions = backend.stream(network, pieces, settings, options.lava_models)
    return EventStream(total, _verdicts(network, decisions, frame_us), notes)


def _pieces(path: Path, found: EventFile, how: Binning) -> tuple[Iterator[Integers], int, float | None]:
    """The frames piece by piece, how many there are, and how long each is in microseconds, None where no file says."""
    if found.events is not None:
        _check_sensor(path, found.events, found.camera, how.shape)
        _, total = count_frames(path, found.events, how)
        span = int(found.events["t"][-1] - found.events["t"][0]) + 1
        return binned(path, found.events, how, PIECE), total, how.frame_us or span / total
    frames = found.frames
    if frames is None or frames.shape[1:] != how.shape:
        raise DataError(f"{path}: frames of shape {() if frames is None else frames.shape[1:]}, expected {how.shape}")
    pieces = (frames[first : first + PIECE].astype(np.int32) for first in range(0, len(frames), PIECE))
    return pieces, len(frames), None


def _check_sensor(path: Path, events: npt.NDArray[Any], camera: bool, shape: tuple[int, ...]) -> None:
    """DataError where y and p are missing, or would be dropped."""
    if len(shape) == 3 and not camera:
        raise DataError(f"{path}: holds t and x alone, the network takes frames of {shape}: give y and p, too")
    if len(shape) == 1 and (events["y"].any() or np.ptp(events["p"])):
        raise DataError(
            f"{path}: events of a camera, with y or both polarities, but the network takes {shape[0]} channels: give t "
            "and x, the number of the channel"
        )


def _verdicts(
    network: IntegerNetwork, decisions: Iterator[StreamDecisions], frame_us: float | None
) -> Iterator[Verdict]:
    labels = network.input.labels or tuple(map(str, range(network.classes)))
    segment = 0
    for frame, said in enumerate(decisions, start=1):
        if not said.emitted[0]:
            continue
        segment += 1
        announced = int(said.announced[0])
        yield Verdict(
            segment=segment,
            frame=frame,
            hardware_step=frame + network.depth,
            end_us=None if frame_us is None else round(frame * frame_us),
            prediction=int(said.predictions[0]),
            label=labels[int(said.predictions[0])],
            timesteps=int(said.timesteps[0]),
            margin=int(said.margins[0]),
            safe=bool(said.safe[0]),
            announced=None if announced == NOTHING else announced,
        )
