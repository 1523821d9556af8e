"""Loihi 2 hardware through Intel's lava-loihi: what may go there, and a plain no for everything else.

Never run on silicon. What is here: the selection of ProcessModels, the refusals and the configuration. What is
unwritten: the connection of the source and the monitor, which run on the host, with the chip. It needs Intel's spike
adapters, which come with lava-loihi alone, to members of Intel's research community.
"""

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spikecut.deploy.backends.base import MODELS, MODES, Backend, Capabilities, RunSettings, check_network
from spikecut.deploy.backends.lava.blocks import require_lava
from spikecut.deploy.run_trace import RunTrace
from spikecut.errors import BackendError, Refusal
from spikecut.export.network.arrays import Integers
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.parameters import differs, said

HOST_PROCESSES = ("source", "monitor")
LAVA_LOIHI = "lava.magma.compiler.subcompilers.nc"
"""The part of Lava's namespace that only Intel's lava-loihi brings."""


@dataclass(frozen=True)
class HardwarePlan:
    """Where each part of a run goes.

    Attributes
    ----------
    neurocores: layer name → the Processes that need a Loihi 2 model of their own.
    host: what runs in Python on the host, and is listed for that reason.
    """

    neurocores: Mapping[str, tuple[str, ...]]
    host: tuple[str, ...] = HOST_PROCESSES


def plan(network: IntegerNetwork) -> HardwarePlan:
    """What would run on the chip and what on the host.

    Raises CapabilityError, naming the first layer and the reason, unless every layer is a CUBA layer that netx builds
    and Loihi 2's own neuron computes as torch does.
    """
    check_network(Loihi2(), network)
    synapse = {"dense": "Dense", "conv": "Conv"}
    return HardwarePlan({layer.name: (synapse[layer.kind], "LIF") for layer in network.layers})


def refusals(network: IntegerNetwork) -> tuple[Refusal, ...]:
    """What each layer needs for which there is no Loihi 2 model; the first reason of each."""
    lacking = [(layer.name, _without_model(network, layer)) for layer in network.layers]
    return tuple(
        Refusal(f"layer {name}", f"{feature}, for which there is no Loihi 2 model", "run it with --backend lava")
        for name, feature in lacking
        if feature
    )


def _without_model(network: IntegerNetwork, layer: IntegerLayer) -> str:
    """The feature of a layer that has no Loihi 2 model; empty where there is one."""
    neuron = layer.neuron
    if neuron.sigma_delta is not None:
        return "sigma-delta neurons that start anew with each sample"
    if neuron.reset == "subtract":
        return "soft reset"
    if neuron.reset == "none":
        return "a readout that sends its membrane"
    if neuron.gain is not None:
        return "a gain per timestep"
    if neuron.adaptation is not None:
        return "an adaptive threshold"
    if neuron.refractory:
        return "a refractory period"
    if neuron.u_init is not None:
        return "u(0) that is not 0"
    if np.any(neuron.v_init):
        return f"v(0) = {said(neuron.v_init, 'd')}"
    if differs(neuron.threshold, neuron.decay_u, neuron.decay_v):
        return "a threshold or a decay that differs between the neurons of a layer"
    if layer.skips:
        return f"a {layer.skips[0].name}, whose relay has no model there"
    if layer.source is not None:
        return f"what {layer.source} sends and not the layer before it, for which a relay may be needed"
    if layer.recurrent is not None:
        return "recurrent synapses"
    if layer.delay is not None:
        return "delays that are cleared between samples"
    if np.any(neuron.bias_mantissa):
        return "a bias that starts with the sample's first input (the chip's LIF would add it from the first step on)"
    if network.input.bits > 0 and layer is network.layers[0]:
        return f"a graded input of {network.input.bits} bits"
    return ""


def require_lava_loihi() -> None:
    """BackendError with the remedy where Intel's lava-loihi is not installed."""
    require_lava()
    try:
        found = importlib.util.find_spec(LAVA_LOIHI) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise BackendError(
            "backend loihi2 needs Intel's lava-loihi, which is not installed (members of Intel's research community "
            "get it with access to a chip); use --backend lava, or batched, for the same integers"
        )


def run_config(layer_of: Mapping[int, str]) -> Any:
    """Lava's configuration for Loihi 2, which raises instead of falling back to a Python model.

    layer_of: id of each Process of a layer → the layer's name; everything else may run on the host.
    """
    from lava.magma.core.model.py.model import AbstractPyProcessModel
    from lava.magma.core.run_configs import Loihi2HwCfg

    class StrictLoihi2HwCfg(Loihi2HwCfg):  # type: ignore[misc]
        """Loihi2HwCfg takes a Python model without a word where the chip has none."""

        def select(self, process: Any, proc_models: Any) -> Any:
            """The Loihi 2 model of a layer's Process; BackendError, naming the layer, if it has none."""
            layer = layer_of.get(id(process))
            if layer is None:
                return super().select(process, proc_models)
            on_chip = [model for model in proc_models if not issubclass(model, AbstractPyProcessModel)]
            if not on_chip:
                raise BackendError(
                    f"layer {layer}: lava-loihi has no Loihi 2 model of {type(process).__name__}, and Lava would run a "
                    "Python model on the host instead; use --backend lava"
                )
            return super().select(process, on_chip)

    return StrictLoihi2HwCfg()


class Loihi2(Backend):
    """Loihi 2 by lava-loihi: names what a network needs and the chip's models lack; never run."""

    name: ClassVar[str] = "loihi2"
    capabilities: ClassVar[Capabilities] = Capabilities(modes=MODES, models=MODELS)

    def require(self) -> None:
        """Always raises BackendError: lava-loihi is missing, or the spike adapters are unwritten."""
        require_lava_loihi()
        raise _unwritten("layers")

    def refusals(self, network: IntegerNetwork) -> tuple[Refusal, ...]:
        """See `refusals` of this module."""
        return refusals(network)

    def run(self, network: IntegerNetwork, inputs: Integers, settings: RunSettings) -> Iterable[RunTrace]:
        """Explain why a run cannot start: the network, the installation, or what is unwritten. Always raises.

        Raises
        ------
        CapabilityError: a layer has no Loihi 2 model. BackendError: lava-loihi is missing, or all that is left to do.
        """
        planned = plan(network)
        require_lava_loihi()
        raise _unwritten(", ".join(planned.neurocores))


def _unwritten(layers: str) -> BackendError:
    """What is left to do, for these layers."""
    return BackendError(
        f"backend loihi2: {layers} could go to neurocores, {' and '.join(HOST_PROCESSES)} to the host, but the spike "
        "adapters between them are unwritten, for want of a chip; use --backend lava"
    )
