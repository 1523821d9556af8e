"""What comes back to a layer from its own spikes, as others write it, as the weights of spikecut's recurrence."""

from collections.abc import Sequence

import numpy as np

from spikecut.errors import UnsupportedError
from spikecut.export.importers.linear import Synapse, undilated
from spikecut.export.network.arrays import Array, Shape


def recurrent_weights(synapses: Sequence[Synapse], shape: Shape, where: str) -> Array:
    """Weights (O, O), or (C, C/groups, H, W) of odd sides, float64, of what these bring together; biases apart.

    shape: of the neurons, (O,) or (C, rows, columns), which each synapse takes and gives.

    UnsupportedError for a convolution that steps over its map or moves it, or a map that is flattened on its way.
    """
    if len(shape) == 1:
        total: Array = np.sum([synapse.weight for synapse in synapses], axis=0)
        return total
    kernels = [_kernel(synapse, where) for synapse in synapses]
    if len({kernel.shape for kernel in kernels}) > 1:
        kernels = [_whole(kernel) for kernel in kernels]
    most = [max(kernel.shape[axis] for kernel in kernels) for axis in (2, 3)]
    total = np.zeros((*kernels[0].shape[:2], *most))
    for kernel in kernels:
        row, column = ((side - own) // 2 for side, own in zip(most, kernel.shape[2:], strict=True))
        total[:, :, row : row + kernel.shape[2], column : column + kernel.shape[3]] += kernel
    return total


def _kernel(synapse: Synapse, where: str) -> Array:
    if synapse.kind == "dense":
        raise UnsupportedError(f"{where}: all of its map comes back to it, flattened; use a convolution")
    kernel = undilated(synapse).weight
    if synapse.stride != (1, 1) or any(
        side != 2 * padding + 1 for side, padding in zip(kernel.shape[2:], synapse.padding, strict=True)
    ):
        raise UnsupportedError(
            f"{where}: what comes back to it is a convolution that moves its map, or steps over it; use stride 1, odd "
            "kernels and a padding of half of them"
        )
    return kernel


def _whole(kernel: Array) -> Array:
    """The weights of a convolution without groups: zeros between groups."""
    channels, per_group = kernel.shape[:2]
    whole = np.zeros((channels, channels, *kernel.shape[2:]))
    for channel in range(channels):
        first = channel // per_group * per_group
        whole[channel, first : first + per_group] = kernel[channel]
    return whole
