"""Samples packed for the page's player: rasters as bytes, running scores, and how each ended."""

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.report.html.contents import Played
from spikecut.deploy.run_trace import LayerEvents
from spikecut.errors import InputError

ROWS = 64
"""Rows of a layer's raster; the neurons of a larger layer share them."""
SHOWN_CLASSES = 12
"""Classes whose scores are shown: those with the largest totals, and the right one."""
MIDDLE = 128
"""The byte of no message; above it positive messages, below it negative ones."""


def packed(played: Played, classes: tuple[str, ...], budget: int) -> dict[str, Any]:
    """What the player needs, as data for JSON.

    Per layer and sample `raster` is base64 of uint8 [rows, steps], MIDDLE ± the square root of the mean message of the
    neurons in a row over the layer's largest one, times 127.

    Parameters
    ----------
    budget: bytes that all rasters may take; with less, more neurons share a row.
    """
    trace = played.trace
    cells = max(1, int(trace.hardware_steps.sum()) * len(trace.events))
    rows = max(1, min(ROWS, budget * 3 // 4 // cells))
    layers = [_layer(layer, trace.hardware_steps, rows) for layer in trace.events]
    names = classes or tuple(str(number) for number in range(trace.scores.shape[2]))
    return {
        "horizon": trace.horizon,
        "depth": trace.depth,
        "classes": list(names),
        "thresholds": list(played.thresholds),
        "layers": [layer["about"] for layer in layers],
        "samples": [
            {**_sample(played, n, names), "layers": [layer["samples"][n] for layer in layers]}
            for n in range(trace.samples)
        ],
    }


def _layer(layer: LayerEvents, steps: npt.NDArray[np.int64], rows: int) -> dict[str, Any]:
    """A layer's shape, and per sample its raster with the neurons that sent in each step."""
    if layer.raster is None:
        raise InputError("this trace holds no spikes: run again with record='all'")
    neurons = layer.raster.shape[2]
    edges = np.linspace(0, neurons, min(neurons, rows) + 1).astype(np.int64)
    largest = max(1.0, float(np.abs(layer.raster).max(initial=0)))
    samples = []
    for n, executed in enumerate(steps.tolist()):
        sent = layer.raster[n, :executed].T.astype(np.float64)
        sums = np.add.reduceat(sent, edges[:-1], axis=0) / np.diff(edges)[:, None] / largest
        shades = np.rint(MIDDLE + np.sign(sums) * np.sqrt(np.abs(sums)) * 127).astype(np.uint8)
        samples.append(
            {
                "raster": base64.b64encode(shades.tobytes()).decode("ascii"),
                "sent": layer.spikes[n, :executed].tolist(),
            }
        )
    shape = "×".join(map(str, layer.shape))
    about = {"name": layer.name, "shape": shape, "neurons": neurons, "rows": len(edges) - 1}
    return {"about": about, "samples": samples}


def _sample(played: Played, n: int, names: tuple[str, ...]) -> dict[str, Any]:
    """How a sample ended, and the running scores of its leading classes until then."""
    trace, timesteps = played.trace, int(played.trace.timesteps[n])
    totals = trace.scores[:timesteps, n].cumsum(axis=0)
    label, said = int(played.labels[n]), int(trace.predictions[n])
    leading = np.argsort(-totals[-1], kind="stable")[:SHOWN_CLASSES].tolist()
    shown = sorted({*leading, label, said})
    two = np.sort(totals, axis=1)[:, -2:]
    return {
        "index": int(played.index[n]),
        "label": names[label],
        "said": names[said],
        "right": label == said,
        "timesteps": timesteps,
        "steps": int(trace.hardware_steps[n]),
        "reason": trace.reason[n].value,
        "shown": [names[k] for k in shown],
        "totals": totals[:, shown].tolist(),
        "margins": (two[:, -1] - two[:, 0]).tolist() if totals.shape[1] > 1 else [],
    }
