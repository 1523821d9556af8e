"""Cross entropy of spike rates: the loss of networks whose output fires."""

import torch.nn.functional as functional
from torch import Tensor


def spike_rate_loss(spikes: Tensor, labels: Tensor, scale: float, label_smoothing: float = 0.0) -> Tensor:
    """cross entropy(scale · mean over t of spikes[t], labels).

    With scale 1 it is lava-dl 0.6.0's `slayer.loss.SpikeMax(mode="logsoftmax")`, the negative log likelihood of the
    softmax of the rates; rates of 0 to 1 alone make a softmax too flat for a loss near 0.

    spikes: [T, N, classes], 0 or 1; labels: int64 [N]; label_smoothing: torch's. Returns a scalar.
    """
    return functional.cross_entropy(scale * spikes.mean(0), labels, label_smoothing=label_smoothing)
