"""One writer at a time: others are refused at once, and a writer that died stands in nobody's way."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from spikecut.errors import InputError
from spikecut.folders import check_entries
from spikecut.locks import lock_file, only_writer

WRITER = """
import sys
from pathlib import Path
from spikecut.locks import only_writer
with only_writer(Path(sys.argv[1]), "run"):
    print("writing", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def writer_in_another_process(target):
    """Yields the process, which writes to `target` until its input ends."""
    command = [sys.executable, "-c", WRITER, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        yield process


@contextmanager
def writer_in_another_thread(target):
    writing, done = Event(), Event()

    def write():
        with only_writer(target, "run"):
            writing.set()
            done.wait()

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        writing.wait()
        try:
            yield
        finally:
            done.set()
    written.result()


def test_another_process_is_refused_until_the_writer_is_done(tmp_path):
    target = tmp_path / "new" / "run"
    with writer_in_another_process(target) as process:
        with (
            pytest.raises(InputError, match="another spikecut process is writing there: wait"),
            only_writer(target, ""),
        ):
            pass
        with only_writer(target.with_name("other"), "run"):
            pass
        assert lock_file(target).exists()
        process.stdin.close()
    with only_writer(target, "run"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_process_that_died_is_taken_over(tmp_path):
    target = tmp_path / "run"
    with writer_in_another_process(target) as process:
        os.kill(process.pid, signal.SIGKILL)
    assert lock_file(target).exists()
    check_entries(tmp_path, (), "demo")  # half written, nobody's
    with only_writer(target, "run"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_writer_may_enter_again_but_another_thread_may_not(tmp_path):
    target = tmp_path / "run"
    with writer_in_another_thread(target):
        with pytest.raises(InputError, match="is writing there"), only_writer(target, "run"):
            pass
        with only_writer(tmp_path / "other", "run"):
            pass
    with only_writer(target, "run"), only_writer(target, "run"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_under_way_is_not_called_interrupted(command, workshop, tmp_path):
    out, partial = tmp_path / "run", tmp_path / "run.partial"
    asked = ("run", workshop / "lif", "--dataset", "digits", "--samples", 2, "--backend", "lava", "--out", out)
    partial.mkdir()
    (partial / "request.json").write_text("{}")
    (partial / "cut-00000000.h5").write_bytes(b"")
    with writer_in_another_thread(out):
        for arguments in (asked, (*asked, "--overwrite")):
            code, _, err = command(*arguments)
            assert code == 2 and "another spikecut process is writing there" in err and err.count("\n") == 1
    assert (partial / "cut-00000000.h5").exists()
    code, _, err = command(*asked)
    assert code == 2 and "holds the finished samples of an interrupted run" in err


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_what_another_wrote_just_before_is_noticed_before_anything_runs(command, workshop, tmp_path, monkeypatch, name):
    out, step = tmp_path / "out", f"spikecut.deploy.pipeline.{name}"

    @contextmanager
    def late(path, *_):
        path.mkdir()
        (path / "summary.json").write_text(json.dumps({"format": f"spikecut {name} 1"}))
        yield

    monkeypatch.setattr(f"{step}.only_writer", late)
    monkeypatch.setattr(f"{step}.{'_run' if name == 'run' else '_swept'}", None)
    code, _, err = command(name, workshop / "lif", "--dataset", "digits", "--samples", 2, "--out", out)
    assert code == 2 and f"holds an earlier {name}: choose" in err and list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("name", ["export", "sweep", "train"])
def test_no_other_command_writes_beside_a_writer(command, workshop, tmp_path, name):
    out = tmp_path / "out"
    asked = {
        "export": (workshop / "lif.safetensors",),
        "sweep": (workshop / "lif", "--dataset", "digits", "--samples", 2, "--epsilon", 0.1, "--policy", "topk"),
        "train": ("--epochs", 1),
    }
    with writer_in_another_thread(out):
        code, _, err = command(name, *asked[name], "--out", out)
    assert code == 2 and "another spikecut process is writing there" in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_root_of_the_file_system_is_refused():
    with pytest.raises(InputError, match="the root of the file system"), only_writer(Path("/"), "demo"):
        raise AssertionError("entered")
