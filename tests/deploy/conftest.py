"""Two small networks, really trained, exported and calibrated once for all tests that need a bundle."""

import shutil
import sys

import held_run
import pytest

from spikecut.deploy import cli
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cutoff_commands import calibrate_split
from spikecut.deploy.workflow import export_to_bundle
from spikecut.models.checkpoint import save_checkpoint
from spikecut.models.data import load_dataset
from spikecut.models.train import train

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
    folder = tmp_path_factory.mktemp("workshop")
    for name, (method, epochs) in RECIPES.items():
        trained = train(method, digits, epochs=epochs)
        save_checkpoint(folder / f"{name}.safetensors", trained.network, trained.recipe)
        export_to_bundle(trained.network, trained.recipe, folder / name)
        calibrate_split(open_bundle(folder / name), digits.calibration, "digits", "topk", 0.02)
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
