"""Shapes that an exporter left out of a NIR file: completed from the nodes behind the Input, or from the samples."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from spikecut.errors import InputError
from spikecut.export.network.arrays import Shape
from spikecut.export.nir.file import NirNode
from spikecut.export.nir.order import CUT, Placed

Sample: TypeAlias = Callable[[], Shape]


def completed(placed: Sequence[Placed], sample: Sample | None) -> tuple[tuple[Placed, ...], tuple[str, ...]]:
    """The nodes with the shape of the Input, and a line for who wants to know where it comes from.

    sample: gives the shape of the user's samples, (F,) or (C, H, W); None where none are given.

    InputError where neither the nodes nor samples tell the shape.
    """
    first = placed[0].node
    if "shape" in first.numbers:
        return tuple(placed), ()
    for each in placed:
        found = _taken(each.node) if 0 in each.sources else None
        if found is not None:
            break
    else:
        found = None if sample is None else (sample(), "the samples")
    if found is None:
        raise InputError(
            f"node {first.name}: the file leaves out its shape, and the nodes behind it do not tell it: give "
            "--dataset, whose samples are of that shape"
        )
    shape, source = found
    whole = replace(first, numbers={**first.numbers, "shape": np.array(shape)})
    return (replace(placed[0], node=whole), *placed[1:]), (_told(first, shape, source),)


def stated(node: NirNode, shape: Shape, lines: list[str]) -> Shape:
    """The shape that a node states; where it is left out, the one that it gets, and one more line."""
    if "shape" in node.numbers:
        return tuple(int(n) for n in node.numbers["shape"].reshape(-1))
    if node.name != CUT:
        lines.append(_told(node, shape, "what comes in"))
    return shape


def _told(node: NirNode, shape: Shape, source: str) -> str:
    """The line on a shape that was completed."""
    return f"node {node.name}: the file leaves out its shape; completed: {shape}, from {source}"


def _taken(node: NirNode) -> tuple[Shape, str] | None:
    """The shape that a node takes, where it tells that itself, and what tells it."""
    weight = node.numbers.get("weight")
    if node.kind in ("Affine", "Linear") and weight is not None and weight.ndim == 2:
        return (int(weight.shape[1]),), f"the weights of {node.name}"
    sides = node.numbers.get("input_shape", np.zeros(0)).reshape(-1)
    ranks = {"Conv1d": 1, "Conv2d": 2}
    if weight is not None and node.kind in ranks and sides.size == ranks[node.kind] and weight.ndim == sides.size + 2:
        channels = int(weight.shape[1] * node.numbers["groups"].reshape(-1)[0])
        return (channels, *(int(side) for side in sides)), f"weights and input_shape of {node.name}"
    for key in ("v_threshold", "r", "scale", "threshold"):
        if key in node.numbers and node.numbers[key].size > 1:
            return tuple(node.numbers[key].shape), f"{key} of {node.name}"
    return None
