"""Why an engine and the golden twin differ: what the integers themselves say about the first difference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikecut.deploy.backends.kernels.reference import NeuronState, propagate_layer
from spikecut.export.network.arrays import Integers
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.fixed_point import STATE_LIMIT

EXPORT = "the file was changed after its export, or belongs to another checkpoint: export again"
ENCODING = "the input's scale, zero, encoding or seed is not the one of the export: export again"


@dataclass(frozen=True)
class Deviation:
    """The first value of one sample in which an engine differs from the golden twin.

    Attributes
    ----------
    number: of its layer, 1 for the first. timestep: from 1. neuron: index in the layer's output.
    found: the engine's value there. engine: its name.
    """

    number: int
    timestep: int
    neuron: tuple[int, ...]
    found: int
    engine: str = "the engine"


def likely_cause(
    network: IntegerNetwork, deviation: Deviation, frames: Integers, skipped: Sequence[Integers] = ()
) -> str:
    """A hint in words.

    Parameters
    ----------
    frames: what the layer receives from the twin in that sample, [T, *shape].
    skipped: what each of its skips takes, as `frames`.

    Who deviates is decided by the definition in plain integers (backends/kernels/reference.py), which is neither.
    """
    timestep, neuron, found = deviation.timestep, deviation.neuron, deviation.found
    layer, depth = network.layers[deviation.number - 1], network.depths[deviation.number]
    frames = frames[:timestep, None]
    skipped = [messages[:timestep, None] for messages in skipped]
    state = NeuronState.at_rest(layer, 1)
    plain = propagate_layer(layer, frames, state, skipped)[-1, 0][neuron]
    if plain != found:
        if _with_lead_in(layer, depth, frames, skipped)[neuron] == found:
            steps = depth - 1
            return f"lead-in: the layer integrated its bias for the {steps} steps before its first input reached it"
        return f"{deviation.engine} errs: plain integer arithmetic gives {plain} for this file; please report it"
    if state.peak_u > STATE_LIMIT:
        return f"overflow: |u| reaches {state.peak_u:,} in this layer, beyond 2^23, and wraps; use fewer bits"
    if state.peak_v >= STATE_LIMIT:
        return f"clipping: |v| reaches {state.peak_v:,} in this layer, beyond 2^23, and is clipped; use fewer bits"
    return "the file's integers give this: the twin's neurons, reset or order of inputs are other ones; export again"


def _with_lead_in(layer: IntegerLayer, depth: int, frames: Integers, skipped: Sequence[Integers]) -> Integers:
    """The layer's last messages [*shape] if its neurons ran before the sample reached them, with silence as input."""
    state = NeuronState.at_rest(layer, 1)
    for _ in range(depth - 1):
        state.step(layer, np.zeros((1, *layer.output_shape), dtype=np.int64))
    return np.asarray(propagate_layer(layer, frames, state, skipped)[-1, 0])
