"""The skips of a network as Lava Processes: a relay, and Lava's own Dense or Conv into the layer's neurons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikecut.deploy.backends.kernels.step import exact_type
from spikecut.deploy.backends.lava.axes import lava_kernels, lava_shape
from spikecut.export.network.connectivity import Path, skip_paths
from spikecut.export.network.layers import IntegerNetwork
from spikecut.export.network.skip import Skip


@dataclass(frozen=True)
class SkipProcesses:
    """One skip as Processes: what relays its source's messages, and its synapse."""

    path: Path
    relay: Any
    synapse: Any


def largest_skipped(network: IntegerNetwork, path: Path) -> int:
    """Largest magnitude of the messages that a skip takes."""
    return 1 if path.source else max(abs(network.input.minimum), network.input.maximum)


def connect_skips(network: IntegerNetwork, blocks: Sequence[Any], fast: bool) -> tuple[SkipProcesses, ...]:
    """Connect the skips of a network between its blocks; those from the input wait for the source at their relay.

    fast: whether the fast models run, which need the type of their sums.
    """
    from spikecut.deploy.backends.lava.processes.relay import Relay

    found = []
    for path in skip_paths(network).values():
        relay = Relay(shape=lava_shape(path.skip.input_shape), steps=path.steps)
        synapse = skip_synapse(path.skip, 0 if path.source else network.input.bits)
        if path.source:
            blocks[path.source - 1].out.connect(relay.s_in)
        out = relay.s_out
        if path.skip.kind == "dense" and len(path.skip.input_shape) == 3:
            out = out.transpose([2, 1, 0]).flatten()
        out.connect(synapse.s_in)
        synapse.a_out.connect(blocks[path.target - 1].neuron.a_in)
        if fast and path.skip.kind == "conv":
            from spikecut.deploy.backends.lava.processes.fast import FLOAT_KEY

            synapse.proc_params[FLOAT_KEY] = exact_type(path.skip, largest_skipped(network, path))
        found.append(SkipProcesses(path, relay, synapse))
    return tuple(found)


def skip_synapse(skip: Skip, message_bits: int) -> Any:
    """Lava's Dense or Conv with the weights of a skip."""
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import Dense

    if skip.kind == "dense":
        return Dense(weights=skip.weight.astype(np.int64), num_message_bits=message_bits)
    return Conv(
        weight=lava_kernels(skip.weight).astype(np.int64),
        input_shape=lava_shape(skip.input_shape),
        padding=skip.padding[::-1],
        stride=skip.stride[::-1],
        dilation=skip.dilation[::-1],
        groups=skip.groups,
        num_message_bits=message_bits,
    )
