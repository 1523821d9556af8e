"""Two small networks, really trained, exported and calibrated once for all tests that need a bundle."""

import shutil

import pytest

from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cutoff_commands import calibrate_split
from spikecut.deploy.workflow import export_to_bundle
from spikecut.models.checkpoint import save_checkpoint
from spikecut.models.data import load_dataset
from spikecut.models.train import train

EPOCHS = {"lif": 3, "qcfs": 4}


@pytest.fixture(scope="session")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory, digits):
    """Folder with <name>.safetensors and a calibrated bundle <name> per method; not to be changed."""
    folder = tmp_path_factory.mktemp("workshop")
    for method, epochs in EPOCHS.items():
        trained = train(method, digits, epochs=epochs)
        save_checkpoint(folder / f"{method}.safetensors", trained.network, trained.recipe)
        export_to_bundle(trained.network, trained.recipe, folder / method)
        calibrate_split(open_bundle(folder / method), digits.calibration, "digits", "topk", 0.02)
    return folder


@pytest.fixture(params=list(EPOCHS))
def bundle(request, workshop):
    return open_bundle(workshop / request.param)


@pytest.fixture
def own_copy(tmp_path, workshop):
    """A bundle that a test may damage, by method."""

    def make(method="lif"):
        shutil.copytree(workshop / method, tmp_path / method)
        return tmp_path / method

    return make
