"""The sums of a layer with several synapses: those of its own and of the others, added without loss."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.kernels.arithmetic import Arithmetic
from spikecut.deploy.backends.kernels.product import Floats, make_product
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.layers import IntegerLayer
from spikecut.export.quantise.headroom import largest_sum
from spikecut.fixed_point import FLOAT32_EXACT, STATE_LIMIT


class JoinedSums:
    """Σ W s + Σ W' s' + …: each wrapped at 24 bits where it is a convolution's and may leave them, as Lava's Conv does.

    Parameters
    ----------
    layer: the layer, whose own sums are at hand. others: its other synapses, skips or what comes back, each with the
        range of the messages that it takes.
    own_bound: largest magnitude of its own sums. own_halved: whether they are given of W / 2.
    arithmetic: of the others' sums. wraps: whether a sum may leave 24 bits.

    Attributes
    ----------
    halved: whether the result is of W / 2, W' / 2, ….
    dtype: float type of the result: float32 while the bounds of all sums together stay below 2^24, else float64.

    Raises BackendError where that precision is not exact.
    """

    def __init__(
        self,
        layer: IntegerLayer,
        others: Sequence[tuple[Synapse, tuple[int, int]]],
        own_bound: int,
        own_halved: bool,
        arithmetic: Arithmetic,
        wraps: bool,
    ) -> None:
        self.layer, self.wraps = layer, wraps
        self.products = [make_product(synapse, *each, arithmetic) for synapse, each in others]
        halved = [own_halved, *(product.halved for product in self.products)]
        self.halved = all(halved) and not wraps
        self.factors = [1 + int(each and not self.halved) for each in halved]
        bound = own_bound + sum(largest_sum(synapse, max(map(abs, each))) for synapse, each in others)
        self.dtype: type[np.floating[Any]] = np.float32 if bound < FLOAT32_EXACT else np.float64

    def __call__(self, sums: Floats, taken: Sequence[npt.NDArray[np.generic]]) -> Floats:
        """The layer's own sums [B, outputs], messages that each other takes [B, elements] → float [B, outputs]."""
        total = self._whole(self.layer, sums, self.factors[0])
        for product, messages, factor in zip(self.products, taken, self.factors[1:], strict=True):
            total = total + self._whole(product.layer, product(messages.astype(product.dtype, copy=False)), factor)
        return total

    def _whole(self, synapse: Synapse, sums: Floats, factor: int) -> Floats:
        whole = sums.astype(self.dtype, copy=False)
        if factor > 1:
            whole = whole * whole.dtype.type(factor)
        if self.wraps and synapse.kind == "conv":
            whole = ((whole.astype(np.int64) + STATE_LIMIT) % (2 * STATE_LIMIT) - STATE_LIMIT).astype(self.dtype)
        return np.asarray(whole)
