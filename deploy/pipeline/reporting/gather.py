"""Run folders → all that a report shows of them; what cannot be had is named in its place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import spikecut
from spikecut.deploy.backends.progress import Progress, silent
from spikecut.deploy.bundle import Bundle, open_bundle
from spikecut.deploy.cost.band import Figure
from spikecut.deploy.pipeline.reporting.options import DEFAULTS, ReportOptions
from spikecut.deploy.pipeline.reporting.points import mean, own_point, points_of, share
from spikecut.deploy.pipeline.reporting.replay import Replay, meshes, played, replay
from spikecut.deploy.pipeline.reporting.sources import bundle_of_run, samples_of_run
from spikecut.deploy.pipeline.reporting.stored_costs import stored_costs, stored_monitors
from spikecut.deploy.placement.hardware import Hardware, load_hardware
from spikecut.deploy.report.html.contents import Exits, LayerRow, Report, RunReport, WrongSample
from spikecut.deploy.report.network_tables import layer_rows
from spikecut.deploy.report.tables import policy_text
from spikecut.deploy.run.stored import StoredRun, read_run
from spikecut.deploy.run_trace import IntArray
from spikecut.deploy.verify.compare import verify
from spikecut.errors import InputError, SpikecutError

MOST_RUNS = 12
"""Runs in one report: beyond that no page shows them side by side."""
REPLAY_SECTIONS = ("accuracy over time", "spikes", "mesh", "player")
Found = TypeVar("Found")
LayerCosts = Mapping[str, Mapping[str, Figure]]
"""Layer → hardware → what the mean sample costs there."""


def gather(folders: Sequence[Path], options: ReportOptions = DEFAULTS, progress: Progress = silent) -> Report:
    """Everything that a report shows of these runs.

    Raises
    ------
    InputError: no folder of a run, too many of them, or a sample that is not of a run. BundleError: a bundle among the
        options that is not sound.
    """
    if not 1 <= len(folders) <= MOST_RUNS:
        raise InputError(f"{len(folders)} runs: give 1 to {MOST_RUNS}")
    stored = [read_run(folder) for folder in folders]
    given = [open_bundle(path) for path in options.bundles]
    for bundle in given:
        if all(run.summary.hashes.get("network") != bundle.network_hash for run in stored):
            raise InputError(f"{bundle.path} is the bundle of none of these runs: leave it out of --bundle")
    hardware, notes = _hardware(stored)
    runs = []
    for name, run in zip(_names(stored), stored, strict=True):
        runs.append(_Gathering(name, run, given, hardware, options, progress).report())
        reasons: dict[str, list[str]] = {}
        for section, why in runs[-1].missing.items():
            reasons.setdefault(why, []).append(section)
        notes += [f"{name}: no {', '.join(sections)}: {why}" for why, sections in reasons.items()]
    return Report(tuple(runs), spikecut.__version__, hardware, tuple(dict.fromkeys(notes)))


def _names(runs: Sequence[StoredRun]) -> list[str]:
    """A name for every run: its network's, with its folder where two have the same."""
    names = [run.summary.network for run in runs]
    names = [
        name if names.count(name) == 1 else f"{name} ({run.folder})" for name, run in zip(names, runs, strict=True)
    ]
    return [f"{name} #{names[:n].count(name) + 1}" if name in names[:n] else name for n, name in enumerate(names)]


def _hardware(runs: Sequence[StoredRun]) -> tuple[dict[str, Hardware], list[str]]:
    """The hardware files of the runs, and a line for each that is gone."""
    found: dict[str, Hardware] = {}
    notes = []
    for name in dict.fromkeys(name for run in runs for name in run.summary.hardware):
        try:
            found[name] = load_hardware(name)
        except SpikecutError as error:
            notes.append(f"no terms of {name}: {error}")
    return found, notes


@dataclass
class _Gathering:
    """One run on its way into a report."""

    name: str
    run: StoredRun
    given: Sequence[Bundle]
    hardware: Mapping[str, Hardware]
    options: ReportOptions
    progress: Progress
    missing: dict[str, str] = field(default_factory=dict)

    def report(self) -> RunReport:
        """All of it."""
        basis, times = self._basis()
        bundle = self._try(("layers", "verification", *REPLAY_SECTIONS), lambda: bundle_of_run(self.run, self.given))
        if bundle is None:
            return basis
        check = self._try(("verification",), lambda: verify(bundle, None, self.options.backend))
        source = self._try(REPLAY_SECTIONS, lambda: samples_of_run(self.run, bundle))
        basis = replace(basis, verification=check)
        again = None if source is None else self._try(REPLAY_SECTIONS, lambda: replay(self.run, source, self.progress))
        layers = _layers(bundle, again, basis, times)
        if source is None or again is None:
            return replace(basis, layers=layers, missing=self.missing)
        hardware = {cost.name: self.hardware[cost.name] for cost in basis.chips if cost.name in self.hardware}
        points, lacking = points_of(self.run, again, source, hardware)
        self.missing.update(lacking)
        return replace(
            basis,
            layers=layers,
            points=(*points, *basis.points),
            points_of=again.scores.shape[1],
            replayed=again.priced.samples,
            meshes=meshes(again, hardware),
            played=played(self.run, source, self.options.samples),
            missing=self.missing,
        )

    def _try(self, sections: tuple[str, ...], step: Callable[[], Found]) -> Found | None:
        """What the step gives, or None, with the reason in the place of these sections."""
        try:
            return step()
        except SpikecutError as error:
            self.missing.update(dict.fromkeys(sections, str(error)))
            return None

    def _basis(self) -> tuple[RunReport, tuple[LayerCosts, LayerCosts]]:
        """What the run's folder alone tells."""
        summary, table = self.run.summary, self.run.samples
        columns = {key: table[key].to_numpy() for key in ("label", "prediction", "timesteps", "hardware_steps")}
        costs, times, energies = stored_costs(summary.hardware)
        monitors, told = stored_monitors(summary.savings)
        right = columns["label"] == columns["prediction"]
        full, cut = (
            None if value is None else share(round(value * summary.samples), summary.samples)
            for value in (summary.accuracy_full, summary.accuracy_cutoff)
        )
        timesteps = mean(columns["timesteps"])
        own = own_point("this run", timesteps, full if cut is None else cut, costs)
        hashes = {f"SHA-256 of {key}": value for key, value in summary.hashes.items()}
        versions = ", ".join(f"{key} {value}" for key, value in summary.versions.items() if value is not None)
        report = RunReport(
            name=self.name,
            folder=str(self.run.folder),
            network=summary.network,
            backend=summary.backend,
            dataset=str(summary.config.get("dataset", "")),
            policy=policy_text(_policy_config(summary.config)),
            horizon=summary.horizon,
            depth=summary.depth,
            samples=summary.samples,
            classes=summary.class_names,
            accuracy_full=full,
            accuracy_cutoff=cut,
            timesteps=timesteps,
            hardware_steps=mean(columns["hardware_steps"]),
            savings=_savings(summary.savings),
            oracle=None if summary.optimal_cutoff is None else summary.optimal_cutoff.mean_timesteps,
            exits=Exits(*(_histogram(columns["timesteps"][of], summary.horizon) for of in (right, ~right))),
            wrong=_wrong(self.run),
            layers=tuple(LayerRow(name, time_s=times.get(name, {}), energy_j=energies.get(name, {})) for name in times),
            costs=costs,
            monitors=monitors,
            monitor_notes=told,
            points=own,
            provenance={"seed": str(summary.seed), **hashes, "versions": versions, "folder": str(self.run.folder)},
            missing=self.missing,
        )
        return report, (times, energies)


def _policy_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run's config what `policy_text` reads, and only in the shape in which a run writes it."""
    policy, told = config.get("policy"), config.get("cutoff")
    found: dict[str, Any] = {"policy": policy if isinstance(policy, dict) and "policy" in policy else None}
    if isinstance(told, dict):
        kept = {key: told[key] for key in ("epsilon", "delta") if isinstance(told.get(key), int | float)}
        if isinstance(told.get("samples"), int):
            kept |= {"samples": told["samples"], "dataset": told.get("dataset", "")}
        found["cutoff"] = kept
    return found


def _savings(stored: Mapping[str, Any] | None) -> dict[str, float]:
    """The three ratios of steps, where the full horizon ran."""
    entries = {name: (stored or {}).get(name) for name in ("naive", "isolated", "streaming")}
    steps = {name: entry.get("steps") for name, entry in entries.items() if isinstance(entry, dict)}
    return {name: float(value) for name, value in steps.items() if isinstance(value, int | float)}


def _histogram(timesteps: IntArray, horizon: int) -> tuple[int, ...]:
    return tuple(np.bincount(timesteps, minlength=horizon + 1)[1:].tolist())


def _wrong(run: StoredRun) -> tuple[WrongSample, ...]:
    """All samples that are answered wrongly, by their place in the data set."""
    names = run.summary.class_names
    found = []
    for row in run.samples.select(["index", "label", "prediction", "timesteps", "reason", "scores"]).to_pylist():
        if row["label"] == row["prediction"]:
            continue
        label, said = (names[row[key]] if row[key] < len(names) else str(row[key]) for key in ("label", "prediction"))
        margin = row["scores"][row["prediction"]] - row["scores"][row["label"]]
        found.append(WrongSample(row["index"], label, said, row["timesteps"], row["reason"], margin))
    return tuple(found)


def _layers(
    bundle: Bundle, again: Replay | None, basis: RunReport, costs: tuple[LayerCosts, LayerCosts]
) -> tuple[LayerRow, ...]:
    """The layers as the bundle has them, with what the run's samples did in them."""
    times, energies = costs
    rows = []
    told = {row["layer"]: row for row in layer_rows(bundle.network)}
    for layer, entry in zip(bundle.network.layers, bundle.manifest.layers, strict=True):
        name, row = layer.name, told[layer.name]
        neurons = int(np.prod(layer.output_shape))
        spikes = None if again is None else again.spikes[name]
        rows.append(
            LayerRow(
                name=name,
                kind=str(row["type"]),
                input=str(row["in"]),
                output=str(row["out"]),
                neurons=neurons,
                parameters=int(row["parameters"]),
                weight_bits=entry.weight_bits,
                error_max=entry.weight_error_max,
                error_rms=entry.weight_error_rms,
                threshold_error=entry.threshold_error,
                bias_error=entry.bias_error_max,
                headroom=f"{entry.headroom_bits:.2f} {entry.headroom}",
                spikes=spikes,
                rate=None if spikes is None else spikes / neurons / basis.hardware_steps.value,
                synops=None if again is None else again.synops[name],
                time_s=times.get(name, {}),
                energy_j=energies.get(name, {}),
            )
        )
    return tuple(rows)
