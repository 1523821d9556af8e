"""Networks as tables: their layers, what quantisation did to them, what became of the parts of an imported one."""

import math
from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType

from spikecut.deploy.report.wide_table import WideTable
from spikecut.export.importers.base import ImportedNetwork, PartReport
from spikecut.export.manifest import Manifest
from spikecut.export.network.connectivity import fan_out, recurrent_fan_out
from spikecut.export.network.layers import IntegerNetwork, passes_input
from spikecut.export.network.neurons import reset_of
from spikecut.export.network.parameters import Parameter, said
from spikecut.fixed_point import DECAY_UNITY, GAIN_UNITY

SHOWN_GAINS = 8
SHOWN_TIMESTEPS = 64
TIMESTEPS_A_ROW = 8
CLIPPED = (
    "headroom clipped: that of u alone; on samples v reaches the end of its 24 bits, and stops there, in chip, engines "
    "and twin alike"
)


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
    if any(layer.source for layer in layers):
        for row, layer in zip(rows, layers, strict=True):
            row["takes from"] = layer.source or ""
    if any(layer.skips for layer in layers):
        for row, layer in zip(rows, layers, strict=True):
            row["skip from"] = ", ".join(skip.source for skip in layer.skips)
    return rows


def _layer_row(network: IntegerNetwork, index: int) -> dict[str, Any]:
    layer = network.layers[index]
    neuron = layer.neuron
    given = passes_input(layer)  # the input itself is their bias
    parameters = 0 if given else layer.weight.size + neuron.bias_mantissa.size
    synapses = 0 if given else fan_out(layer).sum()
    graded = neuron.sigma_delta is not None
    kind = layer.kind if layer.recurrent is None else f"{layer.kind}, recurrent"
    if given:
        kind = "encoder" if graded else "input neurons"
    if layer.recurrent is not None:
        parameters, synapses = parameters + layer.recurrent.size, synapses + recurrent_fan_out(layer).sum()
    for skip in layer.skips:
        parameters, synapses = parameters + skip.weight.size, synapses + fan_out(skip).sum()
    return {
        "layer": layer.name,
        "type": kind,
        "in": "×".join(map(str, layer.input_shape)),
        "out": "×".join(map(str, layer.output_shape)),
        "parameters": int(parameters),
        "synapses": int(synapses),
        "reset": reset_of(neuron),
        "decay u": "" if graded else _decay(neuron.decay_u),
        "decay v": "" if graded else _decay(neuron.decay_v),
        "threshold": "" if neuron.reset == "none" else _number(neuron.threshold),
        "v(0)": "" if graded else _number(neuron.v_init),
    }


def _gains(gain: tuple[int, ...] | None) -> str:
    """Each step's gain, as long as there are few; else their range."""
    if gain is None:
        return "1"
    values = [f"{value / GAIN_UNITY:.3g}" for value in (gain if len(gain) <= SHOWN_GAINS else (min(gain), max(gain)))]
    return (", " if len(gain) <= SHOWN_GAINS else " to ").join(values)


def _number(parameter: Parameter) -> int | str:
    """One number, or from where to where the neurons' numbers reach."""
    return parameter if isinstance(parameter, int) else said(parameter, "d")


def _decay(decay: Parameter) -> str:
    """The 12-bit decay and its time constant in timesteps; of several their range."""
    if not isinstance(decay, int):
        return said(decay, "d")
    if decay == 0:
        return "0 (none)"
    if decay == DECAY_UNITY:
        return f"{DECAY_UNITY} (all)"
    return f"{decay} (τ {-1 / math.log(1 - decay / DECAY_UNITY):.2f})"


def layer_table(rows: Sequence[dict[str, Any]], title: str) -> WideTable:
    """The rows of layer_rows, but for their synapses."""
    columns = [key for key in rows[0] if key != "synapses"]
    table = WideTable(*columns, title=title)
    for row in rows:
        table.add_row(*(str(row[key]) for key in columns))
    return table


def accuracy_table(accuracy: Sequence[float], title: str) -> WideTable:
    """The share of right predictions at t = 1 … T, in percent, eight timesteps a row; of a long horizon only some."""
    step = -(-len(accuracy) // SHOWN_TIMESTEPS)
    shown = sorted({*range(step, len(accuracy) + 1, step), len(accuracy)})
    table = WideTable("timesteps", "right, %", title=f"{title}: test accuracy (float)")
    for start in range(0, len(shown), TIMESTEPS_A_ROW):
        row = shown[start : start + TIMESTEPS_A_ROW]
        every = f", every {step}th" if step > 1 else ""
        label = f"{row[0]} to {row[-1]}{every}" if len(row) > 1 else str(row[0])
        table.add_row(label, " ".join(f"{100 * accuracy[t - 1]:5.1f}" for t in row))
    return table


def _skip_error(error: float | None) -> str:
    return "" if error is None else f" ({error:.2g})"


def manifest_tables(manifest: Manifest) -> list[RenderableType]:
    """What quantisation did to each layer, and how far float and integers agree."""
    loader = "lava-dl's netx.hdf5.Network loads it unchanged"
    if manifest.beyond_netx:
        loader = f"spikecut's own builder ({'; '.join(manifest.beyond_netx)})"
    skips = any(entry.skip_weight_error_max is not None for entry in manifest.layers)
    columns = [
        "layer",
        "weight bits",
        "weight error max (of a skip)" if skips else "weight error max",
        "RMS",
        "threshold error",
        "bias error max",
        "decay error u, v",
        "headroom (bits)",
    ]
    gains = any(entry.gain_error_max for entry in manifest.layers)
    columns += ["gain error max"] * gains
    table = WideTable(*columns, title="\nquantisation (errors in float units of the folded network)")
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
        *([CLIPPED] if any(entry.headroom == "clipped" for entry in manifest.layers) else []),
        f"loader: {loader}",
        f"golden samples: {agreement.samples}; float right {agreement.float_correct}, integers right "
        f"{agreement.twin_correct}, same prediction {agreement.same_prediction}",
    ]


def parts_table(imported: ImportedNetwork, assumed: Sequence[str] = ()) -> list[RenderableType]:
    """The nodes, or modules, with what becomes of each, and a line for everything that was assumed, or found."""
    method = "module" if imported.recipe is None else imported.recipe.method
    program = ".py:" in imported.source.name or method == "module"
    part_of, kind = {"nir": ("node", ": NIR"), "netx": ("block", ": netx"), "layout": ("layer", "")}.get(
        method, ("module", "")
    )
    title = f"{imported.source}{kind}"
    table = WideTable(part_of, "type", "shape", "layer", "exactness", "what becomes of it", title=title)
    for part in imported.report:
        table.add_row(part.name, part.kind, _shape(part.shape), part.layer, part.exactness, part.detail)
    lines = [f"  {line}" for line in (assumed or imported.assumed)]
    said = "read, and compared:" if program else "the file does not tell, and was assumed:"
    untold = imported.integers is None and method != "netx"  # integers that are refused assume nothing
    return [table, *([said] if lines or untold else []), *lines]


def conversion_tables(
    layers: Sequence[PartReport], percentile: float, loss: str, integers: Sequence[float]
) -> list[RenderableType]:
    """What becomes of every layer of a ReLU network, and what it costs.

    loss: in words. integers: share of right predictions of the integer network at t = 1 … T.
    """
    title = f"conversion, thresholds λ at most the {percentile:g}th percentile of positive activations"
    table = WideTable("layer", "type", "shape", "λ", "what becomes of it", title=title)
    for part in layers:
        table.add_row(part.name, part.kind, _shape(part.shape), _range(part.thresholds), part.detail)
    horizon = len(integers)
    steps = sorted({*(2**n for n in range(horizon.bit_length())), horizon})
    curve = ", ".join(f"{100 * integers[step - 1]:.2f} % at {step}" for step in steps if step <= horizon)
    lowered = f"thresholds lowered and biases corrected for T = {horizon}"
    return [table, loss, f"integers by timestep: {curve}", lowered]


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _range(thresholds: tuple[float, ...]) -> str:
    if len(thresholds) < 2:
        return "".join(f"{value:.4g}" for value in thresholds)
    return f"{min(thresholds):.4g} to {max(thresholds):.4g}"
