"""Export: a network, trained here or read by an importer, and samples → its bundle; and a bundle → a NIR file."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikecut.deploy.backends.kernels.reference import measure_ranges
from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.pipeline.samples import split_notes
from spikecut.deploy.pipeline.targets import check_bundle_target, check_file
from spikecut.deploy.run.summary import jsonable
from spikecut.deploy.verify.witness import integer_golden, integer_report
from spikecut.errors import BundleError, InputError, Refusal, SpikecutError
from spikecut.export.encode import encode
from spikecut.export.importers.base import (
    ImportedNetwork,
    MeasureRanges,
    Options,
    PartReport,
    Recipe,
    importer_of,
    read_network,
)
from spikecut.export.importers.samples import GOLDEN_SAMPLES, input_fields, matching_data, sample_frames
from spikecut.export.importers.slayer_blocks import holds_blocks, import_blocks
from spikecut.export.manifest import Manifest
from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.network.parameters import said
from spikecut.export.nir.write import holds_integers, write_nir
from spikecut.export.quantise.headroom import Ranges
from spikecut.export.write_bundle import ExportSettings, export_network, recipe_horizon, write_integers
from spikecut.models.data import MAXIMUM_HORIZON, Dataset, load_dataset
from spikecut.models.network import SpikingNetwork

if TYPE_CHECKING:  # torch is imported where a module is read
    from torch import nn

GENERAL = ExportSettings()


@dataclass(frozen=True)
class Exported:
    """A bundle that was written.

    Attributes
    ----------
    bundle: its folder. assumed: what the file did not tell, a line each. imported: what was read; None for a network
        that was at hand. notes: remarks for the user. dropped: what an earlier bundle there had and lost.
    """

    bundle: Path
    manifest: Manifest
    assumed: tuple[str, ...] = ()
    imported: ImportedNetwork | None = None
    notes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def approximated(self) -> tuple[str, ...]:
        """The parts of what was read that the integers do not equal, a line each."""
        parts = () if self.imported is None else self.imported.report
        return tuple(f"{part.name} ({part.kind}): {part.detail}" for part in parts if part.exactness == "approximate")

    @property
    def remarks(self) -> tuple[str, ...]:
        """All that a user should know of it, a line each, in the words of a program."""
        approximated = (f"approximated: {line}" for line in self.approximated)
        assumed = (line.replace("no --encoding given", "no encoding given") for line in self.assumed)
        return (*approximated, *self.notes, *self.dropped, *assumed)


@dataclass(frozen=True)
class Import:
    """How an imported network becomes a bundle.

    Attributes
    ----------
    dataset: samples of the golden witness; None takes those of a checkpoint's recipe.
    horizon: T, of what does not tell it. encoding: how samples become input; None takes the importer's own.
    strict: refuse what would be approximated. name: the network's; None takes the bundle's, or a recipe's method.
    """

    dataset: str | None = None
    horizon: int | None = None
    encoding: str | None = None
    strict: bool = False
    name: str | None = None


def export_file(source: Path, out: Path, options: Options, overwrite: bool = False) -> Exported:
    """Read a network by whichever importer reads it, and write its bundle.

    options: see ImportedNetwork's importers; those of Import among them.

    Raises
    ------
    InputError, ExportError: files, options or samples that do not fit; see read_network and export_imported.
    """
    importer_of(source, options)  # which refuses options before anything is looked at
    dropped = check_bundle_target(out, overwrite)
    imported = read_network(source, options)
    how = Import(**{key: options[key] for key in ("dataset", "horizon", "encoding", "strict") if key in options})
    done = export_imported(imported, out, how)
    return Exported(out, done.manifest, done.assumed, imported, done.notes, dropped)


def export_imported(imported: ImportedNetwork, out: Path, how: Import) -> Exported:
    """Write the bundle of what an importer read.

    Raises
    ------
    SpikecutError: what the importer refused. InputError: no data set or horizon, or an encoding that does not fit.
    DataError: samples or classes that do not fit the network. ExportError: see export_network.
    """
    if imported.trained is not None:
        return export_to_bundle(imported.checked(how.strict), imported.trained, out, how.dataset, how.name)
    if imported.integers is not None:
        return _export_integers(imported, imported.integers, out, how)
    read = imported.recipe
    if read is None or how.dataset is None or how.horizon is None:
        raise InputError(f"{imported.source} names neither data nor horizon: give --dataset and --horizon")
    network = imported.checked(how.strict)
    data = matching_data(
        load_dataset(how.dataset, frames=how.horizon), how.dataset, network.input_shape, _classes(network)
    )
    fields, assumed = input_fields(data, how.dataset, how.encoding, read.encoding)
    recipe = _recipe(read, _classes(network), data, how, fields)
    said = imported.assumed if read.encoding_known else (*imported.assumed, assumed)
    recipe[read.method] = {**read.details, **({"assumed": list(said)} if said else {})}
    settings = ExportSettings(None, imported.witness, read.approximate, read.wide)
    name = how.name or out.name
    done = export_to_bundle(network, jsonable(recipe), out, how.dataset, name, settings, read.measure)
    return Exported(out, done.manifest, said, imported, done.notes)


def _export_integers(imported: ImportedNetwork, network: IntegerNetwork, out: Path, how: Import) -> Exported:
    """Write the bundle of a file of integers, whose witness is their arithmetic in plain numpy."""
    read = imported.recipe
    if read is None or how.dataset is None:
        raise InputError(f"{imported.source} names no data: give --dataset, whose samples are its witness")
    data = load_dataset(how.dataset, frames=network.horizon)
    matching_data(data, how.dataset, network.input_shape, network.classes)
    assumed: tuple[str, ...] = ()
    if not read.encoding_known and read.encoding == "events" and data.frames is None:
        fields, said = input_fields(data, how.dataset, how.encoding, "bernoulli")
        network, assumed = replace(network, input=InputSpec(shape=network.input_shape, **fields)), (said,)
    elif how.encoding is not None:
        raise InputError(f"--encoding {how.encoding}: {imported.source} tells its input itself; leave it out")
    split = data.calibration
    images, labels = split.x[:GOLDEN_SAMPLES], split.y[:GOLDEN_SAMPLES]
    golden = integer_golden(network, images, labels)
    fields = {key: value for key, value in asdict(network.input).items() if key != "shape"}
    recipe = _recipe(read, network.classes, data, replace(how, horizon=network.horizon), fields)
    recipe[read.method] = {**read.details, **({"assumed": list(assumed)} if assumed else {})}
    named = replace(network, name=how.name or out.name)
    manifest = write_integers(named, integer_report(network, golden.inputs), golden, jsonable(recipe), out)
    return Exported(out, manifest, assumed, imported, split_notes(data))


def export_module(module: "nn.Module", out: Path, how: Import, sample: object = None) -> Exported:
    """Read a torch module as it is, compare it with what was read, and write its bundle.

    sample: an input as the module takes it; None: as the data set's samples are.

    Raises
    ------
    InputError: no data set or horizon, or a sample that does not fit. ExportError: see import_module, load_slayer and
    export_network.
    """
    from spikecut.export.torch_module.importer import Sampled, import_module  # torch

    if how.dataset is None or how.horizon is None:
        raise InputError("a module names neither data nor timesteps: give `dataset` and `timesteps`")
    if not 1 <= how.horizon <= MAXIMUM_HORIZON:
        raise InputError(f"timesteps={how.horizon}: expected 1 to {MAXIMUM_HORIZON}")
    data = load_dataset(how.dataset, frames=how.horizon)
    if holds_blocks(module):
        return export_imported(import_blocks(module, data.shape), out, how)
    frames = sample_frames(data, how.dataset, how.encoding, how.horizon)
    return export_imported(import_module(module, Sampled.of(frames, sample)), out, how)


def is_program(source: Path) -> bool:
    """Whether this names a function of the user's own program, FILE.py:FUNCTION."""
    return ".py:" in source.name


def export_program(source: Path, weights: Path | None, out: Path, how: Import, overwrite: bool = False) -> Exported:
    """Write the bundle of the module that FILE.py:FUNCTION makes. That runs the user's code, in a process of its own.

    weights: a state dict for it, .safetensors or of torch.save, read as tensors alone.

    Raises
    ------
    InputError: a program that fails, or weights that do not fit; and what export_module raises.
    """
    dropped = check_bundle_target(out, overwrite)
    told = {"source": str(source), "weights": weights and str(weights), "out": str(out), "how": asdict(how)}
    # Ctrl-C reaches this process and the other one. While that one still imports it ends without a word.
    code = (
        "from signal import SIG_DFL, SIG_IGN, SIGINT, getsignal, signal; "
        "getsignal(SIGINT) == SIG_IGN or signal(SIGINT, SIG_DFL); "
        "from spikecut.deploy.pipeline.export import run_program; run_program()"
    )
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        done = subprocess.run(
            [sys.executable, "-c", code, str(answer)],
            input=json.dumps(told),
            text=True,
            stdout=sys.stderr.fileno() if _has_handle(sys.stderr) else subprocess.DEVNULL,
            check=False,
        )
        if not answer.exists():
            raise InputError(f"{source}: its process ended with {done.returncode}; run the file by itself first")
        said = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in said:
        from spikecut.export.torch_module.program import error_named  # torch

        raise error_named(*said["error"])
    manifest = open_bundle(out).manifest
    details = manifest.recipe.get("module", manifest.recipe.get("slayer", {}))
    told = details.get("parts", ())
    parts = tuple(PartReport(**{**part, "shape": tuple(part["shape"]), "thresholds": ()}) for part in told)
    imported = ImportedNetwork(source, report=parts)
    return Exported(out, manifest, tuple(details.get("assumed", ())), imported, tuple(said["notes"]), dropped)


def run_program() -> None:
    """What the other process does: the order comes by its input, the answer goes into the file that it is told."""
    from spikecut.export.torch_module.program import Program  # torch

    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # ignored, where the command was told to ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    told = json.loads(sys.stdin.read())
    try:
        weights = told["weights"] and Path(told["weights"])
        module, sample = Program.named(Path(told["source"])).built(weights)
        done = export_module(module, Path(told["out"]), Import(**told["how"]), sample)
        said: dict[str, Any] = {"notes": done.notes}
    except KeyboardInterrupt:
        sys.exit(130)  # the process that was asked says so
    except SpikecutError as error:
        said = {"error": [type(error).__name__, str(error)]}
    except Exception as error:  # what runs here is the user's code as well
        reason = (str(error).splitlines() or [""])[0]
        said = {"error": ["InputError", f"{told['source']}: the export fails: {type(error).__name__}: {reason}"]}
    Path(sys.argv[1]).write_text(json.dumps(said), encoding="utf-8")


def _has_handle(stream: Any) -> bool:
    """Whether another process can write to this stream."""
    with suppress(OSError, ValueError, AttributeError):
        return isinstance(stream.fileno(), int)
    return False


def export_to_bundle(
    network: SpikingNetwork,
    recipe: Mapping[str, Any],
    out: Path,
    dataset: str | None = None,
    name: str | None = None,
    settings: ExportSettings = GENERAL,
    ranges: MeasureRanges | None = None,
) -> Exported:
    """Export a network that is at hand; golden samples come from the calibration split of `dataset`, or the recipe's.

    ranges: measures |u| and |v| on samples; None runs the calibration split in plain numpy.

    Raises DataError for samples that cannot be read, and what export_network raises.
    """
    chosen = dataset or str(recipe.get("dataset", ""))
    data = load_dataset(chosen, frames=recipe_horizon(recipe))
    split = data.calibration
    images, labels = split.x[:GOLDEN_SAMPLES], split.y[:GOLDEN_SAMPLES]

    def measure(integer: IntegerNetwork) -> dict[str, Ranges]:
        return ranges(integer, split.x) if ranges else measure_ranges(integer, encode(split.x, integer))

    name = name or str(recipe.get("method", "network"))
    chosen_settings = ExportSettings(measure, settings.witness, settings.rounding, settings.wide)
    manifest = export_network(network, recipe, out, images, labels, name, chosen_settings)
    return Exported(out, manifest, notes=split_notes(data))


def _classes(network: SpikingNetwork) -> int:
    return int(list(network.chain())[-1].synapse.weight.shape[0])


def _recipe(read: Recipe, classes: int, data: Dataset, how: Import, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest's recipe says of a network that was not trained here."""
    return {
        "method": read.method,
        "dataset": how.dataset,
        "horizon": how.horizon,
        "input": fields,
        "labels": [*data.labels, *(str(n) for n in range(len(data.labels), classes))],
    }


@dataclass(frozen=True)
class NirWritten:
    """A NIR file that was written. metadata_only: what NIR cannot say, and lies in its metadata alone."""

    file: Path
    metadata_only: tuple[Refusal, ...]


def export_nir(bundle: Path, out: Path, overwrite: bool) -> NirWritten:
    """Write a bundle's integers as NIR.

    Raises InputError for a file that may not be written, and what open_bundle and write_nir raise.
    """
    if out.suffix != ".nir":
        raise InputError(f"--out {out}: give a file that ends in .nir")
    check_file(out, "NIR file", overwrite, _is_ours)
    network = open_bundle(bundle).network
    write_nir(network, out)
    layers = network.layers
    beyond = [Refusal(layer.name, _soft(layer.neuron)) for layer in layers if layer.neuron.reset == "subtract"]
    starts = [(layer.name, layer.neuron.v_init) for layer in layers if np.any(layer.neuron.v_init)]
    beyond += [Refusal(name, f"v(0) = {said(v_init, 'd')}") for name, v_init in starts]
    beyond += [Refusal(layer.name, "u(0) that is not 0") for layer in layers if layer.neuron.u_init is not None]
    beyond += [Refusal(layer.name, "a refractory period") for layer in layers if layer.neuron.refractory]
    beyond += [Refusal(layer.name, "delays") for layer in layers if layer.delay is not None]
    return NirWritten(out, tuple(beyond))


def _soft(neuron: IntegerNeuron) -> str:
    return "soft reset" if neuron.reset_amount is None else "soft reset by another amount than the threshold"


def _is_ours(path: Path) -> bool:
    """Whether spikecut wrote this NIR file."""
    with suppress(BundleError):
        return holds_integers(path)
    return False
