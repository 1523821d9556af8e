"""The batched engine: Lava's integers for many samples at once, in algorithmic time.

A fixed number of slots runs step by step; a sample that ends leaves its slot to the next one in the queue, so that an
early exit saves nearly all of the time that it saves steps. Samples do not touch each other: results come in input
order and do not depend on slots or threads.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.base import Advance, Record
from spikecut.deploy.backends.batched.slots import LayerPlan, LayerSlots, plan_network
from spikecut.deploy.backends.events import layer_events, padded_scores
from spikecut.deploy.backends.inputs import check_inputs, check_policy
from spikecut.deploy.backends.kernels.arithmetic import Arithmetic, Precision, arithmetic_for, multiply_accumulates
from spikecut.deploy.backends.kernels.product import torch_order
from spikecut.deploy.backends.kernels.slot_events import add_scores, count_events, gather_frames
from spikecut.deploy.backends.memory import check_run_memory
from spikecut.deploy.cutoff.base import CutoffPolicy, ExitReason
from spikecut.deploy.run_trace import RunTrace
from spikecut.export.network.arrays import IntArray, Integers, size
from spikecut.export.network.layers import IntegerNetwork

Messages = npt.NDArray[np.generic]
STATE_ELEMENTS = 2**22
MOST_SLOTS = 1024
FEWEST_SLOTS = 16
QUEUE_PER_SLOT = 8


@dataclass(frozen=True)
class Tuning:
    """How the engine works; no result depends on it.

    Attributes
    ----------
    precision: of the synaptic sums; "auto" takes the fastest that is exact, per layer.
    slots: samples in work at once and thread; by default what keeps the state in cache.
    threads: workers; by default one per core.
    """

    precision: Precision = "auto"
    slots: int | None = None
    threads: int | None = None


FASTEST = Tuning()


def run_batched(
    network: IntegerNetwork,
    inputs: Integers,
    policy: CutoffPolicy | None = None,
    record: Record = "output",
    progress: Advance | None = None,
    tuning: Tuning = FASTEST,
) -> RunTrace:
    """Run encoded samples [T, N, *shape]; the same results as Lava, without Lava.

    progress: called with the number of samples finished since its last call.

    Raises
    ------
    DataError: inputs that do not fit the network. InputError: a policy for another horizon, an unknown precision, or
        results that do not fit into the memory.
    BackendError: the precision asked for is not exact for a layer.
    """
    check_run_memory(network, inputs.shape[1] if inputs.ndim > 1 else 0, record)
    check_inputs(network, inputs)
    check_policy(network, policy)
    slots = tuning.slots
    amount = inputs.shape[0] * inputs.shape[1] * multiply_accumulates(network)
    arithmetic = arithmetic_for(tuning.precision, amount)
    work = _Work(network, inputs, policy, record, progress, arithmetic)
    workers = tuning.threads or len(os.sched_getaffinity(0))
    per_worker = slots or _slots(network, 0 if policy is None else work.samples // workers)
    workers = max(1, min(workers, -(-work.samples // per_worker)))
    if policy is None and slots is None:  # all samples take T steps: share them out evenly
        rounds = -(-work.samples // (workers * per_worker))
        per_worker = -(-work.samples // (workers * rounds))
    engines = [_Worker(work, min(per_worker, -(-work.samples // workers))) for _ in range(workers)]
    torch = arithmetic.torch
    with _threads_kept(torch), ThreadPoolExecutor(workers) as pool:
        for finished in [pool.submit(_alone, engine.run, torch) for engine in engines]:
            finished.result()
    return work.trace()


def _slots(network: IntegerNetwork, queue: int) -> int:
    """As many samples as keep a worker's state within about 16 MiB, or half of it: larger products are faster.

    queue: samples per worker that refill the slots, 0 where none does. A short queue takes fewer slots: while the last
    samples finish, the slots of the others are idle.
    """
    elements = sum(size(layer.output_shape) for layer in network.layers) + size(network.input_shape)
    most = int(np.clip(STATE_ELEMENTS // elements, FEWEST_SLOTS, MOST_SLOTS))
    return int(np.clip(queue // QUEUE_PER_SLOT, most // 2, most)) if queue else most


def _alone(run: Callable[[], None], torch: Any) -> None:
    """Run a worker on one thread: workers are the parallelism, and torch keeps both settings per thread."""
    if torch is None:
        run()
        return
    torch.set_num_threads(1)
    with torch.inference_mode():
        run()


@contextmanager
def _threads_kept(torch: Any) -> Iterator[None]:
    """Leave torch with the number of threads that it had."""
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Work:
    """The queue of samples and the results, shared by the workers."""

    def __init__(
        self,
        network: IntegerNetwork,
        inputs: Integers,
        policy: CutoffPolicy | None,
        record: Record,
        progress: Advance | None,
        arithmetic: Arithmetic,
    ) -> None:
        self.network, self.policy, self.record, self.progress = network, policy, record, progress
        self.horizon, self.samples = inputs.shape[0], inputs.shape[1]
        self.linger = network.depth if record != "output" else 0
        # The pipeline runs on after T: ranges must hold until then.
        self.plans = plan_network(network, self.horizon + self.linger, arithmetic)
        # By number of what sends: where it goes, and by which of the synapses there.
        self.ways = [
            [(path, nth) for paths in network.paths for nth, path in enumerate(paths) if path.source == number]
            for number in range(len(network.layers) + 1)
        ]
        self.input_elsewhere = any(path.target > 1 for path, _ in self.ways[0])
        # Direct coding repeats one frame, and so one product of the first layer.
        spec = network.input
        self.constant = spec.encoding == "direct" and (
            inputs.strides[0] == 0 or all(np.array_equal(frame, inputs[0]) for frame in inputs[1:])
        )
        channels = spec.shape[0] if len(spec.shape) == 3 else 1
        self.frames = inputs.reshape(self.horizon, self.samples, channels, -1)
        self.scores = np.zeros((self.horizon, self.samples, network.classes), dtype=np.int64)
        self.timesteps = np.full(self.samples, self.horizon, dtype=np.int64)
        self.lock = threading.Lock()
        self.next = 0
        self.counts: list[tuple[IntArray, IntArray]] = []
        self.rasters: list[npt.NDArray[np.int32]] = []
        longest = self.horizon + network.depth
        shapes = [network.input_shape, *(layer.output_shape for layer in network.layers)]
        if record == "all":
            self.rasters = [np.zeros((self.samples, longest, size(shape)), dtype=np.int32) for shape in shapes]
        elif record == "events":
            shape = (self.samples, longest)
            self.counts = [(np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)) for _ in shapes]

    def take(self, count: int) -> IntArray:
        """Up to `count` samples from the queue."""
        with self.lock:
            first, self.next = self.next, min(self.next + count, self.samples)
            return np.arange(first, self.next)

    def done(self, count: int) -> None:
        """Report finished samples."""
        if self.progress is not None and count:
            with self.lock:
                self.progress(count)

    def trace(self) -> RunTrace:
        """The results as a RunTrace."""
        steps = self.timesteps + self.network.depth
        scores, valid = padded_scores(self.scores, self.timesteps)
        shapes = [self.network.input_shape, *(layer.output_shape for layer in self.network.layers)]
        rasters = [torch_order(self.rasters.pop(0), shape) for shape in shapes if self.rasters]
        reasons = np.array([ExitReason.HORIZON, ExitReason.CUTOFF], dtype=object)
        return RunTrace(
            scores=scores,
            valid=valid,
            timesteps=self.timesteps,
            hardware_steps=steps,
            reason=tuple(reasons[(self.timesteps < self.horizon).astype(np.intp)].tolist()),
            network=self.network,
            backend="batched",
            events=layer_events(self.network, rasters, steps, self.record, self.counts),
        )


class _Worker:
    """A number of slots that run step by step until the queue is empty."""

    def __init__(self, work: _Work, slots: int) -> None:
        self.work = work
        self.plans: list[LayerPlan] = work.plans
        self.layers = [LayerSlots(plan, slots) for plan in self.plans]
        classes, first = work.network.classes, self.plans[0]
        self.sample = np.full(slots, -1, dtype=np.int64)
        self.timestep = np.zeros(slots, dtype=np.int64)
        self.exit = np.zeros(slots, dtype=np.int64)
        self.totals = np.zeros((slots, classes), dtype=np.int64)
        rest = np.zeros((slots, 0), dtype=np.int64)
        self.state = rest if work.policy is None else work.policy.init(slots, classes)
        self.frames: Messages = np.zeros((slots, size(work.network.input_shape)), dtype=first.input_dtype)
        self.constant = work.constant and not first.remembers
        # Of a constant input the first layer's sums, in the type in which its product gives them.
        self.feed = self._product(self.frames) if self.constant else self.frames[:, :0]

    def _product(self, frames: Messages) -> Messages:
        return np.array(self.layers[0].sums(frames, [frames] * len(self.work.network.layers[0].skips)))

    def run(self) -> None:
        """Work until no sample is left."""
        while self._refill():
            sums, sent = self._source()
            self._record(0, sent)
            points = [sent]
            for number, (layer, paths) in enumerate(zip(self.layers, self.work.network.paths, strict=True), start=1):
                if self._over(number):  # and so is all that takes from it, which is deeper
                    points.append(sent)
                    continue
                own, *skips = paths
                if sums is not None and number == 1:
                    sent = layer.fire(sums)
                else:
                    sent = layer.step(points[own.source], [points[path.source] for path in skips])
                points.append(sent)
                self._record(number, sent)
                if number == len(self.layers):
                    self._score(sent)
            self._advance()

    def _over(self, number: int) -> bool:
        """Whether no sample needs this step of the layer of this number any more: the pipeline is only emptying."""
        if not self.work.linger:
            return False
        ends = self.exit + (self.work.network.depth - self.work.network.depths[number])
        return not bool(((self.sample >= 0) & (self.timestep < ends)).any())

    def _refill(self) -> bool:
        """Give free slots to waiting samples; False when nothing is left to do."""
        free = np.flatnonzero(self.sample < 0)
        if not free.size:
            return True
        taken = self.work.take(free.size)
        new = free[: taken.size]
        if new.size:
            self.sample[new], self.timestep[new], self.totals[new] = taken, 0, 0
            self.exit[new] = self.work.horizon
            if self.work.policy is not None:
                self.state[new] = self.work.policy.init(new.size, self.totals.shape[1])
            for layer in self.layers:
                layer.reset(new)
            if self.constant:
                self.feed[new] = self._product(self._gather(np.zeros(new.size, dtype=np.int64), taken))
        left = np.flatnonzero(self.sample >= 0)
        if left.size and 4 * left.size < 3 * self.sample.size:
            self._keep(left)
        return bool(left.size)

    def _keep(self, slots: IntArray) -> None:
        """The queue is empty: drop the idle slots."""
        for name in ("sample", "timestep", "exit", "totals", "state", "feed"):
            setattr(self, name, getattr(self, name)[slots])
        for layer in self.layers:
            layer.keep(slots)

    def _gather(self, steps: IntArray, samples: IntArray) -> Messages:
        """Frames as the first layer takes them, valid until the next call; silence where a step is negative."""
        rows = self.frames[: steps.size]
        gather_frames(self.work.frames, steps, samples, rows)
        return rows

    def _source(self) -> tuple[Messages | None, Messages]:
        """The first layer's sums where they are kept, and what the source sends: silence after T and where idle."""
        sounding = (self.sample >= 0) & (self.timestep < self.work.horizon)
        sums = None
        if self.constant:
            sums = self.feed if sounding.all() else self.feed * sounding[:, None].astype(self.feed.dtype)
            if not self.work.linger and not self.work.input_elsewhere:
                return sums, self.frames
        return sums, self._gather(np.where(sounding, self.timestep, -1), self.sample)

    def _record(self, number: int, sent: Messages) -> None:
        """Keep what the layer of this number sends in hardware step timestep + its depth of its sample."""
        work = self.work
        if work.record == "output":
            return
        depth = work.network.depths[number]
        live = (self.sample >= 0) & (self.timestep < work.horizon + work.network.depth - depth)
        sample, column = self.sample[live], self.timestep[live] + depth
        if work.record == "all":
            work.rasters[number][sample, column] = sent[live]
            return
        spikes, reached = np.empty(len(sent), dtype=np.int64), np.empty(len(sent), dtype=np.int64)
        back = bool(number) and self.plans[number - 1].layer.recurrent is not None
        if back or not work.ways[number]:
            silent = np.zeros(sent.shape[1], dtype=np.int64)
            count_events(sent, self.plans[number - 1].recurrent_fan_out if back else silent, spikes, reached)
            work.counts[number][1][sample, column] += reached[live]
        for path, nth in work.ways[number]:  # what is relayed arrives later by as many steps
            count_events(sent, self.plans[path.target - 1].fan_outs[nth], spikes, reached)
            arrives = live & (self.timestep + depth + path.steps < work.counts[0][0].shape[1])
            later = self.timestep[arrives] + depth + path.steps
            work.counts[path.target][1][self.sample[arrives], later] += reached[arrives]
        work.counts[number][0][sample, column] = spikes[live]

    def _score(self, messages: Messages) -> None:
        """Add the step's scores of the samples that still run."""
        work = self.work
        messages = torch_order(messages, work.network.layers[-1].output_shape)
        membrane = work.network.readout == "membrane"
        add_scores(messages, membrane, self.sample, self.timestep, self.exit, self.totals, work.scores)

    def _advance(self) -> None:
        """Ask the policy, and free the slots of finished samples."""
        work = self.work
        self.timestep += 1
        if work.policy is not None:
            self._judge(work.policy)
        finished = (self.sample >= 0) & (self.timestep >= self.exit + work.linger)
        if finished.any():
            work.timesteps[self.sample[finished]] = self.exit[finished]
            self.sample[finished] = -1
            work.done(int(finished.sum()))

    def _judge(self, policy: CutoffPolicy) -> None:
        """Let the policy judge each running sample at its own timestep."""
        running = np.flatnonzero((self.sample >= 0) & (self.timestep < self.exit))
        leaves, self.state[running] = policy.step_each(
            self.totals[running], self.timestep[running], self.state[running]
        )
        self.exit[running[leaves]] = self.timestep[running[leaves]]
