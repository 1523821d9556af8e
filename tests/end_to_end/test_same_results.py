"""The same results per sample on the batched engine and on Lava, and in whatever surroundings."""

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import surroundings
from typer.testing import CliRunner

from spikecut.deploy.cli.main import app

MEASURED = {"wall_time_s"}


# 130: two whole parts of a run on Lava, and a third
@pytest.mark.parametrize(("method", "samples"), [("lif", 40), ("qcfs", 130)])
def test_both_backends_write_the_same_rows(workshop, tmp_path, method, samples):
    tables = {}
    for backend, options in (("batched", []), ("lava", ["--lava-models", "stock"])):
        out = tmp_path / backend
        arguments = ["run", str(workshop / method), "--dataset", "digits", "--samples", str(samples), "--out", str(out)]
        result = CliRunner().invoke(app, [*arguments, "--backend", backend, *options])
        assert result.exit_code == 0, result.output
        tables[backend] = pq.read_table(out / "samples.parquet").to_pydict()
    batched, lava = tables["batched"], tables["lava"]
    assert set(batched) - MEASURED == set(lava) - MEASURED
    assert {"prediction", "timesteps", "hardware_steps", "reason", "scores"} <= set(batched)
    assert len(batched["prediction"]) == samples and len(set(batched["timesteps"])) > 2
    for name in set(batched) - MEASURED:
        assert batched[name] == lava[name], name


def test_the_same_under_python_o_in_another_locale_and_without_a_home():
    """Also in threads at once, and in processes that are forked and spawned."""
    strange = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": os.devnull}  # nothing is below it
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "OMP_NUM_THREADS", "PYTHONPATH")}
    command = [sys.executable, "-O", surroundings.__file__]
    done = subprocess.run(command, env={**kept, **strange}, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    found, expected = json.loads(done.stdout), surroundings.digest()
    assert found["optimised"] == 1 and found["encoding"].lower() != "utf-8" and found["home"] == os.devnull
    assert found["threads"] == [expected] * surroundings.THREADS
    assert [found[name] for name in ("here", "fork", "spawn", "lava")] == [expected] * 4
