"""RunTrace: what a backend saw while it ran. Counts, never joules."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cutoff.base import ExitReason, checked_labels
from spikecut.errors import InputError
from spikecut.export.network.layers import IntegerNetwork
from spikecut.text import brief, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


Mode = Literal["isolated", "streaming"]
NO_MESSAGES = "this trace holds no spikes: run again with record='all'"


@dataclass(frozen=True)
class LayerEvents:
    """Events of one layer per sample and hardware step of that sample's own run, int64 [N, H].

    H is the longest run of the trace; steps that a sample did not execute hold 0 (see RunTrace.hardware_steps).

    Attributes
    ----------
    name: the layer's name; the first entry of RunTrace.events is the source, named "input".
    shape: shape of the layer's output, torch order.
    spikes: neurons of this layer that sent a message in the hardware step.
    synops: synaptic operations which the messages of the layer before caused here: one per non-zero weight reached;
        those of a skip in the step in which the relay gives the messages on.
    raster: messages themselves, [N, H, size], 0 where none; only when the run recorded everything.
    """

    name: str
    shape: tuple[int, ...]
    spikes: IntArray
    synops: IntArray
    raster: npt.NDArray[np.int32] | None = None

    __repr__ = brief


@dataclass(frozen=True)
class RunTrace:
    """Result of running N samples, time first.

    Attributes
    ----------
    scores: int64 [T, N, classes]; what step t added to each class (spikes of a count readout, increment of the
        membrane for a membrane readout). Their running sum is Y_t of docs/cutoff.md; 0 where not `valid`.
    valid: bool [T, N]; False after the exit: nothing is known there.
    timesteps: int64 [N]; algorithmic steps used, 1..T.
    hardware_steps: int64 [N]; steps from the sample's start to the decision, min(timesteps + d, T) + depth.
    mode: "isolated", each sample alone, or "streaming", the next one starts before the pipeline is empty.
    interval: int64 [N]; hardware steps until the next sample started: hardware_steps when isolated,
        min(hardware_steps, T) in a stream (the last sample of a stream keeps hardware_steps).
    reason: ExitReason per sample.
    network: the network that ran.
    events: per layer, source first; empty when not recorded.
    wall_time_s: float64 [N], measured wall time per sample of the simulator; empty if not measured.
    """

    scores: IntArray
    valid: BoolArray
    timesteps: IntArray
    hardware_steps: IntArray
    reason: tuple[ExitReason, ...]
    network: IntegerNetwork
    backend: str
    events: tuple[LayerEvents, ...] = ()
    wall_time_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    mode: Mode = "isolated"
    interval: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    __repr__ = brief

    def __post_init__(self) -> None:
        horizon, samples, _ = self.scores.shape
        if self.valid.shape != (horizon, samples):
            raise InputError(f"trace: valid of shape {self.valid.shape}, expected {(horizon, samples)}")
        if self.interval.shape != (samples,):
            object.__setattr__(self, "interval", self.hardware_steps)

    def __str__(self) -> str:
        """Three lines: what ran, how long, and what was recorded."""
        cut = self.reason.count(ExitReason.CUTOFF)
        rasters = any(layer.raster is not None for layer in self.events)
        recorded = "scores" + (", event counts" if self.events else "") + (", all messages" if rasters else "")
        return (
            f"{self.samples} samples of {self.network.name} on {self.backend}, {self.mode}: {recorded}\n"
            f"timesteps {spread(self.timesteps)} of T = {self.horizon}, "
            f"hardware steps {spread(self.hardware_steps)} of {self.horizon + self.depth}\n"
            f"{cut} ended by the cutoff, {self.samples - cut} at the horizon"
        )

    @property
    def horizon(self) -> int:
        """T, the number of algorithmic steps of a full run."""
        return int(self.scores.shape[0])

    @property
    def samples(self) -> int:
        """N."""
        return int(self.scores.shape[1])

    @property
    def totals(self) -> IntArray:
        """Y at the exit, int64 [N, classes]."""
        return np.asarray(np.where(self.valid[..., None], self.scores, 0).sum(axis=0), dtype=np.int64)

    @property
    def predictions(self) -> IntArray:
        """Class with the largest total at the exit, int64 [N]; the first one on a tie."""
        return np.asarray(self.totals.argmax(axis=1), dtype=np.int64)

    def accuracy(self, labels: npt.ArrayLike) -> float:
        """Share of samples whose prediction at the exit is right.

        labels: integers [N]; InputError if they do not fit.
        """
        right = np.equal(self.predictions, checked_labels(labels, self.samples, self.scores.shape[2]))
        return float(right.mean())

    def to_dataframe(self, labels: npt.ArrayLike | None = None) -> Any:
        """One row a sample, as a DataFrame of pandas.

        Columns: sample, prediction, timesteps, hardware_steps, reason, and total_0, total_1, … (Y of each class at the
        exit); where they are known messages and synops (of all layers) and wall_time_s; with labels, integers [N], also
        label and correct.

        Raises InputError if pandas is not installed, or the labels do not fit.
        """
        try:
            import pandas  # not among what spikecut needs
        except ImportError as error:
            raise InputError("to_dataframe needs pandas, which is not installed: pip install pandas") from error
        return pandas.DataFrame(self.columns(labels))

    def columns(self, labels: npt.ArrayLike | None = None) -> dict[str, npt.NDArray[Any]]:
        """The columns of `to_dataframe` as arrays."""
        found: dict[str, npt.NDArray[Any]] = {
            "sample": np.arange(self.samples),
            "prediction": self.predictions,
            "timesteps": self.timesteps,
            "hardware_steps": self.hardware_steps,
            "reason": np.array([reason.value for reason in self.reason]),
        }
        if labels is not None:
            checked = checked_labels(labels, self.samples, self.scores.shape[2])
            found |= {"label": checked, "correct": np.equal(self.predictions, checked)}
        if self.events:
            found["messages"] = np.sum([layer.spikes.sum(axis=1) for layer in self.events], axis=0)
            found["synops"] = np.sum([layer.synops.sum(axis=1) for layer in self.events], axis=0)
        if self.wall_time_s.shape == (self.samples,):
            found["wall_time_s"] = self.wall_time_s
        return found | {f"total_{number}": totals for number, totals in enumerate(self.totals.T)}

    def plot_raster(self, sample: int = 0, class_names: Sequence[str] = ()) -> "Figure":
        """The messages of every layer of one sample over its hardware steps, the source on top, up to the exit.

        Returns a Figure of matplotlib, whose `savefig` writes it. A row is a neuron, or, in a large layer, several that
        share it; the darker, the more or the larger the messages; vermilion where they are negative. The hardware steps
        that the cutoff saved are hatched.

        class_names: of the output neurons; those of the network, or numbers, if empty.

        Raises InputError if the sample does not exist or the trace holds no messages.
        """
        if not 0 <= sample < self.samples:
            raise InputError(f"spike raster: sample {sample}, the trace has 0 to {self.samples - 1}")
        rasters = [layer.raster for layer in self.events]
        if not rasters or any(raster is None for raster in rasters):
            raise InputError(NO_MESSAGES)
        from spikecut.deploy.raster import RasterLayer, RasterSample, raster_figure  # matplotlib takes a moment

        shown = RasterSample(
            self.horizon,
            self.depth,
            int(self.timesteps[sample]),
            int(self.hardware_steps[sample]),
            self.reason[sample] is ExitReason.CUTOFF,
            int(self.predictions[sample]),
        )
        layers = [
            RasterLayer(layer.name, layer.shape, layer.raster[sample])
            for layer in self.events
            if layer.raster is not None
        ]
        names = class_names or self.network.input.labels or [str(number) for number in range(self.scores.shape[2])]
        return raster_figure(layers, shown, names)

    @property
    def depth(self) -> int:
        """Pipeline depth P in hardware steps."""
        return self.network.depth

    @property
    def spikes(self) -> dict[str, npt.NDArray[np.int32]]:
        """Messages of every layer in algorithmic time, name → int32 [T, N, *shape]; InputError if not recorded.

        The layer at depth l sends its step t in hardware step t + l. Beyond the exit (not `valid`) a layer's
        entries are 0.
        """
        result: dict[str, npt.NDArray[np.int32]] = {}
        for depth, layer in zip(self.network.depths, self.events, strict=False):
            if layer.raster is None:
                raise InputError(NO_MESSAGES)
            steps = layer.raster[:, depth : depth + self.horizon].swapaxes(0, 1)
            padded = np.zeros((self.horizon, *steps.shape[1:]), dtype=np.int32)
            padded[: steps.shape[0]] = steps
            padded[~self.valid] = 0
            result[layer.name] = padded.reshape(self.horizon, self.samples, *layer.shape)
        return result


def joined(parts: Sequence[RunTrace]) -> RunTrace:
    """Parts of one run, one after the other, as one trace; InputError if there are none, or of several runs."""
    if not parts:
        raise InputError("no samples ran: nothing to join")
    first = parts[0]
    kinds = {(part.network.name, part.backend, part.mode, part.scores.shape[::2], len(part.events)) for part in parts}
    if len(kinds) > 1:
        raise InputError("these parts are of different networks, backends or records: they cannot be joined")
    if len(parts) == 1:
        return first
    return replace(
        first,
        scores=np.concatenate([part.scores for part in parts], axis=1),
        valid=np.concatenate([part.valid for part in parts], axis=1),
        timesteps=np.concatenate([part.timesteps for part in parts]),
        hardware_steps=np.concatenate([part.hardware_steps for part in parts]),
        reason=tuple(reason for part in parts for reason in part.reason),
        events=tuple(_joined_events([part.events[i] for part in parts]) for i in range(len(first.events))),
        wall_time_s=np.concatenate([part.wall_time_s for part in parts]),
        interval=np.concatenate([part.interval for part in parts]),
    )


def _joined_events(parts: Sequence[LayerEvents]) -> LayerEvents:
    longest = max(part.spikes.shape[1] for part in parts)
    rasters = [part.raster for part in parts if part.raster is not None]
    recorded = len(rasters) == len(parts)
    return LayerEvents(
        parts[0].name,
        parts[0].shape,
        np.concatenate([_longer(part.spikes, longest) for part in parts]),
        np.concatenate([_longer(part.synops, longest) for part in parts]),
        np.concatenate([_longer(raster, longest) for raster in rasters]) if recorded else None,
    )


def sliced(trace: RunTrace, part: slice) -> RunTrace:
    """Some samples of a run as a run of their own."""
    return replace(
        trace,
        scores=trace.scores[:, part],
        valid=trace.valid[:, part],
        timesteps=trace.timesteps[part],
        hardware_steps=trace.hardware_steps[part],
        reason=trace.reason[part],
        events=tuple(
            LayerEvents(
                layer.name,
                layer.shape,
                layer.spikes[part],
                layer.synops[part],
                None if layer.raster is None else layer.raster[part],
            )
            for layer in trace.events
        ),
        wall_time_s=trace.wall_time_s[part],
        interval=trace.interval[part],
    )


def lengthened(trace: RunTrace, longest: int) -> RunTrace:
    """The same trace with its events in `longest` hardware steps, of which the last hold nothing."""
    return replace(trace, events=tuple(_lengthened(layer, longest) for layer in trace.events))


def _lengthened(layer: LayerEvents, longest: int) -> LayerEvents:
    if layer.spikes.shape[1] == longest:
        return layer
    return LayerEvents(
        layer.name,
        layer.shape,
        _longer(layer.spikes, longest),
        _longer(layer.synops, longest),
        None if layer.raster is None else _longer(layer.raster, longest),
    )


def _longer(steps: npt.NDArray[Any], longest: int) -> npt.NDArray[Any]:
    """[N, H, ...] with zeros after step H, up to the longest."""
    padding = [(0, 0), (0, longest - steps.shape[1]), *((0, 0) for _ in steps.shape[2:])]
    return np.pad(steps, padding)
