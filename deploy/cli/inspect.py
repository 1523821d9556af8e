"""What a network is, layer by layer: of a bundle or a file as it is, of a checkpoint what its export gives."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from spikecut.deploy.bundle import load, open_bundle
from spikecut.deploy.cli.commands import export_checkpoint, export_slayer, manifest_tables
from spikecut.deploy.cli.cost import inspect_cost
from spikecut.deploy.cli.output import Result
from spikecut.errors import InputError
from spikecut.export.network.connectivity import fan_out, recurrent_fan_out
from spikecut.export.network.layers import IntegerNetwork
from spikecut.fixed_point import DECAY_UNITY, GAIN_UNITY

SHOWN_GAINS = 8
CHECKPOINTS = (".safetensors", ".pt", ".pth")


def inspect_target(
    target: Path,
    hardware: Sequence[str] | None = None,
    hypothetical: bool = False,
    horizon: int | None = None,
    dataset: str | None = None,
    slayer: Path | None = None,
    spec: Path | None = None,
) -> Result:
    """A bundle, a .net file, a NIR file of spikecut's, or a checkpoint, layer by layer and on each hardware.

    horizon: T of what does not tell it itself. dataset, slayer, spec: of checkpoints, as `spikecut export` and
    `convert` take them.

    Raises
    ------
    InputError: a state dict without a word on its layers, or an option that the target has no use for. ExportError:
        what export refuses.
    """
    if target.suffix not in CHECKPOINTS or target.is_dir():
        if dataset is not None or slayer is not None or spec is not None:
            raise InputError("--dataset, --slayer and --spec are of checkpoints and state dicts")
        return _shown(target, str(target), hardware, hypothetical, horizon)
    with _exported(target, horizon, dataset, slayer, spec) as bundle:
        return _shown(bundle, f"{target}, exported for a look", hardware, hypothetical)


@contextmanager
def _exported(
    target: Path, horizon: int | None, dataset: str | None, slayer: Path | None, spec: Path | None
) -> Iterator[Path]:
    """The bundle that a checkpoint or a state dict gives, for as long as it is looked at."""
    if slayer is not None and spec is not None:
        raise InputError("--slayer is of lava-dl's blocks, --spec of ReLU layers: give one of them")
    with TemporaryDirectory(prefix="spikecut-inspect-") as folder:
        bundle = Path(folder) / target.stem
        if slayer is not None:
            export_slayer(target, slayer, bundle, dataset, horizon, None, False)
        elif spec is not None:
            from spikecut.deploy.pipeline.convert import TIMESTEPS, convert_command

            if dataset is None:
                raise InputError("a ReLU network is balanced on samples: give --dataset")
            convert_command(target, spec, bundle, dataset, horizon or TIMESTEPS)
        elif horizon is not None:
            raise InputError("a checkpoint of spikecut tells its horizon itself: leave out --horizon")
        elif target.suffix != ".safetensors":
            raise InputError(
                f"{target}: a state dict does not tell its layers: give --slayer BLOCKS.yaml for lava-dl's, or --spec "
                "SPEC.json for a ReLU network"
            )
        else:
            export_checkpoint(target, bundle, dataset, False)
        yield bundle


def _shown(
    target: Path, title: str, hardware: Sequence[str] | None, hypothetical: bool, horizon: int | None = None
) -> Result:
    network, cost = inspect_network(target, horizon, title), inspect_cost(target, hardware, hypothetical, horizon)
    return Result([*network.shown, *cost.shown], {**network.data, **cost.data})


def inspect_network(target: Path, horizon: int | None = None, title: str | None = None) -> Result:
    """A bundle or a netx file, layer by layer; title: what it is called, its path without."""
    bundle = open_bundle(target) if target.is_dir() else None
    network = bundle.network if bundle and horizon is None else load(target, horizon)
    layers = layer_rows(network)
    named = f"{title or target}: {network.name}, T = {network.horizon}, readout {network.readout}"
    columns = [key for key in layers[0] if key != "synapses"]
    table = Table(*columns, title=named)
    for row in layers:
        table.add_row(*(str(row[key]) for key in columns))
    totals = {key: sum(row[key] for row in layers) for key in ("parameters", "synapses")}
    data = {"name": network.name, "horizon": network.horizon, "depth": network.depth, "layers": layers, **totals}
    data["input"] = asdict(network.input)
    shown: list[RenderableType] = [
        table,
        f"{totals['parameters']:,} parameters, {totals['synapses']:,} synapses that are not 0; τ in timesteps",
    ]
    if bundle:
        shown += manifest_tables(bundle.manifest)
        data["manifest"] = bundle.manifest.model_dump()
    return Result(shown, data)


def layer_rows(network: IntegerNetwork) -> list[dict[str, Any]]:
    """One row per layer; columns of what only some networks have stand where one of its layers has it."""
    layers = network.layers
    rows = [_layer_row(network, index) for index in range(len(layers))]
    if any(layer.delay is not None for layer in layers):
        for row, layer in zip(rows, layers, strict=True):
            row["delay"] = "" if layer.delay is None else f"{layer.delay.min()} to {layer.delay.max()}"
    if any(layer.neuron.gain for layer in layers):
        for row, layer in zip(rows, layers, strict=True):
            row["gain per timestep"] = _gains(layer.neuron.gain)
    if any(layer.skip for layer in layers):
        for row, layer in zip(rows, layers, strict=True):
            row["skip from"] = "" if layer.skip is None else layer.skip.source
    return rows


def _layer_row(network: IntegerNetwork, index: int) -> dict[str, Any]:
    layer = network.layers[index]
    neuron = layer.neuron
    parameters = layer.weight.size + neuron.bias_mantissa.size
    synapses = fan_out(layer).sum()
    if layer.recurrent is not None:
        parameters, synapses = parameters + layer.recurrent.size, synapses + recurrent_fan_out(layer).sum()
    if layer.skip is not None:
        parameters, synapses = parameters + layer.skip.weight.size, synapses + fan_out(layer.skip).sum()
    return {
        "layer": layer.name,
        "type": layer.kind if layer.recurrent is None else f"{layer.kind}, recurrent",
        "in": "×".join(map(str, layer.input_shape)),
        "out": "×".join(map(str, layer.output_shape)),
        "parameters": int(parameters),
        "synapses": int(synapses),
        "reset": neuron.reset,
        "decay u": _decay(neuron.decay_u),
        "decay v": _decay(neuron.decay_v),
        "threshold": "" if neuron.reset == "none" else neuron.threshold,
        "v(0)": neuron.v_init,
    }


def _gains(gain: tuple[int, ...] | None) -> str:
    """Each step's gain, as long as there are few; else their range."""
    if gain is None:
        return "1"
    values = [f"{value / GAIN_UNITY:.3g}" for value in (gain if len(gain) <= SHOWN_GAINS else (min(gain), max(gain)))]
    return (", " if len(gain) <= SHOWN_GAINS else " to ").join(values)


def _decay(decay: int) -> str:
    """The 12-bit decay and its time constant in timesteps."""
    if decay == 0:
        return "0 (none)"
    if decay == DECAY_UNITY:
        return f"{DECAY_UNITY} (all)"
    return f"{decay} (τ {-1 / math.log(1 - decay / DECAY_UNITY):.2f})"
