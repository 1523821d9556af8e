"""Scores for tests of cutoffs: three families of random ones, and networks whose output is any scores one wants."""

import numpy as np

from spikecut.export.network.input_spec import InputSpec
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron

UNIT = 128
"""A membrane readout of weight 2 adds 2 · 2^6 per unit of input."""


def score_family(kind, samples, seed, horizon=8, classes=4):
    """Scores [T, N, classes] and labels [N]; hard samples are right late or never.

    "counts": spikes. "membrane": large integers. "misleading": a quarter looks like another class for the first third.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    ease = 1 - rng.beta(1.2, 2.5, samples)[:, None]
    right = np.eye(classes)[labels]
    shape = (horizon, samples, classes)
    if kind == "counts":
        return (rng.random(shape) < 0.15 + 0.7 * ease * right).astype(np.int64), labels
    if kind == "membrane":
        return np.rint(4000 * (1.2 * ease * right + rng.normal(0, 0.5, shape))).astype(np.int64), labels
    misled = np.eye(classes)[np.where(rng.random(samples) < 0.25, (labels + 1) % classes, labels)]
    early = (np.arange(horizon) < horizon // 3)[:, None, None]
    mean = 2 * np.where(early, misled, right)
    return np.rint(mean + rng.normal(0, 1.5, shape) * (1.3 - ease)).astype(np.int64), labels


def network_of_scores(horizon, classes, membrane):
    """A network whose scores are its inputs: times UNIT for a membrane readout, spikes as they are for counts."""
    nothing = np.zeros(classes, dtype=np.int64)
    neuron = IntegerNeuron(threshold=0, bias_mantissa=nothing, reset="none" if membrane else "zero")
    layer = IntegerLayer("output", "dense", 2 * np.eye(classes, dtype=np.int64), neuron, (classes,), (classes,))
    spec = InputSpec((classes,), "events", bits=8 if membrane else 0, signed=membrane)
    return IntegerNetwork((layer,), spec, "membrane" if membrane else "count", horizon)
