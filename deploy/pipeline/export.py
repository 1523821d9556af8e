"""Networks that were not trained here, from what was read of them to a bundle."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikecut.deploy.pipeline.run import export_to_bundle, stills
from spikecut.deploy.run.summary import jsonable
from spikecut.errors import DataError, InputError
from spikecut.export.manifest import Manifest
from spikecut.models.data import Dataset, load_dataset
from spikecut.models.network import SpikingNetwork
from spikecut.models.training.encoding import encoding_for

if TYPE_CHECKING:
    from spikecut.export.importers.relu import Converted
    from spikecut.export.nir.read import Imported


def import_to_bundle(
    imported: "Imported", out: Path, dataset: str, horizon: int, encoding: str | None, source: Mapping[str, Any]
) -> tuple[Manifest, tuple[str, ...]]:
    """Export another tool's network, and say what was assumed of its input.

    encoding: how samples become input; None takes the samples' own numbers at every timestep, which is assumed aloud.
    source: goes into the manifest's recipe.

    Raises
    ------
    UnsupportedError, InputError: see Imported.checked. DataError: samples or classes that do not fit the network.
    """
    network, witness = imported.checked()
    recipe, assumed = foreign_recipe("nir", network, dataset, horizon, encoding, "direct")
    notes = {"assumed": [*imported.assumed, assumed], "nodes": [asdict(node) for node in imported.nodes]}
    recipe = jsonable({**recipe, "nir": {**source, **notes}})
    manifest = export_to_bundle(network, recipe, out, dataset, out.name, witness=witness, rounding=True)
    return manifest, (assumed,)


def foreign_recipe(
    method: str, network: SpikingNetwork, dataset: str, horizon: int, encoding: str | None, default: str
) -> tuple[dict[str, Any], str]:
    """The recipe of a network that somebody else trained, and a line on what was assumed of its input.

    encoding: how samples become input; None takes the default. Events are taken as they are.

    Raises
    ------
    DataError: samples or classes that do not fit the network. InputError: an encoding that is unknown, or of events.
    """
    data = matching_data(load_dataset(dataset, frames=horizon), dataset, network)
    if data.frames is not None:
        if encoding is not None:
            raise InputError(f"--encoding {encoding}: {dataset} holds events, which need none; leave it out")
        fields = asdict(encoding_for("events", data.train, 0))
        return _recipe(method, network, data, dataset, horizon, fields), f"input events in {data.frames} frames"
    chosen = encoding or default
    if chosen not in ("direct", "bernoulli", "latency"):
        raise InputError(f"--encoding {encoding!r}: expected direct, bernoulli or latency")
    fields = asdict(encoding_for("direct" if chosen == "direct" else "bernoulli", data.train, 0))
    fields["encoding"] = chosen  # latency scales like bernoulli
    said = (
        f"{fields['bits']} bits, unit {fields['scale']:.4g}" if chosen == "direct" else f"scale {fields['scale']:.4g}"
    )
    assumed = f"input {chosen}, {said}{'' if encoding else ': no --encoding given'}"
    return _recipe(method, network, data, dataset, horizon, fields), assumed


def matching_data(data: Dataset, dataset: str, network: SpikingNetwork) -> Dataset:
    """The data set; DataError for samples or classes that do not fit the network."""
    if data.shape != network.input_shape:
        raise DataError(f"{dataset}: samples of shape {data.shape}, but the network takes {network.input_shape}")
    if len(data.labels) > _classes(network):
        raise DataError(f"{dataset}: {len(data.labels)} classes, but the network has {_classes(network)} outputs")
    return data


def _classes(network: SpikingNetwork) -> int:
    return int(list(network.chain())[-1].synapse.weight.shape[0])


def _recipe(
    method: str, network: SpikingNetwork, data: Dataset, dataset: str, horizon: int, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """What a manifest's recipe says of a network that was not trained here."""
    return {
        "method": method,
        "dataset": dataset,
        "horizon": horizon,
        "input": fields,
        "labels": [*data.labels, *(str(n) for n in range(len(data.labels), _classes(network)))],
    }


def convert_to_bundle(
    converted: "Converted", out: Path, dataset: str, horizon: int, source: Mapping[str, Any]
) -> Manifest:
    """Export a converted ReLU network, direct input; source: goes into the manifest's recipe.

    Raises DataError for samples or classes that do not fit the network, and what export_network raises.
    """
    from spikecut.export.quantise.measure import integrate_fire_ranges

    data = matching_data(stills(dataset), dataset, converted.network)
    fields = asdict(encoding_for("direct", data.train, 0))
    told = {**source, **converted.report()}
    recipe = {**_recipe("relu", converted.network, data, dataset, horizon, fields), "relu": told}
    return export_to_bundle(
        converted.network,
        jsonable(recipe),
        out,
        dataset,
        out.name,
        integrate_fire_ranges,
        witness=converted.witness,
        wide=True,
    )
