"""zoo:NAME: a pretrained checkpoint, or the bundle that is made of it once and kept."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import spikecut
from spikecut.deploy.backends.progress import Progress, silent
from spikecut.deploy.pipeline.targets import PREFIX, cache_folder, is_pretrained
from spikecut.errors import InputError
from spikecut.files import reason, sha256
from spikecut.models.pretrained import ready_checkpoint

EPSILON = 0.01


@dataclass(frozen=True)
class PretrainedBundle:
    """A bundle by its path; notes: for the user, that it was made and where it is kept."""

    path: Path
    notes: tuple[str, ...] = ()


def checkpoint_of(path: Path) -> Path:
    """The file of zoo:NAME; any other path as it is. InputError for an unknown name."""
    return ready_checkpoint(str(path).removeprefix(PREFIX)) if is_pretrained(path) else path


def bundle_of(path: Path, progress: Progress = silent) -> PretrainedBundle:
    """The bundle of zoo:NAME, exported and calibrated (Top-K, ε = 0.01) at its first use; any other path as it is.

    It is kept in spikecut/zoo below the user's cache folder (on Linux XDG_CACHE_HOME, or ~/.cache), under the
    checkpoint's hash and spikecut's version.

    Raises
    ------
    InputError: an unknown name, or a cache that cannot be written. DataError: the data set's files are not at hand.
    """
    if not is_pretrained(path):
        return PretrainedBundle(path)
    checkpoint = checkpoint_of(path)
    cache = cache_folder()
    kept = cache / f"{checkpoint.stem}-{spikecut.__version__}-{sha256(checkpoint)[:12]}"
    if kept.is_dir():
        return PretrainedBundle(kept)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=f".{checkpoint.stem}-", dir=cache))
        try:
            remarks = _make(checkpoint, working / "bundle", progress)
            if not kept.is_dir():
                os.replace(working / "bundle", kept)
        finally:
            shutil.rmtree(working, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{cache}: cannot be written ({reason(error)}); set XDG_CACHE_HOME, or export it") from error
    made = f"{path}: exported and calibrated (Top-K, ε = {EPSILON:g}) once, kept in {kept}"
    return PretrainedBundle(kept, (*remarks, made))


def _make(checkpoint: Path, bundle: Path, progress: Progress) -> tuple[str, ...]:
    from spikecut.deploy.bundle import open_bundle
    from spikecut.deploy.pipeline.calibrate import CalibrationOptions, calibrate_split
    from spikecut.deploy.pipeline.export import export_to_bundle
    from spikecut.models.checkpoint import load_checkpoint
    from spikecut.models.data import load_dataset

    network, recipe = load_checkpoint(checkpoint)
    notes = export_to_bundle(network, recipe, bundle, name=checkpoint.stem).notes
    made = open_bundle(bundle)
    split = load_dataset(recipe["dataset"], frames=made.network.horizon).calibration
    calibrate_split(made, split, recipe["dataset"], CalibrationOptions(epsilon=EPSILON), progress)
    return notes
