"""A backend of another package, found by its entry point, runs and verifies as those of spikecut do."""

import json
import shutil
import sys
import textwrap

import numpy as np
import pyarrow.parquet as pq
import pytest
from networks import random_inputs, random_network

import spikecut
from spikecut.deploy.backends.base import BACKENDS, backend_named
from spikecut.deploy.cutoff import FixedTimestep
from spikecut.errors import BackendError, CapabilityError, InputError

TOY = '''
from dataclasses import replace

from spikecut.deploy.backends.base import Backend, Capabilities
from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.errors import BackendError, Refusal


class Toy(Backend):
    """One sample at a time."""

    name = "toy"
    capabilities = Capabilities(resumable=True)

    def refusals(self, network):
        recurrent = [layer.name for layer in network.layers if layer.recurrent is not None]
        return tuple(Refusal(f"layer {name}", "recurrent synapses", "use --backend lava") for name in recurrent)

    def run(self, network, inputs, settings):
        for n in range(settings.first, inputs.shape[1]):
            trace = run_batched(network, inputs[:, n : n + 1], settings.policy, settings.record)
            settings.progress and settings.progress(1)
            yield replace(trace, backend=self.name)


class Wrong(Toy):
    """Gives a spike too many."""

    name = "wrong"

    def run(self, network, inputs, settings):
        for trace in super().run(network, inputs, settings):
            trace.scores[0, 0, 0] += 1
            yield trace


class Tired(Toy):
    """Fails after three samples of each try."""

    name = "tired"

    def run(self, network, inputs, settings):
        for number, trace in enumerate(super().run(network, inputs, settings)):
            if number == 3:
                raise BackendError("tired")
            yield trace


class Scores(Toy):
    """Knows its scores only."""

    name = "scores"
    capabilities = Capabilities(records=("output",))


class Absent(Toy):
    name = "absent"

    def require(self):
        raise BackendError("no board is connected; use --backend lava")


class Misnamed(Toy):
    name = "something"


class Nothing:
    name = "nothing"
'''


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution with backends: good ones, one that errs, one of another name, none at all, one that is missing."""
    (tmp_path / "toys.py").write_text(TOY)
    information = tmp_path / "toys-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        textwrap.dedent(
            """
            [spikecut.backends]
            toy = toys:Toy
            wrong = toys:Wrong
            tired = toys:Tired
            scores = toys:Scores
            absent = toys:Absent
            misnamed = toys:Misnamed
            nothing = toys:Nothing
            missing = toys_of_nobody:Toy
            loihi2 = toys:Toy
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("toys", None)


def test_it_runs_as_the_batched_engine_does(installed):
    assert {"toy", "lava", "loihi2"} <= set(BACKENDS.names())
    network = random_network(2)
    inputs = random_inputs(network, 5)
    policy = FixedTimestep(2)
    trace = spikecut.run(network, inputs, backend="toy", policy=policy, record="all")
    assert trace.backend == "toy" and trace.samples == 5
    from spikecut.deploy.backends.batched.engine import run_batched

    whole = run_batched(network, inputs, policy, "all")
    np.testing.assert_array_equal(trace.scores, whole.scores)
    for name, spikes in whole.spikes.items():
        np.testing.assert_array_equal(trace.spikes[name], spikes)


def test_the_commands_take_it(installed, bundle, command, tmp_path):
    given = ["run", bundle.path, "--dataset", "digits", "--samples", 6, "--no-cutoff", "--hardware", "loihi1"]
    for backend in ("toy", "lava"):
        code, out, err = command(*given, "--backend", backend, "--out", tmp_path / backend, "--json")
        assert code == 0, err
        assert json.loads(out)["backend"] == backend
    ours, theirs = (
        pq.read_table(tmp_path / name / "samples.parquet").drop(["wall_time_s"]) for name in ("toy", "lava")
    )
    assert ours.equals(theirs)
    assert not (tmp_path / "toy.partial").exists()
    code, out, err = command("verify", bundle.path, "--backend", "toy", "--samples", 4, "--json")
    found = json.loads(out)
    assert code == 0 and found["passed"] and found["engines"] == ["batched", "toy"]
    layers = {check["layer"] for check in found["checks"] if check["engine"] == "toy"}
    assert layers == {check["layer"] for check in found["checks"] if check["engine"] == "batched"}


@pytest.mark.slow
def test_one_that_fails_is_resumed_where_it_was(installed, bundle, command, tmp_path):
    out = tmp_path / "run"
    given = ["run", bundle.path, "--dataset", "digits", "--samples", 5, "--no-cutoff", "--hardware", "loihi1"]
    code, _, err = command(*given, "--backend", "tired", "--out", out)
    assert code == 2 and f"tired; 3 of 5 samples are kept: spikecut run --resume {out}" in err
    code, _, err = command("run", "--resume", out, "--samples", 2, "--no-cutoff", "--hardware", "loihi1", "--overwrite")
    told = "leave out --hardware, --cutoff or --no-cutoff, --samples, --overwrite"
    assert (code, err) == (2, f"spikecut: --resume RUN keeps the options of that run: {told}\n")
    copy = shutil.copytree(tmp_path / "run.partial", tmp_path / "again.partial")
    assert command("run", "--resume", out, "--detail", "--json")[0] == 0
    ended = spikecut.resume_run(copy.with_name("again"))
    assert ended.summary.samples == 5 and ended.folder == copy.with_name("again")
    assert command(*given, "--backend", "batched", "--out", tmp_path / "whole")[0] == 0
    ours, theirs = (pq.read_table(folder / "samples.parquet") for folder in (out, tmp_path / "whole"))
    assert ours.equals(theirs)


def test_one_that_errs_is_found(installed, bundle, command):
    code, out, _ = command("verify", bundle.path, "--backend", "wrong", "--samples", 2)
    assert code == 1 and "they differ first at" in " ".join(out.split())


def test_one_that_knows_scores_only_is_verified_by_them(installed, bundle, command):
    code, out, _ = command("verify", bundle.path, "--backend", "scores", "--samples", 2, "--json")
    checks = [check["layer"] for check in json.loads(out)["checks"] if check["engine"] == "scores"]
    assert code == 0 and checks == ["output scores"]
    code, _, err = command("run", bundle.path, "--dataset", "digits", "--backend", "scores")
    assert code == 2 and "counts no events" in err
    network = random_network(1)
    with pytest.raises(InputError, match="scores records output only"):
        spikecut.run(network, random_inputs(network, 1), "scores", record="all")


def test_what_it_has_no_use_for_is_refused_by_name(installed, bundle, command):
    network = random_network(1, dense_only=True, recurrent=True)
    with pytest.raises(CapabilityError, match="recurrent synapses; use --backend lava"):
        spikecut.run(network, random_inputs(network, 1), "toy")
    for option, value in (("--mode", "streaming"), ("--lava-models", "stock")):
        code, _, err = command("run", bundle.path, "--dataset", "digits", "--backend", "toy", option, value)
        assert code == 2 and f"{option} {value}: the toy engine has no choice of it" in err


@pytest.fixture
def no_work(monkeypatch):
    """Fails where a command loads samples or trains."""

    def work(*_, **__):
        pytest.fail("work began")

    for step in ("demo.load_dataset", "demo.train", "run.samples_to_run"):
        monkeypatch.setattr(f"spikecut.deploy.pipeline.{step}", work)


@pytest.mark.usefixtures("installed", "no_work")
def test_one_that_cannot_run_here_is_refused_before_any_work(bundle, command, tmp_path):
    before = set(tmp_path.iterdir())
    commands = (
        ("demo", "--out", tmp_path / "demo"),
        ("run", bundle.path, "--dataset", "digits", "--out", tmp_path / "run"),
        ("verify", bundle.path),
    )
    for given in commands:
        code, out, err = command(*given, "--backend", "absent")
        assert (code, out, err) == (2, "", "spikecut: no board is connected; use --backend lava\n")
    assert set(tmp_path.iterdir()) - {tmp_path / "__pycache__"} == before
    network = random_network(1)
    with pytest.raises(BackendError, match="no board"):
        spikecut.run(network, random_inputs(network, 1), "absent")


@pytest.mark.usefixtures("no_work")
def test_the_demo_is_refused_for_loihi_2_before_it_trains(command, tmp_path):
    code, out, err = command("demo", "--out", tmp_path / "demo", "--backend", "loihi2")
    assert code == 2 and out == "" and "lava-loihi" in err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "is no backend .it lacks capabilities, require, refusals, run, verify"),
        ("missing", "cannot be loaded"),
        ("misnamed", "calls itself 'something'"),
        ("loihi2", "is offered twice, by spikecut.*Loihi2 and toys:Toy"),
        ("gpu", "expected one of .*batched, lava, loihi2, "),
        (None, "expected one of"),
    ],
)
def test_what_is_no_backend_is_refused(installed, name, message):
    with pytest.raises(InputError, match=message):
        backend_named(name)
