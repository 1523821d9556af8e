"""NIR on the command line: others' networks in, with a line on every node, and bundles out again."""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table

from spikecut.deploy.bundle import open_bundle
from spikecut.deploy.cli.commands import check_bundle_target, check_file, manifest_tables
from spikecut.deploy.cli.output import Result
from spikecut.errors import BundleError, InputError
from spikecut.export.nir.discretisation import Discretisation
from spikecut.export.nir.read import Imported, read_nir
from spikecut.export.nir.write import holds_integers, write_nir
from spikecut.files import sha256


def export_nir(
    path: Path,
    out: Path,
    dataset: str | None,
    horizon: int | None,
    time: Discretisation,
    encoding: str | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> Result:
    """Write the bundle of another tool's NIR file.

    Raises
    ------
    InputError: no dataset or horizon. ExportError: a node is refused, or, with strict, approximated.
    """
    from spikecut.deploy.pipeline.export import import_to_bundle

    if dataset is None or horizon is None:
        raise InputError("a NIR file names neither data nor horizon: give --dataset and --horizon")
    dropped = check_bundle_target(out, overwrite)
    if holds_integers(path):
        raise InputError(f"{path} holds the integers that spikecut wrote, not floats; spikecut.load reads it as it is")
    imported = read_nir(path, time)
    imported.checked(strict)
    source = {"file": path.name, "sha256": sha256(path), "discretisation": asdict(time)}
    manifest, assumed = import_to_bundle(imported, out, dataset, horizon, encoding, source)
    shown = [*nir_tables(path, imported, assumed), f"{out}: bundle written", *dropped, *manifest_tables(manifest)]
    return Result(shown, {"bundle": str(out), **manifest.model_dump()})


def write_bundle_as_nir(bundle: Path, out: Path, overwrite: bool) -> Result:
    """Write a bundle's integers as NIR."""
    if out.suffix != ".nir":
        raise InputError(f"--out {out}: give a file that ends in .nir")
    check_file(out, "NIR file", overwrite, _is_ours)
    network = open_bundle(bundle).network
    write_nir(network, out)
    beyond = [f"{layer.name}: soft reset" for layer in network.layers if layer.neuron.reset == "subtract"]
    beyond += [f"{layer.name}: v(0) = {layer.neuron.v_init}" for layer in network.layers if layer.neuron.v_init]
    beyond += [f"{layer.name}: delays" for layer in network.layers if layer.delay is not None]
    said = "; ".join([*beyond, "decays that cut off towards zero"])
    return Result(
        [f"{out}: written, one timestep = 1; what NIR cannot say lies in its metadata ({said})"],
        {"nir": str(out), "metadata_only": beyond},
    )


def _is_ours(path: Path) -> bool:
    """Whether spikecut wrote this NIR file."""
    with suppress(BundleError):
        return holds_integers(path)
    return False


def inspect_nir(path: Path, time: Discretisation) -> Result:
    """What would become of every node, and what was assumed."""
    imported = read_nir(path, time)
    data = {
        "nodes": [asdict(node) for node in imported.nodes],
        "assumed": list(imported.assumed),
        "input_shape": list(imported.input_shape),
        "refused": None if imported.refusal is None else str(imported.refusal),
    }
    return Result(nir_tables(path, imported), data)


def nir_tables(path: Path, imported: Imported, assumed: tuple[str, ...] = ()) -> list[RenderableType]:
    """The nodes with what becomes of each, and a line for everything that was assumed."""
    table = Table("node", "type", "shape", "layer", "exactness", "what becomes of it", title=f"{path}: NIR")
    for report in imported.nodes:
        shape = "×".join(map(str, report.shape))
        table.add_row(report.node, report.kind, shape, report.layer, report.exactness, report.detail)
    lines: list[RenderableType] = [table, "the file does not tell, and was assumed:"]
    lines += [f"  {line}" for line in (*imported.assumed, *assumed)]
    if imported.refusal is not None:
        lines.append(f"refused: {imported.refusal}")
    return lines
