"""The steps behind the command line and the demo: export, calibrate, run, each from files to files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikecut.deploy.backends.batched import run_batched
from spikecut.deploy.backends.plain import measure_ranges
from spikecut.deploy.bundle import Bundle
from spikecut.deploy.console import progress_bar
from spikecut.deploy.cost import as_chip
from spikecut.deploy.cutoff.base import CutoffPolicy
from spikecut.deploy.evaluate import Evaluation, jsonable, sample_table, summarise, write_run
from spikecut.deploy.hardware import Hardware
from spikecut.deploy.neurobench import neurobench_metrics
from spikecut.deploy.run_costs import RunCosts, chosen_hardware
from spikecut.deploy.trace import ExitReason, RunTrace
from spikecut.errors import InputError
from spikecut.export.encode import encode
from spikecut.export.files import replacing
from spikecut.export.graph import IntegerNetwork, Integers
from spikecut.export.headroom import Ranges
from spikecut.export.manifest import Manifest
from spikecut.export.pipeline import export_network
from spikecut.models.data import Split, load_dataset
from spikecut.models.network import SpikingNetwork

GOLDEN_SAMPLES = 64


@dataclass(frozen=True)
class Run:
    """A finished run: the trace with the cutoff, the full one if it was asked for, its costs and its summary."""

    trace: RunTrace
    full: RunTrace | None
    costs: RunCosts
    summary: dict[str, Any]
    folder: Path | None


def export_to_bundle(
    network: SpikingNetwork, recipe: Mapping[str, Any], out: Path, dataset: str | None = None, name: str | None = None
) -> Manifest:
    """Export a trained network; golden samples come from the calibration split of `dataset`, or the recipe's."""
    chosen = dataset or str(recipe.get("dataset", ""))
    split = load_dataset(chosen).calibration
    images, labels = split.x[:GOLDEN_SAMPLES], split.y[:GOLDEN_SAMPLES]

    def measure(integer: IntegerNetwork) -> dict[str, Ranges]:
        return measure_ranges(integer, encode(split.x, integer))

    manifest = export_network(
        network, recipe, out, images, labels, name or str(recipe.get("method", "network")), measure
    )
    write_summary(out / "summary.json", manifest.model_dump())
    return manifest


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write a summary as JSON, under a temporary name first."""
    text = json.dumps(jsonable(summary), indent=2, sort_keys=True, allow_nan=False)
    try:
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another --out") from error


def data_hash(split: Split) -> str:
    """SHA-256 over the samples and labels of a split."""
    digest = hashlib.sha256()
    for array in (split.x, split.y):
        digest.update(str((array.shape, array.dtype)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def run_traces(
    bundle: Bundle,
    inputs: Integers,
    policy: CutoffPolicy | None,
    backend: str,
    also_full: bool,
) -> tuple[RunTrace, RunTrace | None]:
    """Run samples with the policy, and without it if `also_full`; every message of the first is recorded."""
    cut = _run_once(bundle, inputs, policy, backend, "with the cutoff" if policy else "to the horizon")
    full = _run_once(bundle, inputs, None, backend, "to the horizon") if also_full and policy is not None else None
    if also_full and policy is None:
        full = cut
    return cut, full


def _run_once(bundle: Bundle, inputs: Integers, policy: CutoffPolicy | None, backend: str, what: str) -> RunTrace:
    with progress_bar(f"{bundle.network.name} on {backend}, {what}", inputs.shape[1]) as advance:
        if backend == "batched":
            return run_batched(bundle.network, inputs, policy, record="all", progress=advance)
        if backend == "lava":
            from spikecut.deploy.backends.lava_cpu import run_lava

            return run_lava(bundle.network, inputs, policy, record="all", net_file=bundle.net_file, progress=advance)
    raise InputError(f"backend {backend!r}: expected lava or batched")


def run_bundle(
    bundle: Bundle,
    split: Split,
    dataset: str,
    policy: CutoffPolicy | None,
    backend: str = "lava",
    hardware: Sequence[str] | None = None,
    also_full: bool = False,
    hypothetical: bool = False,
    out: Path | None = None,
    overwrite: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Run:
    """Run a split, estimate its cost on the named hardware files (all for None), and write `out` if it is given."""
    network = bundle.network
    check_labels(network, split)
    chosen = chosen_hardware(hardware)
    inputs = encode(split.x, network)
    trace, full = run_traces(bundle, inputs, policy, backend, also_full)
    costs = RunCosts.of(trace, full, chosen, hypothetical)
    evaluation = Evaluation(trace, split.y, split.index, network.input.labels, costs.estimates)
    summary = summarise(
        evaluation,
        full=full,
        savings=costs.saved,
        details=costs.summary(),
        neurobench=neurobench_metrics(trace).to_dict(),
        seed=network.input.seed,
        hashes={"network": bundle.network_hash, "data": data_hash(split)},
        config={"dataset": dataset, "policy": None if policy is None else policy.to_dict(), **(config or {})},
        name=network.name,
    )
    folder = None
    if out is not None:
        figures = _figures(trace, full, split, costs, chosen)
        folder = write_run(out, sample_table(evaluation), summary, figures, overwrite=overwrite)
    return Run(trace, full, costs, summary, folder)


def _figures(
    trace: RunTrace, full: RunTrace | None, split: Split, costs: RunCosts, hardware: Mapping[str, Hardware]
) -> dict[str, Any]:
    from spikecut.deploy.report.mesh_plot import mesh_figure
    from spikecut.deploy.report.plots import accuracy_figure, exit_histogram, spike_raster

    names = trace.network.input.labels
    figures = {"exits": exit_histogram(trace, split.y)}
    if full is not None:
        figures["accuracy"] = accuracy_figure(full, split.y, trace)
    figures["raster"] = spike_raster(trace, typical_sample(trace), names)
    for name, ran in costs.attributions.items():
        chip = as_chip(hardware[name])
        figures[f"mesh_{chip.name}"] = mesh_figure(ran.placement, chip, ran.busy_ns)
    return figures


def typical_sample(trace: RunTrace) -> int:
    """A halted sample whose exit is nearest to the mean exit of the halted ones; the first sample if none was."""
    halted = [n for n, reason in enumerate(trace.reason) if reason is ExitReason.CUTOFF]
    if not halted:
        return 0
    steps = trace.timesteps[halted]
    return halted[int(np.argmin(np.abs(steps - steps.mean())))]


def check_labels(network: IntegerNetwork, split: Split) -> None:
    """Raise InputError unless every label is a class of the network."""
    if len(split.y) and (split.y.min() < 0 or split.y.max() >= network.classes):
        raise InputError(
            f"labels run from {split.y.min()} to {split.y.max()}, the network has classes 0 to {network.classes - 1}"
        )
