"""The script behind docs/reproduction.md."""

import fcntl
import importlib.util
import sys

import numpy as np
import pytest

from spikecut.errors import DataError, Interrupted


@pytest.fixture(scope="module")
def script(repository):
    path = repository / "scripts" / "reproduction.py"
    spec = importlib.util.spec_from_file_location("reproduction", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["reproduction"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["reproduction"]


def test_figures_of_a_case_by_hand(script):
    """Two classes; of 100 samples 60 are right with a large gap from the first step on, 40 only from the third."""
    scores = np.zeros((4, 100, 2))
    scores[0, :60, 0], scores[0, 60:, 1] = 2.0, 1.0
    scores[2, :, 0] += 5.0
    labels = np.zeros(100, dtype=np.int64)
    figures = script.measure((scores, labels), (scores, labels))
    assert figures["accuracy"] == [0.6, 0.6, 1.0, 1.0]
    assert figures["oct"] == pytest.approx((60 * 1 + 40 * 3) / 100)
    for found in figures["topk"].values():
        assert found["mean_timesteps"] == pytest.approx(1.8) and found["accuracy"] == 1
    assert figures["saved"] == {"epsilon": 0.0, "times_fewer": pytest.approx(4 / 1.8), "lost": 0.0}


def test_a_finished_job_is_one_file_that_is_not_made_again_and_the_rest_is_not_run(script, tmp_path):
    job = script.GRIDS["digits"][0]
    path = script.run_job(job, None, tmp_path / "results", tmp_path / "states", epochs=1, train_samples=64)
    before = path.read_bytes()
    assert script.run_job(job, None, tmp_path / "results", tmp_path / "states") == path and path.read_bytes() == before
    assert [file.name for file in (tmp_path / "results").iterdir()] == [f"{job.name}.json"]
    assert [file.name for file in (tmp_path / "states").iterdir()] == [f"{job.name}.safetensors"]
    results = script.load_results(tmp_path / "results")
    result = results[job.name]
    assert result["recipe"]["seed"] == 0 and result["recipe"]["train_samples"] == 64
    assert len(result["accuracy"]) == 8 and result["parameters"] > 1000
    text = script.document(results)
    done = next(line for line in text.splitlines() if line.startswith("| digits-qcfs | 0 |"))
    assert f"| 1 of 3 | {100 * result['accuracy'][-1]:.2f} | {result['oct']:.2f} |" in done
    assert all("not run" in line for line in text.splitlines() if line.startswith("| fashion-mnist"))


def test_an_interrupted_run_ends_and_a_job_that_fails_is_left_out(script, tmp_path, monkeypatch, capsys):
    for name in ("RESULTS", "STATES"):
        monkeypatch.setattr(script, name, tmp_path / name)
    monkeypatch.setattr(script, "DOCUMENT", tmp_path / "document.md")
    done = []

    def run(job, *_):
        done.append(job.name)
        if len(done) == 1:
            raise DataError("no files")
        raise Interrupted("interrupted")

    monkeypatch.setattr(script, "run_job", run)
    with pytest.raises(SystemExit, match="seed1: interrupted; run it again"):
        script.run_jobs(script.GRIDS["digits"], None)
    assert len(done) == 2 and f"{done[0]}: no files" in capsys.readouterr().out
    with (tmp_path / "STATES" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SystemExit, match="another run is at work"):
            script.run_jobs(script.GRIDS["digits"], None)


def test_the_document_is_made_from_the_files_in_the_repository(script, repository):
    assert script.DOCUMENT.read_text(encoding="utf-8") == script.document(script.load_results(script.RESULTS))


def test_jobs_of_the_grid_have_names_of_their_own(script):
    names = [job.name for jobs in script.GRIDS.values() for job in jobs]
    assert len(set(names)) == len(names) == 18 + 18 + 8
