"""What each command does: read files, take the steps, say what came out."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table

from spikecut.deploy.cli.output import Result, say_split, stderr
from spikecut.errors import CheckpointError, InputError
from spikecut.export.manifest import BUNDLE, CUTOFF, Manifest
from spikecut.files import reason, sha256
from spikecut.folders import check_folder

if TYPE_CHECKING:
    from spikecut.models.network import SpikingNetwork


def train_checkpoint(
    out: Path,
    dataset: str | None,
    method: str | None,
    preset: str | None,
    data: Path | None,
    seed: int,
    changes: Mapping[str, Any],
    session: Mapping[str, Any],
    start: Path | None = None,
) -> Result:
    """Train and write a checkpoint, with its summary beside it.

    preset: gives data set and method; without it digits and tet are taken where these are not given.
    changes: fields of the preset, session: fields of models.loop.Session; None leaves what the preset says.
    start: a checkpoint, or zoo:NAME, whose weights are trained further.
    """
    from spikecut.deploy.pipeline.pretrained import checkpoint_of
    from spikecut.deploy.pipeline.run import write_summary
    from spikecut.models.checkpoint import save_checkpoint
    from spikecut.models.data import DEFAULT_FRAMES, load_dataset
    from spikecut.models.training.presets import preset_for, preset_named
    from spikecut.models.training.train import train
    from spikecut.models.training.trainer import Session

    given = {name: value for name, value in changes.items() if value is not None}
    named = preset_named(preset) if preset is not None else None
    if named is not None and (dataset not in (None, named[0]) or method not in (None, named[1].method)):
        raise InputError(f"--preset {preset} is {named[1].method} on {named[0]}: leave out --dataset and --method")
    check_file(out, "checkpoint", True, _is_checkpoint)
    frames = int(given.get("timesteps", DEFAULT_FRAMES))
    samples = load_dataset(named[0] if named else dataset or "digits", folder=data, frames=frames)
    chosen = replace(named[1] if named else preset_for(method or "tet", samples), **given)
    begun = None if start is None else checkpoint_of(start)
    network, source = (None, {}) if begun is None else _to_begin_with(begun, chosen.method)
    out.parent.mkdir(parents=True, exist_ok=True)
    how = Session(
        state=out.with_name(out.name + ".training"),
        log_folder=out.with_name(out.name + ".logs"),
        progress=stderr().is_terminal,
        **session,
    )
    trained = train(chosen.method, samples, seed=seed, preset=chosen, session=how, start=network)
    recipe = trained.recipe | source
    save_checkpoint(out, trained.network, recipe)
    accuracy = [float(value) for value in trained.accuracy]
    summary = {"checkpoint": str(out), "accuracy_per_timestep": accuracy, "recipe": recipe}
    write_summary(out.with_name(out.name + ".summary.json"), summary)
    say_split(samples)
    table = Table("timestep", *(str(t) for t in range(1, len(accuracy) + 1)), title=f"{out}: test accuracy (float)")
    table.add_row("%", *(f"{100 * value:.1f}" for value in accuracy))
    return Result([table, *([f"{samples.name}: {samples.note}"] if samples.note else [])], summary)


def _is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of spikecut."""
    from spikecut.models.checkpoint import load_checkpoint

    with suppress(CheckpointError):
        load_checkpoint(path)
        return True
    return False


def _to_begin_with(checkpoint: Path, method: str) -> tuple["SpikingNetwork", dict[str, Any]]:
    """The network of a checkpoint, and what the recipe says of it; InputError for one of another method."""
    from spikecut.models.checkpoint import load_checkpoint

    source = {"from": {"file": checkpoint.name, "sha256": sha256(checkpoint) if checkpoint.is_file() else ""}}
    network, recipe = load_checkpoint(checkpoint)
    if recipe.get("method") != method:
        raise InputError(
            f"--from {checkpoint}: trained by {recipe.get('method')}, not {method}: give the same --method"
        )
    return network, source


def export_checkpoint(checkpoint: Path, out: Path, dataset: str | None, overwrite: bool) -> Result:
    """Write the bundle of a checkpoint."""
    from spikecut.deploy.pipeline.run import export_to_bundle
    from spikecut.models.checkpoint import load_checkpoint

    dropped = check_bundle_target(out, overwrite)
    network, recipe = load_checkpoint(checkpoint)
    manifest = export_to_bundle(network, recipe, out, dataset)
    shown = [f"{out}: bundle written", *dropped, *manifest_tables(manifest)]
    return Result(shown, {"bundle": str(out), **manifest.model_dump()})


def export_slayer(
    state: Path,
    spec: Path,
    out: Path,
    dataset: str | None,
    horizon: int | None,
    encoding: str | None,
    overwrite: bool,
) -> Result:
    """Write the bundle of a state dict of lava-dl's SLAYER blocks, which the spec describes."""
    from spikecut.deploy.pipeline.export import foreign_recipe
    from spikecut.deploy.pipeline.run import export_to_bundle
    from spikecut.models.slayer.spec import read_spec
    from spikecut.models.slayer.state_dict import load_slayer
    from spikecut.models.torch_files import read_tensors

    if dataset is None or horizon is None:
        raise InputError("a state dict names neither data nor horizon: give --dataset and --horizon")
    dropped = check_bundle_target(out, overwrite)
    build = read_spec(spec)
    network = load_slayer(read_tensors(state), build=build)
    recipe, assumed = foreign_recipe("slayer", network, dataset, horizon, encoding, "bernoulli")
    source = {"file": state.name, "sha256": sha256(state), "spec": build.model_dump(), "assumed": [assumed]}
    manifest = export_to_bundle(network, {**recipe, "slayer": source}, out, dataset, out.name)
    shown = [f"{out}: bundle written; assumed: {assumed}", *dropped, *manifest_tables(manifest)]
    return Result(shown, {"bundle": str(out), **manifest.model_dump()})


def _skip_error(error: float | None) -> str:
    return "" if error is None else f" ({error:.2g})"


def manifest_tables(manifest: Manifest) -> list[RenderableType]:
    """What quantisation did to each layer, and how far float and integers agree."""
    loader = "lava-dl's netx.hdf5.Network loads it unchanged"
    if manifest.beyond_netx:
        loader = f"spikecut's own builder ({'; '.join(manifest.beyond_netx)})"
    columns = [
        "layer",
        "weight bits",
        "weight error max (of a skip)",
        "RMS",
        "threshold error",
        "bias error max",
        "decay error u, v",
        "headroom (bits)",
    ]
    gains = any(entry.gain_error_max for entry in manifest.layers)
    columns += ["gain error max"] * gains
    table = Table(*columns, title="quantisation (errors in float units of the folded network)")
    for entry in manifest.layers:
        gain_error = [f"{entry.gain_error_max:.2g}"] * gains
        table.add_row(
            entry.name,
            str(entry.weight_bits),
            f"{entry.weight_error_max:.2g}" + _skip_error(entry.skip_weight_error_max),
            f"{entry.weight_error_rms:.2g}",
            f"{entry.threshold_error:.2g}",
            f"{entry.bias_error_max:.2g}",
            f"{entry.decay_error_u:.2g}, {entry.decay_error_v:.2g}",
            f"{entry.headroom_bits:.2f} {entry.headroom}",
            *gain_error,
        )
    trained = manifest.recipe.get("weight_bits")
    narrower = [entry.name for entry in manifest.layers if trained is not None and entry.weight_bits < trained]
    again = [f"{', '.join(narrower)}: trained with {trained} bits, but fewer fit 24-bit sums: rounded again"]
    agreement = manifest.agreement
    return [
        table,
        *(again if narrower else []),
        f"loader: {loader}",
        f"golden samples: {agreement.samples}; float right {agreement.float_correct}, integers right "
        f"{agreement.twin_correct}, same prediction {agreement.same_prediction}",
    ]


def check_file(out: Path, what: str, overwrite: bool, is_ours: Callable[[Path], bool]) -> None:
    """Raise InputError where a file may not be written: only an earlier one of its kind is replaced."""
    try:
        there, name = out.exists(), out.resolve().name
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot write {out}: {reason(error)}; choose another --out") from error
    if not name or out.is_dir():
        raise InputError(f"{out} is a folder: choose another --out")
    if there and not overwrite:
        raise InputError(f"{out} exists: choose another file, or --overwrite")
    if there and not (out.is_file() and is_ours(out)):
        raise InputError(f"{out} is no {what} that spikecut wrote: choose another --out, or remove it")


def check_bundle_target(out: Path, overwrite: bool) -> list[str]:
    """Raise InputError unless a bundle may be written there; what goes with the earlier one, in words."""
    target = check_folder(out, BUNDLE, overwrite)
    if not (target / CUTOFF).exists():
        return []
    return [f"{out}: the earlier bundle's calibration ({CUTOFF}) went with it: calibrate again"]
