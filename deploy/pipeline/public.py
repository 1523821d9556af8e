"""Public functions that take files: what the commands of `spikecut` do, for a program."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from spikecut.deploy.backends.base import backend_named
from spikecut.deploy.backends.progress import Progress, before_first, silent
from spikecut.deploy.bundle import Bundle, open_bundle
from spikecut.deploy.cost.summary import chosen_hardware
from spikecut.deploy.cutoff.base import LabelledScores
from spikecut.deploy.pipeline.calibrate import CalibratedBundle, CalibrationOptions, CopyTarget, check_calibrates
from spikecut.deploy.pipeline.calibrate import calibrate_bundle as calibrate_at
from spikecut.deploy.pipeline.pretrained import bundle_of, checkpoint_of
from spikecut.deploy.pipeline.run import RunOptions, RunTarget
from spikecut.deploy.pipeline.run import run_dataset as run_bundle_on
from spikecut.deploy.pipeline.sweep import SweepOptions, run_sweep
from spikecut.deploy.run.finished import Run
from spikecut.deploy.sweep.sweep import EPSILONS, POLICIES, Sweep
from spikecut.deploy.sweep.sweep import sweep as sweep_scores
from spikecut.deploy.verify.compare import Verification
from spikecut.deploy.verify.compare import verify as verify_bundle
from spikecut.errors import ApproximationWarning, InputError
from spikecut.export.manifest import BUNDLE
from spikecut.extras import needs_training
from spikecut.folders import check_folder
from spikecut.models.data import load_dataset
from spikecut.models.pretrained import ready_names

if TYPE_CHECKING:  # torch is imported where a network is exported
    from torch import nn

MOST_PARTS = 3
"""Approximated parts that a warning names."""


# Over 50 lines, most of them docstring: every argument and every error of the public call is told.
def export(
    network: "str | Path | nn.Module",
    out: str | Path,
    *,
    dataset: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    sample: object = None,
    overwrite: bool = False,
    progress: Progress = silent,
    **options: Any,
) -> Bundle:
    """Fold and quantise a trained network to Loihi's integers, and write its bundle, whose `notes` tell what to know.

    They name what is approximated, for which there is an ApproximationWarning as well; what was assumed of the input,
    such as the bits that it is rounded to; and how one set of samples was split.

    A torch module is taken as it is, with neurons of a framework or declared by `spikecut.neuron`; its spikes are
    compared with those of what was read, neuron by neuron and step by step, before anything is quantised.

    Parameters
    ----------
    network: a file that an importer reads: a checkpoint of `spikecut train`, zoo:NAME, a NIR file, a state dict of
        SLAYER blocks; a torch module; or a network of spikecut in memory, with its `recipe`.
    out: folder of the bundle.
    dataset: name or path of the samples that become the golden witness; None takes the recipe's.
    recipe: of a network of spikecut in memory, how it was trained; at least "horizon", "input" and "labels".
    sample: of a module, an input as it takes it, [N, *shape], [T, N, *shape] or [N, T, *shape], which tells whether it
        takes one frame or all timesteps; None: as the data set's samples are, [N, *shape].
    overwrite: replace an earlier bundle in `out`.
    progress: opens a bar of one step; by default nothing is shown.
    options: of a module timesteps, T, and of the importer, named as on the command line: horizon, encoding, strict,
        framework, dt, reset, reset_order, spikes, slayer.

    Raises
    ------
    CheckpointError, BundleError: no sound file. ExportError: a layer that no integers equal, with the layer's name.
    DataError: samples that cannot be read or do not fit. InputError: a file that no importer reads, an option that its
        importer has no use for, or an `out` that holds something else or cannot be written.
    """
    folder = Path(out)
    check_folder(folder, BUNDLE, overwrite)
    with needs_training():
        from spikecut.deploy.pipeline.export import Exported, Import, export_file, export_module, export_to_bundle
        from spikecut.models.network import SpikingNetwork

    done: Exported
    with progress(f"export to {folder}", 1) as advance:
        if isinstance(network, str | Path):
            if recipe is not None or sample is not None:
                raise InputError(f"{network}: a file holds its recipe: leave out `recipe` and `sample`")
            chosen = {"dataset": dataset, **options} if dataset is not None else options
            done = export_file(checkpoint_of(Path(network)), folder, chosen, overwrite)
        elif recipe is None and isinstance(network, SpikingNetwork):
            raise InputError("a network in memory needs `recipe`: how it was trained, as `train` returns it")
        elif recipe is None:
            done = export_module(network, folder, Import(dataset=dataset, **_of_module(options)), sample)
        elif options:
            raise InputError(f"{', '.join(sorted(options))}: of files; a network in memory has its `recipe`")
        else:
            done = export_to_bundle(cast(SpikingNetwork, network), recipe, folder, dataset)
        bundle = open_bundle(folder)
        advance(1)
    if done.approximated:
        # 3: the package that is called like this function stands between.
        warnings.warn(_approximations(folder, done.approximated), ApproximationWarning, stacklevel=3)
    return replace(bundle, notes=done.remarks)


def _approximations(folder: Path, parts: Sequence[str]) -> str:
    """Parts that the integers do not equal, in a line."""
    shown = "; ".join(parts[:MOST_PARTS]) + (f"; and {len(parts) - MOST_PARTS} more" if len(parts) > MOST_PARTS else "")
    return f"{folder}: the integers do otherwise: {shown} (.notes of the bundle names all; strict=True refuses them)"


def _of_module(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a torch module, as Import names them; InputError for others."""
    told = {"horizon" if name == "timesteps" else name: value for name, value in options.items()}
    unknown = sorted(set(told) - {"horizon", "encoding", "strict"})
    if unknown or len(told) < len(options):
        raise InputError(f"{', '.join(unknown) or 'horizon'}: a module takes dataset, timesteps, encoding and strict")
    return told


def verify(
    bundle: Bundle | str | Path, *, samples: int | None = None, backend: str = "lava", progress: Progress = silent
) -> Verification:
    """Compare the bundle's integers with what torch said of its golden samples, integer by integer.

    Parameters
    ----------
    bundle: from `open_bundle`, or its folder.
    samples: how many golden samples; None takes all.
    backend: runs besides the batched engine: "lava" with Lava's own models, or "batched" for that engine alone.
    progress: opens a bar; by default nothing is shown.

    Raises
    ------
    InputError: fewer than one sample, or an unknown backend. BundleError: no sound bundle. CapabilityError: the backend
        lacks something that the network needs. BackendError: Lava is missing or failed.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    available = len(opened.golden().labels)
    total = available if samples is None else min(samples, available)
    with progress(f"golden samples on {backend}", total, before_first(backend_named(backend))) as advance:
        return verify_bundle(opened, samples, backend, advance)


@overload
def sweep(
    source: Bundle | str | Path,
    data: str,
    *,
    policies: Sequence[str] = POLICIES,
    epsilons: Sequence[float] = EPSILONS,
    hardware: Sequence[str] | None = None,
    progress: Progress = ...,
) -> Sweep: ...


@overload
def sweep(
    source: LabelledScores,
    data: LabelledScores,
    *,
    policies: Sequence[str] = POLICIES,
    epsilons: Sequence[float] = EPSILONS,
    depth: int,
) -> Sweep: ...


def sweep(
    source: Bundle | str | Path | LabelledScores,
    data: str | LabelledScores,
    *,
    policies: Sequence[str] = POLICIES,
    epsilons: Sequence[float] = EPSILONS,
    hardware: Sequence[str] | None = None,
    depth: int | None = None,
    progress: Progress = silent,
) -> Sweep:
    """Every cutoff policy over ε: fitted on held-out samples, measured on others.

    Parameters
    ----------
    source: a bundle or its folder; or the scores that the policies are fitted to, full-horizon int64 [T, N, classes].
    data: of a bundle the data set, a name or a path, whose calibration and test splits are taken; of scores those of
        the test samples.
    policies: names; by default all that come with spikecut.
    epsilons: tolerated shares in [0, 1), each policy says of what; by default 50 values from 0.0005 to 0.5.
    hardware: of a bundle, files by name or path on which latency and energy are estimated; None takes all that come
        with spikecut. For scores there are no estimates.
    depth: of scores, the pipeline depth P in hardware steps.
    progress: of a bundle, opens a bar; by default nothing is shown.

    Raises
    ------
    BundleError: no sound bundle. DataError: no such data. InputError: labels or scores that do not fit, an unknown
        policy, an ε outside its range, or arguments of the other kind of source.
    """
    if isinstance(source, LabelledScores) or isinstance(data, LabelledScores):
        if not (isinstance(source, LabelledScores) and isinstance(data, LabelledScores)) or depth is None or hardware:
            raise InputError("a sweep of scores takes LabelledScores twice, and `depth`, but no hardware")
        return sweep_scores(source, data, depth, policies, epsilons)
    if depth is not None:
        raise InputError("depth is for scores: a bundle has its own; leave it out")
    bundle = source if isinstance(source, Bundle) else open_bundle(source)
    splits = load_dataset(data, frames=bundle.network.horizon)
    options = SweepOptions(policies, epsilons, hardware)
    return run_sweep(bundle, splits.calibration, splits.test, options, chosen_hardware(hardware), progress)


def run_dataset(
    bundle: str | Path,
    dataset: str,
    out: str | Path | None = None,
    *,
    cutoff: bool = True,
    samples: int | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    **options: Any,
) -> Run:
    """Run the test split of a data set on a bundle, as `spikecut run` does, and estimate what each sample takes.

    Parameters
    ----------
    bundle: its folder, or zoo:NAME. dataset: a name or the path of a file.
    out: folder for rows, summary and figures; None writes none.
    cutoff: halt as the bundle is calibrated, or run all T timesteps. samples: how many, the first ones; None takes all.
    overwrite: replace an earlier run in `out`. progress: opens a bar; by default nothing is shown.
    options: backend ("lava"), mode, lava_models, hardware (names or paths, in a tuple), also_full, hypothetical,
        monitor ("on_chip", "embedded" or "host").

    Raises
    ------
    InputError: an unknown option, or an `out` that may not be written. BundleError: no sound bundle, or one that is not
        calibrated. DataError: no such data. CapabilityError: the backend lacks something that the network needs.
        BackendError: it failed.
    """
    known = [each.name for each in fields(RunOptions)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(f"{', '.join(unknown)}: run_dataset takes {', '.join(known)}")
    target = None if out is None else RunTarget(Path(out), overwrite)
    path = bundle_of(Path(bundle), progress).path
    return run_bundle_on(path, dataset, RunOptions(**options), cutoff, samples, target, progress)


def calibrate_bundle(
    bundle: str | Path,
    dataset: str,
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
    **options: Any,
) -> CalibratedBundle:
    """Calibrate a bundle on the calibration split of a data set, as `spikecut calibrate` does, and write cutoff.json.

    Parameters
    ----------
    bundle: its folder, or zoo:NAME, which needs `out`. dataset: a name or the path of a file.
    out: folder for a copy, which alone gets the calibration; None writes it into the bundle.
    overwrite: replace an earlier bundle in `out`. progress: opens a bar; by default nothing is shown.
    options: policy, epsilon, delta, minimum_count and seed, as of `calibrate`.

    Raises
    ------
    InputError: an unknown option, what `calibrate` raises, or a bundle or `out` that may not be written.
    BundleError: no sound bundle. DataError: no such data.
    """
    known = [each.name for each in fields(CalibrationOptions)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(f"{', '.join(unknown)}: calibrate_bundle takes {', '.join(known)}")
    target = None if out is None else CopyTarget(Path(out), overwrite)
    check_calibrates(Path(bundle), target)
    path = bundle_of(Path(bundle), progress).path
    return calibrate_at(path, dataset, CalibrationOptions(**options), target, progress)


def pretrained_names() -> tuple[str, ...]:
    """The networks that come with spikecut: each NAME is a bundle zoo:NAME, exported when it is first used."""
    return tuple(ready_names())
