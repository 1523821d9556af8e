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

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.base import Record, check_inputs, layer_events, padded_scores
from spikecut.deploy.backends.slots import layer_slots
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.kernels.neuron import count_events
from spikecut.deploy.kernels.product import Precision, channels_last, torch_order
from spikecut.deploy.trace import ExitReason, RunTrace
from spikecut.export.graph import IntArray, IntegerNetwork, Integers, size

Progress = Callable[[int], None]
STATE_ELEMENTS = 2**21
MOST_SLOTS = 1024
FEWEST_SLOTS = 8


def run_batched(
    network: IntegerNetwork,
    inputs: Integers,
    policy: CutoffPolicy | None = None,
    record: Record = "output",
    progress: Progress | None = None,
    precision: Precision = "auto",
    slots: int | None = None,
    threads: int | None = None,
) -> RunTrace:
    """Run encoded samples [T, N, *shape]; the same results as Lava, without Lava.

    Parameters
    ----------
    precision: of the synaptic sums; "auto" takes the fastest that is exact, per layer.
    slots: samples in work at once and thread; by default what keeps the state in cache.
    threads: workers; by default one per core.

    Raises
    ------
    DataError: inputs that do not fit the network. InputError: a policy for another horizon, an unknown precision.
    """
    check_inputs(network, inputs)
    if policy is not None:
        policy.check_horizon(network.horizon)
    work = _Work(network, inputs, policy, record, progress)
    workers = threads or len(os.sched_getaffinity(0))
    per_worker = slots or _slots(network)
    workers = max(1, min(workers, -(-work.samples // per_worker)))
    engines = [_Worker(work, min(per_worker, -(-work.samples // workers)), precision) for _ in range(workers)]
    with _one_torch_thread(), ThreadPoolExecutor(workers) as pool:
        for finished in [pool.submit(engine.run) for engine in engines]:
            finished.result()
    return work.trace()


def _slots(network: IntegerNetwork) -> int:
    """As many samples as keep a worker's state within about 8 MiB."""
    elements = sum(size(layer.output_shape) for layer in network.layers) + size(network.input_shape)
    return int(np.clip(STATE_ELEMENTS // elements, FEWEST_SLOTS, MOST_SLOTS))


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Workers are the parallelism: torch's own threads would only get in their way."""
    try:
        import torch
    except ImportError:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
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
        progress: Progress | None,
    ) -> None:
        self.network, self.policy, self.record, self.progress = network, policy, record, progress
        self.horizon, self.samples = inputs.shape[0], inputs.shape[1]
        # Direct coding repeats one frame: keep it once.
        self.constant = network.input.encoding == "direct" or self.horizon == 1
        kept = inputs[:1] if self.constant and bool((inputs == inputs[:1]).all()) else inputs
        self.constant = kept.shape[0] == 1
        dtype = np.uint8 if network.input.minimum == 0 and network.input.maximum <= 255 else np.int32
        self.frames = channels_last(kept.astype(dtype, copy=False), network.input_shape)
        self.scores = np.zeros((self.horizon, self.samples, network.classes), dtype=np.int64)
        self.timesteps = np.full(self.samples, self.horizon, dtype=np.int64)
        self.lock = threading.Lock()
        self.next = 0
        self.linger = network.depth if record != "output" else 0
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
        rasters = [torch_order(raster, shape) for raster, shape in zip(self.rasters, shapes, strict=False)]
        cut = self.timesteps < self.horizon
        return RunTrace(
            scores=scores,
            valid=valid,
            timesteps=self.timesteps,
            hardware_steps=steps,
            reason=tuple(ExitReason.CUTOFF if early else ExitReason.HORIZON for early in cut.tolist()),
            network=self.network,
            backend="batched",
            events=layer_events(self.network, rasters, steps, self.record, self.counts),
        )


class _Worker:
    """A number of slots that run step by step until the queue is empty."""

    def __init__(self, work: _Work, slots: int, precision: Precision) -> None:
        spec = work.network.input
        self.work = work
        self.layers = layer_slots(work.network.layers, spec.minimum, spec.maximum, work.horizon, slots, precision)
        first = self.layers[0]
        self.sample = np.full(slots, -1, dtype=np.int64)
        self.timestep = np.zeros(slots, dtype=np.int64)
        self.exit = np.zeros(slots, dtype=np.int64)
        self.totals = np.zeros((slots, work.network.classes), dtype=np.int64)
        rest = np.zeros((slots, 0), dtype=np.int64)
        self.state = rest if work.policy is None else work.policy.init(slots, work.network.classes)
        self.constant = work.constant and first.temporal is None
        self.frames = work.frames.astype(first.input_dtype, copy=False)
        width = first.elements if self.constant else self.frames.shape[-1]
        self.feed = np.zeros((slots, width), dtype=first.product(self.frames[0, :1]).dtype if self.constant else None)
        self.fan_outs = [layer.fan_out for layer in self.layers]

    def run(self) -> None:
        """Work until no sample is left."""
        while self._refill():
            sent = self._source()
            self._record(0, sent)
            messages = self.layers[0].fire(self._first_sums(sent))
            self._record(1, messages)
            for depth, layer in enumerate(self.layers[1:], start=2):
                messages = layer.fire(layer.sums(messages))
                self._record(depth, messages)
            self._score(messages)

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
                self.feed[new] = self.layers[0].product(np.ascontiguousarray(self.frames[0, taken]))
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

    def _source(self) -> npt.NDArray[np.generic]:
        """The frame that each slot's sample sends now; silence after T."""
        if self.constant and self.work.record == "output":
            return self.feed
        steps = np.zeros_like(self.timestep) if self.work.constant else np.minimum(self.timestep, self.work.horizon - 1)
        frames: npt.NDArray[np.generic] = self.frames[steps, self.sample]
        if self.work.linger:
            frames[self.timestep >= self.work.horizon] = 0
        return frames

    def _first_sums(self, sent: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        if not self.constant:
            return self.layers[0].sums(sent)
        if not self.work.linger or not (self.timestep >= self.work.horizon).any():
            return self.feed
        return np.asarray(self.feed * (self.timestep < self.work.horizon)[:, None].astype(self.feed.dtype))

    def _record(self, depth: int, sent: npt.NDArray[np.generic]) -> None:
        """Keep what the layer at this depth sends in hardware step timestep + depth of its sample."""
        work = self.work
        if work.record == "output":
            return
        live = (self.sample >= 0) & (self.timestep < work.horizon + work.network.depth - depth)
        sample, column = self.sample[live], self.timestep[live] + depth
        if work.record == "all":
            work.rasters[depth][sample, column] = sent[live]
            return
        spikes, reached = np.empty(len(sent), dtype=np.int64), np.empty(len(sent), dtype=np.int64)
        following = self.fan_outs[depth] if depth < len(self.layers) else np.zeros(sent.shape[1], dtype=np.int64)
        count_events(sent, following, spikes, reached)
        work.counts[depth][0][sample, column] = spikes[live]
        if depth < len(self.layers):
            work.counts[depth + 1][1][sample, column] += reached[live]
        if depth and self.layers[depth - 1].layer.recurrent is not None:
            count_events(sent, self.layers[depth - 1].recurrent_fan_out, spikes, reached)
            work.counts[depth][1][sample, column] += reached[live]

    def _score(self, messages: npt.NDArray[np.generic]) -> None:
        """Add the step's scores, ask the policy, and free the slots of finished samples."""
        work = self.work
        scores = torch_order(messages, work.network.layers[-1].output_shape).astype(np.int64)
        if work.network.readout == "membrane":
            scores = scores - self.totals
        counted = (self.sample >= 0) & (self.timestep < self.exit)
        if counted.all():
            work.scores[self.timestep, self.sample] = scores
            self.totals += scores
        else:
            work.scores[self.timestep[counted], self.sample[counted]] = scores[counted]
            self.totals[counted] += scores[counted]
        self.timestep += 1
        if work.policy is not None:
            self._judge(work.policy, counted & (self.timestep < work.horizon))
        finished = (self.sample >= 0) & (self.timestep >= self.exit + work.linger)
        if finished.any():
            work.timesteps[self.sample[finished]] = self.exit[finished]
            self.sample[finished] = -1
            work.done(int(finished.sum()))

    def _judge(self, policy: CutoffPolicy, running: npt.NDArray[np.bool_]) -> None:
        """Let the policy judge each running sample at its own timestep."""
        for t in np.unique(self.timestep[running]):
            at = np.flatnonzero(running & (self.timestep == t))
            leaves, self.state[at] = policy.step(self.totals[at], int(t), self.state[at])
            self.exit[at[leaves]] = t
