"""The layers of a network as Lava Processes, and the models that compute them.

Three sets of models give the same messages in the same hardware steps:

stock: Lava's own arithmetic under subclasses that only reset.
fast: the same Processes under models that compute by matrix products and fused loops.
fused: all layers in one Process.

A bundle that netx can express is built by lava-dl's own `netx.hdf5.Network`; the rest from netx's blocks and
spikecut's Processes. Lava is imported on demand.
"""

import contextlib
import multiprocessing
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikecut import lava_repairs
from spikecut.deploy.backends.base import MODELS, LavaModels
from spikecut.deploy.backends.kernels.step import compile_for, exact_type
from spikecut.deploy.backends.lava.axes import lava_kernels, lava_shape
from spikecut.deploy.backends.lava.models import fast_models, run_config, stock_models
from spikecut.deploy.backends.lava.paths import (
    GRADED_BITS,
    Way,
    connect_blocks,
    largest_message,
    message_bits,
    recurrent_synapse,
)
from spikecut.errors import BackendError, InputError
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.graph import is_graded
from spikecut.export.network.layers import IntegerLayer, IntegerNetwork
from spikecut.export.network.neurons import IntegerNeuron
from spikecut.export.network.parameters import Parameter
from spikecut.export.network.sigma_delta import SigmaDelta
from spikecut.export.netx.limits import beyond_netx, check_exportable
from spikecut.export.netx.write import write_netx
from spikecut.export.quantise.headroom import largest_sum

if TYPE_CHECKING:
    from spikecut.deploy.backends.lava.processes.wave import WaveParameters

# Lava's Conv casts its float64 sums to int32 before it wraps them at 24 bits.
STOCK_EXACT = 2**31


class _Hushed:
    """A stream that drops what one thread writes, until that thread has done; the rest passes.

    Another thread may have kept this as the program's stream: it goes on working.
    """

    def __init__(self, stream: Any) -> None:
        self.stream, self.thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self.thread else int(self.stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


_QUIET = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the chatter of archived libraries in this thread off the terminal; errors still surface as exceptions."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hushed = {name: _Hushed(getattr(sys, name)) for name in ("stdout", "stderr")}
        for name, stream in hushed.items():
            setattr(sys, name, stream)
        try:
            yield
        finally:
            for name, stream in hushed.items():
                stream.thread = 0
                if getattr(sys, name) is stream:  # not what another thread has put there meanwhile
                    setattr(sys, name, stream.stream)


_IMPORT = threading.RLock()


def require_lava() -> None:
    """Import Lava, or raise BackendError with the remedy."""
    if sys.flags.optimize > 1:
        raise BackendError(
            "lava-dl works with its docstrings, which python -OO leaves out: use python -O, or --backend batched"
        )
    with _IMPORT:  # two threads may ask at once
        lava_repairs.install()
        _import_lava()


def _import_lava() -> None:
    if "lava.magma.runtime.message_infrastructure.multiprocessing" not in sys.modules:
        # This module sets the start method at import, and fails if another library has asked for it before; packages
        # above it stay in sys.modules even then.
        multiprocessing.set_start_method(None, force=True)
    try:
        with quiet():
            import lava.lib.dl.netx.hdf5
            import lava.magma.core.run_configs  # noqa: F401
    except ModuleNotFoundError as error:
        raise BackendError(
            f"Lava is not installed ({error}): spikecut install-lava, or use --backend batched"
        ) from error
    except ImportError as error:
        raise BackendError(
            f"Lava cannot be imported ({error}): spikecut doctor tries all that it needs; or use --backend batched"
        ) from error


@dataclass(frozen=True)
class Chain:
    """The layers as connected Processes: the port at their end, and the configuration that chooses the models.

    ways: what leads from layer to layer; `connect` joins the source to those that begin at the input.
    """

    ways: tuple[Way, ...]
    out: Any
    config: Any
    processes: Any

    def connect(self, out: Any) -> None:
        """Connect the source's port to all that takes its messages."""
        for way in self.ways:
            if way.path.source == 0:
                way.connect(out)


def build_chain(
    network: IntegerNetwork, waves: "Sequence[WaveParameters]", models: LavaModels, net_file: Path | None = None
) -> Chain:
    """A network's layers, each with its wave; `net_file`: see LavaGraph.

    Raises
    ------
    InputError: unknown models. BackendError: the models cannot be exact for this network.
    UnsupportedError: no Process implements a feature of the network.
    """
    if models not in MODELS:
        raise InputError(f"Lava models {models!r}: expected one of {', '.join(MODELS)}")
    check_exportable(network)
    if models == "stock":
        for layer, (own, *skips) in zip(network.layers, network.paths, strict=True):
            if is_graded(network):  # see sigma_delta.GradedConvModel
                break
            _check_stock(layer, layer.name, largest_message(network, own))
            for path in skips:
                _check_stock(path.synapse, f"{layer.name}: {path.synapse.name}", largest_message(network, path))
            if layer.loop is not None:
                _check_stock(layer.loop, f"{layer.name}: its recurrence", 1)
        return _block_chain(network, waves, net_file, None)
    types = [exact_type(own.synapse, largest_message(network, own)) for own, *_ in network.paths]
    if models == "fast":
        return _block_chain(network, waves, net_file, types)
    return _fused_chain(network, waves, types)


def _check_stock(synapse: Synapse, name: str, largest: int) -> None:
    bound = largest_sum(synapse, largest)
    if synapse.kind == "conv" and bound >= STOCK_EXACT:
        raise BackendError(
            f"layer {name}: sums may reach {bound}, which Lava's own Conv cannot cast to 32 bits; "
            "use --lava-models fast"
        )


def _fused_chain(network: IntegerNetwork, waves: "Sequence[WaveParameters]", types: Sequence[Any]) -> Chain:
    from spikecut.deploy.backends.lava.processes.fused import FusedChain, LayerParameters, PathParameters

    parameters = []
    for layer, wave, dtype, (own, *skips) in zip(network.layers, waves, types, network.paths, strict=True):
        more = [PathParameters(path, exact_type(path.synapse, largest_message(network, path))) for path in skips]
        parameters.append(LayerParameters(layer, wave, (PathParameters(own, dtype), *more)))
        alone = not skips and layer.recurrent is None
        compile_for(layer.neuron, wraps=layer.kind == "conv" and alone, dtype=dtype if alone else np.int32)
    process = FusedChain(layers=tuple(parameters))
    return Chain((Way(network.paths[0][0], process.inp),), process.out, run_config({}), process)


def _block_chain(
    network: IntegerNetwork,
    waves: "Sequence[WaveParameters]",
    net_file: Path | None,
    types: Sequence[Any] | None,
) -> Chain:
    """Blocks with the fast models, given the types of their sums; with the stock models otherwise."""
    from spikecut.deploy.backends.lava.processes.fast import FLOAT_KEY
    from spikecut.deploy.backends.lava.processes.sigma_delta import START_KEY
    from spikecut.deploy.backends.lava.processes.wave import Wave

    fast = types is not None
    blocks, owner, chained = _blocks(network, net_file)
    for depth, (block, layer, wave) in enumerate(zip(blocks, network.layers, waves, strict=True)):
        block.neuron.proc_params[Wave.KEY] = wave
        if layer.neuron.sigma_delta is not None:
            starts = layer.neuron.sigma_delta.starts(layer.output_shape)
            block.neuron.proc_params[START_KEY] = np.array([each.T for each in starts], dtype=np.int32)
        if layer.loop is not None:
            block.recurrent.proc_params[Wave.KEY] = replace(wave, record=None)
            if fast and layer.kind == "conv":
                block.recurrent.proc_params[FLOAT_KEY] = exact_type(layer.loop, 1)
        if layer.delay is not None:
            block.synapse.proc_params[Wave.KEY] = replace(wave, depth=wave.depth - 1, record=None)
        if types is not None:
            compile_for(layer.neuron, wraps=False, dtype=np.int32)
            if layer.kind == "conv":
                block.synapse.proc_params[FLOAT_KEY] = types[depth]
    config = run_config(fast_models() if fast else stock_models(network))
    ways = connect_blocks(network, blocks, chained, fast)
    return Chain(ways, blocks[-1].out, config, owner)


def _blocks(network: IntegerNetwork, net_file: Path | None) -> tuple[list[Any], Any, bool]:
    """Blocks, what must outlive them, and whether they are connected."""
    if beyond_netx(network):
        blocks = [own_block(own.synapse, message_bits(network, own)) for own, *_ in network.paths]
        return blocks, blocks, False
    if net_file is not None:
        netx = _netx_network(network, net_file)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.net"
            write_netx(network, path)
            netx = _netx_network(network, path)
    return list(netx.layers), netx, True


def _netx_network(network: IntegerNetwork, path: Path) -> Any:
    from lava.lib.dl.netx.hdf5 import Network

    with quiet():
        netx = Network(net_config=str(path), input_message_bits=network.input.bits)
    netx.net_config.f.close()  # netx leaves its handle open, which blocks writing to the file
    return netx


def starts_of(neuron: IntegerNeuron) -> dict[str, Any]:
    """The current and the membrane of a layer's neurons at the start of a sample, as WaveParameters hold them."""
    return {"u_init": _lava(0 if neuron.u_init is None else neuron.u_init), "v_init": _lava(neuron.v_init)}


def _lava(parameter: Parameter) -> Any:
    """A parameter of a neuron as Lava's Processes take it: a number, or int32, one per channel or in Lava's order."""
    return np.array(parameter.T, dtype=np.int32) if isinstance(parameter, np.ndarray) else parameter


def _neuron_parameters(neuron: IntegerNeuron) -> dict[str, Any]:
    """The Process of a layer's neurons, and what it takes, as netx's blocks hand it on."""
    from lava.proc.lif.process import LIF

    from spikecut.deploy.backends.lava.processes import neurons

    by_reset = {
        "zero": LIF,
        "subtract": neurons.SoftResetLIF,
        "none": neurons.MembraneReadout,
        "adapt": neurons.AdaptiveLIF,
    }
    process = by_reset[neuron.reset]
    parameters: dict[str, Any] = {
        "neuron_proc": process,
        "bias_key": "bias_mant",
        "vth": _lava(neuron.threshold),
        "v": _lava(neuron.v_init),
        "du": _lava(neuron.decay_u - 1),
        "dv": _lava(neuron.decay_v),
        "bias_exp": neuron.bias_exponent,
        "num_message_bits": 24 if neuron.reset == "none" else 0,
    }
    amount = _lava(neuron.subtracted)
    if neuron.reset == "subtract":
        parameters["amount"] = amount
    if neuron.adaptation is not None:
        parameters["adaptation"] = neuron.adaptation.numbers
    if neuron.refractory:
        resting = {"neuron_proc": neurons.RefractoryLIF, "refractory": neuron.refractory}
        parameters |= {**resting, "after_spike": neuron.reset, "amount": amount}
    if neuron.gain is not None:
        gain = np.array(neuron.gain, dtype=np.int32)
        parameters |= {"neuron_proc": neurons.GainLIF, "gain": gain, "after_spike": neuron.reset, "amount": amount}
    return parameters


def _sigma_delta_parameters(neuron: IntegerNeuron, given: SigmaDelta) -> dict[str, Any]:
    """Lava's own Process of sigma-delta neurons, and what it takes."""
    from lava.proc.sdn.process import ActivationMode, Delta, Sigma
    from lava.proc.sdn.process import SigmaDelta as Both

    if neuron.reset == "none":
        return {"neuron_proc": Sigma, "num_message_bits": GRADED_BITS}
    parameters: dict[str, Any] = {
        "neuron_proc": Both if given.decodes else Delta,
        "vth": neuron.threshold,
        "spike_exp": given.spike_exponent,
        "state_exp": given.state_exponent,
        "cum_error": given.cumulative_error,
        "num_message_bits": GRADED_BITS,
    }
    return parameters | ({"act_mode": ActivationMode[given.activation.upper()]} if given.decodes else {})


def own_block(layer: IntegerLayer, message_bits: int) -> Any:
    """A netx block with one of spikecut's neuron Processes, from an integer layer."""
    from lava.lib.dl.netx.blocks.process import Conv, Dense

    neuron = layer.neuron
    if neuron.sigma_delta is None:
        parameters = _neuron_parameters(neuron)
    else:
        parameters = _sigma_delta_parameters(neuron, neuron.sigma_delta)
    bias = neuron.bias_mantissa.T.copy() if np.any(neuron.bias_mantissa) else None
    shared: dict[str, Any] = {"neuron_params": parameters, "bias": bias, "input_message_bits": message_bits}
    shape = lava_shape(layer.output_shape)
    if layer.kind == "dense":
        delay = None if layer.delay is None else layer.delay.copy()
        block = Dense(shape=shape, weight=layer.weight.astype(np.int64), delay=delay, **shared)
        return _looped(block, layer)
    block = Conv(
        shape=shape,
        input_shape=lava_shape(layer.input_shape),
        weight=lava_kernels(layer.weight).astype(np.int64),
        stride=np.array(layer.stride[::-1]),
        padding=np.array(layer.padding[::-1]),
        dilation=np.array(layer.dilation[::-1]),
        groups=layer.groups,
        **shared,
    )
    return _looped(block, layer)


def _looped(block: Any, layer: IntegerLayer) -> Any:
    """The block with what its neurons send led back to them, where the layer is recurrent."""
    if layer.loop is not None:
        block.recurrent = recurrent_synapse(layer.loop)
        block.neuron.s_out.connect(block.recurrent.s_in)
        block.recurrent.a_out.connect(block.neuron.a_in)
    return block
