"""spikecut's own neurons, in networks of others."""

from torch import nn

from spikecut.export.importers.neurons import NeuronModel
from spikecut.export.torch_module.adapters.base import Neuron, lost, number, refusal
from spikecut.models.neurons.current_based import CurrentBased
from spikecut.models.neurons.leaky import LeakyIntegrateFire


def describe(module: nn.Module, where: str) -> Neuron | None:
    """A LeakyIntegrateFire or a CurrentBased, which take all timesteps a call."""
    if isinstance(module, LeakyIntegrateFire):
        decay, inexact = lost("v", 1 - module.decay, "decay")
        return Neuron(
            NeuronModel(where, module.threshold, decay_v=decay, reset=module.reset, inexact=inexact), ("spikes",)
        )
    if isinstance(module, CurrentBased) and module.threshold is not None:
        decay_u, inexact_u = lost("u", 1 - number(module.decay_u), "decay_u")
        decay_v, inexact_v = lost("v", 1 - number(module.decay_v), "decay_v")
        model = NeuronModel(
            where,
            number(module.threshold),
            decay_u=decay_u,
            decay_v=decay_v,
            reset=module.reset,
            at_equality=module.at_equality,
            v_init=number(module.v_init),
            next_step=module.delayed_reset,
            delayed="train with a reset in the spike's own timestep, or with decay_v < 1",
            inexact=inexact_u + inexact_v,
            refractory=module.refractory,
        )
        return Neuron(model)
    if type(module).__module__.startswith("spikecut.models.neurons"):
        raise refusal(where, module, "export its network together with its recipe, as `train` returns them")
    return None
