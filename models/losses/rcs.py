"""RCS, the regulariser of cosine similarity: networks whose early response points where the late one does.

Wu, Jin, Yu, Yi, Huang, "Optimizing event-driven spiking neural network with regularization and cutoff", Frontiers in
Neuroscience 19 (2025), arXiv 2301.09522. Where the authors' code says otherwise, docs/decisions/0007 tells what is
followed and why. Both forms are added to the loss with a weight α and look only at the samples predicted right:

    loss = loss of the method + α / layers · Σ over layers of (max over right samples n of the layer's r_n)
"""

from collections.abc import Sequence

import torch
from torch import Tensor

EPSILON = 1e-5
LAST_SHARE = 0.3


def last_steps(timesteps: int) -> int:
    """Steps in the last part of a sequence: max(1, ⌊0.3 T⌋)."""
    return max(1, int(timesteps * LAST_SHARE))


def rcs_conversion(activations: Sequence[Tensor], scores: Tensor, labels: Tensor) -> Tensor:
    """The form for networks that are converted (the "ANN form"); per layer and sample n

        r_n = max over the batch of a / √(mean over the sample's neurons of a_n² + ε)

    a: rectified pre-activations of the layer. A small r keeps the largest activation, which sets the threshold, near
    the usual one, so that few timesteps of integrate-and-fire tell activations apart.

    activations: one tensor [N, *] per layer, not negative; scores: [N, classes]; labels: int64 [N].
    Returns a scalar, 0 where no sample is predicted right or there are no layers.
    """
    right = scores.argmax(-1) == labels
    ratios = []
    for activation in activations:
        root_mean_square = (_precise(activation).flatten(1).square().mean(1) + EPSILON).sqrt()
        ratios.append(activation.max() / root_mean_square)
    return _worst_right(ratios, right, scores)


def rcs_direct(responses: Sequence[Tensor], outputs: Tensor, labels: Tensor) -> Tensor:
    """The form for direct training (the "SNN form"); per layer and sample n

        c_n = mean over t of  r_n[t] · d_n / (√(|r_n[t]|² + ε) √(|d_n|² + ε)),   r_n = 1 / (c_n + ε)

    r_n[t]: the layer's response at t, spikes plus rectified membrane potential in units of the threshold; d_n: its mean
    over the last max(1, ⌊0.3 T⌋) steps, detached. Only samples that are right at each of those steps count.

    responses: one tensor [T, N, *] per layer; outputs: [T, N, classes], whose largest entry at t is the prediction
    at t; labels: int64 [N]. Returns a scalar, 0 where no sample is predicted right or there are no layers.
    """
    last = last_steps(len(outputs))
    right = (outputs[-last:].argmax(-1) == labels).all(0)
    inverses = []
    for response in responses:
        flat = _precise(response).flatten(2)
        late = flat[-last:].mean(0, keepdim=True).detach()
        similarity = (flat * late).sum(2) / (_length(flat) * _length(late))
        inverses.append(1 / (similarity.mean(0) + EPSILON))
    return _worst_right(inverses, right, outputs)


def _precise(values: Tensor) -> Tensor:
    """At least in float32, where mixed precision trains in less."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _length(vectors: Tensor) -> Tensor:
    return (vectors.square().sum(2) + EPSILON).sqrt()


def _worst_right(per_layer: list[Tensor], right: Tensor, like: Tensor) -> Tensor:
    """Mean over the layers of the largest value among the right samples."""
    if not per_layer or not bool(right.any()):
        return like.new_zeros(())
    return torch.stack([values[right].max() for values in per_layer]).mean()
