"""What the pretrained networks say of the same twenty samples each, as a table that can be compared."""

import hashlib

import numpy as np

from spikecut.deploy.cutoff.topk import top_two_gap
from spikecut.models.data import load_dataset

SAMPLES = 20


def drawn(recipe, count):
    """Random samples in the range of the recipe's input, float32 [count, *shape], and their labels."""
    rng = np.random.default_rng(0)
    given = recipe["input"]
    largest = 2 ** given["bits"] - 1 if given["bits"] else 1
    x = given["zero"] + given["scale"] * rng.integers(0, largest + 1, (count, *recipe["arch_arguments"]["input_shape"]))
    return x.astype(np.float32), np.arange(count) % 10


def chosen(recipe):
    """Samples and labels of the table: digits where the network knows them, else random ones."""
    if recipe["dataset"] != "digits":
        return drawn(recipe, SAMPLES)
    test = load_dataset("digits").test
    return test.x[:SAMPLES], test.y[:SAMPLES]


def table(scores, labels, margin=None):
    """Scores [T, N, classes] of a run to the horizon → rows (prediction, timesteps, label), and the scores' hash.

    margin: of a Top-K cutoff at every timestep; None takes the median of all samples and timesteps.
    """
    gaps = top_two_gap(scores.cumsum(axis=0))
    margin = int(np.median(gaps)) if margin is None else margin
    rows = []
    for n, label in enumerate(labels):
        t = next((t for t, gap in enumerate(gaps[:, n], 1) if gap > margin), len(gaps))
        rows.append([int(scores[:t, n].sum(axis=0).argmax()), t, int(label)])
    digest = hashlib.sha256(np.ascontiguousarray(scores, dtype="<i8").tobytes()).hexdigest()
    return {"margin": margin, "rows": rows, "scores_sha256": digest}
