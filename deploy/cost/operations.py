"""Synaptic operations that a trace's counts mix: a first layer's own, and those of a skip at the input."""

import numpy as np

from spikecut.deploy.run_trace import RunTrace
from spikecut.export.network.arrays import IntArray
from spikecut.export.network.connectivity import fan_out, recurrent_fan_out, skip_paths


def own_operations(trace: RunTrace) -> tuple[IntArray, tuple[str, ...]]:
    """Synaptic operations that the first layer's own, binary spikes cause in it, int64 [N], and what was assumed."""
    layer, events = trace.network.layers[0], trace.events[1]
    if layer.recurrent is None:
        return np.zeros(trace.samples, dtype=np.int64), ()
    reached = recurrent_fan_out(layer)
    if events.raster is not None:
        return np.asarray(((events.raster != 0) @ reached).sum(axis=1), dtype=np.int64), ()
    if (reached == reached[0]).all():
        return events.spikes.sum(axis=1) * int(reached[0]), ()
    assumption = f"layer {layer.name}: messages not recorded, its own spikes are charged like its input"
    return np.zeros(trace.samples, dtype=np.int64), (assumption,)


def input_skip_operations(trace: RunTrace) -> tuple[IntArray, tuple[str, ...]]:
    """Synaptic operations of skips that begin at the input, whose messages are graded where the input's are, int64 [N],
    and what was assumed.
    """
    total, assumptions = np.zeros(trace.samples, dtype=np.int64), []
    events, ran = trace.events[0], trace.hardware_steps[:, None]
    for path in skip_paths(trace.network).values():
        if path.source:
            continue
        reached = fan_out(path.skip)
        arrives = np.arange(events.spikes.shape[1]) + path.steps < ran
        if events.raster is not None:
            total += ((events.raster != 0) @ reached * arrives).sum(axis=1)
        elif (reached == reached[0]).all():
            total += (events.spikes * arrives).sum(axis=1) * int(reached[0])
        else:
            name = trace.network.layers[path.target - 1].name
            assumptions.append(f"layer {name}: messages not recorded, its {path.skip.name} is charged like spikes")
    return total, tuple(assumptions)
