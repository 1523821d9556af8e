"""Public functions that take files: what `spikecut export`, `verify` and `sweep` do, for a program."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from spikecut.deploy.backends.base import backend_named
from spikecut.deploy.bundle import Bundle, open_bundle
from spikecut.deploy.cost.summary import chosen_hardware
from spikecut.deploy.cutoff.base import LabelledScores
from spikecut.deploy.pipeline.pretrained import checkpoint_of
from spikecut.deploy.pipeline.progress import Progress, before_first, silent
from spikecut.deploy.pipeline.sweep import SweepOptions, run_sweep
from spikecut.deploy.sweep.sweep import EPSILONS, POLICIES, Sweep
from spikecut.deploy.sweep.sweep import sweep as sweep_scores
from spikecut.deploy.verify.compare import Verification
from spikecut.deploy.verify.compare import verify as verify_bundle
from spikecut.errors import InputError
from spikecut.export.manifest import BUNDLE
from spikecut.extras import needs_training
from spikecut.folders import check_folder
from spikecut.models.data import load_dataset

if TYPE_CHECKING:  # torch is imported where a network is exported
    from torch import nn


# Four lines over 50: every argument and every error of the public call is told.
def export(
    network: "str | Path | nn.Module",
    out: str | Path,
    *,
    dataset: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    sample: object = None,
    overwrite: bool = False,
    **options: Any,
) -> Bundle:
    """Fold and quantise a trained network to Loihi's integers, and write its bundle.

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
        from spikecut.deploy.pipeline.export import Import, export_file, export_module, export_to_bundle
        from spikecut.models.network import SpikingNetwork

    if isinstance(network, str | Path):
        if recipe is not None or sample is not None:
            raise InputError(f"{network}: a file holds its recipe: leave out `recipe` and `sample`")
        chosen = {"dataset": dataset, **options} if dataset is not None else options
        export_file(checkpoint_of(Path(network)), folder, chosen, overwrite)
    elif recipe is None and isinstance(network, SpikingNetwork):
        raise InputError("a network in memory needs `recipe`: how it was trained, as `train` returns it")
    elif recipe is None:
        export_module(network, folder, Import(dataset=dataset, **_of_module(options)), sample)
    elif options:
        raise InputError(f"{', '.join(sorted(options))}: of files; a network in memory has its `recipe`")
    else:
        export_to_bundle(cast(SpikingNetwork, network), recipe, folder, dataset)
    return open_bundle(folder)


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
    progress: opens a bar, see spikecut.deploy.pipeline.progress.

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
    return run_sweep(bundle, splits.calibration, splits.test, options, chosen_hardware(hardware))
