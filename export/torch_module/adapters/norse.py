"""Norse's neurons, read in version 1.1.0: Euler steps of dt, spikes at v > v_th, a hard reset, v(0) = v_leak."""

import math
from typing import Any

from torch import nn

from spikecut.export.importers.neurons import NeuronModel
from spikecut.export.network.parameters import FloatParameter
from spikecut.export.torch_module.adapters.base import Neuron, Sent, adapting, lost, number, refusal

CURRENTS = ("LIFCell", "LIF", "LICell", "LI")
BOXES = ("LIFBoxCell", "LIFBox", "LIBoxCell", "LIBox")
PLAIN = ("IAFCell", "IAF")
RESTING = ("LIFRefracCell",)
SENDS: dict[bool, tuple[Sent, ...]] = {True: ("spikes", "state"), False: ("membrane", "state")}


def describe(module: nn.Module, where: str) -> Neuron | None:
    """An IAF, LIF, LIFBox, LI or LIBox, as a cell or over time, or a cell that rests after a spike."""
    names = [each.__name__ for each in type(module).__mro__ if each.__module__.startswith("norse")]
    kind = next((name for name in names if name in (*CURRENTS, *BOXES, *PLAIN, *RESTING)), None)
    if kind is not None:
        return _neuron(module, kind, where)
    if any(name.startswith("LSNN") for name in names):
        raise refusal(where, module, adapting("LIF"))
    if {"SNN", "SNNCell", "SNNRecurrent", "SNNRecurrentCell"} & set(names):
        raise refusal(where, module, "a neuron that no Process equals, or that is recurrent; train with LIFCell or LIF")
    return None


def _neuron(module: Any, kind: str, where: str) -> Neuron:
    fires, rests = kind.startswith(("LIF", "IAF")), kind in RESTING
    parameters = module.p.lif if rests else module.p

    def value(name: str, default: float = 0.0) -> FloatParameter:
        return number(getattr(parameters, name, default))

    decay_u: FloatParameter = 1.0
    decay_v: FloatParameter = 0.0
    inexact: tuple[str, ...] = ()
    if kind not in PLAIN:
        decay_v, inexact = lost("v", 1 - float(module.dt) * value("tau_mem_inv"), "dt · tau_mem_inv")
    if kind in (*CURRENTS, *RESTING):
        decay_u, more = lost("u", 1 - float(module.dt) * value("tau_syn_inv"), "dt · tau_syn_inv")
        inexact = more + inexact
    leak = value("v_leak")
    method = getattr(getattr(parameters, "reset_method", None), "__name__", "reset_value")
    if fires and method not in ("reset_value", "reset_subtract"):
        raise refusal(where, module, f"reset_method {method}; train with reset_value or reset_subtract")
    rho = number(module.p.rho_reset) if rests else 0.0
    if not isinstance(rho, float):
        raise refusal(where, module, "a rho_reset that differs between neurons; train with one")
    model = NeuronModel(
        where=where,
        threshold=value("v_th") if fires else None,
        gain=1.0 if kind in PLAIN else decay_v,
        decay_u=decay_u,
        decay_v=decay_v,
        reset="subtract" if method == "reset_subtract" else "zero",
        v_rest=leak,
        v_reset=value("v_reset") if fires and method == "reset_value" else 0.0,
        v_init=leak,
        inexact=inexact,
        refractory=max(0, math.ceil(rho)),  # ρ counts down by 1 a timestep, and v goes on where it is 0
    )
    return Neuron(model, SENDS[fires])
