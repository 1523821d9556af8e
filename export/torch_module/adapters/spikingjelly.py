"""SpikingJelly's neurons, read in version 0.0.0.0.14: v ≥ v_threshold fires, v_reset=None is a soft reset."""

from typing import Any

from torch import nn

from spikecut.export.importers.neurons import NeuronModel
from spikecut.export.network.parameters import FloatParameter
from spikecut.export.torch_module.adapters.base import Neuron, lost, number, refusal

KNOWN = ("IFNode", "ParametricLIFNode", "LIFNode")
USE = "train with IFNode, LIFNode or ParametricLIFNode"


def describe(module: nn.Module, where: str) -> Neuron | None:
    """An IFNode, LIFNode or ParametricLIFNode; one timestep or all of them a call."""
    names = [each.__name__ for each in type(module).__mro__ if each.__module__.startswith("spikingjelly")]
    if "BaseNode" not in names:
        if "MemoryModule" in names and names[0] not in ("Dropout", "Dropout2d"):
            raise refusal(where, module, f"keeps a state over time that is not read; {USE}")
        return None
    if names[0] not in KNOWN:
        raise refusal(where, module, f"a neuron that no Process equals; {USE}")
    return _neuron(module, names[0], where)


def _neuron(module: Any, kind: str, where: str) -> Neuron:
    soft = module.v_reset is None
    reset = 0.0 if soft else number(module.v_reset)
    decay: FloatParameter = 0.0
    gain: FloatParameter = 1.0
    inexact: tuple[str, ...] = ()
    if kind != "IFNode":
        share = number(module.w.sigmoid()) if kind == "ParametricLIFNode" else 1 / number(module.tau)
        decay, inexact = lost("v", 1 - share, "sigmoid(w)" if kind == "ParametricLIFNode" else "1 / tau")
        gain = share if module.decay_input else 1.0
    model = NeuronModel(
        where=where,
        threshold=number(module.v_threshold),
        gain=gain,
        decay_v=decay,
        reset="subtract" if soft else "zero",
        at_equality=True,
        v_rest=reset if kind != "IFNode" else 0.0,
        v_reset=reset,
        v_init=reset,
        inexact=inexact,
    )
    return Neuron(model)
