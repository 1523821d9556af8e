"""A run holds counts, not messages; what needs messages gets a few samples at a time, and says the same as ever."""

import gc
import json
import tracemalloc
from dataclasses import replace

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from networks import random_inputs, random_network

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.lava.cpu import run_lava
from spikecut.deploy.backends.memory import raster_bytes
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cost import columns, sums
from spikecut.deploy.cost.summary import GatheredCosts, RunCosts
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.pipeline.run import RunOptions, RunTarget, RunTask, run_bundle, run_traces
from spikecut.deploy.pipeline.samples import first_samples
from spikecut.deploy.placement.hardware import load_hardware
from spikecut.deploy.placement.quantities import Steps
from spikecut.deploy.run import chunks, replay
from spikecut.deploy.run.journal import Journal, RunRequest
from spikecut.deploy.run.neurobench import NeuroBenchCounts, neurobench_metrics
from spikecut.deploy.run.summary import jsonable
from spikecut.deploy.run_trace import LayerEvents, joined
from spikecut.errors import BackendError, InputError
from spikecut.export.encode import encode

BATCHED = RunOptions("batched", hardware=("loihi1",), also_full=True)
POLICY = FixedTimestep(2)


@pytest.fixture
def few_at_once(monkeypatch):
    """Messages of at most three samples of the networks here are held at once."""
    monkeypatch.setattr(replay, "samples_at_once", lambda network: 3)


def without_messages(trace):
    return replace(trace, events=tuple(replace(layer, raster=None) for layer in trace.events))


def test_the_journal_of_a_run_on_lava_keeps_no_messages(workshop, digits, tmp_path):
    bundle = open_bundle(workshop / "lif")
    journal = Journal(tmp_path / "run.partial", bundle.network)
    inputs = encode(digits.test.x[:2], bundle)
    asked = RunRequest(
        bundle=str(bundle.path),
        hashes={},
        dataset="digits",
        policy=None,
        config={},
        options={},
        samples=2,
        overwrite=False,
    )
    journal.begin(asked, overwrite=False)
    task = RunTask(bundle, first_samples(digits.test, 2), "digits", bundle.cutoff(), RunOptions("lava"))
    trace, _ = run_traces(task, inputs, journal)
    with h5py.File(journal.folder / "cut-00000000.h5") as file:
        assert [set(group) for group in file["events"].values()] == [{"spikes", "synops"}] * (trace.depth + 1)
    kept = joined(journal.read("cut"))
    for ours, theirs in zip(kept.events, trace.events, strict=True):
        np.testing.assert_array_equal(ours.spikes, theirs.spikes)


@pytest.fixture
def chunks_of(monkeypatch):
    """Sets how many samples of a run are held at once."""

    def chosen(samples, messages):
        monkeypatch.setattr(chunks, "samples_of_a_chunk", lambda network: samples)
        monkeypatch.setattr(replay, "samples_at_once", lambda network: messages)

    return chosen


@pytest.mark.no_cover  # whose own memory would count
def test_what_a_run_holds_hardly_grows_with_its_samples(workshop, digits, monkeypatch, chunks_of):
    bundle = open_bundle(workshop / "lif")
    monkeypatch.setattr(columns, "SPOOL_BYTES", 2**12)
    monkeypatch.setattr(columns, "BLOCK", 2**4)
    monkeypatch.setattr(sums, "ROWS_AT_ONCE", 2**4)
    chunks_of(20, 20)
    held = []

    def add(self, chunk, *told):
        gathered(self, chunk, *told)
        del chunk
        gc.collect()  # what waits to be cleared away is not held
        held.append(tracemalloc.get_traced_memory()[0])

    gathered = chunks.Gathered.add
    monkeypatch.setattr(chunks.Gathered, "add", add)
    task = RunTask(bundle, first_samples(digits.test, 200), "digits", bundle.cutoff(), BATCHED)
    tracemalloc.start()
    run_bundle(task)
    tracemalloc.stop()
    grown = np.median(np.diff(held[1:])) / 20  # of a chunk in the middle: what is kept once, for good, is not counted
    # What is known of a sample takes about 150; a chunk that is kept takes ten thousand.
    assert grown < 1000, f"{grown:.0f} bytes a sample, of {raster_bytes(bundle.network)} of its messages"


def unsealed(folder):
    """What summary.json says, but for its own hash and that of the samples' file, whose row groups are the chunks."""
    summary = json.loads((folder / "summary.json").read_text())
    return {key: value for key, value in summary.items() if key not in ("sha256", "samples_sha256")}


def test_no_figure_depends_on_the_size_of_the_chunks(workshop, digits, tmp_path, chunks_of):
    bundle = open_bundle(workshop / "lif")
    found = []
    for sizes in ((100, 100), (7, 3)):
        chunks_of(*sizes)
        task = RunTask(bundle, first_samples(digits.test, 12), "digits", POLICY, BATCHED)
        folder = run_bundle(task, RunTarget(tmp_path / str(sizes[0]))).folder
        pictures = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
        table = pq.read_table(folder / "samples.parquet")
        found.append((unsealed(folder), table, pictures))
    assert pq.ParquetFile(folder / "samples.parquet").num_row_groups == 2
    assert found[0] == found[1]


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("mode", ["isolated", "streaming"])
def test_the_messages_come_again_as_lava_sent_them(mode):
    network = random_network(3, horizon=5, skips=True)
    inputs = random_inputs(network, 8)
    sent = run_lava(network, inputs, POLICY, record="all", mode=mode)
    parts = list(replay.replayed(inputs, POLICY, without_messages(sent), None))
    assert [part.first for part in parts] == [0, 3, 6]
    for number, layer in enumerate(sent.events):
        again = [part.trace.events[number] for part in parts]
        np.testing.assert_array_equal(np.concatenate([each.raster for each in again]), layer.raster)
        np.testing.assert_array_equal(np.concatenate([each.spikes for each in again]), layer.spikes)
        np.testing.assert_array_equal(np.concatenate([each.synops for each in again]), layer.synops)
    halt, interval = int(sent.timesteps[4]), int(sent.interval[4])
    shown = replay.sample_with_messages(network, inputs[:, 4:5], halt, interval if mode == "streaming" else None)
    np.testing.assert_array_equal(shown.events[1].raster[0], sent.events[1].raster[4])


KINDS = [{"recurrent": True, "dense_only": True}, {"skips": True, "graded": True}, {"soft": True, "membrane": True}]


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("kind", KINDS, ids=[next(iter(kind)) for kind in KINDS])
@pytest.mark.parametrize("with_full", [True, False])
def test_costs_of_parts_are_those_of_the_whole(kind, with_full):
    network = random_network(2, horizon=8, **kind)
    inputs = random_inputs(network, 8)
    delay = Steps(value=2, low=1, high=3, source="a test", provenance="bound")
    loaded = load_hardware("loihi2")
    late = loaded.model_copy(update={"monitor": loaded.monitor.model_copy(update={"delay_steps": delay})})
    hardware = {"late": late, **{name: load_hardware(name) for name in ("loihi1", "loihi2", "horowitz45nm")}}
    cut = run_batched(network, inputs, POLICY, record="all")
    full = run_batched(network, inputs, record="all") if with_full else None
    whole = RunCosts.of(cut, full, hardware, hypothetical=True)
    counted_full = without_messages(full) if full else None
    parts = GatheredCosts(network, hardware, "another" if with_full else None, hypothetical=True)
    counts = NeuroBenchCounts(network)
    for part in replay.replayed(inputs, POLICY, without_messages(cut), counted_full):
        parts.add(part.trace, part.full)
        counts.add(part.trace)
    found = parts.result()
    assert counts.metrics() == neurobench_metrics(cut)
    for name, one in whole.estimates.items():
        other = found.estimates[name]
        for band in ("latency_s", "energy_j", "dynamic_energy_j"):
            for edge in ("value", "low", "high"):
                np.testing.assert_array_equal(getattr(getattr(other, band), edge), getattr(getattr(one, band), edge))
        assert (other.assumptions, other.unknown_terms) == (one.assumptions, one.unknown_terms)
    assert jsonable(found.summary()) == jsonable(whole.summary())  # every sum of floats included
    assert (found.saved is None) == (whole.saved is None) == (not with_full)
    for name in whole.cutoffs:
        assert found.saved.streaming[name] == whole.saved.streaming[name]


def test_a_run_that_the_engine_cannot_repeat_is_refused():
    network = random_network(1)
    inputs = random_inputs(network, 4)
    run = without_messages(run_batched(network, inputs, POLICY, record="all"))
    layer = run.events[1]
    more = LayerEvents(layer.name, layer.shape, layer.spikes + np.eye(*layer.spikes.shape, dtype=int), layer.synops)
    other = replace(run, events=(run.events[0], more, *run.events[2:]))
    with pytest.raises(BackendError, match=f"spikes of {layer.name}: the batched engine differs .* spikecut verify"):
        list(replay.replayed(inputs, POLICY, other, None))
    with pytest.raises(BackendError, match="hardware steps: the batched engine differs"):
        list(replay.replayed(inputs, None, run, None))


def rows(folder):
    table = pq.read_table(folder / "samples.parquet").to_pylist()
    return [{name: value for name, value in row.items() if name != "wall_time_s"} for row in table]


@pytest.mark.parametrize("backend", ["batched", "lava"])
def test_without_a_cutoff_the_accuracy_is_that_of_the_full_horizon(command, workshop, tmp_path, backend):
    asked = ("run", workshop / "lif", "--dataset", "digits", "--backend", backend, "--samples", 5, "--no-cutoff")
    code, shown, _ = command(*asked, "--out", tmp_path / "run")
    assert code == 0
    assert "at the full horizon" in shown and "cutoff none: all T timesteps" in " ".join(shown.split())
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    table = rows(tmp_path / "run")
    assert summary["accuracy_cutoff"] is None and summary["savings"] is None
    assert summary["accuracy_full"] == sum(row["correct"] for row in table) / 5
    assert summary["optimal_cutoff"]["mean_timesteps"] >= 1
    assert summary["mean_timesteps"] == summary["horizon"]
    assert {"accuracy.png", "raster.png"} <= {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    if backend == "batched":
        code, out, _ = command(*asked, "--also-full", "--json")
        assert code == 0 and json.loads(out) == unsealed(tmp_path / "run")


def test_what_no_memory_holds_is_refused_before_it_is_allocated():
    network = random_network(1, dense_only=True)
    inputs = random_inputs(network, 1)
    long = replace(network, horizon=2**20)
    with pytest.raises(InputError, match=r"scores of 1,000,000 samples over 1,048,576 timesteps need .* GiB of memory"):
        run_batched(long, np.broadcast_to(inputs[0], (2**20, 10**6, *network.input_shape)))
    many = np.broadcast_to(inputs, (network.horizon, 10**11, *network.input_shape))
    with pytest.raises(InputError, match=r"take fewer samples \(--samples\), or record='output'"):
        run_batched(network, many, record="all")
    with pytest.raises(InputError, match=r"encoded samples .* GiB of memory, .* GiB are available: take fewer samples"):
        encode(np.broadcast_to(np.moveaxis(inputs, 1, 0), (10**11, network.horizon, *network.input_shape)), network)
