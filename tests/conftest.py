"""Settings that every test shares."""

import os
import time
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores; threads that wait for each other take ages

from hypothesis import settings
from left_behind import GUARD_S, group

from spikecut.deploy.backends.lava_blocks import require_lava

os.environ.setdefault("MPLBACKEND", "Agg")  # figures are drawn without a screen

if "PYTEST_XDIST_WORKER" in os.environ:
    os.setpgid(0, 0)  # so that what a worker's tests leave behind is told apart from the other worker's

# No deadline, since machines differ; no database, since it would be written into the working directory.
settings.register_profile("spikecut", deadline=None, database=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("spikecut")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def lava_is_loaded_first():
    """Lava's import fails once torch or a training has asked for a start method, in whatever order the tests come."""
    require_lava()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind():
    """After the whole suite no orphan process is left. Nor memory: what spikecut shares has no name to be left by."""
    if not Path("/proc/self/stat").exists():  # only Linux shows processes so
        yield
        return
    processes = group()
    yield
    since = time.monotonic()
    while (left := group() - processes) and time.monotonic() - since < GUARD_S:  # dying may take its time
        time.sleep(0.05)
    assert not left
