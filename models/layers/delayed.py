"""A matrix whose synapses are late, each by whole timesteps of its own."""

from torch import Tensor, nn
from torch.nn import functional


class DelayedLinear(nn.Linear):
    """y[t] = Σ W[o, i] x[t - delay[o, i], i] + b; nothing was sent before the first timestep.

    Attributes
    ----------
    delay: int64, of the weight's shape, 0 or more.
    """

    delay: Tensor

    def __init__(self, weight: Tensor, delay: Tensor) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias=False, device="meta")
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_buffer("delay", delay)

    def over_time(self, inputs: Tensor) -> Tensor:
        """Messages [T, N, I] → currents [T, N, O]."""
        total = inputs.new_zeros(*inputs.shape[:2], len(self.weight))
        for late in sorted(set(self.delay.flatten().tolist())):
            if late < len(inputs):
                given = functional.linear(inputs[: len(inputs) - late], self.weight * (self.delay == late))
                total[late:] += given
        return total if self.bias is None else total + self.bias

    def forward(self, _: Tensor) -> Tensor:
        """RuntimeError: one timestep alone tells nothing; see over_time."""
        raise RuntimeError("a matrix with delays takes all timesteps: call over_time")
