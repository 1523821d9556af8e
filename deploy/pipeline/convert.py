"""Conversion: a trained ReLU network and samples → the bundle of a spiking one, and what that lost."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.backends.progress import Progress, silent
from spikecut.deploy.bundle import Bundle, open_bundle
from spikecut.deploy.pipeline.export import Import, export_imported
from spikecut.deploy.pipeline.targets import check_bundle_target
from spikecut.deploy.run.summary import write_summary
from spikecut.errors import InputError
from spikecut.export.encode import encode
from spikecut.export.importers.base import ImportedNetwork, PartReport
from spikecut.export.importers.relu_files import TIMESTEPS, ReluImporter
from spikecut.export.layouts.importer import LayoutImporter
from spikecut.models.data import MAXIMUM_HORIZON
from spikecut.text import brief, percent, told

if TYPE_CHECKING:  # torch is imported where a network is converted
    from torch import nn

PERCENTILE = 99.0


@dataclass(frozen=True)
class ConversionOptions:
    """How a ReLU network is converted.

    Attributes
    ----------
    dataset: a name or a path to samples that are preprocessed as in training. timesteps: horizon T.
    percentile: of positive activations, which the threshold is at most, 90 to 100.
    layout: name of the published network that a file is of; None: a spec tells its layers.
    """

    dataset: str
    timesteps: int = TIMESTEPS
    percentile: float = PERCENTILE
    layout: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.timesteps <= MAXIMUM_HORIZON:
            raise InputError(f"--timesteps {self.timesteps}: expected 1 to {MAXIMUM_HORIZON}")


@dataclass(frozen=True)
class ConversionLoss:
    """Accuracies on the calibration split: shares of right predictions.

    Attributes
    ----------
    samples: in the split. relu: of the ReLU network. clipped: of the same with activations cut at the thresholds.
    integers: of the bundle's integer network at t = 1 … T.
    """

    samples: int
    relu: float
    clipped: float
    integers: tuple[float, ...]

    __repr__ = brief

    def __str__(self) -> str:
        """One line."""
        return (
            f"calibration split, {self.samples} samples: ReLU {percent(self.relu)}, activations cut at λ "
            f"{percent(self.clipped)}, integers at T = {len(self.integers)} {percent(self.integers[-1])}: "
            f"{self.points:.2f} points lost"
        )

    @property
    def points(self) -> float:
        """Percentage points that conversion and quantisation lose together at T."""
        return 100 * (self.relu - self.integers[-1])


@dataclass(frozen=True)
class Conversion:
    """A converted network.

    Attributes
    ----------
    bundle: its bundle. loss: what conversion and quantisation lose. layers: what became of each layer.
    notes: remarks for the user. dropped: what an earlier bundle there had and lost.
    """

    bundle: Bundle
    loss: ConversionLoss
    layers: tuple[PartReport, ...]
    notes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    __repr__ = brief

    def __str__(self) -> str:
        """The bundle and the loss, a line each."""
        network = self.bundle.network
        return (
            f"{network.name}: {len(self.layers)} layers of a ReLU network became {len(network.layers)} spiking ones in "
            f"{self.bundle.path}\n{self.loss}{told(self.notes)}"
        )

    def data(self) -> dict[str, Any]:
        """The summary, as it is written beside the network."""
        told = {
            "calibration_samples": self.loss.samples,
            "relu_accuracy": self.loss.relu,
            "clipped_accuracy": self.loss.clipped,
            "integer_accuracy_per_timestep": list(self.loss.integers),
            "lost_points": self.loss.points,
        }
        return {"bundle": str(self.bundle.path), **self.bundle.manifest.model_dump(), "conversion": told}


def convert_files(
    weights: Path,
    spec: Path | None,
    out: Path,
    how: ConversionOptions,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Conversion:
    """Write the bundle of a trained ReLU network from its files.

    Raises
    ------
    InputError, ExportError: files, layers or samples that do not fit; see export.importers.relu.
    """
    dropped = check_bundle_target(out, overwrite)
    given = {"dataset": how.dataset, "percentile": how.percentile, "horizon": how.timesteps}
    if how.layout is None:
        given |= {} if spec is None else {"spec": spec}
        return _converted(ReluImporter().read(weights, given), out, how, dropped, progress)
    if spec is not None:
        raise InputError("--spec, --layout: a network has its layers from one of them; leave the other out")
    imported = LayoutImporter().read(weights, {**given, "layout": how.layout})
    if not imported.conversion:
        raise InputError(
            f"--layout {how.layout}: its neurons spike already, there is nothing to convert: `spikecut export "
            f"{weights} --layout {how.layout} …`"
        )
    return _converted(imported, out, how, dropped, progress)


def convert(
    module: "nn.Module",
    dataset: str,
    out: str | Path,
    timesteps: int = TIMESTEPS,
    percentile: float = PERCENTILE,
    overwrite: bool = False,
) -> Conversion:
    """Convert a trained torch module of ReLU layers and write its bundle.

    module: nn.Sequential, or whatever torch.fx reads as a chain of layers; it is copied and not changed.
    dataset: a name or a path to samples that are preprocessed as in training. out: folder of the bundle.
    timesteps: horizon T. percentile: of positive activations, which the threshold is at most, 90 to 100.

    Raises
    ------
    UnsupportedError: a layer that no spiking chain equals, with advice. InputError: what does not fit.
    """
    from spikecut.export.importers.relu import convert_relu, stills  # torch

    target, how = Path(out), ConversionOptions(dataset, timesteps, percentile)
    dropped = check_bundle_target(target, overwrite)
    split = stills(dataset).calibration
    imported = convert_relu(module, split.x, split.y, percentile, timesteps).imported(target, {})
    return _converted(imported, target, how, dropped, silent)


def _converted(
    imported: ImportedNetwork, out: Path, how: ConversionOptions, dropped: tuple[str, ...], progress: Progress
) -> Conversion:
    from spikecut.export.importers.relu import stills  # torch

    done = export_imported(imported, out, Import(how.dataset, how.timesteps, "direct"))
    bundle, split = open_bundle(out), stills(how.dataset).calibration
    with progress(f"{bundle.network.name}: calibration split", len(split.y)) as advance:
        scores = run_batched(bundle.network, encode(split.x, bundle.network), progress=advance).scores
    right = np.asarray(scores.cumsum(axis=0).argmax(axis=2) == split.y, dtype=np.float64).mean(axis=1)
    before = imported.conversion
    loss = ConversionLoss(len(split.y), before["relu_accuracy"], before["clipped_accuracy"], tuple(right.tolist()))
    converted = Conversion(bundle, loss, imported.report, done.notes, dropped)
    write_summary(out / "summary.json", converted.data())
    return converted
