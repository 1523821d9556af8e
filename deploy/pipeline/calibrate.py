"""Calibrate a bundle's cutoff on held-out samples, and write cutoff.json into it or into a copy."""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.progress import Progress, silent
from spikecut.deploy.bundle import Bundle, open_bundle
from spikecut.deploy.cutoff.base import CutoffPolicy, IntArray, check_classes
from spikecut.deploy.cutoff.calibration.calibrate import Calibration, calibrate, check_arguments
from spikecut.deploy.pipeline.samples import check_labels, data_hash, split_notes
from spikecut.deploy.pipeline.targets import check_bundle_target, is_shared
from spikecut.errors import InputError
from spikecut.export.encode import encode
from spikecut.export.manifest import BUNDLE, CUTOFF
from spikecut.folders import replacing_folder
from spikecut.models.data import Split, load_dataset
from spikecut.text import brief, told


@dataclass(frozen=True)
class CalibrationOptions:
    """How a cutoff is calibrated; see `spikecut.calibrate`.

    Attributes
    ----------
    policy: "topk", "confidence", "entropy", "spikecp", "fixed", a policy of another package, or its class.
    epsilon: tolerated share, in [0, 1); each policy says of what.
    delta: probability that the guarantee fails; None for no guarantee.
    minimum_count: samples that a threshold must rest on.
    seed: divides the samples for a guarantee.
    """

    policy: str | type[CutoffPolicy] = "topk"
    epsilon: float = 0.01
    delta: float | None = None
    minimum_count: int = 20
    seed: int = 0


@dataclass(frozen=True)
class CalibratedBundle:
    """A bundle with a calibrated cutoff.

    Attributes
    ----------
    bundle: what holds the calibration. calibration: how it came out. notes: remarks for the user.
    """

    bundle: Bundle
    calibration: Calibration
    notes: tuple[str, ...] = ()

    __repr__ = brief

    def __str__(self) -> str:
        """The bundle's folder, and how the calibration came out."""
        own = [note for note in self.notes if note not in self.calibration.notes]  # which tells its own itself
        return f"bundle {self.bundle.path}: calibrated\n{self.calibration}{told(own)}"


@dataclass(frozen=True)
class CopyTarget:
    """Where a copy of the bundle with its calibration goes; overwrite: an earlier bundle there is replaced."""

    folder: Path
    overwrite: bool = False


def calibrate_bundle(
    path: Path,
    dataset: str,
    options: CalibrationOptions = CalibrationOptions(),
    target: CopyTarget | None = None,
    progress: Progress = silent,
) -> CalibratedBundle:
    """Calibrate a bundle on the calibration split of a data set, and write cutoff.json.

    path: a bundle; that of zoo:NAME, which all commands share, is never changed: it needs a target.
    target: for a copy of the bundle, which alone gets the calibration; None writes it into the bundle itself.

    Raises
    ------
    BundleError: no sound bundle, or cutoff.json cannot be written. DataError: no such data. InputError: labels that do
        not fit the network, a shared bundle without a target, a target that may not be written, and what
        `spikecut.calibrate` raises.
    """
    check_calibrates(path, target)
    bundle = open_bundle(path)
    check_arguments(**vars(options))
    data = load_dataset(dataset, frames=bundle.network.horizon)
    calibration = _calibration(bundle, data.calibration, options, progress)
    if target is not None:
        bundle = _copied(bundle, target, calibration, dataset, data.calibration)
    else:
        _write(bundle, calibration, dataset, data.calibration)
    return CalibratedBundle(bundle, calibration, (*split_notes(data), *calibration.notes))


def check_calibrates(path: Path, target: CopyTarget | None) -> None:
    """Raise InputError where the bundle is one that all commands share, or the target may not be written."""
    if target is not None:
        check_bundle_target(target.folder, target.overwrite)
    elif is_shared(path):
        raise InputError(f"{path}: all commands share this bundle: give --out BUNDLE for a copy with your calibration")


def calibrate_split(
    bundle: Bundle,
    split: Split,
    dataset: str,
    options: CalibrationOptions = CalibrationOptions(),
    progress: Progress = silent,
) -> Calibration:
    """Calibrate on a held-out split with the batched engine, and write cutoff.json into the bundle.

    dataset: the name under which cutoff.json records the samples, beside their hash.
    """
    result = _calibration(bundle, split, options, progress)
    _write(bundle, result, dataset, split)
    return result


def _calibration(bundle: Bundle, split: Split, options: CalibrationOptions, progress: Progress) -> Calibration:
    check_classes(bundle.network, "calibration")
    scores = scores_of_split(bundle, split, "scores of the calibration split", progress)
    return calibrate(scores, split.y, **asdict(options))


def _write(bundle: Bundle, calibration: Calibration, dataset: str, split: Split) -> None:
    bundle.write_cutoff({**calibration.to_dict(), "dataset": dataset, "data": data_hash(split)})


def _copied(bundle: Bundle, target: CopyTarget, calibration: Calibration, dataset: str, split: Split) -> Bundle:
    """A copy of the bundle with the calibration, all of it or nothing."""
    with replacing_folder(target.folder, BUNDLE, target.overwrite) as part:
        for name in BUNDLE.entries:
            if name != CUTOFF and (bundle.path / name).exists():
                shutil.copyfile(bundle.path / name, part / name)
        _write(replace(bundle, path=part), calibration, dataset, split)
    return open_bundle(target.folder)


def scores_of_split(bundle: Bundle, split: Split, what: str, progress: Progress = silent) -> IntArray:
    """Full-horizon scores int64 [T, N, classes] of a split; what: the step in words, for the progress bar.

    InputError where a label is no class of the network.
    """
    check_labels(bundle.network, split)
    with progress(what, len(split.y)) as advance:
        return run_batched(bundle.network, encode(split.x, bundle.network), progress=advance).scores
