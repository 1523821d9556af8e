"""The steps behind the command line and the demo: export, calibrate, run, each from files to files."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from spikecut.deploy.backends.base import LavaModels
from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.kernels.reference import measure_ranges
from spikecut.deploy.backends.lava import loihi2
from spikecut.deploy.bundle import Bundle
from spikecut.deploy.cli.output import progress_bar, say_split
from spikecut.deploy.cost.estimate import as_chip
from spikecut.deploy.cost.summary import GatheredCosts, RunCosts, chosen_hardware
from spikecut.deploy.cutoff.base import CutoffPolicy, ExitReason
from spikecut.deploy.pipeline.samples import check_labels, data_hash
from spikecut.deploy.placement.hardware import Hardware, file_stems
from spikecut.deploy.run.folder import write_run
from spikecut.deploy.run.journal import Journal, RunRequest, read_request
from spikecut.deploy.run.neurobench import NeuroBenchCounts
from spikecut.deploy.run.replay import replayed, sample_with_messages
from spikecut.deploy.run.summary import Evaluation, jsonable, sample_table, summarise
from spikecut.deploy.run_trace import Mode, RunTrace, joined
from spikecut.errors import DataError, InputError, Interrupted, SpikecutError
from spikecut.export.encode import encode
from spikecut.export.manifest import Manifest
from spikecut.export.network.arrays import Floats, Integers
from spikecut.export.network.layers import IntegerNetwork
from spikecut.export.quantise.headroom import Ranges
from spikecut.export.write_bundle import export_network, recipe_horizon
from spikecut.files import reason, write_text
from spikecut.models.data import Dataset, Split, load_dataset
from spikecut.models.network import SpikingNetwork

GOLDEN_SAMPLES = 64


@dataclass(frozen=True)
class Run:
    """A finished run: the trace with the cutoff, the full one if it ran, its costs and its summary.

    The traces hold counts, no messages. Without a policy `full` is the trace itself.
    """

    trace: RunTrace
    full: RunTrace | None
    costs: RunCosts
    summary: dict[str, Any]
    folder: Path | None


@dataclass(frozen=True)
class RunOptions:
    """How a run is made.

    Attributes
    ----------
    backend: "lava", "batched", or "loihi2", which is refused.
    mode: on Lava, each sample alone ("isolated") or one after the other through the pipeline ("streaming").
    lava_models: Lava's own arithmetic ("stock"), or the same integers faster ("fast", "fused").
    hardware: hardware files to estimate on; None for all that come with spikecut.
    also_full: run to the horizon too. hypothetical: estimate even where a feature is missing.
    """

    backend: str = "lava"
    mode: Mode = "isolated"
    lava_models: LavaModels = "fast"
    hardware: tuple[str, ...] | None = None
    also_full: bool = False
    hypothetical: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("--backend", self.backend, ("lava", "batched", "loihi2")),
            ("--mode", self.mode, get_args(Mode)),
            ("--lava-models", self.lava_models, get_args(LavaModels)),
        ):
            if value not in known:
                raise InputError(f"{name} {value!r}: expected one of {', '.join(known)}")
        if self.backend == "batched" and (self.mode, self.lava_models) != ("isolated", "fast"):
            raise InputError(
                "--mode and --lava-models are of --backend lava: the batched engine has no choice of either"
            )


def export_to_bundle(
    network: SpikingNetwork,
    recipe: Mapping[str, Any],
    out: Path,
    dataset: str | None = None,
    name: str | None = None,
    ranges: Callable[[IntegerNetwork, Floats], dict[str, Ranges]] | None = None,
    **imported: Any,
) -> Manifest:
    """Export a trained network; golden samples come from the calibration split of `dataset`, or the recipe's.

    ranges: measures |u| and |v| on samples; None runs the calibration split in plain numpy.
    imported: `witness`, `rounding` and `wide` of export_network, for others' networks.

    Raises DataError for samples that cannot be read, and what export_network raises.
    """
    chosen = dataset or str(recipe.get("dataset", ""))
    data = load_dataset(chosen, frames=recipe_horizon(recipe))
    split = data.calibration
    images, labels = split.x[:GOLDEN_SAMPLES], split.y[:GOLDEN_SAMPLES]

    def measure(integer: IntegerNetwork) -> dict[str, Ranges]:
        return ranges(integer, split.x) if ranges else measure_ranges(integer, encode(split.x, integer))

    name = name or str(recipe.get("method", "network"))
    manifest = export_network(network, recipe, out, images, labels, name, measure, **imported)
    say_split(data)
    return manifest


def stills(dataset: str) -> Dataset:
    """The data set; DataError if its samples are events."""
    data = load_dataset(dataset)
    if data.frames is not None:
        raise DataError(f"{dataset} holds events: a ReLU network is converted for stills only; choose images")
    return data


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write a summary as JSON, whole or not at all."""
    text = json.dumps(jsonable(summary), indent=2, sort_keys=True, allow_nan=False)
    try:
        write_text(path, text + "\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}; choose another --out") from error


def run_traces(
    bundle: Bundle,
    inputs: Integers,
    policy: CutoffPolicy | None,
    options: RunOptions,
    journal: Journal | None = None,
) -> tuple[RunTrace, RunTrace | None]:
    """Run samples with the policy, and without it if `also_full`, counting all messages.

    Without a policy the run is the full run, and both traces are the same.
    journal: keeps finished samples of a run on Lava, and holds those that an earlier try has finished.
    """
    trace = _run_once(bundle, inputs, policy, options, journal, "cut")
    if policy is None:
        return trace, trace
    return trace, _run_once(bundle, inputs, None, options, journal, "full") if options.also_full else None


def _run_once(
    bundle: Bundle,
    inputs: Integers,
    policy: CutoffPolicy | None,
    options: RunOptions,
    journal: Journal | None,
    name: str,
) -> RunTrace:
    what = "with the cutoff" if policy else "to the horizon"
    with progress_bar(f"{bundle.network.name} on {options.backend}, {what}", inputs.shape[1]) as advance:
        if options.backend == "batched":
            return run_batched(bundle.network, inputs, policy, record="events", progress=advance)
        from spikecut.deploy.backends.lava.cpu import lava_parts

        earlier = [] if journal is None else journal.read(name)
        done = sum(part.samples for part in earlier)
        advance(done)
        parts = lava_parts(
            bundle.network,
            inputs,
            policy,
            record="events",
            net_file=bundle.net_file,
            progress=advance,
            mode=options.mode,
            models=options.lava_models,
            first=done,
        )
        return joined([*earlier, *parts]) if journal is None else journal.keep(name, parts, earlier)


def run_bundle(
    bundle: Bundle,
    split: Split,
    dataset: str,
    policy: CutoffPolicy | None,
    options: RunOptions,
    out: Path | None = None,
    overwrite: bool = False,
    config: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> Run:
    """Run a split, estimate its cost, and write the run's folder if `out` is given.

    A run on Lava with `out` keeps its finished samples beside it until it is done; `resume` goes on from there.
    """
    network = bundle.network
    if options.backend == "loihi2":
        loihi2.refuse(network)
    check_labels(network, split)
    hardware = chosen_hardware(options.hardware)
    inputs = encode(split.x, network)
    hashes = {"network": bundle.network_hash, "data": data_hash(split)}
    policy_data = None if policy is None else policy.to_dict()
    lava = {"mode": options.mode, "lava_models": options.lava_models} if options.backend == "lava" else {}
    journal = None
    if out is not None and lava:
        journal = Journal.of(out, network)
        if not resume:
            request = RunRequest(
                bundle=str(bundle.path.resolve()),
                hashes=hashes,
                dataset=dataset,
                policy=policy_data,
                config=dict(config or {}),
                options=asdict(options),
                samples=len(split.y),
                overwrite=overwrite,
            )
            journal.begin(request, overwrite)
        elif read_request(out).hashes != hashes:
            raise InputError(f"{out}: the bundle or the data have changed since the run broke off: run it again")
    with keeping(journal, out, len(split.y)):
        trace, full = run_traces(bundle, inputs, policy, options, journal)
        costs, counted = _costs(inputs, policy, trace, full, hardware, options.hypothetical)
        evaluation = Evaluation(trace, split.y, split.index, network.input.labels, costs.estimates)
        summary = summarise(
            evaluation,
            full=full,
            halted=policy is not None,
            savings=costs.saved,
            details=costs.summary(),
            neurobench=counted.metrics().to_dict(),
            seed=network.input.seed,
            hashes=hashes,
            config={"dataset": dataset, "policy": policy_data, **lava, **(config or {})},
            name=network.name,
        )
        folder = None
        if out is not None:
            shown = sample_with_messages(inputs, trace, typical_sample(trace))
            figures = _figures(trace, full, shown, split, costs, hardware)
            folder = write_run(out, sample_table(evaluation), summary, figures, overwrite=overwrite)
    if journal is not None:
        journal.remove()
    return Run(trace, full, costs, summary, folder)


@contextmanager
def keeping(journal: Journal | None, out: Path | None, samples: int) -> Iterator[None]:
    """Add to whatever ends a run what was kept of it, and how to go on; nothing finished, nothing left."""
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


def _costs(
    inputs: Integers,
    policy: CutoffPolicy | None,
    trace: RunTrace,
    full: RunTrace | None,
    hardware: Mapping[str, Hardware],
    hypothetical: bool,
) -> tuple[RunCosts, NeuroBenchCounts]:
    """What the run costs, and NeuroBench's counts, in one pass over its messages, which are never held all at once."""
    whole = None if policy is None else full
    costs, counted = GatheredCosts(trace, whole, hardware, hypothetical), NeuroBenchCounts(trace.network)
    with progress_bar("costs", trace.samples) as advance:
        for part in replayed(inputs, policy, trace, whole):
            costs.add(*part)
            counted.add(part.trace)
            advance(part.trace.samples)
    return costs.result(), counted


def _figures(
    trace: RunTrace,
    full: RunTrace | None,
    shown: RunTrace,
    split: Split,
    costs: RunCosts,
    hardware: Mapping[str, Hardware],
) -> dict[str, bytes]:
    from spikecut.deploy.report.mesh_plot import mesh_figure
    from spikecut.deploy.report.plots import accuracy_figure, exit_histogram, png, spike_raster

    names = trace.network.input.labels
    figures = {"exits": exit_histogram(trace, split.y)}
    if full is not None:
        figures["accuracy"] = accuracy_figure(full, split.y, None if full is trace else trace)
    figures["raster"] = spike_raster(shown, 0, names)
    stems = file_stems(list(hardware))
    for name, ran in costs.attributions.items():
        chip = as_chip(hardware[name])
        figures[f"mesh_{stems[name]}"] = mesh_figure(ran.placement, chip, ran.busy_ns)
    return {name: png(figure) for name, figure in figures.items()}


def typical_sample(trace: RunTrace) -> int:
    """A halted sample whose exit is nearest to the mean exit of the halted ones; the first sample if none was."""
    halted = [n for n, reason in enumerate(trace.reason) if reason is ExitReason.CUTOFF]
    if not halted:
        return 0
    steps = trace.timesteps[halted]
    return halted[int(np.argmin(np.abs(steps - steps.mean())))]
