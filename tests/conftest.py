"""Settings that every test shares."""

import gc
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores; threads that wait for each other take ages

import held_run
import offline
from hypothesis import settings
from left_behind import GUARD_S, group
from order import longest_first
from tiers import marks_of

from spikecut.deploy.backends.lava.blocks import require_lava
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cli import main as cli
from spikecut.deploy.pipeline.calibrate import CalibrationOptions, calibrate_split
from spikecut.deploy.pipeline.export import export_to_bundle
from spikecut.models.checkpoint import save_checkpoint
from spikecut.models.data import load_dataset

offline.forbid()
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


def pytest_addoption(parser):
    """--update-golden: the texts of tests/golden/terminal are written anew, to be read by whoever asks for it."""
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/terminal anew")


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by mark
def pytest_collection_modifyitems(items):
    """Mark what needs Lava, and what is slow: `make check` leaves both out. What takes longest comes first."""
    for item in items:
        for mark in sorted(marks_of(item)):
            item.add_marker(mark)
    longest_first(items, Path(__file__).parent)


def pytest_collection_finish():
    """What the imports have made, millions of objects, is no garbage: the collector looks at what the tests make."""
    gc.collect()
    gc.freeze()


class _NoLava:
    """Finder of modules that fails a test which imports Lava unawares."""

    def find_spec(self, name, path=None, target=None):
        if name == "lava":
            pytest.fail("this test imports Lava: mark it with @pytest.mark.lava", pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def lava_is_loaded_first(request):
    """Lava's import fails once torch or a training has asked for a start method, in whatever order the tests come.

    Where no test needs it, none may import it.
    """
    if any(item.get_closest_marker("lava") for item in request.session.items):
        require_lava()
        yield
        return
    finder = _NoLava()
    sys.meta_path.insert(0, finder)
    yield
    sys.meta_path.remove(finder)


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


# Two small networks, really trained, exported and calibrated once for all tests that need a bundle.
RECIPES = {"lif": ("tet", 3), "qcfs": ("qcfs", 4)}


@pytest.fixture(scope="session")
def server():
    """Starts runs of the command that stand still, see held_run."""
    with held_run.server() as server:
        yield server


@pytest.fixture(scope="session")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory, digits):
    """Folder with <name>.safetensors and a calibrated bundle <name> per recipe; not to be changed."""
    from spikecut.models.training.train import train  # lightning takes seconds, and many tests need it not

    folder = tmp_path_factory.mktemp("workshop")
    for name, (method, epochs) in RECIPES.items():
        trained = train(method, digits, epochs=epochs)
        save_checkpoint(folder / f"{name}.safetensors", trained.network, trained.recipe)
        export_to_bundle(trained.network, trained.recipe, folder / name)
        calibrate_split(open_bundle(folder / name), digits.calibration, "digits", CalibrationOptions(epsilon=0.02))
    return folder


@pytest.fixture(params=list(RECIPES))
def bundle(request, workshop):
    return open_bundle(workshop / request.param)


@pytest.fixture
def own_copy(tmp_path, workshop):
    """A bundle that a test may damage, by method."""

    def make(method="lif"):
        shutil.copytree(workshop / method, tmp_path / method)
        return tmp_path / method

    return make


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command line in this process: (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["spikecut", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

    return run
