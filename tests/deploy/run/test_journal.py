"""What is kept of an interrupted run: whole, proven, and never in the way of the next run."""

import shutil
from dataclasses import asdict
from functools import partial
from itertools import count

import h5py
import numpy as np
import pytest
from full_disk import files_of_at_most
from kills import killed_before_step
from networks import random_inputs, random_network
from seals import seal_part

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.cutoff.fixed import FixedTimestep
from spikecut.deploy.pipeline.run import RunOptions, RunTarget, RunTask, keeping, resume_run, run_bundle
from spikecut.deploy.pipeline.samples import first_samples
from spikecut.deploy.run.journal import Journal, RunRequest, partial_folder, read_request
from spikecut.deploy.run_trace import joined
from spikecut.errors import InputError, Interrupted
from spikecut.export.encode import encode


def request(**changes):
    """What was asked of a run, made up."""
    fields = {"bundle": "b", "hashes": {}, "dataset": "d", "policy": None, "config": {}, "options": {}, "samples": 30}
    return RunRequest(**{**fields, "overwrite": False, **changes})


def begun(run, network):
    """A journal that has kept nothing yet."""
    journal = Journal.of(run, network)
    journal.begin(request(), overwrite=False)
    return journal


def test_a_disk_that_is_full_leaves_whole_files_only(tmp_path):
    network = random_network(1, dense_only=True)
    trace = run_batched(network, random_inputs(network, 30), FixedTimestep(2), record="all")
    journal = begun(tmp_path / "run", network)
    journal.keep("cut", [trace], [])
    with files_of_at_most(1024), pytest.raises(InputError, match=r"cannot write .*make room"):
        journal.keep("cut", [trace], journal.read("cut"))
    assert sorted(path.name for path in journal.folder.iterdir()) == ["cut-00000000.h5", "request.json"]
    (kept,) = journal.read("cut")
    assert kept.samples == 30 and kept.reason == trace.reason
    for one, other in zip(kept.events, trace.events, strict=True):
        np.testing.assert_array_equal(one.raster, other.raster)
        np.testing.assert_array_equal(one.synops, other.synops)


def test_a_resumed_run_that_breaks_off_at_once_loses_nothing(tmp_path):
    network = random_network(1, dense_only=True)
    journal = begun(tmp_path / "run", network)
    journal.keep("cut", [run_batched(network, random_inputs(network, 7), record="all")], [])
    again = Journal.of(tmp_path / "run", network)
    with pytest.raises(Interrupted, match="7 of 30 samples are kept"), keeping(again, tmp_path / "run", 30):
        raise KeyboardInterrupt
    assert again.samples("cut") == 7
    shutil.rmtree(journal.folder)
    journal.folder.mkdir()
    with pytest.raises(KeyboardInterrupt), keeping(again, tmp_path / "run", 30):
        raise KeyboardInterrupt
    assert not journal.folder.exists()


def test_a_journal_is_checked(bundle, tmp_path, digits):
    with pytest.raises(InputError, match="no interrupted run"):
        read_request(tmp_path / "run")
    folder = partial_folder(tmp_path / "run")
    folder.mkdir()
    (folder / "request.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        read_request(tmp_path / "run")
    for content in (b"half a file", bytes(100)):
        (folder / "cut-00000000.h5").write_bytes(content)
        with pytest.raises(InputError, match="is damaged"):
            Journal.of(tmp_path / "run", bundle.network).read("cut")
    with pytest.raises(InputError, match="--resume"):
        run_bundle(RunTask(bundle, digits.test, "digits", None, RunOptions("lava")), RunTarget(tmp_path / "run"))


def kept_samples(run):
    """A journal with three files of 3, 4 and 7 samples; the network and the samples' trace."""
    network = random_network(1, dense_only=True)
    trace = run_batched(network, random_inputs(network, 7), record="all")
    parts = [run_batched(network, random_inputs(network, 7)[:, some]) for some in (slice(3), slice(3, 7))]
    journal = begun(run, network)
    journal.keep("cut", parts[:1], [])
    journal.keep("cut", parts[1:], journal.read("cut"))
    journal.keep("full", [trace], [])
    return journal, trace


CHANGES = {
    "timesteps of a sample": lambda folder: changed_timesteps(folder / "cut-00000003.h5"),
    "the last byte": lambda folder: rewritten(folder / "cut-00000003.h5", lambda old: old[:-1] + bytes([old[-1] ^ 1])),
    "the end cut off": lambda folder: rewritten(folder / "cut-00000003.h5", lambda old: old[:-1]),
    "samples of the other pass": lambda folder: shutil.copy(folder / "full-00000000.h5", folder / "cut-00000003.h5"),
    "samples from another place": lambda folder: shutil.copy(folder / "cut-00000000.h5", folder / "cut-00000003.h5"),
}


def rewritten(path, change):
    path.write_bytes(change(path.read_bytes()))


def changed_timesteps(path):
    with h5py.File(path, "r+") as file:
        file["timesteps"][1] -= 1


@pytest.mark.parametrize("change", CHANGES)
def test_samples_that_were_changed_on_disk_are_refused_by_name(tmp_path, change):
    journal, trace = kept_samples(tmp_path / "run")
    (three, four) = journal.read("cut")
    np.testing.assert_array_equal(joined([three, four]).timesteps, trace.timesteps)
    CHANGES[change](journal.folder)
    with pytest.raises(InputError, match=r"cut-00000003\.h5 is damaged"):
        journal.read("cut")
    assert [part.samples for part in journal.read("full")] == [7]


SHAPES = {
    "scores": (3,),
    "valid": (6, 4),
    "timesteps": (),
    "hardware_steps": (3, 1),
    "interval": (2,),
    "reason": (),
    "wall_time_s": (),
    "events/0/spikes": (3,),
    "events/1/synops": (4, 7),
    "events/1": (3,),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_no_run_has_are_refused(tmp_path, name):
    """Also where the digest was made right again."""
    journal, _ = kept_samples(tmp_path / "run")
    path = journal.folder / "cut-00000000.h5"
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        file[name] = np.zeros(SHAPES[name], dtype=np.int64)
    seal_part(path)
    with pytest.raises(InputError, match=r"cut-00000000\.h5 is damaged"):
        journal.read("cut")


@pytest.mark.parametrize("name", ["timesteps", "hardware_steps", "interval", "valid"])
@pytest.mark.parametrize("number", [-1, 2**62])
def test_steps_that_no_sample_takes_are_refused(tmp_path, name, number):
    """Also where the digest was made right again."""
    journal, _ = kept_samples(tmp_path / "run")
    path = journal.folder / "cut-00000000.h5"
    with h5py.File(path, "r+") as file:
        changed = file[name][()].astype(np.int64)
        changed.flat[1] = number
        del file[name]
        file[name] = changed
    seal_part(path)
    with pytest.raises(InputError, match=r"cut-00000000\.h5 is damaged .*steps that no sample takes"):
        journal.read("cut")


def test_samples_of_another_request_are_refused(tmp_path):
    journal, _ = kept_samples(tmp_path / "run")
    rewritten(journal.folder / "request.json", lambda old: old.replace(b"30", b"31"))
    with pytest.raises(InputError, match=r"cut-00000000\.h5 is damaged: it or request.json was changed"):
        journal.read("cut")


@pytest.mark.parametrize("what", ["remove", "begin"])
def test_a_process_killed_while_the_journal_is_cleared_leaves_one_that_goes_on(tmp_path, what):
    template, trace = kept_samples(tmp_path / "template")
    for step in count(1):
        journal = Journal.of(tmp_path / str(step) / "run", template.network)
        shutil.copytree(template.folder, journal.folder)
        work = journal.remove if what == "remove" else partial(journal.begin, request(samples=31), True)
        if not killed_before_step(step, work):
            break
        samples = journal.samples("cut")
        assert samples in (0, 3, 7)
        if samples:
            assert read_request(tmp_path / str(step) / "run").samples == 30
            np.testing.assert_array_equal(joined(journal.read("cut")).timesteps, trace.timesteps[:samples])
        journal.begin(request(), overwrite=samples > 0)
        assert [path.name for path in journal.folder.iterdir()] == ["request.json"]
    assert step > 4 and journal.folder.exists() == (what == "begin")


def test_what_no_run_wrote_stays_in_a_journals_folder(tmp_path):
    journal, _ = kept_samples(tmp_path / "run")
    (journal.folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"also holds notes\.txt"):
        journal.begin(request(), overwrite=True)
    assert journal.samples("cut") == 7
    journal.remove()
    assert [path.name for path in journal.folder.iterdir()] == ["notes.txt"]


def test_a_run_that_was_interrupted_while_its_journal_was_removed_is_resumed_all_the_same(bundle, digits, tmp_path):
    split, policy = first_samples(digits.test, 12), bundle.cutoff()
    task = RunTask(bundle, split, "digits", policy, RunOptions("batched", hardware=()))
    done = run_bundle(task, RunTarget(tmp_path / "run"))
    asked = RunRequest(
        bundle=str(bundle.path),
        hashes=done.summary.data()["hashes"],
        dataset="digits",
        policy=policy.to_dict(),
        config={},
        options=asdict(RunOptions("lava", hardware=())),
        samples=12,
        overwrite=False,
    )
    journal = Journal.of(tmp_path / "run", bundle.network)
    journal.begin(asked.model_copy(update={"samples": 11}), overwrite=False)
    with pytest.raises(InputError, match="holds an earlier run: choose"):  # another's
        resume_run(tmp_path / "run")
    journal.begin(asked, overwrite=False)
    journal.keep("cut", [run_batched(bundle.network, encode(split.x[:], bundle.network), policy, "events")], [])
    again = resume_run(tmp_path / "run")
    assert again.summary.data()["accuracy_cutoff"] == done.summary.data()["accuracy_cutoff"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
