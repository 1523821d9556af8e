"""RunCounts: what a run's summary and figures count, gathered part by part, so that no trace need be kept."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikecut.deploy.cutoff.base import ExitReason, checked_labels
from spikecut.deploy.cutoff.calibration.oct import optimal_cutoff_timestep
from spikecut.deploy.run_trace import IntArray, RunTrace
from spikecut.errors import InputError
from spikecut.export.network.layers import IntegerNetwork


@dataclass(frozen=True)
class Halt:
    """The first sample that was halted at a timestep: its position, and hardware steps until the next one started."""

    sample: int
    interval: int


class RunCounts:
    """Counts of a run, and of the full run of its samples.

    Attributes
    ----------
    network: that ran. backend: its name. samples: N.
    right, wrong: samples that exit at timestep 1 … T, by whether their prediction is right, int64 [T].
    hardware_steps: of all samples. reasons: samples by why they ended.
    right_after: samples that are right after each timestep of the full run, int64 [T]; None without a full run.
    optimal_timesteps: of all samples' optimal cutoffs. never_right: samples that have none.
    """

    def __init__(self, network: IntegerNetwork) -> None:
        self.network, self.backend, self.samples = network, "", 0
        self.right = np.zeros(network.horizon, dtype=np.int64)
        self.wrong = np.zeros(network.horizon, dtype=np.int64)
        self.hardware_steps = 0
        self.reasons = dict.fromkeys(ExitReason, 0)
        self.right_after: IntArray | None = None
        self.optimal_timesteps = self.never_right = 0
        self._halted = np.zeros(network.horizon, dtype=np.int64)
        self._first: dict[int, Halt] = {}

    @classmethod
    def of(cls, trace: RunTrace, labels: npt.ArrayLike, full: RunTrace | None = None) -> "RunCounts":
        """Of a run that is at hand as a whole; see `add`."""
        counts = cls(trace.network)
        counts.add(trace, labels, full)
        return counts

    def add(self, trace: RunTrace, labels: npt.ArrayLike, full: RunTrace | None = None) -> None:
        """Take the next samples; full: their full run, the trace itself where it was not halted.

        Raises InputError if the labels do not fit, or if `full` is another run, or was cut.
        """
        horizon, samples, classes = trace.scores.shape
        checked = checked_labels(labels, samples, classes)
        right = np.equal(trace.predictions, checked)
        self.right += np.bincount(trace.timesteps[right], minlength=horizon + 1)[1:]
        self.wrong += np.bincount(trace.timesteps[~right], minlength=horizon + 1)[1:]
        self.hardware_steps += int(trace.hardware_steps.sum())
        for reason in ExitReason:
            self.reasons[reason] += trace.reason.count(reason)
        halted = np.flatnonzero([reason is ExitReason.CUTOFF for reason in trace.reason])
        self._halted += np.bincount(trace.timesteps[halted], minlength=horizon + 1)[1:]
        for timestep, first in zip(*np.unique(trace.timesteps[halted], return_index=True), strict=True):
            sample = int(halted[first])
            self._first.setdefault(int(timestep), Halt(self.samples + sample, int(trace.interval[sample])))
        if full is not None:
            self._add_full(trace, checked, full)
        self.backend, self.samples = trace.backend, self.samples + samples

    def _add_full(self, trace: RunTrace, labels: IntArray, full: RunTrace) -> None:
        if full.scores.shape != trace.scores.shape:
            raise InputError(f"full run of [T, N, classes] {full.scores.shape}, the run has {trace.scores.shape}")
        if not full.valid.all():
            raise InputError("the run given as the full one was cut: run it again with policy=None")
        optimal = optimal_cutoff_timestep(full.scores, labels)
        self.optimal_timesteps += int(optimal.timesteps.sum())
        self.never_right += int(optimal.never_right.sum())
        right = (full.scores.cumsum(axis=0).argmax(axis=2) == labels).sum(axis=1)
        self.right_after = right if self.right_after is None else self.right_after + right

    @property
    def accuracy(self) -> float:
        """Share of samples whose prediction at the exit is right."""
        return int(self.right.sum()) / self.samples

    @property
    def exits(self) -> IntArray:
        """Samples that exit at timestep 1 … T, int64 [T]."""
        return self.right + self.wrong

    @property
    def mean_timesteps(self) -> float:
        """Mean timestep of the exit."""
        return int(self.exits @ np.arange(1, len(self.exits) + 1)) / self.samples

    def typical(self) -> tuple[int, int, int | None]:
        """A halted sample whose exit is nearest to the mean exit of the halted ones; the first sample if none was.

        Its position, its timesteps, and hardware steps until the next one started, None for a sample to the horizon.
        """
        if not self._first:
            return 0, self.network.horizon, None
        mean = int(self._halted @ np.arange(1, len(self._halted) + 1)) / int(self._halted.sum())
        timestep = min(self._first, key=lambda t: (abs(t - mean), self._first[t].sample))
        return self._first[timestep].sample, timestep, self._first[timestep].interval
