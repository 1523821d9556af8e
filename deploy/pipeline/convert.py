"""Plain ReLU networks on the command line and in Python: converted, exported, and what that lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from spikecut.deploy.backends.batched.engine import run_batched
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cli.commands import check_bundle_target, manifest_tables
from spikecut.deploy.cli.output import Result, progress_bar
from spikecut.errors import InputError
from spikecut.export.encode import encode
from spikecut.files import sha256

if TYPE_CHECKING:
    from torch import nn

    from spikecut.export.importers.relu import Converted
    from spikecut.models.relu.network import ReluNetwork

PERCENTILE = 99.0
TIMESTEPS = 16


@dataclass(frozen=True)
class Loss:
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

    @property
    def points(self) -> float:
        """Percentage points that conversion and quantisation lose together at T."""
        return 100 * (self.relu - self.integers[-1])


def convert_command(
    weights: Path,
    spec: Path | None,
    out: Path,
    dataset: str,
    timesteps: int = TIMESTEPS,
    percentile: float = PERCENTILE,
    overwrite: bool = False,
) -> Result:
    """Write the bundle of a trained ReLU network from its files.

    Raises
    ------
    InputError, ExportError: files, layers or samples that do not fit; see export.relu.
    """
    from spikecut.export.importers.relu import read_relu

    dropped = check_bundle_target(out, overwrite)
    network = read_relu(weights, spec)
    source = {"file": weights.name, "sha256": sha256(weights)}
    return _convert(network, out, dataset, timesteps, percentile, source, dropped)


def convert(
    module: "nn.Module",
    dataset: str,
    out: str | Path,
    timesteps: int = TIMESTEPS,
    percentile: float = PERCENTILE,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Convert a trained torch module of ReLU layers and write its bundle; what the command's --json prints.

    module: nn.Sequential, or whatever torch.fx reads as a chain of layers; it is copied and not changed.
    dataset: a name or a path to samples that are preprocessed as in training. out: folder of the bundle.
    timesteps: horizon T. percentile: of positive activations that becomes the threshold, 90 to 100.

    Raises
    ------
    UnsupportedError: a layer that no spiking chain equals, with advice. InputError: what does not fit.
    """
    target = Path(out)
    check_bundle_target(target, overwrite)
    data: dict[str, Any] = _convert(module, target, dataset, timesteps, percentile, {}).data
    return data


def _convert(
    network: "nn.Module | ReluNetwork",
    out: Path,
    dataset: str,
    timesteps: int,
    percentile: float,
    source: dict[str, str],
    dropped: Sequence[str] = (),
) -> Result:
    from spikecut.deploy.pipeline.export import convert_to_bundle
    from spikecut.deploy.pipeline.run import stills, write_summary
    from spikecut.export.importers.relu import convert_relu
    from spikecut.export.write_bundle import MAXIMUM_HORIZON

    if not 1 <= timesteps <= MAXIMUM_HORIZON:
        raise InputError(f"--timesteps {timesteps}: expected 1 to {MAXIMUM_HORIZON}")
    split = stills(dataset).calibration
    converted = convert_relu(network, split.x, split.y, percentile)
    manifest = convert_to_bundle(converted, out, dataset, timesteps, source)
    integers = open_bundle(out).network
    with progress_bar(f"{integers.name}: calibration split", len(split.y)) as advance:
        scores = run_batched(integers, encode(split.x, integers), progress=advance).scores
    right = np.asarray(scores.cumsum(axis=0).argmax(axis=2) == split.y, dtype=np.float64).mean(axis=1)
    loss = Loss(len(split.y), converted.relu_accuracy, converted.clipped_accuracy, tuple(right.tolist()))
    told = {
        "calibration_samples": loss.samples,
        "relu_accuracy": loss.relu,
        "clipped_accuracy": loss.clipped,
        "integer_accuracy_per_timestep": list(loss.integers),
        "lost_points": loss.points,
    }
    summary = {"bundle": str(out), **manifest.model_dump(), "conversion": told}
    write_summary(out / "summary.json", summary)
    shown = [*_tables(converted, loss), f"{out}: bundle written", *dropped, *manifest_tables(manifest)]
    return Result(shown, summary)


def _tables(converted: "Converted", loss: Loss) -> list[RenderableType]:
    """What becomes of every layer, and what it costs."""
    title = f"conversion, thresholds λ at the {converted.percentile:g}th percentile of positive activations"
    table = Table("layer", "type", "shape", "λ", "what becomes of it", title=title)
    for layer in converted.layers:
        shape = "×".join(map(str, layer.shape))
        table.add_row(layer.layer, layer.kind, shape, _range(layer.thresholds), layer.detail)
    horizon = len(loss.integers)
    steps = sorted({*(2**n for n in range(horizon.bit_length())), horizon})
    curve = ", ".join(f"{100 * loss.integers[step - 1]:.2f} % at {step}" for step in steps if step <= horizon)
    return [
        table,
        f"calibration split, {loss.samples} samples: ReLU {100 * loss.relu:.2f} %, activations cut at λ "
        f"{100 * loss.clipped:.2f} %, integers at T = {horizon} {100 * loss.integers[-1]:.2f} %: "
        f"{loss.points:.2f} points lost",
        f"integers by timestep: {curve}",
    ]


def _range(thresholds: tuple[float, ...]) -> str:
    if len(thresholds) < 2:
        return "".join(f"{value:.4g}" for value in thresholds)
    return f"{min(thresholds):.4g} to {max(thresholds):.4g}"
