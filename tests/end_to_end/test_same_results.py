"""`spikecut run` writes the same results per sample on the batched engine and on Lava."""

import pyarrow.parquet as pq
import pytest
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
