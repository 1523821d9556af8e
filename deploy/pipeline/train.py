"""Train: a data set and a preset → a checkpoint with its summary beside it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from spikecut.deploy.backends.progress import Progress, silent
from spikecut.deploy.pipeline.pretrained import checkpoint_of
from spikecut.deploy.pipeline.samples import split_notes, trained_on
from spikecut.deploy.pipeline.targets import check_file
from spikecut.deploy.run.summary import write_summary
from spikecut.errors import CheckpointError, InputError, Interrupted, SpikecutError
from spikecut.files import sha256
from spikecut.locks import only_writer
from spikecut.models.checkpoint import load_checkpoint, save_checkpoint
from spikecut.models.data import DEFAULT_FRAMES, load_dataset
from spikecut.models.network import SpikingNetwork
from spikecut.models.training.presets import Preset, preset_for, preset_named
from spikecut.models.training.train import train as train_network
from spikecut.models.training.trainer import Session
from spikecut.text import brief, percent, told

PRESET = tuple(each.name for each in fields(Preset) if each.name != "method")
SESSION = ("resume", "patience", "logs", "accelerator", "precision", "devices", "threads", "bars")
"""Options of `train`, besides the data set's `folder`: fields of a preset, and how the training is run."""


@dataclass(frozen=True)
class _Training:
    """What is trained on what; see `train`."""

    dataset: str | None
    method: str | None
    preset: str | None
    changes: Mapping[str, Any]
    folder: Path | None
    start: Path | None
    seed: int
    session: Mapping[str, Any]


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
    notes: tuple[str, ...] = ()

    __repr__ = brief

    def __str__(self) -> str:
        """Where it is, what it was trained on, and how often it is right at T."""
        method, (dataset, note) = self.recipe.get("method", "?"), self.dataset
        right = f"{percent(self.accuracy[-1])} of the test split right at T = {len(self.accuracy)}, in float"
        remarks = ((note,) if note else ()) + self.notes
        return f"checkpoint {self.file}: {method} on {dataset}, {right}{told(remarks)}"

    def data(self) -> dict[str, Any]:
        """The summary, as it is written beside the checkpoint."""
        return {
            "checkpoint": str(self.file),
            "accuracy_per_timestep": list(self.accuracy),
            "recipe": dict(self.recipe),
        }


def train(
    out: str | Path,
    *,
    preset: str | None = None,
    method: str | None = None,
    dataset: str | None = None,
    start: str | Path | None = None,
    seed: int = 0,
    progress: Progress = silent,
    **options: Any,
) -> Checkpoint:
    """Train a network, and write its checkpoint with a summary beside it, as `spikecut train` does.

    Parameters
    ----------
    out: the checkpoint, a .safetensors file; an earlier checkpoint there is replaced. State and logs go beside it.
    preset: DATASET-METHOD, as `spikecut list presets` has them. method: "tet", "tebn", "ce", "slayer" or "qcfs", tet
        without a preset. dataset: a name or the path of a file, digits without a preset.
    start: a checkpoint, or zoo:NAME, whose weights are trained further. seed: of everything random.
    progress: opens a bar of the epochs; by default nothing is shown. Several devices advance it at the end alone.
    options: `folder` of the data set's files; fields of the preset in other values, such as arch, epochs, timesteps,
        levels, rcs_alpha, train_samples, batch_size, learning_rate, weight_bits; and how the training is run: resume
        (bool, from the last epoch that an interrupted one kept), patience (epochs), logs (a tuple of "csv" and
        "tensorboard"), accelerator, precision, devices, threads, and bars (bool, Lightning's own bar).

    Raises
    ------
    InputError: options that are unknown or do not fit each other, a file that may not be replaced, or a package that is
        missing. DataError: no such data. CheckpointError: nothing to resume or to start from. Interrupted: Ctrl-C where
        finished epochs were kept.
    """
    unknown = sorted(set(options) - {*PRESET, *SESSION, "folder"})
    if unknown:
        raise InputError(f"{', '.join(unknown)}: train takes folder, {', '.join(PRESET)}, {', '.join(SESSION)}")
    folder, begun = (None if path is None else Path(path) for path in (options.get("folder"), start))
    changes = {name: value for name, value in options.items() if name in PRESET}
    session = {"progress" if name == "bars" else name: value for name, value in options.items() if name in SESSION}
    return _checked(Path(out), _Training(dataset, method, preset, changes, folder, begun, seed, session), progress)


def _checked(out: Path, what: _Training, progress: Progress) -> Checkpoint:
    named = preset_named(what.preset) if what.preset is not None else None
    if named is not None and (what.dataset not in (None, named[0]) or what.method not in (None, named[1].method)):
        raise InputError(f"--preset {what.preset} is {named[1].method} on {named[0]}: leave out --dataset and --method")
    check_file(out, "checkpoint", True, _is_checkpoint)
    state, logs = (out.with_name(out.name + suffix) for suffix in (".training", ".logs"))
    session = Session(state=state, leaves_state=True, log_folder=logs, **what.session)
    with only_writer(out, "checkpoint", state, _summary_of(out)):
        done = _train(out, what, session, named, progress)
        state.unlink(missing_ok=True)
    return done


def _summary_of(out: Path) -> Path:
    return out.with_name(out.name + ".summary.json")


def _train(
    out: Path, what: _Training, session: Session, named: tuple[str, Preset] | None, progress: Progress
) -> Checkpoint:
    changes = dict(what.changes)
    frames = int(changes.get("timesteps", DEFAULT_FRAMES))
    samples = load_dataset(named[0] if named else what.dataset or "digits", folder=what.folder, frames=frames)
    chosen = replace(named[1] if named else preset_for(what.method or "tet", samples), **changes)
    begun = None if what.start is None else checkpoint_of(what.start)
    network, source = (None, {}) if begun is None else _to_begin_with(begun, chosen.method)
    with _epochs(f"training ({chosen.method})", chosen.epochs, progress) as after_epoch:
        how = replace(session, after_epoch=after_epoch)
        trained = train_network(chosen.method, samples, seed=what.seed, preset=chosen, session=how, start=network)
    recipe, accuracy = trained.recipe | source, tuple(float(value) for value in trained.accuracy)
    done = Checkpoint(out, recipe, accuracy, (samples.name, samples.note), split_notes(samples))
    with _epochs_kept():
        _summary_of(out).unlink(missing_ok=True)  # an earlier one would tell of another network
        save_checkpoint(out, trained.network, recipe)
        write_summary(_summary_of(out), done.data())
    return done


@contextmanager
def _epochs_kept() -> Iterator[None]:
    """Add to whatever keeps the files of a trained network from being written that it need not be trained again."""
    kept = "the finished epochs are kept: the same command with --resume"
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted; {kept}") from error
    except SpikecutError as error:
        raise type(error)(f"{error}; {kept}") from error


@contextmanager
def _epochs(what: str, epochs: int, progress: Progress) -> Iterator[Callable[[], None]]:
    """A bar of epochs; gives what is called after each. Those that were not run, or not told, are done at the end."""
    done = 0
    with progress(what, epochs) as advance:

        def after_epoch() -> None:
            nonlocal done
            done += 1
            advance(1)

        yield after_epoch
        advance(epochs - done)


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
