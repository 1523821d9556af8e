"""Neurons without leak: integrate-and-fire with a soft reset, and the output that never fires."""

import math

import torch
from torch import Tensor, nn

from spikecut.errors import InputError


class IntegrateFire(nn.Module):
    """No leak, soft reset, as QCFS needs it (Bu et al., "Optimal ANN-SNN conversion for high-accuracy and
    ultra-low-latency spiking neural networks", ICLR 2022):

        v[t] = v[t-1] + x[t],  v[0] = v_init
        s[t] = v[t] ≥ threshold
        v[t] ← v[t] - threshold  where s[t]

    and the neuron sends amplitude · s[t]. v: membrane potential; x: input current, same units as the threshold.

    Attributes
    ----------
    threshold, v_init, amplitude: scalar buffers (they belong to the checkpoint); v_init is λ/2 and amplitude is λ
        after a QCFS conversion. `amplitude` defaults to the threshold.

    InputError for a threshold or an amplitude that is not positive, or a v_init that is not finite.
    """

    threshold: Tensor
    v_init: Tensor
    amplitude: Tensor

    def __init__(self, threshold: float, v_init: float, amplitude: float | None = None) -> None:
        super().__init__()
        sent = threshold if amplitude is None else amplitude
        if not all(math.isfinite(value) and value > 0 for value in (threshold, sent)):
            raise InputError(f"IF threshold {threshold}, amplitude {sent}: expected positive numbers")
        if not math.isfinite(v_init):
            raise InputError(f"IF v_init {v_init}: expected a finite number")
        self.register_buffer("threshold", torch.tensor(float(threshold)))
        self.register_buffer("v_init", torch.tensor(float(v_init)))
        self.register_buffer("amplitude", torch.tensor(float(sent)))

    def forward(self, currents: Tensor) -> Tensor:
        """Currents [T, N, *] → amplitude · spikes [T, N, *]. Every call starts from v = v_init."""
        membrane_potential = torch.zeros_like(currents[0]) + self.v_init
        sent = []
        for current in currents:
            membrane_potential = membrane_potential + current
            spike = (membrane_potential >= self.threshold).to(currents.dtype)
            membrane_potential = membrane_potential - self.threshold * spike
            sent.append(self.amplitude * spike)
        return torch.stack(sent)

    def extra_repr(self) -> str:
        """Shown by torch when it prints the module."""
        return f"threshold={float(self.threshold):.6g}, v_init={float(self.v_init):.6g}"


class MembraneReadout(nn.Module):
    """Output neurons that integrate without leak and never fire: v[t] = v[t-1] + x[t], v[0] = 0.

    They return the increment x[t] of the membrane; its running sum over t is v[t].
    """

    def forward(self, currents: Tensor) -> Tensor:
        """Currents [T, N, *] → the same currents, the score that each step adds."""
        return currents
