"""Sinabs' neurons, read in version 3.1.3: v keeps exp(-1 / tau_mem), v ≥ spike_threshold fires, soft reset."""

from typing import Any

import numpy as np
from torch import nn

from spikecut.export.importers.neurons import NeuronModel
from spikecut.export.network.parameters import said
from spikecut.export.torch_module.adapters.base import Neuron, adapting, lost, number, refusal

KNOWN = ("IAF", "LIF", "ExpLeak")


def describe(module: nn.Module, where: str) -> Neuron | None:
    """An IAF, LIF or ExpLeak, squeezed or not."""
    names = [each.__name__ for each in type(module).__mro__ if each.__module__.startswith("sinabs")]
    if "StatefulLayer" not in names:
        return None
    kind = next((name for name in names if name in KNOWN), None)
    if any(name.startswith("ALIF") for name in names):
        raise refusal(where, module, adapting("IAF or LIF"))
    if kind is None or any(name.endswith("Recurrent") for name in names):
        raise refusal(where, module, "is recurrent, or a neuron that is not read; train with IAF or LIF")
    return _neuron(module, where)


def _neuron(module: Any, where: str) -> Neuron:
    fires = module.spike_fn is not None
    spike = getattr(module.spike_fn, "__name__", type(module.spike_fn).__name__)
    if fires and spike != "SingleSpike":
        raise refusal(
            where,
            module,
            f"spike_fn {spike} sends several spikes in a timestep, a neuron of the chip one; train with "
            "spike_fn=sinabs.activation.SingleSpike",
        )
    if module.min_v_mem is not None:
        raise refusal(where, module, "min_v_mem, which no Process holds v at; train with min_v_mem=None")
    if module.alpha_syn_calculated is not None:
        raise refusal(
            where, module, "tau_syn, by which a current loses its input in its own timestep; train without it"
        )
    kept = number(module.alpha_mem_calculated)
    decay, inexact = lost("v", kept, "1 - exp(-1 / tau_mem)")
    threshold = number(module.spike_threshold) if fires else None
    reset = type(module.reset_fn).__name__ if fires else "MembraneSubtract"
    if fires and reset not in ("MembraneSubtract", "MembraneReset"):
        raise refusal(where, module, f"reset_fn {reset}; train with MembraneSubtract or MembraneReset")
    amount = getattr(module.reset_fn, "subtract_value", None) if fires else None
    if amount is not None and np.any(np.asarray(number(amount)) != threshold):
        by = said(number(amount), "g")
        raise refusal(where, module, f"a reset by {by}, not by the threshold; leave out subtract_value")
    if fires and reset == "MembraneReset" and module.reset_fn.reset_value:
        raise refusal(where, module, "reset_value adds to a v that was set to 0; train with reset_value=0")
    model = NeuronModel(
        where=where,
        threshold=threshold,
        gain=1 - kept if module.norm_input else 1.0,
        decay_v=decay,
        reset="subtract" if reset == "MembraneSubtract" else "zero",
        at_equality=True,
        inexact=inexact,
    )
    return Neuron(model, ("spikes",) if fires else ("membrane",))
