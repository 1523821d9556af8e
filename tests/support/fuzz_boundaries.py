"""Fuzz cases at the edges of the arithmetic: graded messages of large weights over a wide fan-in.

Their sums come to lie at, just below and just above each power of two at which something changes.
"""

import numpy as np
from hypothesis import strategies as st

from spikecut.export.network.input_spec import InputSpec

# u leaves 24 bits; a convolution's sum does; sums leave float32's integers; u's shift leaves 32 bits; the sum does.
BOUNDARIES = (2**17, 2**23, 2**23, 2**23, 2**24, 2**24, 2**25, 2**31)
TOP = 254
MOST_CHANNELS, LARGEST_SIDE = 400, 3
MANY_GROUPS = 128


@st.composite
def wide_inputs(draw):
    """Unsigned graded input of many channels on a small map, or of many features."""
    bits = draw(st.sampled_from([8, 8, 8, 12, 16, 16]))
    channels = draw(st.integers(MANY_GROUPS, MOST_CHANNELS))
    shape = (channels,)
    if draw(st.integers(0, 3)):
        shape = (channels, draw(st.integers(1, LARGEST_SIDE)), draw(st.integers(1, LARGEST_SIDE)))
    return InputSpec(shape, "events", bits=bits, signed=draw(st.integers(0, 3)) == 0)


def frames_near_the_top(rng, spec, horizon, samples):
    """Messages at their maximum, or a few units below it; some frames silent, and some of a signed input negative."""
    shape = (horizon, samples, *spec.shape)
    below = rng.integers(0, 4, shape) * (rng.random(shape) < rng.choice([0.0, 0.02, 0.2]))
    sounding = (rng.random((horizon, samples)) < rng.choice([0.3, 0.8, 1.0])).astype(np.int64)
    if spec.signed:
        sounding *= rng.choice([1, 1, -1], (horizon, samples))
    return ((spec.maximum - below) * sounding.reshape(horizon, samples, *[1] * len(spec.shape))).astype(np.int32)


def weights_at_a_boundary(rng, shape, largest, boundaries=BOUNDARIES):
    """Even weights (O, ...) whose rows' sums, times the largest message, come next to a boundary within reach.

    The rows have one sign, each its own, or mixed ones: then only the bound on the sums lies at the boundary.
    """
    fan_in = int(np.prod(shape[1:]))
    reachable = [boundary for boundary in boundaries if boundary <= largest * (TOP - 4) * fan_in]
    boundary = rng.choice(reachable) if reachable else largest * (TOP - 4) * fan_in
    rows = np.zeros((shape[0], fan_in), dtype=np.int64)
    for row in rows:
        halves = int(boundary / largest) // 2 + int(rng.integers(-1, 3))
        row[:] = halves // fan_in
        row[: halves % fan_in] += 1
        # Equal weights, too: on processors without VNNI int8 products are exact only where no pair of them is large.
        change = int(rng.choice([0, rng.integers(0, max(1, min(row.min(), TOP // 2 - row.max()) + 1))]))
        moved = rng.permutation(fan_in)[: fan_in // 2 * 2].reshape(2, -1)
        row[moved[0]] += change
        row[moved[1]] -= change
        rng.shuffle(row)
    sign = rng.choice(["excitatory", "excitatory", "inhibitory", "rows", "rows", "each"])
    signs = {"excitatory": 1, "inhibitory": -1, "rows": rng.choice([-1, 1], (shape[0], 1))}
    return (2 * rows * signs.get(sign, rng.choice([-1, 1], rows.shape))).reshape(shape)
