"""The loss of temporal efficient training."""

import torch
import torch.nn.functional as functional
from torch import Tensor

from spikecut.errors import InputError


def tet_loss(
    outputs: Tensor, labels: Tensor, regulariser: float = 0.0, target: float = 1.0, label_smoothing: float = 0.0
) -> Tensor:
    """(1 - λ) · mean over t of cross entropy(outputs[t], labels) + λ · mean of (outputs - target)².

    Deng, Li, Zhang, Gu, "Temporal efficient training of spiking neural network via gradient re-weighting", ICLR 2022,
    equations 10 to 12.

    outputs: float [T, N, classes], logits at each timestep; labels: int64 [N]; regulariser: λ in [0, 1]; target: the
    constant φ that the regulariser pulls every output to; label_smoothing: torch's. Returns a scalar.

    InputError for a λ outside its range.
    """
    if not 0 <= regulariser <= 1:
        raise InputError(f"TET regulariser {regulariser}: expected a number between 0 and 1")
    timesteps = outputs.shape[0]
    repeated = labels.repeat(timesteps)
    cross_entropy = functional.cross_entropy(outputs.flatten(0, 1), repeated, label_smoothing=label_smoothing)
    if regulariser == 0:
        return cross_entropy
    return (1 - regulariser) * cross_entropy + regulariser * (outputs - target).square().mean()


def firing_rate_logits(spikes: Tensor, scale: float) -> Tensor:
    """Logits for TET when the output layer fires: scale · (spikes up to t) / t.

    TET was published for an output that does not fire. One step of a firing output is a vector of zeros and ones,
    mostly ties; what the readout knows at step t is the count so far, so its rate is what the loss sees at t. A larger
    scale lets fewer spikes suffice.

    spikes: [T, N, classes]. Returns float [T, N, classes].
    """
    steps = torch.arange(1, spikes.shape[0] + 1, dtype=spikes.dtype, device=spikes.device)
    return scale * spikes.cumsum(0) / steps[:, None, None]
