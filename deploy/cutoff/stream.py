"""Cutoff on a stream without end: cut, emit, reset, go on.

A stream is judged in segments. A segment begins with empty sums; at its t-th step the policy judges Y_t, the sum since
the segment began, as it does in a single sample. When it exits, or at the latest after `window` steps, the decision is
emitted and the next segment begins. Between the two lie `gap` steps that count for nothing: in a pipeline of depth P
the decision comes P steps after the last frame that it rests on, and the frames under way are lost to the reset.

The announced class changes only after `confirmations` decisions in a row for one other class (hysteresis); a decision
for the announced class starts the count again, and so does one at the window's end, which the policy did not find safe.

One `StreamCutoff` holds any number of streams, each in its own phase. The Lava monitor calls `step` with one stream, a
simulator with all; both get the same decisions. Integers and numpy only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from spikecut.deploy.cutoff.base import BoolArray, CutoffPolicy, IntArray, check_classes
from spikecut.errors import InputError
from spikecut.export.network.layers import IntegerNetwork
from spikecut.text import brief

NOTHING = -1
"""The announced class before there is one."""


@dataclass(frozen=True)
class StreamSettings:
    """How a stream is judged.

    Attributes
    ----------
    policy: judges each segment.
    window: steps after which a segment ends without the policy; None takes the policy's own horizon T.
    confirmations: decisions in a row that change the announced class, ≥ 1; 1 announces every safe decision.
    gap: steps between a decision and the next segment, ≥ 0; 0 for scores at hand, P for a pipeline seen at its output.
    """

    policy: CutoffPolicy
    window: int | None = None
    confirmations: int = 1
    gap: int = 0

    def __post_init__(self) -> None:
        if self.confirmations < 1 or self.gap < 0:
            raise InputError(
                f"stream: {self.confirmations} confirmations and a gap of {self.gap}: expected at least 1 and 0"
            )
        if self.window is not None and not 1 <= self.window <= self.policy.horizon:
            raise InputError(
                f"stream: window {self.window}, the policy speaks about 1 to {self.policy.horizon} steps: choose one "
                "of them, or calibrate for a longer horizon"
            )

    @property
    def longest(self) -> int:
        """Steps of the longest segment."""
        return self.policy.horizon if self.window is None else self.window


def check_stream(network: IntegerNetwork, settings: StreamSettings) -> None:
    """InputError for a segment longer than the gains per timestep of a layer, or for one output that is no class."""
    check_classes(network, "a stream")
    for layer in network.layers:
        if layer.neuron.gain is not None and settings.longest > network.horizon:
            raise InputError(
                f"stream: layer {layer.name} has a gain for each of T = {network.horizon} timesteps, a segment may "
                f"take {settings.longest}: give a window of at most {network.horizon}"
            )


@dataclass(frozen=True)
class StreamDecisions:
    """What one step said about each of N streams.

    Attributes
    ----------
    emitted: bool [N], whether a segment ended here.
    safe: bool [N], whether the policy ended it, and not the window.
    predictions: int64 [N], class with the largest sum, the first one on a tie; NOTHING where nothing was emitted.
    timesteps: int64 [N], length of the segment that ended; 0 where none did.
    announced: int64 [N], the class announced after this step; NOTHING before the first.
    margins: int64 [N], largest minus second largest sum where a segment ended; 0 elsewhere, and of a single class.
    """

    emitted: BoolArray
    safe: BoolArray
    predictions: IntArray
    timesteps: IntArray
    announced: IntArray
    margins: IntArray


@dataclass(frozen=True)
class StreamRun:
    """All decisions of N streams over F frames; arrays [F, N] like those of StreamDecisions, in frames.

    A decision stands at the last frame that it rests on. In hardware it is known `depth` steps later.
    """

    emitted: BoolArray
    safe: BoolArray
    predictions: IntArray
    timesteps: IntArray
    announced: IntArray
    margins: IntArray

    __repr__ = brief

    @classmethod
    def of(cls, decisions: Sequence[StreamDecisions]) -> "StreamRun":
        """The decisions of successive frames, at least one."""
        return cls(**{each.name: np.stack([getattr(said, each.name) for said in decisions]) for each in fields(cls)})

    @property
    def segments(self) -> IntArray:
        """Decisions per stream, int64 [N]."""
        return np.asarray(self.emitted.sum(axis=0), dtype=np.int64)

    @property
    def changes(self) -> IntArray:
        """How often each stream's announced class changed, int64 [N]; the first announcement is none."""
        before, after = self.announced[:-1], self.announced[1:]
        return np.asarray(((before != after) & (before >= 0)).sum(axis=0), dtype=np.int64)


class StreamCutoff:
    """Judges N streams step by step; keeps their sums, phases and announcements.

    Attributes
    ----------
    elapsed: int64 [N], steps of the segment under way; negative in a gap, where -1 is its last step.
    announced: int64 [N].
    """

    def __init__(self, settings: StreamSettings, classes: int, streams: int = 1) -> None:
        self.settings = settings
        self.totals = np.zeros((streams, classes), dtype=np.int64)
        self.elapsed = np.zeros(streams, dtype=np.int64)
        self.announced = np.full(streams, NOTHING, dtype=np.int64)
        self._state = settings.policy.init(streams, classes)
        self._candidate = np.full(streams, NOTHING, dtype=np.int64)
        self._agreeing = np.zeros(streams, dtype=np.int64)

    @property
    def begins(self) -> BoolArray:
        """Streams whose next step is the first of a segment, bool [N]: what feeds them must be at rest then."""
        return np.asarray(self.elapsed == 0)

    def step(self, scores: IntArray) -> StreamDecisions:
        """Judge one more step from what it adds to each class, int64 [N, classes]."""
        if scores.shape != self.totals.shape:
            raise InputError(f"stream: scores of shape {scores.shape}, expected {self.totals.shape}")
        counting = self.elapsed >= 0
        self.elapsed += 1
        self.totals[counting] += scores[counting]
        safe = self._judge(counting)
        emitted = counting & (safe | (self.elapsed == self.settings.longest))
        predictions = np.where(emitted, self.totals.argmax(axis=1), NOTHING).astype(np.int64)
        timesteps = np.where(emitted, self.elapsed, 0)
        margins = np.where(emitted, _margins(self.totals), 0)
        self._announce(emitted, safe, predictions)
        self.totals[emitted] = 0
        self._state[emitted] = self.settings.policy.init(int(emitted.sum()), self.totals.shape[1])
        self.elapsed[emitted] = -self.settings.gap
        return StreamDecisions(emitted, safe, predictions, timesteps, self.announced.copy(), margins)

    def _judge(self, counting: BoolArray) -> BoolArray:
        """Where the policy exits; streams in the same phase are judged together."""
        safe = np.zeros(counting.shape, dtype=np.bool_)
        for t in np.unique(self.elapsed[counting]).tolist():
            chosen = counting & (self.elapsed == t)
            safe[chosen], self._state[chosen] = self.settings.policy.step(self.totals[chosen], t, self._state[chosen])
        return safe

    def _announce(self, emitted: BoolArray, safe: BoolArray, predictions: IntArray) -> None:
        """Count agreeing decisions, and change the announced class where there are enough."""
        other = emitted & safe & (predictions != self.announced)
        agrees = other & (predictions == self._candidate)
        self._agreeing[emitted] = np.where(agrees, self._agreeing + 1, other.astype(np.int64))[emitted]
        self._candidate[emitted] = np.where(other, predictions, NOTHING)[emitted]
        changed = other & (self._agreeing >= self.settings.confirmations)
        self.announced[changed] = predictions[changed]
        self._agreeing[changed] = 0
        self._candidate[changed] = NOTHING


def _margins(totals: IntArray) -> IntArray:
    """Largest minus second largest sum, int64 [N]."""
    best_two = np.partition(totals, -2, axis=1)[:, -2:] if totals.shape[1] > 1 else np.zeros((len(totals), 2), np.int64)
    return np.asarray(best_two[:, 1] - best_two[:, 0], dtype=np.int64)
