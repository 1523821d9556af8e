"""Settings that every test shares."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")  # figures are drawn without a screen

# No deadline, since machines differ; no database, since it would be written into the working directory.
settings.register_profile("spikecut", deadline=None, database=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("spikecut")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parent.parent
