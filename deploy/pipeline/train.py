"""Train: a data set and a preset → a checkpoint with its summary beside it."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spikecut.deploy.pipeline.pretrained import checkpoint_of
from spikecut.deploy.pipeline.samples import split_notes, trained_on
from spikecut.deploy.pipeline.targets import check_file
from spikecut.deploy.run.summary import write_summary
from spikecut.errors import CheckpointError, InputError
from spikecut.files import sha256
from spikecut.locks import only_writer
from spikecut.models.checkpoint import load_checkpoint, save_checkpoint
from spikecut.models.data import DEFAULT_FRAMES, load_dataset
from spikecut.models.network import SpikingNetwork
from spikecut.models.training.presets import Preset, preset_for, preset_named
from spikecut.models.training.train import train
from spikecut.models.training.trainer import Session


@dataclass(frozen=True)
class Training:
    """What is trained on what.

    Attributes
    ----------
    dataset, method: of the preset, or in its place; without a preset digits and tet.
    preset: DATASET-METHOD. changes: fields of the preset in other values. folder: of the data set's files.
    start: a checkpoint, or zoo:NAME, whose weights are trained further. seed: of everything random.
    """

    dataset: str | None = None
    method: str | None = None
    preset: str | None = None
    changes: Mapping[str, Any] | None = None
    folder: Path | None = None
    start: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A trained network in its file.

    Attributes
    ----------
    file: the checkpoint. recipe: how it came about. accuracy: share of right test predictions at t = 1 … T, in float.
    dataset: its name and a remark on it. notes: remarks for the user.
    """

    file: Path
    recipe: Mapping[str, Any]
    accuracy: tuple[float, ...]
    dataset: tuple[str, str]
    notes: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """The summary, as it is written beside the checkpoint."""
        return {
            "checkpoint": str(self.file),
            "accuracy_per_timestep": list(self.accuracy),
            "recipe": dict(self.recipe),
        }


def train_checkpoint(out: Path, what: Training, session: Session) -> Checkpoint:
    """Train and write a checkpoint, with its summary beside it.

    session: how; its state and logs go beside `out`.

    Raises InputError for options that do not fit each other, a file that may not be replaced, or data; see `train`.
    """
    named = preset_named(what.preset) if what.preset is not None else None
    if named is not None and (what.dataset not in (None, named[0]) or what.method not in (None, named[1].method)):
        raise InputError(f"--preset {what.preset} is {named[1].method} on {named[0]}: leave out --dataset and --method")
    check_file(out, "checkpoint", True, _is_checkpoint)
    with only_writer(out, "checkpoint"):
        return _train(out, what, session, named)


def _train(out: Path, what: Training, session: Session, named: tuple[str, Preset] | None) -> Checkpoint:
    changes = dict(what.changes or {})
    frames = int(changes.get("timesteps", DEFAULT_FRAMES))
    samples = load_dataset(named[0] if named else what.dataset or "digits", folder=what.folder, frames=frames)
    chosen = replace(named[1] if named else preset_for(what.method or "tet", samples), **changes)
    begun = None if what.start is None else checkpoint_of(what.start)
    network, source = (None, {}) if begun is None else _to_begin_with(begun, chosen.method)
    how = replace(session, state=out.with_name(out.name + ".training"), log_folder=out.with_name(out.name + ".logs"))
    trained = train(chosen.method, samples, seed=what.seed, preset=chosen, session=how, start=network)
    recipe = trained.recipe | source
    save_checkpoint(out, trained.network, recipe)
    accuracy = tuple(float(value) for value in trained.accuracy)
    done = Checkpoint(out, recipe, accuracy, (samples.name, samples.note), split_notes(samples))
    write_summary(out.with_name(out.name + ".summary.json"), done.data())
    return done


def _is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of spikecut."""
    with suppress(CheckpointError):
        load_checkpoint(path)
        return True
    return False


def _to_begin_with(checkpoint: Path, method: str) -> tuple[SpikingNetwork, dict[str, Any]]:
    """The network of a checkpoint, and what the recipe says of it; InputError for one of another method."""
    digest = sha256(checkpoint) if checkpoint.is_file() else ""
    network, recipe = load_checkpoint(checkpoint)
    if recipe.get("method") != method:
        raise InputError(
            f"--from {checkpoint}: trained by {recipe.get('method')}, not {method}: give the same --method"
        )
    return network, {"from": {"file": checkpoint.name, "sha256": digest, "datasets": trained_on(recipe)}}
