"""Calibrate a bundle's cutoff on held-out samples, and write cutoff.json into it."""

from dataclasses import dataclass
from pathlib import Path

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import Bundle, open_bundle
from spikecut.deploy.cutoff.base import IntArray
from spikecut.deploy.cutoff.calibration.calibrate import Calibration, calibrate
from spikecut.deploy.pipeline.progress import Progress, silent
from spikecut.deploy.pipeline.samples import check_labels, data_hash, split_notes
from spikecut.export.encode import encode
from spikecut.models.data import Split, load_dataset


@dataclass(frozen=True)
class CalibrationOptions:
    """How a cutoff is calibrated; see `spikecut.calibrate`.

    Attributes
    ----------
    policy: "topk", "confidence", "entropy", "spikecp", "fixed", or a policy of another package.
    epsilon: tolerated share, in [0, 1); each policy says of what.
    delta: probability that the guarantee fails; None for no guarantee.
    minimum_count: samples that a threshold must rest on.
    seed: divides the samples for a guarantee.
    """

    policy: str = "topk"
    epsilon: float = 0.01
    delta: float | None = None
    minimum_count: int = 20
    seed: int = 0


@dataclass(frozen=True)
class CalibratedBundle:
    """A bundle with a calibrated cutoff; notes: remarks on the data, for the user."""

    bundle: Bundle
    calibration: Calibration
    notes: tuple[str, ...] = ()


def calibrate_bundle(
    path: Path, dataset: str, options: CalibrationOptions = CalibrationOptions(), progress: Progress = silent
) -> CalibratedBundle:
    """Calibrate a bundle on the calibration split of a data set, and write cutoff.json.

    Raises
    ------
    BundleError: no sound bundle, or cutoff.json cannot be written. DataError: no such data. InputError: labels that do
        not fit the network, and what `spikecut.calibrate` raises.
    """
    bundle = open_bundle(path)
    data = load_dataset(dataset, frames=bundle.network.horizon)
    calibration = calibrate_split(bundle, data.calibration, dataset, options, progress)
    return CalibratedBundle(bundle, calibration, split_notes(data))


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
    scores = scores_of_split(bundle, split, "scores of the calibration split", progress)
    result = calibrate(
        scores,
        split.y,
        policy=options.policy,
        epsilon=options.epsilon,
        minimum_count=options.minimum_count,
        delta=options.delta,
        seed=options.seed,
    )
    bundle.write_cutoff({**result.to_dict(), "dataset": dataset, "data": data_hash(split)})
    return result


def scores_of_split(bundle: Bundle, split: Split, what: str, progress: Progress = silent) -> IntArray:
    """Full-horizon scores int64 [T, N, classes] of a split; what: the step in words, for the progress bar.

    InputError where a label is no class of the network.
    """
    check_labels(bundle.network, split)
    with progress(what, len(split.y)) as advance:
        return run_batched(bundle.network, encode(split.x, bundle.network), progress=advance).scores
