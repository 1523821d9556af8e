"""Checkpoint → bundle: trace, fold, quantise, write, and the golden witness, in one step."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikecut.errors import CheckpointError
from spikecut.export.golden import Golden, golden_bytes, make_golden
from spikecut.export.importers.slayer import slayer_golden, slayer_integers
from spikecut.export.importers.torch_network import input_spec, spiking_form, trace
from spikecut.export.manifest import (
    BUNDLE,
    FORMAT,
    GOLDEN,
    MANIFEST,
    NETWORK,
    SUMMARY,
    Agreement,
    LayerEntry,
    Manifest,
    versions,
    write_manifest,
)
from spikecut.export.network.arrays import Floats, IntArray
from spikecut.export.network.layers import IntegerNetwork
from spikecut.export.netx.limits import beyond_netx
from spikecut.export.netx.write import netx_bytes
from spikecut.export.quantise.integers import Measure, quantise
from spikecut.export.quantise.report import LayerReport
from spikecut.fixed_point import WEIGHT_BITS_MAXIMUM, WEIGHT_BITS_MINIMUM
from spikecut.folders import replacing_folder
from spikecut.models.data import MAXIMUM_HORIZON as MAXIMUM_HORIZON
from spikecut.models.network import SpikingNetwork
from spikecut.models.slayer.network import SlayerNetwork

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ExportSettings:
    """How a network is quantised, and what stands witness for it.

    Attributes
    ----------
    measure: gives the ranges of u and v on samples, where no weight width is proven to fit.
    witness: gives the golden float scores in the network's place. rounding, wide: see quantise.
    """

    measure: Measure | None = None
    witness: "torch.nn.Module | None" = None
    rounding: bool = False
    wide: bool = False


GENERAL = ExportSettings()


def export_network(
    network: SpikingNetwork,
    recipe: Mapping[str, Any],
    out: Path,
    images: Floats,
    labels: IntArray,
    name: str = "network",
    settings: ExportSettings = GENERAL,
) -> Manifest:
    """Write the bundle of a trained network; the folder appears whole or not at all.

    Parameters
    ----------
    network: the user's own float module, as loaded from its checkpoint.
    recipe: how it was trained; names its input, labels and horizon.
    images, labels: at least 32 golden samples [N, *shape], or events [N, T, *shape], and their classes [N].

    Raises
    ------
    ExportError, CheckpointError, DataError: see the steps. InputError: `out` holds something else than a bundle, or
        cannot be written.
    """
    spec = input_spec(recipe, tuple(network.input_shape))
    horizon = recipe_horizon(recipe)
    if isinstance(network, SlayerNetwork):
        integer, report = slayer_integers(network, spec, horizon, name, settings.measure)
        golden = slayer_golden(network, spec, horizon, images, labels)
    else:
        spiking = spiking_form(network)
        traced, bits = trace(spiking, spec, horizon), _weight_bits(recipe)
        quantised = quantise(traced, name, settings.measure, settings.rounding, settings.wide, bits)
        integer, report = quantised.network, quantised.report
        golden = make_golden(spiking, quantised.plans, spec, horizon, images, labels, settings.witness)
    return write_integers(integer, report, golden, recipe, out)


def write_integers(
    integer: IntegerNetwork, report: tuple[LayerReport, ...], golden: Golden, recipe: Mapping[str, Any], out: Path
) -> Manifest:
    """Write the bundle of a network in integers; see export_network."""
    files = {NETWORK: netx_bytes(integer), GOLDEN: golden_bytes(golden)}
    manifest = _manifest(integer, report, golden, recipe, files)
    with replacing_folder(out, BUNDLE, overwrite=True) as folder:
        for file, content in files.items():
            (folder / file).write_bytes(content)
        write_manifest(manifest, folder)
        shutil.copyfile(folder / MANIFEST, folder / SUMMARY)
    return manifest


def recipe_horizon(recipe: Mapping[str, Any]) -> int:
    """T of a recipe; CheckpointError for what is none, or would ask for absurd memory."""
    horizon = recipe.get("horizon")
    if type(horizon) is not int or horizon < 1:
        raise CheckpointError(
            f"the checkpoint's recipe gives horizon T = {horizon!r}, not a number from 1; train again"
        )
    if horizon > MAXIMUM_HORIZON:
        raise CheckpointError(f"horizon T = {horizon}: at most {MAXIMUM_HORIZON} can be exported; take a smaller one")
    return horizon


def _weight_bits(recipe: Mapping[str, Any]) -> int:
    """The most bits of a weight; CheckpointError for what the recipe cannot mean."""
    bits = recipe.get("weight_bits")
    if bits is None:
        return WEIGHT_BITS_MAXIMUM
    if type(bits) is not int or not WEIGHT_BITS_MINIMUM <= bits <= WEIGHT_BITS_MAXIMUM:
        raise CheckpointError(
            f"the checkpoint's recipe gives weight_bits {bits!r}, not {WEIGHT_BITS_MINIMUM} to "
            f"{WEIGHT_BITS_MAXIMUM}; train again"
        )
    return bits


def _manifest(
    network: IntegerNetwork,
    report: tuple[LayerReport, ...],
    golden: Golden,
    recipe: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> Manifest:
    beyond = beyond_netx(network)
    return Manifest(
        format=FORMAT,
        name=network.name,
        loader="spikecut" if beyond else "netx",
        beyond_netx=[str(refusal) for refusal in beyond],
        input_message_bits=network.input.bits,
        readout=network.readout,
        horizon=network.horizon,
        depth=network.depth,
        input={key: list(value) if isinstance(value, tuple) else value for key, value in asdict(network.input).items()},
        layers=[LayerEntry(**asdict(entry)) for entry in report],
        agreement=_agreement(golden),
        files={file: hashlib.sha256(content).hexdigest() for file, content in files.items()},
        recipe=dict(recipe),
        versions=versions(),
    )


def _agreement(golden: Golden) -> Agreement:
    said = golden.float_scores.sum(axis=0).argmax(axis=1)
    twin = golden.twin_scores.sum(axis=0).argmax(axis=1)
    return Agreement(
        samples=len(golden.labels),
        same_prediction=int((said == twin).sum()),
        float_correct=int((said == golden.labels).sum()),
        twin_correct=int((twin == golden.labels).sum()),
    )
