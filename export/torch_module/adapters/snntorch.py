"""snnTorch's neurons, read in version 1.0.0: v ← β v + x, spikes at v > threshold, a reset in the next timestep."""

from typing import Any

import numpy as np
import torch
from torch import nn

from spikecut.export.importers.neurons import NeuronModel
from spikecut.export.network.arrays import Array
from spikecut.export.network.parameters import FloatParameter, as_given, said
from spikecut.export.torch_module.adapters.base import Neuron, Sent, lost, number, refusal

CURRENTS = ("Synaptic", "RSynaptic")
LEAKY = ("Leaky", "Lapicque", "RLeaky")
RECURRENT = ("RLeaky", "RSynaptic")
OTHERS = {
    "Alpha": "two currents of opposite sign, of which no Process has both; train with Leaky or Synaptic",
}
DELAYED = 'train with beta > 0, or with reset_mechanism="zero"'


def describe(module: nn.Module, where: str) -> Neuron | None:
    """A Leaky, Lapicque or Synaptic, recurrent or not."""
    names = [each.__name__ for each in type(module).__mro__ if each.__module__.startswith("snntorch")]
    kind = next((name for name in names if name in (*CURRENTS, *LEAKY, *OTHERS)), None)
    if kind is None:
        if "SpikingNeuron" in names:
            raise refusal(where, module, "a neuron that is not read; train with Leaky or Synaptic")
        return None
    if kind in OTHERS:
        raise refusal(where, module, OTHERS[kind])
    return _neuron(module, where, kind)


def _neuron(module: Any, where: str, kind: str) -> Neuron:
    current, recurrent = kind in CURRENTS, kind in RECURRENT
    for name, plain in (("inhibition", False), ("state_quant", False), ("graded_spikes_factor", 1)):
        if getattr(module, name, plain) != plain:
            raise refusal(where, module, f"{name}={getattr(module, name)}, which no Process does; train without it")
    beta, assumed = _clamped(module.beta, "beta", where)
    decay_v, inexact = lost("v", beta, "1 - beta")
    decay_u: FloatParameter = 1.0
    if current:
        alpha, more = _clamped(module.alpha, "alpha", where)
        decay_u, inexact_u = lost("u", alpha, "1 - alpha")
        inexact, assumed = inexact_u + inexact, more + assumed
    reset = str(module.reset_mechanism)
    late = bool(getattr(module, "reset_delay", True))
    loses = (current or recurrent) and reset == "zero" and late  # v is 0 after a spike, whatever comes in
    model = NeuronModel(
        where=where,
        threshold=None if reset == "none" else number(module.threshold),
        decay_u=decay_u,
        decay_v=decay_v,
        reset="subtract" if reset == "subtract" else "zero",
        next_step=late,
        delayed=DELAYED,
        refractory=int(loses),
        inexact=inexact,
    )
    sends: tuple[Sent, ...] = ("spikes", "state", "membrane") if current else ("spikes", "membrane")
    if recurrent and reset == "none":
        raise refusal(where, module, 'reset_mechanism="none": what it sends comes back; train with another')
    remedy = (
        "snnTorch subtracts in the next timestep, before it fires, where v is over the threshold still; train with its "
        "default, reset_delay=True"
    )
    remedy = remedy if reset == "subtract" and not late else ""
    return Neuron(model, sends, assumed, remedy, _recurrent(module.recurrent) if recurrent else None)


def _recurrent(synapse: nn.Module) -> tuple[Array, Array]:
    """Weights (O, O), or (C, C, H, W) of a convolution, and biases; of one number for all neurons (1, 1) and (1,)."""
    if isinstance(synapse, nn.Linear | nn.Conv2d):
        weight = synapse.weight.detach().double().numpy()
        bias = np.zeros(len(weight)) if synapse.bias is None else synapse.bias.detach().double().numpy()
        return weight, bias
    each = torch.as_tensor(synapse.V).detach().double().reshape(-1).numpy()
    return np.diag(each), np.zeros(each.size)


def _clamped(value: Any, name: str, where: str) -> tuple[FloatParameter, tuple[str, ...]]:
    """A decay as the forward clamps it."""
    given = number(value)
    kept = as_given(np.clip(given, 0.0, 1.0))
    if np.all(np.asarray(kept) == given):
        return kept, ()
    return kept, (f"{where}: {name} = {said(given, 'g')} is clamped to {said(kept, 'g')}, as snnTorch does",)
