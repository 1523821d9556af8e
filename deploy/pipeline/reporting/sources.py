"""Where a run's network and samples are: its bundle, found by its hash, and its data set, checked by its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spikecut.deploy.bundle import Bundle, open_bundle
from spikecut.deploy.cutoff.base import CutoffPolicy, policy_from_dict
from spikecut.deploy.pipeline.samples import (
    AnySplit,
    check_labels,
    data_hash,
    first_samples,
    samples_to_run,
    stored_dataset,
)
from spikecut.deploy.run.stored import StoredRun
from spikecut.errors import BundleError, InputError, SpikecutError
from spikecut.models.data import SUFFIXES, load_dataset
from spikecut.models.data.stored import open_own
from spikecut.text import brief

HASH_SHOWN = 12


@dataclass(frozen=True)
class Source:
    """The network of a run with its samples, as they were.

    Attributes
    ----------
    split: all samples of the run. policy: its cutoff. calibration: samples of the same data set to fit a policy to.
    """

    bundle: Bundle
    split: AnySplit
    calibration: AnySplit
    policy: CutoffPolicy | None

    __repr__ = brief


def bundle_of_run(run: StoredRun, given: Sequence[Bundle]) -> Bundle:
    """The bundle of a run, among those given or where the run says that it was.

    Raises BundleError, which says where it was sought, if it is gone or has changed.
    """
    wanted = run.summary.hashes.get("network", "")
    for bundle in given:
        if bundle.network_hash == wanted:
            return bundle
    tried = []
    for place in _places(run):
        try:
            bundle = open_bundle(place)
        except SpikecutError as error:
            tried.append(str(error))
            continue
        if bundle.network_hash == wanted:
            return bundle
        tried.append(f"{place}: another network than that of the run (its hash is {bundle.network_hash[:HASH_SHOWN]}…)")
    known = f"SHA-256 {wanted[:HASH_SHOWN]}…" if wanted else "without a hash"
    where = "; ".join(tried) or "the run does not say where it is"
    raise BundleError(f"the run's bundle ({known}) was not found: {where}; name it with --bundle")


def _places(run: StoredRun) -> list[Path]:
    """Where the bundle may be: as the run says, and beside it, as in the demo."""
    config = run.summary.config
    said = config.get("bundle")
    calibrated = config.get("cutoff")
    file = calibrated.get("file") if isinstance(calibrated, dict) else None
    places = [Path(said)] if isinstance(said, str) else []
    places += [Path(file).parent] if isinstance(file, str) else []
    beside = run.folder.resolve().parent / "bundle"
    places += [beside] if beside.is_dir() else []
    return list(dict.fromkeys(places))


def samples_of_run(run: StoredRun, bundle: Bundle) -> Source:
    """The samples that a run ran.

    Raises InputError if they are not at hand, or are other ones.
    """
    config, summary = run.summary.config, run.summary
    dataset = config.get("dataset")
    if not isinstance(dataset, str):
        raise InputError("the run does not say which data set it ran")
    dataset = stored_dataset(dataset, config)
    policy = None if config.get("policy") is None else policy_from_dict(config["policy"])
    split = first_samples(samples_to_run(bundle, dataset).split, summary.samples)
    if data_hash(split) != summary.hashes.get("data"):
        raise InputError(f"{dataset}: other samples than those of the run (their hash differs)")
    check_labels(bundle.network, split)
    if Path(dataset).suffix in SUFFIXES:
        return Source(bundle, split, open_own(dataset).calibration, policy)
    return Source(bundle, split, load_dataset(dataset, frames=bundle.network.horizon).calibration, policy)
