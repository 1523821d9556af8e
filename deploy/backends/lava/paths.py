"""What leads from layer to layer in Lava: relays, and Lava's own Dense or Conv into a layer's neurons for its skips."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from spikecut.deploy.backends.kernels.step import exact_type
from spikecut.deploy.backends.lava.axes import lava_kernels, lava_shape
from spikecut.export.network.geometry import Synapse
from spikecut.export.network.graph import Path, is_graded, message_range
from spikecut.export.network.layers import IntegerNetwork

GRADED_BITS = 24
"""Of messages of sigma-delta neurons, as Lava has it; its models use the number only to tell them from spikes."""


class Way(NamedTuple):
    """A path as Processes.

    Attributes
    ----------
    path: which. port: what takes the source's messages. relay: the relay whose port that is; None without one.
    synapse: the Dense or Conv of a skip; None of a layer's own.
    """

    path: Path
    port: Any
    relay: Any = None
    synapse: Any = None

    def connect(self, out: Any) -> None:
        """Connect the port of its source, as the synapse takes its messages."""
        (out if self.relay is not None or out.shape == self.port.shape else in_order(out, self.path.synapse)).connect(
            self.port
        )


def in_order(port: Any, synapse: Synapse) -> Any:
    """An output port as a layer or a skip takes it: a dense one flattens an image in torch's order."""
    if synapse.kind == "dense" and len(synapse.input_shape) == 3:
        return port.transpose([2, 1, 0]).flatten()
    return port


def message_bits(network: IntegerNetwork, path: Path) -> int:
    """Width of the messages that a synapse takes, as Lava's Dense and Conv want to know it: 0 for spikes."""
    return network.input.bits if not path.source else GRADED_BITS if is_graded(network) else 0


def largest_message(network: IntegerNetwork, path: Path) -> int:
    """Largest magnitude of the messages that a synapse takes."""
    return max(map(abs, message_range(network, path.source)))


def connect_blocks(network: IntegerNetwork, blocks: Sequence[Any], chained: bool, fast: bool) -> tuple[Way, ...]:
    """Connect the blocks of a network's layers, and what their skips need; paths from the input wait for the source.

    chained: the blocks are connected already, each with the next one. fast: whether the fast models run, which need the
    type of their sums.
    """
    ways = []
    for block, (own, *skips) in zip(blocks, network.paths, strict=True):
        ways.append(_way(own, block.inp, None))
        for path in skips:
            synapse = skip_synapse(path.synapse, message_bits(network, path))
            synapse.a_out.connect(block.neuron.a_in)
            if fast and path.synapse.kind == "conv":
                from spikecut.deploy.backends.lava.processes.fast import FLOAT_KEY

                synapse.proc_params[FLOAT_KEY] = exact_type(path.synapse, largest_message(network, path))
            ways.append(_way(path, synapse.s_in, synapse))
    for way in ways:
        if way.path.source and not chained:
            way.connect(blocks[way.path.source - 1].out)
    return tuple(ways)


def _way(path: Path, port: Any, synapse: Any) -> Way:
    """A path whose synapse has this port, with a relay in front of it if its messages must wait."""
    if not path.steps:
        return Way(path, port, None, synapse)
    from spikecut.deploy.backends.lava.processes.relay import Relay

    relay = Relay(shape=lava_shape(path.synapse.input_shape), steps=path.steps)
    in_order(relay.s_out, path.synapse).connect(port)
    return Way(path, relay.s_in, relay, synapse)


def skip_synapse(skip: Synapse, message_bits: int) -> Any:
    """Lava's Dense or Conv with the weights of a skip."""
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import Dense

    return (Dense if skip.kind == "dense" else Conv)(**_parameters(skip), num_message_bits=message_bits)


def recurrent_synapse(loop: Synapse) -> Any:
    """The Process from a layer's spikes back to itself, which a new sample clears."""
    from spikecut.deploy.backends.lava.processes.synapses import RecurrentConvolution, RecurrentSynapse

    return (RecurrentSynapse if loop.kind == "dense" else RecurrentConvolution)(**_parameters(loop))


def _parameters(synapse: Synapse) -> dict[str, Any]:
    """Weights and geometry as Lava's Dense or Conv takes them."""
    if synapse.kind == "dense":
        return {"weights": synapse.weight.astype(np.int64)}
    return {
        "weight": lava_kernels(synapse.weight).astype(np.int64),
        "input_shape": lava_shape(synapse.input_shape),
        "padding": synapse.padding[::-1],
        "stride": synapse.stride[::-1],
        "dilation": synapse.dilation[::-1],
        "groups": synapse.groups,
    }
