"""From a run to its table, its summary and its folder."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spikecut.deploy.cutoff import FixedTimestep, TopK, apply_policy
from spikecut.deploy.run import summary as evaluate
from spikecut.deploy.run.folder import writing_run
from spikecut.deploy.run.stored import read_run
from spikecut.deploy.run.summary import Evaluation, Provenance, RunSummary, jsonable, sample_table, summarise
from spikecut.deploy.run_counts import RunCounts
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import InputError, Refusal, SpikecutError
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

HORIZON, SAMPLES = 4, 5
LABELS = np.array([0, 1, 2, 0, 1])


def network() -> IntegerNetwork:
    neuron = IntegerNeuron(1, np.zeros(3, dtype=np.int64))
    layer = IntegerLayer("output", "dense", np.full((3, 2), 2), neuron, (2,), (3,))
    return IntegerNetwork((layer,), InputSpec((2,), "direct"), "count", HORIZON, name="tiny")


def run(policy: TopK | FixedTimestep | None) -> RunTrace:
    scores = np.random.default_rng(3).integers(0, 3, (HORIZON, SAMPLES, 3))
    exits = apply_policy(policy, scores)
    valid = np.arange(1, HORIZON + 1)[:, None] <= exits.timesteps
    kept = np.where(valid[..., None], scores, 0)
    return RunTrace(kept, valid, exits.timesteps, exits.timesteps + 1, exits.reason, network(), "batched")


@dataclass(frozen=True)
class BandOf:
    value: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    latency_s: BandOf
    energy_j: BandOf


def cost(samples: int = SAMPLES) -> Cost:
    times = np.arange(1, samples + 1) * 1e-6
    unknown_edge = np.full(samples, np.nan)
    return Cost(BandOf(times, times / 2, times * 2), BandOf(times / 1e3, times / 2e3, unknown_edge))


CUT = run(TopK((None, 0, 0, 0)))
REFUSAL = Refusal("loihi1", "cannot run here: graded_spikes (loihi1)")


def evaluation() -> Evaluation:
    return Evaluation(CUT, LABELS, np.arange(10, 15), ("a", "b", "c"), {"loihi2": cost(), "loihi1": REFUSAL})


def summary_of(full: RunTrace | None = None, **keywords: Any) -> RunSummary:
    return summarise(RunCounts.of(CUT, LABELS, full), class_names=("a", "b", "c"), **keywords)


def test_sample_table_says_what_the_trace_says(tmp_path: Path) -> None:
    pq.write_table(sample_table(evaluation()), tmp_path / "samples.parquet")
    table = pq.read_table(tmp_path / "samples.parquet")
    assert table.column_names == [
        "index", "label", "prediction", "correct", "timesteps", "hardware_steps", "reason", "scores", "wall_time_s",
        "loihi2_latency_s", "loihi2_latency_s_low", "loihi2_latency_s_high",
        "loihi2_energy_j", "loihi2_energy_j_low", "loihi2_energy_j_high",
    ]  # fmt: skip
    rows = table.to_pylist()
    for number, row in enumerate(rows):
        assert row["index"] == 10 + number
        assert row["label"] == LABELS[number]
        assert row["timesteps"] == CUT.timesteps[number]
        assert row["hardware_steps"] == CUT.hardware_steps[number]
        assert row["reason"] == CUT.reason[number].value
        assert row["scores"] == CUT.scores[: row["timesteps"], number].sum(axis=0).tolist()
        assert row["prediction"] == row["scores"].index(max(row["scores"]))
        assert row["correct"] is bool(row["prediction"] == row["label"])
        assert row["wall_time_s"] is None
        assert row["loihi2_latency_s"] == (number + 1) * 1e-6
        assert row["loihi2_latency_s_low"] == (number + 1) * 1e-6 / 2
        assert row["loihi2_energy_j_high"] is None
    assert {row["reason"] for row in rows} == {"cutoff", "horizon"}
    assert table.schema.field("scores").type.value_type == pa.int64()
    assert json.loads(table.schema.metadata[b"spikecut.class_names"]) == ["a", "b", "c"]


def test_wall_time_is_kept_where_it_was_measured() -> None:
    trace = replace(CUT, wall_time_s=np.arange(SAMPLES, dtype=np.float64))
    table = sample_table(replace(evaluation(), trace=trace, estimates={}))
    assert table["wall_time_s"].to_pylist() == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.array([0, 1, 2, 0])},
        {"labels": np.array([0, 1, 3, 0, 1])},
        {"index": np.arange(4)},
        {"index": np.arange(5) / 2},
        {"class_names": ("a", "b")},
        {"estimates": {"loihi2": cost(4)}},
    ],
)
def test_an_evaluation_checks_itself(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(evaluation(), **change)


def test_summary_without_a_full_run() -> None:
    summary = summary_of().data()
    correct = [bool(value) for value in CUT.predictions == LABELS]
    assert summary["network"] == "tiny"
    assert (summary["horizon"], summary["depth"], summary["samples"]) == (HORIZON, 1, SAMPLES)
    assert summary["accuracy_full"] is None
    assert summary["optimal_cutoff"] is None
    assert summary["savings"] is None
    assert summary["accuracy_cutoff"] == sum(correct) / SAMPLES == CUT.accuracy(LABELS)
    with pytest.raises(InputError, match="labels of shape"):
        CUT.accuracy(LABELS[:-1])
    assert summary["mean_timesteps"] == sum(CUT.timesteps.tolist()) / SAMPLES
    assert summary["mean_hardware_steps"] == sum(CUT.hardware_steps.tolist()) / SAMPLES
    assert sum(summary["timesteps_histogram"].values()) == SAMPLES == sum(summary["reasons"].values())
    assert summary["timesteps_histogram"] == {str(t): CUT.timesteps.tolist().count(t) for t in range(1, HORIZON + 1)}
    assert summary["reasons"]["horizon"] == CUT.timesteps.tolist().count(HORIZON)
    assert summary["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert summary["versions"]["numpy"] == np.__version__
    json.dumps(summary, allow_nan=False)


def test_summary_beside_a_full_run() -> None:
    full = run(None)
    savings = {"naive": {"steps": np.float64(0.5)}, "streaming": {"steps": np.nan}}
    made = Provenance(7, {"network.net": "ab"})
    hardware = {"loihi1": {"refusal": REFUSAL.feature}}
    summary = summary_of(full, savings=savings, provenance=made, hardware=hardware).data()
    assert summary["accuracy_full"] == (full.predictions == LABELS).sum() / SAMPLES
    assert summary["optimal_cutoff"]["never_right"] == (full.predictions != LABELS).sum()
    assert summary["savings"] == {"naive": {"steps": 0.5}, "streaming": {"steps": None}}
    assert summary["hardware"] == hardware
    assert (summary["seed"], summary["hashes"], summary["network"]) == (7, {"network.net": "ab"}, "tiny")


def test_a_cut_or_foreign_run_is_no_full_run() -> None:
    with pytest.raises(InputError, match="was cut"):
        summary_of(CUT)
    full = run(None)
    fewer = replace(full, scores=full.scores[:, :3], valid=full.valid[:, :3])
    with pytest.raises(InputError, match="full run of"):
        summary_of(fewer)


def test_versions_of_what_is_not_installed_are_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "DISTRIBUTIONS", ("numpy", "spikecut-no-such-distribution"))
    versions = evaluate.installed_versions()
    assert versions["spikecut-no-such-distribution"] is None
    assert versions["numpy"] == np.__version__


class Colour(str, Enum):
    RED = "red"


def test_jsonable_is_strict() -> None:
    given: dict[str, Any] = {
        "float": np.float32(0.5),
        "nan": float("nan"),
        "infinity": -np.inf,
        "true": np.bool_(True),
        "none": None,
    }
    expected: dict[str, Any] = {"float": 0.5, "nan": None, "infinity": None, "true": True, "none": None}
    given |= {"array": np.array([[1, 2]]), "path": Path("a/b"), "enum": Colour.RED, "tuple": (1,)}
    expected |= {"array": [[1, 2]], "path": "a/b", "enum": "red", "tuple": [1]}
    given["band"] = BandOf(np.zeros(1), np.zeros(1), np.array([np.nan]))
    expected["band"] = {"value": [0.0], "low": [0.0], "high": [None]}
    assert jsonable(given) == expected
    assert json.loads(json.dumps(jsonable(given), allow_nan=False)) == expected
    for foreign in ({1: "a"}, {"a": object()}, {"a": {1, 2}}, {"a": b"x"}):
        with pytest.raises(InputError, match="summary"):
            jsonable(foreign)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write(folder: Path, summary: RunSummary | None = None, **keywords: Any) -> Path:
    figures = keywords.pop("figures", {"exits": b"a picture"})
    with writing_run(folder, **keywords) as writer:
        writer.rows(sample_table(evaluation()))
        writer.finish(summary or summary_of(), figures)
    return folder


def test_write_run_leaves_the_folder_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "run"
    write(target)
    assert sorted(contents(tmp_path)) == [
        "deep/run/figures/exits.png",
        "deep/run/samples.parquet",
        "deep/run/summary.json",
    ]
    held = json.loads((target / "summary.json").read_text())
    assert {key: held[key] for key in held if "sha256" not in key} == summary_of().data()
    assert pq.read_table(target / "samples.parquet").equals(sample_table(evaluation()))


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_an_empty_folder_is_used_and_an_earlier_run_only_on_request(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    write(target)
    before = contents(target)
    with pytest.raises(InputError, match="earlier run"):
        write(target)
    assert contents(tmp_path / "run") == before
    second = summary_of().model_copy(update={"network": "second"})
    write(target, second, figures={}, overwrite=True)
    assert sorted(contents(tmp_path)) == ["run/samples.parquet", "run/summary.json"]
    assert json.loads((target / "summary.json").read_text())["network"] == "second"
    write(target, overwrite=True)
    assert contents(target) == before


def test_a_foreign_folder_is_never_replaced(tmp_path: Path) -> None:
    for number, text in enumerate(["", "{", "[]", "{}", '{"format": "other"}', '"spikecut run 1"']):
        target = tmp_path / str(number)
        target.mkdir()
        (target / "summary.json").write_text(text)
        before = contents(tmp_path)
        with pytest.raises(InputError, match="holds no spikecut run"):
            write(target, overwrite=True)
        assert contents(tmp_path) == before


def test_a_run_that_was_changed_is_refused(tmp_path: Path) -> None:
    target = write(tmp_path / "run")
    assert read_run(target).summary.network == summary_of().network
    path, table = target / "summary.json", pq.read_table(target / "samples.parquet")
    whole = path.read_bytes()
    old = whole.decode().replace("spikecut run 3", "spikecut run 2")
    for changed in (whole.decode().replace('"network": "', '"network": "x'), old):
        path.write_text(changed)
        with pytest.raises(InputError, match="a hash does not match"):
            read_run(target)
    unsealed = {key: value for key, value in json.loads(old).items() if "sha256" not in key}
    path.write_text(json.dumps(unsealed))  # as it was before there were hashes
    assert read_run(target).summary.format == "spikecut run 2"
    path.write_bytes(whole)
    samples = target / "samples.parquet"
    samples.write_bytes(samples.read_bytes().replace(b"prediction", b"predic\x80ion"))
    with pytest.raises(InputError, match=r"samples.parquet: (cannot be read as Parquet|no column)"):
        read_run(target)
    pq.write_table(table, samples, compression="gzip")
    with pytest.raises(InputError, match="a hash does not match"):
        read_run(target)


@pytest.mark.parametrize("foreign", ["notes.txt", "figures/sketch.svg"])
def test_a_run_with_foreign_files_is_not_replaced(tmp_path: Path, foreign: str) -> None:
    target = write(tmp_path / "run")
    (target / foreign).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=foreign):
        write(target, overwrite=True)
    assert contents(tmp_path) == before


def impossible_paths(folder: Path) -> list[str]:
    (folder / "file").write_text("")
    return [
        str(folder / "file"),
        str(folder / "file" / "run"),
        "/",
        str(folder / "a\0b"),
        "/proc/run",
        str(folder / ("x" * 300)),
    ]


def test_unwritable_paths_are_one_line(tmp_path: Path) -> None:
    for path in impossible_paths(tmp_path):
        with pytest.raises(InputError) as caught:
            write(Path(path))
        assert "\n" not in str(caught.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file"]


class Interrupted:
    """A step of the writing that fails once it has been reached."""

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception
        self.reached = False

    def __call__(self, *_: Any, **__: Any) -> None:
        self.reached = True
        raise self.exception


@pytest.mark.parametrize("exception", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("place", ["table", "figure", "swap"])
def test_an_interruption_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, exception: BaseException
) -> None:
    earlier = write(tmp_path / "earlier")
    before = contents(tmp_path)
    stop = Interrupted(exception)
    if place == "table":
        monkeypatch.setattr(pq.ParquetWriter, "write_table", stop)
    elif place == "figure":
        monkeypatch.setattr(Path, "write_bytes", stop)
    else:
        rename: Callable[[Path, Path], None] = os.replace

        def rename_but_no_folder(path: Path, target: Path) -> None:
            if path.is_dir():
                stop()
            rename(path, target)

        monkeypatch.setattr("spikecut.folders._exchange", stop)
        monkeypatch.setattr(os, "replace", rename_but_no_folder)
    expected = InputError if isinstance(exception, OSError) else KeyboardInterrupt
    for target, overwrite in ((earlier, True), (tmp_path / "deep" / "new", False)):
        stop.reached = False
        with pytest.raises(expected):
            write(target, overwrite=overwrite)
        assert stop.reached
        assert contents(tmp_path) == before
        assert [entry.name for entry in tmp_path.iterdir()] == ["earlier"]


def test_figure_names_stay_in_their_folder(tmp_path: Path) -> None:
    with pytest.raises(SpikecutError, match="without folder"):
        write(tmp_path / "run", figures={"../x": b""})
    assert list(tmp_path.iterdir()) == []
