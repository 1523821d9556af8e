"""Scores and events of a run, from what an engine saw of it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.base import Record
from spikecut.deploy.run_trace import LayerEvents
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.connectivity import fan_out, recurrent_fan_out
from spikecut.export.network.layers import IntegerNetwork


def padded_scores(scores: IntArray, timesteps: IntArray) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Scores with everything after the exit blanked, and the mask [T, N] of what is known."""
    valid = np.arange(scores.shape[0])[:, None] < timesteps[None, :]
    return np.where(valid[..., None], scores, 0), valid


def layer_events(
    network: IntegerNetwork,
    rasters: list[npt.NDArray[np.int32]],
    steps: IntArray,
    record: Record,
    counts: Sequence[tuple[IntArray, IntArray]] = (),
) -> tuple[LayerEvents, ...]:
    """Events per layer from rasters [N, H, elements] in hardware steps of each sample's own run, source first.

    The rasters are kept, and blanked where a sample did not run. An engine that counted spikes and synaptic operations
    itself gives `counts` [N, H] instead. The operations that relayed messages cause belong to the step in which the
    relay gives them on.

    A layer at depth l begins at hardware step l + 1 with the sample's first real input. What it still does for the
    sample before is not counted here, so that a sample's events do not depend on its predecessor.
    """
    if record == "output":
        return ()
    longest = int(steps.max())
    ran = np.arange(longest)[None, :] < steps[:, None]
    names = ["input", *(layer.name for layer in network.layers)]
    shapes = [network.input_shape, *(layer.output_shape for layer in network.layers)]
    if counts:
        return tuple(
            LayerEvents(name, shape, np.where(ran, spikes[:, :longest], 0), np.where(ran, synops[:, :longest], 0))
            for name, shape, (spikes, synops) in zip(names, shapes, counts, strict=True)
        )
    events: list[LayerEvents] = []
    arriving = [np.zeros(ran.shape, dtype=np.int64) for _ in names]
    for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        raster = rasters[number][:, :longest]
        raster[~ran] = 0
        sent = raster != 0
        for path in (path for paths in network.paths for path in paths):
            if path.source == number and path.steps < longest:
                reached = sent[:, : longest - path.steps] @ fan_out(path.synapse)
                arriving[path.target][:, path.steps :] += np.where(ran[:, path.steps :], reached, 0)
        events.append(
            LayerEvents(
                name=name,
                shape=shape,
                spikes=sent.sum(axis=2, dtype=np.int64),
                synops=arriving[number] + _recurrent(network, number, sent),
                raster=raster if record == "all" else None,
            )
        )
    return tuple(events)


def _recurrent(network: IntegerNetwork, number: int, sent: npt.NDArray[np.bool_]) -> IntArray | int:
    """Synaptic operations that a layer's own spikes cause in it."""
    if number == 0 or network.layers[number - 1].recurrent is None:
        return 0
    operations: IntArray = sent @ recurrent_fan_out(network.layers[number - 1])
    return operations
