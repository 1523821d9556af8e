"""What becomes of each block of a netx file, for who looks at it."""

from bisect import bisect_left
from dataclasses import replace
from pathlib import Path

import numpy as np

from spikecut.errors import RangeError, SpikecutError, UnsupportedError
from spikecut.export.hdf5 import open_hdf5, read_whole, subgroup
from spikecut.export.importers.base import PartReport
from spikecut.export.network.layers import IntegerLayer
from spikecut.export.network.neurons import reset_of
from spikecut.export.netx.foreign import input_and_readout, read_any_netx
from spikecut.export.netx.neuron import read_text
from spikecut.export.netx.read import INPUT_NEURONS, Blocks


def block_reports(path: Path, blocks: Blocks) -> tuple[PartReport, ...]:
    """A line on each block of a file that read_any_netx reads."""
    foreign = input_and_readout(path)
    layers = iter(_layers(path, blocks.end))
    reports: list[PartReport] = []
    with open_hdf5(path) as file:
        groups = subgroup(file, "layer", path)
        end = len(groups) if blocks.end is None else min(blocks.end, len(groups))
        shape: tuple[int, ...] = ()
        for index in range(len(groups)):
            group = subgroup(groups, str(index), path)
            kind, detail, name = read_text(group, "type", path), "", ""
            if index < end and kind == "flatten":
                shape, detail = (int(np.prod(shape)),), "in the order of rows; nothing is computed"
            elif index < end and kind == "input" and "neuron" not in group:
                shape, detail = _input_shape(group, path), "spikes come in as they are"
            elif index < end:
                layer = next(layers)
                shape, name, detail = layer.output_shape, layer.name, _told(layer, foreign)
                if kind == "average":
                    detail = f"adds up the spikes of {layer.weight.shape[1] // shape[0]} neurons each, 128 a spike"
            taken = blocks.first <= index < end
            reports.append(
                PartReport(
                    f"/layer/{index}",
                    kind,
                    shape if index < end else (),
                    "exact" if taken else "not reached",
                    detail if taken else "left out by --layers",
                    name if taken else "",
                )
            )
    return tuple(reports)


def refused_reports(path: Path, blocks: Blocks, refusal: SpikecutError) -> tuple[PartReport, ...]:
    """A line on each block of a file that read_any_netx refuses: the first ones that it reads, and the one it does not.

    A longer part of a file is refused wherever a shorter one is.
    """
    with open_hdf5(path) as file:
        known = len(subgroup(file, "layer", path))
    end = known if blocks.end is None else min(blocks.end, known)
    read = bisect_left(range(1, end + 1), True, key=lambda count: _refuses(path, count))
    reports = list(block_reports(path, Blocks(0, read)))
    for index in range(read, known):
        after = "behind what is refused" if index < end else "left out by --layers"
        reports[index] = replace(reports[index], exactness="not reached", detail=after)
    reports[read] = replace(reports[read], exactness="refused", detail=str(refusal).removeprefix(f"{path}: "))
    return tuple(reports)


def _refuses(path: Path, count: int) -> bool:
    """Whether the first so many blocks are refused."""
    try:
        _layers(path, count)
    except (UnsupportedError, RangeError):
        return True
    return False


def _layers(path: Path, end: int | None) -> tuple[IntegerLayer, ...]:
    """The layers of neurons among the first blocks; none where these are an input and shapes."""
    with open_hdf5(path) as file:
        groups = subgroup(file, "layer", path)
        first = [subgroup(groups, str(index), path) for index in range(len(groups) if end is None else end)]
        if all(read_text(group, "type", path) in ("input", "flatten") and "neuron" not in group for group in first):
            return ()
    foreign = input_and_readout(path)
    horizon = 1 if foreign is not None and foreign[2] is None else None
    return read_any_netx(path, horizon, Blocks(0, end)).layers


def _input_shape(group: object, path: Path) -> tuple[int, ...]:
    for key in ("shape", "inFeatures"):
        if key in group:  # type: ignore[operator]  # a group of h5py
            return tuple(int(side) for side in read_whole(group, key, path).reshape(-1))
    return ()


def _told(layer: IntegerLayer, foreign: object) -> str:
    """What stands in the network for the block."""
    if layer.name == INPUT_NEURONS:
        spec = foreign[0] if isinstance(foreign, tuple) else None
        graded = layer.neuron.sigma_delta is not None
        if spec is None:
            return f"{'sends the changes of' if graded else 'neurons whose bias is'} the input"
        weight = 1 / spec.scale
        transformed = f"{weight:.6g} x + {0 - spec.zero * weight:.6g} of the sample x"
        return f"{'sends the changes of' if graded else 'neurons whose bias is'} {transformed}"
    reset = {"zero": "hard reset", "subtract": "soft reset", "none": "never fires: its membrane is read"}
    if layer.neuron.sigma_delta is not None:
        reset = {}
    said = reset.get(layer.neuron.reset, reset_of(layer.neuron))
    parts = [f"weights {layer.weight.min()} to {layer.weight.max()}", said]
    parts += ["delays"] if layer.delay is not None else []
    parts += ["recurrent"] if layer.recurrent is not None else []
    return ", ".join(parts)
