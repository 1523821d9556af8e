"""From a run to its table and its summary.

Latency and energy come from deploy/cost/ and are estimates; this module only sets them beside what the run counted.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from spikecut.deploy.cost.band import Band
from spikecut.deploy.cutoff.base import checked_labels
from spikecut.deploy.run_counts import RunCounts
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import InputError, Refusal
from spikecut.files import reason, write_json
from spikecut.text import brief

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

FORMAT = "spikecut run 3"
"""The value of "format" in `summary.json`, by which a run's folder is recognised."""
UNSEALED = ("spikecut run 1", "spikecut run 2")
"""Earlier formats, without hashes of summary and samples."""

DISTRIBUTIONS = ("numpy", "spikecut", "torch", "lava-nc", "lava-dl", "pyarrow")
MEASURES = ("latency_s", "energy_j")
FORMAT_CONFIG = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)
"""Of what lies in files: what a later version adds is passed over."""


class HasCosts(Protocol):
    """Latency in seconds and energy in joules of some samples."""

    @property
    def latency_s(self) -> Band:
        """Latency."""

    @property
    def energy_j(self) -> Band:
        """Energy."""


@dataclass(frozen=True)
class Evaluation:
    """A run, or a part of one, set beside its labels and its estimates.

    Attributes
    ----------
    trace: the run, N samples.
    labels: int64 [N], the right classes.
    index: int64 [N], where the samples stand in their dataset.
    class_names: in the order of the output neurons; empty when they have none.
    estimates: hardware name → what it would take there, or why the network cannot run there.
    """

    trace: RunTrace
    labels: IntArray
    index: IntArray
    class_names: tuple[str, ...] = ()
    estimates: Mapping[str, HasCosts | Refusal] = field(default_factory=dict)

    __repr__ = brief

    def __post_init__(self) -> None:
        _, samples, classes = self.trace.scores.shape
        object.__setattr__(self, "labels", checked_labels(self.labels, samples, classes))
        index = np.asarray(self.index)
        if index.shape != (samples,) or index.dtype.kind not in "iu":
            raise InputError(f"index of shape {index.shape}, dtype {index.dtype}: expected integers ({samples},)")
        if len(self.class_names) not in (0, classes):
            raise InputError(f"{len(self.class_names)} class names for {classes} output neurons")
        for hardware, measure, values in self._columns():
            if np.shape(values) != (samples,):
                raise InputError(f"estimate {hardware}_{measure} of shape {np.shape(values)}: expected ({samples},)")

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether each sample's prediction is right, bool [N]."""
        return np.equal(self.trace.predictions, self.labels)

    def _columns(self) -> list[tuple[str, str, FloatArray]]:
        """Every estimated column: hardware, column name without it, values."""
        columns = []
        for hardware, estimate in self.estimates.items():
            if isinstance(estimate, Refusal):
                continue
            for measure in MEASURES:
                band: Band = getattr(estimate, measure)
                for suffix, values in (("", band.value), ("_low", band.low), ("_high", band.high)):
                    columns.append((hardware, f"{measure}{suffix}", values))
        return columns


def sample_table(evaluation: Evaluation) -> pa.Table:
    """One row a sample.

    Columns: index, label, prediction, correct, timesteps, hardware_steps, reason, scores (Y at the exit, list<int64>),
    wall_time_s (null when the backend did not measure it), and per hardware `<name>_latency_s`, `<name>_energy_j`, each
    also with `_low` and `_high` appended; hardware that refuses the network has no columns, an unknown value is null.
    The schema's metadata holds the format and the classes' names.
    """
    trace = evaluation.trace
    measured = trace.wall_time_s.shape == (trace.samples,)
    wall_time = trace.wall_time_s if measured else np.full(trace.samples, np.nan)
    columns: dict[str, pa.Array] = {
        "index": pa.array(evaluation.index, pa.int64()),
        "label": pa.array(evaluation.labels, pa.int64()),
        "prediction": pa.array(trace.predictions, pa.int64()),
        "correct": pa.array(evaluation.correct, pa.bool_()),
        "timesteps": pa.array(trace.timesteps, pa.int64()),
        "hardware_steps": pa.array(trace.hardware_steps, pa.int64()),
        "reason": pa.array([reason.value for reason in trace.reason], pa.string()),
        "scores": pa.array(trace.totals.tolist(), pa.list_(pa.int64())),
        "wall_time_s": _float_column(wall_time),
    }
    for hardware, name, values in evaluation._columns():
        columns[f"{hardware}_{name}"] = _float_column(values)
    metadata = {"spikecut.format": FORMAT, "spikecut.class_names": json.dumps(evaluation.class_names)}
    return pa.table(columns).replace_schema_metadata(metadata)


def _float_column(values: npt.ArrayLike) -> pa.Array:
    """float64 column, null where not finite."""
    array = np.asarray(values, dtype=np.float64)
    return pa.array(array, pa.float64(), mask=~np.isfinite(array))


class OptimalCutoffSummary(BaseModel):
    """Where the oracle that knows the labels would exit: the mean timestep, and samples that are never right."""

    model_config = FORMAT_CONFIG

    mean_timesteps: float | None
    never_right: int


class RunSummary(BaseModel):
    """What `summary.json` of a run holds; its keys are published.

    Attributes
    ----------
    format: FORMAT. network: its name. backend: its name. horizon: T. depth: P. samples: N.
    accuracy_full: share of right predictions at T, null unless the full horizon ran. accuracy_cutoff: at the exit, null
        without a cutoff.
    mean_timesteps, mean_hardware_steps: per sample. timesteps_histogram: exits at "1" to "T". reasons: samples per
        ExitReason.
    savings: what deploy/cost/savings.py gives, null without a full run. hardware: by name, what is to be said of its
        estimate, or the refusal. neurobench: NeuroBench's metrics under their own keys.
    seed, hashes, config: what makes the run repeatable. versions: of what ran it, null where not installed.
    """

    model_config = FORMAT_CONFIG

    format: str
    network: str
    backend: str
    horizon: int
    depth: int
    samples: int
    class_names: tuple[str, ...]
    accuracy_full: float | None
    accuracy_cutoff: float | None
    mean_timesteps: float
    timesteps_histogram: dict[str, int]
    mean_hardware_steps: float
    reasons: dict[str, int]
    optimal_cutoff: OptimalCutoffSummary | None
    savings: dict[str, Any] | None
    hardware: dict[str, dict[str, Any]]
    neurobench: dict[str, Any] | None
    seed: int | None
    versions: dict[str, str | None]
    hashes: dict[str, str]
    config: dict[str, Any]

    def data(self) -> dict[str, Any]:
        """The summary as JSON data, in the order of its keys."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class Provenance:
    """What makes a run repeatable: the seed of its encoding, hashes of network and data, and what was asked for."""

    seed: int | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def summarise(
    counts: RunCounts,
    *,
    class_names: tuple[str, ...] = (),
    halted: bool = True,
    savings: object | None = None,
    hardware: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    neurobench: Mapping[str, Any] | None = None,
    provenance: Provenance | None = None,
) -> RunSummary:
    """The run in one JSON object.

    Parameters
    ----------
    counts: of the run; without a full run among them `accuracy_full` and `optimal_cutoff` are null.
    halted: whether the run had a policy; without one `accuracy_cutoff` is null.
    savings: what deploy/cost/savings.py gives, or a dictionary like it: "naive", "isolated" and "streaming",
        each {"steps": number} and per hardware {"latency" | "energy": number, or value with low and high, or None}.
    hardware: name → all that is to be said of its estimate.
    neurobench: NeuroBench's metrics under their own keys, to which that of accuracy is added.
    """
    network, made = counts.network, provenance or Provenance()
    full = counts.right_after is not None
    summary = {
        "format": FORMAT,
        "network": network.name,
        "backend": counts.backend,
        "horizon": network.horizon,
        "depth": network.depth,
        "samples": counts.samples,
        "class_names": class_names,
        "accuracy_full": None if counts.right_after is None else int(counts.right_after[-1]) / counts.samples,
        "accuracy_cutoff": counts.accuracy if halted else None,
        "mean_timesteps": counts.mean_timesteps,
        "timesteps_histogram": {str(t): int(count) for t, count in enumerate(counts.exits, start=1)},
        "mean_hardware_steps": counts.hardware_steps / counts.samples,
        "reasons": {reason.value: count for reason, count in counts.reasons.items()},
        "optimal_cutoff": _optimal(counts) if full else None,
        "savings": savings,
        "hardware": hardware,
        "neurobench": None if neurobench is None else {**neurobench, "ClassificationAccuracy": counts.accuracy},
        "seed": made.seed,
        "versions": installed_versions(),
        "hashes": made.hashes,
        "config": made.config,
    }
    return RunSummary.model_validate(jsonable(summary))


def _optimal(counts: RunCounts) -> dict[str, Any]:
    return {"mean_timesteps": counts.optimal_timesteps / counts.samples, "never_right": counts.never_right}


def installed_versions() -> dict[str, str | None]:
    """Versions of Python and of the distributions that matter, None where one is not installed; imports none."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for distribution in DISTRIBUTIONS:
        try:
            versions[distribution] = version(distribution)
        except PackageNotFoundError:
            versions[distribution] = None
    return versions


def jsonable(value: Any) -> Any:
    """The value as strict JSON data: numpy becomes plain, NaN and infinity null; InputError for anything foreign."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        value = {entry.name: getattr(value, entry.name) for entry in fields(value)}
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str | Path):
        return str(value.value) if isinstance(value, Enum) else str(value)
    if isinstance(value, Mapping):
        foreign = [key for key in value if not isinstance(key, str)]
        if foreign:
            raise InputError(f"summary: key {foreign[0]!r} is no text")
        return {key: jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    raise InputError(f"summary: a value of type {type(value).__name__} cannot be written as JSON")


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write a summary as JSON, whole or not at all."""
    try:
        write_json(path, jsonable(summary))
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}; choose another --out") from error
