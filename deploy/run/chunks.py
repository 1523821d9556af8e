"""A run in chunks: some samples are encoded and run, what is made of them is kept, and they are forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spikecut.deploy.backends.base import Advance, Backend, RunSettings
from spikecut.deploy.backends.memory import samples_of_a_chunk
from spikecut.deploy.cost.summary import GatheredCosts
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.run.folder import RunWriter
from spikecut.deploy.run.neurobench import NeuroBenchCounts
from spikecut.deploy.run.replay import replayed
from spikecut.deploy.run.summary import Evaluation, sample_table
from spikecut.deploy.run_counts import RunCounts
from spikecut.deploy.run_trace import RunTrace, joined, lengthened, sliced
from spikecut.export.encode import encode
from spikecut.export.network.arrays import IntArray, Integers
from spikecut.export.network.layers import IntegerNetwork


class Samples(Protocol):
    """Samples of a data set: in memory, or read from its file slice by slice."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> npt.NDArray[np.generic]: ...


class Chunk(NamedTuple):
    """Some samples of a run, encoded, and what became of them; full: of their run to the horizon, if there is one."""

    first: int
    inputs: Integers
    trace: RunTrace
    full: RunTrace | None


@dataclass(frozen=True)
class Passes:
    """How every sample runs: with the settings' policy, and, with `also_full`, without it too."""

    backend: Backend
    settings: RunSettings
    also_full: bool

    @property
    def count(self) -> int:
        """How often each sample runs."""
        return 1 + (self.also_full and self.settings.policy is not None)

    @property
    def together(self) -> bool:
        """Whether the backend must see all samples at once: its samples follow each other, or it resumes by itself."""
        return self.backend.capabilities.resumable or self.settings.mode == "streaming"

    def run(self, network: IntegerNetwork, inputs: Integers, advance: Advance) -> tuple[RunTrace, RunTrace | None]:
        """Run encoded samples; without a policy both traces are the same."""

        def once(settings: RunSettings) -> RunTrace:
            return joined(list(self.backend.run(network, inputs, replace(settings, progress=advance))))

        trace = once(self.settings)
        if self.settings.policy is None:
            return trace, trace
        return trace, once(replace(self.settings, policy=None)) if self.also_full else None


class Shares:
    """Turns the work on samples that are worked on several times into whole samples of a progress bar."""

    def __init__(self, advance: Advance, times: int) -> None:
        self.advance, self.times, self.done, self.told = advance, times, 0, 0

    def __call__(self, samples: int) -> None:
        """So many samples have been worked on once more."""
        self.done += samples
        told = self.done // self.times
        self.advance(told - self.told)
        self.told = told


def run_chunks(passes: Passes, network: IntegerNetwork, samples: Samples, advance: Advance) -> Iterator[Chunk]:
    """Encode and run samples, in their order, chunk by chunk."""
    step = samples_of_a_chunk(network)
    for first in range(0, len(samples), step):
        inputs = encode(samples[first : min(first + step, len(samples))], network)
        yield Chunk(first, inputs, *passes.run(network, inputs, advance))


def chunks_of(inputs: Integers, trace: RunTrace, full: RunTrace | None) -> Iterator[Chunk]:
    """A run that is at hand as a whole, chunk by chunk."""
    step = samples_of_a_chunk(trace.network)
    for first in range(0, trace.samples, step):
        part = slice(first, min(first + step, trace.samples))
        ran = sliced(trace, part)
        whole = ran if full is trace else None if full is None else sliced(full, part)
        yield Chunk(first, inputs[:, part], ran, whole)


@dataclass
class Gathered:
    """What is kept of the chunks of a run.

    policy: of the run. labels, index: of all samples, int64 [N].
    """

    policy: CutoffPolicy | None
    labels: IntArray
    index: IntArray
    costs: GatheredCosts
    counts: RunCounts
    neurobench: NeuroBenchCounts

    def add(self, chunk: Chunk, advance: Advance, writer: RunWriter | None = None) -> None:
        """Take a chunk, and write its rows; BackendError where the batched engine counts other messages than the run.

        Its messages come again a few samples at a time. Its events are made as long as those of the longest run
        possible, so that nothing depends on which samples are in a chunk.
        """
        network = chunk.trace.network
        longest = network.horizon + network.depth
        itself = chunk.full is chunk.trace
        whole = None if chunk.full is None or itself else lengthened(chunk.full, longest)
        tables = []
        for part in replayed(chunk.inputs, self.policy, lengthened(chunk.trace, longest), whole):
            first = chunk.first + part.first
            labels, index = (each[first : first + part.trace.samples] for each in (self.labels, self.index))
            estimates = self.costs.add(part.trace, part.full)
            self.counts.add(part.trace, labels, part.trace if itself else part.full)
            self.neurobench.add(part.trace)
            if writer is not None:
                tables.append(sample_table(Evaluation(part.trace, labels, index, network.input.labels, estimates)))
            advance(part.trace.samples)
        if writer is not None:
            writer.rows(pa.concat_tables(tables).combine_chunks())
