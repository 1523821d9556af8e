"""The sums of a layer with a skip: those of its own synapse and of the skip's, added without loss."""

from typing import Any

import numpy as np
import numpy.typing as npt

from spikecut.deploy.backends.kernels.product import Floats, Precision, make_product
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.layers import IntegerLayer
from spikecut.export.network.skip import Skip
from spikecut.export.quantise.headroom import largest_sum
from spikecut.fixed_point import FLOAT32_EXACT, STATE_LIMIT


class JoinedSums:
    """Σ W s + Σ W' s': each wrapped at 24 bits where it is a convolution's and may leave them, as Lava's Conv does.

    Parameters
    ----------
    layer: the layer, whose own sums are at hand. skip: its skip.
    own_bound: largest magnitude of its own sums. own_halved: whether they are given of W / 2.
    skip_range: of the messages that the skip takes. precision: of the skip's sums.
    wraps: whether a sum may leave 24 bits.

    Attributes
    ----------
    halved: whether the result is of W / 2 and W' / 2.
    dtype: float type of the result: float32 while the bounds of both sums together stay below 2^24, else float64.

    Raises BackendError where that precision is not exact.
    """

    def __init__(
        self,
        layer: IntegerLayer,
        skip: Skip,
        own_bound: int,
        own_halved: bool,
        skip_range: tuple[int, int],
        precision: Precision,
        wraps: bool,
    ) -> None:
        self.layer, self.skip, self.wraps = layer, skip, wraps
        self.product = make_product(skip, *skip_range, precision)
        self.halved = own_halved and self.product.halved and not wraps
        self.factors = 1 + int(own_halved and not self.halved), 1 + int(self.product.halved and not self.halved)
        bound = own_bound + largest_sum(skip, max(map(abs, skip_range)))
        self.dtype: type[np.floating[Any]] = np.float32 if bound < FLOAT32_EXACT else np.float64

    def __call__(self, sums: Floats, skipped: npt.NDArray[np.generic]) -> Floats:
        """The layer's own sums [B, outputs], messages of the skip's source [B, elements] → float [B, outputs]."""
        other = self.product(skipped.astype(self.product.dtype, copy=False))
        return self._whole(self.layer, sums, self.factors[0]) + self._whole(self.skip, other, self.factors[1])

    def _whole(self, synapse: Synapse, sums: Floats, factor: int) -> Floats:
        whole = sums.astype(self.dtype, copy=False)
        if factor > 1:
            whole = whole * whole.dtype.type(factor)
        if self.wraps and synapse.kind == "conv":
            whole = ((whole.astype(np.int64) + STATE_LIMIT) % (2 * STATE_LIMIT) - STATE_LIMIT).astype(self.dtype)
        return np.asarray(whole)
