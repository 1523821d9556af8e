"""Inspect: whatever holds a network → its integers, or what would become of it; and what golden samples cost."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import Bundle, load, open_bundle
from spikecut.deploy.cost.summary import RunCosts
from spikecut.deploy.placement.capabilities import Fit
from spikecut.deploy.placement.hardware import Chip, Hardware, default_hardware
from spikecut.errors import BundleError, InputError
from spikecut.export.importers.base import ImportedNetwork, Options, flags, read_network
from spikecut.export.network.layers import IntegerNetwork


@dataclass(frozen=True)
class Inspected:
    """What was looked at.

    Attributes
    ----------
    title: what it is called. network: its integers; of a file of floats without samples what its importer says.
    bundle: where it is one, whose folder is there while it is looked at.
    notes: remarks for the user. parts: with a line on each part of a file of integers.
    """

    title: str
    network: IntegerNetwork | ImportedNetwork
    bundle: Bundle | None = None
    notes: tuple[str, ...] = ()
    parts: ImportedNetwork | None = None


@contextmanager
def inspected(target: Path, options: Options, about_integers: tuple[str, ...] = ()) -> Iterator[Inspected]:
    """Look at a bundle, or at a file that an importer reads: a checkpoint is exported into a temporary folder for it.

    options: of the importer. about_integers: names of options that were given and need integers.

    Raises
    ------
    InputError: a state dict without a word on its layers, or an option that the target has no use for. ExportError:
        what export refuses.
    """
    if target.is_dir():
        yield _of_bundle(target, options)
        return
    imported = read_network(target, options)
    if imported.integers is not None:
        yield Inspected(str(target), imported.integers, parts=imported if imported.report else None)
    elif imported.refuses_integers:
        yield Inspected(str(target), imported)
    elif imported.report and "dataset" not in options:
        idle = [*about_integers, *(key for key in ("horizon",) if key in options)]
        if idle:
            raise InputError(
                f"{target} holds floats, and is shown part by part: leave out {flags(idle)}, or give --dataset and "
                "--horizon too"
            )
        yield Inspected(str(target), imported)
    else:
        # They need torch, which the integers of a bundle or a .net file do not.
        from spikecut.deploy.pipeline.export import Import, export_imported
        from spikecut.export.importers.relu_files import TIMESTEPS

        with TemporaryDirectory(prefix="spikecut-inspect-") as folder:
            bundle = Path(folder) / target.stem
            horizon = options.get("horizon", TIMESTEPS if imported.conversion else None)
            done = export_imported(imported, bundle, Import(options.get("dataset"), horizon))
            opened = open_bundle(bundle)
            title = f"{target}, exported for a look"
            yield Inspected(title, opened.network, opened, done.notes)


def _of_bundle(target: Path, options: Options) -> Inspected:
    others = [key for key in options if key != "horizon"]
    if others:
        raise InputError(
            f"{flags(others)}: of checkpoints, state dicts and .nir files; {target} is a bundle: leave out"
        )
    if "horizon" in options:
        load(target, options["horizon"])  # which refuses it
    bundle = open_bundle(target)
    return Inspected(str(target), bundle.network, bundle)


def chip_fits(bundle: Path) -> dict[str, Fit]:
    """Whether and how a bundle's network fits the chips that are estimated by default."""
    network = open_bundle(bundle).network
    # Where its cores sit changes nothing of it, and takes longest.
    chips = {
        name: chip.model_copy(update={"layout": "order"})
        for name, chip in default_hardware().items()
        if isinstance(chip, Chip)
    }
    return {name: Fit.of(network, chip) for name, chip in chips.items()}


@dataclass(frozen=True)
class GoldenCosts:
    """Costs of the golden samples, estimated. samples: how many; run: whether with the cutoff, in words."""

    samples: int
    run: str
    costs: RunCosts


def golden_costs(bundle: Bundle, hardware: Mapping[str, Hardware], hypothetical: bool = False) -> GoldenCosts:
    """Run a bundle's golden samples to the horizon, and with the cutoff if it is calibrated, and estimate the costs.

    hypothetical: estimate even for hardware that lacks a feature of the network.
    """
    inputs = bundle.golden().inputs
    full = run_batched(bundle.network, inputs, record="all")
    try:
        policy = bundle.cutoff()
    except BundleError:
        costs = RunCosts.of(full, None, hardware, hypothetical, detail=False)
        return GoldenCosts(full.samples, "to the horizon (not calibrated)", costs)
    trace = run_batched(bundle.network, inputs, policy, record="all")
    return GoldenCosts(full.samples, "with the cutoff", RunCosts.of(trace, full, hardware, hypothetical, detail=False))
