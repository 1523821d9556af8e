"""Which ProcessModel each Process gets. Lava is imported on demand."""

import logging
from typing import Any

import numpy as np

from spikecut.export.network.geometry import Synapse
from spikecut.export.network.graph import is_graded
from spikecut.export.network.layers import IntegerNetwork


def beyond_int8(synapse: Synapse) -> bool:
    """Whether Lava's own Conv cannot hold the geometry of a synapse: it keeps and multiplies it in 8 bits."""
    if synapse.kind != "conv":
        return False
    spans = (d * (k - 1) + 1 for d, k in zip(synapse.dilation, synapse.weight.shape[2:], strict=True))
    sizes = (synapse.groups, *synapse.stride, *(2 * each for each in synapse.padding), *spans)
    return bool(max(sizes) > np.iinfo(np.int8).max)


def stock_models(network: IntegerNetwork) -> dict[Any, Any]:
    """The models that compute with Lava's own arithmetic, by class of Process."""
    from lava.proc.conv.models import PyConvModelFixed
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import DelayDense
    from lava.proc.lif.process import LIF

    from spikecut.deploy.backends.lava.processes import neurons, sigma_delta, synapses

    wide = any(beyond_int8(path.synapse) for paths in network.paths for path in paths)
    return {
        Conv: sigma_delta.GradedConvModel
        if is_graded(network)
        else synapses.WideConvModel
        if wide
        else PyConvModelFixed,
        LIF: neurons.ResettingLifModel,
        neurons.SoftResetLIF: neurons.PySoftResetLifModel,
        neurons.RefractoryLIF: neurons.PyRefractoryLifModel,
        neurons.AdaptiveLIF: neurons.PyAdaptiveLifModel,
        neurons.MembraneReadout: neurons.PyMembraneReadoutModel,
        neurons.GainLIF: neurons.PyGainLifModel,
        DelayDense: synapses.ResettingDelayDenseModel,
        synapses.RecurrentSynapse: synapses.PyRecurrentSynapseModel,
        synapses.RecurrentConvolution: synapses.RecurrentConvModel,
        **_sigma_delta_models(),
    }


def _sigma_delta_models() -> dict[Any, Any]:
    """Of sigma-delta neurons, which are Lava's own with stock and fast synapses: numpy takes them all at once."""
    from lava.proc.sdn.process import Delta, Sigma, SigmaDelta

    from spikecut.deploy.backends.lava.processes import sigma_delta

    return {
        Delta: sigma_delta.StartingDeltaModel,
        SigmaDelta: sigma_delta.StartingSigmaDeltaModel,
        Sigma: sigma_delta.StartingSigmaModel,
    }


def fast_models() -> dict[Any, Any]:
    """The models that compute by matrix products and fused loops, by class of Process."""
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import DelayDense, Dense
    from lava.proc.lif.process import LIF

    from spikecut.deploy.backends.lava.processes import fast, neurons, synapses

    return {
        LIF: fast.FastLifModel,
        neurons.SoftResetLIF: fast.FastSoftResetLifModel,
        neurons.RefractoryLIF: fast.FastRefractoryLifModel,
        neurons.AdaptiveLIF: fast.FastAdaptiveLifModel,
        neurons.MembraneReadout: fast.FastMembraneReadoutModel,
        neurons.GainLIF: fast.FastGainLifModel,
        Conv: fast.FastConvModel,
        Dense: fast.FastDenseModel,
        DelayDense: fast.FastDelayDenseModel,
        synapses.RecurrentSynapse: fast.FastRecurrentModel,
        synapses.RecurrentConvolution: fast.FastRecurrentConvModel,
        **_sigma_delta_models(),
    }


def _shared_models() -> dict[Any, Any]:
    """The models that every graph has."""
    from lava.lib.dl.netx import hdf5
    from lava.lib.dl.netx.blocks import models, process
    from lava.proc.dense.models import PyDenseModelBitAcc
    from lava.proc.dense.process import Dense

    from spikecut.deploy.backends.lava.processes import cutoff_monitor, fused, relay, source, stream

    return {
        hdf5.Network: hdf5.PyNetworkModel,
        process.Input: models.PyInputModel,
        process.Dense: models.PyDenseModel,
        process.Conv: models.PyConvModel,
        Dense: PyDenseModelBitAcc,
        relay.Relay: relay.PyRelayModel,
        fused.FusedChain: fused.PyFusedChainModel,
        source.SampleSource: source.PySampleSourceModel,
        cutoff_monitor.CutoffMonitor: cutoff_monitor.PyCutoffMonitorModel,
        stream.FrameSource: stream.PyFrameSourceModel,
        stream.StreamMonitor: stream.PyStreamMonitorModel,
    }


class Models(dict[Any, Any]):
    """ProcessModels by class of Process; asked for a Process, it answers for its class.

    Lava's configurations ask for the class and its compiler for the Process. Where that is not found, the compiler
    searches: it executes every file of the folder that the Process's class is in, and that once for each of these files
    and for each Process of the graph.
    """

    def __contains__(self, process: Any) -> bool:
        return super().__contains__(_class_of(process))

    def __getitem__(self, process: Any) -> Any:
        return super().__getitem__(_class_of(process))


def _class_of(process: Any) -> Any:
    return process if isinstance(process, type) else type(process)


def run_config(models: dict[Any, Any]) -> Any:
    """A run configuration with these models, by class of Process, beside those that every graph has.

    Without select_tag Lava would silently take the float models of a Process that is not among them.
    """
    from lava.magma.core.run_configs import Loihi2SimCfg

    chosen = Models(_shared_models() | models)
    return Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=chosen, loglevel=logging.ERROR)
