"""Run: bundle and samples → rows, summary and figures; what a run costs; and how an interrupted one is resumed.

`run_bundle` takes the steps one after the other, each from data to data.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from spikecut.deploy.backends.base import (
    Advance,
    LavaModels,
    RunSettings,
    backend_named,
    check_options,
    check_run,
)
from spikecut.deploy.backends.progress import Progress, before_first, silent
from spikecut.deploy.bundle import Bundle, open_bundle
from spikecut.deploy.cost.columns import Columns
from spikecut.deploy.cost.estimate import as_chip
from spikecut.deploy.cost.monitoring import check_monitor
from spikecut.deploy.cost.summary import Compared, GatheredCosts, RunCosts, chosen_hardware
from spikecut.deploy.cutoff.base import CutoffPolicy, policy_from_dict
from spikecut.deploy.pipeline.samples import (
    AnySplit,
    check_labels,
    data_hash,
    file_config,
    first_samples,
    samples_to_run,
    stored_dataset,
)
from spikecut.deploy.placement.hardware import Hardware, file_stems
from spikecut.deploy.placement.monitor import monitor_place
from spikecut.deploy.run.chunks import Chunk, Gathered, Passes, Shares, chunks_of, run_chunks
from spikecut.deploy.run.finished import Run
from spikecut.deploy.run.folder import RUN, writing_run
from spikecut.deploy.run.journal import Journal, RunRequest, is_result, partial_folder, read_request
from spikecut.deploy.run.neurobench import MOST_OPERATIONS, NeuroBenchCounts
from spikecut.deploy.run.replay import sample_with_messages
from spikecut.deploy.run.summary import Provenance, RunSummary, summarise
from spikecut.deploy.run_counts import RunCounts
from spikecut.deploy.run_trace import Mode, RunTrace, joined
from spikecut.errors import InputError, Interrupted, SpikecutError
from spikecut.export.encode import encode
from spikecut.export.network.arrays import Integers
from spikecut.folders import check_folder
from spikecut.locks import only_writer
from spikecut.signals import deferred


@dataclass(frozen=True)
class RunOptions:
    """How a run is made.

    Attributes
    ----------
    backend: its name: "lava", "batched", or that of another package.
    mode: on Lava, each sample alone ("isolated") or one after the other through the pipeline ("streaming").
    lava_models: Lava's own arithmetic ("stock"), or the same integers faster ("fast", "fused").
    hardware: hardware files to estimate on; None for all that come with spikecut.
    also_full: run to the horizon too. hypothetical: estimate even where a feature is missing.
    monitor: where the monitor runs that is charged, "on_chip", "embedded" or "host"; None: what a file charges itself.

    Raises InputError for a backend, mode, models or monitor that nobody knows, or a choice that the backend does not
    have.
    """

    backend: str = "lava"
    mode: Mode = "isolated"
    lava_models: LavaModels = "fast"
    hardware: tuple[str, ...] | None = None
    also_full: bool = False
    hypothetical: bool = False
    monitor: str | None = None

    def __post_init__(self) -> None:
        if self.monitor is not None:
            monitor_place(self.monitor)
        backend = backend_named(self.backend, "--backend")
        check_options(backend, self.mode, self.lava_models, ("--mode", "--lava-models"))
        if "events" not in backend.capabilities.records:
            raise InputError(f"--backend {self.backend} counts no events, and costs need them: choose another backend")

    @property
    def choices(self) -> dict[str, str]:
        """Those of mode and Lava's models that this backend lets one choose."""
        can = backend_named(self.backend).capabilities
        mode = {"mode": self.mode} if len(can.modes) > 1 else {}
        return {**mode, **({"lava_models": self.lava_models} if can.models else {})}


@dataclass(frozen=True)
class RunTask:
    """What is run.

    Attributes
    ----------
    bundle: with the network. split: the samples. dataset: its name or file.
    policy: the cutoff; None runs all T timesteps. options: how.
    config: further entries for the summary's config.
    """

    bundle: Bundle
    split: AnySplit
    dataset: str
    policy: CutoffPolicy | None
    options: RunOptions
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunTarget:
    """Where a run is written; overwrite: an earlier run there is replaced; resume: from the samples that it kept."""

    folder: Path
    overwrite: bool = False
    resume: bool = False


class _Prepared(NamedTuple):
    """What a run needs beside its task."""

    hardware: dict[str, Hardware]
    hashes: dict[str, str]


def run_dataset(
    path: Path,
    dataset: str,
    options: RunOptions,
    cutoff: bool = True,
    samples: int | None = None,
    target: RunTarget | None = None,
    progress: Progress = silent,
) -> Run:
    """Run the test split of a data set on a bundle, or its first samples, with the bundle's cutoff or without.

    Raises what `run_bundle`, `open_bundle`, `Bundle.cutoff` and `load_dataset` raise.
    """
    bundle = open_bundle(path)
    calibrated = bundle.calibrated() if cutoff else None
    policy = None if calibrated is None else calibrated.policy
    if target is not None:
        check_folder(target.folder, RUN, target.overwrite)
    check_run(backend_named(options.backend), bundle.network)
    found = samples_to_run(bundle, dataset)
    config: dict[str, Any] = file_config(dataset) | ({"split": found.note} if found.note else {})
    if calibrated is not None:
        config["cutoff"] = calibrated.to_dict()
    task = RunTask(bundle, first_samples(found.split, samples), dataset, policy, options, config)
    return run_bundle(task, target, progress, notes=found.notes)


def resume_run(run: str | Path, *, progress: Progress = silent) -> Run:
    """Finish an interrupted run from the samples that it kept, as `spikecut run --resume` does.

    run: its folder, as it was given to `run_dataset`; all options are those of that run. progress: opens a bar; by
    default nothing is shown.

    Raises
    ------
    InputError: there is none, or its bundle or its data have changed since. BackendError: it failed again.
    """
    folder = Path(run)
    request = read_request(folder)
    try:
        options = RunOptions(**request.options)
    except TypeError as error:
        raise InputError(f"{partial_folder(folder)} was begun by another version ({error}): run again") from error
    bundle = open_bundle(request.bundle)
    policy = None if request.policy is None else policy_from_dict(request.policy)
    overwrite = request.overwrite or is_result(folder, request)
    check_folder(folder, RUN, overwrite)
    check_run(backend_named(options.backend), bundle.network)
    found = samples_to_run(bundle, stored_dataset(request.dataset, request.config))
    split = first_samples(found.split, request.samples)
    task = RunTask(bundle, split, request.dataset, policy, options, request.config)
    target = RunTarget(folder, overwrite, resume=True)
    return run_bundle(task, target, progress, notes=found.notes)


def run_bundle(
    task: RunTask, target: RunTarget | None = None, progress: Progress = silent, notes: tuple[str, ...] = ()
) -> Run:
    """Run samples, estimate their cost, and write the run's folder if there is a target.

    On a backend that can resume, finished samples are kept beside the folder until the run is done.

    Raises
    ------
    DataError, InputError: samples, labels or options that do not fit, a folder that may not be written, or to which
        another run writes.
    CapabilityError: the backend lacks something that the network needs. BackendError: it failed.
    """
    if target is None:
        return _run(task, None, progress, notes)
    with only_writer(target.folder, RUN.name):
        check_folder(target.folder, RUN, target.overwrite)  # before hours are spent: another may just have written it
        return _run(task, target, progress, notes)


def _run(task: RunTask, target: RunTarget | None, progress: Progress, notes: tuple[str, ...]) -> Run:
    prepared = _prepared(task)
    journal = _journal(task, target, prepared)
    network, policy, options = task.bundle.network, task.policy, task.options
    with keeping(journal, None if target is None else target.folder, len(task.split.y)):
        compared: Compared = "another" if policy is not None and options.also_full else None
        columns = Columns(on_disk=True)
        gathered = Gathered(
            policy,
            task.split.y,
            task.split.index,
            GatheredCosts(network, prepared.hardware, compared, options.hypothetical, columns=columns),
            RunCounts(network),
            NeuroBenchCounts(network, MOST_OPERATIONS),
        )
        chunks = _chunks(task, journal, progress)
        first = next(chunks)  # on Lava the whole run: only then is there something to write
        with nullcontext() if target is None else writing_run(target.folder, overwrite=target.overwrite) as writer:
            for chunk, advance in chain((first,), chunks):
                gathered.add(chunk, advance, writer)
            costs = gathered.costs.result()
            if policy is not None:
                costs = costs.decided_by(type(policy))
            summary = _summary(task, prepared, gathered, costs)
            if writer is not None:
                writer.finish(summary, _figures(task, gathered.counts, costs, prepared.hardware))
        folder = None if target is None else target.folder.expanduser().resolve()
    if journal is not None:
        with deferred():
            journal.remove()
    return Run(network, prepared.hardware, costs, summary, folder, notes)


def _prepared(task: RunTask) -> _Prepared:
    """Check that the task can be run; its hardware, and the hashes of what it runs."""
    network = task.bundle.network
    check_run(backend_named(task.options.backend), network)
    check_labels(network, task.split)
    hardware = chosen_hardware(task.options.hardware, task.options.monitor)
    check_monitor(task.options.monitor, () if task.policy is None else (type(task.policy),))
    hashes = {"network": task.bundle.network_hash, "data": data_hash(task.split)}
    return _Prepared(hardware, hashes)


def _journal(task: RunTask, target: RunTarget | None, prepared: _Prepared) -> Journal | None:
    """The journal of a run that can be resumed, begun or found; None for all others."""
    if target is None or not backend_named(task.options.backend).capabilities.resumable:
        return None
    journal = Journal.of(target.folder, task.bundle.network)
    if target.resume:
        if read_request(target.folder).hashes != prepared.hashes:
            raise InputError(
                f"{target.folder}: the bundle or the data have changed since the run was interrupted: run it again"
            )
        return journal
    request = RunRequest(
        bundle=str(task.bundle.path.resolve()),
        hashes=prepared.hashes,
        dataset=task.dataset,
        policy=None if task.policy is None else task.policy.to_dict(),
        config=dict(task.config),
        options=asdict(task.options),
        samples=len(task.split.y),
        overwrite=target.overwrite,
    )
    journal.begin(request, target.overwrite)
    return journal


@contextmanager
def keeping(journal: Journal | None, out: Path | None, samples: int) -> Iterator[None]:
    """Add to whatever ends a run what was kept of it, and how to resume it; nothing finished, nothing left."""
    try:
        yield
    except (SpikecutError, KeyboardInterrupt) as error:
        if journal is None:
            raise
        kept, full = journal.samples("cut"), journal.samples("full")
        if kept == 0:
            journal.remove()
            raise
        also = f" and {full} of the full run" if full else ""
        left = f"{kept} of {samples} samples{also} are kept: spikecut run --resume {out}"
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"interrupted; {left}") from error
        raise type(error)(f"{error}; {left}") from error


def _passes(task: RunTask) -> Passes:
    options = task.options
    settings = RunSettings(task.policy, "events", options.mode, options.lava_models, task.bundle.net_file)
    return Passes(backend_named(options.backend), settings, options.also_full)


def _chunks(task: RunTask, journal: Journal | None, progress: Progress) -> Iterator[tuple[Chunk, Advance]]:
    """The samples as they have run, chunk by chunk, and what tells that something was made of them."""
    network, split, passes = task.bundle.network, task.split, _passes(task)
    if not passes.together:
        what = f"{network.name} on {task.options.backend}{_how(task)}"
        with progress(what, len(split.y), before_first(passes.backend)) as advance:
            shares = Shares(advance, passes.count + 1)
            for chunk in run_chunks(passes, network, split.x, shares):
                yield chunk, shares
        return
    inputs = encode(split.x[:], network)
    trace, full = run_traces(task, inputs, journal, progress)
    with progress("costs", trace.samples) as advance:
        for chunk in chunks_of(inputs, trace, full):
            yield chunk, advance


def _how(task: RunTask) -> str:
    if task.policy is None:
        return ", to the horizon"
    return ", with the cutoff and to the horizon" if task.options.also_full else ", with the cutoff"


def run_traces(
    task: RunTask, inputs: Integers, journal: Journal | None = None, progress: Progress = silent
) -> tuple[RunTrace, RunTrace | None]:
    """Run encoded samples at once, with the policy, and without it if `also_full`, counting all messages.

    Without a policy the run is the full run, and both traces are the same.
    journal: keeps finished samples, and holds those that an earlier try has finished.
    """
    trace = _pass(task, inputs, task.policy, journal, progress)
    if task.policy is None:
        return trace, trace
    return trace, _pass(task, inputs, None, journal, progress, "full") if task.options.also_full else None


def _pass(
    task: RunTask,
    inputs: Integers,
    policy: CutoffPolicy | None,
    journal: Journal | None,
    progress: Progress,
    name: str = "cut",
) -> RunTrace:
    """One pass over all samples, resumed after those that the journal holds; name: the journal's of the pass."""
    network, options = task.bundle.network, task.options
    what = "with the cutoff" if policy else "to the horizon"
    starting = before_first(backend_named(options.backend))
    with progress(f"{network.name} on {options.backend}, {what}", inputs.shape[1], starting) as advance:
        earlier = [] if journal is None else journal.read(name)
        done = sum(part.samples for part in earlier)
        advance(done)
        settings = replace(_passes(task).settings, policy=policy, first=done, progress=advance)
        parts = backend_named(options.backend).run(network, inputs, settings) if done < inputs.shape[1] else ()
        return joined([*earlier, *parts]) if journal is None else journal.keep(name, parts, earlier)


def _summary(task: RunTask, prepared: _Prepared, gathered: Gathered, costs: RunCosts) -> RunSummary:
    policy = None if task.policy is None else task.policy.to_dict()
    spec = task.bundle.network.input
    where = str(task.bundle.path.resolve())
    monitor = {} if task.options.monitor is None else {"monitor": task.options.monitor}
    config = {
        "bundle": where,
        "dataset": task.dataset,
        "policy": policy,
        **task.options.choices,
        **monitor,
        **task.config,
    }
    return summarise(
        gathered.counts,
        class_names=spec.labels,
        halted=task.policy is not None,
        savings=costs.saved,
        hardware=costs.summary(),
        neurobench=gathered.neurobench.metrics().to_dict(),
        provenance=Provenance(spec.seed, prepared.hashes, config),
    )


def _figures(task: RunTask, counts: RunCounts, costs: RunCosts, hardware: Mapping[str, Hardware]) -> dict[str, bytes]:
    from spikecut.deploy.report.mesh_plot import mesh_figure
    from spikecut.deploy.report.plots import accuracy_figure, exit_histogram, png

    network, (sample, halt, interval) = task.bundle.network, counts.typical()
    figures = {"exits": exit_histogram(counts)}
    if counts.right_after is not None:
        figures["accuracy"] = accuracy_figure(counts, cutoff=task.policy is not None)
    inputs = encode(task.split.x[sample : sample + 1], network)
    streams = task.options.mode == "streaming"
    shown = sample_with_messages(network, inputs, halt, interval if streams else None)
    figures["raster"] = shown.plot_raster()
    stems = file_stems(list(hardware))
    for name, ran in costs.attributions.items():
        chip = as_chip(hardware[name])
        figures[f"mesh_{stems[name]}"] = mesh_figure(ran.placement, chip, ran.busy_ns)
    return {name: png(figure) for name, figure in figures.items()}
