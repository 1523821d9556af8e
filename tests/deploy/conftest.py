"""Two runs of the workshop's networks, and the report of both: made once."""

import pytest

from spikecut.deploy.pipeline.reporting.gather import gather
from spikecut.deploy.pipeline.run import RunOptions, RunTarget, run_dataset
from spikecut.deploy.report.html.page import page

SAMPLES = 60


@pytest.fixture(scope="session")
def run_folders(workshop, tmp_path_factory):
    """Folders of runs of 60 samples on the batched engine, by the name of the bundle; not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    how = RunOptions("batched", hardware=("loihi1", "loihi2"), also_full=True)
    for name in ("lif", "qcfs"):
        run_dataset(workshop / name, "digits", how, samples=SAMPLES, target=RunTarget(folder / name))
    return {name: folder / name for name in ("lif", "qcfs")}


@pytest.fixture(scope="session")
def report(run_folders):
    return gather(list(run_folders.values()))


@pytest.fixture(scope="session")
def page_file(report, tmp_path_factory):
    """The page of both runs."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(page(report))
    return path
