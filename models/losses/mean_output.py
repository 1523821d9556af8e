"""Cross entropy of the output averaged over time: direct training without a loss per timestep."""

import torch.nn.functional as functional
from torch import Tensor


def mean_output_loss(outputs: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """cross entropy(mean over t of outputs[t], labels), which TET (Deng et al., ICLR 2022) replaces.

    outputs: float [T, N, classes], logits at each timestep; labels: int64 [N]; label_smoothing:
    torch's. Returns a scalar.
    """
    return functional.cross_entropy(outputs.mean(0), labels, label_smoothing=label_smoothing)
